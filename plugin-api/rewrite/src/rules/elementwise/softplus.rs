//! Softplus: `ln(1 + exp(x))` (ONNX Softplus-1), as `relu(x) + ln(1 + exp(−|x|))`, which
//! does not overflow.

use crate::builder::Builder;
use crate::rule::{Done, Rule, Site};

pub(crate) const RULE: Rule = Rule::new("softplus", "Softplus", softplus);

fn softplus(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let size = b.abs(&x)?;
    let e = b.neg(&size)?;
    let e = b.exp(&e)?;
    let e = b.add_number(&e, 1.0)?;
    let log = b.log(&e)?;
    let positive = b.relu(&x)?;
    Ok(vec![b.add(&positive, &log)?])
}
