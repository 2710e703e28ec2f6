//! Values of nodes whose inputs are fixed: only the operators that rules make of constants
//! and that exporters write around shapes.

use crate::operand::{TensorType, broadcast, elements, position, strides};
use dsperse_onnx::{DataType, NodeProto, Tensor, Values};
use dsperse_tensor::round::{f64_to_bf16, f64_to_f16, integer_to_bf16, integer_to_f16};

/// Largest tensor that is computed here.
pub(crate) const LIMIT: usize = 1 << 24;

macro_rules! same_kind {
    ($values:expr, $v:ident => $body:expr) => {
        match $values {
            Values::F32($v) => Values::F32($body),
            Values::F64($v) => Values::F64($body),
            Values::F16($v) => Values::F16($body),
            Values::Bf16($v) => Values::Bf16($body),
            Values::I8($v) => Values::I8($body),
            Values::I16($v) => Values::I16($body),
            Values::I32($v) => Values::I32($body),
            Values::I64($v) => Values::I64($body),
            Values::U8($v) => Values::U8($body),
            Values::U16($v) => Values::U16($body),
            Values::U32($v) => Values::U32($body),
            Values::U64($v) => Values::U64($body),
            Values::Bool($v) => Values::Bool($body),
            Values::String($v) => Values::String($body),
            _ => return None,
        }
    };
}

/// Numbers as elements of a type; `None` for types that hold no numbers. Floats become
/// integers by truncation, as `Cast` does it; what does not fit takes the nearest bound.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
#[must_use]
pub fn from_f64(dtype: DataType, v: &[f64]) -> Option<Values> {
    Some(match dtype {
        DataType::F32 => Values::F32(v.iter().map(|x| *x as f32).collect()),
        DataType::F64 => Values::F64(v.to_vec()),
        DataType::F16 => Values::F16(v.iter().map(|x| f64_to_f16(*x)).collect()),
        DataType::Bf16 => Values::Bf16(v.iter().map(|x| f64_to_bf16(*x)).collect()),
        DataType::I8 => Values::I8(v.iter().map(|x| *x as i8).collect()),
        DataType::I16 => Values::I16(v.iter().map(|x| *x as i16).collect()),
        DataType::I32 => Values::I32(v.iter().map(|x| *x as i32).collect()),
        DataType::I64 => Values::I64(v.iter().map(|x| *x as i64).collect()),
        DataType::U8 => Values::U8(v.iter().map(|x| *x as u8).collect()),
        DataType::U16 => Values::U16(v.iter().map(|x| *x as u16).collect()),
        DataType::U32 => Values::U32(v.iter().map(|x| *x as u32).collect()),
        DataType::U64 => Values::U64(v.iter().map(|x| *x as u64).collect()),
        DataType::Bool => Values::Bool(v.iter().map(|x| *x != 0.0).collect()),
        _ => return None,
    })
}

/// The same from integers; those that do not fit wrap, as `Cast` does it.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)]
fn from_i64(dtype: DataType, v: &[i64]) -> Option<Values> {
    Some(match dtype {
        DataType::I8 => Values::I8(v.iter().map(|x| *x as i8).collect()),
        DataType::I16 => Values::I16(v.iter().map(|x| *x as i16).collect()),
        DataType::I32 => Values::I32(v.iter().map(|x| *x as i32).collect()),
        DataType::I64 => Values::I64(v.to_vec()),
        DataType::U8 => Values::U8(v.iter().map(|x| *x as u8).collect()),
        DataType::U16 => Values::U16(v.iter().map(|x| *x as u16).collect()),
        DataType::U32 => Values::U32(v.iter().map(|x| *x as u32).collect()),
        DataType::U64 => Values::U64(v.iter().map(|x| *x as u64).collect()),
        DataType::Bool => Values::Bool(v.iter().map(|x| *x != 0).collect()),
        // Each of these rounds once.
        DataType::F32 => Values::F32(v.iter().map(|x| *x as f32).collect()),
        DataType::F16 => Values::F16(v.iter().map(|x| integer_to_f16(i128::from(*x))).collect()),
        DataType::Bf16 => Values::Bf16(v.iter().map(|x| integer_to_bf16(i128::from(*x))).collect()),
        _ => from_f64(dtype, &v.iter().map(|x| *x as f64).collect::<Vec<_>>())?,
    })
}

/// A tensor's elements in another type.
pub(crate) fn cast(values: &Values, to: DataType) -> Option<Values> {
    if values.dtype() == to {
        return Some(values.clone());
    }
    match values.to_i64() {
        Some(v) => from_i64(to, &v),
        None => from_f64(to, &values.to_f64()?),
    }
}

/// The elements at these places.
pub(crate) fn pick(values: &Values, places: &[usize]) -> Option<Values> {
    Some(same_kind!(values, v => {
        places.iter().map(|i| v.get(*i).cloned()).collect::<Option<Vec<_>>>()?
    }))
}

/// For each element of `to`, its place among those of `from`, which broadcasts to it.
fn broadcast_places(from: &[usize], to: &[usize]) -> Vec<usize> {
    let lead = to.len() - from.len();
    let own = strides(from);
    let steps: Vec<usize> = (0..to.len())
        .map(|i| match i.checked_sub(lead) {
            Some(j) if from[j] != 1 => own[j],
            _ => 0,
        })
        .collect();
    places(to, 0, &steps)
}

/// Places `start + Σ index·step` for each index of a shape, row-major.
fn places(shape: &[usize], start: usize, steps: &[usize]) -> Vec<usize> {
    let mut out = vec![start];
    for (size, step) in shape.iter().zip(steps) {
        out = out
            .iter()
            .flat_map(|base| (0..*size).map(move |i| base + i * step))
            .collect();
    }
    out
}

/// The value of a node's first output. `outputs` are its types, from [`crate::shapes`].
pub(crate) fn evaluate(
    node: &NodeProto,
    inputs: &[Option<&Tensor>],
    output: &TensorType,
) -> Option<Tensor> {
    let n = output.elements().filter(|n| *n <= LIMIT)?;
    if !node.is_standard() {
        return None;
    }
    let x = *inputs.first()?;
    let values = match node.op_type() {
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Identity" => x?.values.clone(),
        "Transpose" => {
            let x = x?;
            let own = strides(&x.dims);
            let steps: Vec<usize> = match node.ints("perm").ok()? {
                Some(perm) => perm
                    .iter()
                    .map(|p| own.get(usize::try_from(*p).ok()?).copied())
                    .collect::<Option<_>>()?,
                None => own.into_iter().rev().collect(),
            };
            pick(&x.values, &places(&output.shape, 0, &steps))?
        }
        "Expand" => {
            let x = x?;
            pick(&x.values, &broadcast_places(&x.dims, &output.shape))?
        }
        "Slice" => slice(node, x?, inputs, &output.shape)?,
        "Gather" => gather(node, x?, (*inputs.get(1)?)?)?,
        "Concat" => concat(node, inputs, &output.shape)?,
        "Cast" => cast(&x?.values, output.dtype)?,
        "Where" => {
            let cond = x?.values.to_i64()?;
            let (a, b) = ((*inputs.get(1)?)?, (*inputs.get(2)?)?);
            let c = broadcast_places(&x?.dims, &output.shape);
            let (pa, pb) = (
                broadcast_places(&a.dims, &output.shape),
                broadcast_places(&b.dims, &output.shape),
            );
            // One list of both, and a place in it for each element.
            let both = append(&a.values, &b.values)?;
            let offset = a.values.len();
            let at: Vec<usize> = (0..n)
                .map(|i| {
                    if cond[c[i]] != 0 {
                        pa[i]
                    } else {
                        offset + pb[i]
                    }
                })
                .collect();
            pick(&both, &at)?
        }
        "Shape" | "Size" | "ConstantOfShape" => return None, // from types: `from_types`
        "Neg" | "Abs" | "Floor" | "Ceil" | "Exp" | "Log" | "Sqrt" | "Reciprocal" | "Tanh"
        | "Relu" | "Sign" | "Not" | "Sigmoid" => unary(node.op_type(), &x?.values)?,
        "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceProd" => {
            reduce(node, x?, inputs.get(1).copied().flatten(), output)?
        }
        "Range" => {
            let (start, step) = (x?, (*inputs.get(2)?)?);
            match (start.values.to_i64(), step.values.to_i64()) {
                (Some(a), Some(d)) => {
                    let (a, d) = (*a.first()?, *d.first()?);
                    let list: Vec<i64> = (0..n as i64)
                        .map(|i| d.checked_mul(i)?.checked_add(a))
                        .collect::<Option<_>>()?;
                    from_i64(output.dtype, &list)?
                }
                _ => {
                    let a = *start.values.to_f64()?.first()?;
                    let d = *step.values.to_f64()?.first()?;
                    let list: Vec<f64> = (0..n).map(|i| a + i as f64 * d).collect();
                    from_f64(output.dtype, &list)?
                }
            }
        }
        op => {
            let (a, b) = (x?, (*inputs.get(1)?)?);
            if node.input.len() != 2 {
                return None;
            }
            binary(op, a, b, output)?
        }
    };
    Tensor::new(output.shape.clone(), values)
}

/// The value of a node that only asks for types: `Shape`, `Size`, `ConstantOfShape`.
pub(crate) fn from_types(
    node: &NodeProto,
    input: Option<&TensorType>,
    output: &TensorType,
) -> Option<Tensor> {
    let n = output.elements().filter(|n| *n <= LIMIT)?;
    if !node.is_standard() {
        return None;
    }
    let values = match node.op_type() {
        "Shape" => {
            let shape = &input?.shape;
            let (start, end) = shape_range(node, shape.len())?;
            let list: Vec<i64> = shape
                .get(start..end)?
                .iter()
                .map(|d| i64::try_from(*d).ok())
                .collect::<Option<_>>()?;
            Values::I64(list)
        }
        "Size" => Values::I64(vec![i64::try_from(input?.elements()?).ok()?]),
        "ConstantOfShape" => match node.tensor("value").ok()? {
            Some(t) => pick(&Tensor::read(t).ok()?.values, &vec![0; n])?,
            None => Values::F32(vec![0.0; n]),
        },
        _ => return None,
    };
    Tensor::new(output.shape.clone(), values)
}

/// Which sizes a `Shape` gives.
pub(crate) fn shape_range(node: &NodeProto, rank: usize) -> Option<(usize, usize)> {
    let bound = |name: &str, default: i64| -> Option<usize> {
        let r = i64::try_from(rank).ok()?;
        let v = node.int_or(name, default).ok()?;
        usize::try_from(if v < 0 { v.saturating_add(r) } else { v }.clamp(0, r)).ok()
    };
    let start = bound("start", 0)?;
    Some((start, bound("end", i64::MAX)?.max(start)))
}

fn append(a: &Values, b: &Values) -> Option<Values> {
    macro_rules! both {
        ($($kind:ident),*) => {
            match (a, b) {
                $((Values::$kind(x), Values::$kind(y)) => {
                    Values::$kind(x.iter().chain(y).cloned().collect())
                })*
                _ => return None,
            }
        };
    }
    Some(both!(
        F32, F64, F16, Bf16, I8, I16, I32, I64, U8, U16, U32, U64, Bool, String
    ))
}

/// Start, end (exclusive, -1 below zero), step for each axis of a `Slice`.
pub(crate) fn slice_ranges(
    node: &NodeProto,
    shape: &[usize],
    constant: &dyn Fn(usize) -> Option<Vec<i64>>,
) -> Option<Vec<(i64, i64, i64)>> {
    let list = |name: &str, input: usize| -> Option<Option<Vec<i64>>> {
        if let Some(v) = node.ints(name).ok()? {
            return Some(Some(v.to_vec()));
        }
        match node.input.get(input).filter(|n| !n.is_empty()) {
            Some(_) => Some(Some(constant(input)?)),
            None => Some(None),
        }
    };
    let starts = list("starts", 1)??;
    let ends = list("ends", 2)??;
    let axes = list("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = list("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return None;
    }
    let mut out: Vec<(i64, i64, i64)> = shape
        .iter()
        .map(|d| Some((0, i64::try_from(*d).ok()?, 1)))
        .collect::<Option<_>>()?;
    for (((start, end), axis), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = position(*axis, shape.len())?;
        let size = i64::try_from(shape[axis]).ok()?;
        let from_end = |v: i64| if v < 0 { v.saturating_add(size) } else { v };
        out[axis] = match *step {
            1.. => (
                from_end(*start).clamp(0, size),
                from_end(*end).clamp(0, size),
                *step,
            ),
            ..=-1 => (
                from_end(*start).clamp(-1, size - 1),
                from_end(*end).clamp(-1, size - 1),
                *step,
            ),
            0 => return None,
        };
    }
    Some(out)
}

/// Number of elements of a range.
pub(crate) fn range_len((start, end, step): (i64, i64, i64)) -> usize {
    let span = if step > 0 { end - start } else { start - end };
    if span <= 0 {
        0
    } else {
        (span as u64).div_ceil(step.unsigned_abs()) as usize
    }
}

fn slice(
    node: &NodeProto,
    x: &Tensor,
    inputs: &[Option<&Tensor>],
    shape: &[usize],
) -> Option<Values> {
    let ranges = slice_ranges(node, &x.dims, &|i| (*inputs.get(i)?)?.values.to_i64())?;
    let own = strides(&x.dims);
    let mut at = vec![0usize];
    for ((range, step), size) in ranges.iter().zip(&own).zip(shape) {
        let offsets: Vec<usize> = (0..*size as i64)
            .map(|i| usize::try_from(range.0 + i * range.2).map(|p| p * step))
            .collect::<Result<_, _>>()
            .ok()?;
        at = at
            .iter()
            .flat_map(|base| offsets.iter().map(move |o| base + o))
            .collect();
    }
    pick(&x.values, &at)
}

fn gather(node: &NodeProto, x: &Tensor, indices: &Tensor) -> Option<Values> {
    let axis = position(node.int_or("axis", 0).ok()?, x.dims.len())?;
    let size = x.dims[axis];
    let picked: Vec<usize> = indices
        .values
        .to_i64()?
        .into_iter()
        .map(|i| position(i, size))
        .collect::<Option<_>>()?;
    let outer: usize = x.dims[..axis].iter().product();
    let inner: usize = x.dims[axis + 1..].iter().product();
    let mut at = Vec::new();
    for o in 0..outer {
        for p in &picked {
            at.extend((0..inner).map(|i| (o * size + p) * inner + i));
        }
    }
    pick(&x.values, &at)
}

fn concat(node: &NodeProto, inputs: &[Option<&Tensor>], shape: &[usize]) -> Option<Values> {
    let axis = position(node.int("axis").ok()??, shape.len())?;
    let outer: usize = shape[..axis].iter().product();
    let mut all: Option<Values> = None;
    let mut parts = Vec::new();
    let mut base = 0;
    for t in inputs {
        let t = (*t)?;
        let width: usize = t.dims[axis..].iter().product();
        parts.push((base, width));
        base += t.values.len();
        all = Some(match all {
            None => t.values.clone(),
            Some(a) => append(&a, &t.values)?,
        });
    }
    let mut at = Vec::new();
    for o in 0..outer {
        for (base, width) in &parts {
            at.extend((0..*width).map(|i| base + o * width + i));
        }
    }
    pick(&all?, &at)
}

fn unary(op: &str, values: &Values) -> Option<Values> {
    let dtype = values.dtype();
    if let Some(v) = values.to_i64() {
        let f = match op {
            "Neg" => |x: i64| x.checked_neg(),
            "Abs" => |x: i64| x.checked_abs(),
            "Sign" => |x: i64| Some(x.signum()),
            "Not" => |x: i64| Some(i64::from(x == 0)),
            _ => return None,
        };
        return from_i64(dtype, &v.into_iter().map(f).collect::<Option<Vec<_>>>()?);
    }
    let f = match op {
        "Neg" => |x: f64| -x,
        "Abs" => f64::abs,
        "Sign" => |x: f64| if x == 0.0 { 0.0 } else { x.signum() },
        "Floor" => f64::floor,
        "Ceil" => f64::ceil,
        "Exp" => f64::exp,
        "Log" => f64::ln,
        "Sqrt" => f64::sqrt,
        "Reciprocal" => |x: f64| 1.0 / x,
        "Tanh" => f64::tanh,
        "Sigmoid" => |x: f64| 1.0 / (1.0 + (-x).exp()),
        "Relu" => |x: f64| x.max(0.0),
        _ => return None,
    };
    from_f64(
        dtype,
        &values.to_f64()?.into_iter().map(f).collect::<Vec<_>>(),
    )
}

fn binary(op: &str, a: &Tensor, b: &Tensor, output: &TensorType) -> Option<Values> {
    if a.values.dtype() != b.values.dtype() && op != "Pow" {
        return None;
    }
    if op == "MatMul" {
        return matmul(a, b, output);
    }
    broadcast(&[&a.dims, &b.dims]).filter(|s| *s == output.shape)?;
    let (pa, pb) = (
        broadcast_places(&a.dims, &output.shape),
        broadcast_places(&b.dims, &output.shape),
    );
    if let (Some(x), Some(y)) = (a.values.to_i64(), b.values.to_i64()) {
        let f = match op {
            "Add" => i64::checked_add,
            "Sub" => i64::checked_sub,
            "Mul" => i64::checked_mul,
            // Towards zero, as in C.
            "Div" => i64::checked_div,
            "Mod" => |a: i64, b: i64| {
                let r = a.checked_rem(b)?;
                Some(if r != 0 && (r < 0) != (b < 0) {
                    r + b
                } else {
                    r
                })
            },
            "Max" => |a: i64, b: i64| Some(a.max(b)),
            "Min" => |a: i64, b: i64| Some(a.min(b)),
            "Equal" => |a, b| Some(i64::from(a == b)),
            "Less" => |a, b| Some(i64::from(a < b)),
            "LessOrEqual" => |a, b| Some(i64::from(a <= b)),
            "Greater" => |a, b| Some(i64::from(a > b)),
            "GreaterOrEqual" => |a, b| Some(i64::from(a >= b)),
            "And" => |a, b| Some(i64::from(a != 0 && b != 0)),
            "Or" => |a, b| Some(i64::from(a != 0 || b != 0)),
            "Xor" => |a, b| Some(i64::from((a != 0) != (b != 0))),
            _ => return None,
        };
        let list = pa
            .iter()
            .zip(&pb)
            .map(|(i, j)| f(x[*i], y[*j]))
            .collect::<Option<Vec<_>>>()?;
        return from_i64(output.dtype, &list);
    }
    let f = match op {
        "Add" => |a: f64, b: f64| a + b,
        "Sub" => |a, b| a - b,
        "Mul" => |a, b| a * b,
        "Div" => |a, b| a / b,
        "Pow" => f64::powf,
        "Max" => f64::max,
        "Min" => f64::min,
        "Equal" => |a, b| f64::from(u8::from(a == b)),
        "Less" => |a, b| f64::from(u8::from(a < b)),
        "LessOrEqual" => |a, b| f64::from(u8::from(a <= b)),
        "Greater" => |a, b| f64::from(u8::from(a > b)),
        "GreaterOrEqual" => |a, b| f64::from(u8::from(a >= b)),
        _ => return None,
    };
    let (x, y) = (a.values.to_f64()?, b.values.to_f64()?);
    let list: Vec<f64> = pa.iter().zip(&pb).map(|(i, j)| f(x[*i], y[*j])).collect();
    from_f64(output.dtype, &list)
}

/// Plain matrices only.
fn matmul(a: &Tensor, b: &Tensor, output: &TensorType) -> Option<Values> {
    let ([n, k], [k2, m]) = (a.dims.as_slice(), b.dims.as_slice()) else {
        return None;
    };
    if k != k2 || n.checked_mul(*k)?.checked_mul(*m)? > LIMIT {
        return None;
    }
    let (x, y) = (a.values.to_f64()?, b.values.to_f64()?);
    let mut out = vec![0.0; n * m];
    for i in 0..*n {
        for l in 0..*k {
            for j in 0..*m {
                out[i * m + j] += x[i * k + l] * y[l * m + j];
            }
        }
    }
    from_f64(output.dtype, &out)
}

fn reduce(
    node: &NodeProto,
    x: &Tensor,
    axes: Option<&Tensor>,
    output: &TensorType,
) -> Option<Values> {
    let rank = x.dims.len();
    let named = match (node.ints("axes").ok()?, axes) {
        (Some(v), _) => v.to_vec(),
        (None, Some(t)) => t.values.to_i64()?,
        (None, None) => Vec::new(),
    };
    if named.is_empty() && node.int_or("noop_with_empty_axes", 0).ok()? != 0 {
        return Some(x.values.clone());
    }
    let mut gone = vec![named.is_empty(); rank];
    for a in &named {
        gone[position(*a, rank)?] = true;
    }
    let kept: Vec<usize> = x
        .dims
        .iter()
        .zip(&gone)
        .map(|(d, g)| if *g { 1 } else { *d })
        .collect();
    let to = broadcast_places(&kept, &x.dims);
    let count = elements(&kept)?;
    let group = x.values.len().checked_div(count)?;
    if let (Some(v), false) = (x.values.to_i64(), node.op_type() == "ReduceMean") {
        let mut out: Vec<Option<i64>> = vec![None; count];
        for (value, place) in v.into_iter().zip(&to) {
            out[*place] = Some(match (out[*place], node.op_type()) {
                (None, _) => value,
                (Some(o), "ReduceSum") => o.checked_add(value)?,
                (Some(o), "ReduceProd") => o.checked_mul(value)?,
                (Some(o), "ReduceMax") => o.max(value),
                (Some(o), _) => o.min(value),
            });
        }
        return from_i64(output.dtype, &out.into_iter().collect::<Option<Vec<_>>>()?);
    }
    let mut out: Vec<Option<f64>> = vec![None; count];
    for (value, place) in x.values.to_f64()?.into_iter().zip(&to) {
        out[*place] = Some(match (out[*place], node.op_type()) {
            (None, _) => value,
            (Some(o), "ReduceSum" | "ReduceMean") => o + value,
            (Some(o), "ReduceProd") => o * value,
            (Some(o), "ReduceMax") => o.max(value),
            (Some(o), _) => o.min(value),
        });
    }
    let mut out = out.into_iter().collect::<Option<Vec<f64>>>()?;
    if node.op_type() == "ReduceMean" {
        out.iter_mut().for_each(|v| *v /= group as f64);
    }
    from_f64(output.dtype, &out)
}
