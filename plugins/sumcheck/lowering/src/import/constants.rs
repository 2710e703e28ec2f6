//! Sub-graphs that depend on constants and shapes only: computed at import.
//!
//! Float operators on constants are folded by [`crate::graph::Graph::add`]; here are the
//! integer ones, which exporters use to compute shapes, axes and indices.

use super::{Importer, Kind, Step, Value, constant_size};
use crate::array::{Array, broadcast};
use crate::graph::check_shape;
use dsperse_onnx::{DataType, NodeProto, Tensor};
use std::rc::Rc;

/// What this module looks at; weights of other operators are not copied for nothing.
const OPERATORS: [&str; 16] = [
    "Shape",
    "ConstantOfShape",
    "Cast",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Concat",
    "Gather",
    "Slice",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Identity",
];

impl Importer<'_> {
    /// The node's value when it is one that this module computes.
    pub(super) fn constant_only(&mut self, node: &NodeProto) -> Step<Option<Value>> {
        let text = |e: dsperse_onnx::OnnxError| e.to_string();
        if !OPERATORS.contains(&node.op_type()) {
            return Ok(None);
        }
        let constants: Option<Vec<(Rc<Array>, Kind)>> = node
            .input
            .iter()
            .filter(|n| !n.is_empty())
            .map(|n| {
                let value = self.values.get(n.as_str())?;
                Some((self.graph.shared(value.id)?, value.kind))
            })
            .collect();
        let (array, kind) = match (node.op_type(), constants.as_deref()) {
            ("Shape", _) => {
                let value = self.value(node, 0)?;
                let shape = self.shape(value.id);
                let rank = shape.len() as i64;
                let at = |v: i64| (if v < 0 { v + rank } else { v }).clamp(0, rank) as usize;
                let start = at(node.int_or("start", 0).map_err(text)?);
                let end = at(node.int_or("end", rank).map_err(text)?).max(start);
                let dims: Vec<f64> = shape[start..end].iter().map(|&d| d as f64).collect();
                (Array::new(vec![dims.len()], dims), Kind::Integer)
            }
            ("ConstantOfShape", Some([(shape, Kind::Integer)])) => {
                let shape = dims_of(shape)?;
                check_shape(&shape)?;
                constant_size(shape.iter().product()).map_err(|e| format!("its result {e}"))?;
                let (value, kind) = match node.tensor("value").map_err(text)? {
                    None => (0.0, Kind::Float),
                    Some(t) => {
                        let t = Tensor::read(t).map_err(text)?;
                        let kind = Kind::of(t.values.dtype());
                        let first = t.values.to_f64().and_then(|v| v.first().copied());
                        (first.ok_or("its value has no number")?, kind)
                    }
                };
                (Some(Array::filled(shape, value)), kind)
            }
            ("Cast", Some([(x, kind)])) => {
                let to = node.int_or("to", 1).map_err(text)?;
                let to = DataType::from_number(i32::try_from(to).ok());
                let to_kind = Kind::of(to);
                let mut x = x.as_ref().clone();
                match (kind, to_kind) {
                    (Kind::Float, Kind::Integer) => {
                        x.data.iter_mut().for_each(|v| *v = v.trunc());
                    }
                    (_, Kind::Bool) => {
                        x.data
                            .iter_mut()
                            .for_each(|v| *v = f64::from(u8::from(*v != 0.0)));
                    }
                    _ => {}
                }
                (Some(x), to_kind)
            }
            ("Add" | "Sub" | "Mul" | "Div", Some([(a, ka), (b, kb)])) => {
                let integer = *ka != Kind::Float && *kb != Kind::Float;
                let op = node.op_type();
                if op == "Div" && b.data.contains(&0.0) {
                    return Err("it divides by zero".into());
                }
                let shape = broadcast(&a.shape, &b.shape).ok_or("its operands do not broadcast")?;
                check_shape(&shape)?;
                let out = a.zip(b, |x, y| match op {
                    "Add" => x + y,
                    "Sub" => x - y,
                    "Mul" => x * y,
                    _ if integer => (x / y).trunc(),
                    _ => x / y,
                });
                let out = out.ok_or("its operands do not broadcast")?;
                (Some(out), if integer { Kind::Integer } else { Kind::Float })
            }
            ("Concat", Some(parts)) if parts.iter().all(|(_, k)| *k != Kind::Float) => {
                let flat = parts.iter().all(|(a, _)| a.shape.len() == 1);
                if !flat {
                    return Ok(None);
                }
                let data: Vec<f64> = parts.iter().flat_map(|(a, _)| a.data.clone()).collect();
                (Array::new(vec![data.len()], data), Kind::Integer)
            }
            // Movement of integers: the same code as for floats, which folds constants.
            (
                "Gather" | "Slice" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose"
                | "Identity",
                Some([(_, kind @ (Kind::Integer | Kind::Bool)), ..]),
            ) => {
                let kind = *kind;
                let id = self.integers_moved(node)?;
                return Ok(Some(Value { id, kind }));
            }
            _ => return Ok(None),
        };
        let array = array.ok_or("its value has a wrong size")?;
        let id = self.graph.constant_node(array);
        Ok(Some(Value { id, kind }))
    }

    fn integers_moved(&mut self, node: &NodeProto) -> Step<usize> {
        match node.op_type() {
            "Gather" => self.gather(node),
            "Slice" => self.slice(node),
            "Transpose" => self.transpose(node),
            "Identity" => Ok(self.value(node, 0)?.id),
            _ => self.reshape_like(node),
        }
    }
}

/// Constant integers as dimensions.
pub(super) fn dims_of(array: &Array) -> Step<Vec<usize>> {
    array
        .data
        .iter()
        .map(|&d| {
            if d >= 0.0 && d <= f64::from(u32::MAX) {
                Ok(d as usize)
            } else {
                Err(format!("{d} is not a dimension"))
            }
        })
        .collect()
}
