//! Which nodes become one lookup table.
//!
//! A chain of element-wise operators that starts at one tensor is a function of one
//! variable, however many nodes it takes: GELU written with Erf, `x · sigmoid(x)`, a
//! cube root. Such a chain costs one rounding and one lookup instead of one for each
//! node, and is exact up to the rounding of its ends. A chain without a curved function
//! is left as it is: sums and limits are cheaper than tables.

use crate::graph::{Graph, Id, Op, rescale, step};

/// What the quantiser has to compute, and how.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Nodes that have a value in the program.
    pub(super) needed: Vec<bool>,
    /// For a node that is a table: the node whose value is looked up.
    pub(super) table_of: Vec<Option<Id>>,
}

impl Plan {
    pub(super) fn new(graph: &Graph) -> Self {
        let n = graph.nodes.len();
        // Each node is an element-wise function of `source`, itself at first.
        let mut source: Vec<Id> = (0..n).collect();
        let mut curved = vec![false; n];
        for id in 0..n {
            let common = |ids: &[Id]| {
                let first = source[*ids.first()?];
                let same = ids.iter().all(|&i| source[i] == first);
                (same && graph.shape(first) == graph.shape(id)).then_some(first)
            };
            let operands = graph.nodes[id].op.operands();
            let (from, bends) = match &graph.nodes[id].op {
                Op::Map { .. } => (common(&operands), true),
                Op::Clamp { .. }
                | Op::Affine { .. }
                | Op::Max { .. }
                | Op::Step { .. }
                | Op::Floor { .. }
                | Op::Reciprocal { .. }
                | Op::Div { .. }
                | Op::Rescale { axis: None, .. } => (common(&operands), false),
                Op::Einsum {
                    a_labels,
                    b_labels,
                    out_labels,
                    ..
                } if a_labels == out_labels && b_labels == out_labels => (common(&operands), false),
                _ => (None, false),
            };
            let constant = |id: Id| graph.constant(id).is_some();
            if let Some(from) = from.filter(|&f| !constant(f)) {
                source[id] = from;
                curved[id] = bends || operands.iter().any(|&o| curved[o]);
            }
        }
        let table_of: Vec<Option<Id>> = (0..n).map(|id| curved[id].then_some(source[id])).collect();
        let mut needed = vec![false; n];
        for &o in &graph.outputs {
            needed[o] = true;
        }
        for id in (0..n).rev() {
            if !needed[id] {
                continue;
            }
            match table_of[id] {
                Some(from) => needed[from] = true,
                // Constants are quantised where they are used, at the scale needed there.
                None => graph.nodes[id]
                    .op
                    .operands()
                    .into_iter()
                    .filter(|&o| constant_root(graph, o).is_none())
                    .for_each(|o| needed[o] = true),
            }
        }
        Self { needed, table_of }
    }
}

/// The constant that a node repeats or moves, if it does nothing else.
pub(super) fn constant_root(graph: &Graph, mut id: Id) -> Option<Id> {
    loop {
        match &graph.nodes[id].op {
            Op::Const(_) => return Some(id),
            Op::Wire { input, .. } | Op::Expand { input, .. } => id = *input,
            _ => return None,
        }
    }
}

/// The function that leads from `source` to `id`, at the given points.
pub(super) fn evaluate_chain(graph: &Graph, source: Id, id: Id, points: &[f64]) -> Vec<f64> {
    let mut values: Vec<Option<Vec<f64>>> = vec![None; id + 1];
    values[source] = Some(points.to_vec());
    // Only nodes between the two that are functions of the source get a value.
    for node in source + 1..=id {
        let op = &graph.nodes[node].op;
        let operands = op.operands();
        let known: Option<Vec<&Vec<f64>>> = operands.iter().map(|&o| values[o].as_ref()).collect();
        let Some(known) = known.filter(|k| !k.is_empty()) else {
            continue;
        };
        let value = match op {
            Op::Map { function, .. } => known[0].iter().map(|&x| function.at(x)).collect(),
            Op::Clamp { lo, hi, .. } => known[0].iter().map(|x| x.max(*lo).min(*hi)).collect(),
            Op::Step { strict, .. } => known[0].iter().map(|&x| step(x, *strict)).collect(),
            Op::Floor { .. } => known[0].iter().map(|x| x.floor()).collect(),
            Op::Rescale {
                axis: None,
                factors,
                zero,
                lo,
                hi,
                ..
            } => known[0]
                .iter()
                .map(|&x| rescale(x, factors[0], *zero, *lo, *hi))
                .collect(),
            Op::Reciprocal { .. } => known[0].iter().map(|x| 1.0 / x).collect(),
            Op::Div { .. } => known[0].iter().zip(known[1]).map(|(n, d)| n / d).collect(),
            Op::Max { .. } => {
                let mut most = known[0].clone();
                for t in &known[1..] {
                    most.iter_mut()
                        .zip(t.iter())
                        .for_each(|(m, x)| *m = m.max(*x));
                }
                most
            }
            Op::Affine { terms, constant } => {
                let mut sum = vec![*constant; points.len()];
                for (t, (_, c)) in known.iter().zip(terms) {
                    sum.iter_mut().zip(t.iter()).for_each(|(s, x)| *s += c * x);
                }
                sum
            }
            Op::Einsum {
                a_labels,
                b_labels,
                out_labels,
                ..
            } if a_labels == out_labels && b_labels == out_labels => {
                known[0].iter().zip(known[1]).map(|(x, y)| x * y).collect()
            }
            _ => continue,
        };
        values[node] = Some(value);
    }
    values[id].take().unwrap_or_else(|| points.to_vec())
}
