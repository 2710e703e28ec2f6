//! The float reference: evaluates a [`Graph`] in double precision.
//!
//! It serves calibration (ranges of interior values) and fidelity figures, so it is
//! written to be plainly right; its speed only has to be bearable.

use super::{Graph, Id, Op, Window};
use crate::array::Array;
use dsperse_sumcheck_evaluator::movement::{select, wire};
use dsperse_sumcheck_evaluator::product::{Labelled, einsum};
use dsperse_sumcheck_evaluator::strides;

/// Evaluates the graph and returns its outputs. The inputs must have the shapes of the
/// graph's input nodes.
#[must_use]
pub fn evaluate(graph: &Graph, inputs: &[Array]) -> Vec<Array> {
    evaluate_with(graph, inputs, |_, _| ())
}

/// As [`evaluate`]; `observe` sees every value that the outputs depend on. Values are
/// dropped after their last use.
pub fn evaluate_with(
    graph: &Graph,
    inputs: &[Array],
    mut observe: impl FnMut(Id, &Array),
) -> Vec<Array> {
    let needed = graph.needed();
    let mut last_use = vec![0; graph.nodes.len()];
    for (id, node) in graph.nodes.iter().enumerate().filter(|(id, _)| needed[*id]) {
        for operand in node.op.operands() {
            last_use[operand] = id;
        }
    }
    for &o in &graph.outputs {
        last_use[o] = usize::MAX;
    }
    let mut values: Vec<Option<Array>> = vec![None; graph.nodes.len()];
    for (&id, input) in graph.inputs.iter().zip(inputs) {
        values[id] = Some(input.clone());
    }
    for (id, node) in graph.nodes.iter().enumerate() {
        if !needed[id] {
            continue;
        }
        let value = match &node.op {
            Op::Const(array) => {
                observe(id, array);
                if last_use[id] == usize::MAX {
                    values[id] = Some(array.as_ref().clone());
                }
                continue;
            }
            Op::Input { shape, .. } => values[id]
                .take()
                .unwrap_or_else(|| Array::filled(shape.clone(), 0.0)),
            op => {
                let operands = op.operands();
                let get = |o: &Id| match &graph.nodes[*o].op {
                    Op::Const(array) => Some(array.as_ref()),
                    _ => values[*o].as_ref(),
                };
                let operands: Vec<&Array> = operands.iter().filter_map(get).collect();
                compute(op, &operands, &node.shape)
            }
        };
        observe(id, &value);
        values[id] = Some(value);
        for operand in node.op.operands() {
            if last_use[operand] == id {
                values[operand] = None;
            }
        }
    }
    graph
        .outputs
        .iter()
        .filter_map(|&o| values[o].clone())
        .collect()
}

/// One operator on its operands' values.
pub(super) fn compute(op: &Op, operands: &[&Array], shape: &[usize]) -> Array {
    let x = operands[0];
    let map = |f: &dyn Fn(f64) -> f64| x.data.iter().map(|&v| f(v)).collect::<Vec<f64>>();
    let data = match op {
        Op::Input { .. } | Op::Const(_) => x.data.clone(),
        Op::Wire { factors, .. } => wire(&x.data, &x.shape, factors),
        Op::Einsum {
            a_labels,
            b_labels,
            out_labels,
            ..
        } => {
            let (a, b) = (labelled(x, a_labels), labelled(operands[1], b_labels));
            einsum(a, b, out_labels)
        }
        Op::Affine { terms, constant } => {
            let mut data = vec![*constant; x.data.len()];
            for (t, (_, c)) in operands.iter().zip(terms) {
                data.iter_mut().zip(&t.data).for_each(|(d, v)| *d += c * v);
            }
            data
        }
        Op::Clamp { lo, hi, .. } => map(&|v| v.max(*lo).min(*hi)),
        Op::Map { function, .. } => map(&|v| function.at(v)),
        Op::Step { strict, .. } => map(&|v| step(v, *strict)),
        Op::Floor { .. } => map(&f64::floor),
        Op::Reciprocal { .. } => map(&|v| 1.0 / v),
        Op::Rescale {
            axis,
            factors,
            zero,
            lo,
            hi,
            ..
        } => {
            let step = axis.map_or(1, |a| strides(&x.shape)[a]);
            let factor = |i: usize| factors[i / step % factors.len()];
            let values = x.data.iter().enumerate();
            values
                .map(|(i, &v)| rescale(v, factor(i), *zero, *lo, *hi))
                .collect()
        }
        Op::Max { .. } => {
            let mut data = x.data.clone();
            for t in &operands[1..] {
                data.iter_mut()
                    .zip(&t.data)
                    .for_each(|(d, v)| *d = d.max(*v));
            }
            data
        }
        Op::Div { .. } => {
            let pairs = x.data.iter().zip(&operands[1].data);
            pairs.map(|(n, d)| n / d).collect()
        }
        Op::Quotient { .. } => {
            let pairs = x.data.iter().zip(&operands[1].data);
            pairs.map(|(n, d)| quotient(*n, *d)).collect()
        }
        Op::Select { dim, .. } => {
            // What is picked from outside is not a number.
            let id = |id: &f64| (*id >= 0.0).then_some(*id as usize);
            let ids: Vec<_> = operands[1].data.iter().map(id).collect();
            select(&x.data, &x.shape, *dim, &ids, f64::NAN)
        }
        Op::Sum { axes, .. } => sum(x, axes).data,
        Op::Expand { shape, .. } => x.expanded(shape).data,
        Op::MaxPool { windows, .. } => windows.iter().fold(x.clone(), |a, w| max_pool(&a, w)).data,
        Op::Softmax { axis, .. } => softmax(x, *axis),
        Op::Normalise {
            axes,
            epsilon,
            centred,
            ..
        } => normalise(x, axes, *epsilon, *centred),
    };
    Array {
        shape: shape.to_vec(),
        data,
    }
}

fn labelled<'a>(array: &'a Array, labels: &'a [u8]) -> Labelled<'a, f64> {
    Labelled {
        data: &array.data,
        shape: &array.shape,
        labels,
    }
}

fn sum(x: &Array, axes: &[usize]) -> Array {
    let mut shape = x.shape.clone();
    for &a in axes {
        shape[a] = 1;
    }
    // Index of the sum that each element belongs to.
    let own = strides(&shape);
    let mut into = vec![0usize];
    for (i, &d) in x.shape.iter().enumerate() {
        let step = if axes.contains(&i) { 0 } else { own[i] };
        into = into
            .iter()
            .flat_map(|&o| (0..d).map(move |k| o + k * step))
            .collect();
    }
    let mut out = Array::filled(shape, 0.0);
    for (v, o) in x.data.iter().zip(into) {
        out.data[o] += v;
    }
    out
}

fn max_pool(x: &Array, w: &Window) -> Array {
    let step: usize = x.shape[w.dim + 1..].iter().product();
    let n = x.shape[w.dim];
    let mut shape = x.shape.clone();
    shape[w.dim] = w.size;
    let mut data = Vec::with_capacity(shape.iter().product());
    for block in x.data.chunks(n * step) {
        for o in 0..w.size {
            for s in 0..step {
                let mut best = f64::NEG_INFINITY;
                for k in 0..w.kernel {
                    let at = (o * w.stride + k * w.dilation).checked_sub(w.pad);
                    if let Some(i) = at.filter(|&i| i < n) {
                        best = best.max(block[i * step + s]);
                    }
                }
                data.push(best);
            }
        }
    }
    Array { shape, data }
}

fn softmax(x: &Array, axis: usize) -> Vec<f64> {
    let step: usize = x.shape[axis + 1..].iter().product();
    let n = x.shape[axis];
    let mut out = x.data.clone();
    for block in out.chunks_mut(n * step) {
        for s in 0..step {
            let most = (0..n)
                .map(|i| block[i * step + s])
                .fold(f64::NEG_INFINITY, f64::max);
            let mut total = 0.0;
            for i in 0..n {
                let e = libm::exp(block[i * step + s] - most);
                block[i * step + s] = e;
                total += e;
            }
            for i in 0..n {
                block[i * step + s] /= total;
            }
        }
    }
    out
}

/// One element of [`Op::Rescale`].
pub(crate) fn rescale(x: f64, factor: f64, zero: f64, lo: f64, hi: f64) -> f64 {
    ((x * factor).round_ties_even() + zero).max(lo).min(hi)
}

/// One element of [`Op::Quotient`]. ONNX says nothing of a division by 0; it counts as 1.
fn quotient(n: f64, d: f64) -> f64 {
    let d = if d == 0.0 { 1.0 } else { d };
    (n / d).trunc()
}

/// The step function, see [`Op::Step`].
pub(crate) fn step(x: f64, strict: bool) -> f64 {
    f64::from(u8::from(x > 0.0 || (x == 0.0 && !strict)))
}

fn normalise(x: &Array, axes: &[usize], epsilon: f64, centred: bool) -> Vec<f64> {
    let n: usize = axes.iter().map(|&a| x.shape[a]).product();
    let n = n as f64;
    let mean = sum(x, axes).expanded(&x.shape);
    let centred = Array {
        shape: x.shape.clone(),
        data: x
            .data
            .iter()
            .zip(&mean.data)
            .map(|(v, m)| if centred { v - m / n } else { *v })
            .collect(),
    };
    let squares = Array {
        shape: x.shape.clone(),
        data: centred.data.iter().map(|v| v * v).collect(),
    };
    let variance = sum(&squares, axes).expanded(&x.shape);
    centred
        .data
        .iter()
        .zip(&variance.data)
        .map(|(v, s)| v / (s / n + epsilon).sqrt())
        .collect()
}
