//! Mean of any number of tensors: `(x₁ + … + xₙ) / n` (ONNX Mean-8).

use crate::builder::Builder;
use crate::rule::{Done, Rule, Site};

pub(crate) const RULE: Rule = Rule::new("mean", "Mean", mean);

fn mean(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let parts = n.inputs()?;
    let sum = super::sum::sum_of(b, &parts)?;
    #[allow(clippy::cast_precision_loss)] // a number of inputs
    Ok(vec![b.scale(&sum, 1.0 / parts.len() as f64)?])
}
