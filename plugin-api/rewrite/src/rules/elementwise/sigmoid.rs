//! Sigmoid: `1 / (1 + exp(−x))` (ONNX Sigmoid-13); Tanh: `2·sigmoid(2·x) − 1` (ONNX
//! Tanh-13); Swish: `x·sigmoid(α·x)` (ONNX Swish-24).

use crate::builder::Builder;
use crate::rule::{Done, Rule, Site};

pub(crate) const SIGMOID: Rule = Rule::new("sigmoid", "Sigmoid", sigmoid);
pub(crate) const TANH: Rule = Rule::new("tanh", "Tanh", tanh);
pub(crate) const SWISH: Rule = Rule::new("swish", "Swish", swish);

fn sigmoid(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let e = b.neg(&x)?;
    let e = b.exp(&e)?;
    let e = b.add_number(&e, 1.0)?;
    let one = b.scalar(&x, 1.0)?;
    Ok(vec![b.div(&one, &e)?])
}

fn tanh(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let t = b.scale(&x, 2.0)?;
    let t = b.sigmoid(&t)?;
    let t = b.scale(&t, 2.0)?;
    Ok(vec![b.add_number(&t, -1.0)?])
}

fn swish(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let t = b.scale(&x, n.float("alpha", 1.0)?)?;
    let t = b.sigmoid(&t)?;
    Ok(vec![b.mul(&x, &t)?])
}
