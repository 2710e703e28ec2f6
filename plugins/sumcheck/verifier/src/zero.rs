//! The element-wise equations (G1) to (G6), verifier's side: one sumcheck (E1) for all,
//! which also brings the claims of the lookup argument to a single point.
//!
//! For each node with constraints `C_j` and a random `tau`, the sum over all
//! elements `x` of `eq(tau, x) [x is not padding] sum_j lambda^j C_j(x)` must
//! be 0; each of the two equations `sum_i c_i X_i(rho) = v` that the lookup
//! argument leaves is `sum_i sum_x eq(rho, x) c_i X_i(x) = v`. All are added with
//! powers of `lambda`, the latter two first. A summand on `n` variables joins
//! one on more as `x_1 .. x_m f(x_{m+1}..)`, so all end at suffixes of one point.

use std::collections::BTreeMap;

use p3_field::PrimeCharacteristicRing;

use crate::commit::EF;
use crate::fault::ProofFault;
use crate::layout::{Atom, Layout};
use crate::lookup::{LeafClaims, apply};
use crate::mle::{eq_eval, eq_masked, num_vars, suffix};
use crate::transcript::{Reader, verify_sumcheck};
use crate::validate::Checked;

/// Sizes of the batch: rounds and degree of the sumcheck.
pub fn batch_shape(layout: &Layout, checked: &Checked) -> (usize, usize) {
    let atoms = layout
        .atoms
        .iter()
        .map(|&a| num_vars(layout.shape(checked, a)));
    let rounds = atoms.max().unwrap_or(0);
    let degree = layout
        .gadgets
        .iter()
        .map(|g| g.degree() + 1)
        .max()
        .unwrap_or(2)
        .max(2);
    (rounds, degree)
}

/// Checks the batch; returns its point and the claimed value of every atom of
/// [`Layout::atoms`] at the point's suffixes.
pub fn verify_equations(
    reader: &mut Reader<'_>,
    checked: &Checked,
    layout: &Layout,
    leaves: &LeafClaims,
) -> Result<(Vec<EF>, Vec<EF>), ProofFault> {
    let (rounds, degree) = batch_shape(layout, checked);
    let tau = reader.transcript.challenges(rounds);
    let lambda = reader.transcript.challenge();
    let claim = leaves.targets[0] + lambda * leaves.targets[1];
    let (point, end) = verify_sumcheck(reader, claim, rounds, degree)?;
    let values = reader.receive_many(layout.atoms.len())?;
    let by_atom: BTreeMap<Atom, EF> = layout
        .atoms
        .iter()
        .copied()
        .zip(values.iter().copied())
        .collect();
    let value = |atom: Atom| by_atom.get(&atom).copied();

    let raised = |n: usize| -> EF { point[..rounds - n].iter().copied().product() };
    let mut expected = EF::ZERO;
    let mut weights: BTreeMap<usize, EF> = BTreeMap::new();
    for (&atom, [first, second]) in layout.lookup_atoms.iter().zip(&leaves.coefficients) {
        let n = num_vars(layout.shape(checked, atom));
        let weight = *weights
            .entry(n)
            .or_insert_with(|| raised(n) * eq_eval(suffix(&leaves.point, n), suffix(&point, n)));
        let value = value(atom).ok_or(ProofFault::Layout("an atom has no value"))?;
        expected += (*first + lambda * *second) * weight * value;
    }
    let mut power = lambda.square();
    for gadget in &layout.gadgets {
        let n = num_vars(&gadget.shape);
        let mut sum = EF::ZERO;
        for constraint in &gadget.constraints {
            let mut at_point = EF::ZERO;
            for product in &constraint.products {
                let mut p = EF::ONE;
                for form in product {
                    p *= apply(form, &value)?;
                }
                at_point += p;
            }
            sum += power * at_point;
            power *= lambda;
        }
        // Only this factor keeps padding out; it is not the prover's.
        let eq = eq_masked(suffix(&tau, n), suffix(&point, n), &gadget.shape);
        expected += raised(n) * eq * sum;
    }
    // (E1) at the end of its sumcheck, from the values sent.
    if expected != end {
        return Err(ProofFault::Equations);
    }
    Ok((point, values))
}
