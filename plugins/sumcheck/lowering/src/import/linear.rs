//! Layers with weights: Gemm, MatMul, Conv and BatchNormalization.

use super::arithmetic::label;
use super::{Importer, Step};
use crate::array::Array;
use crate::graph::{Id, Op};
use crate::import::pool::Windows;
use dsperse_onnx::NodeProto;
use dsperse_sumcheck_verifier::wire::Factor;
use std::rc::Rc;

/// Most entries of one window: the verifier goes through all of them.
const LONG_WINDOW: usize = 1 << 20;

/// A layer with constant weights, kept so that a BatchNormalization can be folded in.
#[derive(Clone, Debug)]
pub(super) struct Linear {
    input: Id,
    input_labels: Vec<u8>,
    /// Row-major; the leading dimensions are the output channels.
    weight: Rc<Array>,
    weight_labels: Vec<u8>,
    out_labels: Vec<u8>,
    /// One value for each output channel.
    bias: Option<Vec<f64>>,
    /// Number of output channels.
    channels: usize,
    /// The result's shape, and the dimension of its channels.
    out_shape: Vec<usize>,
    channel_dim: usize,
}

impl Importer<'_> {
    /// Appends the layer's nodes.
    fn emit(&mut self, linear: Linear) -> Step<Id> {
        let (input, input_labels, weight, weight_labels) = self.unflattened(&linear);
        let weight = self.graph.shared_constant(weight);
        let mut id = self.graph.add(Op::Einsum {
            a: input,
            b: weight,
            a_labels: input_labels,
            b_labels: weight_labels,
            out_labels: linear.out_labels.clone(),
        })?;
        id = self.reshape(id, &linear.out_shape)?;
        if let Some(bias) = &linear.bias {
            let mut shape = vec![1; linear.out_shape.len()];
            shape[linear.channel_dim] = linear.channels;
            let bias = Array::new(shape, bias.clone()).ok_or("its bias has a wrong size")?;
            let bias = self.graph.constant_node(bias);
            id = self.sum_of(id, 1.0, bias, 1.0)?;
        }
        self.linear.insert(id, linear);
        Ok(id)
    }

    /// Reads the input before a flattening, with the weight in the unflattened shape:
    /// the same sum, without a wiring that spans all elements.
    fn unflattened(&self, linear: &Linear) -> (Id, Vec<u8>, Rc<Array>, Vec<u8>) {
        let same = (
            linear.input,
            linear.input_labels.clone(),
            linear.weight.clone(),
            linear.weight_labels.clone(),
        );
        let Op::Wire { input, factors } = &self.graph.nodes[linear.input].op else {
            return same;
        };
        let source = self.graph.shape(*input);
        let (mut labels, mut replaced) = (Vec::new(), None);
        let mut out_dim = 0;
        for factor in factors {
            match factor {
                Factor::Keep { dim } if *dim == labels.len() => {
                    labels.push(linear.input_labels[out_dim]);
                    out_dim += 1;
                }
                Factor::Reshape { dims, sizes }
                    if sizes.len() == 1
                        && dims.first() == Some(&labels.len())
                        && replaced.is_none()
                        && !linear.out_labels.contains(&linear.input_labels[out_dim]) =>
                {
                    let fresh: Vec<u8> = (0..dims.len()).map(|i| b'A' + i as u8).collect();
                    let sizes: Vec<usize> = dims.iter().map(|&d| source[d]).collect();
                    replaced = Some((linear.input_labels[out_dim], fresh.clone(), sizes));
                    labels.extend(fresh);
                    out_dim += 1;
                }
                _ => return same,
            }
        }
        let Some((old, fresh, sizes)) = replaced else {
            return same;
        };
        let Some(at) = linear.weight_labels.iter().position(|&l| l == old) else {
            return same;
        };
        let mut shape = linear.weight.shape.clone();
        shape.splice(at..=at, sizes);
        let mut weight_labels = linear.weight_labels.clone();
        weight_labels.splice(at..=at, fresh);
        match linear.weight.as_ref().clone().reshaped(shape) {
            Some(weight) => (*input, labels, Rc::new(weight), weight_labels),
            None => same,
        }
    }

    pub(super) fn gemm(&mut self, node: &NodeProto) -> Step<Id> {
        let text = |e: dsperse_onnx::OnnxError| e.to_string();
        let (a, b) = (self.input(node, 0)?, self.input(node, 1)?);
        let alpha = f64::from(node.float_or("alpha", 1.0).map_err(text)?);
        let beta = f64::from(node.float_or("beta", 1.0).map_err(text)?);
        let flip = |name| Ok::<_, String>(node.int_or(name, 0).map_err(text)? != 0);
        let (flip_a, flip_b) = (flip("transA")?, flip("transB")?);
        let (sa, sb) = (self.shape(a), self.shape(b));
        if sa.len() != 2 || sb.len() != 2 {
            return Err(format!(
                "its operands have shapes {sa:?} and {sb:?}, not matrices"
            ));
        }
        let a_labels = if flip_a { b"km" } else { b"mk" }.to_vec();
        let m = sa[usize::from(flip_a)];
        let n = sb[usize::from(!flip_b)];
        let c = if self.has(node, 2) && beta != 0.0 {
            Some(self.input(node, 2)?)
        } else {
            None
        };
        let Some(weight) = self.graph.shared(b) else {
            let b_labels = if flip_b { b"nk" } else { b"kn" }.to_vec();
            let product = self.graph.add(Op::Einsum {
                a,
                b,
                a_labels,
                b_labels,
                out_labels: b"mn".to_vec(),
            })?;
            return match c {
                Some(c) => self.sum_of(product, alpha, c, beta),
                None => self.affine(&[(product, alpha)], 0.0),
            };
        };
        let mut weight = if flip_b {
            weight
        } else {
            Rc::new(transposed(&weight))
        };
        if alpha != 1.0 {
            let weight = Rc::make_mut(&mut weight);
            weight.data.iter_mut().for_each(|w| *w *= alpha);
        }
        let constant = c.and_then(|c| self.graph.constant(c));
        let bias = constant.and_then(|c| bias_vector(c, n, beta));
        let rest = c.filter(|_| bias.is_none());
        let id = self.emit(Linear {
            input: a,
            input_labels: a_labels,
            weight,
            weight_labels: b"nk".to_vec(),
            out_labels: b"mn".to_vec(),
            bias,
            channels: n,
            out_shape: vec![m, n],
            channel_dim: 1,
        })?;
        match rest {
            Some(c) => self.sum_of(id, 1.0, c, beta),
            None => Ok(id),
        }
    }

    pub(super) fn matmul(&mut self, node: &NodeProto) -> Step<Id> {
        let (a, b) = (self.input(node, 0)?, self.input(node, 1)?);
        let (sa, sb) = (self.shape(a), self.shape(b));
        if sa.is_empty() || sb.is_empty() {
            return Err("an operand is a scalar".into());
        }
        // Numpy: a vector is a row on the left and a column on the right, and the
        // dimension that it lacks is absent from the result.
        let (ra, rb) = (sa.len().max(2), sb.len().max(2));
        let batch = ra.max(rb) - 2;
        let (m, k, n) = (label(batch), label(batch + 1), label(batch + 2));
        let batch_of = |r: usize| (batch + 2 - r..batch).map(label);
        let mut a_labels: Vec<u8> = batch_of(ra).chain([m, k]).collect();
        let mut b_labels: Vec<u8> = batch_of(rb).chain([k, n]).collect();
        let mut out_labels: Vec<u8> = (0..batch).map(label).chain([m, n]).collect();
        if sa.len() == 1 {
            a_labels.retain(|&l| l != m);
            out_labels.retain(|&l| l != m);
        }
        if sb.len() == 1 {
            b_labels.retain(|&l| l != n);
            out_labels.retain(|&l| l != n);
        }
        if sb.len() == 2
            && sa.len() >= 2
            && let Some(weight) = self.graph.constant(b)
        {
            if sa[sa.len() - 1] != sb[0] {
                return Err(format!("shapes {sa:?} and {sb:?} do not fit"));
            }
            let weight = transposed(weight);
            let mut out_shape = sa[..sa.len() - 1].to_vec();
            out_shape.push(sb[1]);
            return self.emit(Linear {
                input: a,
                input_labels: a_labels,
                weight: Rc::new(weight),
                weight_labels: vec![n, k],
                out_labels,
                bias: None,
                channels: sb[1],
                channel_dim: out_shape.len() - 1,
                out_shape,
            });
        }
        // Batch dimensions of size 1 that broadcast are dropped from their operand.
        let drop_ones = |this: &[usize], own: &[u8], other: &[usize], others: &[u8]| {
            let keep: Vec<usize> = (0..this.len())
                .filter(|&i| {
                    let there = others.iter().position(|&l| l == own[i]);
                    this[i] != 1
                        || own[i] == m
                        || own[i] == n
                        || own[i] == k
                        || there.is_none_or(|j| other[j] == 1)
                })
                .collect();
            let shape: Vec<usize> = keep.iter().map(|&i| this[i]).collect();
            let labels: Vec<u8> = keep.iter().map(|&i| own[i]).collect();
            (shape, labels)
        };
        let (shape_a, labels_a) = drop_ones(&sa, &a_labels, &sb, &b_labels);
        let (shape_b, labels_b) = drop_ones(&sb, &b_labels, &sa, &a_labels);
        let a = self.reshape(a, &shape_a)?;
        let b = self.reshape(b, &shape_b)?;
        self.graph.add(Op::Einsum {
            a,
            b,
            a_labels: labels_a,
            b_labels: labels_b,
            out_labels,
        })
    }

    pub(super) fn conv(&mut self, node: &NodeProto) -> Step<Id> {
        let text = |e: dsperse_onnx::OnnxError| e.to_string();
        let x = self.input(node, 0)?;
        let weight = match self.graph.constant(self.input(node, 1)?) {
            Some(w) => w.clone(),
            None => return Err("its weights are computed; only constant ones are supported".into()),
        };
        let bias = self.constant_input(node, 2)?.map(|b| b.data.clone());
        let shape = self.shape(x);
        let spatial = shape.len().saturating_sub(2);
        if spatial == 0 || spatial > 3 || weight.shape.len() != shape.len() {
            return Err(format!(
                "its input has shape {shape:?} and its weights {:?}; one to three \
                 spatial dimensions are supported",
                weight.shape
            ));
        }
        let group = node.int_or("group", 1).map_err(text)?;
        let group = usize::try_from(group).unwrap_or(0);
        let (channels, per_group) = (weight.shape[0], weight.shape[1]);
        if group == 0 || !channels.is_multiple_of(group) || per_group * group != shape[1] {
            return Err(format!(
                "its weights {:?} do not fit {} channels in {group} groups",
                weight.shape, shape[1]
            ));
        }
        if bias.as_ref().is_some_and(|b| b.len() != channels) {
            return Err("its bias has a wrong length".into());
        }
        if let Some(k) = node.ints("kernel_shape").map_err(text)?
            && !k
                .iter()
                .map(|&d| d as usize)
                .eq(weight.shape[2..].iter().copied())
        {
            return Err("its kernel shape is not that of its weights".into());
        }
        let windows = Windows::read(node, &shape[2..], &weight.shape[2..], false)?;

        // A window with many entries is two in a row: k = k1·b + k2, and position + k2 first.
        let (mut x, mut weight, mut dim) = (x, weight, 2);
        let (mut before, mut splits) = (
            vec![Factor::Keep { dim: 0 }, Factor::Keep { dim: 1 }],
            vec![],
        );
        for (i, w) in windows.0.iter().enumerate() {
            let split = (w.kernel * w.size > LONG_WINDOW && w.kernel > 3).then(|| {
                let inner = w.kernel.isqrt();
                (w.kernel.div_ceil(inner), inner)
            });
            splits.push((dim, split));
            let Some((outer, inner)) = split else {
                before.push(Factor::Keep { dim: 2 + i });
                dim += 1;
                continue;
            };
            weight = weight.lengthened(2 + i, outer * inner);
            before.push(Factor::Window {
                dim: 2 + i,
                kernel: inner,
                size: (w.size - 1) * w.stride + (outer - 1) * inner * w.dilation + 1,
                stride: 1,
                dilation: w.dilation,
                pad: w.pad,
            });
            dim += 2;
        }
        if splits.iter().any(|s| s.1.is_some()) {
            x = self.wire(x, before)?;
        }

        // x[n, (g), c, ky, oy, kx, ox]; a window of one element has no kernel dimension.
        let mut factors = vec![Factor::Keep { dim: 0 }];
        let mut x_labels = vec![b'n'];
        let mut w_shape = vec![];
        let mut w_labels = vec![];
        let mut out_labels = vec![b'n'];
        if group > 1 {
            factors.push(Factor::Reshape {
                dims: vec![1],
                sizes: vec![group, per_group],
            });
            x_labels.extend(b"gc");
            w_shape.extend([group, channels / group, per_group]);
            w_labels.extend(b"goc");
            out_labels.extend(b"go");
        } else {
            factors.push(Factor::Keep { dim: 1 });
            x_labels.push(b'c');
            w_shape.extend([channels, per_group]);
            w_labels.extend(b"oc");
            out_labels.push(b'o');
        }
        let mut out_shape = vec![shape[0], channels];
        for (i, w) in windows.0.iter().enumerate() {
            let (kernel, position) = (b'w' + i as u8, b'p' + i as u8);
            let (dim, split) = splits[i];
            if let Some((outer, inner)) = split {
                let within = b'A' + i as u8;
                factors.push(Factor::Keep { dim });
                factors.push(Factor::Window {
                    dim: dim + 1,
                    kernel: outer,
                    size: w.size,
                    stride: w.stride,
                    dilation: inner * w.dilation,
                    pad: 0,
                });
                x_labels.extend([within, kernel, position]);
                w_shape.extend([outer, inner]);
                w_labels.extend([kernel, within]);
            } else if w.kernel > 1 {
                factors.push(w.factor(dim));
                x_labels.extend([kernel, position]);
                w_shape.push(w.kernel);
                w_labels.push(kernel);
            } else {
                factors.push(w.strided(dim, shape[2 + i]));
                x_labels.push(position);
            }
            out_labels.push(position);
            out_shape.push(w.size);
        }
        let weight = weight
            .reshaped(w_shape)
            .ok_or("its weights have a wrong size")?;
        let input = self.wire(x, factors)?;
        self.emit(Linear {
            input,
            input_labels: x_labels,
            weight: Rc::new(weight),
            weight_labels: w_labels,
            out_labels,
            bias,
            channels,
            out_shape,
            channel_dim: 1,
        })
    }

    /// `scale · (x - mean) / sqrt(variance + epsilon) + bias` for each channel: folded into
    /// the layer before when nobody else reads that layer's result.
    pub(super) fn batch_normalization(&mut self, node: &NodeProto) -> Step<Id> {
        let text = |e: dsperse_onnx::OnnxError| e.to_string();
        if node.int_or("training_mode", 0).map_err(text)? != 0 {
            return Err("its training mode is not supported".into());
        }
        let epsilon = f64::from(node.float_or("epsilon", 1e-5).map_err(text)?);
        let x = self.input(node, 0)?;
        let shape = self.shape(x);
        let channels = *shape.get(1).ok_or("its input has no channels")?;
        let mut parts = Vec::new();
        for i in 1..5 {
            let part = self.constant_input(node, i)?;
            let part = part.ok_or_else(|| format!("input {i} is missing"))?;
            if part.data.len() != channels {
                return Err(format!(
                    "input {i} has {} values, {channels} are needed",
                    part.data.len()
                ));
            }
            parts.push(part.data.clone());
        }
        let scale: Vec<f64> = (0..channels)
            .map(|c| parts[0][c] / (parts[3][c] + epsilon).sqrt())
            .collect();
        let shift: Vec<f64> = (0..channels)
            .map(|c| parts[1][c] - parts[2][c] * scale[c])
            .collect();
        let sole_use = self.uses.get(node.input[0].as_str()) == Some(&1);
        if let Some(linear) = self
            .linear
            .get(&x)
            .filter(|l| sole_use && l.channel_dim == 1)
        {
            let mut linear = linear.clone();
            let per_channel = linear.weight.data.len() / channels;
            let mut weight = linear.weight.as_ref().clone();
            for (i, w) in weight.data.iter_mut().enumerate() {
                *w *= scale[i / per_channel];
            }
            linear.weight = Rc::new(weight);
            let old = linear.bias.unwrap_or_else(|| vec![0.0; channels]);
            linear.bias = Some(
                (0..channels)
                    .map(|c| old[c] * scale[c] + shift[c])
                    .collect(),
            );
            return self.emit(linear);
        }
        let mut dims = vec![1; shape.len()];
        dims[1] = channels;
        let of = |data| Array::new(dims.clone(), data).ok_or("its parameters have a wrong size");
        let (scale, shift) = (of(scale)?, of(shift)?);
        let scale = self.graph.constant_node(scale);
        let shift = self.graph.constant_node(shift);
        let scaled = self.product(x, scale)?;
        self.sum_of(scaled, 1.0, shift, 1.0)
    }
}

fn transposed(matrix: &Array) -> Array {
    /// Rows that are read side by side, so that what the cache fetched is used.
    const ROWS: usize = 16;
    let (rows, columns) = (matrix.shape[0], matrix.shape[1]);
    let mut data = vec![0.0; rows * columns];
    for first in (0..rows).step_by(ROWS) {
        let last = rows.min(first + ROWS);
        for c in 0..columns {
            let to = data[c * rows + first..c * rows + last].iter_mut();
            to.zip(first..)
                .for_each(|(to, r)| *to = matrix.data[r * columns + c]);
        }
    }
    Array {
        shape: vec![columns, rows],
        data,
    }
}

/// The constant third operand of a Gemm as one value for each column, if it is one.
fn bias_vector(c: &Array, n: usize, beta: f64) -> Option<Vec<f64>> {
    let rows: usize = c.shape.iter().rev().skip(1).product();
    let columns = c.shape.last().copied().unwrap_or(1);
    match (rows, columns) {
        (1, 1) => Some(vec![c.data[0] * beta; n]),
        (1, k) if k == n => Some(c.data.iter().map(|v| v * beta).collect()),
        _ => None,
    }
}
