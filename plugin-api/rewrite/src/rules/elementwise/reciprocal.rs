//! Reciprocal: `1 / x` (ONNX Reciprocal-13).

use crate::builder::Builder;
use crate::rule::{Done, Rule, Site};

pub(crate) const RULE: Rule = Rule::new("reciprocal", "Reciprocal", reciprocal);

fn reciprocal(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let one = b.scalar(&x, 1.0)?;
    Ok(vec![b.div(&one, &x)?])
}
