//! Round half to even (ONNX Round-11): with `r = ⌊x⌋` and `d = x − r`,
//! `r + [d > ½] + [d = ½]·(r mod 2)`. All steps are exact in floating point.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Done, Rule, Site};

pub(crate) const RULE: Rule = Rule::new("round", "Round", round);

fn round(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    Ok(vec![by_floor(b, &x)?])
}

/// Half to even, also where the operator set has no Round.
pub(crate) fn half_even(b: &mut Builder<'_>, x: &Operand) -> Done<Operand> {
    if b.opset() >= 11 {
        return b.unary("Round", x);
    }
    by_floor(b, x)
}

fn by_floor(b: &mut Builder<'_>, x: &Operand) -> Done<Operand> {
    let r = b.unary("Floor", x)?;
    let d = b.sub(x, &r)?;
    let half = b.scalar(x, 0.5)?;
    let above = b.compare("Greater", &d, &half)?;
    let above = b.cast(&above, x.dtype)?;
    let below = b.compare("Less", &d, &half)?;
    let below = b.cast(&below, x.dtype)?;
    let one = b.scalar(x, 1.0)?;
    let tie = b.sub(&one, &above)?;
    let tie = b.sub(&tie, &below)?;
    let h = b.scale(&r, 0.5)?;
    let h = b.unary("Floor", &h)?;
    let h = b.scale(&h, 2.0)?;
    let odd = b.sub(&r, &h)?;
    let up = b.mul(&tie, &odd)?;
    let up = b.add(&up, &above)?;
    b.add(&r, &up)
}
