//! Operators between quantised tensors, each as DequantizeLinear of its inputs, the operator
//! on floats, and QuantizeLinear: QLinearConv (ONNX-10), QLinearMatMul (ONNX-21), and of ONNX
//! Runtime QLinearAdd, QLinearMul, QLinearConcat, QLinearSigmoid, QLinearLeakyRelu,
//! QLinearSoftmax, QLinearAveragePool, QLinearGlobalAveragePool, QGemm, MatMulIntegerToFloat
//! and DynamicQuantizeMatMul. Engines round once where this rounds twice, so that results
//! next to a tie may differ by one.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, MICROSOFT, Rule, Site, axis};
use dsperse_onnx::{AttributeProto, DataType};

pub(crate) const RULES: [Rule; 15] = [
    Rule::new("qlinear-conv", "QLinearConv", conv),
    Rule::new("qlinear-matmul", "QLinearMatMul", matmul),
    Rule::of(MICROSOFT, "qlinear-add", "QLinearAdd", binary),
    Rule::of(MICROSOFT, "qlinear-mul", "QLinearMul", binary),
    Rule::of(MICROSOFT, "qlinear-concat", "QLinearConcat", concat),
    Rule::of(MICROSOFT, "qlinear-sigmoid", "QLinearSigmoid", unary),
    Rule::of(MICROSOFT, "qlinear-leaky-relu", "QLinearLeakyRelu", unary),
    Rule::of(MICROSOFT, "qlinear-softmax", "QLinearSoftmax", unary),
    Rule::of(
        MICROSOFT,
        "qlinear-average-pool",
        "QLinearAveragePool",
        unary,
    ),
    Rule::of(
        MICROSOFT,
        "qlinear-global-average-pool",
        "QLinearGlobalAveragePool",
        unary,
    ),
    Rule::of(MICROSOFT, "qgemm", "QGemm", gemm),
    Rule::of(
        MICROSOFT,
        "matmul-integer-to-float",
        "MatMulIntegerToFloat",
        to_float,
    ),
    Rule::of(
        MICROSOFT,
        "dynamic-quantize-matmul",
        "DynamicQuantizeMatMul",
        dynamic,
    ),
    Rule::of(MICROSOFT, "ms-quantize-linear", "QuantizeLinear", standard),
    Rule::of(
        MICROSOFT,
        "ms-dequantize-linear",
        "DequantizeLinear",
        standard,
    ),
];

/// Scale and zero point, the scale a scalar or along an axis.
struct Scaled {
    scale: Operand,
    zero: Option<Operand>,
}

impl Scaled {
    /// From a node's inputs.
    fn at(n: &Site<'_>, scale: usize, zero: usize) -> Done<Self> {
        Ok(Self {
            scale: n.input(scale)?,
            zero: n.optional(zero)?,
        })
    }
}

/// As one number where it is one: some files give a list of one.
fn scalar(b: &mut Builder<'_>, x: &Operand) -> Done<Operand> {
    if x.elements() == 1 {
        b.reshape(x, &[])
    } else {
        Ok(x.clone())
    }
}

/// The floats that quantised elements stand for.
fn floats(b: &mut Builder<'_>, x: &Operand, q: &Scaled, along: usize) -> Done<Operand> {
    let scale = scalar(b, &q.scale)?;
    let zero = match &q.zero {
        Some(zero) => Some(scalar(b, zero)?),
        None => None,
    };
    if scale.rank() > 1 || zero.as_ref().is_some_and(|z| z.rank() > 1) {
        return Decline::because("its scales are neither one number nor a list");
    }
    let by_axis = scale.rank() == 1 || zero.as_ref().is_some_and(|z| z.rank() == 1);
    let same = zero.as_ref().is_none_or(|z| z.rank() == scale.rank());
    if b.opset() >= if by_axis { 13 } else { 10 } && same {
        let inputs = [Some(x), Some(&scale), zero.as_ref()];
        let attributes = match by_axis {
            true => vec![AttributeProto::from_int("axis", along as i64)],
            false => vec![],
        };
        return b.sparse("DequantizeLinear", &inputs, attributes);
    }
    let spread = |b: &mut Builder<'_>, p: &Operand| match p.rank() {
        0 => Ok(p.clone()),
        _ => b.along_axis(p, along, x.rank()),
    };
    let mut y = b.cast(x, scale.dtype)?;
    if let Some(zero) = zero {
        let zero = b.cast(&zero, scale.dtype)?;
        let zero = spread(b, &zero)?;
        y = b.sub(&y, &zero)?;
    }
    let scale = spread(b, &scale)?;
    b.mul(&y, &scale)
}

/// Quantised by one scale and zero point.
fn quantised(b: &mut Builder<'_>, y: &Operand, q: &Scaled) -> Done<Operand> {
    if b.opset() < 10 {
        return Decline::because("its model has an operator set without QuantizeLinear");
    }
    let scale = scalar(b, &q.scale)?;
    let zero = match &q.zero {
        Some(zero) => Some(scalar(b, zero)?),
        None => None,
    };
    if scale.rank() > 0 {
        return Decline::because("its result has more than one scale");
    }
    b.sparse(
        "QuantizeLinear",
        &[Some(y), Some(&scale), zero.as_ref()],
        vec![],
    )
}

/// Integers at the scale of a product, in floats.
fn bias(b: &mut Builder<'_>, c: &Operand, x: &Operand, w: &Operand) -> Done<Operand> {
    let (x, w) = (scalar(b, x)?, scalar(b, w)?);
    let scale = b.mul(&x, &w)?;
    let c = b.cast(c, scale.dtype)?;
    b.mul(&c, &scale)
}

fn conv(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (qx, qw, qy) = (
        Scaled::at(n, 1, 2)?,
        Scaled::at(n, 4, 5)?,
        Scaled::at(n, 6, 7)?,
    );
    let x = floats(b, &n.input(0)?, &qx, 1)?;
    let w = floats(b, &n.input(3)?, &qw, 0)?;
    let c = match n.optional(8)? {
        Some(c) => Some(bias(b, &c, &qx.scale, &qw.scale)?),
        None => None,
    };
    let y = b.sparse(
        "Conv",
        &[Some(&x), Some(&w), c.as_ref()],
        n.node().attribute.clone(),
    )?;
    Ok(vec![quantised(b, &y, &qy)?])
}

fn matmul(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (qx, qw, qy) = (
        Scaled::at(n, 1, 2)?,
        Scaled::at(n, 4, 5)?,
        Scaled::at(n, 6, 7)?,
    );
    let (x, w) = (n.input(0)?, n.input(3)?);
    let (rows, columns) = (x.rank().saturating_sub(2), w.rank().saturating_sub(1));
    let x = floats(b, &x, &qx, rows)?;
    let w = floats(b, &w, &qw, columns)?;
    let y = b.matmul(&x, &w)?;
    Ok(vec![quantised(b, &y, &qy)?])
}

fn binary(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = floats(b, &n.input(0)?, &Scaled::at(n, 1, 2)?, 0)?;
    let w = floats(b, &n.input(3)?, &Scaled::at(n, 4, 5)?, 0)?;
    let y = if n.operator() == "QLinearAdd" {
        b.add(&x, &w)?
    } else {
        b.mul(&x, &w)?
    };
    Ok(vec![quantised(b, &y, &Scaled::at(n, 6, 7)?)?])
}

/// Inputs: scale and zero point of the result, then tensor, scale and zero point of each part.
fn concat(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let mut parts = Vec::new();
    for i in (2..n.node().input.len()).step_by(3) {
        let x = n.input(i)?;
        parts.push(floats(b, &x, &Scaled::at(n, i + 1, i + 2)?, 0)?);
    }
    let Some(first) = parts.first() else {
        return Decline::because("it has no parts");
    };
    let at = axis(n.int("axis", 0)?, first.rank())?;
    let y = b.concat(&parts, at)?;
    Ok(vec![quantised(b, &y, &Scaled::at(n, 0, 1)?)?])
}

fn unary(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = floats(b, &n.input(0)?, &Scaled::at(n, 1, 2)?, 0)?;
    let kept = |names: &[&str]| -> Vec<AttributeProto> {
        let all = n.node().attribute.iter();
        all.filter(|a| names.contains(&a.name())).cloned().collect()
    };
    if n.flag("channels_last", false)? {
        return Decline::because("its channels come last");
    }
    let y = match n.operator() {
        "QLinearSigmoid" => b.sigmoid(&x)?,
        "QLinearLeakyRelu" => b.node("LeakyRelu", &[&x], kept(&["alpha"]))?,
        "QLinearGlobalAveragePool" => b.unary("GlobalAveragePool", &x)?,
        "QLinearSoftmax" => {
            let at = axis(n.int("axis", -1)?, x.rank())?;
            if n.int("opset", 13)? < 13 && at + 1 != x.rank() {
                return Decline::because("it works on several axes at once");
            }
            b.softmax(&x, at)?
        }
        _ => b.node(
            "AveragePool",
            &[&x],
            kept(&[
                "auto_pad",
                "ceil_mode",
                "count_include_pad",
                "kernel_shape",
                "pads",
                "strides",
            ]),
        )?,
    };
    Ok(vec![quantised(b, &y, &Scaled::at(n, 3, 4)?)?])
}

/// Inputs: A, its scale and zero point, B, its scale and zero point, C of 32 bits, scale and
/// zero point of the result; without these the result is of floats.
fn gemm(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (qx, qw) = (Scaled::at(n, 1, 2)?, Scaled::at(n, 4, 5)?);
    let turned = n.flag("transB", false)?;
    let mut x = floats(b, &n.input(0)?, &qx, 0)?;
    let mut w = floats(b, &n.input(3)?, &qw, usize::from(!turned))?;
    if n.flag("transA", false)? {
        x = b.transpose_last(&x)?;
    }
    if turned {
        w = b.transpose_last(&w)?;
    }
    let alpha = n.float("alpha", 1.0)?;
    let y = b.matmul(&x, &w)?;
    let mut y = b.scale(&y, alpha)?;
    if let Some(c) = n.optional(6)? {
        let c = bias(b, &c, &qx.scale, &qw.scale)?;
        let c = b.scale(&c, alpha)?;
        y = b.add(&y, &c)?;
    }
    if n.has(7) {
        y = quantised(b, &y, &Scaled::at(n, 7, 8)?)?;
    }
    Ok(vec![y])
}

/// Inputs: A, B, their scales, their zero points, a bias of floats.
fn to_float(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, w) = (n.input(0)?, n.input(1)?);
    let columns = w.rank().saturating_sub(1);
    let x = floats(b, &x, &Scaled::at(n, 2, 4)?, 0)?;
    let w = floats(b, &w, &Scaled::at(n, 3, 5)?, columns)?;
    let mut y = b.matmul(&x, &w)?;
    if let Some(c) = n.optional(6)? {
        y = b.add(&y, &c)?;
    }
    Ok(vec![y])
}

/// Inputs: A of floats, which is quantised by its own range, B, its scale and zero point, a
/// bias of floats.
fn dynamic(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, w) = (n.input(0)?, n.input(1)?);
    let parts = b.nodes("DynamicQuantizeLinear", &[Some(&x)], vec![], 3)?;
    let [quantised, scale, zero] = parts.as_slice() else {
        return Decline::because("its input has no range");
    };
    let own = Scaled {
        scale: scale.clone(),
        zero: Some(zero.clone()),
    };
    let x = floats(b, quantised, &own, 0)?;
    let columns = w.rank().saturating_sub(1);
    let w = floats(b, &w, &Scaled::at(n, 2, 3)?, columns)?;
    let mut y = b.matmul(&x, &w)?;
    if let Some(c) = n.optional(4)? {
        y = b.add(&y, &c)?;
    }
    Ok(vec![y])
}

/// ONNX Runtime's own copies of the standard's operators.
fn standard(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    if b.opset() < 13 && n.node().attr("axis").is_some() {
        return Decline::because("its model has an operator set without scales along an axis");
    }
    let (x, scale, zero) = (n.input(0)?, n.input(1)?, n.optional(2)?);
    if !matches!(
        if n.operator() == "QuantizeLinear" {
            zero.as_ref().map_or(DataType::U8, |z| z.dtype)
        } else {
            x.dtype
        },
        DataType::U8 | DataType::I8 | DataType::I32
    ) {
        return Decline::because("its quantised type is not one of 8 bits");
    }
    let y = b.sparse(
        n.operator(),
        &[Some(&x), Some(&scale), zero.as_ref()],
        n.node().attribute.clone(),
    )?;
    Ok(vec![y])
}
