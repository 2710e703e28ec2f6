//! Inverse sine and cosine (ONNX Asin-7, Acos-7): `asin(x) = atan(x / √(1 − x²))`,
//! `acos(x) = π/2 − asin(x)`.

use crate::builder::Builder;
use crate::rule::{Done, Rule, Site};

pub(crate) const RULES: [Rule; 2] = [
    Rule::new("asin", "Asin", by_tangent),
    Rule::new("acos", "Acos", by_tangent),
];

fn by_tangent(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let t = b.mul(&x, &x)?;
    let t = b.scale(&t, -1.0)?;
    let t = b.add_number(&t, 1.0)?;
    let t = b.sqrt(&t)?;
    let t = b.div(&x, &t)?;
    let y = b.unary("Atan", &t)?;
    if n.operator() == "Asin" {
        return Ok(vec![y]);
    }
    let y = b.scale(&y, -1.0)?;
    Ok(vec![b.add_number(&y, std::f64::consts::FRAC_PI_2)?])
}
