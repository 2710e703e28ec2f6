//! Types and shapes of a node's outputs by the standard's own rules, for static shapes.
//!
//! `None` means "not known": an operator without a rule here, an input whose type is not
//! known, or a shape that only data decide.

use crate::constants::{range_len, shape_range, slice_ranges};
use crate::operand::{TensorType, broadcast, position};
use dsperse_onnx::{DataType, NodeProto, Tensor, tensor};

/// What inference may ask of a node's place.
pub(crate) struct Place<'a> {
    pub node: &'a NodeProto,
    pub inputs: &'a [Option<TensorType>],
    /// Value of the `i`-th input, when it is fixed.
    pub constant: &'a dyn Fn(usize) -> Option<std::rc::Rc<Tensor>>,
}

impl Place<'_> {
    fn input(&self, i: usize) -> Option<&TensorType> {
        self.inputs.get(i)?.as_ref()
    }
    fn shape(&self, i: usize) -> Option<&[usize]> {
        Some(&self.input(i)?.shape)
    }
    fn has(&self, i: usize) -> bool {
        self.node.input.get(i).is_some_and(|n| !n.is_empty())
    }
    fn ints(&self, i: usize) -> Option<Vec<i64>> {
        (self.constant)(i)?.values.to_i64()
    }
    /// Integers that are an attribute in old versions and an input in new ones; the outer
    /// `None` when they are given and not known.
    fn list(&self, name: &str, i: usize) -> Option<Option<Vec<i64>>> {
        match self.node.ints(name).ok()? {
            Some(v) => Some(Some(v.to_vec())),
            None if self.has(i) => Some(Some(self.ints(i)?)),
            None => Some(None),
        }
    }
    fn int(&self, name: &str, default: i64) -> Option<i64> {
        self.node.int_or(name, default).ok()
    }
}

fn usizes(v: &[i64]) -> Option<Vec<usize>> {
    v.iter().map(|d| usize::try_from(*d).ok()).collect()
}

fn one(dtype: DataType, shape: Vec<usize>) -> Option<Vec<Option<TensorType>>> {
    Some(vec![Some(TensorType { dtype, shape })])
}

/// Types of the node's outputs, as many as are known.
pub(crate) fn outputs(p: &Place<'_>) -> Option<Vec<Option<TensorType>>> {
    if p.node.is_standard() {
        standard(p)
    } else {
        match (p.node.domain(), p.node.op_type()) {
            ("ai.onnx.ml", "Scaler") => one(DataType::F32, p.shape(0)?.to_vec()),
            ("ai.onnx.ml", "Normalizer") => one(DataType::F32, p.shape(0)?.to_vec()),
            ("ai.onnx.ml", "Imputer" | "Binarizer")
            | (
                "com.microsoft",
                "FastGelu" | "Gelu" | "BiasGelu" | "QuickGelu" | "RotaryEmbedding",
            ) => same(p),
            _ => None,
        }
    }
}

fn same(p: &Place<'_>) -> Option<Vec<Option<TensorType>>> {
    Some(vec![Some(p.input(0)?.clone())])
}

fn standard(p: &Place<'_>) -> Option<Vec<Option<TensorType>>> {
    let n = p.node;
    match n.op_type() {
        "Abs"
        | "Acos"
        | "Acosh"
        | "Asin"
        | "Asinh"
        | "Atan"
        | "Atanh"
        | "BitwiseNot"
        | "Ceil"
        | "Celu"
        | "Clip"
        | "Cos"
        | "Cosh"
        | "CumSum"
        | "Elu"
        | "Erf"
        | "Exp"
        | "Floor"
        | "Gelu"
        | "HardSigmoid"
        | "HardSwish"
        | "Hardmax"
        | "Identity"
        | "InstanceNormalization"
        | "LRN"
        | "LeakyRelu"
        | "Log"
        | "LogSoftmax"
        | "LpNormalization"
        | "MeanVarianceNormalization"
        | "Mish"
        | "Neg"
        | "Not"
        | "PRelu"
        | "Reciprocal"
        | "Relu"
        | "Round"
        | "ScatterElements"
        | "ScatterND"
        | "Scatter"
        | "Selu"
        | "Shrink"
        | "Sigmoid"
        | "Sign"
        | "Sin"
        | "Sinh"
        | "Softmax"
        | "Softplus"
        | "Softsign"
        | "Sqrt"
        | "Swish"
        | "Tan"
        | "Tanh"
        | "ThresholdedRelu"
        | "Trilu"
        | "GroupNormalization"
        | "RMSNormalization"
        | "RotaryEmbedding"
        | "Dropout"
        | "BatchNormalization"
        | "LayerNormalization" => same(p),
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Pow" | "Max" | "Min" | "Mean" | "Sum"
        | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" | "BitShift" => {
            one(p.input(0)?.dtype, all_broadcast(p, 0)?)
        }
        "And" | "Or" | "Xor" | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" => {
            one(DataType::Bool, all_broadcast(p, 0)?)
        }
        "IsInf" | "IsNaN" => one(DataType::Bool, p.shape(0)?.to_vec()),
        "Where" => one(p.input(1)?.dtype, all_broadcast(p, 0)?),
        "Cast" => one(attribute_type(n, "to")?, p.shape(0)?.to_vec()),
        "CastLike" => one(p.input(1)?.dtype, p.shape(0)?.to_vec()),
        "MatMul" => one(p.input(0)?.dtype, matmul(p.shape(0)?, p.shape(1)?)?),
        "MatMulInteger" => one(DataType::I32, matmul(p.shape(0)?, p.shape(1)?)?),
        "QLinearMatMul" => one(p.input(7)?.dtype, matmul(p.shape(0)?, p.shape(3)?)?),
        "Gemm" => {
            let side = |i: usize, flag: &str| -> Option<[usize; 2]> {
                let [r, c] = *p.shape(i)? else { return None };
                Some(if p.int(flag, 0)? != 0 { [c, r] } else { [r, c] })
            };
            let (a, b) = (side(0, "transA")?, side(1, "transB")?);
            (a[1] == b[0]).then_some(())?;
            one(p.input(0)?.dtype, vec![a[0], b[1]])
        }
        "Conv" => one(p.input(0)?.dtype, conv(p, 0, 1)?),
        "ConvInteger" => one(DataType::I32, conv(p, 0, 1)?),
        "QLinearConv" => one(p.input(7)?.dtype, conv(p, 0, 3)?),
        "ConvTranspose" => one(p.input(0)?.dtype, conv_transpose(p)?),
        "MaxPool" | "AveragePool" | "LpPool" => {
            let kernel = usizes(n.ints("kernel_shape").ok()??)?;
            let x = p.shape(0)?;
            let mut shape = x.get(..2)?.to_vec();
            shape.extend(Window::of(n, x.get(2..)?, &kernel)?.output);
            let t = TensorType {
                dtype: p.input(0)?.dtype,
                shape: shape.clone(),
            };
            Some(vec![Some(t), Some(TensorType::new(DataType::I64, &shape))])
        }
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => {
            let x = p.shape(0)?;
            let mut shape = x.get(..2)?.to_vec();
            shape.resize(x.len(), 1);
            one(p.input(0)?.dtype, shape)
        }
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax"
        | "ReduceMean" | "ReduceMin" | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" => {
            let x = p.shape(0)?;
            let named = p.list("axes", 1)?.unwrap_or_default();
            if named.is_empty() && p.int("noop_with_empty_axes", 0)? != 0 {
                return same(p);
            }
            let keep = p.int("keepdims", 1)? != 0;
            let mut gone = vec![named.is_empty(); x.len()];
            for a in named {
                gone[position(a, x.len())?] = true;
            }
            one(p.input(0)?.dtype, without(x, &gone, keep))
        }
        "ArgMax" | "ArgMin" => {
            let x = p.shape(0)?;
            let mut gone = vec![false; x.len()];
            gone[position(p.int("axis", 0)?, x.len())?] = true;
            one(DataType::I64, without(x, &gone, p.int("keepdims", 1)? != 0))
        }
        "Concat" => {
            let mut shape = p.shape(0)?.to_vec();
            let axis = position(n.int("axis").ok()??, shape.len())?;
            for i in 1..n.input.len() {
                let other = p.shape(i)?;
                let fits = other.len() == shape.len()
                    && (0..shape.len()).all(|a| a == axis || shape[a] == other[a]);
                fits.then_some(())?;
                shape[axis] = shape[axis].checked_add(other[axis])?;
            }
            one(p.input(0)?.dtype, shape)
        }
        "Slice" => {
            let ranges = slice_ranges(n, p.shape(0)?, &|i| p.ints(i))?;
            one(
                p.input(0)?.dtype,
                ranges.into_iter().map(range_len).collect(),
            )
        }
        "Split" => {
            let x = p.input(0)?;
            let axis = position(p.int("axis", 0)?, x.shape.len())?;
            let sizes = match p.list("split", 1)? {
                Some(v) => usizes(&v)?,
                None => {
                    let parts = n.output.len();
                    let each = x.shape[axis].div_ceil(parts.max(1));
                    let mut left = x.shape[axis];
                    (0..parts)
                        .map(|_| {
                            let size = each.min(left);
                            left -= size;
                            size
                        })
                        .collect()
                }
            };
            (sizes.iter().sum::<usize>() == x.shape[axis]).then_some(())?;
            Some(
                sizes
                    .into_iter()
                    .map(|size| {
                        let mut shape = x.shape.clone();
                        shape[axis] = size;
                        Some(TensorType {
                            dtype: x.dtype,
                            shape,
                        })
                    })
                    .collect(),
            )
        }
        "Transpose" => {
            let x = p.shape(0)?;
            let perm = match n.ints("perm").ok()? {
                Some(v) => usizes(v)?,
                None => (0..x.len()).rev().collect(),
            };
            let mut sorted = perm.clone();
            sorted.sort_unstable();
            sorted.iter().copied().eq(0..x.len()).then_some(())?;
            one(p.input(0)?.dtype, perm.into_iter().map(|i| x[i]).collect())
        }
        "Reshape" => one(p.input(0)?.dtype, reshape(p)?),
        "Flatten" => {
            let x = p.shape(0)?;
            let axis = p.int("axis", 1)?;
            let at = if axis == i64::try_from(x.len()).ok()? {
                x.len()
            } else {
                position(axis, x.len())?
            };
            let (a, b) = x.split_at(at);
            one(
                p.input(0)?.dtype,
                vec![a.iter().product(), b.iter().product()],
            )
        }
        "Squeeze" => {
            let x = p.shape(0)?;
            let mut gone = vec![false; x.len()];
            match p.list("axes", 1)? {
                Some(axes) => {
                    for a in axes {
                        gone[position(a, x.len())?] = true;
                    }
                }
                None => gone = x.iter().map(|d| *d == 1).collect(),
            }
            x.iter()
                .zip(&gone)
                .all(|(d, g)| !*g || *d == 1)
                .then_some(())?;
            one(p.input(0)?.dtype, without(x, &gone, false))
        }
        "Unsqueeze" => {
            let x = p.shape(0)?;
            let axes = p.list("axes", 1)??;
            let rank = x.len() + axes.len();
            let mut new = vec![false; rank];
            for a in axes {
                new[position(a, rank)?] = true;
            }
            let mut old = x.iter();
            let shape = new
                .iter()
                .map(|n| if *n { Some(1) } else { old.next().copied() })
                .collect::<Option<_>>()?;
            one(p.input(0)?.dtype, shape)
        }
        "Gather" => {
            let x = p.shape(0)?;
            let axis = position(p.int("axis", 0)?, x.len())?;
            let mut shape = x[..axis].to_vec();
            shape.extend(p.shape(1)?);
            shape.extend(&x[axis + 1..]);
            one(p.input(0)?.dtype, shape)
        }
        "GatherElements" => one(p.input(0)?.dtype, p.shape(1)?.to_vec()),
        "GatherND" => {
            let (x, i) = (p.shape(0)?, p.shape(1)?);
            let batch = usize::try_from(p.int("batch_dims", 0)?).ok()?;
            let (depth, outer) = i.split_last()?;
            let mut shape = outer.to_vec();
            shape.extend(x.get(batch.checked_add(*depth)?..)?);
            one(p.input(0)?.dtype, shape)
        }
        "Pad" => {
            let x = p.shape(0)?;
            let pads = p.list("pads", 1)??;
            let axes: Vec<usize> = if p.has(3) {
                p.ints(3)?
                    .into_iter()
                    .map(|a| position(a, x.len()))
                    .collect::<Option<_>>()?
            } else {
                (0..x.len()).collect()
            };
            (pads.len() == 2 * axes.len()).then_some(())?;
            let mut shape = x.to_vec();
            for (k, a) in axes.iter().enumerate() {
                let size = i64::try_from(shape[*a]).ok()?;
                let size = size
                    .checked_add(pads[k])?
                    .checked_add(pads[axes.len() + k])?;
                shape[*a] = usize::try_from(size).ok()?;
            }
            one(p.input(0)?.dtype, shape)
        }
        "Expand" => {
            let to = usizes(&p.ints(1)?)?;
            one(p.input(0)?.dtype, broadcast(&[p.shape(0)?, &to])?)
        }
        "Tile" => {
            let times = usizes(&p.ints(1)?)?;
            let x = p.shape(0)?;
            (times.len() == x.len()).then_some(())?;
            let shape = x
                .iter()
                .zip(times)
                .map(|(d, t)| d.checked_mul(t))
                .collect::<Option<_>>()?;
            one(p.input(0)?.dtype, shape)
        }
        "Shape" => {
            let (start, end) = shape_range(n, p.shape(0)?.len())?;
            one(DataType::I64, vec![end - start])
        }
        "Size" => one(DataType::I64, vec![]),
        "ConstantOfShape" => {
            let dtype = match n.tensor("value").ok()? {
                Some(t) => tensor::dtype(t).ok()?,
                None => DataType::F32,
            };
            one(dtype, usizes(&p.ints(0)?)?)
        }
        "Range" => {
            let number =
                |i: usize| -> Option<f64> { (p.constant)(i)?.values.to_f64()?.first().copied() };
            let (start, end, step) = (number(0)?, number(1)?, number(2)?);
            let count = ((end - start) / step).ceil().max(0.0);
            (count <= 1e9).then_some(())?;
            one(p.input(0)?.dtype, vec![count as usize])
        }
        "OneHot" => {
            let i = p.shape(0)?;
            let depth = (p.constant)(1)?.values.to_f64()?.first().copied()?;
            let axis = position(p.int("axis", -1)?, i.len() + 1)?;
            (1.0..1e9).contains(&depth).then_some(())?;
            let mut shape = i.to_vec();
            shape.insert(axis, depth as usize);
            one(p.input(2)?.dtype, shape)
        }
        "EyeLike" => {
            let dtype = match n.attr("dtype") {
                Some(_) => attribute_type(n, "dtype")?,
                None => p.input(0)?.dtype,
            };
            one(dtype, p.shape(0)?.to_vec())
        }
        "TopK" => {
            let x = p.input(0)?;
            let k = match n.int("k").ok()? {
                Some(k) => k,
                None => *p.ints(1)?.first()?,
            };
            let mut shape = x.shape.clone();
            let axis = position(p.int("axis", -1)?, shape.len())?;
            shape[axis] = usize::try_from(k).ok()?;
            Some(vec![
                Some(TensorType::new(x.dtype, &shape)),
                Some(TensorType::new(DataType::I64, &shape)),
            ])
        }
        "DepthToSpace" | "SpaceToDepth" => {
            let [b, c, h, w] = *p.shape(0)? else {
                return None;
            };
            let k = usize::try_from(n.int("blocksize").ok()??).ok()?;
            let shape = if n.op_type() == "DepthToSpace" {
                vec![b, c.checked_div(k * k)?, h * k, w * k]
            } else {
                vec![b, c * k * k, h.checked_div(k)?, w.checked_div(k)?]
            };
            one(p.input(0)?.dtype, shape)
        }
        "LSTM" | "GRU" | "RNN" => recurrent(p),
        "QuantizeLinear" => {
            let dtype = attribute_type(n, "output_dtype")
                .or_else(|| Some(p.input(2)?.dtype))
                .unwrap_or(DataType::U8);
            one(dtype, p.shape(0)?.to_vec())
        }
        "DequantizeLinear" => {
            let dtype = attribute_type(n, "output_dtype").or(Some(p.input(1)?.dtype))?;
            one(dtype, p.shape(0)?.to_vec())
        }
        "DynamicQuantizeLinear" => Some(vec![
            Some(TensorType::new(DataType::U8, p.shape(0)?)),
            Some(TensorType::new(DataType::F32, &[])),
            Some(TensorType::new(DataType::U8, &[])),
        ]),
        _ => None,
    }
}

fn attribute_type(n: &NodeProto, name: &str) -> Option<DataType> {
    let number = i32::try_from(n.int(name).ok()??).ok();
    Some(DataType::from_number(number)).filter(|d| *d != DataType::Undefined)
}

fn all_broadcast(p: &Place<'_>, from: usize) -> Option<Vec<usize>> {
    let shapes = (from..p.node.input.len())
        .map(|i| p.shape(i))
        .collect::<Option<Vec<_>>>()?;
    broadcast(&shapes)
}

fn without(shape: &[usize], gone: &[bool], keep: bool) -> Vec<usize> {
    shape
        .iter()
        .zip(gone)
        .filter(|(_, g)| keep || !**g)
        .map(|(d, g)| if *g { 1 } else { *d })
        .collect()
}

/// Shape of a matrix product (`numpy.matmul`).
pub(crate) fn matmul(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let row = a.len() == 1;
    let column = b.len() == 1;
    let a2 = if row { vec![1, a[0]] } else { a.to_vec() };
    let b2 = if column { vec![b[0], 1] } else { b.to_vec() };
    let (ra, rb) = (a2.len().checked_sub(2)?, b2.len().checked_sub(2)?);
    (a2[ra + 1] == b2[rb]).then_some(())?;
    let mut shape = broadcast(&[&a2[..ra], &b2[..rb]])?;
    if !row {
        shape.push(a2[ra]);
    }
    if !column {
        shape.push(b2[rb + 1]);
    }
    Some(shape)
}

fn reshape(p: &Place<'_>) -> Option<Vec<usize>> {
    let x = p.shape(0)?;
    let target = p.list("shape", 1)??;
    let zero_is_zero = p.int("allowzero", 0)? != 0;
    let total = p.input(0)?.elements()?;
    let mut shape = Vec::with_capacity(target.len());
    let mut open = None;
    for (i, d) in target.iter().enumerate() {
        match *d {
            -1 if open.is_none() => {
                open = Some(i);
                shape.push(1);
            }
            0 if !zero_is_zero => shape.push(*x.get(i)?),
            d => shape.push(usize::try_from(d).ok()?),
        }
    }
    let known = crate::operand::elements(&shape)?;
    match open {
        Some(i) => {
            (known > 0 && total.is_multiple_of(known)).then_some(())?;
            shape[i] = total / known;
        }
        None => (known == total).then_some(())?,
    }
    Some(shape)
}

/// A sliding window over the spatial axes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    /// Padding before and after, resolved.
    pub pads: Vec<(usize, usize)>,
    /// Number of places.
    pub output: Vec<usize>,
}

impl Window {
    pub(crate) fn of(n: &NodeProto, input: &[usize], kernel: &[usize]) -> Option<Self> {
        let rank = input.len();
        (kernel.len() == rank && kernel.iter().all(|k| *k > 0)).then_some(())?;
        let list = |name: &str| -> Option<Vec<usize>> {
            match n.ints(name).ok()? {
                Some(v) => {
                    let v = usizes(v)?;
                    (v.len() == rank && v.iter().all(|d| *d > 0)).then_some(v)
                }
                None => Some(vec![1; rank]),
            }
        };
        let (strides, dilations) = (list("strides")?, list("dilations")?);
        let ceil = n.int_or("ceil_mode", 0).ok()? != 0;
        let auto = n.string_or("auto_pad", "NOTSET").ok()?;
        let given = n.ints("pads").ok()?;
        let mut pads = Vec::with_capacity(rank);
        let mut output = Vec::with_capacity(rank);
        for i in 0..rank {
            let span = (kernel[i] - 1).checked_mul(dilations[i])?.checked_add(1)?;
            let pad = match auto {
                "SAME_UPPER" | "SAME_LOWER" => {
                    let places = input[i].div_ceil(strides[i]);
                    let total =
                        (places.saturating_sub(1) * strides[i] + span).saturating_sub(input[i]);
                    let less = total / 2;
                    if auto == "SAME_UPPER" {
                        (less, total - less)
                    } else {
                        (total - less, less)
                    }
                }
                "VALID" => (0, 0),
                "NOTSET" | "" => match given {
                    Some(v) => {
                        (v.len() == 2 * rank).then_some(())?;
                        (
                            usize::try_from(v[i]).ok()?,
                            usize::try_from(v[rank + i]).ok()?,
                        )
                    }
                    None => (0, 0),
                },
                _ => return None,
            };
            let padded = input[i].checked_add(pad.0)?.checked_add(pad.1)?;
            let room = padded.checked_sub(span)?;
            let mut places = if ceil {
                room.div_ceil(strides[i]) + 1
            } else {
                room / strides[i] + 1
            };
            // A window must not start in the padding behind the input.
            if ceil && (places - 1) * strides[i] >= input[i] + pad.0 {
                places -= 1;
            }
            pads.push(pad);
            output.push(places);
        }
        Some(Self {
            kernel: kernel.to_vec(),
            strides,
            dilations,
            pads,
            output,
        })
    }
}

fn conv(p: &Place<'_>, x: usize, w: usize) -> Option<Vec<usize>> {
    let (x, w) = (p.shape(x)?, p.shape(w)?);
    (x.len() == w.len() && x.len() >= 3).then_some(())?;
    let mut shape = vec![x[0], w[0]];
    shape.extend(Window::of(p.node, &x[2..], &w[2..])?.output);
    Some(shape)
}

fn conv_transpose(p: &Place<'_>) -> Option<Vec<usize>> {
    let (x, w) = (p.shape(0)?, p.shape(1)?);
    let t = Transposed::of(p.node, x, w)?;
    let group = usize::try_from(p.int("group", 1)?).ok()?;
    let mut shape = vec![x[0], w[1].checked_mul(group)?];
    shape.extend(t.output);
    Some(shape)
}

/// The window of a transposed convolution: sizes, and what is cut off at both ends.
pub(crate) struct Transposed {
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub output: Vec<usize>,
    /// Padding before each axis; negative values add.
    pub before: Vec<i64>,
}

impl Transposed {
    /// By the standard: `output = stride·(input − 1) + output_padding + (kernel − 1)·dilation
    /// + 1 − pads`, or the pads that make a given `output_shape`.
    pub(crate) fn of(n: &NodeProto, x: &[usize], w: &[usize]) -> Option<Self> {
        (x.len() == w.len() && x.len() >= 3).then_some(())?;
        let rank = x.len() - 2;
        let list = |name: &str, default: usize| -> Option<Vec<usize>> {
            let v = match n.ints(name).ok()? {
                Some(v) => usizes(v)?,
                None => vec![default; rank],
            };
            (v.len() == rank && v.iter().all(|d| *d >= default)).then_some(v)
        };
        let (strides, dilations) = (list("strides", 1)?, list("dilations", 1)?);
        let extra = list("output_padding", 0)?;
        let auto = n.string_or("auto_pad", "NOTSET").ok()?;
        let asked = n.ints("output_shape").ok()?;
        let (mut output, mut before) = (Vec::new(), Vec::new());
        for i in 0..rank {
            let full = strides[i]
                .checked_mul(x[2 + i].checked_sub(1)?)?
                .checked_add(extra[i])?
                .checked_add((w[2 + i].checked_sub(1)?).checked_mul(dilations[i])?)?
                .checked_add(1)?;
            let full = i64::try_from(full).ok()?;
            let size = match (asked, auto) {
                (Some(v), _) => {
                    // Some files give all sizes, some only the spatial ones.
                    let size = v.get(v.len().checked_sub(rank)? + i)?;
                    Some(*size)
                }
                (None, "SAME_UPPER" | "SAME_LOWER") => {
                    Some(i64::try_from(x[2 + i].checked_mul(strides[i])?).ok()?)
                }
                _ => None,
            };
            let (pad, size) = match size {
                Some(size) => {
                    let total = full - size;
                    let less = total.div_euclid(2);
                    let pad = if auto == "SAME_UPPER" {
                        less
                    } else {
                        total - less
                    };
                    (pad, size)
                }
                None => {
                    let (a, b) = match n.ints("pads").ok()? {
                        Some(v) if auto != "VALID" => (*v.get(i)?, *v.get(rank + i)?),
                        _ => (0, 0),
                    };
                    (a, full.checked_sub(a)?.checked_sub(b)?)
                }
            };
            output.push(usize::try_from(size).ok().filter(|s| *s > 0)?);
            before.push(pad);
        }
        Some(Self {
            strides,
            dilations,
            output,
            before,
        })
    }
}

fn recurrent(p: &Place<'_>) -> Option<Vec<Option<TensorType>>> {
    let x = p.input(0)?;
    let [a, b, _] = *x.shape.as_slice() else {
        return None;
    };
    let [directions, _, hidden] = *p.shape(2)? else {
        return None;
    };
    let batch_first = p.int("layout", 0)? != 0;
    let t = |shape: &[usize]| Some(TensorType::new(x.dtype, shape));
    let (all, last) = if batch_first {
        ([a, b, directions, hidden], [a, directions, hidden])
    } else {
        ([a, directions, b, hidden], [directions, b, hidden])
    };
    Some(vec![t(&all), t(&last), t(&last)])
}
