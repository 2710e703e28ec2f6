//! The pass over a program that prover and verifier both run before anything
//! else: shapes, limits, and the interval of every tensor.
//!
//! The intervals bound both sides of every equation of the protocol below
//! [`MAX_ABS`], a quarter of the field's prime, so that a congruence
//! is an equality of integers. A program for which that does not hold is
//! refused, whoever wrote it.

use thiserror::Error;

use crate::layout::is_committed;
use crate::linear::is_free;
use crate::program::*;
use crate::wire::{
    ENTRIES_PER_VALUE, FREE_ENTRIES, MAX_FACTOR_ENTRIES, MAX_PROGRAM_ENTRIES, WireError,
};

/// Why a program is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProgramError {
    /// A limit of the format is exceeded.
    #[error("The program has {found} {what}; at most {limit} are supported")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A node is malformed.
    #[error("Node {node} (\"{op}\") is not valid: {reason}")]
    Node {
        /// Index of the node.
        node: usize,
        /// Its name.
        op: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Values of a node could exceed what the field represents exactly.
    #[error(
        "Node {node} (\"{op}\") could overflow: values up to {found} in magnitude, less than 2^61 is needed; use fewer bits or requantise earlier"
    )]
    Overflow {
        /// Index of the node.
        node: usize,
        /// Its name.
        op: &'static str,
        /// The bound found.
        found: i128,
    },
    /// The wires of the program have too many entries together.
    #[error(
        "The program's wires have {found} entries up to node {node}; at most {limit} are supported for tensors of this size, cut the slice into smaller ones"
    )]
    WireEntries {
        /// The node that exceeds the limit.
        node: usize,
        /// Entries up to and with it.
        found: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A table is empty or too long.
    #[error("Table {table} has {found} entries; 1 to {MAX_TABLE} are supported")]
    TableSize {
        /// Index of the table.
        table: usize,
        /// Its length.
        found: usize,
    },
    /// The list of outputs is not valid.
    #[error("Output {tensor} is not valid: {reason}")]
    Output {
        /// The tensor named.
        tensor: TensorId,
        /// What is wrong.
        reason: &'static str,
    },
}

/// Inclusive bounds of a tensor's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Least value.
    pub lo: i64,
    /// Greatest value.
    pub hi: i64,
}

/// What the pass finds out about each tensor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Shape of each tensor.
    pub shapes: Vec<Vec<usize>>,
    /// Bounds of each tensor, by interval arithmetic.
    pub bounds: Vec<Bounds>,
    /// Entries of all factors of wires, which checker and prover list.
    pub entries: u64,
    /// Elements of inputs and weights, and indices that factors list.
    pub values: u64,
}

/// The number of elements when each dimension is rounded up to a power of two.
pub fn padded_len(shape: &[usize]) -> usize {
    shape.iter().fold(1usize, |n, &d| {
        n.saturating_mul(d.checked_next_power_of_two().unwrap_or(usize::MAX))
    })
}

/// Rounds `x * multiplier / 2^shift` half up: the arithmetic of `Requant`
/// before saturation.
pub fn rescale(x: i64, multiplier: i64, shift: u32) -> i128 {
    let half = if shift == 0 { 0 } else { 1i128 << (shift - 1) };
    (i128::from(x) * i128::from(multiplier) + half) >> shift
}

/// `floor((2n + d) / (2d))` for positive `d`: the arithmetic of `Div`.
pub fn divide(n: i64, d: i64) -> i128 {
    let (n, d) = (i128::from(n), i128::from(d));
    (2 * n + d).div_euclid(2 * d)
}

/// `floor(sqrt(x))` for `x >= 0`.
pub fn isqrt(x: i64) -> i64 {
    x.max(0).isqrt()
}

/// Checks a program and derives shapes and bounds.
pub fn validate(program: &Program) -> Result<Checked, ProgramError> {
    let limit = |what, found, limit| {
        if found > limit {
            Err(ProgramError::TooMany { what, found, limit })
        } else {
            Ok(())
        }
    };
    limit("nodes", program.nodes.len(), MAX_NODES)?;
    limit("tables", program.tables.len(), MAX_NODES)?;
    limit("outputs", program.outputs.len(), MAX_NODES)?;
    for (table, t) in program.tables.iter().enumerate() {
        let found = t.values.len();
        if found == 0 || found > MAX_TABLE || i128::from(t.lo).abs() >= MAX_ABS {
            return Err(ProgramError::TableSize { table, found });
        }
    }
    let mut checked = Checked::default();
    while checked.shapes.len() < program.nodes.len() {
        check_next(program, &mut checked)?;
    }
    let mut seen = std::collections::BTreeSet::new();
    for &tensor in &program.outputs {
        let reason = match program.nodes.get(tensor as usize) {
            None => "there is no such tensor",
            Some(Op::Input { .. } | Op::Weight { .. }) => "it is an input or a weight",
            Some(_) if !seen.insert(tensor) => "it is named twice",
            Some(_) => continue,
        };
        return Err(ProgramError::Output { tensor, reason });
    }
    Ok(checked)
}

/// Checks the first node that is not in `checked` yet and appends what it finds
/// out; does nothing when there is none. A lowering calls this after each node
/// that it adds, to know the bounds while it chooses the next one.
pub fn check_next(program: &Program, checked: &mut Checked) -> Result<(), ProgramError> {
    let limit = |what, found, limit| {
        if found > limit {
            Err(ProgramError::TooMany { what, found, limit })
        } else {
            Ok(())
        }
    };
    let node = checked.shapes.len();
    let Some(op) = program.nodes.get(node) else {
        return Ok(());
    };
    let bad = |reason: String| ProgramError::Node {
        node,
        op: op.name(),
        reason,
    };
    if let Some(later) = op.operands().into_iter().find(|&t| t as usize >= node) {
        return Err(bad(format!(
            "it reads tensor {later}, which is not an earlier one"
        )));
    }
    // Before any of them is listed.
    let entries = match op {
        Op::Wire { input, factors } => wire_entries(&checked.shapes[*input as usize], factors)
            .map_err(|e| bad(e.to_string()))?,
        Op::Select { ids, .. } => checked.shapes[*ids as usize].iter().product::<usize>() as u64,
        _ => 0,
    };
    checked.values = checked.values.saturating_add(match op {
        Op::Input { shape, .. } | Op::Weight { shape, .. } => padded_len(shape) as u64,
        Op::Wire { factors, .. } => factors.iter().map(|f| f.listed() as u64).sum(),
        _ => 0,
    });
    checked.entries = checked.entries.saturating_add(entries);
    let most = FREE_ENTRIES
        .saturating_add(checked.values.saturating_mul(ENTRIES_PER_VALUE))
        .min(MAX_PROGRAM_ENTRIES);
    if checked.entries > most {
        return Err(ProgramError::WireEntries {
            node,
            found: checked.entries,
            limit: most,
        });
    }
    let (shape, lo, hi) = check_node(program, checked, op).map_err(|e| match e {
        Fault::Bad(reason) => bad(reason),
        Fault::Big(found) => ProgramError::Overflow {
            node,
            op: op.name(),
            found,
        },
    })?;
    if shape.len() > MAX_RANK || shape.contains(&0) {
        return Err(bad(format!(
            "its shape {shape:?} has an empty dimension or more than {MAX_RANK} dimensions"
        )));
    }
    let is_virtual = !is_committed(op)
        && !matches!(op, Op::Input { .. })
        && !program.outputs.contains(&(node as TensorId));
    let most = if is_virtual {
        MAX_VIRTUAL_ELEMENTS
    } else {
        MAX_ELEMENTS
    };
    limit("elements in one tensor", padded_len(&shape), most)?;
    let found = lo.abs().max(hi.abs());
    if found >= MAX_ABS {
        return Err(ProgramError::Overflow {
            node,
            op: op.name(),
            found,
        });
    }
    if lo > hi {
        return Err(bad(format!("its bounds {lo}..={hi} are empty")));
    }
    checked.shapes.push(shape);
    checked.bounds.push(Bounds {
        lo: lo as i64,
        hi: hi as i64,
    });
    Ok(())
}

enum Fault {
    Bad(String),
    Big(i128),
}

impl From<WireError> for Fault {
    fn from(e: WireError) -> Self {
        Fault::Bad(e.to_string())
    }
}

type Range = (Vec<usize>, i128, i128);

fn check_node(program: &Program, so_far: &Checked, op: &Op) -> Result<Range, Fault> {
    let shape = |t: TensorId| &so_far.shapes[t as usize];
    let bounds = |t: TensorId| {
        let b = so_far.bounds[t as usize];
        (i128::from(b.lo), i128::from(b.hi))
    };
    Ok(match op {
        Op::Input { shape, lo, hi } | Op::Weight { shape, lo, hi } => {
            (shape.clone(), i128::from(*lo), i128::from(*hi))
        }
        Op::Wire { input, factors } => check_wire(shape(*input), bounds(*input), factors)?,
        Op::Select { input, dim, ids } => {
            if !matches!(program.nodes[*ids as usize], Op::Input { .. }) {
                return Err(Fault::Bad(format!(
                    "its ids are tensor {ids}, which is no input"
                )));
            }
            let mut out = shape(*input).clone();
            let n: usize = shape(*ids).iter().product();
            let Some(size) = out.get_mut(*dim) else {
                return Err(Fault::Bad(format!("its input has no dimension {dim}")));
            };
            let (lo, hi) = bounds(*ids);
            if lo < 0 || hi >= *size as i128 {
                return Err(Fault::Bad(format!(
                    "its ids are in {lo}..={hi}, the dimension has {size} elements"
                )));
            }
            if n > MAX_FACTOR_ENTRIES {
                return Err(Fault::Bad(format!(
                    "it has {n} ids; at most {MAX_FACTOR_ENTRIES} are supported"
                )));
            }
            *size = n;
            let (lo, hi) = bounds(*input);
            (out, lo, hi)
        }
        Op::Einsum {
            a,
            b,
            a_labels,
            b_labels,
            out_labels,
        } => {
            let (shape, terms) =
                check_einsum(shape(*a), a_labels, shape(*b), b_labels, out_labels)?;
            let (mut lo, hi) = corners(bounds(*a), bounds(*b));
            if a == b && a_labels == b_labels {
                lo = lo.max(0);
            }
            (shape, mul(lo, terms)?, mul(hi, terms)?)
        }
        Op::Affine { terms, constant } => {
            let Some(first) = terms.first() else {
                return Err(Fault::Bad("it has no terms".into()));
            };
            if terms.len() > MAX_NODES {
                return Err(Fault::Bad("it has too many terms".into()));
            }
            let (mut lo, mut hi) = (i128::from(*constant), i128::from(*constant));
            for (t, c) in terms {
                same_shape(shape(first.0), shape(*t))?;
                let (l, h) = corners(bounds(*t), (i128::from(*c), i128::from(*c)));
                (lo, hi) = (small(lo + l)?, small(hi + h)?);
            }
            (shape(first.0).clone(), lo, hi)
        }
        Op::Requant {
            input,
            multiplier,
            shift,
            lo,
            hi,
        } => {
            if *multiplier < 1 || *shift > MAX_SHIFT || lo > hi {
                return Err(Fault::Bad(format!(
                    "multiplier {multiplier}, shift {shift}, bounds {lo}..={hi}; needed are a positive multiplier, a shift of at most {MAX_SHIFT} and bounds that are not empty"
                )));
            }
            let (xl, xh) = bounds(*input);
            for x in [xl, xh] {
                small(mul(x, i128::from(*multiplier))?.abs() + (1 << *shift))?;
            }
            let (lo, hi) = (i128::from(*lo), i128::from(*hi));
            for q in [lo, hi] {
                small(mul(q, 1 << *shift)?.abs() + (1 << *shift))?;
            }
            let clamp = |x: i128| rescale(x as i64, *multiplier, *shift).clamp(lo, hi);
            (shape(*input).clone(), clamp(xl), clamp(xh))
        }
        Op::Lookup { input, table } => {
            let t = program
                .tables
                .get(*table as usize)
                .ok_or_else(|| Fault::Bad(format!("there is no table {table}")))?;
            let (xl, xh) = bounds(*input);
            let (tl, th) = (
                i128::from(t.lo),
                i128::from(t.lo) + t.values.len() as i128 - 1,
            );
            if xl < tl || xh > th {
                return Err(Fault::Bad(format!(
                    "its input is in {xl}..={xh}, its table covers {tl}..={th}"
                )));
            }
            let used = &t.values[(xl - tl) as usize..=(xh - tl) as usize];
            let (lo, hi) = (used.iter().min(), used.iter().max());
            let (Some(lo), Some(hi)) = (lo, hi) else {
                return Err(Fault::Bad("its table is empty".into()));
            };
            (shape(*input).clone(), i128::from(*lo), i128::from(*hi))
        }
        Op::Max { inputs } => {
            if !(2..=MAX_MAX_INPUTS).contains(&inputs.len()) {
                return Err(Fault::Bad(format!(
                    "it has {} operands, 2 to {MAX_MAX_INPUTS} are supported",
                    inputs.len()
                )));
            }
            let (mut lo, mut hi) = bounds(inputs[0]);
            let mut least = lo;
            for &t in &inputs[1..] {
                same_shape(shape(inputs[0]), shape(t))?;
                let (l, h) = bounds(t);
                (lo, hi, least) = (lo.max(l), hi.max(h), least.min(l));
            }
            small(hi - least)?;
            (shape(inputs[0]).clone(), lo, hi)
        }
        Op::Div { num, den, lo, hi } => {
            same_shape(shape(*num), shape(*den))?;
            let (nl, nh) = bounds(*num);
            let (dl, dh) = bounds(*den);
            if dl < 1 {
                return Err(Fault::Bad(format!(
                    "its denominator may be {dl}; it must be positive"
                )));
            }
            let (lo, hi) = (i128::from(*lo), i128::from(*hi));
            if lo > hi {
                return Err(Fault::Bad(format!("its bounds {lo}..={hi} are empty")));
            }
            // Both sides of 2n + d = 2qd + r, for every q that the range check admits.
            small(2 * nl.abs().max(nh.abs()) + dh)?;
            let reach = small(lo.abs().max(hi.abs()))? + (hi - lo + 1).max(1) * 2;
            small(mul(2 * reach, dh)? + 2 * dh)?;
            let ends = [(nl, dl), (nl, dh), (nh, dl), (nh, dh)]
                .map(|(n, d)| divide(n as i64, d as i64).clamp(lo, hi));
            let lo = ends.into_iter().min().unwrap_or(lo);
            let hi = ends.into_iter().max().unwrap_or(hi);
            (shape(*num).clone(), lo, hi)
        }
        Op::Sqrt { input } => {
            let (lo, hi) = bounds(*input);
            if lo < 0 {
                return Err(Fault::Bad(format!(
                    "its input may be {lo}; it must not be negative"
                )));
            }
            (
                shape(*input).clone(),
                isqrt(lo as i64).into(),
                isqrt(hi as i64).into(),
            )
        }
    })
}

/// Entries that a wire's factors have at most, without those that cost nothing.
fn wire_entries(in_shape: &[usize], factors: &[Factor]) -> Result<u64, WireError> {
    let mut sum = 0u64;
    for factor in factors {
        let size = |dim: usize| in_shape.get(dim).copied();
        let sizes: Option<Vec<usize>> = factor.input_dims().into_iter().map(size).collect();
        let Some(sizes) = sizes else {
            return Err(WireError::Dimension);
        };
        let out = factor.output_sizes(&sizes)?;
        if !is_free(factor, &sizes, &out) {
            let entries = factor.entry_bound(&sizes, &out);
            sum = sum.saturating_add(u64::try_from(entries).unwrap_or(u64::MAX));
        }
    }
    Ok(sum)
}

fn check_wire(
    in_shape: &[usize],
    (lo, hi): (i128, i128),
    factors: &[Factor],
) -> Result<Range, Fault> {
    let mut used = vec![false; in_shape.len()];
    let mut shape = Vec::new();
    // Least and greatest sum of coefficients of one output, and of their
    // absolute values.
    let (mut least, mut most, mut abs, mut signed) = (1i128, 1i128, 1i128, false);
    for factor in factors {
        let mut sizes = Vec::new();
        for dim in factor.input_dims() {
            match used.get_mut(dim) {
                Some(u) if !*u => *u = true,
                _ => {
                    return Err(Fault::Bad(format!(
                        "dimension {dim} is absent or used twice"
                    )));
                }
            }
            sizes.push(in_shape[dim]);
        }
        let out = factor.output_sizes(&sizes)?;
        // Those that move every element once leave the bounds as they are.
        if !is_free(factor, &sizes, &out)
            && !matches!(factor, Factor::Repeat { .. } | Factor::Reshape { .. })
        {
            let rows: usize = out.iter().product();
            let mut sums = vec![(0i128, 0i128); rows];
            for (o, _, c) in factor.entries(&sizes) {
                let c = i128::from(c);
                sums[o as usize].0 += c;
                sums[o as usize].1 += c.abs();
                signed |= c < 0;
            }
            let row_least = sums.iter().map(|s| s.0).min().unwrap_or(0);
            let row_most = sums.iter().map(|s| s.0).max().unwrap_or(0);
            let row_abs = sums.iter().map(|s| s.1).max().unwrap_or(0);
            (least, most, abs) = (
                small(least * row_least)?,
                small(most * row_most)?,
                small(abs * row_abs)?,
            );
        }
        shape.extend(out);
        if shape.len() > MAX_RANK {
            return Err(Fault::Bad(format!(
                "it has more than {MAX_RANK} output dimensions"
            )));
        }
    }
    if let Some(dim) = used.iter().position(|u| !u) {
        return Err(Fault::Bad(format!("no factor reads dimension {dim}")));
    }
    if signed {
        let reach = mul(abs, lo.abs().max(hi.abs()))?;
        return Ok((shape, -reach, reach));
    }
    let lo = mul(least, lo)?.min(mul(most, lo)?);
    let hi = mul(least, hi)?.max(mul(most, hi)?);
    Ok((shape, lo, hi))
}

fn check_einsum(
    a: &[usize],
    a_labels: &[u8],
    b: &[usize],
    b_labels: &[u8],
    out_labels: &[u8],
) -> Result<(Vec<usize>, i128), Fault> {
    let mut size = [None::<usize>; 256];
    for (shape, labels) in [(a, a_labels), (b, b_labels)] {
        let distinct: std::collections::BTreeSet<_> = labels.iter().collect();
        if shape.len() != labels.len() || distinct.len() != labels.len() {
            return Err(Fault::Bad(format!(
                "labels {labels:?} do not fit the shape {shape:?}"
            )));
        }
        for (&label, &dim) in labels.iter().zip(shape) {
            if size[label as usize].is_some_and(|s| s != dim) {
                return Err(Fault::Bad(format!("label {label} has two sizes")));
            }
            size[label as usize] = Some(dim);
        }
    }
    let mut shape = Vec::new();
    for (i, label) in out_labels.iter().enumerate() {
        match size[*label as usize] {
            Some(d) if !out_labels[..i].contains(label) => shape.push(d),
            _ => {
                return Err(Fault::Bad(format!(
                    "output label {label} is unknown or repeated"
                )));
            }
        }
    }
    let mut terms = 1i128;
    for label in a_labels.iter().chain(b_labels) {
        if out_labels.contains(label) {
            continue;
        }
        if !(a_labels.contains(label) && b_labels.contains(label)) {
            return Err(Fault::Bad(format!(
                "label {label} is summed but not in both operands; sum it by a wire first"
            )));
        }
    }
    for label in a_labels.iter().filter(|l| !out_labels.contains(l)) {
        terms = mul(terms, size[*label as usize].unwrap_or(1) as i128)?;
    }
    Ok((shape, terms))
}

fn same_shape(a: &[usize], b: &[usize]) -> Result<(), Fault> {
    if a == b {
        Ok(())
    } else {
        Err(Fault::Bad(format!("operands have shapes {a:?} and {b:?}")))
    }
}

fn corners(a: (i128, i128), b: (i128, i128)) -> (i128, i128) {
    let p = [a.0 * b.0, a.0 * b.1, a.1 * b.0, a.1 * b.1];
    (*p.iter().min().unwrap_or(&0), *p.iter().max().unwrap_or(&0))
}

fn small(x: i128) -> Result<i128, Fault> {
    if x.abs() < MAX_ABS {
        Ok(x)
    } else {
        Err(Fault::Big(x.abs()))
    }
}

fn mul(a: i128, b: i128) -> Result<i128, Fault> {
    small(a.checked_mul(b).ok_or(Fault::Big(i128::MAX))?)
}
