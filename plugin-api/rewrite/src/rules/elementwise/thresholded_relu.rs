//! ThresholdedRelu: `x` where `x > α`, else 0 (ONNX ThresholdedRelu-10).

use crate::builder::Builder;
use crate::rule::{Done, Rule, Site};

pub(crate) const RULE: Rule = Rule::new("thresholded-relu", "ThresholdedRelu", thresholded);

fn thresholded(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let alpha = b.scalar(&x, n.float("alpha", 1.0)?)?;
    let above = b.compare("Greater", &x, &alpha)?;
    let above = b.cast(&above, x.dtype)?;
    Ok(vec![b.mul(&x, &above)?])
}
