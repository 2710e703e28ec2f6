//! The integer computation that a JSTprove circuit checks, in Rust. The programs want the
//! expected outputs together with the inputs, so the plugin computes them; and the
//! activations' range, which the circuit's range checks assume, is checked here.

use crate::network::{Constant, LIMIT, Layer, Network, Op, SCALE_BITS, Window};
use dsperse_plugin_api::{Error, Result};
use std::borrow::Cow;
use std::collections::HashMap;

/// A row-major integer tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Ints {
    /// Shape.
    pub shape: Vec<usize>,
    /// Elements.
    pub data: Vec<i64>,
}

/// Computes the outputs of a slice from its inputs, both at scale 2^18 and in order.
///
/// # Errors
/// `unsupported`, naming the node, when an activation leaves the range of the circuit;
/// `internal` for a network whose shapes disagree.
pub fn evaluate(network: &Network, inputs: Vec<Vec<i64>>) -> Result<Vec<Ints>> {
    let mut known: HashMap<&str, Cow<Ints>> = network
        .constants
        .iter()
        .map(|c| (c.name.as_str(), Cow::Owned(Ints::from(c))))
        .collect();
    for (port, data) in network.inputs.iter().zip(inputs) {
        in_range(&data, &port.name, "input")?;
        let shape = port.shape.clone();
        known.insert(&port.name, Cow::Owned(Ints { shape, data }));
    }
    for layer in &network.layers {
        let operands = layer
            .inputs
            .iter()
            .map(|name| {
                known.get(name.as_str()).map(AsRef::as_ref).ok_or_else(|| {
                    Error::internal(format!(
                        "tensor \"{name}\" is read by \"{}\" before it is computed",
                        layer.name
                    ))
                })
            })
            .collect::<Result<Vec<&Ints>>>()?;
        let data = apply(layer, &operands).ok_or_else(|| {
            Error::internal(format!(
                "the shapes around node \"{}\" ({}) disagree",
                layer.name,
                layer.op.name()
            ))
        })?;
        in_range(&data, &layer.name, layer.op.name())?;
        let shape = layer.shape.clone();
        known.insert(&layer.output, Cow::Owned(Ints { shape, data }));
    }
    network
        .outputs
        .iter()
        .map(|p| {
            known
                .get(p.name.as_str())
                .map(|t| t.as_ref().clone())
                .ok_or_else(|| Error::internal(format!("output \"{}\" is not computed", p.name)))
        })
        .collect()
}

impl From<&Constant> for Ints {
    fn from(c: &Constant) -> Self {
        Self {
            shape: c.shape.clone(),
            data: c.data.clone(),
        }
    }
}

fn in_range(data: &[i64], node: &str, op: &str) -> Result<()> {
    match data.iter().find(|v| v.unsigned_abs() >= LIMIT as u64) {
        None => Ok(()),
        Some(v) => Err(Error::unsupported(format!(
            "the value {} at \"{node}\" is outside the range of a JSTprove circuit, \
             expected less than {} in absolute value",
            *v as f64 / f64::from(1 << SCALE_BITS),
            LIMIT >> SCALE_BITS,
        ))
        .at_node(node, op)),
    }
}

/// Floor division by 2^18, saturated to `i64` (which [`in_range`] then refuses).
fn rescale(acc: i128) -> i64 {
    let v = acc >> SCALE_BITS;
    i64::try_from(v).unwrap_or(if v < 0 { -i64::MAX } else { i64::MAX })
}

/// The layer's elements, or `None` when shapes disagree.
fn apply(layer: &Layer, operands: &[&Ints]) -> Option<Vec<i64>> {
    let size: usize = layer.shape.iter().product();
    let x = *operands.first()?;
    let data = match &layer.op {
        Op::Relu => x.data.iter().map(|v| *v.max(&0)).collect(),
        Op::Reshape(_) => x.data.clone(),
        Op::Clip => {
            let lo = *operands.get(1)?.data.first()?;
            let hi = operands.get(2).and_then(|t| t.data.first().copied());
            x.data
                .iter()
                .map(|v| hi.map_or(*v, |hi| (*v).min(hi)).max(lo))
                .collect()
        }
        Op::Add => zip(layer, operands, |a, b| a.saturating_add(b))?,
        Op::Sub => zip(layer, operands, |a, b| a.saturating_sub(b))?,
        Op::Mul => zip(layer, operands, |a, b| {
            rescale(i128::from(a) * i128::from(b))
        })?,
        Op::Max => zip(layer, operands, std::cmp::Ord::max)?,
        Op::Min => zip(layer, operands, std::cmp::Ord::min)?,
        Op::BatchNormalization => {
            let (a, b) = (operands.get(1)?, operands.get(2)?);
            let channels = *x.shape.get(1)?;
            let inner: usize = x.shape.get(2..)?.iter().product();
            x.data
                .iter()
                .enumerate()
                .map(|(i, v)| {
                    let c = (i / inner) % channels;
                    Some(rescale(
                        i128::from(*v) * i128::from(*a.data.get(c)?) + i128::from(*b.data.get(c)?),
                    ))
                })
                .collect::<Option<_>>()?
        }
        Op::Gemm { trans_a, trans_b } => gemm(layer, operands, *trans_a, *trans_b)?,
        Op::Conv(w) => conv(layer, operands, w)?,
        Op::MaxPool(w) => max_pool(layer, x, w)?,
    };
    (data.len() == size).then_some(data)
}

/// Element by element with ONNX broadcasting; further operands are folded in.
fn zip(layer: &Layer, operands: &[&Ints], f: impl Fn(i64, i64) -> i64) -> Option<Vec<i64>> {
    let (first, rest) = operands.split_first()?;
    let mut acc = broadcast(first, &layer.shape)?;
    for operand in rest {
        for (a, b) in acc.iter_mut().zip(broadcast(operand, &layer.shape)?) {
            *a = f(*a, b);
        }
    }
    Some(acc)
}

/// A tensor's elements as if it had another shape, by ONNX's rule.
pub fn broadcast(tensor: &Ints, shape: &[usize]) -> Option<Vec<i64>> {
    if tensor.shape == shape {
        return Some(tensor.data.clone());
    }
    let missing = shape.len().checked_sub(tensor.shape.len())?;
    let mut strides = vec![0usize; shape.len()];
    let mut step = 1;
    for (i, &dim) in tensor.shape.iter().enumerate().rev() {
        let out = *shape.get(i + missing)?;
        if dim != 1 {
            if dim != out {
                return None;
            }
            *strides.get_mut(i + missing)? = step;
        }
        step *= dim;
    }
    let size: usize = shape.iter().product();
    (0..size)
        .map(|mut flat| {
            let mut at = 0;
            for (dim, stride) in shape.iter().zip(&strides).rev() {
                at += (flat % dim) * stride;
                flat /= dim;
            }
            tensor.data.get(at).copied()
        })
        .collect()
}

fn gemm(layer: &Layer, operands: &[&Ints], trans_a: bool, trans_b: bool) -> Option<Vec<i64>> {
    let [a, b, bias] = operands else { return None };
    let [rows, cols] = *layer.shape.as_slice() else {
        return None;
    };
    let inner = *a.shape.get(usize::from(!trans_a))?;
    let bias = broadcast(bias, &layer.shape)?;
    let mut out = Vec::with_capacity(rows * cols);
    for r in 0..rows {
        for c in 0..cols {
            let mut acc = i128::from(*bias.get(r * cols + c)?);
            for k in 0..inner {
                let at = if trans_a { k * rows + r } else { r * inner + k };
                let bt = if trans_b { c * inner + k } else { k * cols + c };
                acc += i128::from(*a.data.get(at)?) * i128::from(*b.data.get(bt)?);
            }
            out.push(rescale(acc));
        }
    }
    Some(out)
}

/// Calls `visit` with the flat input position of each element of a window that lies on
/// the input, and its flat position in the window.
fn window(
    w: &Window,
    [height, width]: [usize; 2],
    [oy, ox]: [usize; 2],
    mut visit: impl FnMut(usize, usize) -> Option<()>,
) -> Option<()> {
    for ky in 0..w.kernel[0] {
        let Some(y) = (oy * w.strides[0] + ky * w.dilations[0]).checked_sub(w.pads[0]) else {
            continue;
        };
        for kx in 0..w.kernel[1] {
            let Some(x) = (ox * w.strides[1] + kx * w.dilations[1]).checked_sub(w.pads[1]) else {
                continue;
            };
            if y < height && x < width {
                visit(y * width + x, ky * w.kernel[1] + kx)?;
            }
        }
    }
    Some(())
}

fn conv(layer: &Layer, operands: &[&Ints], w: &Window) -> Option<Vec<i64>> {
    let [x, weight, bias] = operands else {
        return None;
    };
    let [_, channels, height, width] = *x.shape.as_slice() else {
        return None;
    };
    let [batch, out_channels, oh, ow] = *layer.shape.as_slice() else {
        return None;
    };
    let (plane, taps) = (height * width, w.kernel[0] * w.kernel[1]);
    let mut out = Vec::with_capacity(batch * out_channels * oh * ow);
    for n in 0..batch {
        for o in 0..out_channels {
            for oy in 0..oh {
                for ox in 0..ow {
                    let mut acc = i128::from(*bias.data.get(o)?);
                    window(w, [height, width], [oy, ox], |at, tap| {
                        for c in 0..channels {
                            let v = *x.data.get((n * channels + c) * plane + at)?;
                            let k = *weight.data.get((o * channels + c) * taps + tap)?;
                            acc += i128::from(v) * i128::from(k);
                        }
                        Some(())
                    })?;
                    out.push(rescale(acc));
                }
            }
        }
    }
    Some(out)
}

fn max_pool(layer: &Layer, x: &Ints, w: &Window) -> Option<Vec<i64>> {
    let [_, _, height, width] = *x.shape.as_slice() else {
        return None;
    };
    let [batch, channels, oh, ow] = *layer.shape.as_slice() else {
        return None;
    };
    let mut out = Vec::with_capacity(batch * channels * oh * ow);
    for plane in 0..batch * channels {
        for oy in 0..oh {
            for ox in 0..ow {
                let mut best = None;
                window(w, [height, width], [oy, ox], |at, _| {
                    best = best.max(Some(*x.data.get(plane * height * width + at)?));
                    Some(())
                })?;
                out.push(best?);
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Port;

    const ONE: i64 = 1 << SCALE_BITS;

    fn single(op: Op, shapes: &[&[usize]], out: &[usize], constants: Vec<Constant>) -> Network {
        let ports: Vec<Port> = shapes
            .iter()
            .enumerate()
            .map(|(i, s)| Port {
                name: format!("x{i}"),
                shape: s.to_vec(),
            })
            .collect();
        let inputs = ports
            .iter()
            .map(|p| p.name.clone())
            .chain(constants.iter().map(|c| c.name.clone()))
            .collect();
        Network {
            inputs: ports,
            outputs: vec![Port {
                name: "y".into(),
                shape: out.to_vec(),
            }],
            layers: vec![Layer {
                name: "n".into(),
                op,
                inputs,
                output: "y".into(),
                shape: out.to_vec(),
            }],
            constants,
            opset: 17,
        }
    }

    #[test]
    fn products_are_floored() {
        let net = single(Op::Mul, &[&[2], &[2]], &[2], vec![]);
        let out = evaluate(&net, vec![vec![1, -1], vec![ONE / 2, ONE / 2]]).unwrap();
        assert_eq!(out[0].data, [0, -1]);
    }

    #[test]
    fn gemm_adds_the_bias_before_the_division() {
        let w = Constant {
            name: "w".into(),
            shape: vec![2, 1],
            data: vec![ONE, 2 * ONE],
            bits: SCALE_BITS,
        };
        let b = Constant {
            name: "b".into(),
            shape: vec![1, 1],
            data: vec![ONE * ONE / 2],
            bits: 2 * SCALE_BITS,
        };
        let op = Op::Gemm {
            trans_a: false,
            trans_b: false,
        };
        let net = single(op, &[&[1, 2]], &[1, 1], vec![w, b]);
        let out = evaluate(&net, vec![vec![3 * ONE, ONE]]).unwrap();
        assert_eq!(out[0].data, [5 * ONE + ONE / 2]);
    }

    #[test]
    fn padded_pooling_never_sees_the_padding() {
        let w = Window {
            kernel: [2, 2],
            strides: [1, 1],
            dilations: [1, 1],
            pads: [1, 1, 1, 1],
        };
        let net = single(Op::MaxPool(w), &[&[1, 1, 1, 2]], &[1, 1, 2, 3], vec![]);
        let out = evaluate(&net, vec![vec![-5, -3]]).unwrap();
        assert_eq!(out[0].data, [-5, -3, -3, -5, -3, -3]);
    }

    #[test]
    fn a_value_out_of_range_names_the_node() {
        let net = single(Op::Add, &[&[1], &[1]], &[1], vec![]);
        let e = evaluate(&net, vec![vec![LIMIT - 1], vec![1]]).unwrap_err();
        assert_eq!(e.kind, dsperse_plugin_api::ErrorKind::Unsupported);
        assert_eq!(e.node.as_deref(), Some("n"));
    }

    #[test]
    fn broadcasting_follows_onnx() {
        let t = Ints {
            shape: vec![2, 1],
            data: vec![1, 2],
        };
        assert_eq!(broadcast(&t, &[2, 2, 2]).unwrap(), [1, 1, 2, 2, 1, 1, 2, 2]);
        assert_eq!(broadcast(&t, &[3, 2]), None);
    }
}
