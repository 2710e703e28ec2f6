//! The lookup argument, prover's side: builds the tree of fractions and proves
//! each layer. See the verifier's `lookup` module for the equations.
//!
//! Only a prefix of each layer is stored; the rest are fractions 0/1, whose
//! part of every sum is known from the weights' total of 1. Within the prefix, runs of
//! fractions that have something in common need fewer products (`runs`). The leaves are
//! never stored (`leaves`). The layer above them is as large as all others together, so
//! it is computed twice instead of being kept.

use std::ops::Range;

use dsperse_sumcheck_packed as packed;
use dsperse_sumcheck_verifier::commit::{EF, F};
use dsperse_sumcheck_verifier::fault::ProofFault;
use dsperse_sumcheck_verifier::key::VerifyingKey;
use dsperse_sumcheck_verifier::lookup::{Fingerprint, LeafClaims, leaf_claims};
use dsperse_sumcheck_verifier::mle::below;
use p3_field::{Field, PrimeCharacteristicRing};
use rayon::prelude::*;

use crate::leaves::{Affine, AtomValues, Leaves};
use crate::runs::{Kind, Runs};
use crate::sender::Sender;
use crate::sumcheck::{PARALLEL, fold_chunks};
use crate::weight::{Split, Weight};

/// Fractions, each as numerator and denominator, one after the other.
type Fractions = Vec<EF>;

/// Pairs of pairs of fractions that one task works on: what it touches fits the
/// second-level cache.
const PIECE: usize = 1 << 9;

/// Proves all lookups; returns what is left to be shown.
pub fn prove_lookups(
    sender: &mut Sender<'_>,
    key: &VerifyingKey,
    atoms: &AtomValues<'_>,
) -> Result<LeafClaims, ProofFault> {
    let layout = &key.layout;
    let fingerprint = Fingerprint {
        alpha: sender.transcript.challenge(),
        gamma: sender.transcript.challenge(),
    };
    let leaves = Leaves::new(key, atoms, fingerprint);
    let (point, num, den) = prove_fractions(sender, &leaves, layout.leaf_vars);
    leaf_claims(&key.program, layout, fingerprint, point, num, den)
}

/// A layer of the circuit.
struct Stored {
    fractions: Fractions,
    runs: Runs,
}

/// Where fractions are read.
#[derive(Clone, Copy)]
enum Source<'a> {
    /// Leaves, with numerators times this.
    Leaves(&'a Leaves<'a>, EF),
    Stored(&'a [EF]),
}

impl Source<'_> {
    /// Fractions.
    fn len(self) -> usize {
        match self {
            Self::Leaves(leaves, _) => leaves.len,
            Self::Stored(fractions) => fractions.len() / 2,
        }
    }

    /// Leaves that are to be computed as such, if they are.
    fn affine<'s>(
        &'s self,
        kind: Option<Kind>,
        at: &Range<usize>,
        scratch: &'s mut Vec<F>,
    ) -> Option<Affine<'s>> {
        match (self, kind) {
            (Self::Leaves(leaves, _), Some(Kind::Ones)) => leaves.affine(at.clone(), scratch),
            _ => None,
        }
    }

    /// The fractions of a range; fewer where fewer are stored.
    fn read<'s>(&'s self, at: Range<usize>, scratch: &'s mut Vec<EF>) -> &'s [EF] {
        match self {
            Self::Leaves(leaves, scale) => {
                let len = 2 * at.len();
                if scratch.len() < len {
                    scratch.resize(len, EF::ZERO);
                }
                leaves.write(at.start, *scale, &mut scratch[..len]);
                &scratch[..len]
            }
            Self::Stored(fractions) => &fractions[2 * at.start..fractions.len().min(2 * at.end)],
        }
    }
}

/// Memory that a task uses again and again.
#[derive(Default)]
struct Scratch {
    fractions: Fractions,
    base: Vec<F>,
}

/// Zeros, with room for as many more as complete the last pair of pairs of fractions: to make
/// room afterwards would move the whole buffer to one of twice the length.
fn room_to_pair(len: usize) -> Fractions {
    let mut zeros = EF::zero_vec(len.next_multiple_of(8));
    zeros.truncate(len);
    zeros
}

/// The layer above one with these runs.
fn parent(child: Source<'_>, runs: &Runs) -> Stored {
    let children = runs.halved();
    let mut out = room_to_pair(2 * child.len().div_ceil(2));
    out.par_chunks_mut(2 * PIECE).enumerate().for_each_init(
        Scratch::default,
        |scratch, (i, out)| {
            let from = i * PIECE;
            for (at, kind) in children.segments(from..from + out.len() / 2) {
                let out = &mut out[2 * (at.start - from)..2 * (at.end - from)];
                let of_child = 2 * at.start..2 * at.end;
                if let Some(Kind::Zeros(den)) = kind {
                    let den = den.square();
                    out.chunks_exact_mut(2).for_each(|f| f[1] = den);
                } else if let Some(affine) = child.affine(kind, &of_child, &mut scratch.base) {
                    affine.parents(out);
                } else {
                    packed::add_pairs(child.read(of_child, &mut scratch.fractions), out);
                }
            }
        },
    );
    Stored {
        fractions: out,
        runs: children.summed(),
    }
}

/// (L2) The whole circuit, from its root to its leaves.
fn prove_fractions(sender: &mut Sender<'_>, leaves: &Leaves<'_>, vars: usize) -> (Vec<EF>, EF, EF) {
    // Layer k has up to 2^(vars - k) fractions; the first two are made when
    // their turn comes.
    let mut layers: Vec<Stored> = vec![];
    let mut top = match vars {
        0 | 1 => {
            let mut fractions = vec![EF::ZERO; 4];
            leaves.write(0, EF::ONE, &mut fractions);
            Stored {
                fractions,
                runs: Runs::default(),
            }
        }
        _ => parent(Source::Leaves(leaves, EF::ONE), &leaves.runs),
    };
    for k in 2..vars {
        let next = parent(Source::Stored(&top.fractions), &top.runs);
        let below = std::mem::replace(&mut top, next);
        if k > 2 {
            layers.push(below);
        }
    }
    let get = |i: usize, pad: EF| top.fractions.get(i).copied().unwrap_or(pad);
    let p0 = sender.send(get(0, EF::ZERO));
    let p1 = sender.send(get(2, EF::ZERO));
    let q0 = sender.send(get(1, EF::ONE));
    let q1 = sender.send(get(3, EF::ONE));
    drop(top);
    let mu = sender.transcript.challenge();
    let mut point = vec![mu];
    let (mut p, mut q) = (p0 + mu * (p1 - p0), q0 + mu * (q1 - q0));
    for k in 1..vars {
        let layer = match vars - k {
            1 => Layer::Leaves(leaves),
            2 => Layer::Stored(parent(Source::Leaves(leaves, EF::ONE), &leaves.runs)),
            _ => match layers.pop() {
                Some(layer) => Layer::Stored(layer),
                // As many were pushed.
                None => break,
            },
        };
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

/// Where the fractions of a layer come from.
enum Layer<'a> {
    Leaves(&'a Leaves<'a>),
    Stored(Stored),
}

/// The sum of the summand and of its quadratic coefficient over pairs of four
/// fractions. `runs` are those of pairs.
fn round_sums(point: &[EF], pairs: usize, runs: &Runs, lambda: EF, source: Source<'_>) -> (EF, EF) {
    let Split { high, low } = Weight::eq(point).split();
    let piece = low.len().min(PIECE);
    let pieces = low.len() / piece;
    let add = |a: (EF, EF), b: (EF, EF)| (a.0 + b.0, a.1 + b.1);
    let zero = || (EF::ZERO, EF::ZERO);
    (0..pairs.div_ceil(piece))
        .into_par_iter()
        .with_min_len((PARALLEL / 8 / piece).max(1))
        .fold(
            || (Scratch::default(), zero()),
            |(mut scratch, sum), task| {
                let (h, at) = (high[task / pieces], task % pieces * piece);
                let from = task * piece;
                let mut four = zero();
                for (pairs, kind) in runs.segments(from..pairs.min(from + piece)) {
                    let eq = &low[at + pairs.start - from..at + pairs.end - from];
                    let four_of = 4 * pairs.start..4 * pairs.end;
                    let affine = source.affine(kind, &four_of, &mut scratch.base);
                    let fractions = &mut scratch.fractions;
                    let part = match (kind, affine) {
                        // Four fractions 0/c: the summand is c c, and constant.
                        (Some(Kind::Zeros(den)), _) => {
                            (den.square() * eq.iter().copied().sum::<EF>(), EF::ZERO)
                        }
                        (_, Some(affine)) => affine.sums(lambda, eq),
                        (Some(Kind::Ones), None) => {
                            sums_of_ones(source.read(four_of, fractions), lambda, eq)
                        }
                        (None, None) => packed::sums_of(source.read(four_of, fractions), eq).into(),
                    };
                    four = add(four, part);
                }
                (scratch, add(sum, (four.0 * h, four.1 * h)))
            },
        )
        .map(|(_, sum)| sum)
        .reduce(zero, add)
}

/// The summand is `q1 (p0 + q0) + p1 q0`, numerators times lambda. Where all numerators are
/// lambda it is `(q0 + lambda) (q1 + lambda) - lambda^2`.
fn sums_of_ones(fractions: &[EF], lambda: EF, eq: &[EF]) -> (EF, EF) {
    let [at_zero, quadratic, total] = packed::sums_of_ones(fractions, lambda, eq);
    (at_zero - lambda.square() * total, quadratic)
}

/// The sumcheck (L3) of one layer: returns the new point and p0, p1, q0, q1 there.
fn prove_layer(
    sender: &mut Sender<'_>,
    layer: Layer<'_>,
    point: &[EF],
    lambda: EF,
    mut claim: EF,
) -> (Vec<EF>, [EF; 4]) {
    let (mut fractions, runs, leaves) = match layer {
        Layer::Leaves(leaves) => (vec![], leaves.runs.clone(), Some(leaves)),
        Layer::Stored(Stored {
            mut fractions,
            runs,
        }) => {
            fractions
                .par_chunks_mut(2)
                .with_min_len(PARALLEL)
                .for_each(|f| f[0] *= lambda);
            (fractions, runs, None)
        }
    };
    // Of pairs of pairs of fractions.
    let mut runs = runs.halved().halved();
    let mut challenges = Vec::with_capacity(point.len() + 1);
    for (round, &z) in point.iter().rev().enumerate() {
        // Variables that are bound already have left the factor eq.
        let rest = &point[..point.len() - 1 - round];
        let leaves = leaves.filter(|_| round == 0);
        let pairs = match leaves {
            Some(leaves) => leaves.len.div_ceil(4),
            None => {
                let pairs = (fractions.len() / 2).div_ceil(4);
                while fractions.len() < 8 * pairs {
                    fractions.extend([EF::ZERO, EF::ONE]);
                }
                pairs
            }
        };
        let source = match leaves {
            Some(leaves) => Source::Leaves(leaves, lambda),
            None => Source::Stored(&fractions),
        };
        let (mut at_zero, quadratic) = round_sums(rest, pairs, &runs, lambda, source);
        // Every pair beyond the prefix is 0/1 twice, so the summand is 1.
        at_zero += EF::ONE - below(rest, pairs);
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
        match leaves {
            Some(leaves) => fractions = fold_leaves(leaves, &runs, lambda, r),
            None => fold_fractions(&mut fractions, &runs, r),
        }
        runs = runs.halved();
        challenges.push(r);
    }
    challenges.reverse();
    let unscale = lambda.try_inverse().unwrap_or(EF::ZERO);
    let get = |i: usize, pad: EF| fractions.get(i).copied().unwrap_or(pad);
    let ends = [
        get(0, EF::ZERO) * unscale,
        get(2, EF::ZERO) * unscale,
        get(1, EF::ONE),
        get(3, EF::ONE),
    ];
    (challenges, ends)
}

fn of_zeros(den: EF) -> [EF; 4] {
    [EF::ZERO, den, EF::ZERO, den]
}

/// Binds the last variable of stored fractions; `runs` are those of pairs.
fn fold_fractions(fractions: &mut Fractions, runs: &Runs, r: EF) {
    fold_chunks(fractions, 4, |from, chunk| {
        for (at, kind) in runs.segments(from..from + chunk.len() / 8) {
            let (start, end) = (at.start - from, at.end - from);
            if let Some(Kind::Zeros(den)) = kind {
                let zeros = of_zeros(den);
                chunk[4 * start..4 * end]
                    .chunks_exact_mut(4)
                    .for_each(|four| four.copy_from_slice(&zeros));
            } else {
                packed::fold_fours_in_place(&mut chunk[8 * start..8 * end], r);
                chunk.copy_within(8 * start..8 * start + 4 * at.len(), 4 * start);
            }
        }
    });
}

/// The leaves with their last variable bound.
fn fold_leaves(leaves: &Leaves<'_>, runs: &Runs, lambda: EF, r: EF) -> Fractions {
    let mut out = room_to_pair(4 * leaves.len.div_ceil(4));
    let source = Source::Leaves(leaves, lambda);
    out.par_chunks_mut(4 * PIECE).enumerate().for_each_init(
        Scratch::default,
        |scratch, (i, out)| {
            let from = i * PIECE;
            for (at, kind) in runs.segments(from..from + out.len() / 4) {
                let out = &mut out[4 * (at.start - from)..4 * (at.end - from)];
                let four_of = 4 * at.start..4 * at.end;
                if let Some(Kind::Zeros(den)) = kind {
                    let zeros = of_zeros(den);
                    out.chunks_exact_mut(4)
                        .for_each(|out| out.copy_from_slice(&zeros));
                } else if let Some(affine) = source.affine(kind, &four_of, &mut scratch.base) {
                    affine.fold(lambda, r, out);
                } else {
                    packed::fold_fours(source.read(four_of, &mut scratch.fractions), r, out);
                }
            }
        },
    );
    out
}
