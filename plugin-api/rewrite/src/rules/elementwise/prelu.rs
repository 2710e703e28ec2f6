//! PRelu: `relu(x) + slope·min(x, 0)` (ONNX PRelu-16); LeakyRelu has one constant slope
//! (ONNX LeakyRelu-16). `min(x, 0) = x − relu(x)`.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Done, Rule, Site};

pub(crate) const PRELU: Rule = Rule::new("prelu", "PRelu", prelu);
pub(crate) const LEAKY: Rule = Rule::new("leaky-relu", "LeakyRelu", leaky_relu);

fn prelu(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, slope) = (n.input(0)?, n.input(1)?);
    form(b, &x, &slope)
}

fn leaky_relu(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let slope = b.scalar(&x, n.float("alpha", 0.01)?)?;
    form(b, &x, &slope)
}

fn form(b: &mut Builder<'_>, x: &Operand, slope: &Operand) -> Done {
    let positive = b.relu(x)?;
    let negative = b.sub(x, &positive)?;
    let negative = b.mul(&negative, slope)?;
    Ok(vec![b.add(&positive, &negative)?])
}
