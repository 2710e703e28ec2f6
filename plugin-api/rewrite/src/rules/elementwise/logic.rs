//! Booleans as numbers 0 and 1 (ONNX And-7, Or-7, Not-1): `a ∧ b = a·b`,
//! `a ∨ b = a + b − a·b`, `¬a = 1 − a`. IsNaN (ONNX IsNaN-20): only what is no number is
//! unequal to itself.

use crate::builder::Builder;
use crate::rule::{Done, Rule, Site};
use dsperse_onnx::DataType;

pub(crate) const RULES: [Rule; 4] = [
    Rule::new("and", "And", both),
    Rule::new("or", "Or", either),
    Rule::new("not", "Not", not),
    Rule::new("is-nan", "IsNaN", no_number),
];

fn both(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, y) = (n.input(0)?, n.input(1)?);
    let (x, y) = (b.cast(&x, DataType::F32)?, b.cast(&y, DataType::F32)?);
    let z = b.mul(&x, &y)?;
    Ok(vec![b.cast(&z, DataType::Bool)?])
}

fn either(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, y) = (n.input(0)?, n.input(1)?);
    let (x, y) = (b.cast(&x, DataType::F32)?, b.cast(&y, DataType::F32)?);
    let (sum, product) = (b.add(&x, &y)?, b.mul(&x, &y)?);
    let z = b.sub(&sum, &product)?;
    Ok(vec![b.cast(&z, DataType::Bool)?])
}

fn not(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let x = b.cast(&x, DataType::F32)?;
    let one = b.scalar(&x, 1.0)?;
    let z = b.sub(&one, &x)?;
    Ok(vec![b.cast(&z, DataType::Bool)?])
}

fn no_number(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let same = b.compare("Equal", &x, &x)?;
    Ok(vec![b.unary("Not", &same)?])
}
