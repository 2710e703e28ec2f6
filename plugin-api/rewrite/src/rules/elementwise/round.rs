//! Round half to even (ONNX Round-11): with `r = ⌊x⌋` and `d = x − r`,
//! `r + [d > ½] + [d = ½]·(r mod 2)`. All steps are exact in floating point.

use crate::builder::Builder;
use crate::rule::{Done, Rule, Site};

pub(crate) const RULE: Rule = Rule::new("round", "Round", round);

fn round(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let r = b.unary("Floor", &x)?;
    let d = b.sub(&x, &r)?;
    let half = b.scalar(&x, 0.5)?;
    let above = b.compare("Greater", &d, &half)?;
    let above = b.cast(&above, x.dtype)?;
    let below = b.compare("Less", &d, &half)?;
    let below = b.cast(&below, x.dtype)?;
    let one = b.scalar(&x, 1.0)?;
    let tie = b.sub(&one, &above)?;
    let tie = b.sub(&tie, &below)?;
    let h = b.scale(&r, 0.5)?;
    let h = b.unary("Floor", &h)?;
    let h = b.scale(&h, 2.0)?;
    let odd = b.sub(&r, &h)?;
    let up = b.mul(&tie, &odd)?;
    let up = b.add(&up, &above)?;
    Ok(vec![b.add(&r, &up)?])
}
