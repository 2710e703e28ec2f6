//! From a checked program to the concrete proof system: which columns are
//! committed, which values are looked up in which table, and which polynomial
//! equations hold element by element.
//!
//! Prover and verifier derive the same [`Layout`] from the verifying key. The
//! derivation also bounds every equation: with every atom in its proven range,
//! both sides differ by less than p, so a congruence is an equality.
//!
//! Notation: an [`Atom`] is a tensor or a committed column, a [`Linear`] is an
//! affine form in atoms, and a [`Constraint`] is a sum of products of such
//! forms that must vanish at every element that is not padding.

use std::collections::{BTreeMap, BTreeSet};

use p3_field::{Field, PrimeCharacteristicRing, PrimeField64};
use thiserror::Error;

use crate::commit::{F, MAX_STACK, MIN_STACK};
use crate::mle::{bits, field, num_vars};
use crate::program::*;
use crate::validate::{Checked, rescale};

/// Fewest and most bits of a limb, which is also the largest range table.
pub const LIMB_BITS: std::ops::RangeInclusive<u32> = 4..=16;
/// The prime. Both sides of an equation differ by less than it, so a congruence is an
/// equality.
const FIELD_BOUND: i128 = 0xffff_ffff_0000_0001;
/// The tag of function table `t` is `FUNCTION_TAG + t`; the tag of the range
/// table of `w` bits is `w`.
pub const FUNCTION_TAG: u64 = 64;

/// Where it is shown that the weights are within their bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightRanges {
    /// In every proof.
    Proof,
    /// Once, in the key, (K2).
    Key,
}

/// Why a program has no proof system.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    /// This error occurs when limbs are too narrow or too wide.
    #[error("limbs of {0} bits are not supported")]
    Limbs(u32),
    /// This error occurs when a node's operands can have one value only, and no result fits it.
    #[error("the equations of node {0} can never hold")]
    Never(TensorId),
    /// This error occurs when the two sides of an equation could differ by p or more.
    #[error("an equation of node {0} could wrap around the field")]
    Wraps(TensorId),
    /// This error occurs when a stack would be larger than any commitment.
    #[error("{0} committed values are too many; at most 2^{MAX_STACK} are supported")]
    TooMany(usize),
}

/// A polynomial that claims are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Atom {
    /// A tensor that is public or virtual.
    Tensor(TensorId),
    /// A committed column.
    Column(usize),
}

/// An affine form `constant + sum coefficient * atom`.
#[derive(Clone, Debug, Default)]
pub struct Linear {
    /// The constant.
    pub constant: i128,
    /// The atoms and their coefficients.
    pub terms: Vec<(Atom, i128)>,
}

impl Linear {
    fn constant(constant: i128) -> Self {
        Self {
            constant,
            terms: vec![],
        }
    }

    fn atom(atom: Atom) -> Self {
        Self {
            constant: 0,
            terms: vec![(atom, 1)],
        }
    }

    fn plus(mut self, other: &Linear, times: i128) -> Self {
        self.constant += other.constant * times;
        for &(atom, c) in &other.terms {
            match self.terms.iter_mut().find(|t| t.0 == atom) {
                Some(t) => t.1 += c * times,
                None => self.terms.push((atom, c * times)),
            }
        }
        self
    }

    fn offset(mut self, by: i128) -> Self {
        self.constant += by;
        self
    }

    /// Constant and coefficients as field elements.
    pub fn in_field(&self) -> (F, Vec<(Atom, F)>) {
        (
            field(self.constant),
            self.terms.iter().map(|&(a, c)| (a, field(c))).collect(),
        )
    }
}

/// A sum of products of affine forms that is zero at every element.
#[derive(Clone, Debug)]
pub struct Constraint {
    /// The summands, each a list of factors.
    pub products: Vec<Vec<Linear>>,
    /// How far from 0 the integer value can be, where it is not just the sum
    /// over the products.
    bound: Option<i128>,
}

impl Constraint {
    fn of(products: Vec<Vec<Linear>>) -> Self {
        Self {
            products,
            bound: None,
        }
    }

    /// Whether no atom occurs in it.
    fn is_constant(&self) -> bool {
        self.products.iter().flatten().all(|l| l.terms.is_empty())
    }

    /// The value of a constraint in which no atom occurs.
    fn constant_value(&self) -> F {
        let product = |p: &Vec<Linear>| p.iter().map(|l| field(l.constant)).product::<F>();
        self.products.iter().map(product).sum()
    }
}

/// The equations of one node.
#[derive(Clone, Debug)]
pub struct Gadget {
    /// The node.
    pub node: TensorId,
    /// Its shape, which is that of every atom in the equations.
    pub shape: Vec<usize>,
    /// The equations.
    pub constraints: Vec<Constraint>,
}

impl Gadget {
    /// Degree of the equations in the atoms.
    pub fn degree(&self) -> usize {
        let products = self.constraints.iter().flat_map(|c| &c.products);
        products.map(Vec::len).max().unwrap_or(0)
    }
}

/// What a committed column holds; the prover computes it from the witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The values of the node's tensor.
    Value,
    /// `hi - value`.
    HighSlack,
    /// Requant: what the shift drops.
    Remainder,
    /// Requant: how far the unsaturated result is outside the bounds.
    Excess,
    /// Max: the result minus operand number `.0`.
    Gap(usize),
    /// Div: `2n + d - 2qd`.
    DivRemainder,
    /// Div: `2d - 1 - remainder`.
    DivSlack,
    /// Sqrt: `x - s^2`.
    SqrtRemainder,
    /// Sqrt: `2s - remainder`.
    SqrtSlack,
    /// How often each row of table block `.0` is looked up.
    Multiplicity(usize),
}

/// One committed column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The node it belongs to (0 for multiplicities).
    pub node: TensorId,
    /// What it holds, before the next three are applied.
    pub source: Source,
    /// Subtracted first.
    pub lo: i128,
    /// Then shifted right by this.
    pub shift: u32,
    /// Then cut to this many bits; `None` for the value itself.
    pub width: Option<u32>,
    /// Shape of the column.
    pub shape: Vec<usize>,
    /// True when it is in the commitment to the weights.
    pub is_weight: bool,
    /// Offset of its block in the stack.
    pub offset: usize,
    /// Greatest absolute value that is proven.
    pub bound: i128,
}

/// A set of looked-up values, all from one table.
#[derive(Clone, Debug)]
pub struct LookupBlock {
    /// The table's tag.
    pub tag: u64,
    /// The looked-up tuple: one form for a range, two for a function.
    pub args: Vec<Linear>,
    /// Shape of the values.
    pub shape: Vec<usize>,
    /// Offset of the block among the leaves.
    pub offset: usize,
}

/// A table.
#[derive(Clone, Debug)]
pub struct TableBlock {
    /// Its tag.
    pub tag: u64,
    /// The function table, or `None` for a range.
    pub function: Option<u32>,
    /// Number of variables: `2^vars` rows. A function's last row repeats.
    pub vars: usize,
    /// The column of multiplicities.
    pub multiplicity: usize,
    /// Offset of the block among the leaves.
    pub offset: usize,
}

/// The whole derived proof system.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Committed columns.
    pub columns: Vec<Column>,
    /// Variables of the stack of weights (if there are any) and of activations.
    pub weight_vars: Option<usize>,
    /// Variables of the stack of activations.
    pub activation_vars: usize,
    /// Lookups.
    pub lookups: Vec<LookupBlock>,
    /// Tables.
    pub tables: Vec<TableBlock>,
    /// Leaves of the lookup argument that are in use; the rest are 0/1.
    pub leaves: usize,
    /// Variables of the lookup argument.
    pub leaf_vars: usize,
    /// Element-wise equations.
    pub gadgets: Vec<Gadget>,
    /// For each committed tensor, its value in terms of its columns.
    pub values: Vec<Option<Linear>>,
    /// Atoms that the lookup argument ends with, each once.
    pub lookup_atoms: Vec<Atom>,
    /// Those and the atoms of the equations, each once.
    pub atoms: Vec<Atom>,
}

/// Whether a tensor's elements are committed unless it is public.
pub fn is_committed(op: &Op) -> bool {
    !matches!(
        op,
        Op::Input { .. }
            | Op::Wire { .. }
            | Op::Select { .. }
            | Op::Einsum { .. }
            | Op::Affine { .. }
    )
}

impl Layout {
    /// The shape of an atom.
    pub fn shape<'a>(&'a self, checked: &'a Checked, atom: Atom) -> &'a [usize] {
        match atom {
            Atom::Tensor(t) => &checked.shapes[t as usize],
            Atom::Column(c) => &self.columns[c].shape,
        }
    }

    /// Derives the layout; the error says which limit is exceeded.
    pub fn new(
        program: &Program,
        checked: &Checked,
        limb_bits: u32,
        ranges: WeightRanges,
    ) -> Result<Self, LayoutError> {
        if !LIMB_BITS.contains(&limb_bits) {
            return Err(LayoutError::Limbs(limb_bits));
        }
        let mut b = Builder {
            program,
            checked,
            limb_bits,
            ranges,
            columns: vec![],
            lookups: vec![],
            gadgets: vec![],
            values: vec![None; program.nodes.len()],
        };
        for node in 0..program.nodes.len() {
            b.node(node as TensorId)?;
        }
        b.finish()
    }
}

struct Builder<'a> {
    program: &'a Program,
    checked: &'a Checked,
    limb_bits: u32,
    ranges: WeightRanges,
    columns: Vec<Column>,
    lookups: Vec<LookupBlock>,
    gadgets: Vec<Gadget>,
    values: Vec<Option<Linear>>,
}

impl Builder<'_> {
    fn shape(&self, node: TensorId) -> Vec<usize> {
        self.checked.shapes[node as usize].clone()
    }

    fn column(
        &mut self,
        node: TensorId,
        source: Source,
        (lo, shift, width): (i128, u32, Option<u32>),
        bound: i128,
    ) -> Linear {
        let shape = self.shape(node);
        let is_weight = matches!(self.program.nodes[node as usize], Op::Weight { .. });
        self.columns.push(Column {
            node,
            source,
            lo,
            shift,
            width,
            shape,
            is_weight,
            offset: 0,
            bound,
        });
        Linear::atom(Atom::Column(self.columns.len() - 1))
    }

    fn look_up(&mut self, node: TensorId, tag: u64, args: Vec<Linear>) {
        let shape = self.shape(node);
        self.lookups.push(LookupBlock {
            tag,
            args,
            shape,
            offset: 0,
        });
    }

    /// Commits to a quantity in `lo..=hi` (rounded up to a power of two of
    /// values) as range-checked limbs and returns its value, (V1).
    fn ranged(&mut self, node: TensorId, source: Source, lo: i128, hi: i128) -> Linear {
        let total = 128 - (hi - lo).leading_zeros();
        let mut value = Linear::constant(lo);
        let mut shift = 0;
        while shift < total {
            let width = self.limb_bits.min(total - shift);
            let limb = self.column(node, source, (lo, shift, Some(width)), (1 << width) - 1);
            self.look_up(node, u64::from(width), vec![limb.clone()]);
            value = value.plus(&limb, 1 << shift);
            shift += width;
        }
        value
    }

    /// Shows that `form`, which holds `source`, is in `0..=hi` (rounded up):
    /// directly when one lookup does, else by limbs and an equation.
    fn in_range(
        &mut self,
        node: TensorId,
        source: Source,
        form: Linear,
        hi: i128,
        constraints: &mut Vec<Constraint>,
    ) {
        let total = 128 - hi.leading_zeros();
        if total == 0 {
            constraints.push(Constraint::of(vec![vec![form]]));
        } else if total <= self.limb_bits {
            self.look_up(node, u64::from(total), vec![form]);
        } else {
            let limbs = self.ranged(node, source, 0, hi);
            constraints.push(Constraint::of(vec![vec![form.plus(&limbs, -1)]]));
        }
    }

    /// Shows `value <= hi` when the limbs of `lo..=hi` alone do not.
    fn high_end(
        &mut self,
        node: TensorId,
        value: &Linear,
        lo: i128,
        hi: i128,
        constraints: &mut Vec<Constraint>,
    ) {
        if !((hi - lo + 1) as u128).is_power_of_two() {
            let slack = Linear::constant(hi).plus(value, -1);
            self.in_range(node, Source::HighSlack, slack, hi - lo, constraints);
        }
    }

    /// The value of an operand in terms of atoms.
    fn operand(&self, t: TensorId) -> Linear {
        match &self.values[t as usize] {
            Some(value) => value.clone(),
            None => Linear::atom(Atom::Tensor(t)),
        }
    }

    /// The value of the node itself: its columns, or the public tensor, whose
    /// bounds the verifier checks in the clear.
    fn result(
        &mut self,
        node: TensorId,
        range: Option<(i128, i128)>,
        constraints: &mut Vec<Constraint>,
        exact_high: bool,
    ) -> Linear {
        if self.program.outputs.contains(&node) {
            return Linear::atom(Atom::Tensor(node));
        }
        let value = match range {
            Some((lo, hi)) => {
                let value = self.ranged(node, Source::Value, lo, hi);
                if exact_high {
                    self.high_end(node, &value, lo, hi, constraints);
                }
                value
            }
            None => {
                let bounds = self.checked.bounds[node as usize];
                let bound = i128::from(bounds.lo).abs().max(i128::from(bounds.hi).abs());
                self.column(node, Source::Value, (0, 0, None), bound)
            }
        };
        self.values[node as usize] = Some(value.clone());
        value
    }

    fn node(&mut self, node: TensorId) -> Result<(), LayoutError> {
        let program = self.program;
        let bounds = |t: TensorId| {
            let b = self.checked.bounds[t as usize];
            (i128::from(b.lo), i128::from(b.hi))
        };
        let mut cs = vec![];
        match &program.nodes[node as usize] {
            Op::Input { .. }
            | Op::Wire { .. }
            | Op::Select { .. }
            | Op::Einsum { .. }
            | Op::Affine { .. } => {}
            Op::Weight { lo, hi, .. } => {
                // (G1)
                let before = self.lookups.len();
                self.result(
                    node,
                    Some((i128::from(*lo), i128::from(*hi))),
                    &mut cs,
                    true,
                );
                // (K2): the same columns, which the key shows to be in range.
                if self.ranges == WeightRanges::Key {
                    self.lookups.truncate(before);
                    cs.clear();
                }
            }
            Op::Requant {
                input,
                multiplier,
                shift,
                lo,
                hi,
            } => {
                let (lo, hi) = (i128::from(*lo), i128::from(*hi));
                let (xl, xh) = bounds(*input);
                let (vl, vh) = (
                    rescale(xl as i64, *multiplier, *shift),
                    rescale(xh as i64, *multiplier, *shift),
                );
                let (low, high) = (vl < lo, vh > hi);
                if lo == hi {
                    // Whatever x is, the result is this constant.
                    self.result(node, Some((lo, hi)), &mut cs, false);
                    return Ok(());
                }
                let x = self.operand(*input);
                let out = self.result(node, Some((lo, hi)), &mut cs, high);
                let one = 1i128 << shift;
                let half = one >> 1;
                // (G2): x m + half = 2^s (out + sign excess) + remainder
                let remainder = self.ranged(node, Source::Remainder, 0, one - 1);
                let mut main = Linear::constant(half)
                    .plus(&x, i128::from(*multiplier))
                    .plus(&out, -one)
                    .plus(&remainder, -1);
                let mut bound = self.bound(&main);
                let mut products = vec![];
                if low || high {
                    let most = (vh - hi).max(lo - vl).max(1);
                    let excess = self.ranged(node, Source::Excess, 0, most);
                    bound = bound
                        .zip(self.bound(&excess))
                        .and_then(|(b, e)| b.checked_add(e.checked_mul(one)?));
                    // Only a saturated result has an excess: a product of
                    // factors below p is zero only if one of them is.
                    let (from_lo, from_hi) = (out.clone().offset(-lo), out.offset(-hi));
                    let mut ends = vec![excess.clone()];
                    if low {
                        ends.push(from_lo.clone());
                    }
                    if high {
                        ends.push(from_hi.clone());
                    }
                    cs.push(Constraint::of(vec![ends]));
                    if !low {
                        main = main.plus(&excess, -one);
                    } else if !high {
                        main = main.plus(&excess, one);
                    } else {
                        // The sign is (2 out - lo - hi) / (hi - lo), which is
                        // -1 or 1 at the two ends, and elsewhere the excess is 0.
                        let scale = F::from_i128(-one) * field(hi - lo).inverse();
                        let scale = i128::from(scale.as_canonical_u64());
                        let sign = from_lo.plus(&from_hi, 1);
                        products.push(vec![Linear::default().plus(&excess, scale), sign]);
                    }
                }
                products.insert(0, vec![main]);
                cs.push(Constraint {
                    products,
                    bound: Some(bound.unwrap_or(i128::MAX)),
                });
            }
            Op::Lookup { input, table } => {
                // (G3)
                let x = self.operand(*input);
                let out = self.result(node, None, &mut cs, false);
                self.look_up(node, FUNCTION_TAG + u64::from(*table), vec![x, out]);
            }
            Op::Max { inputs } => {
                let out = self.result(node, None, &mut cs, false);
                let (_, hi) = inputs
                    .iter()
                    .fold((0, i128::MIN), |m, &t| (0, m.1.max(bounds(t).1)));
                let mut product = vec![];
                for (i, &t) in inputs.iter().enumerate() {
                    let gap = out.clone().plus(&self.operand(t), -1);
                    let most = (hi - i128::from(self.checked.bounds[t as usize].lo)).max(0);
                    self.in_range(node, Source::Gap(i), gap.clone(), most, &mut cs);
                    product.push(gap);
                }
                // (G4): not below any operand, and equal to one of them.
                cs.push(Constraint::of(vec![product]));
            }
            Op::Div { num, den, lo, hi } => {
                let dh = bounds(*den).1;
                let (n, d) = (self.operand(*num), self.operand(*den));
                let range = (i128::from(*lo), i128::from(*hi));
                let out = self.result(node, Some(range), &mut cs, true);
                // (G5): 2n + d = 2 out d + r, 0 <= r <= 2d - 1
                let r = self.ranged(node, Source::DivRemainder, 0, 2 * dh - 1);
                let slack = Linear::constant(-1).plus(&d, 2).plus(&r, -1);
                self.in_range(node, Source::DivSlack, slack, 2 * dh - 1, &mut cs);
                let main = Linear::default().plus(&n, 2).plus(&d, 1).plus(&r, -1);
                let times = vec![Linear::default().plus(&out, -2), d];
                cs.push(Constraint::of(vec![vec![main], times]));
            }
            Op::Sqrt { input } => {
                let x = self.operand(*input);
                let s_hi = i128::from(self.checked.bounds[node as usize].hi);
                let s = self.result(node, Some((0, s_hi)), &mut cs, false);
                // (G6): x = s^2 + r, 0 <= r <= 2s
                let r = self.ranged(node, Source::SqrtRemainder, 0, 2 * s_hi);
                let slack = Linear::default().plus(&s, 2).plus(&r, -1);
                self.in_range(node, Source::SqrtSlack, slack, 2 * s_hi, &mut cs);
                let minus = Linear::default().plus(&s, -1);
                let main = Linear::default().plus(&x, 1).plus(&r, -1);
                cs.push(Constraint::of(vec![vec![main], vec![minus, s]]));
            }
        }
        for constraint in &cs {
            self.check_bound(node, constraint)?;
        }
        if cs.iter().all(Constraint::is_constant) {
            // Operands that can have one value only leave nothing to be shown, or nothing
            // that could hold.
            return if cs.iter().all(|c| c.constant_value() == F::ZERO) {
                Ok(())
            } else {
                Err(LayoutError::Never(node))
            };
        }
        let shape = self.shape(node);
        self.gadgets.push(Gadget {
            node,
            shape,
            constraints: cs,
        });
        Ok(())
    }

    /// The greatest absolute value of a form, from the ranges of its atoms.
    fn bound(&self, form: &Linear) -> Option<i128> {
        form.terms
            .iter()
            .try_fold(form.constant.abs(), |sum, &(atom, c)| {
                let most = match atom {
                    Atom::Column(i) => self.columns[i].bound,
                    Atom::Tensor(t) => {
                        let b = self.checked.bounds[t as usize];
                        i128::from(b.lo).abs().max(i128::from(b.hi).abs())
                    }
                };
                sum.checked_add(c.abs().checked_mul(most)?)
            })
    }

    /// (K1) A congruence is an equality only if both sides differ by less than p.
    /// For a single product it is enough that each factor does: the field has
    /// no zero divisors.
    fn check_bound(&self, node: TensorId, constraint: &Constraint) -> Result<(), LayoutError> {
        let bound = |l: &Linear| self.bound(l);
        let ok = match constraint.products.as_slice() {
            _ if constraint.bound.is_some() => constraint.bound.is_some_and(|b| b < FIELD_BOUND),
            [single] => single
                .iter()
                .all(|l| bound(l).is_some_and(|b| b < FIELD_BOUND)),
            several => several
                .iter()
                .try_fold(0i128, |sum, product| {
                    let size = product
                        .iter()
                        .try_fold(1i128, |p, l| p.checked_mul(bound(l)?))?;
                    sum.checked_add(size)
                })
                .is_some_and(|b| b < FIELD_BOUND),
        };
        if ok {
            Ok(())
        } else {
            Err(LayoutError::Wraps(node))
        }
    }

    fn finish(mut self) -> Result<Layout, LayoutError> {
        // One table block for each tag in use, smallest tag first.
        let mut tables = BTreeMap::new();
        for l in &self.lookups {
            tables.entry(l.tag).or_insert(());
        }
        let mut blocks = vec![];
        for (i, &tag) in tables.keys().enumerate() {
            let (function, vars) = match tag.checked_sub(FUNCTION_TAG) {
                None => (None, tag as usize),
                Some(t) => {
                    let rows = self
                        .program
                        .tables
                        .get(t as usize)
                        .map_or(1, |t| t.values.len());
                    (Some(t as u32), bits(rows))
                }
            };
            blocks.push(TableBlock {
                tag,
                function,
                vars,
                multiplicity: self.columns.len(),
                offset: 0,
            });
            self.columns.push(Column {
                node: 0,
                source: Source::Multiplicity(i),
                lo: 0,
                shift: 0,
                width: None,
                shape: vec![1 << vars],
                is_weight: false,
                offset: 0,
                bound: 0,
            });
        }
        // Columns, largest first, so that every block is aligned to its size.
        let mut ends = [0usize; 2];
        let mut order: Vec<usize> = (0..self.columns.len()).collect();
        order.sort_by_key(|&c| std::cmp::Reverse(num_vars(&self.columns[c].shape)));
        for c in order {
            let column = &mut self.columns[c];
            let end = &mut ends[usize::from(column.is_weight)];
            column.offset = *end;
            *end += 1 << num_vars(&column.shape);
        }
        let stack = |n: usize| bits(n.max(1)).max(MIN_STACK);
        let activation_vars = stack(ends[0]);
        let weight_vars = (ends[1] > 0).then(|| stack(ends[1]));
        if activation_vars.max(weight_vars.unwrap_or(0)) > MAX_STACK {
            return Err(LayoutError::TooMany(ends[0].max(ends[1])));
        }
        // Leaves in the same way, over lookups and tables.
        let mut sizes: Vec<(usize, usize)> = vec![];
        sizes.extend(
            self.lookups
                .iter()
                .enumerate()
                .map(|(i, l)| (num_vars(&l.shape), i)),
        );
        let n_lookups = self.lookups.len();
        sizes.extend(
            blocks
                .iter()
                .enumerate()
                .map(|(i, t)| (t.vars, n_lookups + i)),
        );
        sizes.sort_by_key(|&(vars, i)| (std::cmp::Reverse(vars), i));
        let mut leaves = 0usize;
        for (vars, i) in sizes {
            match i.checked_sub(n_lookups) {
                None => self.lookups[i].offset = leaves,
                Some(t) => blocks[t].offset = leaves,
            }
            leaves += 1 << vars;
        }
        let leaf_vars = bits(leaves.max(2));
        let mut lookup_atoms = vec![];
        let mut seen = BTreeSet::new();
        let mut add = |atoms: &mut Vec<Atom>, atom| {
            if seen.insert(atom) {
                atoms.push(atom);
            }
        };
        for l in &self.lookups {
            for (atom, _) in l.args.iter().flat_map(|a| &a.terms) {
                add(&mut lookup_atoms, *atom);
            }
        }
        for t in &blocks {
            add(&mut lookup_atoms, Atom::Column(t.multiplicity));
        }
        let mut atoms = lookup_atoms.clone();
        for g in &self.gadgets {
            for l in g
                .constraints
                .iter()
                .flat_map(|c| c.products.iter().flatten())
            {
                for (atom, _) in &l.terms {
                    add(&mut atoms, *atom);
                }
            }
        }
        Ok(Layout {
            columns: self.columns,
            weight_vars,
            activation_vars,
            lookups: self.lookups,
            tables: blocks,
            leaves,
            leaf_vars,
            gadgets: self.gadgets,
            values: self.values,
            lookup_atoms,
            atoms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::validate;

    /// (K1) The limit on intervals leaves no program whose equations wrap around, so the check
    /// behind it is looked at by itself.
    #[test]
    fn an_equation_whose_sides_differ_by_the_prime_is_refused() {
        let mut program = Program::default();
        let x = program.push(Op::Input {
            shape: vec![1],
            lo: 0,
            hi: (1 << 60) - 1,
        });
        let checked = validate(&program).expect("one input");
        let builder = Builder {
            program: &program,
            checked: &checked,
            limb_bits: 8,
            ranges: WeightRanges::Proof,
            columns: vec![],
            lookups: vec![],
            gadgets: vec![],
            values: vec![None],
        };
        let x = |times: i128| Linear::default().plus(&Linear::atom(Atom::Tensor(x)), times);
        let wraps = |products, bound| {
            let constraint = Constraint { products, bound };
            builder.check_bound(7, &constraint) == Err(LayoutError::Wraps(7))
        };
        let one = || Linear::constant(1);
        // A product is 0 if a factor is; a sum is only if it stays below the prime.
        assert!(!wraps(vec![vec![x(15), x(15)]], None));
        assert!(wraps(vec![vec![x(17)]], None));
        assert!(!wraps(vec![vec![x(15)], vec![one()]], None));
        assert!(wraps(vec![vec![x(8)], vec![x(9)]], None));
        assert!(wraps(vec![vec![x(2), x(1)], vec![one()]], None));
        // The prime itself is too much.
        let most = || Linear::constant(FIELD_BOUND - 1);
        assert!(!wraps(vec![vec![most()]], None));
        assert!(wraps(vec![vec![most().offset(1)]], None));
        assert!(!wraps(vec![vec![most().offset(-1)], vec![one()]], None));
        assert!(wraps(vec![vec![most()], vec![one()]], None));
        // What is known of the whole comes first.
        assert!(!wraps(vec![vec![x(17)]], Some(FIELD_BOUND - 1)));
        assert!(wraps(vec![vec![one()]], Some(FIELD_BOUND)));
    }

    /// No operand with one value leads to an equation that never holds, so what is refused
    /// there is looked at by itself too.
    #[test]
    fn an_equation_without_atoms_has_a_value() {
        let product = |a, b| vec![Linear::constant(a), Linear::constant(b)];
        let sum = |c| Constraint::of(vec![product(2, 3), product(-1, c)]);
        assert!(sum(6).is_constant());
        assert_eq!(sum(6).constant_value(), F::ZERO);
        assert_eq!(sum(5).constant_value(), F::ONE);
        let atom = Linear::atom(Atom::Column(0));
        assert!(!Constraint::of(vec![product(2, 3), vec![atom]]).is_constant());
    }

    #[test]
    fn forms_add_up() {
        let form = |constant: i128, c: i128| Linear {
            constant,
            terms: vec![(Atom::Column(1), c)],
        };
        let sum = form(2, 5).plus(&form(3, -7), 4).offset(-1);
        assert_eq!((sum.constant, sum.terms), (13, form(0, -23).terms));
        let apart = Linear::atom(Atom::Tensor(1)).plus(&form(0, 2), 3);
        let terms = vec![(Atom::Tensor(1), 1), (Atom::Column(1), 6)];
        assert_eq!((apart.constant, apart.terms), (0, terms));
    }
}
