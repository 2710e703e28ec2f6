//! Sums and means over axes, Softmax and layer normalisation.

use super::{Importer, Step};
use crate::graph::{Function, Id, Op};
use dsperse_onnx::NodeProto;
use dsperse_sumcheck_verifier::wire::Factor;

impl Importer<'_> {
    /// The mean over axes, which keep size 1.
    pub(super) fn mean(&mut self, input: Id, axes: Vec<usize>) -> Step<Id> {
        let shape = self.shape(input);
        let n: usize = axes.iter().map(|&a| shape[a]).product();
        let sum = self.graph.add(Op::Sum { input, axes })?;
        self.affine(&[(sum, 1.0 / n as f64)], 0.0)
    }

    pub(super) fn reduce(&mut self, node: &NodeProto) -> Step<Id> {
        let text = |e: dsperse_onnx::OnnxError| e.to_string();
        let input = self.input(node, 0)?;
        let shape = self.shape(input);
        let named = self.ints(node, "axes", 1)?.unwrap_or_default();
        let axes = if named.is_empty() {
            if node.int_or("noop_with_empty_axes", 0).map_err(text)? != 0 {
                return Ok(input);
            }
            (0..shape.len()).collect()
        } else {
            Self::axes(&named, shape.len())?
        };
        let keep = node.int_or("keepdims", 1).map_err(text)? != 0;
        let id = match node.op_type() {
            "ReduceMean" => self.mean(input, axes.clone())?,
            "ReduceMax" => self.greatest(input, &axes)?,
            "ReduceMin" => {
                let negative = self.affine(&[(input, -1.0)], 0.0)?;
                let most = self.greatest(negative, &axes)?;
                self.affine(&[(most, -1.0)], 0.0)?
            }
            _ => self.graph.add(Op::Sum {
                input,
                axes: axes.clone(),
            })?,
        };
        if keep {
            return Ok(id);
        }
        let left = (0..shape.len()).filter(|i| !axes.contains(i));
        let left: Vec<usize> = left.map(|i| shape[i]).collect();
        self.reshape(id, &left)
    }

    pub(super) fn softmax(&mut self, node: &NodeProto) -> Step<Id> {
        let input = self.input(node, 0)?;
        let shape = self.shape(input);
        let default = if self.opset < 13 { 1 } else { -1 };
        let axis = node.int_or("axis", default).map_err(|e| e.to_string())?;
        let axis = Self::axis(axis, shape.len())?;
        if self.opset >= 13 || axis + 1 == shape.len() {
            return self.graph.add(Op::Softmax { input, axis });
        }
        // Before opset 13 it is over all dimensions from the axis on.
        let rows = shape[..axis].iter().product();
        let columns = shape[axis..].iter().product();
        let flat = self.reshape(input, &[rows, columns])?;
        let out = self.graph.add(Op::Softmax {
            input: flat,
            axis: 1,
        })?;
        self.reshape(out, &shape)
    }

    pub(super) fn layer_normalization(&mut self, node: &NodeProto) -> Step<Id> {
        let text = |e: dsperse_onnx::OnnxError| e.to_string();
        let input = self.input(node, 0)?;
        let rank = self.shape(input).len();
        let axis = Self::axis(node.int_or("axis", -1).map_err(text)?, rank)?;
        let epsilon = f64::from(node.float_or("epsilon", 1e-5).map_err(text)?);
        let mut id = self.normalise(input, (axis..rank).collect(), epsilon, true)?;
        let scale = self.input(node, 1)?;
        id = self.product(id, scale)?;
        if self.has(node, 2) {
            let bias = self.input(node, 2)?;
            id = self.sum_of(id, 1.0, bias, 1.0)?;
        }
        Ok(id)
    }

    /// `x / sqrt(mean(x²) + epsilon) · scale` (RMSNormalization-23).
    pub(super) fn rms_normalization(&mut self, node: &NodeProto) -> Step<Id> {
        let text = |e: dsperse_onnx::OnnxError| e.to_string();
        let input = self.input(node, 0)?;
        let rank = self.shape(input).len();
        let axis = Self::axis(node.int_or("axis", -1).map_err(text)?, rank)?;
        let epsilon = f64::from(node.float_or("epsilon", 1e-5).map_err(text)?);
        let id = self.normalise(input, (axis..rank).collect(), epsilon, false)?;
        let scale = self.input(node, 1)?;
        self.product(id, scale)
    }

    /// LRN: `x / (bias + alpha/size · sum of x² over neighbouring channels)^beta`.
    pub(super) fn local_response(&mut self, node: &NodeProto) -> Step<Id> {
        let text = |e: dsperse_onnx::OnnxError| e.to_string();
        let input = self.input(node, 0)?;
        let shape = self.shape(input);
        let channels = *shape.get(1).ok_or("its input has no channels")?;
        let size = node.int("size").map_err(text)?.unwrap_or(0);
        let size = usize::try_from(size)
            .ok()
            .filter(|s| (1..=1 << 16).contains(s))
            .ok_or_else(|| format!("its size is {size}"))?;
        let number =
            |name, default| Ok::<_, String>(f64::from(node.float_or(name, default).map_err(text)?));
        let (alpha, beta) = (number("alpha", 1e-4)?, number("beta", 0.75)?);
        let bias = number("bias", 1.0)?;
        let squares = self.product(input, input)?;
        let mut factors: Vec<Factor> = (0..shape.len()).map(|dim| Factor::Keep { dim }).collect();
        factors[1] = Factor::Pool {
            dim: 1,
            kernel: size,
            size: channels,
            stride: 1,
            dilation: 1,
            pad: (size - 1) / 2,
        };
        let sum = self.wire(squares, factors)?;
        let base = self.affine(&[(sum, alpha / size as f64)], bias)?;
        let scale = self.graph.add(Op::Map {
            input: base,
            function: Function::Power(-beta),
        })?;
        self.product(input, scale)
    }

    fn normalise(&mut self, input: Id, axes: Vec<usize>, epsilon: f64, centred: bool) -> Step<Id> {
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return Err(format!("its epsilon is {epsilon}; it must be positive"));
        }
        self.graph.add(Op::Normalise {
            input,
            axes,
            epsilon,
            centred,
        })
    }

    /// Recognises `d / sqrt(mean(d²) + epsilon)`, also with `d = x - mean(x)` over the same
    /// axes.
    pub(super) fn decomposed_normalisation(&mut self, num: Id, den: Id) -> Step<Option<Id>> {
        let Op::Map {
            input: radicand,
            function: Function::Sqrt,
        } = *self.op(self.unbroadcast(den))
        else {
            return Ok(None);
        };
        self.normalised_by(num, radicand)
    }

    /// Recognises `d · (mean(d²) + epsilon)^(-1/2)`, however the root is spelled.
    pub(super) fn multiplied_normalisation(&mut self, num: Id, factor: Id) -> Step<Option<Id>> {
        let radicand = match *self.op(self.unbroadcast(factor)) {
            Op::Map {
                input,
                function: Function::Power(-0.5),
            } => input,
            Op::Map {
                input,
                function: Function::Sqrt,
            } => match *self.op(input) {
                Op::Reciprocal { input } => input,
                _ => return Ok(None),
            },
            Op::Reciprocal { input } => match *self.op(self.unbroadcast(input)) {
                Op::Map {
                    input,
                    function: Function::Sqrt,
                } => input,
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        self.normalised_by(num, radicand)
    }

    fn normalised_by(&mut self, num: Id, radicand: Id) -> Step<Option<Id>> {
        Ok(match self.match_normalisation(num, radicand) {
            Some((x, axes, epsilon, centred)) => Some(self.normalise(x, axes, epsilon, centred)?),
            None => None,
        })
    }

    fn op(&self, id: Id) -> &Op {
        &self.graph.nodes[id].op
    }

    fn match_normalisation(&self, num: Id, radicand: Id) -> Option<(Id, Vec<usize>, f64, bool)> {
        let Op::Affine { terms, constant } = self.op(radicand) else {
            return None;
        };
        let (epsilon, [(variance, 1.0)]) = (*constant, terms.as_slice()) else {
            return None;
        };
        let (squares, axes) = self.match_mean(*variance)?;
        match self.op(squares) {
            Op::Einsum { a, b, .. } if *a == num && *b == num => {}
            _ => return None,
        }
        if !(epsilon > 0.0 && epsilon.is_finite() && self.shape(squares) == self.shape(num)) {
            return None;
        }
        match self.match_centred(num, &axes) {
            Some(x) => Some((x, axes, epsilon, true)),
            None => Some((num, axes, epsilon, false)),
        }
    }

    /// The operand of `x - mean(x)` over the axes.
    fn match_centred(&self, num: Id, axes: &[usize]) -> Option<Id> {
        let Op::Affine { terms, constant } = self.op(num) else {
            return None;
        };
        let ([(x, 1.0), (mean, -1.0)], 0.0) = (terms.as_slice(), *constant) else {
            return None;
        };
        let (of, mean_axes) = self.match_mean(self.unbroadcast(*mean))?;
        (of == *x && mean_axes == axes && self.shape(num) == self.shape(*x)).then_some(*x)
    }

    /// The operand and axes of a mean, whether its axes are kept or not.
    fn match_mean(&self, id: Id) -> Option<(Id, Vec<usize>)> {
        let Op::Affine { terms, constant } = self.op(self.unbroadcast(id)) else {
            return None;
        };
        let ([(sum, scale)], 0.0) = (terms.as_slice(), *constant) else {
            return None;
        };
        let Op::Sum { input, axes } = self.op(*sum) else {
            return None;
        };
        let shape = self.shape(*input);
        let n: usize = axes.iter().map(|&a| shape[a]).product();
        (*scale == 1.0 / n as f64).then(|| (*input, axes.clone()))
    }

    /// Looks through broadcasting among arrays of the same rank. What is skipped only
    /// repeats along axes of size 1, so the operand is the same row by row.
    fn unbroadcast(&self, mut id: Id) -> Id {
        while let Op::Expand { input, .. } = self.op(id) {
            id = *input;
        }
        id
    }
}
