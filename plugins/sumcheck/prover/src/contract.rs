//! Partial evaluation of integer tensors: some dimensions are contracted with
//! vectors of field elements, the others stay.

use dsperse_sumcheck_evaluator::strides;
use dsperse_sumcheck_verifier::commit::{EF, F};
use dsperse_sumcheck_verifier::mle::{bits, outer};
use dsperse_sumcheck_verifier::program::Tensor;
use dsperse_sumcheck_verifier::wide::WideSum;
use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

use crate::sumcheck::PARALLEL;

/// Contracts every dimension that has a vector (at least as long as the
/// dimension). The result has the remaining dimensions, row-major, not padded.
pub fn contract(tensor: &Tensor, vectors: &[Option<Vec<EF>>]) -> Vec<EF> {
    let mut shape = tensor.shape.clone();
    let mut vectors: Vec<Option<&Vec<EF>>> = vectors.iter().map(Option::as_ref).collect();
    let mut current = match step(&tensor.data, &mut shape, &mut vectors) {
        Some(next) => next,
        None => {
            let lift = |&x: &i64| EF::from(F::from_i64(x));
            return tensor.data.iter().map(lift).collect();
        }
    };
    while let Some(next) = step(&current, &mut shape, &mut vectors) {
        current = next;
    }
    current
}

/// What can be contracted.
trait Entry: Copy + Sync {
    /// Adds `weight * self`.
    fn add_to(self, weight: EF, sum: &mut WideSum);
}

impl Entry for i64 {
    #[inline(always)]
    fn add_to(self, weight: EF, sum: &mut WideSum) {
        sum.add_base(weight, F::from_i64(self));
    }
}

impl Entry for EF {
    #[inline(always)]
    fn add_to(self, weight: EF, sum: &mut WideSum) {
        sum.add(self, weight);
    }
}

/// Neighbouring results that are summed at the same time.
const COLUMNS: usize = 64;

/// Contracts the last run of neighbouring dimensions that have vectors.
fn step<V: Entry>(
    data: &[V],
    shape: &mut Vec<usize>,
    vectors: &mut Vec<Option<&Vec<EF>>>,
) -> Option<Vec<EF>> {
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
    let least = (PARALLEL / weights.len()).max(1);
    let out = if inner == 1 {
        data.par_chunks(weights.len())
            .with_min_len(least)
            .map(|chunk| {
                let mut sum = WideSum::default();
                for (&w, &x) in weights.iter().zip(chunk) {
                    x.add_to(w, &mut sum);
                }
                sum.value()
            })
            .collect()
    } else {
        let mut out = EF::zero_vec(data.len() / weights.len());
        let pieces = inner.div_ceil(COLUMNS);
        // Blocks of results, each in pieces of neighbouring columns.
        let tasks: Vec<(usize, &mut [EF])> = out
            .chunks_mut(inner)
            .flat_map(|block| block.chunks_mut(COLUMNS))
            .enumerate()
            .collect();
        tasks
            .into_par_iter()
            .with_min_len(least.div_ceil(COLUMNS))
            .for_each(|(task, out)| {
                let from = task / pieces * weights.len() * inner + task % pieces * COLUMNS;
                let mut sums = [WideSum::default(); COLUMNS];
                for (row, &w) in weights.iter().enumerate() {
                    let at = from + row * inner;
                    for (s, &x) in sums.iter_mut().zip(&data[at..at + out.len()]) {
                        x.add_to(w, s);
                    }
                }
                for (o, s) in out.iter_mut().zip(sums) {
                    *o = s.value();
                }
            });
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
