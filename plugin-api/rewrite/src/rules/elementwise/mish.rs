//! Mish: `x · tanh(softplus(x))` (ONNX Mish-18).

use crate::builder::Builder;
use crate::rule::{Done, Rule, Site};

pub(crate) const RULE: Rule = Rule::new("mish", "Mish", mish);

fn mish(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let t = b.unary("Softplus", &x)?;
    let t = b.tanh(&t)?;
    Ok(vec![b.mul(&x, &t)?])
}
