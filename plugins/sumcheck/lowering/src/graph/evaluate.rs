//! The float reference: evaluates a [`Graph`] in double precision.
//!
//! It serves calibration (ranges of interior values) and fidelity figures, so it is
//! written to be plainly right; its speed only has to be bearable.

use super::{Graph, Id, Op, Window};
use crate::array::{Array, strides};
use dsperse_sumcheck_verifier::eval::rows_times;
use dsperse_sumcheck_verifier::wire::Factor;

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
                match op {
                    Op::Const(array) => array.as_ref().clone(),
                    _ => compute(op, &operands, &node.shape),
                }
            }
        };
        observe(id, &value);
        values[id] =
            (!matches!(node.op, Op::Const(_)) || last_use[id] == usize::MAX).then_some(value);
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
        Op::Wire { factors, .. } => wire(x, factors),
        Op::Einsum {
            a_labels,
            b_labels,
            out_labels,
            ..
        } => einsum(x, a_labels, operands[1], b_labels, out_labels, shape),
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
        Op::Select { dim, .. } => select(x, *dim, &operands[1].data),
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

/// For each output index of a factor: offsets into the input and coefficients.
type Rows = Vec<Vec<(usize, f64)>>;

fn wire(input: &Array, factors: &[Factor]) -> Vec<f64> {
    let steps = strides(&input.shape);
    let rows: Vec<Rows> = factors
        .iter()
        .map(|factor| {
            let dims = factor.input_dims();
            let sizes: Vec<usize> = dims.iter().map(|&d| input.shape[d]).collect();
            let n_out = factor
                .output_sizes(&sizes)
                .map_or(0, |out| out.iter().product());
            let mut rows = vec![Vec::new(); n_out];
            for (o, i, c) in factor.entries(&sizes) {
                let (mut rest, mut offset) = (i as usize, 0);
                for k in (0..dims.len()).rev() {
                    offset += rest % sizes[k] * steps[dims[k]];
                    rest /= sizes[k];
                }
                rows[o as usize].push((offset, f64::from(c)));
            }
            rows
        })
        .collect();
    let mut out = Vec::with_capacity(rows.iter().map(Vec::len).product());
    expand(&rows, &input.data, &[(0, 1.0)], &mut out);
    out
}

/// Walks the factors' outputs in row-major order; `partial` holds the terms that the
/// factors before have chosen.
fn expand(rows: &[Rows], data: &[f64], partial: &[(usize, f64)], out: &mut Vec<f64>) {
    let Some((first, rest)) = rows.split_first() else {
        out.push(partial.iter().map(|&(o, c)| c * data[o]).sum());
        return;
    };
    for row in first {
        let next: Vec<(usize, f64)> = partial
            .iter()
            .flat_map(|&(o, c)| row.iter().map(move |&(o2, c2)| (o + o2, c * c2)))
            .collect();
        expand(rest, data, &next, out);
    }
}

fn offsets(labels: &[u8], shape: &[usize], over: &[(u8, usize)]) -> Vec<usize> {
    let steps = strides(shape);
    let mut out = vec![0usize];
    for &(label, size) in over {
        let at = labels.iter().position(|&l| l == label);
        let step = at.map_or(0, |i| steps[i]);
        out = out
            .iter()
            .flat_map(|&o| (0..size).map(move |i| o + i * step))
            .collect();
    }
    out
}

fn einsum(
    a: &Array,
    a_labels: &[u8],
    b: &Array,
    b_labels: &[u8],
    out_labels: &[u8],
    out_shape: &[usize],
) -> Vec<f64> {
    let outer: Vec<(u8, usize)> = out_labels
        .iter()
        .copied()
        .zip(out_shape.iter().copied())
        .collect();
    let mut inner: Vec<(u8, usize)> = Vec::new();
    let both = a_labels
        .iter()
        .zip(&a.shape)
        .chain(b_labels.iter().zip(&b.shape));
    for (&l, &s) in both {
        if !out_labels.contains(&l) && !inner.contains(&(l, s)) {
            inner.push((l, s));
        }
    }
    let (ia, ib) = (
        offsets(a_labels, &a.shape, &inner),
        offsets(b_labels, &b.shape, &inner),
    );
    let oa = offsets(a_labels, &a.shape, &outer);
    let ob = offsets(b_labels, &b.shape, &outer);
    // Where the last output dimensions are read by one operand only, the other is a
    // scale for a whole run: much faster than one sum per element.
    let run = |labels: &[u8]| -> usize {
        let unread = outer.iter().rev().take_while(|(l, _)| !labels.contains(l));
        unread.map(|x| x.1).product()
    };
    let (run_a, run_b) = (run(a_labels), run(b_labels));
    if run_a.max(run_b) > 1 {
        let (left, right) = ((a.data.as_slice(), &*oa), (b.data.as_slice(), &*ob));
        return match run_a >= run_b {
            true => rows_times(left, right, (&ia, &ib), run_a),
            false => rows_times(right, left, (&ib, &ia), run_b),
        };
    }
    oa.iter()
        .zip(&ob)
        .map(|(&p, &q)| {
            let pairs = ia.iter().zip(&ib);
            pairs.map(|(&i, &j)| a.data[p + i] * b.data[q + j]).sum()
        })
        .collect()
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

/// Picks along a dimension; what is picked from outside is not a number.
fn select(x: &Array, dim: usize, ids: &[f64]) -> Vec<f64> {
    let row: usize = x.shape[dim + 1..].iter().product();
    let size = x.shape[dim];
    let mut out = Vec::new();
    for block in x.data.chunks(row * size) {
        for &id in ids {
            if id >= 0.0 && id < size as f64 {
                let at = id as usize * row;
                out.extend_from_slice(&block[at..at + row]);
            } else {
                out.extend(std::iter::repeat_n(f64::NAN, row));
            }
        }
    }
    out
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
