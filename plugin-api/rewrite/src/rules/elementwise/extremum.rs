//! Max and Min of any number of tensors by pairs, and of pairs by Relu:
//! `max(a, b) = a + relu(b − a)`, `min(a, b) = a − relu(a − b)` (ONNX Max-13, Min-13).

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site};

pub(crate) const MAX: Rule = Rule::new("max", "Max", pairs);
pub(crate) const MIN: Rule = Rule::new("min", "Min", pairs);
pub(crate) const MAX_RELU: Rule = Rule::new("max-relu", "Max", by_relu);
pub(crate) const MIN_RELU: Rule = Rule::new("min-relu", "Min", by_relu);

fn pairs(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let parts = n.inputs()?;
    let Some((first, rest)) = parts.split_first() else {
        return Decline::because("it has no inputs");
    };
    if rest.len() == 1 {
        return Decline::because("it has two inputs already");
    }
    let out = rest.iter().try_fold(first.clone(), |a, x| {
        if n.operator() == "Max" {
            b.max(&a, x)
        } else {
            b.min(&a, x)
        }
    })?;
    Ok(vec![out])
}

fn by_relu(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, y) = (n.input(0)?, n.input(1)?);
    if n.has(2) || !x.dtype.is_float() {
        return Decline::because("only two tensors of floats have a difference that Relu cuts");
    }
    Ok(vec![if n.operator() == "Max" {
        let d = b.sub(&y, &x)?;
        let d = b.relu(&d)?;
        b.add(&x, &d)?
    } else {
        let d = b.sub(&x, &y)?;
        let d = b.relu(&d)?;
        b.sub(&x, &d)?
    }])
}
