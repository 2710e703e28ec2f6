//! Softsign: `x / (1 + |x|)` (ONNX Softsign-1).

use crate::builder::Builder;
use crate::rule::{Done, Rule, Site};

pub(crate) const RULE: Rule = Rule::new("softsign", "Softsign", softsign);

fn softsign(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let size = b.abs(&x)?;
    let size = b.add_number(&size, 1.0)?;
    Ok(vec![b.div(&x, &size)?])
}
