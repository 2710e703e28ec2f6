//! From evaluated tensors to committed columns.

use dsperse_sumcheck_verifier::commit::F;
use dsperse_sumcheck_verifier::key::VerifyingKey;
use dsperse_sumcheck_verifier::layout::{Atom, Column, Linear, Source, WeightRanges};
use dsperse_sumcheck_verifier::mle::{num_vars, pad_index};
use dsperse_sumcheck_verifier::program::{Op, Tensor};
use dsperse_sumcheck_verifier::validate::rescale;
use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

use crate::prove::ProveError;

/// Everything the prover knows: all tensors, and all columns without padding.
pub struct Witness {
    /// Every tensor, by node.
    pub tensors: Vec<Tensor>,
    /// Every column.
    pub columns: Vec<Vec<i64>>,
}

/// Whether a proof reads a column as such: limbs of weights where they are looked up, and where
/// there are several, (N2).
pub fn is_read(key: &VerifyingKey, column: &Column) -> bool {
    let several = || {
        let value = key.layout.values[column.node as usize].as_ref();
        value.is_some_and(|v| v.terms.len() > 1)
    };
    !column.is_weight || key.parameters.ranges == WeightRanges::Proof || several()
}

/// Fills the wanted columns, multiplicities with zeros; the rest stay empty.
pub fn fill_columns(
    key: &VerifyingKey,
    tensors: &[Tensor],
    want: impl Fn(&Column) -> bool + Sync,
) -> Vec<Vec<i64>> {
    let columns = key.layout.columns.par_iter();
    columns
        .map(|c| match want(c) {
            true => fill(key, tensors, c),
            false => vec![],
        })
        .collect()
}

fn fill(key: &VerifyingKey, tensors: &[Tensor], column: &Column) -> Vec<i64> {
    if matches!(column.source, Source::Multiplicity(_)) {
        return vec![0; column.shape.iter().product()];
    }
    let out = &tensors[column.node as usize].data;
    let op = &key.program.nodes[column.node as usize];
    let data = |t: u32| &tensors[t as usize].data;
    // The many: an element is its limb without further ado, and fits as it is bounded.
    if let (Op::Weight { .. }, Source::Value, Some(width)) = (op, column.source, column.width)
        && let Ok(lo) = i64::try_from(column.lo)
    {
        let mask = (1i64 << width) - 1;
        return out
            .iter()
            .map(|x| ((x - lo) >> column.shift) & mask)
            .collect();
    }
    // What `Source` says, for element i, as (G1) to (G6) want it; then its limb, (V1).
    let quantity: Box<dyn Fn(usize) -> i128> = match (op, column.source) {
        (_, Source::Value) => Box::new(|i| i128::from(out[i])),
        (
            Op::Weight { hi, .. } | Op::Requant { hi, .. } | Op::Div { hi, .. },
            Source::HighSlack,
        ) => Box::new(move |i| i128::from(*hi) - i128::from(out[i])),
        (
            Op::Requant {
                input,
                multiplier,
                shift,
                ..
            },
            source,
        ) => {
            let x = data(*input);
            let half = (1i128 << shift) >> 1;
            let below = move |i: usize| i128::from(out[i]) - rescale(x[i], *multiplier, *shift);
            match source {
                Source::Remainder => Box::new(move |i| {
                    let scaled = i128::from(x[i]) * i128::from(*multiplier) + half;
                    scaled.rem_euclid(1 << shift)
                }),
                _ => Box::new(move |i| below(i).abs()),
            }
        }
        (Op::Max { inputs }, Source::Gap(k)) => {
            let x = data(inputs[k]);
            Box::new(move |i| i128::from(out[i]) - i128::from(x[i]))
        }
        (Op::Div { num, den, .. }, source) => {
            let (n, d) = (data(*num), data(*den));
            let remainder = move |i: usize| {
                let (n, d, q) = (i128::from(n[i]), i128::from(d[i]), i128::from(out[i]));
                2 * n + d - 2 * q * d
            };
            match source {
                Source::DivSlack => Box::new(move |i| 2 * i128::from(d[i]) - 1 - remainder(i)),
                _ => Box::new(remainder),
            }
        }
        (Op::Sqrt { input }, source) => {
            let x = data(*input);
            let remainder = move |i: usize| i128::from(x[i]) - i128::from(out[i]).pow(2);
            match source {
                Source::SqrtSlack => Box::new(move |i| 2 * i128::from(out[i]) - remainder(i)),
                _ => Box::new(remainder),
            }
        }
        _ => Box::new(|_| 0),
    };
    (0..out.len())
        .map(|i| {
            let shifted = (quantity(i) - column.lo) >> column.shift;
            match column.width {
                Some(w) => (shifted & ((1 << w) - 1)) as i64,
                None => shifted as i64,
            }
        })
        .collect()
}

/// The value of an affine form at element `i`.
pub fn form_at(form: &Linear, witness: &Witness, i: usize) -> i128 {
    let value = |atom: Atom| match atom {
        Atom::Tensor(t) => witness.tensors[t as usize].data[i],
        Atom::Column(c) => witness.columns[c][i],
    };
    form.terms
        .iter()
        .fold(form.constant, |s, &(a, c)| s + c * i128::from(value(a)))
}

/// Counts how often each table row is looked up. The error names a value that
/// is in no row: the witness is not one of this program.
pub fn fill_multiplicities(
    key: &VerifyingKey,
    witness: &mut Witness,
    persist: bool,
) -> Result<(), ProveError> {
    let layout = &key.layout;
    for table in &layout.tables {
        let mut counts = vec![0i64; 1 << table.vars];
        let lo = match table.function {
            None => 0,
            Some(t) => i128::from(key.program.tables[t as usize].lo),
        };
        for block in layout.lookups.iter().filter(|b| b.tag == table.tag) {
            for i in 0..block.shape.iter().product() {
                let x = form_at(&block.args[0], witness, i) - lo;
                match usize::try_from(x).ok().and_then(|x| counts.get_mut(x)) {
                    Some(count) => *count += 1,
                    None if persist => {}
                    None => {
                        return Err(ProveError::NotInTable {
                            value: x,
                            tag: table.tag,
                        });
                    }
                }
            }
        }
        witness.columns[table.multiplicity] = counts;
    }
    Ok(())
}

/// Pads a tensor into `out`, which is `2^vars` long and zero.
pub fn pad_into(data: &[i64], shape: &[usize], out: &mut [F]) {
    let row = shape.last().copied().unwrap_or(1).max(1);
    for (k, chunk) in data.chunks(row).enumerate() {
        let at = pad_index(k * row, shape);
        for (slot, &x) in out[at..at + chunk.len()].iter_mut().zip(chunk) {
            *slot = F::from_i64(x);
        }
    }
}

/// A tensor, padded.
pub fn padded(data: &[i64], shape: &[usize]) -> Vec<F> {
    let mut out = F::zero_vec(1 << num_vars(shape));
    pad_into(data, shape, &mut out);
    out
}

/// One of the two stacks: the selected columns, each in its block.
pub fn stack(key: &VerifyingKey, columns: &[Vec<i64>], weights: bool, vars: usize) -> Vec<F> {
    let mut out = F::zero_vec(1 << vars);
    for (column, data) in key.layout.columns.iter().zip(columns) {
        if column.is_weight == weights {
            let len = 1 << num_vars(&column.shape);
            pad_into(
                data,
                &column.shape,
                &mut out[column.offset..column.offset + len],
            );
        }
    }
    out
}
