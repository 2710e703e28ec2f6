//! Split as one Slice for each part (ONNX Split-18).

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site, axis};

pub(crate) const RULE: Rule = Rule::new("split", "Split", split);

fn split(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let at = axis(n.int("axis", 0)?, x.rank())?;
    let Some(types) = b.types_of(n) else {
        return Decline::because("the sizes of its parts can't be told");
    };
    let sizes: Vec<usize> = types.iter().map(|t| t.shape[at]).collect();
    b.split(&x, at, &sizes)
}
