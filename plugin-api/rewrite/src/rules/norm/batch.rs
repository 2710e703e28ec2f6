//! BatchNormalization outside of training (ONNX BatchNormalization-15):
//! `(x − mean) / √(var + ε) · scale + bias` along axis 1, as `x·f + (bias − mean·f)` with
//! `f = scale / √(var + ε)`, which are constants when the parameters are.

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site};

pub(crate) const RULE: Rule = Rule::new("batch-normalization", "BatchNormalization", batch);

fn batch(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    if n.flag("training_mode", false)? {
        return Decline::because("it is in training mode");
    }
    if !n.flag("spatial", true)? {
        return Decline::because("its attribute \"spatial\" is 0");
    }
    let (scale, bias) = (n.input(1)?, n.input(2)?);
    let (mean, variance) = (n.input(3)?, n.input(4)?);
    let v = b.add_number(&variance, n.float("epsilon", 1e-5)?)?;
    let v = b.sqrt(&v)?;
    let factor = b.div(&scale, &v)?;
    let shift = b.mul(&mean, &factor)?;
    let shift = b.sub(&bias, &shift)?;
    let factor = b.along_axis(&factor, usize::from(x.rank() > 1), x.rank())?;
    let shift = b.along_axis(&shift, usize::from(x.rank() > 1), x.rank())?;
    let y = b.mul(&x, &factor)?;
    Ok(vec![b.add(&y, &shift)?])
}
