//! The lookup argument, verifier's side: LogUp (Habock, eprint 2022/1530) by
//! the layered circuit of fractional sums (Papini and Habock, eprint 2023/1289).
//!
//! Every looked-up tuple `v` contributes `1 / (alpha - fp(v))`, every table row
//! `t` contributes `-m(t) / (alpha - fp(t))`, with the fingerprint
//! `fp(v) = tag + gamma v_1 + gamma^2 v_2`. The sum is zero exactly when (but
//! for a negligible probability over `alpha`, `gamma`, which are drawn after
//! columns and multiplicities are committed) all tuples are rows of their
//! tables. Padding of a block has numerator 0, leaves outside the blocks are
//! 0/1; both are computed here, never claimed.

use p3_field::PrimeCharacteristicRing;

use crate::commit::EF;
use crate::layout::{Atom, Layout, Linear};
use crate::mle::{eq_index, eq_table, field, mask, num_vars, suffix};
use crate::program::Program;
use crate::transcript::Reader;

/// The challenges of the fingerprints.
#[derive(Clone, Copy)]
pub struct Fingerprint {
    /// The point at which the sum of fractions is taken.
    pub alpha: EF,
    /// Combines the columns of a tuple.
    pub gamma: EF,
}

impl Fingerprint {
    /// `alpha - fp(tag, values)`.
    pub fn denominator(&self, tag: u64, values: &[EF]) -> EF {
        let mut power = EF::ONE;
        let mut fp = EF::from_u64(tag);
        for &v in values {
            power *= self.gamma;
            fp += power * v;
        }
        self.alpha - fp
    }
}

/// The value of an affine form, given the values of its atoms.
pub fn apply(form: &Linear, value: &dyn Fn(Atom) -> Option<EF>) -> Result<EF, String> {
    let (constant, terms) = form.in_field();
    let mut sum = EF::from(constant);
    for (atom, c) in terms {
        sum += value(atom).ok_or("an atom has no value")? * c;
    }
    Ok(sum)
}

/// Runs the argument and returns the point of the leaves and the claimed
/// values of [`Layout::lookup_atoms`] at its suffixes.
pub fn verify_lookups(
    reader: &mut Reader<'_>,
    program: &Program,
    layout: &Layout,
) -> Result<(Vec<EF>, Vec<EF>), String> {
    let fingerprint = Fingerprint {
        alpha: reader.transcript.challenge(),
        gamma: reader.transcript.challenge(),
    };
    let (point, num, den) = verify_fractions(reader, layout.leaf_vars)?;
    let values = reader.receive_many(layout.lookup_atoms.len())?;
    let by_atom: std::collections::BTreeMap<Atom, EF> = layout
        .lookup_atoms
        .iter()
        .copied()
        .zip(values.iter().copied())
        .collect();
    let value = |atom: Atom| by_atom.get(&atom).copied();

    // The last layer's claims are authenticated by nothing but this: both are
    // recomputed from the atoms, the tables, the masks and the padding.
    let (mut expected_num, mut expected_den, mut used) = (EF::ZERO, EF::ZERO, EF::ZERO);
    for block in &layout.lookups {
        let n = num_vars(&block.shape);
        let selector = eq_index(block.offset >> n, &point[..layout.leaf_vars - n]);
        let args = block
            .args
            .iter()
            .map(|a| apply(a, &value))
            .collect::<Result<Vec<_>, _>>()?;
        used += selector;
        expected_num += selector * mask(suffix(&point, n), &block.shape);
        expected_den += selector * fingerprint.denominator(block.tag, &args);
    }
    for block in &layout.tables {
        let selector = eq_index(
            block.offset >> block.vars,
            &point[..layout.leaf_vars - block.vars],
        );
        let at = suffix(&point, block.vars);
        let multiplicity =
            value(Atom::Column(block.multiplicity)).ok_or("a multiplicity has no value")?;
        used += selector;
        expected_num -= selector * multiplicity;
        let row = table_row(program, block.function, at)?;
        expected_den += selector * fingerprint.denominator(block.tag, &row);
    }
    expected_den += EF::ONE - used;
    if num != expected_num || den != expected_den {
        return Err("the lookup argument ends in values that are not those of its leaves".into());
    }
    Ok((point, values))
}

/// The columns of a table, extended to a point.
fn table_row(program: &Program, function: Option<u32>, at: &[EF]) -> Result<Vec<EF>, String> {
    let Some(function) = function else {
        // The row index, most significant bit first.
        return Ok(vec![at.iter().fold(EF::ZERO, |sum, &x| sum.double() + x)]);
    };
    let table = program
        .tables
        .get(function as usize)
        .ok_or("a table is missing")?;
    let (mut x, mut y) = (EF::ZERO, EF::ZERO);
    let last = table.values.len().saturating_sub(1);
    for (i, e) in eq_table(at).into_iter().enumerate() {
        // Rows after the last repeat it, so that no multiplicity there is free.
        let i = i.min(last);
        x += e * field(i128::from(table.lo) + i as i128);
        y += e * field(i128::from(table.values[i]));
    }
    Ok(vec![x, y])
}

/// The layered argument for `sum num / den = 0` over `2^vars` leaves. Returns
/// the point and the two values that the leaves must have there.
///
/// Each layer `k` has `2^k` fractions, the children of `i` are `2i` and
/// `2i + 1`, and a claim about layer `k` is reduced to layer `k + 1` by a
/// sumcheck over `eq(z, x) (lambda (p0 q1 + p1 q0) + q0 q1)`. The factor `eq` is
/// left out of the messages (Gruen, eprint 2024/108): a round sends the linear
/// and quadratic coefficients `b`, `c` of the quadratic rest `h`, whose constant
/// follows from `(1 - z) h(0) + z h(1) = claim`.
fn verify_fractions(reader: &mut Reader<'_>, vars: usize) -> Result<(Vec<EF>, EF, EF), String> {
    let m = reader.receive_many(4)?;
    let [p0, p1, q0, q1] = [m[0], m[1], m[2], m[3]];
    if p0 * q1 + p1 * q0 != EF::ZERO {
        return Err("the looked-up values are not all in their tables".into());
    }
    if q0 * q1 == EF::ZERO {
        return Err("a denominator of the lookup argument is zero".into());
    }
    let mu = reader.transcript.challenge();
    let mut point = vec![mu];
    let (mut p, mut q) = (p0 + mu * (p1 - p0), q0 + mu * (q1 - q0));
    for k in 1..vars {
        let lambda = reader.transcript.challenge();
        let mut claim = lambda * p + q;
        let mut next = Vec::with_capacity(k + 1);
        // The last variable is bound first.
        for &z in point.iter().rev() {
            let (b, c) = (reader.receive()?, reader.receive()?);
            let a = claim - z * (b + c);
            let r = reader.transcript.challenge();
            claim = a + r * (b + r * c);
            next.push(r);
        }
        next.reverse();
        let m = reader.receive_many(4)?;
        let [p0, p1, q0, q1] = [m[0], m[1], m[2], m[3]];
        if lambda * (p0 * q1 + p1 * q0) + q0 * q1 != claim {
            return Err(format!("layer {k} of the lookup argument does not add up"));
        }
        let mu = reader.transcript.challenge();
        (p, q) = (p0 + mu * (p1 - p0), q0 + mu * (q1 - q0));
        next.push(mu);
        point = next;
    }
    Ok((point, p, q))
}
