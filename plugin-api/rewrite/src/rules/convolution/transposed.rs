//! ConvTranspose (ONNX ConvTranspose-22): zeros are put between the elements, as many as the
//! stride leaves out, and a Conv with mirrored weights, inputs and outputs exchanged, runs
//! over it.

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site};
use dsperse_onnx::AttributeProto;

use crate::shapes::Transposed;

pub(crate) const RULE: Rule = Rule::new("conv-transpose", "ConvTranspose", transposed);

fn transposed(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, w) = (n.input(0)?, n.input(1)?);
    let Some(t) = Transposed::of(n.node(), &x.shape, &w.shape) else {
        return Decline::because("its attributes do not fit its inputs");
    };
    let group = usize::try_from(n.int("group", 1)?).unwrap_or(0);
    let ([batch, channels, input @ ..], [in_channels, out, kernel @ ..], 1..) =
        (x.shape.as_slice(), w.shape.as_slice(), group)
    else {
        return Decline::because("its group is not positive");
    };
    if channels != in_channels || !channels.is_multiple_of(group) {
        return Decline::because("its weights do not fit its channels");
    }
    let rank = input.len();
    // Zeros between: an axis of size 1 after each spatial one is padded to the stride.
    let (mut apart, mut pads, mut together) = (
        vec![*batch, *channels],
        vec![(0, 0); 2],
        vec![*batch, *channels],
    );
    for (size, stride) in input.iter().zip(&t.strides) {
        apart.extend([*size, 1]);
        pads.extend([(0, 0), (0, stride - 1)]);
        together.push(size * stride);
    }
    let mut y = x.clone();
    if t.strides.iter().any(|s| *s > 1) {
        y = b.reshape(&y, &apart)?;
        y = b.pad(&y, &pads, 0.0)?;
        y = b.reshape(&y, &together)?;
    }
    // Around it, what makes the output's size; where that is negative, it is cut.
    let mut around = vec![(0, 0); 2];
    for i in 0..rank {
        let span = (kernel[i] - 1) * t.dilations[i];
        let spread = (input[i] - 1) * t.strides[i] + 1;
        y = b.slice(&y, 2 + i, 0, spread)?;
        let before = span as i64 - t.before[i];
        let after = t.output[i] as i64 - spread as i64 - before + span as i64;
        let cut = |v: i64| usize::try_from(-v.min(0)).unwrap_or(0);
        let (from, to) = (cut(before), spread.saturating_sub(cut(after)));
        if from >= to {
            return Decline::because("its padding takes everything away");
        }
        y = b.slice(&y, 2 + i, from, to)?;
        around.push((before.max(0) as usize, after.max(0) as usize));
    }
    y = b.pad(&y, &around, 0.0)?;
    let mut w = w.clone();
    for (i, size) in kernel.iter().enumerate() {
        let mirrored: Vec<usize> = (0..*size).rev().collect();
        w = b.gather(&w, &mirrored, 2 + i)?;
    }
    let mut split = vec![group, channels / group, *out];
    split.extend(kernel);
    let mut perm: Vec<usize> = (0..split.len()).collect();
    perm.swap(1, 2);
    let mut shape = vec![group * out, channels / group];
    shape.extend(kernel);
    w = b.reshape(&w, &split)?;
    w = b.transpose(&w, &perm)?;
    w = b.reshape(&w, &shape)?;
    let dilations: Vec<i64> = t.dilations.iter().map(|d| *d as i64).collect();
    let attributes = vec![
        AttributeProto::from_int("group", group as i64),
        AttributeProto::from_ints("dilations", &dilations),
    ];
    let bias = n.optional(2)?;
    Ok(vec![b.sparse(
        "Conv",
        &[Some(&y), Some(&w), bias.as_ref()],
        attributes,
    )?])
}
