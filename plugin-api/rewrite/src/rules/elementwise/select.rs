//! Where (ONNX Where-16) as arithmetic: `c·a + (1 − c)·b`, for operands that are finite.

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site};

pub(crate) const RULE: Rule = Rule::new("where", "Where", select);

fn select(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (c, x, y) = (n.input(0)?, n.input(1)?, n.input(2)?);
    for side in [&x, &y] {
        // Infinity times zero is no number, and a great number costs precision.
        if let Ok(v) = b.floats_of(side)
            && !v.iter().all(|v| v.abs() < 1e6)
        {
            return Decline::because(format!(
                "\"{}\" holds numbers too large for a sum of products",
                side.name
            ));
        }
    }
    let c = b.cast(&c, x.dtype)?;
    let one = b.scalar(&x, 1.0)?;
    let not = b.sub(&one, &c)?;
    let (x, y) = (b.mul(&c, &x)?, b.mul(&not, &y)?);
    Ok(vec![b.add(&x, &y)?])
}
