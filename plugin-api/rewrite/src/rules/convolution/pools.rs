//! MaxPool and AveragePool by those of images (ONNX MaxPool-22, AveragePool-22): a single
//! axis gets another of size 1; of three, the last two are pooled first and then the first,
//! since both the greatest and the mean of a window can be found axis by axis.
//!
//! For whoever lacks a pool with padding, dilations or `ceil_mode`: the greatest along an
//! axis as Max of one Gather for each place under the window, where a place outside is
//! another one inside; the mean as a product with a constant matrix. Without padding an
//! AveragePool is a Conv with a window of `1 / n` for each channel.
//!
//! LRN (ONNX LRN-13) is `x / (bias + α·mean(x²))^β` with the mean over neighbouring channels,
//! which is an AveragePool along them that counts the padding.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, Rule, Site};
use crate::shapes::Window;
use dsperse_onnx::AttributeProto;

pub(crate) const RULES: [Rule; 9] = [
    Rule::new("max-pool-1d", "MaxPool", one),
    Rule::new("max-pool-3d", "MaxPool", three),
    Rule::new("max-pool-gather", "MaxPool", by_gather),
    Rule::new("average-pool-1d", "AveragePool", one),
    Rule::new("average-pool-3d", "AveragePool", three),
    Rule::new("average-pool-conv", "AveragePool", by_conv),
    Rule::new("average-pool-matmul", "AveragePool", by_product),
    Rule::new("global-lp-pool", "GlobalLpPool", global_lp),
    Rule::new("lrn", "LRN", lrn),
];

/// The window, when the node's only used output is the first.
pub(super) fn window(n: &Site<'_>, x: &Operand) -> Done<Window> {
    if n.output_is_used(1) {
        return Decline::because("the places of its maxima are used");
    }
    let kernel = n
        .ints("kernel_shape")?
        .unwrap_or_default()
        .iter()
        .map(|k| usize::try_from(*k).unwrap_or(0))
        .collect::<Vec<_>>();
    let input = x.shape.get(2..).unwrap_or_default();
    Window::of(n.node(), input, &kernel)
        .ok_or_else(|| Decline("its attributes do not fit its input".into()))
}

/// A pool of images over some of the window's axes: each `None` is an axis of size 1.
fn images(
    b: &mut Builder<'_>,
    n: &Site<'_>,
    x: &Operand,
    w: &Window,
    axes: [Option<usize>; 2],
) -> Done<Operand> {
    let list = |name: &str, one: i64, of: &dyn Fn(usize) -> usize| {
        let v: Vec<i64> = axes
            .iter()
            .map(|a| a.map_or(one, |a| of(a) as i64))
            .collect();
        AttributeProto::from_ints(name, &v)
    };
    let pads: Vec<i64> = [false, true]
        .iter()
        .flat_map(|after| {
            axes.iter().map(|a| {
                a.map_or(0, |a| {
                    (if *after { w.pads[a].1 } else { w.pads[a].0 }) as i64
                })
            })
        })
        .collect();
    let mut attributes = vec![
        list("kernel_shape", 1, &|a| w.kernel[a]),
        list("strides", 1, &|a| w.strides[a]),
        AttributeProto::from_ints("pads", &pads),
    ];
    if axes.iter().flatten().any(|a| w.dilations[*a] > 1) {
        attributes.push(list("dilations", 1, &|a| w.dilations[a]));
    }
    for name in ["ceil_mode", "count_include_pad"] {
        if n.flag(name, false)? {
            attributes.push(AttributeProto::from_int(name, 1));
        }
    }
    b.node(n.operator(), &[x], attributes)
}

fn one(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let [batch, channels, size] = *x.shape.as_slice() else {
        return Decline::because("it does not have one spatial axis");
    };
    let w = window(n, &x)?;
    let y = b.reshape(&x, &[batch, channels, 1, size])?;
    let y = images(b, n, &y, &w, [None, Some(0)])?;
    Ok(vec![b.reshape(&y, &[batch, channels, y.size(3)])?])
}

fn three(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let [batch, channels, depth, height, width] = *x.shape.as_slice() else {
        return Decline::because("it does not have three spatial axes");
    };
    let w = window(n, &x)?;
    let y = b.reshape(&x, &[batch, channels * depth, height, width])?;
    let y = images(b, n, &y, &w, [Some(1), Some(2)])?;
    let (h, v) = (y.size(2), y.size(3));
    let y = b.reshape(&y, &[batch, channels, depth, h * v])?;
    let y = images(b, n, &y, &w, [Some(0), None])?;
    Ok(vec![b.reshape(&y, &[batch, channels, y.size(2), h, v])?])
}

/// For each place of the output along an axis, the places of the input under the window;
/// `None` in the padding.
fn taps(w: &Window, axis: usize, size: usize) -> Vec<Vec<Option<usize>>> {
    (0..w.output[axis])
        .map(|o| {
            (0..w.kernel[axis])
                .map(|k| {
                    let at = o * w.strides[axis] + k * w.dilations[axis];
                    at.checked_sub(w.pads[axis].0).filter(|p| *p < size)
                })
                .collect()
        })
        .collect()
}

fn by_gather(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let w = window(n, &x)?;
    let mut y = x.clone();
    for axis in 0..w.kernel.len() {
        let size = x.size(2 + axis);
        let taps = taps(&w, axis, size);
        let mut greatest: Option<Operand> = None;
        for k in 0..w.kernel[axis] {
            let places: Vec<usize> = taps
                .iter()
                .map(|t| t[k].or_else(|| t.iter().flatten().next().copied()))
                .collect::<Option<_>>()
                .ok_or_else(|| Decline("a window lies in its padding".into()))?;
            let part = b.gather(&y, &places, 2 + axis)?;
            greatest = Some(match greatest {
                None => part,
                Some(g) => b.max(&g, &part)?,
            });
        }
        if let Some(g) = greatest {
            y = g;
        }
    }
    Ok(vec![y])
}

/// Sums under the window, axis by axis; `weight` is that of an element of a window with this
/// many elements inside.
pub(super) fn sums(
    b: &mut Builder<'_>,
    x: &Operand,
    w: &Window,
    weight: &dyn Fn(usize, usize) -> f64,
) -> Done<Operand> {
    let mut y = x.clone();
    for axis in 0..w.kernel.len() {
        let (input, output) = (x.size(2 + axis), w.output[axis]);
        let mut table = vec![0.0; input * output];
        for (o, taps) in taps(w, axis, input).iter().enumerate() {
            let inside = taps.iter().flatten().count();
            for p in taps.iter().flatten() {
                table[p * output + o] = weight(axis, inside);
            }
        }
        let table = b.numbers(x.dtype, &[input, output], &table)?;
        y = b.along(&y, 2 + axis, &table)?;
    }
    Ok(y)
}

fn by_product(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let w = window(n, &x)?;
    let all = n.flag("count_include_pad", false)?;
    if all && n.flag("ceil_mode", false)? {
        return Decline::because("it counts its padding and has ceil_mode");
    }
    #[allow(clippy::cast_precision_loss)] // sizes of windows
    let y = sums(b, &x, &w, &|axis, inside| {
        1.0 / if all { w.kernel[axis] } else { inside } as f64
    })?;
    Ok(vec![y])
}

fn by_conv(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let w = window(n, &x)?;
    let [_, channels, _, _] = *x.shape.as_slice() else {
        return Decline::because("it does not have two spatial axes");
    };
    let padded = w.pads.iter().any(|p| *p != (0, 0));
    if (padded && !n.flag("count_include_pad", false)?) || n.flag("ceil_mode", false)? {
        return Decline::because("its windows have different sizes");
    }
    let size: usize = w.kernel.iter().product();
    #[allow(clippy::cast_precision_loss)] // the size of a window
    let weights = vec![1.0 / size as f64; channels * size];
    let weights = b.numbers(x.dtype, &[channels, 1, w.kernel[0], w.kernel[1]], &weights)?;
    let list = |name: &str, v: &[usize]| {
        let v: Vec<i64> = v.iter().map(|d| *d as i64).collect();
        AttributeProto::from_ints(name, &v)
    };
    let pads = [w.pads[0].0, w.pads[1].0, w.pads[0].1, w.pads[1].1];
    let attributes = vec![
        AttributeProto::from_int("group", channels as i64),
        list("kernel_shape", &w.kernel),
        list("strides", &w.strides),
        list("dilations", &w.dilations),
        list("pads", &pads),
    ];
    Ok(vec![b.node("Conv", &[&x, &weights], attributes)?])
}

fn global_lp(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let over: Vec<usize> = (2..x.rank()).collect();
    let operator = match n.int("p", 2)? {
        1 => "ReduceL1",
        2 => "ReduceL2",
        p => return Decline::because(format!("its p is {p}, neither 1 nor 2")),
    };
    Ok(vec![b.reduce(operator, &x, &over, true)?])
}

fn lrn(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let size = usize::try_from(n.int("size", 0)?).unwrap_or(0);
    let ([batch, channels, rest @ ..], 1..) = (x.shape.as_slice(), size) else {
        return Decline::because("its input has no channels or its size is not positive");
    };
    let square = b.mul(&x, &x)?;
    let square = b.reshape(&square, &[*batch, 1, *channels, rest.iter().product()])?;
    let before = (size - 1) / 2;
    let pads = [before, 0, size - 1 - before, 0].map(|p| p as i64);
    let mean = b.node(
        "AveragePool",
        &[&square],
        vec![
            AttributeProto::from_ints("kernel_shape", &[size as i64, 1]),
            AttributeProto::from_ints("pads", &pads),
            AttributeProto::from_int("count_include_pad", 1),
        ],
    )?;
    let mean = b.reshape(&mean, &x.shape)?;
    let scaled = b.scale(&mean, n.float("alpha", 1e-4)?)?;
    let scaled = b.add_number(&scaled, n.float("bias", 1.0)?)?;
    let beta = b.scalar(&x, n.float("beta", 0.75)?)?;
    let power = b.node("Pow", &[&scaled, &beta], vec![])?;
    Ok(vec![b.div(&x, &power)?])
}
