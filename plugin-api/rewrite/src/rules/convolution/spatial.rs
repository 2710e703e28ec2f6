//! Conv of other than two spatial axes by a 2-D Conv (ONNX Conv-22): a single axis gets
//! another of size 1; of three, the depths under the kernel become further channels, and the
//! depths of the output further samples: `y[n, :, d] = conv2d(x[n, c, d·stride + k·dilation])`,
//! summed over channels `c` and depths `k` of the kernel.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, Rule, Site};
use dsperse_onnx::AttributeProto;

use crate::shapes::Window;

pub(crate) const ONE: Rule = Rule::new("conv-1d", "Conv", one);
pub(crate) const THREE: Rule = Rule::new("conv-3d", "Conv", three);

fn window(n: &Site<'_>, x: &Operand, w: &Operand) -> Done<Window> {
    match (x.shape.get(2..), w.shape.get(2..)) {
        (Some(input), Some(kernel)) => Window::of(n.node(), input, kernel),
        _ => None,
    }
    .ok_or_else(|| Decline("its attributes do not fit its inputs".into()))
}

/// A 2-D convolution with given sizes.
fn conv(
    b: &mut Builder<'_>,
    n: &Site<'_>,
    x: &Operand,
    w: &Operand,
    [strides, dilations, before, after]: [[usize; 2]; 4],
) -> Done<Operand> {
    let list = |name: &str, v: &[usize]| {
        let v: Vec<i64> = v.iter().map(|d| *d as i64).collect();
        AttributeProto::from_ints(name, &v)
    };
    let attributes = vec![
        AttributeProto::from_int("group", n.int("group", 1)?),
        list("strides", &strides),
        list("dilations", &dilations),
        list("pads", &[before, after].concat()),
    ];
    let bias = n.optional(2)?;
    b.sparse("Conv", &[Some(x), Some(w), bias.as_ref()], attributes)
}

fn one(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, w) = (n.input(0)?, n.input(1)?);
    let ([batch, channels, size], [out, inner, kernel]) = (x.shape.as_slice(), w.shape.as_slice())
    else {
        return Decline::because("it does not have one spatial axis");
    };
    let t = window(n, &x, &w)?;
    let flat = b.reshape(&x, &[*batch, *channels, 1, *size])?;
    let kernel = b.reshape(&w, &[*out, *inner, 1, *kernel])?;
    let sizes = [
        [1, t.strides[0]],
        [1, t.dilations[0]],
        [0, t.pads[0].0],
        [0, t.pads[0].1],
    ];
    let y = conv(b, n, &flat, &kernel, sizes)?;
    Ok(vec![b.reshape(&y, &[*batch, *out, t.output[0]])?])
}

fn three(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, w) = (n.input(0)?, n.input(1)?);
    let ([batch, channels, _, h, width], [out, inner, deep, kh, kw]) =
        (x.shape.as_slice(), w.shape.as_slice())
    else {
        return Decline::because("it does not have three spatial axes");
    };
    let t = window(n, &x, &w)?;
    let mut pads = vec![(0, 0); 5];
    pads[2] = t.pads[0];
    let padded = b.pad(&x, &pads, 0.0)?;
    let depths: Vec<usize> = (0..t.output[0])
        .flat_map(|d| (0..*deep).map(move |k| (d, k)))
        .map(|(d, k)| d * t.strides[0] + k * t.dilations[0])
        .collect();
    let y = b.gather(&padded, &depths, 2)?;
    let y = b.reshape(&y, &[*batch, *channels, t.output[0], *deep, *h, *width])?;
    let y = b.transpose(&y, &[0, 2, 1, 3, 4, 5])?;
    let y = b.reshape(&y, &[batch * t.output[0], channels * deep, *h, *width])?;
    let kernel = b.reshape(&w, &[*out, inner * deep, *kh, *kw])?;
    let sizes = [
        [t.strides[1], t.strides[2]],
        [t.dilations[1], t.dilations[2]],
        [t.pads[1].0, t.pads[2].0],
        [t.pads[1].1, t.pads[2].1],
    ];
    let y = conv(b, n, &y, &kernel, sizes)?;
    let y = b.reshape(&y, &[*batch, t.output[0], *out, t.output[1], t.output[2]])?;
    Ok(vec![b.transpose(&y, &[0, 2, 1, 3, 4])?])
}
