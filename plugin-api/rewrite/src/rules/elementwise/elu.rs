//! Elu, Celu and Selu (ONNX Elu-6, Celu-12, Selu-6), all of the form
//! `γ·(relu(x) + α·(exp(min(x, 0) / β) − 1))`, with `min(x, 0) = x − relu(x)`.

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site};

pub(crate) const ELU: Rule = Rule::new("elu", "Elu", elu);
pub(crate) const CELU: Rule = Rule::new("celu", "Celu", celu);
pub(crate) const SELU: Rule = Rule::new("selu", "Selu", selu);

fn elu(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let alpha = n.float("alpha", 1.0)?;
    form(b, n, alpha, 1.0, 1.0)
}

fn celu(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let alpha = n.float("alpha", 1.0)?;
    if alpha == 0.0 {
        return Decline::because("its alpha is 0");
    }
    form(b, n, alpha, alpha, 1.0)
}

fn selu(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let alpha = n.float("alpha", 1.673_263_2)?;
    let gamma = n.float("gamma", 1.050_701)?;
    form(b, n, alpha, 1.0, gamma)
}

fn form(b: &mut Builder<'_>, n: &Site<'_>, alpha: f64, beta: f64, gamma: f64) -> Done {
    let x = n.input(0)?;
    let positive = b.relu(&x)?;
    let negative = b.sub(&x, &positive)?;
    let negative = b.scale(&negative, 1.0 / beta)?;
    let e = b.exp(&negative)?;
    let e = b.add_number(&e, -1.0)?;
    let e = b.scale(&e, alpha)?;
    let sum = b.add(&positive, &e)?;
    Ok(vec![b.scale(&sum, gamma)?])
}
