//! The lookup argument, prover's side: builds the tree of fractions and proves
//! each layer. See the verifier's `lookup` module for the equations.
//!
//! Only a prefix of each layer is stored; the rest are fractions 0/1, whose
//! part of every sum is known from the weights' total of 1. Runs of padding
//! within it are equal fractions 0/c, and no sum over them needs a product of its
//! own (`runs`). The leaves are never stored: they are affine forms in base-field values that are there
//! anyway. The layer above them is as large as all others together, so it is
//! computed twice instead of being kept.

use std::borrow::Cow;
use std::collections::BTreeMap;

use dsperse_sumcheck_verifier::commit::{EF, F};
use dsperse_sumcheck_verifier::fault::ProofFault;
use dsperse_sumcheck_verifier::key::VerifyingKey;
use dsperse_sumcheck_verifier::layout::{Atom, Linear};
use dsperse_sumcheck_verifier::lookup::{Fingerprint, LeafClaims, leaf_claims};
use dsperse_sumcheck_verifier::mle::{below, bits, num_vars};
use dsperse_sumcheck_verifier::wide::WideSum;
use p3_field::{Field, PrimeCharacteristicRing};
use rayon::prelude::*;

use crate::runs::{Run, Runs};
use crate::sender::Sender;
use crate::sumcheck::{PARALLEL, fold_chunks};
use crate::weight::{Split, Weight};

/// Padded values of atoms.
pub type AtomValues<'a> = BTreeMap<Atom, Cow<'a, [F]>>;

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

/// The leaves of one lookup or table, (L1).
struct Block<'a> {
    offset: usize,
    len: usize,
    /// `alpha - tag`.
    base: EF,
    args: Vec<Arg<'a>>,
    numerators: Numerators<'a>,
}

/// One value of the looked-up tuples or rows.
enum Arg<'a> {
    /// An affine form in atoms.
    Form(F, Vec<(&'a [F], F)>),
    /// Values made for it.
    Values(Vec<F>),
}

enum Numerators<'a> {
    /// 1 where the shape has an element, 0 for its padding.
    Mask(&'a [usize]),
    /// Minus the multiplicities.
    Counts(&'a [F]),
}

/// All leaves, computed where they are needed.
struct Leaves<'a> {
    /// Without gaps, in the order of their offsets.
    blocks: Vec<Block<'a>>,
    gamma: EF,
    len: usize,
    /// Of padding.
    runs: Runs,
}

impl<'a> Leaves<'a> {
    fn new(key: &'a VerifyingKey, atoms: &'a AtomValues<'_>, fingerprint: Fingerprint) -> Self {
        let layout = &key.layout;
        let base = |tag: u64| fingerprint.alpha - EF::from_u64(tag);
        let form = |form: &Linear| {
            let (constant, terms) = form.in_field();
            let terms = terms.into_iter().map(|(a, c)| (&*atoms[&a], c)).collect();
            Arg::Form(constant, terms)
        };
        let lookups = layout.lookups.iter().map(|block| Block {
            offset: block.offset,
            len: 1 << num_vars(&block.shape),
            base: base(block.tag),
            args: block.args.iter().map(form).collect(),
            numerators: Numerators::Mask(&block.shape),
        });
        let tables = layout.tables.iter().map(|block| {
            let len = 1usize << block.vars;
            let column = |f: &dyn Fn(usize) -> F| Arg::Values((0..len).map(f).collect());
            let args = match block.function {
                None => vec![column(&|i| F::from_u64(i as u64))],
                Some(t) => {
                    let table = &key.program.tables[t as usize];
                    let last = table.values.len() - 1;
                    vec![
                        column(&|i| F::from_i64(table.lo + i.min(last) as i64)),
                        column(&|i| F::from_i64(table.values[i.min(last)].into())),
                    ]
                }
            };
            Block {
                offset: block.offset,
                len,
                base: base(block.tag),
                args,
                numerators: Numerators::Counts(&atoms[&Atom::Column(block.multiplicity)]),
            }
        });
        let mut blocks: Vec<Block<'a>> = lookups.chain(tables).collect();
        blocks.sort_by_key(|b| b.offset);
        let gamma = fingerprint.gamma;
        let runs = blocks.iter().flat_map(|b| b.padding(gamma)).collect();
        Self {
            blocks,
            gamma,
            len: layout.leaves,
            runs: Runs::new(runs),
        }
    }

    /// Writes the leaves from number `from`, with numerators times `scale`;
    /// what is beyond the last is 0/1.
    fn write(&self, from: usize, scale: EF, out: &mut [EF]) {
        let end = from + out.len() / 2;
        let first = self.blocks.partition_point(|b| b.offset + b.len <= from);
        for block in &self.blocks[first..] {
            if block.offset >= end {
                break;
            }
            let (start, stop) = (block.offset.max(from), (block.offset + block.len).min(end));
            let at = start - block.offset..stop - block.offset;
            let slots = &mut out[2 * (start - from)..2 * (stop - from)];
            block.write(at, self.gamma, scale, slots);
        }
        for slot in out[2 * (end.min(self.len).max(from) - from)..].chunks_exact_mut(2) {
            slot[0] = EF::ZERO;
            slot[1] = EF::ONE;
        }
    }
}

impl Block<'_> {
    /// The runs of leaves that are padding of the looked-up tensors and zero in all of them.
    fn padding(&self, gamma: EF) -> Vec<Run> {
        let Numerators::Mask(shape) = self.numerators else {
            return vec![];
        };
        let (mut den, mut power) = (self.base, EF::ONE);
        let mut columns: Vec<&[F]> = vec![];
        for arg in &self.args {
            power *= gamma;
            match arg {
                Arg::Values(values) => columns.push(values),
                Arg::Form(constant, terms) => {
                    den -= power * *constant;
                    columns.extend(terms.iter().map(|t| t.0));
                }
            }
        }
        let row_len = shape.last().copied().unwrap_or(1);
        let row_bits = bits(row_len);
        let mut runs: Vec<Run> = vec![];
        for row in 0..self.len >> row_bits {
            let real = if is_row(row, shape) { row_len } else { 0 };
            let (start, end) = ((row << row_bits) + real, (row + 1) << row_bits);
            match runs.last_mut() {
                _ if start == end => {}
                Some(last) if last.end == start => last.end = end,
                _ => runs.push(Run { start, end, den }),
            }
        }
        runs.retain(|r| {
            let zero = |c: &&[F]| c[r.start..r.end].iter().all(|&v| v == F::ZERO);
            r.is_worth() && columns.iter().all(zero)
        });
        for run in &mut runs {
            run.start += self.offset;
            run.end += self.offset;
        }
        runs
    }

    fn write(&self, at: std::ops::Range<usize>, gamma: EF, scale: EF, out: &mut [EF]) {
        out.chunks_exact_mut(2).for_each(|slot| slot[1] = self.base);
        let mut power = EF::ONE;
        for arg in &self.args {
            power *= gamma;
            match arg {
                Arg::Values(v) => {
                    for (slot, &v) in out.chunks_exact_mut(2).zip(&v[at.clone()]) {
                        slot[1] -= power * v;
                    }
                }
                Arg::Form(constant, terms) => {
                    if *constant != F::ZERO {
                        let constant = power * *constant;
                        out.chunks_exact_mut(2).for_each(|s| s[1] -= constant);
                    }
                    for (values, c) in terms {
                        let c = power * *c;
                        for (slot, &v) in out.chunks_exact_mut(2).zip(&values[at.clone()]) {
                            slot[1] -= c * v;
                        }
                    }
                }
            }
        }
        match &self.numerators {
            Numerators::Counts(counts) => {
                for (slot, &m) in out.chunks_exact_mut(2).zip(&counts[at]) {
                    slot[0] = -(scale * m);
                }
            }
            Numerators::Mask(shape) => {
                // Rows of the last dimension are elements first, then padding.
                let row_len = shape.last().copied().unwrap_or(1);
                let row_bits = bits(row_len);
                let mut i = at.start;
                while i < at.end {
                    let stop = (((i >> row_bits) + 1) << row_bits).min(at.end);
                    let real = match is_row(i >> row_bits, shape) {
                        true => ((i >> row_bits << row_bits) + row_len).clamp(i, stop),
                        false => i,
                    };
                    let slots = &mut out[2 * (i - at.start)..2 * (stop - at.start)];
                    let (ones, zeros) = slots.split_at_mut(2 * (real - i));
                    ones.chunks_exact_mut(2).for_each(|s| s[0] = scale);
                    zeros.chunks_exact_mut(2).for_each(|s| s[0] = EF::ZERO);
                    i = stop;
                }
            }
        }
    }
}

/// Whether the padded index of a row is one of the shape without its last
/// dimension.
fn is_row(mut row: usize, shape: &[usize]) -> bool {
    for &d in shape.iter().rev().skip(1) {
        let b = bits(d);
        if row & ((1 << b) - 1) >= d {
            return false;
        }
        row >>= b;
    }
    true
}

/// The sums of pairs of fractions, of which an odd one at the end stays.
fn add_pairs(children: &[EF], out: &mut [EF]) {
    for (pair, out) in children.chunks(4).zip(out.chunks_exact_mut(2)) {
        if let [p0, q0, p1, q1] = *pair {
            let mut sum = WideSum::default();
            sum.add(p0, q1);
            sum.add(p1, q0);
            out[0] = sum.value();
            out[1] = q0 * q1;
        } else {
            out.copy_from_slice(pair);
        }
    }
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

    /// `n` fractions from number `from`; fewer where fewer are stored.
    fn read<'s>(&'s self, from: usize, n: usize, scratch: &'s mut Vec<EF>) -> &'s [EF] {
        match self {
            Self::Leaves(leaves, scale) => {
                if scratch.len() < 2 * n {
                    scratch.resize(2 * n, EF::ZERO);
                }
                leaves.write(from, *scale, &mut scratch[..2 * n]);
                &scratch[..2 * n]
            }
            Self::Stored(fractions) => &fractions[2 * from..fractions.len().min(2 * (from + n))],
        }
    }
}

/// The layer above one with these runs.
fn parent(child: Source<'_>, runs: &Runs) -> Stored {
    let runs = runs.halved(|den| den.square());
    let mut out = EF::zero_vec(2 * child.len().div_ceil(2));
    out.par_chunks_mut(2 * PIECE)
        .enumerate()
        .for_each_init(Vec::new, |scratch, (i, out)| {
            let from = i * PIECE;
            for (at, den) in runs.segments(from..from + out.len() / 2) {
                let out = &mut out[2 * (at.start - from)..2 * (at.end - from)];
                match den {
                    Some(den) => out.chunks_exact_mut(2).for_each(|f| f[1] = den),
                    None => add_pairs(child.read(2 * at.start, 2 * at.len(), scratch), out),
                }
            }
        });
    Stored {
        fractions: out,
        runs,
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
fn round_sums(point: &[EF], pairs: usize, runs: &Runs, source: Source<'_>) -> (EF, EF) {
    let Split { high, low } = Weight::eq(point).split();
    let piece = low.len().min(PIECE);
    let pieces = low.len() / piece;
    let add = |a: (EF, EF), b: (EF, EF)| (a.0 + b.0, a.1 + b.1);
    let zero = || (EF::ZERO, EF::ZERO);
    (0..pairs.div_ceil(piece))
        .into_par_iter()
        .with_min_len((PARALLEL / 8 / piece).max(1))
        .fold(
            || (vec![], zero()),
            |(mut scratch, sum), task| {
                let (h, at) = (high[task / pieces], task % pieces * piece);
                let from = task * piece;
                let mut four = zero();
                for (pairs, den) in runs.segments(from..pairs.min(from + piece)) {
                    let eq = &low[at + pairs.start - from..at + pairs.end - from];
                    let part = match den {
                        // Four fractions 0/c: the summand is c c, and constant.
                        Some(den) => (den.square() * eq.iter().copied().sum::<EF>(), EF::ZERO),
                        None => {
                            let (first, count) = (4 * pairs.start, 4 * pairs.len());
                            sums_of(source.read(first, count, &mut scratch), eq)
                        }
                    };
                    four = add(four, part);
                }
                (scratch, add(sum, (four.0 * h, four.1 * h)))
            },
        )
        .map(|(_, sum)| sum)
        .reduce(zero, add)
}

/// The summand is `q1 (p0 + q0) + p1 q0`, numerators times lambda.
fn sums_of(fractions: &[EF], eq: &[EF]) -> (EF, EF) {
    let (mut at_zero, mut quadratic) = (WideSum::default(), WideSum::default());
    for (f, &e) in fractions.chunks_exact(8).zip(eq) {
        let (p0, q0, p1, q1) = (f[0], f[1], f[2], f[3]);
        let mut zero = WideSum::default();
        zero.add(q1, p0 + q0);
        zero.add(p1, q0);
        at_zero.add(zero.value(), e);
        let (dp0, dq0, dp1, dq1) = (f[4] - p0, f[5] - q0, f[6] - p1, f[7] - q1);
        let mut square = WideSum::default();
        square.add(dq1, dp0 + dq0);
        square.add(dp1, dq0);
        quadratic.add(square.value(), e);
    }
    (at_zero.value(), quadratic.value())
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
    let same = |den| den;
    let mut runs = runs.halved(same).halved(same);
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
        let (mut at_zero, quadratic) = round_sums(rest, pairs, &runs, source);
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
        runs = runs.halved(same);
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

/// Two neighbours of two fractions each with a variable bound.
fn fold_four(f: &[EF], r: EF) -> [EF; 4] {
    std::array::from_fn(|k| f[k] + r * (f[k + 4] - f[k]))
}

fn of_run(den: EF) -> [EF; 4] {
    [EF::ZERO, den, EF::ZERO, den]
}

/// Binds the last variable of stored fractions; `runs` are those of pairs.
fn fold_fractions(fractions: &mut Fractions, runs: &Runs, r: EF) {
    fold_chunks(fractions, 4, |from, chunk| {
        for (at, den) in runs.segments(from..from + chunk.len() / 8) {
            for j in at.start - from..at.end - from {
                let folded = match den {
                    Some(den) => of_run(den),
                    None => fold_four(&chunk[8 * j..8 * j + 8], r),
                };
                chunk[4 * j..4 * j + 4].copy_from_slice(&folded);
            }
        }
    });
}

/// The leaves with their last variable bound.
fn fold_leaves(leaves: &Leaves<'_>, runs: &Runs, lambda: EF, r: EF) -> Fractions {
    let mut out = EF::zero_vec(4 * leaves.len.div_ceil(4));
    let source = Source::Leaves(leaves, lambda);
    out.par_chunks_mut(4 * PIECE)
        .enumerate()
        .for_each_init(Vec::new, |scratch, (i, out)| {
            let from = i * PIECE;
            for (at, den) in runs.segments(from..from + out.len() / 4) {
                let out = out[4 * (at.start - from)..4 * (at.end - from)].chunks_exact_mut(4);
                match den {
                    Some(den) => out.for_each(|out| out.copy_from_slice(&of_run(den))),
                    None => {
                        let four = source.read(4 * at.start, 4 * at.len(), scratch);
                        for (out, f) in out.zip(four.chunks_exact(8)) {
                            out.copy_from_slice(&fold_four(f, r));
                        }
                    }
                }
            }
        });
    out
}
