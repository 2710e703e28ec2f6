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

use std::collections::BTreeMap;

use p3_field::PrimeCharacteristicRing;

use crate::commit::EF;
use crate::fault::ProofFault;
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
    /// `alpha - fp(tag, values)`, with the fingerprint of (L1).
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
pub fn apply(form: &Linear, value: &dyn Fn(Atom) -> Option<EF>) -> Result<EF, ProofFault> {
    let (constant, terms) = form.in_field();
    let mut sum = EF::from(constant);
    for (atom, c) in terms {
        sum += value(atom).ok_or(ProofFault::Layout("an atom has no value"))? * c;
    }
    Ok(sum)
}

/// What the argument ends in: two linear equations between the values of
/// [`Layout::lookup_atoms`] at the suffixes of one point.
#[derive(Default)]
pub struct LeafClaims {
    /// The point.
    pub point: Vec<EF>,
    /// For each atom, its coefficients in the two equations.
    pub coefficients: Vec<[EF; 2]>,
    /// Their right-hand sides.
    pub targets: [EF; 2],
}

/// Runs the argument and returns what it leaves to be shown.
pub fn verify_lookups(
    reader: &mut Reader<'_>,
    program: &Program,
    layout: &Layout,
) -> Result<LeafClaims, ProofFault> {
    let fingerprint = Fingerprint {
        alpha: reader.transcript.challenge(),
        gamma: reader.transcript.challenge(),
    };
    let (point, num, den) = verify_fractions(reader, layout.leaf_vars)?;
    leaf_claims(program, layout, fingerprint, point, num, den)
}

/// The numerator and denominator of the leaves at a point, written out in the
/// atoms: (L4). The circuit's claims are authenticated by nothing else: tables, tags,
/// masks and padding are computed here.
pub fn leaf_claims(
    program: &Program,
    layout: &Layout,
    fingerprint: Fingerprint,
    point: Vec<EF>,
    num: EF,
    den: EF,
) -> Result<LeafClaims, ProofFault> {
    let index: BTreeMap<Atom, usize> = layout
        .lookup_atoms
        .iter()
        .enumerate()
        .map(|(i, &a)| (a, i))
        .collect();
    let missing = ProofFault::Layout("an atom is missing");
    let find = |atom: Atom| index.get(&atom).copied().ok_or(missing.clone());
    let mut coefficients = vec![[EF::ZERO; 2]; layout.lookup_atoms.len()];
    // The parts that are known: subtracted from the claims.
    let (mut known_num, mut known_den, mut used) = (EF::ZERO, EF::ZERO, EF::ZERO);
    for block in &layout.lookups {
        let n = num_vars(&block.shape);
        let selector = eq_index(block.offset >> n, &point[..layout.leaf_vars - n]);
        used += selector;
        known_num += selector * mask(suffix(&point, n), &block.shape);
        let mut constants = vec![];
        let mut power = selector;
        for arg in &block.args {
            power *= fingerprint.gamma;
            let (constant, terms) = arg.in_field();
            constants.push(EF::from(constant));
            for (atom, c) in terms {
                coefficients[find(atom)?][1] -= power * c;
            }
        }
        known_den += selector * fingerprint.denominator(block.tag, &constants);
    }
    for block in &layout.tables {
        let high = &point[..layout.leaf_vars - block.vars];
        let selector = eq_index(block.offset >> block.vars, high);
        used += selector;
        coefficients[find(Atom::Column(block.multiplicity))?][0] -= selector;
        let row = table_row(program, block.function, suffix(&point, block.vars))?;
        known_den += selector * fingerprint.denominator(block.tag, &row);
    }
    known_den += EF::ONE - used;
    Ok(LeafClaims {
        point,
        coefficients,
        targets: [num - known_num, den - known_den],
    })
}

/// The columns of a table, extended to a point.
fn table_row(program: &Program, function: Option<u32>, at: &[EF]) -> Result<Vec<EF>, ProofFault> {
    let Some(function) = function else {
        // The row index, most significant bit first.
        return Ok(vec![at.iter().fold(EF::ZERO, |sum, &x| sum.double() + x)]);
    };
    let table = program
        .tables
        .get(function as usize)
        .ok_or(ProofFault::Layout("a table is missing"))?;
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
fn verify_fractions(reader: &mut Reader<'_>, vars: usize) -> Result<(Vec<EF>, EF, EF), ProofFault> {
    let m = reader.receive_many(4)?;
    let [p0, p1, q0, q1] = [m[0], m[1], m[2], m[3]];
    // (L2): the root is a sum of two fractions.
    if p0 * q1 + p1 * q0 != EF::ZERO {
        return Err(ProofFault::NotInTables);
    }
    if q0 * q1 == EF::ZERO {
        return Err(ProofFault::Denominator);
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
        // (L3) at the end of its sumcheck, eq being left out.
        if lambda * (p0 * q1 + p1 * q0) + q0 * q1 != claim {
            return Err(ProofFault::Layer(k));
        }
        let mu = reader.transcript.challenge();
        (p, q) = (p0 + mu * (p1 - p0), q0 + mu * (q1 - q0));
        next.push(mu);
        point = next;
    }
    Ok((point, p, q))
}
