//! Mod (ONNX Mod-13). With `fmod = 1` the result has the dividend's sign:
//! `a − b·trunc(a / b)`; with `fmod = 0`, for integers, the divisor's: `a − b·⌊a / b⌋`.

use crate::builder::Builder;
use crate::rule::{Done, Rule, Site};

pub(crate) const RULE: Rule = Rule::new("mod", "Mod", modulo);

fn modulo(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, y) = (n.input(0)?, n.input(1)?);
    let fmod = n.flag("fmod", false)?;
    let quotient = b.div(&x, &y)?;
    let whole = if !x.dtype.is_float() {
        // Division of integers goes towards zero.
        quotient
    } else if fmod {
        let sign = b.unary("Sign", &quotient)?;
        let size = b.abs(&quotient)?;
        let size = b.unary("Floor", &size)?;
        b.mul(&sign, &size)?
    } else {
        b.unary("Floor", &quotient)?
    };
    let product = b.mul(&whole, &y)?;
    let rest = b.sub(&x, &product)?;
    if x.dtype.is_float() || fmod {
        return Ok(vec![rest]);
    }
    // A rest of the other sign than the divisor's is one divisor too low.
    let product = b.mul(&rest, &y)?;
    let zero = b.scalar(&rest, 0.0)?;
    let wrong = b.compare("Less", &product, &zero)?;
    let wrong = b.cast(&wrong, y.dtype)?;
    let more = b.mul(&wrong, &y)?;
    Ok(vec![b.add(&rest, &more)?])
}
