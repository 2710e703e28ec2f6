//! Element-wise operators.

use super::{Importer, Kind, Step};
use crate::array::Array;
use crate::graph::{Function, Id, Op};
use dsperse_onnx::NodeProto;

/// Numbers beyond this stand for infinity.
const WILD: f64 = 1e30;
/// What stands in for infinity: a power of two, so that it is exact at every scale.
pub(super) const FAR: f64 = 1_073_741_824.0;

/// Labels for up to 26 dimensions.
pub(super) fn label(i: usize) -> u8 {
    b'a' + i as u8
}

impl Importer<'_> {
    pub(super) fn add_sub(&mut self, node: &NodeProto) -> Step<Id> {
        let (a, b) = (self.input(node, 0)?, self.input(node, 1)?);
        let sign = if node.op_type() == "Sub" { -1.0 } else { 1.0 };
        self.sum_of(a, 1.0, b, sign)
    }

    /// Sum of any number of tensors, with broadcasting.
    pub(super) fn sum_of_all(&mut self, node: &NodeProto) -> Step<Id> {
        let mut sum = self.input(node, 0)?;
        for i in 1..node.input.len() {
            let next = self.input(node, i)?;
            sum = self.sum_of(sum, 1.0, next, 1.0)?;
        }
        Ok(sum)
    }

    /// `ca·a + cb·b` with broadcasting; a constant that is the same everywhere becomes
    /// the constant of the sum.
    pub(super) fn sum_of(&mut self, a: Id, ca: f64, b: Id, cb: f64) -> Step<Id> {
        let shape = self.broadcast_shape(a, b)?;
        let (a, b) = (self.tamed(a), self.tamed(b));
        for (x, cx, y, cy) in [(a, ca, b, cb), (b, cb, a, ca)] {
            if let Some(value) = self.graph.constant(y).and_then(|c| c.uniform()) {
                let x = self.broadcast_to(x, &shape)?;
                return self.affine(&[(x, cx)], cy * value);
            }
        }
        let (a, b) = (self.broadcast_to(a, &shape)?, self.broadcast_to(b, &shape)?);
        self.affine(&[(a, ca), (b, cb)], 0.0)
    }

    pub(super) fn mul(&mut self, node: &NodeProto) -> Step<Id> {
        let (a, b) = (self.input(node, 0)?, self.input(node, 1)?);
        self.product(a, b)
    }

    /// Product, element by element, with broadcasting.
    pub(super) fn product(&mut self, a: Id, b: Id) -> Step<Id> {
        let shape = self.broadcast_shape(a, b)?;
        for (x, y) in [(a, b), (b, a)] {
            let broadcast = self.shape(x) == shape;
            if let Some(id) = broadcast
                .then(|| self.multiplied_normalisation(x, y))
                .transpose()?
                .flatten()
            {
                return Ok(id);
            }
        }
        let (a, b) = (self.tamed(a), self.tamed(b));
        for (x, y) in [(a, b), (b, a)] {
            if let Some(value) = self.graph.constant(y).and_then(|c| c.uniform()) {
                let x = self.broadcast_to(x, &shape)?;
                return self.affine(&[(x, value)], 0.0);
            }
        }
        let (a, a_labels) = self.without_broadcast_dims(a, &shape)?;
        let (b, b_labels) = self.without_broadcast_dims(b, &shape)?;
        let out_labels = (0..shape.len()).map(label).collect();
        self.graph.add(Op::Einsum {
            a,
            b,
            a_labels,
            b_labels,
            out_labels,
        })
    }

    /// Drops the dimensions of size 1 that broadcast to more, and labels the others by
    /// their place in `shape`.
    fn without_broadcast_dims(&mut self, id: Id, shape: &[usize]) -> Step<(Id, Vec<u8>)> {
        let own = self.shape(id);
        let lead = shape.len() - own.len();
        let kept: Vec<usize> = (0..own.len())
            .filter(|&i| own[i] == shape[lead + i])
            .collect();
        let sizes: Vec<usize> = kept.iter().map(|&i| own[i]).collect();
        let labels = kept.iter().map(|&i| label(lead + i)).collect();
        Ok((self.reshape(id, &sizes)?, labels))
    }

    pub(super) fn div(&mut self, node: &NodeProto) -> Step<Id> {
        let (a, b) = (self.input(node, 0)?, self.input(node, 1)?);
        let divisor = self.graph.constant(b);
        if divisor.is_some_and(|d| d.data.contains(&0.0)) {
            return Err("it divides by zero".into());
        }
        if self.value(node, 0)?.kind != Kind::Float {
            let shape = self.broadcast_shape(a, b)?;
            let (num, den) = (self.broadcast_to(a, &shape)?, self.broadcast_to(b, &shape)?);
            return self.graph.add(Op::Quotient { num, den });
        }
        if let Some(divisor) = divisor {
            let mut inverse = divisor.clone();
            inverse.data.iter_mut().for_each(|v| *v = 1.0 / *v);
            let inverse = self.graph.constant_node(inverse);
            return self.product(a, inverse);
        }
        if let Some(id) = self.decomposed_normalisation(a, b)? {
            return Ok(id);
        }
        let shape = self.broadcast_shape(a, b)?;
        if let Some(c) = self.graph.constant(a).and_then(Array::uniform) {
            let inverse = self.graph.add(Op::Reciprocal { input: b })?;
            let inverse = self.broadcast_to(inverse, &shape)?;
            return self.affine(&[(inverse, c)], 0.0);
        }
        let (num, den) = (self.broadcast_to(a, &shape)?, self.broadcast_to(b, &shape)?);
        self.graph.add(Op::Div { num, den })
    }

    /// A constant without numbers that stand for infinity: those of a mask, which only have
    /// to be far below everything else.
    pub(super) fn tamed(&mut self, id: Id) -> Id {
        let wild = |x: f64| x.abs() > WILD;
        match self.graph.constant(id) {
            Some(array) if array.data.iter().any(|&x| wild(x)) => {
                let mut array = array.clone();
                let far = array.data.iter_mut().filter(|x| wild(**x));
                far.for_each(|x| *x = FAR.copysign(*x));
                self.graph.constant_node(array)
            }
            _ => id,
        }
    }

    pub(super) fn pow(&mut self, node: &NodeProto) -> Step<Id> {
        let x = self.input(node, 0)?;
        let exponent = self
            .scalar_input(node, 1)?
            .ok_or("its exponent is missing")?;
        if exponent == 1.0 {
            Ok(x)
        } else if exponent == 2.0 {
            self.product(x, x)
        } else {
            let function = if exponent == 0.5 {
                Function::Sqrt
            } else {
                Function::Power(exponent)
            };
            self.graph.add(Op::Map { input: x, function })
        }
    }

    pub(super) fn clamp(&mut self, node: &NodeProto) -> Step<Id> {
        let input = self.input(node, 0)?;
        let (lo, hi) = if node.op_type() == "Relu" {
            (Some(0.0), None)
        } else if self.opset < 11 {
            let get = |name| node.float(name).map_err(|e| e.to_string());
            (get("min")?.map(f64::from), get("max")?.map(f64::from))
        } else {
            (self.scalar_input(node, 1)?, self.scalar_input(node, 2)?)
        };
        // Exporters write "no limit" as the greatest float.
        let open = |v: f64| v.abs() >= f64::from(f32::MAX);
        let lo = lo.filter(|&v| !open(v)).unwrap_or(f64::NEG_INFINITY);
        let hi = hi.filter(|&v| !open(v)).unwrap_or(f64::INFINITY);
        if lo > hi || lo.is_nan() || hi.is_nan() {
            return Err(format!("its limits {lo} and {hi} are not in order"));
        }
        if lo == f64::NEG_INFINITY && hi == f64::INFINITY {
            return Ok(input);
        }
        self.graph.add(Op::Clamp { input, lo, hi })
    }

    /// `a·x + (1 - a)·relu(x)`.
    pub(super) fn leaky_relu(&mut self, node: &NodeProto) -> Step<Id> {
        let x = self.input(node, 0)?;
        let alpha = node.float_or("alpha", 0.01).map_err(|e| e.to_string())?;
        let alpha = f64::from(alpha);
        let relu = self.graph.add(Op::Clamp {
            input: x,
            lo: 0.0,
            hi: f64::INFINITY,
        })?;
        self.affine(&[(x, alpha), (relu, 1.0 - alpha)], 0.0)
    }

    pub(super) fn map(&mut self, node: &NodeProto) -> Step<Id> {
        let input = self.input(node, 0)?;
        let function = match node.op_type() {
            "Sigmoid" => Function::Sigmoid,
            "Tanh" => Function::Tanh,
            "Erf" => Function::Erf,
            "Exp" => Function::Exp,
            "Log" => Function::Log,
            "Sin" => Function::Sin,
            "Cos" => Function::Cos,
            "Atan" => Function::Atan,
            "Sqrt" => Function::Sqrt,
            _ => match node
                .string_or("approximate", "none")
                .map_err(|e| e.to_string())?
            {
                "none" => Function::Gelu,
                "tanh" => Function::GeluTanh,
                other => return Err(format!("the approximation \"{other}\" is unknown")),
            },
        };
        self.graph.add(Op::Map { input, function })
    }
}
