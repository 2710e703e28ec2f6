//! MatMulInteger (ONNX-10) and ConvInteger (ONNX-10): products of `x − zero_point` in single
//! precision, which are exact as long as every sum stays below 2²⁴, cast to 32 bits. Longer
//! sums are cut into parts that are added as integers. DynamicQuantizeLinear (ONNX-11): with
//! the range `[min(0, x), max(0, x)]`, the scale is its width / 255 and the zero point
//! `round(−min / scale)`.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, Rule, Site};
use dsperse_onnx::DataType;

use super::super::elementwise::round::half_even;

use super::linear::range;

pub(crate) const MATMUL: Rule = Rule::new("matmul-integer", "MatMulInteger", matmul);
pub(crate) const CONV: Rule = Rule::new("conv-integer", "ConvInteger", conv);
pub(crate) const DYNAMIC: Rule =
    Rule::new("dynamic-quantize-linear", "DynamicQuantizeLinear", dynamic);

/// Integers up to here are exact in single precision.
const EXACT: f64 = 16_777_216.0;

/// An input without its zero point, as single floats, and the greatest absolute value that an
/// element can have. A zero point for each row or column goes along `axis`.
fn centred(
    b: &mut Builder<'_>,
    n: &Site<'_>,
    (x, zero): (usize, usize),
    axis: usize,
) -> Done<(Operand, f64)> {
    let x = n.input(x)?;
    let (low, high) = range(x.dtype)?;
    let mut y = b.cast(&x, DataType::F32)?;
    let Some(zero) = n.optional(zero)? else {
        return Ok((y, low.abs().max(high)));
    };
    let bound = match b.floats_of(&zero) {
        Ok(list) => list.iter().fold(0.0, |m: f64, z| {
            m.max((low - z).abs()).max((high - z).abs())
        }),
        Err(_) => high - low,
    };
    let zero = b.cast(&zero, DataType::F32)?;
    let zero = match zero.elements() {
        1 => b.reshape(&zero, &[])?,
        _ if zero.rank() == 1 => b.along_axis(&zero, axis, x.rank())?,
        _ => zero,
    };
    y = b.sub(&y, &zero)?;
    Ok((y, bound))
}

/// Cuts `0..bounds.len()` into runs whose bounds sum to what is exact.
fn runs(bounds: &[f64]) -> Vec<(usize, usize)> {
    let mut out: Vec<(usize, usize)> = Vec::new();
    let mut sum = f64::INFINITY;
    for (i, bound) in bounds.iter().enumerate() {
        sum += bound;
        match out.last_mut() {
            Some((_, end)) if sum < EXACT => *end = i + 1,
            _ => {
                out.push((i, i + 1));
                sum = *bound;
            }
        }
    }
    out
}

/// The sum of the parts' results as 32-bit integers.
fn total(b: &mut Builder<'_>, parts: Vec<Operand>) -> Done<Operand> {
    let mut sum: Option<Operand> = None;
    for part in parts {
        let part = b.cast(&part, DataType::I32)?;
        sum = Some(match sum {
            None => part,
            Some(s) => b.add(&s, &part)?,
        });
    }
    sum.ok_or_else(|| Decline("it sums nothing".into()))
}

fn matmul(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let rows = n.input(0)?.rank().saturating_sub(2);
    let columns = n.input(1)?.rank().saturating_sub(1);
    let ((x, mx), (w, mw)) = (
        centred(b, n, (0, 2), rows)?,
        centred(b, n, (1, 3), columns)?,
    );
    let depth = x.size(x.rank().saturating_sub(1));
    // Of constant weights, the greatest in each row says more than the type does.
    let bounds: Vec<f64> = match (b.floats_of(&w), w.shape.as_slice()) {
        (Ok(v), [k, m]) if *k == depth => v
            .chunks((*m).max(1))
            .map(|row| mx * row.iter().fold(0.0, |a: f64, v| a.max(v.abs())))
            .collect(),
        _ => vec![mx * mw; depth],
    };
    let mut parts = Vec::new();
    for (start, end) in runs(&bounds) {
        let part = b.slice(&x, x.rank().saturating_sub(1), start, end)?;
        let other = b.slice(&w, w.rank().saturating_sub(2), start, end)?;
        parts.push(b.matmul(&part, &other)?);
    }
    Ok(vec![total(b, parts)?])
}

fn conv(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    // ONNX Runtime pads with the zero point, so with 0 once it is subtracted.
    let ((x, mx), (w, mw)) = (centred(b, n, (0, 2), 0)?, centred(b, n, (1, 3), 0)?);
    let ([_, inner, kernel @ ..], group) = (w.shape.as_slice(), n.int("group", 1)?) else {
        return Decline::because("its weights have no channels");
    };
    let taps: usize = kernel.iter().product();
    #[allow(clippy::cast_precision_loss)] // the size of a window
    let bounds = match b.floats_of(&w) {
        Ok(v) => {
            let mut bounds = vec![0.0; *inner];
            for filter in v.chunks((inner * taps).max(1)) {
                for (i, window) in filter.chunks(taps.max(1)).enumerate() {
                    let sum: f64 = window.iter().map(|v| v.abs()).sum();
                    bounds[i] = f64::max(bounds[i], mx * sum);
                }
            }
            bounds
        }
        Err(_) => vec![mx * mw * taps as f64; *inner],
    };
    let runs = runs(&bounds);
    if runs.len() > 1 && group != 1 {
        return Decline::because("its sums are not exact in floats, and it has groups");
    }
    let mut parts = Vec::new();
    for (start, end) in runs {
        let (part, other) = match group {
            1 => (b.slice(&x, 1, start, end)?, b.slice(&w, 1, start, end)?),
            _ => (x.clone(), w.clone()),
        };
        parts.push(b.node("Conv", &[&part, &other], n.node().attribute.clone())?);
    }
    Ok(vec![total(b, parts)?])
}

fn dynamic(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let over: Vec<usize> = (0..x.rank()).collect();
    let high = b.reduce("ReduceMax", &x, &over, false)?;
    let high = b.relu(&high)?;
    let low = b.neg(&x)?;
    let low = b.reduce("ReduceMax", &low, &over, false)?;
    // That is −min(0, x).
    let low = b.relu(&low)?;
    let width = b.add(&high, &low)?;
    let scale = b.scale(&width, 1.0 / 255.0)?;
    // A scale of 0, for zeros only, is 1.
    let zero = b.scalar(&scale, 0.0)?;
    let positive = b.compare("Greater", &scale, &zero)?;
    let positive = b.cast(&positive, x.dtype)?;
    let one = b.scalar(&scale, 1.0)?;
    let none = b.sub(&one, &positive)?;
    let scale = b.add(&scale, &none)?;
    let point = b.div(&low, &scale)?;
    let point = half_even(b, &point)?;
    let point = b.clip(&point, 0.0, 255.0)?;
    let y = b.div(&x, &scale)?;
    let y = half_even(b, &y)?;
    let y = b.add(&y, &point)?;
    let y = b.clip(&y, 0.0, 255.0)?;
    Ok(vec![
        b.cast(&y, DataType::U8)?,
        scale,
        b.cast(&point, DataType::U8)?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_stay_exact() {
        assert_eq!(runs(&[1.0, 2.0]), [(0, 2)]);
        assert_eq!(
            runs(&[EXACT - 1.0, 1.0, 1.0, EXACT]),
            [(0, 1), (1, 3), (3, 4)]
        );
        assert!(runs(&[]).is_empty());
    }
}
