//! QuantizeLinear `saturate(round(x / scale) + zero_point)` and DequantizeLinear
//! `(x − zero_point)·scale` (ONNX QuantizeLinear-21, DequantizeLinear-21), per tensor or along
//! an axis, for 8- and 16-bit integers.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, Rule, Site, axis};
use dsperse_onnx::DataType;

use super::super::elementwise::round::half_even;

pub(crate) const QUANTIZE: Rule = Rule::new("quantize-linear", "QuantizeLinear", quantize);
pub(crate) const DEQUANTIZE: Rule = Rule::new("dequantize-linear", "DequantizeLinear", dequantize);

/// The least and greatest number of a type.
pub(super) fn range(dtype: DataType) -> Done<(f64, f64)> {
    Ok(match dtype {
        DataType::U8 => (0.0, 255.0),
        DataType::I8 => (-128.0, 127.0),
        DataType::U16 => (0.0, 65_535.0),
        DataType::I16 => (-32_768.0, 32_767.0),
        other => return Decline::because(format!("its quantised type is {other}")),
    })
}

/// A scale or zero point, ready to broadcast: one number, or one for each place of the axis.
fn parameter(b: &mut Builder<'_>, n: &Site<'_>, p: &Operand, x: &Operand) -> Done<Operand> {
    if n.int("block_size", 0)? != 0 {
        return Decline::because("it is quantised by blocks");
    }
    if p.elements() == 1 {
        return b.reshape(p, &[]);
    }
    let at = axis(n.int("axis", 1)?, x.rank())?;
    if p.rank() != 1 || p.size(0) != x.size(at) {
        return Decline::because("its scales do not fit its axis");
    }
    b.along_axis(p, at, x.rank())
}

fn quantize(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, scale, zero) = (n.input(0)?, n.input(1)?, n.optional(2)?);
    let to = match (&zero, n.int("output_dtype", 0)?) {
        (Some(z), _) => z.dtype,
        (None, 0) => DataType::U8,
        (None, number) => DataType::from_number(i32::try_from(number).ok()),
    };
    let (low, high) = range(to)?;
    let x = b.cast(&x, DataType::F32)?;
    let scale = b.cast(&scale, DataType::F32)?;
    let scale = parameter(b, n, &scale, &x)?;
    let y = b.div(&x, &scale)?;
    let mut y = half_even(b, &y)?;
    if let Some(zero) = zero {
        let zero = b.cast(&zero, DataType::F32)?;
        let zero = parameter(b, n, &zero, &x)?;
        y = b.add(&y, &zero)?;
    }
    let y = b.clip(&y, low, high)?;
    Ok(vec![b.cast(&y, to)?])
}

fn dequantize(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, scale) = (n.input(0)?, n.input(1)?);
    if !matches!(x.dtype, DataType::I32) {
        range(x.dtype)?;
    }
    let mut y = b.cast(&x, scale.dtype)?;
    if let Some(zero) = n.optional(2)? {
        let zero = b.cast(&zero, scale.dtype)?;
        let zero = parameter(b, n, &zero, &x)?;
        y = b.sub(&y, &zero)?;
    }
    let scale = parameter(b, n, &scale, &x)?;
    Ok(vec![b.mul(&y, &scale)?])
}
