//! ArgMax and ArgMin (ONNX ArgMax-13): with the maximum `m` over an axis of `n` elements, the
//! first place is `n − 1 − max([x ≥ m]·(n − 1 − i))`, the last one `max([x ≥ m]·i)`.

use crate::builder::Builder;
use crate::rule::{Done, Rule, Site, axis};
use dsperse_onnx::DataType;

pub(crate) const MAX: Rule = Rule::new("arg-max", "ArgMax", arg);
pub(crate) const MIN: Rule = Rule::new("arg-min", "ArgMin", arg);

fn arg(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let mut x = n.input(0)?;
    // What has no sign, or no maximum in every engine, is exact in 64 bits.
    if !x.dtype.is_float() && x.dtype != DataType::I32 {
        x = b.cast(&x, DataType::I64)?;
    }
    let at = axis(n.int("axis", 0)?, x.rank())?;
    let last = n.flag("select_last_index", false)?;
    if n.operator() == "ArgMin" {
        x = b.neg(&x)?;
    }
    let max = b.reduce("ReduceMax", &x, &[at], true)?;
    let hit = b.compare("GreaterOrEqual", &x, &max)?;
    let hit = b.cast(&hit, x.dtype)?;
    let size = x.size(at);
    #[allow(clippy::cast_precision_loss)] // places along an axis
    let places: Vec<f64> = (0..size)
        .map(|i| {
            if last {
                i as f64
            } else {
                (size - 1 - i) as f64
            }
        })
        .collect();
    let places = b.numbers(x.dtype, &[size], &places)?;
    let places = b.along_axis(&places, at, x.rank())?;
    let hit = b.mul(&hit, &places)?;
    let mut y = b.reduce("ReduceMax", &hit, &[at], n.flag("keepdims", true)?)?;
    if !last {
        #[allow(clippy::cast_precision_loss)] // a place along an axis
        let end = b.scalar(&y, (size - 1) as f64)?;
        y = b.sub(&end, &y)?;
    }
    Ok(vec![b.cast(&y, DataType::I64)?])
}
