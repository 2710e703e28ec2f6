//! A slice in the form that JSTprove takes: few operators, every attribute explicit,
//! biases always there, BatchNormalization as one multiplication and one addition.
//!
//! The quantisation is fixed: an activation is an integer at scale 2^18, weights are
//! truncated at 2^18, biases (added before the rescaling) at 2^36, and each Conv, Gemm,
//! Mul and BatchNormalization ends with a floor division by 2^18.

use dsperse_plugin_api::{Error, Result};
use serde_json::{Map, Value, json};

/// Bits after the binary point of every activation and weight.
pub const SCALE_BITS: u32 = 18;

/// Activations stay below 2^13 = 8192 in absolute value, which is 2^31 as an integer.
pub const LIMIT: i64 = 1 << 31;

/// One operator.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// 2-D convolution: input, weight `[out, in, kh, kw]`, bias `[out]`.
    Conv(Window),
    /// `a · b + bias`, bias already of the result's shape.
    Gemm {
        /// The first operand is read transposed.
        trans_a: bool,
        /// The second operand is read transposed.
        trans_b: bool,
    },
    /// Greatest of a 2-D window.
    MaxPool(Window),
    /// `max(x, 0)`.
    Relu,
    /// Sum with broadcasting.
    Add,
    /// Difference with broadcasting; the first operand is an activation.
    Sub,
    /// Product with broadcasting, then the floor division.
    Mul,
    /// Greater one, with broadcasting.
    Max,
    /// Lesser one, with broadcasting.
    Min,
    /// Between two constants.
    Clip,
    /// `x · a + b` for each channel, then the floor division.
    BatchNormalization,
    /// The same elements in another shape; the name that JSTprove knows it by.
    Reshape(Reshape),
}

/// The ONNX operators that only change the shape.
#[derive(Debug, Clone, PartialEq)]
pub enum Reshape {
    /// `Reshape`, whose target is its second input.
    Reshape,
    /// `Flatten` at an axis.
    Flatten(i64),
    /// `Squeeze` of axes.
    Squeeze(Vec<i64>),
    /// `Unsqueeze` at axes.
    Unsqueeze(Vec<i64>),
}

/// A 2-D window over height and width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Steps.
    pub strides: [usize; 2],
    /// Distances between the elements of the window.
    pub dilations: [usize; 2],
    /// Top, left, bottom, right.
    pub pads: [usize; 4],
}

impl Window {
    /// Output height and width, or `None` when the window does not fit.
    pub fn output(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        let side = |i: usize| {
            let size = input
                .get(i)?
                .checked_add(*self.pads.get(i)?)?
                .checked_add(*self.pads.get(i + 2)?)?;
            let reach = (self.kernel[i].checked_sub(1)?)
                .checked_mul(self.dilations[i])?
                .checked_add(1)?;
            size.checked_sub(reach)?
                .checked_div(self.strides[i])?
                .checked_add(1)
        };
        Some([side(0)?, side(1)?])
    }

    fn params(&self) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("dilations".into(), json!(self.dilations));
        map.insert("kernel_shape".into(), json!(self.kernel));
        map.insert("pads".into(), json!(self.pads));
        map.insert("strides".into(), json!(self.strides));
        map
    }
}

impl Op {
    /// The operator's name in JSTprove's documents.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Conv(_) => "Conv",
            Self::Gemm { .. } => "Gemm",
            Self::MaxPool(_) => "MaxPool",
            Self::Relu => "Relu",
            Self::Add => "Add",
            Self::Sub => "Sub",
            Self::Mul => "Mul",
            Self::Max => "Max",
            Self::Min => "Min",
            Self::Clip => "Clip",
            Self::BatchNormalization => "BatchNormalization",
            Self::Reshape(r) => match r {
                Reshape::Reshape => "Reshape",
                Reshape::Flatten(_) => "Flatten",
                Reshape::Squeeze(_) => "Squeeze",
                Reshape::Unsqueeze(_) => "Unsqueeze",
            },
        }
    }

    /// All attributes, explicit.
    pub fn params(&self) -> Map<String, Value> {
        let one = |key: &str, value: Value| Map::from_iter([(key.to_owned(), value)]);
        match self {
            Self::Conv(w) => {
                let mut map = w.params();
                map.insert("group".into(), json!(1));
                map
            }
            Self::MaxPool(w) => {
                let mut map = w.params();
                map.insert("ceil_mode".into(), json!(0));
                map.insert("storage_order".into(), json!(0));
                map
            }
            Self::Gemm { trans_a, trans_b } => Map::from_iter([
                ("alpha".to_owned(), json!(1.0)),
                ("beta".to_owned(), json!(1.0)),
                ("transA".to_owned(), json!(i32::from(*trans_a))),
                ("transB".to_owned(), json!(i32::from(*trans_b))),
            ]),
            Self::Reshape(Reshape::Flatten(axis)) => one("axis", json!(axis)),
            Self::Reshape(Reshape::Squeeze(axes) | Reshape::Unsqueeze(axes)) => {
                one("axes", json!(axes))
            }
            _ => Map::new(),
        }
    }
}

/// One operator with the names that it reads and the name that it defines.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Unique name.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// Names of activations and constants.
    pub inputs: Vec<String>,
    /// Name of the result.
    pub output: String,
    /// Shape of the result.
    pub shape: Vec<usize>,
}

/// A quantised constant.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    /// Name.
    pub name: String,
    /// Shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Elements, row-major, at the scale that its reader wants.
    pub data: Vec<i64>,
    /// That scale: bits after the binary point. 0 for plain integers, such as shapes.
    pub bits: u32,
}

/// A tensor that enters or leaves the slice.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// Name.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
}

/// A whole slice.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Network {
    /// Inputs, in order.
    pub inputs: Vec<Port>,
    /// Outputs, in order.
    pub outputs: Vec<Port>,
    /// Operators in topological order.
    pub layers: Vec<Layer>,
    /// Constants.
    pub constants: Vec<Constant>,
    /// The standard operator set's version, as in the model.
    pub opset: i64,
}

impl Network {
    /// The document `meta.json` of JSTprove 2.1.
    pub fn meta(&self) -> Value {
        let ports = |ports: &[Port]| -> Vec<Value> {
            ports
                .iter()
                .map(|p| json!({"name": p.name, "elem_type": -1, "shape": p.shape}))
                .collect()
        };
        json!({
            "scale_base": 2,
            "scale_exponent": SCALE_BITS,
            "rescale_config": {},
            "inputs": ports(&self.inputs),
            "outputs": ports(&self.outputs),
            "version": crate::programs::VERSION,
        })
    }

    /// The document `arch.json`.
    pub fn architecture(&self) -> Value {
        let layers: Vec<Value> = self
            .layers
            .iter()
            .enumerate()
            .map(|(id, l)| {
                json!({
                    "id": id,
                    "name": l.name,
                    "op_type": l.op.name(),
                    "inputs": l.inputs,
                    "outputs": [l.output],
                    "shape": {l.output.clone(): l.shape},
                    "tensor": null,
                    "params": l.op.params(),
                    "opset_version_number": self.opset,
                })
            })
            .collect();
        json!({"architecture": layers})
    }

    /// The document `wandb.json`: weights and biases.
    ///
    /// # Errors
    /// `internal` when a constant's size and shape disagree.
    pub fn weights(&self) -> Result<Value> {
        let constants = self
            .constants
            .iter()
            .enumerate()
            .map(|(id, c)| {
                Ok(json!({
                    "id": id,
                    "name": c.name,
                    "op_type": "Const",
                    "inputs": [],
                    "outputs": [],
                    "shape": {c.name.clone(): c.shape},
                    "tensor": nested(&c.data, &c.shape)?,
                    "params": {},
                    "opset_version_number": -1,
                }))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(json!({"w_and_b": constants}))
    }
}

/// Row-major elements as nested arrays.
fn nested(data: &[i64], shape: &[usize]) -> Result<Value> {
    let Some((first, rest)) = shape.split_first() else {
        return match data {
            [one] => Ok(json!(one)),
            _ => Err(Error::internal("a scalar constant has several elements")),
        };
    };
    let step: usize = rest.iter().product();
    if data.len() != first * step {
        return Err(Error::internal(format!(
            "a constant of shape {shape:?} has {} elements",
            data.len()
        )));
    }
    if rest.is_empty() {
        return Ok(json!(data));
    }
    (0..*first)
        .map(|i| nested(data.get(i * step..(i + 1) * step).unwrap_or_default(), rest))
        .collect::<Result<Vec<_>>>()
        .map(Value::Array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_nest_by_shape() {
        assert_eq!(nested(&[7], &[]).unwrap(), json!(7));
        assert_eq!(
            nested(&[1, 2, 3, 4, 5, 6], &[1, 3, 2]).unwrap(),
            json!([[[1, 2], [3, 4], [5, 6]]])
        );
        assert!(nested(&[1, 2, 3], &[2, 2]).is_err());
    }

    #[test]
    fn a_window_that_does_not_fit_has_no_output() {
        let w = Window {
            kernel: [5, 5],
            strides: [1, 2],
            dilations: [1, 1],
            pads: [0, 1, 0, 1],
        };
        assert_eq!(w.output([28, 28]), Some([24, 13]));
        assert_eq!(w.output([4, 28]), None);
    }
}
