//! InstanceNormalization (ONNX InstanceNormalization-6): each channel of each sample is
//! standardised by its own mean and variance; GroupNormalization (ONNX
//! GroupNormalization-21): each group of channels. Then scale and bias: one for each channel,
//! in version 18 of GroupNormalization one for each group.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, Rule, Site};

use super::layer::standardised;

pub(crate) const INSTANCE: Rule =
    Rule::new("instance-normalization", "InstanceNormalization", instance);
pub(crate) const GROUP: Rule = Rule::new("group-normalization", "GroupNormalization", group);

fn instance(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    if x.rank() < 3 {
        return Decline::because("its input has no spatial axes");
    }
    let over: Vec<usize> = (2..x.rank()).collect();
    let (y, ..) = standardised(b, &x, &over, n.float("epsilon", 1e-5)?, false)?;
    by_channel(b, n, &y)
}

fn group(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let groups = usize::try_from(n.int("num_groups", 0)?).unwrap_or(0);
    let (Some(batch), Some(channels)) = (x.shape.first(), x.shape.get(1)) else {
        return Decline::because("its input has no channels");
    };
    if groups == 0 || !channels.is_multiple_of(groups) {
        return Decline::because(format!("{channels} channels don't make {groups} groups"));
    }
    let rows = b.reshape(&x, &[*batch, groups, x.elements() / batch / groups])?;
    let (y, ..) = standardised(b, &rows, &[2], n.float("epsilon", 1e-5)?, false)?;
    if n.version() < 21 && n.input(1)?.elements() == groups {
        let y = by_channel(b, n, &y)?;
        return y.iter().map(|y| b.reshape(y, &x.shape)).collect();
    }
    let y = b.reshape(&y, &x.shape)?;
    by_channel(b, n, &y)
}

/// `x·scale + bias` along axis 1.
fn by_channel(b: &mut Builder<'_>, n: &Site<'_>, x: &Operand) -> Done {
    let (scale, bias) = (n.input(1)?, n.input(2)?);
    let scale = b.along_axis(&scale, 1, x.rank())?;
    let bias = b.along_axis(&bias, 1, x.rank())?;
    let y = b.mul(x, &scale)?;
    Ok(vec![b.add(&y, &bias)?])
}
