//! QuantizeLinear and DequantizeLinear, and what stands between them.
//!
//! A dequantised tensor is `scale · (q - zero)`. Convolutions and products of such tensors
//! are computed on the integers, as the quantised model's own arithmetic does (ONNX
//! QLinearConv-10, QLinearMatMul-10), and rounded once where the model quantises again:
//! nothing is lost. Every float of that kind is in the graph as well, for readers that know
//! nothing of it.

use super::{Importer, Kind, Step, Value};
use crate::array::Array;
use crate::graph::{Id, Op};
use dsperse_onnx::{DataType, NodeProto};
use std::rc::Rc;

/// A float tensor that is `whole · scale`.
#[derive(Clone, Debug)]
pub(super) struct Scaled {
    /// The integers.
    whole: Id,
    /// The dimension of the scales, when there are several.
    axis: Option<usize>,
    /// One scale, or one for each index along the axis.
    scales: Rc<Vec<f32>>,
}

/// Operators that only move elements, or pick the greatest.
const MOVES: [&str; 9] = [
    "Flatten",
    "GlobalMaxPool",
    "Identity",
    "MaxPool",
    "Reshape",
    "Slice",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

impl<'a> Importer<'a> {
    /// Computes a node on the integers behind its inputs, where they have some.
    pub(super) fn on_integers(&mut self, node: &'a NodeProto) -> Step<Option<Id>> {
        let Some(first) = node.input.first().and_then(|n| self.values.get(n.as_str())) else {
            return Ok(None);
        };
        let Some(x) = self.scaled.get(&first.id).cloned() else {
            return Ok(None);
        };
        let operator = node.op_type();
        let moves =
            MOVES.contains(&operator) || (operator == "Relu" && x.scales.iter().all(|s| *s > 0.0));
        if moves && (x.axis.is_none() || operator == "Relu") {
            let whole = self.with(node, &[x.whole], |this| match operator {
                "MaxPool" => this.max_pool(node),
                "GlobalMaxPool" => this.global_max_pool(node),
                "Identity" => this.input(node, 0),
                "Relu" => this.clamp(node),
                "Slice" => this.slice(node),
                "Transpose" => this.transpose(node),
                _ => this.reshape_like(node),
            })?;
            return self.scaled_value(Scaled { whole, ..x }).map(Some);
        }
        if !matches!(operator, "Conv" | "MatMul" | "Gemm" | "Mul") || x.axis.is_some() {
            return Ok(None);
        }
        let Some(w) = node.input.get(1).and_then(|n| self.values.get(n.as_str())) else {
            return Ok(None);
        };
        let Some(w) = self.scaled.get(&w.id).cloned() else {
            return Ok(None);
        };
        let rank = self.graph.shape(w.whole).len();
        let transposed = node.int_or("transB", 0).map_err(|e| e.to_string())? != 0;
        let out_dim = match operator {
            "Conv" => 0,
            "Gemm" if transposed => 0,
            "MatMul" | "Gemm" => rank.saturating_sub(1),
            _ => usize::MAX,
        };
        if w.axis.is_some_and(|a| a != out_dim) {
            return Ok(None);
        }
        if operator == "Gemm" {
            let float = |name| node.float_or(name, 1.0).map_err(|e| e.to_string());
            if float("alpha")? != 1.0 || float("beta")? != 1.0 {
                return Ok(None);
            }
        }
        let scales: Vec<f32> = w.scales.iter().map(|s| x.scales[0] * s).collect();
        let mut operands = vec![x.whole, w.whole];
        if self.has(node, 2) {
            let Some(bias) = self.whole_bias(node, &scales)? else {
                return Ok(None);
            };
            operands.push(bias);
        }
        let whole = self.with(node, &operands, |this| match operator {
            "Conv" => this.conv(node),
            "Gemm" => this.gemm(node),
            "MatMul" => this.matmul(node),
            _ => this.mul(node),
        })?;
        // It has no bias that a normalisation may still be folded into.
        self.linear.remove(&whole);
        let rank = self.graph.shape(whole).len();
        let axis = w
            .axis
            .map(|_| if operator == "Conv" { 1 } else { rank - 1 });
        let scales = Rc::new(scales);
        self.scaled_value(Scaled {
            whole,
            axis,
            scales,
        })
        .map(Some)
    }

    /// Runs a step with other values for the node's first inputs.
    fn with(
        &mut self,
        node: &'a NodeProto,
        inputs: &[Id],
        step: impl FnOnce(&mut Self) -> Step<Id>,
    ) -> Step<Id> {
        let names: Vec<&'a str> = node
            .input
            .iter()
            .map(String::as_str)
            .take(inputs.len())
            .collect();
        let before: Vec<Option<Value>> =
            names.iter().map(|n| self.values.get(n).copied()).collect();
        for (name, id) in names.iter().zip(inputs) {
            let kind = Kind::Float;
            self.values.insert(name, Value { id: *id, kind });
        }
        let out = step(self);
        for (name, value) in names.into_iter().zip(before) {
            match value {
                Some(value) => self.values.insert(name, value),
                None => self.values.remove(name),
            };
        }
        out
    }

    /// A bias in units of the products, which it must be a whole number of.
    fn whole_bias(&mut self, node: &NodeProto, scales: &[f32]) -> Step<Option<Id>> {
        let value = self.value(node, 2)?;
        let Some(bias) = self.graph.constant(value.id) else {
            return Ok(None);
        };
        if let Some(s) = self.scaled.get(&value.id)
            && s.scales.len() == 1
            && scales.len() == 1
            && s.scales[0] == scales[0]
        {
            return Ok(Some(s.whole));
        }
        let mut whole = bias.clone();
        for (i, b) in whole.data.iter_mut().enumerate() {
            let x = *b / f64::from(scales[i % scales.len()]);
            *b = x.round_ties_even();
            if (x - *b).abs() > 1e-3 || x.abs() > 2f64.powi(31) {
                return Ok(None);
            }
        }
        let fits = scales.len() == 1 || whole.data.len() == scales.len();
        Ok(fits.then(|| self.graph.constant_node(whole)))
    }

    /// The float tensor, remembered with its integers.
    fn scaled_value(&mut self, scaled: Scaled) -> Step<Id> {
        let scales = self.along(&scaled.scales, scaled.axis, scaled.whole)?;
        let id = self.product(scaled.whole, scales)?;
        self.scaled.insert(id, scaled);
        Ok(id)
    }

    /// Numbers along an axis of a tensor, or a scalar.
    fn along(&mut self, numbers: &[f32], axis: Option<usize>, of: Id) -> Step<Id> {
        let mut shape = vec![1; axis.map_or(0, |a| self.graph.shape(of).len() - a)];
        if let Some(first) = shape.first_mut() {
            *first = numbers.len();
        }
        let data = numbers.iter().map(|s| f64::from(*s)).collect();
        let array = Array::new(shape, data).ok_or("its scales do not fit its axis")?;
        Ok(self.graph.constant_node(array))
    }

    /// Scales and zero points of a node: their axis, and one or several of each.
    fn scales(&self, node: &NodeProto) -> Step<(Option<usize>, Vec<f32>, Vec<f64>)> {
        let text = |e: dsperse_onnx::OnnxError| e.to_string();
        if node.int_or("block_size", 0).map_err(text)? != 0 {
            return Err("it is quantised by blocks".into());
        }
        let scale = self
            .constant_input(node, 1)?
            .ok_or("its scale is missing")?;
        let scales: Vec<f32> = scale.data.iter().map(|s| *s as f32).collect();
        if scales.is_empty() || !scales.iter().all(|s| *s > 0.0 && s.is_finite()) {
            return Err("its scale is not positive".into());
        }
        let zeros = match self.constant_input(node, 2)? {
            Some(z) => z.data.clone(),
            None => vec![0.0; scales.len()],
        };
        if zeros.len() != scales.len() {
            return Err("its scales and zero points differ in number".into());
        }
        if scales.len() == 1 {
            return Ok((None, scales, zeros));
        }
        let shape = self.shape(self.value(node, 0)?.id);
        let axis = Self::axis(node.int_or("axis", 1).map_err(text)?, shape.len())?;
        if shape[axis] != scales.len() {
            return Err("its scales do not fit its axis".into());
        }
        Ok((Some(axis), scales, zeros))
    }

    pub(super) fn dequantize(&mut self, node: &NodeProto) -> Step<Id> {
        let (axis, scales, zeros) = self.scales(node)?;
        let x = self.input(node, 0)?;
        let zeros: Vec<f32> = zeros.iter().map(|z| *z as f32).collect();
        let zeros = self.along(&zeros, axis, x)?;
        let whole = self.sum_of(x, 1.0, zeros, -1.0)?;
        let scales = Rc::new(scales);
        self.scaled_value(Scaled {
            whole,
            axis,
            scales,
        })
    }

    pub(super) fn quantize(&mut self, node: &NodeProto) -> Step<Id> {
        let (axis, scales, zeros) = self.scales(node)?;
        let zero = zeros[0];
        if zeros.iter().any(|z| *z != zero) {
            return Err("its zero points differ along its axis".into());
        }
        let (lo, hi) = self.quantised_limits(node)?;
        let x = self.input(node, 0)?;
        let (input, axis, factors) = match self.scaled.get(&x) {
            Some(s) if s.axis.is_none() || axis.is_none() || s.axis == axis => {
                let count = s.scales.len().max(scales.len());
                let of = |list: &[f32], i: usize| list[i % list.len()];
                let factor = |i| f64::from(of(&s.scales, i) / of(&scales, i));
                (s.whole, s.axis.or(axis), (0..count).map(factor).collect())
            }
            _ => (
                x,
                axis,
                scales.iter().map(|s| 1.0 / f64::from(*s)).collect(),
            ),
        };
        self.graph.add(Op::Rescale {
            input,
            axis,
            factors,
            zero,
            lo,
            hi,
        })
    }

    /// Least and greatest number of the type that a node quantises to.
    fn quantised_limits(&self, node: &NodeProto) -> Step<(f64, f64)> {
        let dtype = match node.input.get(2).filter(|n| !n.is_empty()) {
            Some(zero) => self.dtypes.get(zero.as_str()).copied(),
            None => {
                let number = node.int_or("output_dtype", 0).map_err(|e| e.to_string())?;
                Some(match i32::try_from(number) {
                    Ok(0) | Err(_) => DataType::U8,
                    Ok(n) => DataType::from_number(Some(n)),
                })
            }
        };
        let limits = dtype
            .filter(|d| !matches!(d, DataType::I64 | DataType::U64))
            .and_then(super::integer_limits);
        let (lo, hi) = limits.ok_or("its quantised type is not supported")?;
        Ok((lo as f64, hi as f64))
    }
}
