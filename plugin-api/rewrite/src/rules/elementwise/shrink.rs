//! Shrink (ONNX Shrink-9): `x + bias` where `x < −λ`, `x − bias` where `x > λ`, else 0.

use crate::builder::Builder;
use crate::rule::{Done, Rule, Site};

pub(crate) const RULE: Rule = Rule::new("shrink", "Shrink", shrink);

fn shrink(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let (lambda, bias) = (n.float("lambd", 0.5)?, n.float("bias", 0.0)?);
    let (low, high) = (b.scalar(&x, -lambda)?, b.scalar(&x, lambda)?);
    let below = b.compare("Less", &x, &low)?;
    let below = b.cast(&below, x.dtype)?;
    let above = b.compare("Greater", &x, &high)?;
    let above = b.cast(&above, x.dtype)?;
    let up = b.add_number(&x, bias)?;
    let down = b.add_number(&x, -bias)?;
    let (up, down) = (b.mul(&below, &up)?, b.mul(&above, &down)?);
    Ok(vec![b.add(&up, &down)?])
}
