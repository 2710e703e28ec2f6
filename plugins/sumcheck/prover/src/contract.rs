//! Partial evaluation of integer tensors: some dimensions are contracted with
//! vectors of field elements, the others stay.

use std::ops::{AddAssign, Mul};

use dsperse_sumcheck_verifier::commit::{EF, F};
use dsperse_sumcheck_verifier::eval::strides;
use dsperse_sumcheck_verifier::mle::{bits, outer};
use dsperse_sumcheck_verifier::program::Tensor;
use p3_field::PrimeCharacteristicRing;

/// Contracts every dimension that has a vector (at least as long as the
/// dimension). The result has the remaining dimensions, row-major, not padded.
pub fn contract(tensor: &Tensor, vectors: &[Option<Vec<EF>>]) -> Vec<EF> {
    let mut shape = tensor.shape.clone();
    let mut vectors: Vec<Option<&Vec<EF>>> = vectors.iter().map(Option::as_ref).collect();
    let data: Vec<F> = tensor.data.iter().map(|&x| F::from_i64(x)).collect();
    let mut current = match step(&data, &mut shape, &mut vectors) {
        Some(next) => next,
        None => return data.into_iter().map(EF::from).collect(),
    };
    while let Some(next) = step(&current, &mut shape, &mut vectors) {
        current = next;
    }
    current
}

/// Contracts the last run of neighbouring dimensions that have vectors.
fn step<V>(
    data: &[V],
    shape: &mut Vec<usize>,
    vectors: &mut Vec<Option<&Vec<EF>>>,
) -> Option<Vec<EF>>
where
    V: Copy,
    EF: Mul<V, Output = EF> + AddAssign,
{
    let end = vectors.iter().rposition(Option::is_some)? + 1;
    let start = vectors[..end]
        .iter()
        .rposition(Option::is_none)
        .map_or(0, |i| i + 1);
    let weights: Vec<Vec<EF>> = vectors[start..end]
        .iter()
        .zip(&shape[start..end])
        .filter_map(|(v, &d)| v.map(|v| v[..d].to_vec()))
        .collect();
    let weights = outer(&weights);
    let inner: usize = shape[end..].iter().product();
    let out = if inner == 1 {
        data.chunks(weights.len())
            .map(|chunk| weights.iter().zip(chunk).map(|(&w, &x)| w * x).sum())
            .collect()
    } else {
        let mut out = vec![EF::ZERO; data.len() / weights.len()];
        for (block, sums) in data
            .chunks(weights.len() * inner)
            .zip(out.chunks_mut(inner))
        {
            for (row, &w) in block.chunks(inner).zip(&weights) {
                sums.iter_mut().zip(row).for_each(|(s, &x)| *s += w * x);
            }
        }
        out
    };
    shape.drain(start..end);
    vectors.drain(start..end);
    Some(out)
}

/// Reorders row-major data of `sizes` so that dimension `order[k]` comes `k`-th,
/// and pads each dimension to a power of two.
pub fn arrange(data: &[EF], sizes: &[usize], order: &[usize]) -> Vec<EF> {
    let from = strides(sizes);
    let mut offsets = vec![Some(0usize)];
    for &d in order {
        offsets = offsets
            .iter()
            .flat_map(|&o| {
                (0..1usize << bits(sizes[d]))
                    .map(move |i| o.filter(|_| i < sizes[d]).map(|o| (o, i)))
                    .map(|pair| pair.map(|(o, i)| o + i * from[d]))
            })
            .collect();
    }
    offsets
        .into_iter()
        .map(|o| o.map_or(EF::ZERO, |o| data[o]))
        .collect()
}
