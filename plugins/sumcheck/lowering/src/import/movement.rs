//! Operators that only move elements.

use super::constants::dims_of;
use super::{Importer, Step, Value};
use crate::array::{Array, broadcast};
use crate::graph::{Id, Op, check_shape};
use dsperse_onnx::NodeProto;
use dsperse_sumcheck_verifier::wire::Factor;

/// Most comparisons for indices that are computed.
const MAX_COMPARED: usize = 1 << 20;

fn text(e: dsperse_onnx::OnnxError) -> String {
    e.to_string()
}

/// One factor that keeps each dimension.
fn keep(rank: usize) -> Vec<Factor> {
    (0..rank).map(|dim| Factor::Keep { dim }).collect()
}

impl<'a> Importer<'a> {
    pub(super) fn transpose(&mut self, node: &NodeProto) -> Step<Id> {
        let id = self.value(node, 0)?.id;
        let rank = self.shape(id).len();
        let order = match node.ints("perm").map_err(text)? {
            Some(p) => p
                .iter()
                .map(|&a| Self::axis(a, rank))
                .collect::<Step<Vec<_>>>()?,
            None => (0..rank).rev().collect(),
        };
        if order.len() != rank {
            return Err(format!(
                "its permutation {order:?} does not fit {rank} dimensions"
            ));
        }
        self.wire(
            id,
            order.into_iter().map(|dim| Factor::Keep { dim }).collect(),
        )
    }

    /// Flatten, Reshape, Squeeze, Unsqueeze: the same elements in another shape.
    pub(super) fn reshape_like(&mut self, node: &NodeProto) -> Step<Id> {
        let id = self.value(node, 0)?.id;
        let shape = self.shape(id);
        let rank = shape.len();
        let to = match node.op_type() {
            "Flatten" => {
                let axis = node.int_or("axis", 1).map_err(text)?;
                let axis = Self::axis(axis, rank + 1)?;
                vec![
                    shape[..axis].iter().product(),
                    shape[axis..].iter().product(),
                ]
            }
            "Squeeze" => {
                let axes = match self.ints(node, "axes", 1)? {
                    Some(a) => Self::axes(&a, rank)?,
                    None => (0..rank).filter(|&i| shape[i] == 1).collect(),
                };
                if let Some(&a) = axes.iter().find(|&&a| shape[a] != 1) {
                    return Err(format!("axis {a} has size {}, not 1", shape[a]));
                }
                let left = (0..rank).filter(|i| !axes.contains(i));
                left.map(|i| shape[i]).collect()
            }
            "Unsqueeze" => {
                let axes = self.ints(node, "axes", 1)?.ok_or("its axes are missing")?;
                let axes = Self::axes(&axes, rank + axes.len())?;
                let mut to = shape.clone();
                for a in axes {
                    to.insert(a, 1);
                }
                to
            }
            _ => {
                let wanted = self.ints_input(node, 1)?.ok_or("its shape is missing")?;
                let allow_zero = node.int_or("allowzero", 0).map_err(text)? != 0;
                target_shape(&shape, &wanted, allow_zero)?
            }
        };
        self.reshape(id, &to)
    }

    pub(super) fn slice(&mut self, node: &NodeProto) -> Step<Id> {
        let id = self.value(node, 0)?.id;
        let shape = self.shape(id);
        let starts = self
            .ints(node, "starts", 1)?
            .ok_or("its starts are missing")?;
        let ends = self.ints(node, "ends", 2)?.ok_or("its ends are missing")?;
        let axes = match self.ints(node, "axes", 3)? {
            Some(a) => a,
            None => (0..starts.len() as i64).collect(),
        };
        let steps = match self.ints_input(node, 4)? {
            Some(s) => s,
            None => vec![1; starts.len()],
        };
        if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
            return Err("its starts, ends, axes and steps differ in number".into());
        }
        let mut factors = keep(shape.len());
        for (i, &axis) in axes.iter().enumerate() {
            let dim = Self::axis(axis, shape.len())?;
            let n = shape[dim] as i64;
            let step = steps[i];
            if step == 0 || step.unsigned_abs() > 1 << 31 {
                return Err(format!("its step is {step}"));
            }
            let from_end = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
            let (start, end) = (from_end(starts[i]), from_end(ends[i]));
            let (start, size) = if step > 0 {
                let (start, end) = (start.clamp(0, n), end.clamp(0, n));
                (
                    start,
                    (end - start)
                        .max(0)
                        .cast_unsigned()
                        .div_ceil(step.cast_unsigned()),
                )
            } else {
                let (start, end) = (start.clamp(0, n - 1), end.clamp(-1, n - 1));
                (
                    start,
                    (start - end)
                        .max(0)
                        .cast_unsigned()
                        .div_ceil(step.unsigned_abs()),
                )
            };
            factors[dim] = Factor::Strided {
                dim,
                size: size as usize,
                start,
                step,
            };
        }
        self.wire(id, factors)
    }

    pub(super) fn split(&mut self, node: &'a NodeProto) -> Step<()> {
        let id = self.input(node, 0)?;
        let shape = self.shape(id);
        let axis = Self::axis(node.int_or("axis", 0).map_err(text)?, shape.len())?;
        let parts = node.output.len();
        let n = shape[axis];
        let sizes: Vec<usize> = match self.ints(node, "split", 1)? {
            Some(s) => s.iter().map(|&v| usize::try_from(v).unwrap_or(0)).collect(),
            None => {
                let each = n.div_ceil(parts.max(1));
                (0..parts)
                    .map(|i| each.min(n.saturating_sub(i * each)))
                    .collect()
            }
        };
        if sizes.len() != parts || sizes.iter().sum::<usize>() != n {
            return Err(format!("its parts {sizes:?} do not make up {n}"));
        }
        let mut start = 0;
        for (i, &size) in sizes.iter().enumerate() {
            if !node.output[i].is_empty() {
                let mut factors = keep(shape.len());
                factors[axis] = Factor::Strided {
                    dim: axis,
                    size,
                    start: start as i64,
                    step: 1,
                };
                let id = self.wire(id, factors)?;
                let kind = self.value(node, 0)?.kind;
                self.define(node, i, Value { id, kind })?;
            }
            start += size;
        }
        Ok(())
    }

    /// Each part is embedded in zeros at its place; the result is their sum.
    pub(super) fn concat(&mut self, node: &NodeProto) -> Step<Id> {
        let parts = (0..node.input.len())
            .map(|i| self.input(node, i))
            .collect::<Step<Vec<_>>>()?;
        let first = self.shape(*parts.first().ok_or("it has no inputs")?);
        let axis = node
            .int("axis")
            .map_err(text)?
            .ok_or("its axis is missing")?;
        let axis = Self::axis(axis, first.len())?;
        let mut total = 0;
        for &p in &parts {
            let shape = self.graph.shape(p);
            let fits = shape.len() == first.len()
                && (0..shape.len()).all(|i| i == axis || shape[i] == first[i]);
            if !fits {
                return Err(format!(
                    "shapes {first:?} and {shape:?} can't be concatenated"
                ));
            }
            total += shape[axis];
        }
        let (mut terms, mut start) = (Vec::new(), 0);
        for &p in &parts {
            let mut factors = keep(first.len());
            factors[axis] = Factor::Strided {
                dim: axis,
                size: total,
                start: -start,
                step: 1,
            };
            start += self.graph.shape(p)[axis] as i64;
            let embedded = if parts.len() == 1 {
                p
            } else {
                self.wire(p, factors)?
            };
            terms.push((embedded, 1.0));
        }
        self.affine(&terms, 0.0)
    }

    pub(super) fn gather(&mut self, node: &NodeProto) -> Step<Id> {
        let id = self.value(node, 0)?.id;
        let shape = self.shape(id);
        let axis = Self::axis(node.int_or("axis", 0).map_err(text)?, shape.len())?;
        let n = shape[axis] as i64;
        let ids = self.input(node, 1)?;
        let Some(indices) = self.graph.constant(ids) else {
            return self.gather_computed(id, axis, ids);
        };
        let index_shape = indices.shape.clone();
        let indices = indices
            .data
            .iter()
            .map(|&v| {
                let i = if v < 0.0 { v as i64 + n } else { v as i64 };
                if (0..n).contains(&i) {
                    Ok(i)
                } else {
                    Err(format!("index {v} is out of range for size {n}"))
                }
            })
            .collect::<Step<Vec<_>>>()?;
        let mut factors = keep(shape.len());
        factors[axis] = Factor::Gather { dim: axis, indices };
        let id = self.wire(id, factors)?;
        let mut to = shape;
        to.splice(axis..=axis, index_shape);
        self.reshape(id, &to)
    }

    /// Picks by indices that are not constant: those of an input of the slice, or, from a
    /// few, by comparing with every place.
    fn gather_computed(&mut self, id: Id, axis: usize, ids: Id) -> Step<Id> {
        let shape = self.shape(id);
        let index_shape = self.shape(ids);
        let count: usize = index_shape.iter().product();
        let mut to = shape.clone();
        to.splice(axis..=axis, index_shape);
        if let Some(ids) = self.input_behind(ids) {
            let picked = self.graph.add(Op::Select {
                input: id,
                dim: axis,
                ids,
            })?;
            return self.reshape(picked, &to);
        }
        let n = shape[axis];
        if n.saturating_mul(count) > MAX_COMPARED {
            return Err(format!(
                "its {count} indices are computed in the slice, and {n} places are too many to \
                 compare each with"
            ));
        }
        // [k, v] = [ids[k] = v], then a product over v.
        let flat = self.reshape(ids, &[count, 1])?;
        let flat = self.broadcast_to(flat, &[count, n])?;
        let places = Array::new(vec![1, n], (0..n).map(|v| v as f64).collect());
        let places = places.ok_or("its places have a wrong size")?;
        let places = self.graph.constant_node(places);
        let places = self.broadcast_to(places, &[count, n])?;
        let hot = self.equal(flat, places)?;
        let mut a_labels: Vec<u8> = (0..shape.len()).map(super::arithmetic::label).collect();
        let summed = a_labels[axis];
        let mut out_labels = a_labels.clone();
        out_labels[axis] = b'Z';
        let picked = self.graph.add(Op::Einsum {
            a: id,
            b: hot,
            a_labels: std::mem::take(&mut a_labels),
            b_labels: vec![b'Z', summed],
            out_labels,
        })?;
        self.reshape(picked, &to)
    }

    /// The input whose elements, in their order, a value is.
    fn input_behind(&self, mut id: Id) -> Option<Id> {
        loop {
            match &self.graph.nodes[id].op {
                Op::Input {
                    integers: Some(_), ..
                } => return Some(id),
                Op::Wire { input, factors } => {
                    let in_order = factors.iter().flat_map(Factor::input_dims);
                    let in_order = in_order.eq(0..self.graph.shape(*input).len());
                    let same = factors.iter().all(|f| {
                        matches!(
                            f,
                            Factor::Keep { .. }
                                | Factor::Reshape { .. }
                                | Factor::Repeat { size: 1 }
                        )
                    });
                    if !in_order || !same {
                        return None;
                    }
                    id = *input;
                }
                _ => return None,
            }
        }
    }

    pub(super) fn expand(&mut self, node: &NodeProto) -> Step<Id> {
        let id = self.input(node, 0)?;
        let wanted = self.ints_input(node, 1)?.ok_or("its shape is missing")?;
        let wanted = target_shape(&[], &wanted, true)?;
        let own = self.shape(id);
        let shape = broadcast(&own, &wanted)
            .ok_or_else(|| format!("shape {own:?} does not broadcast to {wanted:?}"))?;
        check_shape(&shape)?;
        self.broadcast_to(id, &shape)
    }

    pub(super) fn pad(&mut self, node: &NodeProto) -> Step<Id> {
        let id = self.input(node, 0)?;
        let shape = self.shape(id);
        let pads = self.ints(node, "pads", 1)?.ok_or("its pads are missing")?;
        let value = if self.opset < 11 {
            f64::from(node.float_or("value", 0.0).map_err(text)?)
        } else {
            self.scalar_input(node, 2)?.unwrap_or(0.0)
        };
        let axes = match self.ints_input(node, 3)? {
            Some(a) => a
                .iter()
                .map(|&a| Self::axis(a, shape.len()))
                .collect::<Step<Vec<_>>>()?,
            None => (0..shape.len()).collect(),
        };
        if pads.len() != 2 * axes.len() || pads.iter().any(|p| p.unsigned_abs() > 1 << 24) {
            return Err(format!("its pads {pads:?} do not fit"));
        }
        let mode = node.string_or("mode", "constant").map_err(text)?;
        let mut factors = keep(shape.len());
        for (i, &dim) in axes.iter().enumerate() {
            let n = shape[dim] as i64;
            let (before, after) = (pads[i], pads[axes.len() + i]);
            let size = usize::try_from(n + before + after)
                .map_err(|_| format!("its pads {pads:?} remove more than there is"))?;
            if (before, after) == (0, 0) {
                continue;
            }
            let source = |o: i64| match mode {
                "edge" => Some(o.clamp(0, n - 1)),
                "wrap" => Some(o.rem_euclid(n)),
                "reflect" if n > 1 => {
                    let m = o.rem_euclid(2 * (n - 1));
                    Some(m.min(2 * (n - 1) - m))
                }
                _ => None,
            };
            factors[dim] = match mode {
                "constant" => Factor::Strided {
                    dim,
                    size,
                    start: -before,
                    step: 1,
                },
                _ => {
                    let indices = (0..size as i64).map(|o| source(o - before));
                    let indices = indices
                        .collect::<Option<Vec<_>>>()
                        .ok_or_else(|| format!("the mode \"{mode}\" is not supported here"))?;
                    Factor::Gather { dim, indices }
                }
            };
        }
        if mode != "constant" || value == 0.0 {
            return self.wire(id, factors);
        }
        // Zeros are what a wire puts outside: shift so that the value is zero.
        let shifted = self.affine(&[(id, 1.0)], -value)?;
        let padded = self.wire(shifted, factors)?;
        self.affine(&[(padded, 1.0)], value)
    }
}

/// Resolves 0 (copy) and -1 (the rest) in the target of a Reshape.
fn target_shape(from: &[usize], wanted: &[i64], allow_zero: bool) -> Step<Vec<usize>> {
    let mut to = Vec::new();
    let mut rest = None;
    for (i, &w) in wanted.iter().enumerate() {
        to.push(match w {
            0 if !allow_zero => *from.get(i).ok_or("it copies a dimension that is absent")?,
            -1 if rest.is_none() => {
                rest = Some(i);
                1
            }
            w => dims_of(&crate::array::Array::filled(vec![1], w as f64))?[0],
        });
    }
    let total: usize = from.iter().product();
    if let Some(i) = rest {
        check_shape(&to)?;
        let known: usize = to.iter().product();
        if known == 0 || !total.is_multiple_of(known) {
            return Err(format!("shape {from:?} can't be read as {wanted:?}"));
        }
        to[i] = total / known;
    }
    Ok(to)
}
