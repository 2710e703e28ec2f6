//! Hyperbolic functions and their inverses (ONNX Sinh-9 and the like):
//! `sinh(x) = (eˣ − e⁻ˣ)/2`, `cosh(x) = (eˣ + e⁻ˣ)/2`,
//! `asinh(x) = sign(x)·ln(|x| + √(x² + 1))`, `acosh(x) = ln(x + √(x² − 1))`,
//! `atanh(x) = ½·ln((1 + x) / (1 − x))`.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Done, Rule, Site};

pub(crate) const RULES: [Rule; 5] = [
    Rule::new("sinh", "Sinh", of_exp),
    Rule::new("cosh", "Cosh", of_exp),
    Rule::new("asinh", "Asinh", asinh),
    Rule::new("acosh", "Acosh", acosh),
    Rule::new("atanh", "Atanh", atanh),
];

fn of_exp(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let (up, down) = (b.exp(&x)?, b.neg(&x)?);
    let down = b.exp(&down)?;
    let t = if n.operator() == "Sinh" {
        b.sub(&up, &down)?
    } else {
        b.add(&up, &down)?
    };
    Ok(vec![b.scale(&t, 0.5)?])
}

fn asinh(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let (sign, size) = (b.unary("Sign", &x)?, b.abs(&x)?);
    let t = log_of_root(b, &size, 1.0)?;
    Ok(vec![b.mul(&sign, &t)?])
}

fn acosh(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    Ok(vec![log_of_root(b, &x, -1.0)?])
}

/// `ln(x + √(x² + c))`.
fn log_of_root(b: &mut Builder<'_>, x: &Operand, c: f64) -> Done<Operand> {
    let t = b.mul(x, x)?;
    let t = b.add_number(&t, c)?;
    let t = b.sqrt(&t)?;
    let t = b.add(x, &t)?;
    b.log(&t)
}

fn atanh(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let one = b.scalar(&x, 1.0)?;
    let (up, down) = (b.add(&one, &x)?, b.sub(&one, &x)?);
    let t = b.div(&up, &down)?;
    let t = b.log(&t)?;
    Ok(vec![b.scale(&t, 0.5)?])
}
