//! Softmax, LogSoftmax and Hardmax along an axis (ONNX Softmax-13, LogSoftmax-13,
//! Hardmax-13; before opset 13 along all axes from the given one on). With
//! `d = x − max(x)`: Softmax is `exp(d) / Σ exp(d)`, LogSoftmax `d − ln Σ exp(d)`.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Done, Rule, Site, axis};

pub(crate) const SOFTMAX: Rule = Rule::new("softmax", "Softmax", softmax);
pub(crate) const LOG: Rule = Rule::new("log-softmax", "LogSoftmax", softmax);
pub(crate) const LOG_OF: Rule = Rule::new("log-of-softmax", "LogSoftmax", log_of_softmax);

fn softmax(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let (flat, axis) = rows(b, n, &x)?;
    let max = b.reduce("ReduceMax", &flat, &[axis], true)?;
    let d = b.sub(&flat, &max)?;
    let e = b.exp(&d)?;
    let sum = b.sum(&e, &[axis], true)?;
    let out = if n.operator() == "Softmax" {
        b.div(&e, &sum)?
    } else {
        let log = b.log(&sum)?;
        b.sub(&d, &log)?
    };
    Ok(vec![b.reshape(&out, &x.shape)?])
}

/// For whoever has Softmax and Log, but no maximum.
fn log_of_softmax(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let (flat, axis) = rows(b, n, &x)?;
    let s = b.softmax(&flat, axis)?;
    let out = b.log(&s)?;
    Ok(vec![b.reshape(&out, &x.shape)?])
}

/// The tensor in a shape in which the operator works along a single axis, and that axis.
fn rows(b: &mut Builder<'_>, n: &Site<'_>, x: &Operand) -> Done<(Operand, usize)> {
    let new = n.version() >= 13;
    let at = axis(n.int("axis", if new { -1 } else { 1 })?, x.rank())?;
    if new || at + 1 == x.rank() {
        return Ok((x.clone(), at));
    }
    let (outer, inner) = x.shape.split_at(at);
    let shape = [outer.iter().product(), inner.iter().product()];
    Ok((b.reshape(x, &shape)?, 1))
}
