//! Flatten, Squeeze, Unsqueeze as Reshape; the order of the elements does not change
//! (ONNX Flatten-13, Squeeze-13, Unsqueeze-13).

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site};

pub(crate) const RULES: [Rule; 3] = [
    Rule::new("flatten", "Flatten", reshaping),
    Rule::new("squeeze", "Squeeze", reshaping),
    Rule::new("unsqueeze", "Unsqueeze", reshaping),
];

fn reshaping(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    match b.type_of(n) {
        Some(t) => Ok(vec![b.reshape(&x, &t.shape)?]),
        None => Decline::because("its result's shape can't be told"),
    }
}
