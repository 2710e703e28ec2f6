//! Pow (ONNX Pow-15) for a constant exponent: `x²` and other small whole powers as
//! products, `x^½` and `x^¼` as Sqrt, negative ones as `1 / x^|e|`; for a positive constant
//! base, `exp(y·ln a)`; in general `exp(y·ln x)`, which has no value where `x` is negative.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, Rule, Site};

pub(crate) const RULE: Rule = Rule::new("pow", "Pow", pow);
pub(crate) const GENERAL: Rule = Rule::new("pow-exp-log", "Pow", general);

/// Largest whole exponent that becomes products.
const MOST: f64 = 64.0;

fn pow(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, y) = (n.input(0)?, n.input(1)?);
    if let Ok(base) = b.scalar_of(&x) {
        if base <= 0.0 {
            return Decline::because("its base is not positive");
        }
        let y = b.cast(&y, x.dtype)?;
        let t = b.scale(&y, base.ln())?;
        return Ok(vec![b.exp(&t)?]);
    }
    let e = b.scalar_of(&y)?;
    let size = e.abs();
    // An exponent with more axes would make a result with more axes.
    if y.rank() > x.rank() {
        return Decline::because("its exponent has more axes than its base");
    }
    let power = match size.fract() {
        0.0 if (1.0..=MOST).contains(&size) => whole(b, &x, size as u32)?,
        f if (f * 4.0).fract() == 0.0 && size < MOST => {
            let half = b.sqrt(&x)?;
            let root = if f == 0.5 {
                half
            } else {
                let quarter = b.sqrt(&half)?;
                if f > 0.5 {
                    b.mul(&half, &quarter)?
                } else {
                    quarter
                }
            };
            match size as u32 {
                0 => root,
                k => {
                    let p = whole(b, &x, k)?;
                    b.mul(&p, &root)?
                }
            }
        }
        _ => return Decline::because(format!("its exponent is {e}")),
    };
    if e > 0.0 {
        return Ok(vec![power]);
    }
    let one = b.scalar(&x, 1.0)?;
    Ok(vec![b.div(&one, &power)?])
}

/// `xᵏ` for `k ≥ 1`, by squaring.
fn whole(b: &mut Builder<'_>, x: &Operand, k: u32) -> Done<Operand> {
    let mut out: Option<Operand> = None;
    let mut square = x.clone();
    let mut k = k;
    loop {
        if k % 2 == 1 {
            out = Some(match out {
                None => square.clone(),
                Some(o) => b.mul(&o, &square)?,
            });
        }
        k /= 2;
        if k == 0 {
            break;
        }
        square = b.mul(&square, &square)?;
    }
    out.ok_or_else(|| Decline("its exponent is 0".into()))
}

fn general(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, y) = (n.input(0)?, n.input(1)?);
    if !x.dtype.is_float() {
        return Decline::because("its base is of integers");
    }
    // A whole power of a negative number is one, but its logarithm is none.
    if b.floats_of(&y)
        .is_ok_and(|v| v.iter().any(|e| e.fract() == 0.0))
    {
        return Decline::because("its exponent is whole, and its base may be negative");
    }
    let y = b.cast(&y, x.dtype)?;
    let log = b.log(&x)?;
    let t = b.mul(&y, &log)?;
    Ok(vec![b.exp(&t)?])
}
