//! LpNormalization (ONNX LpNormalization-22): `x` divided by its 1- or 2-norm along an axis;
//! MeanVarianceNormalization (ONNX-13): `(x − μ) / (√v + 1e−9)`, with `v = mean(x²) − μ²`.

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site, axes, axis};
use dsperse_onnx::DataType;

pub(crate) const RULE: Rule = Rule::new("lp-normalization", "LpNormalization", lp);
pub(crate) const MEAN_VARIANCE: Rule = Rule::new(
    "mean-variance-normalization",
    "MeanVarianceNormalization",
    mean_variance,
);

fn lp(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let at = axis(n.int("axis", -1)?, x.rank())?;
    let norm = match n.int("p", 2)? {
        1 => b.reduce("ReduceL1", &x, &[at], true)?,
        2 => b.reduce("ReduceL2", &x, &[at], true)?,
        p => return Decline::because(format!("its p is {p}")),
    };
    // All zeros stay zeros.
    let least = b.scalar(
        &norm,
        if x.dtype == DataType::F16 {
            1e-7
        } else {
            1e-30
        },
    )?;
    let norm = b.max(&norm, &least)?;
    Ok(vec![b.div(&x, &norm)?])
}

fn mean_variance(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let over = axes(n.ints("axes")?.unwrap_or(&[0, 2, 3]), x.rank())?;
    let mean = b.mean(&x, &over, true)?;
    let d = b.sub(&x, &mean)?;
    let square = b.mul(&d, &d)?;
    let variance = b.mean(&square, &over, true)?;
    let deviation = b.sqrt(&variance)?;
    let deviation = b.add_number(&deviation, 1e-9)?;
    Ok(vec![b.div(&d, &deviation)?])
}
