//! The sumcheck (C1) that brings all claims about one stack to one point.
//!
//! With claims `S(b, z_j) = v_j` about aligned blocks `b` of the stack it shows
//! `sum_j a^j v_j = sum_x W(x) S(x)`, where W is `a^j eq(z_j, ..)` on each block.
//! W is never written out: a block's part of a round is a sum with the equality
//! of all but one variable, for which two small tables are enough.

use dsperse_sumcheck_verifier::claims::{Claim, Claims};
use dsperse_sumcheck_verifier::commit::{EF, F};
use dsperse_sumcheck_verifier::key::VerifyingKey;
use dsperse_sumcheck_verifier::transcript::interpolate;
use dsperse_sumcheck_verifier::wide::WideSum;
use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

use crate::sender::Sender;
use crate::sumcheck::{Value, fold, fold_in_place};
use crate::weight::{Split, Weight};

/// A claim about a block that has variables left.
struct Open<'a> {
    /// Offset of the block in what is left of the stack.
    offset: usize,
    /// The coordinates that are not bound.
    point: &'a [EF],
    /// Power of the challenge, times equality of the bound coordinates.
    scale: EF,
}

/// Proves all claims about the columns of the weights or of the activations,
/// and before them one about the `whole` stack. Returns the point.
pub fn reduce_columns(
    key: &VerifyingKey,
    sender: &mut Sender<'_>,
    claims: &Claims,
    weights: bool,
    stack: &[F],
    whole: Option<&Claim>,
) -> Vec<EF> {
    let alpha = sender.transcript.challenge();
    let (mut claim, mut power) = (EF::ZERO, EF::ONE);
    let vars = stack.len().trailing_zeros() as usize;
    let mut open = vec![];
    if let Some(Claim { point, value }) = whole {
        open.push(Open {
            offset: 0,
            point,
            scale: power,
        });
        claim += *value;
        power *= alpha;
    }
    for (column, claims) in key.layout.columns.iter().zip(&claims.columns) {
        if column.is_weight != weights {
            continue;
        }
        for Claim { point, value } in claims {
            open.push(Open {
                offset: column.offset,
                point,
                scale: power,
            });
            claim += power * *value;
            power *= alpha;
        }
    }
    // Weights of single elements: what blocks become that are over.
    let mut single: Vec<(usize, EF)> = vec![];
    let mut folded: Option<Vec<EF>> = None;
    let mut point = Vec::with_capacity(vars);
    for _ in 0..vars {
        open.retain(|c| {
            if c.point.is_empty() {
                single.push((c.offset, c.scale));
            }
            !c.point.is_empty()
        });
        let [zero, two] = match &folded {
            None => round(&open, &single, stack),
            Some(values) => round(&open, &single, values),
        };
        let values = [zero, claim - zero, two];
        let _ = sender.send(zero);
        let _ = sender.send(two);
        let r = sender.transcript.challenge();
        claim = interpolate(&values, r);
        for c in &mut open {
            if let Some((&z, rest)) = c.point.split_last() {
                c.point = rest;
                c.scale *= (EF::ONE - z) * (EF::ONE - r) + z * r;
            }
            c.offset >>= 1;
        }
        for (at, w) in &mut single {
            *w *= if *at & 1 == 1 { r } else { EF::ONE - r };
            *at >>= 1;
        }
        let next = match folded.take() {
            None => fold(stack, r),
            Some(mut values) => {
                fold_in_place(&mut values, r);
                values
            }
        };
        folded = Some(next);
        point.push(r);
    }
    point.reverse();
    let end = match &folded {
        Some(values) => values.first().copied(),
        None => stack.first().map(|&v| EF::from(v)),
    };
    let _ = sender.send(end.unwrap_or(EF::ZERO));
    point
}

/// The round's polynomial at 0 and 2.
fn round<V: Value>(open: &[Open<'_>], single: &[(usize, EF)], stack: &[V]) -> [EF; 2] {
    let add = |a: [EF; 2], b: [EF; 2]| [a[0] + b[0], a[1] + b[1]];
    let zero = || [EF::ZERO; 2];
    let blocks = open
        .par_iter()
        .map(|c| {
            let Some((&z, rest)) = c.point.split_last() else {
                return zero();
            };
            let len = 1 << c.point.len();
            let [even, odd] = halves(rest, &stack[c.offset..c.offset + len]);
            // eq(z, t) (even + t (odd - even)) at 0 and 2.
            let at_two = z + z + z - EF::ONE;
            [
                c.scale * (EF::ONE - z) * even,
                c.scale * at_two * (odd + odd - even),
            ]
        })
        .reduce(zero, add);
    let rest = single.iter().map(|&(at, w)| {
        let value = |i: usize| {
            let mut sum = WideSum::default();
            if let Some(v) = stack.get(i) {
                v.add_to(EF::ONE, &mut sum);
            }
            sum.value()
        };
        let (even, odd) = (value(at & !1), value(at | 1));
        // The weight is w at `at` and 0 at its neighbour.
        match at & 1 {
            0 => [w * even, -(w * (odd + odd - even))],
            _ => [EF::ZERO, (w + w) * (odd + odd - even)],
        }
    });
    rest.fold(blocks, add)
}

/// `sum eq(point, j) values[2j]`, and the same for `2j + 1`.
fn halves<V: Value>(point: &[EF], values: &[V]) -> [EF; 2] {
    let Split { high, low } = Weight::eq(point).split();
    values
        .par_chunks(2 * low.len())
        .zip(&high)
        .map(|(chunk, &h)| V::inner_pairs(&low, chunk).map(|sum| sum * h))
        .reduce(|| [EF::ZERO; 2], |a, b| [a[0] + b[0], a[1] + b[1]])
}
