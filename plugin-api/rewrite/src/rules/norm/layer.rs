//! LayerNormalization (ONNX LayerNormalization-17): with the mean `μ` over the axes from
//! `axis` on and `v = mean((x − μ)²)`, `(x − μ) / √(v + ε) · scale + bias`. The further
//! outputs are `μ` and `1 / √(v + ε)`. ONNX Runtime's `SkipLayerNormalization` normalises
//! the sum of its inputs.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, MICROSOFT, Rule, Site, axis};

pub(crate) const RULE: Rule = Rule::new("layer-normalization", "LayerNormalization", layer);
pub(crate) const SKIP: Rule = Rule::of(
    MICROSOFT,
    "skip-layer-normalization",
    "SkipLayerNormalization",
    skip,
);
pub(crate) const SKIP_SIMPLE: Rule = Rule::of(
    MICROSOFT,
    "skip-simplified-layer-normalization",
    "SkipSimplifiedLayerNormalization",
    skip,
);

fn layer(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let from = axis(n.int("axis", -1)?, x.rank())?;
    let over: Vec<usize> = (from..x.rank()).collect();
    let epsilon = n.float("epsilon", 1e-5)?;
    let (y, mean, inverse) = standardised(b, &x, &over, epsilon, n.output_is_used(2))?;
    let y = affine(b, &y, n.optional(1)?, n.optional(2)?)?;
    let mut out = vec![y];
    if n.output_is_used(1) || n.output_is_used(2) {
        out.push(mean);
        out.extend(inverse);
    }
    Ok(out)
}

/// `(x − μ) / √(v + ε)` over axes, `μ` and, where asked for, `1 / √(v + ε)`.
pub(crate) fn standardised(
    b: &mut Builder<'_>,
    x: &Operand,
    over: &[usize],
    epsilon: f64,
    inverse: bool,
) -> Done<(Operand, Operand, Option<Operand>)> {
    let mean = b.mean(x, over, true)?;
    let d = b.sub(x, &mean)?;
    let square = b.mul(&d, &d)?;
    let variance = b.mean(&square, over, true)?;
    let v = b.add_number(&variance, epsilon)?;
    let deviation = b.sqrt(&v)?;
    let inverse = if inverse {
        let one = b.scalar(&deviation, 1.0)?;
        Some(b.div(&one, &deviation)?)
    } else {
        None
    };
    Ok((b.div(&d, &deviation)?, mean, inverse))
}

/// `x·scale + bias`, each where given.
pub(crate) fn affine(
    b: &mut Builder<'_>,
    x: &Operand,
    scale: Option<Operand>,
    bias: Option<Operand>,
) -> Done<Operand> {
    let mut x = x.clone();
    if let Some(scale) = scale {
        x = b.mul(&x, &scale)?;
    }
    if let Some(bias) = bias {
        x = b.add(&x, &bias)?;
    }
    Ok(x)
}

/// Inputs: input, skip, gamma, then beta (not in the simplified one), then bias.
fn skip(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let simple = n.operator() == "SkipSimplifiedLayerNormalization";
    let (x, skip) = (n.input(0)?, n.input(1)?);
    let mut sum = b.add(&x, &skip)?;
    if let Some(bias) = n.optional(if simple { 3 } else { 4 })? {
        sum = b.add(&sum, &bias)?;
    }
    let over = [sum.rank().saturating_sub(1)];
    let epsilon = n.float("epsilon", if simple { 1e-5 } else { 1e-12 })?;
    let (y, beta) = if simple {
        (super::rms::scaled(b, &sum, &over, epsilon)?.0, None)
    } else {
        (
            standardised(b, &sum, &over, epsilon, false)?.0,
            n.optional(3)?,
        )
    };
    let y = affine(b, &y, n.optional(2)?, beta)?;
    if n.output_is_used(1) || n.output_is_used(2) {
        return Decline::because("its mean or deviation is used");
    }
    if n.output_is_used(3) {
        return Ok(vec![y, sum.clone(), sum.clone(), sum]);
    }
    Ok(vec![y])
}
