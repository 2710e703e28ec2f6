//! Conv with less (ONNX Conv-22): groups become zeros for the channels of other groups in
//! constant weights, dilations zeros between the elements of the window, and pads that differ
//! at both ends a Pad before. ONNX Runtime's FusedConv is a Conv with an activation behind.

use crate::builder::Builder;
use crate::operand::{Operand, strides};
use crate::rule::{Decline, Done, MICROSOFT, Rule, Site};
use crate::shapes::Window;
use dsperse_onnx::AttributeProto;

pub(crate) const DENSE: Rule = Rule::new("conv-groups", "Conv", dense);
pub(crate) const DILATED: Rule = Rule::new("conv-dilations", "Conv", dilated);
pub(crate) const PADDED: Rule = Rule::new("conv-pads", "Conv", padded);
pub(crate) const FUSED: Rule = Rule::of(MICROSOFT, "fused-conv", "FusedConv", fused);

/// Most weights that are written out.
const MOST: usize = 1 << 22;

/// All attributes but these.
fn kept(n: &Site<'_>, without: &[&str]) -> Vec<AttributeProto> {
    let all = n.node().attribute.iter();
    all.filter(|a| !without.contains(&a.name()))
        .cloned()
        .collect()
}

fn dense(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, w) = (n.input(0)?, n.input(1)?);
    let group = usize::try_from(n.int("group", 1)?).unwrap_or(0);
    let [out, inner, kernel @ ..] = w.shape.as_slice() else {
        return Decline::because("its weights have no channels");
    };
    if group < 2 {
        return Decline::because("it has no groups");
    }
    let size: usize = kernel.iter().product();
    let channels = x.size(1);
    if group * inner != channels || !out.is_multiple_of(group) {
        return Decline::because("its weights do not fit its channels");
    }
    if (out * channels).checked_mul(size).is_none_or(|s| s > MOST) {
        return Decline::because("its weights would become too many without groups");
    }
    let weights = b.floats_of(&w)?;
    let mut all = vec![0.0; out * channels * size];
    for (k, part) in weights.chunks(size).enumerate() {
        let (o, i) = (k / inner, k % inner);
        let channel = o / (out / group) * inner + i;
        let at = (o * channels + channel) * size;
        all[at..at + size].copy_from_slice(part);
    }
    let mut shape = vec![*out, channels];
    shape.extend(kernel);
    let all = b.numbers(w.dtype, &shape, &all)?;
    let bias = n.optional(2)?;
    let y = b.sparse(
        "Conv",
        &[Some(&x), Some(&all), bias.as_ref()],
        kept(n, &["group"]),
    )?;
    Ok(vec![y])
}

/// The window of the node's weights.
fn window(n: &Site<'_>, x: &Operand, w: &Operand) -> Done<Window> {
    match (x.shape.get(2..), w.shape.get(2..)) {
        (Some(input), Some(kernel)) => Window::of(n.node(), input, kernel),
        _ => None,
    }
    .ok_or_else(|| Decline("its attributes do not fit its inputs".into()))
}

fn dilated(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, w) = (n.input(0)?, n.input(1)?);
    let t = window(n, &x, &w)?;
    if t.dilations.iter().all(|d| *d == 1) {
        return Decline::because("it has no dilations");
    }
    let weights = b.floats_of(&w)?;
    let mut shape = w.shape[..2].to_vec();
    shape.extend(
        t.kernel
            .iter()
            .zip(&t.dilations)
            .map(|(k, d)| (k - 1) * d + 1),
    );
    let count = crate::operand::elements(&shape).filter(|c| *c <= MOST);
    let Some(count) = count else {
        return Decline::because("its weights would become too many without dilations");
    };
    let (own, steps) = (strides(&w.shape), strides(&shape));
    let mut all = vec![0.0; count];
    for (i, v) in weights.into_iter().enumerate() {
        let at: usize = (0..shape.len())
            .map(|a| {
                let index = i / own[a] % w.shape[a];
                let step = if a < 2 { 1 } else { t.dilations[a - 2] };
                index * step * steps[a]
            })
            .sum();
        all[at] = v;
    }
    let all = b.numbers(w.dtype, &shape, &all)?;
    let bias = n.optional(2)?;
    let y = b.sparse(
        "Conv",
        &[Some(&x), Some(&all), bias.as_ref()],
        kept(n, &["dilations", "kernel_shape"]),
    )?;
    Ok(vec![y])
}

fn padded(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, w) = (n.input(0)?, n.input(1)?);
    let t = window(n, &x, &w)?;
    if t.pads.iter().all(|(before, after)| before == after) {
        return Decline::because("its pads are the same at both ends");
    }
    let pads: Vec<(usize, usize)> = [(0, 0); 2].into_iter().chain(t.pads).collect();
    let x = b.pad(&x, &pads, 0.0)?;
    let bias = n.optional(2)?;
    let y = b.sparse(
        "Conv",
        &[Some(&x), Some(&w), bias.as_ref()],
        kept(n, &["pads", "auto_pad"]),
    )?;
    Ok(vec![y])
}

fn fused(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, w, bias) = (n.input(0)?, n.input(1)?, n.optional(2)?);
    let attributes = kept(n, &["activation", "activation_params"]);
    let mut y = b.sparse("Conv", &[Some(&x), Some(&w), bias.as_ref()], attributes)?;
    if let Some(sum) = n.optional(3)? {
        y = b.add(&y, &sum)?;
    }
    let parameters = n.floats("activation_params")?;
    let parameter = |i: usize| parameters.get(i).copied().map(f64::from);
    Ok(vec![match n.text("activation", "")? {
        "" => y,
        "Relu" => b.relu(&y)?,
        "Tanh" => b.tanh(&y)?,
        "Sigmoid" => b.sigmoid(&y)?,
        "LeakyRelu" => {
            #[allow(clippy::cast_possible_truncation)] // it was one
            let alpha = parameter(0).unwrap_or(0.01) as f32;
            let alpha = AttributeProto::from_float("alpha", alpha);
            b.node("LeakyRelu", &[&y], vec![alpha])?
        }
        "Clip" => match (parameter(0), parameter(1)) {
            (Some(low), Some(high)) => b.clip(&y, low, high)?,
            _ => return Decline::because("its Clip has no bounds"),
        },
        other => return Decline::because(format!("its activation is \"{other}\"")),
    }])
}
