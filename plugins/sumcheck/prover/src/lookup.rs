//! The lookup argument, prover's side: builds the tree of fractions and proves
//! each layer. See the verifier's `lookup` module for the equations.
//!
//! Only a prefix of each layer is stored; the rest are fractions 0/1, whose
//! part of every sum is known from the weights' total of 1.

use std::collections::BTreeMap;

use dsperse_sumcheck_verifier::commit::{EF, F};
use dsperse_sumcheck_verifier::key::VerifyingKey;
use dsperse_sumcheck_verifier::layout::{Atom, Linear};
use dsperse_sumcheck_verifier::lookup::{Fingerprint, LeafClaims, leaf_claims};
use dsperse_sumcheck_verifier::mle::{eq_table, num_vars, pad_index};
use p3_field::{Field, PrimeCharacteristicRing};

use crate::sender::Sender;

/// Padded values of atoms.
pub type AtomValues = BTreeMap<Atom, Vec<F>>;

/// One layer: numerators and denominators.
struct Layer {
    p: Vec<EF>,
    q: Vec<EF>,
}

/// Proves all lookups; returns what is left to be shown.
pub fn prove_lookups(
    sender: &mut Sender<'_>,
    key: &VerifyingKey,
    atoms: &AtomValues,
) -> Result<LeafClaims, String> {
    let layout = &key.layout;
    let fingerprint = Fingerprint {
        alpha: sender.transcript.challenge(),
        gamma: sender.transcript.challenge(),
    };
    let leaves = leaves(key, atoms, fingerprint);
    let (point, num, den) = prove_fractions(sender, leaves, layout.leaf_vars);
    leaf_claims(&key.program, layout, fingerprint, point, num, den)
}

/// `sum eq * values`.
pub fn inner(eq: &[EF], values: &[F]) -> EF {
    eq.iter().zip(values).map(|(&e, &v)| e * v).sum()
}

fn leaves(key: &VerifyingKey, atoms: &AtomValues, fingerprint: Fingerprint) -> Layer {
    let layout = &key.layout;
    let mut p = vec![EF::ZERO; layout.leaves];
    let mut q = vec![EF::ONE; layout.leaves];
    let values = |form: &Linear, len: usize| -> Vec<F> {
        let (constant, terms) = form.in_field();
        let mut out = vec![constant; len];
        for (atom, c) in terms {
            out.iter_mut()
                .zip(&atoms[&atom])
                .for_each(|(o, &v)| *o += v * c);
        }
        out
    };
    // alpha - tag - gamma v1 - gamma^2 v2
    let denominators = |q: &mut [EF], tag: u64, args: &[Vec<F>]| {
        let base = fingerprint.alpha - EF::from_u64(tag);
        q.fill(base);
        let mut power = EF::ONE;
        for arg in args {
            power *= fingerprint.gamma;
            q.iter_mut().zip(arg).for_each(|(q, &v)| *q -= power * v);
        }
    };
    for block in &layout.lookups {
        let len = 1 << num_vars(&block.shape);
        let at = block.offset..block.offset + len;
        let args: Vec<Vec<F>> = block.args.iter().map(|a| values(a, len)).collect();
        denominators(&mut q[at.clone()], block.tag, &args);
        let p = &mut p[at];
        for i in 0..block.shape.iter().product() {
            p[pad_index(i, &block.shape)] = EF::ONE;
        }
    }
    for block in &layout.tables {
        let len = 1usize << block.vars;
        let at = block.offset..block.offset + len;
        let args: Vec<Vec<F>> = match block.function {
            None => vec![(0..len).map(|i| F::from_u64(i as u64)).collect()],
            Some(t) => {
                let table = &key.program.tables[t as usize];
                let last = table.values.len() - 1;
                vec![
                    (0..len)
                        .map(|i| F::from_i64(table.lo + i.min(last) as i64))
                        .collect(),
                    (0..len)
                        .map(|i| F::from_i64(table.values[i.min(last)].into()))
                        .collect(),
                ]
            }
        };
        denominators(&mut q[at.clone()], block.tag, &args);
        let counts = &atoms[&Atom::Column(block.multiplicity)];
        p[at]
            .iter_mut()
            .zip(counts)
            .for_each(|(p, &m)| *p = -EF::from(m));
    }
    Layer { p, q }
}

fn parent(child: &Layer) -> Layer {
    let n = child.p.len().div_ceil(2);
    let (mut p, mut q) = (Vec::with_capacity(n), Vec::with_capacity(n));
    for i in 0..n {
        let (p0, q0) = (child.p[2 * i], child.q[2 * i]);
        match (child.p.get(2 * i + 1), child.q.get(2 * i + 1)) {
            (Some(&p1), Some(&q1)) => {
                p.push(p0 * q1 + p1 * q0);
                q.push(q0 * q1);
            }
            _ => {
                p.push(p0);
                q.push(q0);
            }
        }
    }
    Layer { p, q }
}

fn prove_fractions(sender: &mut Sender<'_>, leaves: Layer, vars: usize) -> (Vec<EF>, EF, EF) {
    // layers[k] has up to 2^(vars - k) fractions.
    let mut layers = vec![leaves];
    for k in 0..vars - 1 {
        let next = parent(&layers[k]);
        layers.push(next);
    }
    let top = layers.pop().unwrap_or(Layer {
        p: vec![],
        q: vec![],
    });
    let get = |v: &[EF], i: usize, pad: EF| v.get(i).copied().unwrap_or(pad);
    let p0 = sender.send(get(&top.p, 0, EF::ZERO));
    let p1 = sender.send(get(&top.p, 1, EF::ZERO));
    let q0 = sender.send(get(&top.q, 0, EF::ONE));
    let q1 = sender.send(get(&top.q, 1, EF::ONE));
    let mu = sender.transcript.challenge();
    let mut point = vec![mu];
    let (mut p, mut q) = (p0 + mu * (p1 - p0), q0 + mu * (q1 - q0));
    while let Some(layer) = layers.pop() {
        let lambda = sender.transcript.challenge();
        let (mut next, ends) = prove_layer(sender, layer, &point, lambda, lambda * p + q);
        let [p0, p1, q0, q1] = ends.map(|v| sender.send(v));
        let mu = sender.transcript.challenge();
        (p, q) = (p0 + mu * (p1 - p0), q0 + mu * (q1 - q0));
        next.push(mu);
        point = next;
    }
    (point, p, q)
}

/// The sumcheck of one layer: returns the new point and p0, p1, q0, q1 there.
fn prove_layer(
    sender: &mut Sender<'_>,
    layer: Layer,
    point: &[EF],
    lambda: EF,
    mut claim: EF,
) -> (Vec<EF>, [EF; 4]) {
    // Numerators times lambda: the summand is q1 (P0 + q0) + P1 q0.
    let take = |v: &[EF], odd: usize, pad: EF, scale: Option<EF>| -> Vec<EF> {
        let n = v.len().div_ceil(2);
        (0..n)
            .map(|i| {
                let x = v.get(2 * i + odd).copied().unwrap_or(pad);
                scale.map_or(x, |s| s * x)
            })
            .collect()
    };
    let mut p0 = take(&layer.p, 0, EF::ZERO, Some(lambda));
    let mut p1 = take(&layer.p, 1, EF::ZERO, Some(lambda));
    let mut q0 = take(&layer.q, 0, EF::ONE, None);
    let mut q1 = take(&layer.q, 1, EF::ONE, None);
    drop(layer);
    let mut eq = eq_table(&point[..point.len() - 1]);
    let mut challenges = Vec::with_capacity(point.len() + 1);
    for (round, &z) in point.iter().rev().enumerate() {
        if round > 0 {
            // Sum out the variable that the next pair consumes.
            eq = eq.chunks_exact(2).map(|e| e[0] + e[1]).collect();
        }
        if p0.len() % 2 == 1 {
            p0.push(EF::ZERO);
            p1.push(EF::ZERO);
            q0.push(EF::ONE);
            q1.push(EF::ONE);
        }
        let pairs = p0.len() / 2;
        let (mut at_zero, mut quadratic) = (EF::ZERO, EF::ZERO);
        let mut head = EF::ZERO;
        for (j, &e) in eq.iter().take(pairs).enumerate() {
            let i = 2 * j;
            let zero = q1[i] * (p0[i] + q0[i]) + p1[i] * q0[i];
            let (dp0, dp1) = (p0[i + 1] - p0[i], p1[i + 1] - p1[i]);
            let (dq0, dq1) = (q0[i + 1] - q0[i], q1[i + 1] - q1[i]);
            let square = dq1 * (dp0 + dq0) + dp1 * dq0;
            at_zero += e * zero;
            quadratic += e * square;
            head += e;
        }
        // Every pair beyond the prefix is 0/1 twice, so the summand is 1.
        at_zero += EF::ONE - head;
        let linear = match z.try_inverse() {
            // From (1 - z) h(0) + z h(1) = claim.
            Some(inverse) => (claim - at_zero) * inverse - quadratic,
            // z = 0 has probability 2^-192; the rest of the proof then fails.
            None => EF::ZERO,
        };
        let linear = sender.send(linear);
        let quadratic = sender.send(quadratic);
        let r = sender.transcript.challenge();
        claim = claim - z * (linear + quadratic) + r * (linear + r * quadratic);
        for v in [&mut p0, &mut p1, &mut q0, &mut q1] {
            for j in 0..pairs {
                v[j] = v[2 * j] + r * (v[2 * j + 1] - v[2 * j]);
            }
            v.truncate(pairs);
        }
        challenges.push(r);
    }
    challenges.reverse();
    let unscale = lambda.try_inverse().unwrap_or(EF::ZERO);
    let first = |v: &[EF], pad: EF| v.first().copied().unwrap_or(pad);
    let ends = [
        first(&p0, EF::ZERO) * unscale,
        first(&p1, EF::ZERO) * unscale,
        first(&q0, EF::ONE),
        first(&q1, EF::ONE),
    ];
    (challenges, ends)
}
