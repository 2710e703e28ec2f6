//! Sum of any number of tensors: `x₁ + … + xₙ` (ONNX Sum-8).

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, Rule, Site};

pub(crate) const RULE: Rule = Rule::new("sum", "Sum", sum);

fn sum(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let parts = n.inputs()?;
    Ok(vec![sum_of(b, &parts)?])
}

/// `x₁ + … + xₙ`.
pub(crate) fn sum_of(b: &mut Builder<'_>, parts: &[Operand]) -> Done<Operand> {
    let Some((first, rest)) = parts.split_first() else {
        return Decline::because("it has no inputs");
    };
    rest.iter().try_fold(first.clone(), |a, x| b.add(&a, x))
}
