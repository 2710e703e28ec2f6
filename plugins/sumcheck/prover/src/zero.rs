//! The element-wise equations (G1) to (G6), prover's side, as the batch (E1) (see the
//! verifier's `zero`).

use std::collections::BTreeMap;

use dsperse_sumcheck_verifier::commit::EF;
use dsperse_sumcheck_verifier::key::VerifyingKey;
use dsperse_sumcheck_verifier::layout::{Atom, Gadget, Linear};
use dsperse_sumcheck_verifier::lookup::LeafClaims;
use dsperse_sumcheck_verifier::mle::{eq_table, num_vars, split, suffix};
use dsperse_sumcheck_verifier::zero::batch_shape;
use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;
use std::borrow::Cow;

use crate::leaves::AtomValues;
use crate::sender::Sender;
use crate::sumcheck::{Arrays, Form, Instance, PARALLEL, prove_batch};
use crate::weight::{Weight, pieces};

/// Proves the batch; returns its point and the values of all atoms.
pub fn prove_equations(
    sender: &mut Sender<'_>,
    key: &VerifyingKey,
    atoms: &AtomValues<'_>,
    leaves: &LeafClaims,
) -> (Vec<EF>, Vec<EF>) {
    let layout = &key.layout;
    let (rounds, degree) = batch_shape(layout, &key.checked);
    let tau = sender.transcript.challenges(rounds);
    let lambda = sender.transcript.challenge();
    let vars = |atom: Atom| num_vars(layout.shape(&key.checked, atom));

    // The lookup argument's equations, (L4): for each size one combined array.
    let mut combined: BTreeMap<usize, Vec<EF>> = BTreeMap::new();
    for (&atom, [first, second]) in layout.lookup_atoms.iter().zip(&leaves.coefficients) {
        let n = vars(atom);
        let sum = combined.entry(n).or_insert_with(|| EF::zero_vec(1 << n));
        let c = *first + lambda * *second;
        sum.par_iter_mut()
            .with_min_len(PARALLEL)
            .zip(&*atoms[&atom])
            .for_each(|(s, &v)| *s += c * v);
    }
    let mut instances: Vec<Instance<'_>> = combined
        .into_iter()
        .map(|(n, sum)| {
            let weight = Weight::eq(suffix(&leaves.point, n));
            let claim = weight.inner_ext(&sum);
            Instance {
                weight,
                arrays: Arrays::Ext(vec![sum]),
                products: vec![(EF::ONE, vec![Form::array(0)])],
                claim,
            }
        })
        .collect();
    let mut power = lambda.square();
    let mut gadget_atoms = vec![];
    for gadget in &layout.gadgets {
        let (instance, used) = gadget_instance(gadget, atoms, &tau, lambda, &mut power);
        gadget_atoms.push((instances.len(), used));
        instances.push(instance);
    }
    let point = prove_batch(&mut instances, rounds, degree, sender);

    // Values at the end: from the folded arrays where there are any.
    let mut known: BTreeMap<Atom, EF> = BTreeMap::new();
    for (i, used) in gadget_atoms {
        known.extend(used.into_iter().zip(instances[i].ends()));
    }
    drop(instances);
    let values = layout
        .atoms
        .iter()
        .map(|atom| {
            let value = known
                .get(atom)
                .copied()
                .unwrap_or_else(|| Weight::eq(suffix(&point, vars(*atom))).inner(&atoms[atom]));
            sender.send(value)
        })
        .collect();
    (point, values)
}

fn gadget_instance<'a>(
    gadget: &Gadget,
    atoms: &'a AtomValues<'_>,
    tau: &[EF],
    lambda: EF,
    power: &mut EF,
) -> (Instance<'a>, Vec<Atom>) {
    let mut used: Vec<Atom> = vec![];
    let mut form = |l: &Linear| {
        let (constant, terms) = l.in_field();
        let mut index = |atom: Atom| match used.iter().position(|&a| a == atom) {
            Some(i) => i,
            None => {
                used.push(atom);
                used.len() - 1
            }
        };
        Form {
            constant,
            terms: terms.into_iter().map(|(a, c)| (index(a), c)).collect(),
        }
    };
    let mut products = vec![];
    for constraint in &gadget.constraints {
        for product in &constraint.products {
            products.push((*power, product.iter().map(&mut form).collect()));
        }
        *power *= lambda;
    }
    let n = num_vars(&gadget.shape);
    let weights: Vec<Vec<EF>> = split(suffix(tau, n), &gadget.shape)
        .into_iter()
        .zip(&gadget.shape)
        .flat_map(|(part, &size)| {
            if size == 1 << part.len() {
                return pieces(part).map(eq_table).collect();
            }
            let mut t = eq_table(part);
            t[size..].fill(EF::ZERO);
            vec![t]
        })
        .collect();
    let instance = Instance {
        weight: Weight::new(weights),
        arrays: Arrays::Base(used.iter().map(|a| Cow::Borrowed(&*atoms[a])).collect()),
        products,
        claim: EF::ZERO,
    };
    (instance, used)
}
