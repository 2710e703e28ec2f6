//! The leaves of the lookup argument, (L1). They are never stored: they are affine forms in
//! base-field values that are there anyway.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use dsperse_sumcheck_packed as packed;
use dsperse_sumcheck_verifier::commit::{EF, F};
use dsperse_sumcheck_verifier::key::VerifyingKey;
use dsperse_sumcheck_verifier::layout::{Atom, Linear};
use dsperse_sumcheck_verifier::lookup::Fingerprint;
use dsperse_sumcheck_verifier::mle::{bits, num_vars};
use p3_field::PrimeCharacteristicRing;

use crate::runs::{Kind, Run, Runs};

/// Padded values of atoms.
pub type AtomValues<'a> = BTreeMap<Atom, Cow<'a, [F]>>;

/// The leaves of one lookup or table.
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
pub struct Leaves<'a> {
    /// Without gaps, in the order of their offsets.
    blocks: Vec<Block<'a>>,
    gamma: EF,
    /// Number of them.
    pub len: usize,
    /// Those that have something in common.
    pub runs: Runs,
}

impl<'a> Leaves<'a> {
    /// Of a key's lookups and tables, with these values.
    pub fn new(key: &'a VerifyingKey, atoms: &'a AtomValues<'_>, fingerprint: Fingerprint) -> Self {
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
        let runs = blocks.iter().flat_map(|b| b.runs(gamma)).collect();
        Self {
            blocks,
            gamma,
            len: layout.leaves,
            runs: Runs::new(runs),
        }
    }

    /// A range within a run of ones, if one value is looked up for each of them.
    pub fn affine<'s>(&'s self, at: Range<usize>, scratch: &'s mut Vec<F>) -> Option<Affine<'s>> {
        let after = self.blocks.partition_point(|b| b.offset <= at.start);
        let block = &self.blocks[after.checked_sub(1)?];
        let at = at.start - block.offset..at.end - block.offset;
        Some(Affine {
            base: block.base,
            gamma: self.gamma,
            u: block.value(at, scratch)?,
        })
    }

    /// Writes the leaves from number `from`, with numerators times `scale`;
    /// what is beyond the last is 0/1.
    pub fn write(&self, from: usize, scale: EF, out: &mut [EF]) {
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

/// Leaves `1 / (base - gamma u)` with `u` in the base field. Sums over them are sums over
/// base-field values, and their denominators need not be known.
pub struct Affine<'a> {
    base: EF,
    gamma: EF,
    u: &'a [F],
}

impl Affine<'_> {
    /// Writes the sums of pairs: `(2 base - gamma (u + v)) / (base - gamma u) (base - gamma v)`.
    pub fn parents(&self, out: &mut [EF]) {
        packed::affine_parents(self.u, self.base, self.gamma, out);
    }

    /// The round's sums over pairs of pairs: the summand at 0 is
    /// `(q0 + lambda) (q1 + lambda) - lambda^2`, where `q + lambda` is affine in `u` again.
    pub fn sums(&self, lambda: EF, eq: &[EF]) -> (EF, EF) {
        let [total, sums, products, quadratic] = packed::affine_sums(self.u, eq);
        let base = self.base + lambda;
        let square = self.gamma.square();
        let at_zero = (base.square() - lambda.square()) * total - base * self.gamma * sums
            + square * products;
        (at_zero, square * quadratic)
    }

    /// Writes pairs with the last variable bound, numerators times lambda.
    pub fn fold(&self, lambda: EF, r: EF, out: &mut [EF]) {
        let by = [-(self.gamma * (EF::ONE - r)), -(self.gamma * r)];
        packed::affine_fold(self.u, self.base, by, lambda, out);
    }
}

impl Block<'_> {
    /// The one value that is looked up for each of these leaves.
    fn value<'s>(&'s self, at: Range<usize>, scratch: &'s mut Vec<F>) -> Option<&'s [F]> {
        let [Arg::Form(constant, terms)] = self.args.as_slice() else {
            return None;
        };
        if let [(values, c)] = terms.as_slice()
            && *c == F::ONE
            && *constant == F::ZERO
        {
            return Some(&values[at]);
        }
        scratch.clear();
        scratch.resize(at.len(), *constant);
        for (values, c) in terms {
            for (u, &v) in scratch.iter_mut().zip(&values[at.clone()]) {
                *u += v * *c;
            }
        }
        Some(scratch)
    }

    /// The runs of leaves of the looked-up tensors: elements, and padding that is zero in all
    /// of them.
    fn runs(&self, gamma: EF) -> Vec<Run> {
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
        let (mut ones, mut zeros): (Vec<Run>, Vec<Run>) = (vec![], vec![]);
        for row in 0..self.len >> row_bits {
            let real = if is_row(row, shape) { row_len } else { 0 };
            let (start, end) = (row << row_bits, (row + 1) << row_bits);
            extend(&mut ones, start..start + real, Kind::Ones);
            extend(&mut zeros, start + real..end, Kind::Zeros(den));
        }
        zeros.retain(|r| {
            let zero = |c: &&[F]| c[r.start..r.end].iter().all(|&v| v == F::ZERO);
            r.is_worth() && columns.iter().all(zero)
        });
        ones.retain(Run::is_worth);
        ones.append(&mut zeros);
        for run in &mut ones {
            run.start += self.offset;
            run.end += self.offset;
        }
        ones
    }

    fn write(&self, at: Range<usize>, gamma: EF, scale: EF, out: &mut [EF]) {
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

/// Adds a range to runs, to the last one where it goes on.
fn extend(runs: &mut Vec<Run>, range: Range<usize>, kind: Kind) {
    match runs.last_mut() {
        _ if range.is_empty() => {}
        Some(last) if last.end == range.start => last.end = range.end,
        _ => runs.push(Run {
            start: range.start,
            end: range.end,
            kind,
        }),
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
