//! Gelu (ONNX Gelu-20): `½·x·(1 + erf(x / √2))`, or with `approximate = "tanh"`
//! `½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`. ONNX Runtime's own `Gelu` is the first,
//! its `FastGelu` the second after an optional bias, its `BiasGelu` the first after a bias,
//! its `QuickGelu` is `x·sigmoid(α·x)`.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, MICROSOFT, Rule, Site};

pub(crate) const GELU: Rule = Rule::new("gelu", "Gelu", gelu);
pub(crate) const MS_GELU: Rule = Rule::of(MICROSOFT, "ms-gelu", "Gelu", plain);
pub(crate) const BIAS: Rule = Rule::of(MICROSOFT, "bias-gelu", "BiasGelu", plain);
pub(crate) const FAST: Rule = Rule::of(MICROSOFT, "fast-gelu", "FastGelu", fast);
pub(crate) const QUICK: Rule = Rule::of(MICROSOFT, "quick-gelu", "QuickGelu", quick);

fn gelu(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    match n.text("approximate", "none")? {
        "none" => by_erf(b, &x),
        "tanh" => by_tanh(b, &x),
        other => Decline::because(format!("its approximation \"{other}\" is unknown")),
    }
}

fn biased(b: &mut Builder<'_>, n: &Site<'_>) -> Done<Operand> {
    let x = n.input(0)?;
    match n.optional(1)? {
        Some(bias) => b.add(&x, &bias),
        None => Ok(x),
    }
}

fn plain(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = biased(b, n)?;
    by_erf(b, &x)
}

fn fast(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = biased(b, n)?;
    by_tanh(b, &x)
}

fn quick(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let t = b.scale(&x, n.float("alpha", 1.702)?)?;
    let t = b.sigmoid(&t)?;
    Ok(vec![b.mul(&x, &t)?])
}

fn by_erf(b: &mut Builder<'_>, x: &Operand) -> Done {
    let t = b.scale(x, std::f64::consts::FRAC_1_SQRT_2)?;
    let t = b.unary("Erf", &t)?;
    half(b, x, &t)
}

fn by_tanh(b: &mut Builder<'_>, x: &Operand) -> Done {
    let square = b.mul(x, x)?;
    let t = b.scale(&square, 0.044_715)?;
    let t = b.add_number(&t, 1.0)?;
    let t = b.mul(&t, x)?;
    let t = b.scale(&t, (2.0 / std::f64::consts::PI).sqrt())?;
    let t = b.tanh(&t)?;
    half(b, x, &t)
}

/// `½·x·(1 + t)`.
fn half(b: &mut Builder<'_>, x: &Operand, t: &Operand) -> Done {
    let t = b.add_number(t, 1.0)?;
    let h = b.scale(x, 0.5)?;
    Ok(vec![b.mul(&h, &t)?])
}
