//! HardSigmoid: `max(0, min(1, α·x + β))` (ONNX HardSigmoid-6); HardSwish: `x` times that
//! with `α = 1/6`, `β = 1/2` (ONNX HardSwish-14).

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Done, Rule, Site};

pub(crate) const SIGMOID: Rule = Rule::new("hard-sigmoid", "HardSigmoid", hard_sigmoid);
pub(crate) const SWISH: Rule = Rule::new("hard-swish", "HardSwish", hard_swish);

fn hard_sigmoid(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let (alpha, beta) = (n.float("alpha", 0.2)?, n.float("beta", 0.5)?);
    Ok(vec![line(b, &x, alpha, beta)?])
}

fn hard_swish(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let t = line(b, &x, 1.0 / 6.0, 0.5)?;
    Ok(vec![b.mul(&x, &t)?])
}

/// `max(0, min(1, α·x + β))`.
pub(crate) fn line(b: &mut Builder<'_>, x: &Operand, alpha: f64, beta: f64) -> Done<Operand> {
    let t = b.scale(x, alpha)?;
    let t = b.add_number(&t, beta)?;
    b.clip(&t, 0.0, 1.0)
}
