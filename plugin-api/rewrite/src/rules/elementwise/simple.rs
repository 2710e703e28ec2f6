//! Operators that are one line of others (ONNX's definitions): `|x| = relu(x) + relu(−x)`,
//! `−x = (−1)·x`, `sign(x) = [x > 0] − [x < 0]`, `⌈x⌉ = −⌊−x⌋`, `relu(x) = max(x, 0)`,
//! Clip as `min(max(x, low), high)`, `cos(x) = sin(x + π/2)`, `tan = sin / cos`,
//! `a ≥ b = ¬(a < b)`, `a ≤ b = ¬(a > b)` for numbers, `a xor b = (a ∧ ¬b) ∨ (¬a ∧ b)`.

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site};

pub(crate) const RULES: [Rule; 14] = [
    Rule::new("abs", "Abs", abs),
    Rule::new("neg", "Neg", neg),
    Rule::new("sign", "Sign", sign),
    Rule::new("ceil", "Ceil", ceil),
    Rule::new("relu", "Relu", relu),
    Rule::new("clip", "Clip", clip),
    Rule::new("cos", "Cos", cos),
    Rule::new("tan", "Tan", tan),
    Rule::new("greater-or-equal", "GreaterOrEqual", not_opposite),
    Rule::new("less-or-equal", "LessOrEqual", not_opposite),
    Rule::new("xor", "Xor", xor),
    Rule::new("cast-like", "CastLike", cast_like),
    Rule::new("dropout", "Dropout", dropout),
    Rule::new("identity", "Identity", identity),
];

fn abs(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let (p, m) = (b.relu(&x)?, b.neg(&x)?);
    let m = b.relu(&m)?;
    Ok(vec![b.add(&p, &m)?])
}

fn neg(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    Ok(vec![b.scale(&x, -1.0)?])
}

fn sign(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let zero = b.scalar(&x, 0.0)?;
    let p = b.compare("Greater", &x, &zero)?;
    let m = b.compare("Less", &x, &zero)?;
    let (p, m) = (b.cast(&p, x.dtype)?, b.cast(&m, x.dtype)?);
    Ok(vec![b.sub(&p, &m)?])
}

fn ceil(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let t = b.neg(&x)?;
    let t = b.unary("Floor", &t)?;
    Ok(vec![b.neg(&t)?])
}

fn relu(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let zero = b.scalar(&x, 0.0)?;
    Ok(vec![b.max(&x, &zero)?])
}

fn clip(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let mut x = n.input(0)?;
    for (i, name) in ["min", "max"].iter().enumerate() {
        let bound = match (n.node().float(name)?, n.optional(i + 1)?) {
            (Some(v), _) => Some(b.scalar(&x, f64::from(v))?),
            (None, given) => given,
        };
        if let Some(bound) = bound {
            x = if i == 0 {
                b.max(&x, &bound)?
            } else {
                b.min(&x, &bound)?
            };
        }
    }
    Ok(vec![x])
}

fn cos(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let t = b.add_number(&x, std::f64::consts::FRAC_PI_2)?;
    Ok(vec![b.unary("Sin", &t)?])
}

fn tan(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let (s, c) = (b.unary("Sin", &x)?, b.unary("Cos", &x)?);
    Ok(vec![b.div(&s, &c)?])
}

fn not_opposite(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, y) = (n.input(0)?, n.input(1)?);
    let opposite = if n.operator() == "GreaterOrEqual" {
        "Less"
    } else {
        "Greater"
    };
    let t = b.compare(opposite, &x, &y)?;
    Ok(vec![b.unary("Not", &t)?])
}

fn xor(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, y) = (n.input(0)?, n.input(1)?);
    let (nx, ny) = (b.unary("Not", &x)?, b.unary("Not", &y)?);
    let left = b.node("And", &[&x, &ny], vec![])?;
    let right = b.node("And", &[&nx, &y], vec![])?;
    Ok(vec![b.node("Or", &[&left, &right], vec![])?])
}

fn cast_like(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, like) = (n.input(0)?, n.input(1)?);
    Ok(vec![b.cast(&x, like.dtype)?])
}

/// Outside of training, a Dropout drops nothing.
fn dropout(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    if n.has(2) {
        let training = n.input(2)?;
        if b.ints_of(&training)?.iter().any(|t| *t != 0) {
            return Decline::because("it is in training mode");
        }
    }
    Ok(vec![n.input(0)?])
}

fn identity(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let target: Vec<i64> = x.shape.iter().map(|d| *d as i64).collect();
    let target = b.ints(&target);
    Ok(vec![b.node("Reshape", &[&x, &target], vec![])?])
}
