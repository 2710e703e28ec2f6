//! Reductions that are others around element-wise functions (ONNX ReduceL1-18 and the
//! like): L1 = `Σ|x|`, L2 = `√Σx²`, LogSum = `ln Σx`, LogSumExp = `m + ln Σ exp(x − m)`
//! with `m = max x`, SumSquare = `Σx²`, ReduceMean = `Σx / n`, ReduceMin = `−max(−x)`.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, Rule, Site, axes};
use dsperse_onnx::DataType;

pub(crate) const RULES: [Rule; 8] = [
    Rule::new("reduce-l1", "ReduceL1", reduce),
    Rule::new("reduce-l2", "ReduceL2", reduce),
    Rule::new("reduce-log-sum", "ReduceLogSum", reduce),
    Rule::new("reduce-log-sum-exp", "ReduceLogSumExp", reduce),
    Rule::new("reduce-sum-square", "ReduceSumSquare", reduce),
    Rule::new("reduce-mean", "ReduceMean", reduce),
    Rule::new("reduce-min", "ReduceMin", reduce),
    Rule::new("reduce-prod", "ReduceProd", product),
];

/// Axes of a reduction, and whether they stay with size 1; no axes means nothing to do.
pub(crate) fn arguments(b: &Builder<'_>, n: &Site<'_>, x: &Operand) -> Done<(Vec<usize>, bool)> {
    let named = match (n.ints("axes")?, n.optional_list(b, 1)?) {
        (Some(v), _) => v.to_vec(),
        (None, Some(v)) => v,
        (None, None) => Vec::new(),
    };
    let keep = n.flag("keepdims", true)?;
    if named.is_empty() {
        let none = n.flag("noop_with_empty_axes", false)?;
        return Ok((
            if none {
                vec![]
            } else {
                (0..x.rank()).collect()
            },
            keep,
        ));
    }
    Ok((axes(&named, x.rank())?, keep))
}

fn reduce(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let (over, keep) = arguments(b, n, &x)?;
    if over.is_empty() && n.operator() != "ReduceMean" {
        return Decline::because("it reduces no axis");
    }
    if x.dtype == DataType::Bool {
        return Decline::because("its input is of booleans");
    }
    Ok(vec![match n.operator() {
        "ReduceL1" => {
            let t = b.abs(&x)?;
            b.sum(&t, &over, keep)?
        }
        "ReduceL2" => {
            let t = b.mul(&x, &x)?;
            let t = b.sum(&t, &over, keep)?;
            b.sqrt(&t)?
        }
        "ReduceLogSum" => {
            let t = b.sum(&x, &over, keep)?;
            b.log(&t)?
        }
        "ReduceLogSumExp" => {
            let m = b.reduce("ReduceMax", &x, &over, true)?;
            let d = b.sub(&x, &m)?;
            let e = b.exp(&d)?;
            let s = b.sum(&e, &over, true)?;
            let s = b.log(&s)?;
            let s = b.add(&m, &s)?;
            let shape = without(&x.shape, &over, keep);
            b.reshape(&s, &shape)?
        }
        "ReduceSumSquare" => {
            let t = b.mul(&x, &x)?;
            b.sum(&t, &over, keep)?
        }
        "ReduceMean" => {
            let count: usize = over.iter().map(|a| x.size(*a)).product();
            let t = b.sum(&x, &over, keep)?;
            #[allow(clippy::cast_precision_loss)] // a number of elements
            b.scale(&t, 1.0 / count as f64)?
        }
        _ => {
            let t = b.neg(&x)?;
            let t = b.reduce("ReduceMax", &t, &over, keep)?;
            b.neg(&t)?
        }
    }])
}

/// A shape without the axes, or with size 1 there.
pub(crate) fn without(shape: &[usize], over: &[usize], keep: bool) -> Vec<usize> {
    (0..shape.len())
        .filter(|i| keep || !over.contains(i))
        .map(|i| if over.contains(&i) { 1 } else { shape[i] })
        .collect()
}

/// A product by halves: each step multiplies one half of an axis with the other.
fn product(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let (over, keep) = arguments(b, n, &x)?;
    let mut t = x.clone();
    for a in &over {
        while t.size(*a) > 1 {
            let half = t.size(*a) / 2;
            let (left, right) = (b.slice(&t, *a, 0, half)?, b.slice(&t, *a, half, 2 * half)?);
            let both = b.mul(&left, &right)?;
            t = if t.size(*a) % 2 == 1 {
                let rest = b.slice(&t, *a, 2 * half, t.size(*a))?;
                b.concat(&[both, rest], *a)?
            } else {
                both
            };
        }
    }
    Ok(vec![b.reshape(&t, &without(&x.shape, &over, keep))?])
}
