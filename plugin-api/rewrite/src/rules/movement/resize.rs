//! Resize and Upsample (ONNX Resize-19, Upsample-9), axis by axis: `nearest` is a Gather, and
//! `linear` and `cubic` are products with a constant matrix of weights. With `in` and `out`
//! the sizes and `s` the scale, place `o` of the output lies at `(o + ½)/s − ½`
//! (`half_pixel`), `o/s` (`asymmetric`), `o·(in − 1)/(out − 1)` (`align_corners`), or as
//! `half_pixel` with 0 for a single place (`pytorch_half_pixel`).

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site, axis};

pub(crate) const RESIZE: Rule = Rule::new("resize", "Resize", resize);
pub(crate) const UPSAMPLE: Rule = Rule::new("upsample", "Upsample", resize);

/// Most elements of a matrix of weights.
const MOST: usize = 1 << 24;

fn resize(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let mut x = n.input(0)?;
    if n.flag("antialias", false)? || n.flag("exclude_outside", false)? {
        return Decline::because("it smooths or leaves out what lies outside");
    }
    if n.text("keep_aspect_ratio_policy", "stretch")? != "stretch" {
        return Decline::because("it keeps the ratio of its sides");
    }
    let over: Vec<usize> = match n.ints("axes")? {
        Some(list) => list
            .iter()
            .map(|a| axis(*a, x.rank()))
            .collect::<Done<_>>()?,
        None => (0..x.rank()).collect(),
    };
    let old = n.operator() == "Upsample" || n.version() < 11;
    let scales = scales(b, n, old)?;
    let sizes = if old { None } else { n.optional_list(b, 3)? };
    let mode = n.text("mode", "nearest")?;
    let transform = n.text(
        "coordinate_transformation_mode",
        if old { "asymmetric" } else { "half_pixel" },
    )?;
    let rounding = n.text(
        "nearest_mode",
        if old { "floor" } else { "round_prefer_floor" },
    )?;
    let a = n.float("cubic_coeff_a", -0.75)?;
    for (k, at) in over.iter().enumerate() {
        let input = x.size(*at);
        #[allow(clippy::cast_precision_loss)] // sizes of images
        let (out, scale) = match (&sizes, scales.get(k)) {
            (Some(list), _) if !list.is_empty() => {
                let out = list
                    .get(k)
                    .and_then(|s| usize::try_from(*s).ok())
                    .unwrap_or(0);
                (out, out as f64 / input as f64)
            }
            (_, Some(s)) if s.is_finite() && *s > 0.0 => {
                // Scales are single floats, and so is their product.
                ((input as f64 * s).floor() as usize, *s)
            }
            _ => return Decline::because("its scales do not fit its axes"),
        };
        if out == 0 || out.checked_mul(input).is_none_or(|s| s > MOST) {
            return Decline::because(format!("it makes {input} elements to {out}"));
        }
        #[allow(clippy::float_cmp)] // exactly one, or it moves something
        if out == input && scale == 1.0 {
            continue;
        }
        #[allow(clippy::cast_precision_loss)] // sizes of images
        let whole = (input as f64 * scale - out as f64).abs() < 1e-6;
        if transform == "align_corners" && !whole {
            return Decline::because("its corners lie on no whole size");
        }
        let places = coordinates(transform, input, out, scale)?;
        x = if mode == "nearest" {
            let places = places
                .into_iter()
                .map(|p| nearest(rounding, p, input))
                .collect::<Done<Vec<_>>>()?;
            b.gather(&x, &places, *at)?
        } else {
            let weights = weights(mode, &places, input, a)?;
            let w = b.numbers(x.dtype, &[input, out], &weights)?;
            b.along(&x, *at, &w)?
        };
    }
    Ok(vec![x])
}

fn scales(b: &Builder<'_>, n: &Site<'_>, old: bool) -> Done<Vec<f64>> {
    let listed = n.floats("scales")?;
    if !listed.is_empty() {
        return Ok(listed.iter().map(|s| f64::from(*s)).collect());
    }
    let i = if old { 1 } else { 2 };
    match n.node().input.get(i).filter(|s| !s.is_empty()) {
        Some(name) => b
            .list_of_floats(name)
            .ok_or_else(|| Decline("its scales are not constant".into())),
        None => Ok(Vec::new()),
    }
}

#[allow(clippy::cast_precision_loss)] // sizes of images
fn coordinates(transform: &str, input: usize, out: usize, scale: f64) -> Done<Vec<f64>> {
    let (i, o) = (input as f64, out as f64);
    (0..out)
        .map(|p| {
            let p = p as f64;
            Ok(match transform {
                "half_pixel" => (p + 0.5) / scale - 0.5,
                "pytorch_half_pixel" if out == 1 => 0.0,
                "pytorch_half_pixel" => (p + 0.5) / scale - 0.5,
                "half_pixel_symmetric" => {
                    // The size that the scale asks for, against the whole one that it gets.
                    let adjust = o / (i * scale);
                    i / 2.0 * (1.0 - adjust) + (p + 0.5) / scale - 0.5
                }
                "asymmetric" => p / scale,
                "align_corners" if out == 1 => 0.0,
                "align_corners" => p * (i - 1.0) / (o - 1.0),
                other => return Decline::because(format!("its transformation is \"{other}\"")),
            })
        })
        .collect()
}

fn nearest(rounding: &str, p: f64, input: usize) -> Done<usize> {
    let whole = match rounding {
        #[allow(clippy::float_cmp)] // exactly between two
        "round_prefer_floor" if p == p.floor() + 0.5 => p.floor(),
        "round_prefer_floor" => p.round(),
        "round_prefer_ceil" => (p + 0.5).floor(),
        "floor" => p.floor(),
        "ceil" => p.ceil(),
        other => return Decline::because(format!("its rounding is \"{other}\"")),
    };
    Ok((whole.max(0.0) as usize).min(input.saturating_sub(1)))
}

/// The matrix `[input, out]`; what lies outside counts as the edge.
fn weights(mode: &str, places: &[f64], input: usize, a: f64) -> Done<Vec<f64>> {
    let mut w = vec![0.0; input * places.len()];
    for (o, p) in places.iter().enumerate() {
        let base = p.floor();
        let r = p - base;
        let taps: Vec<(i64, f64)> = match mode {
            "linear" => vec![(0, 1.0 - r), (1, r)],
            "cubic" => (-1..3)
                .map(|k: i64| {
                    #[allow(clippy::cast_precision_loss)] // one of four neighbours
                    let d = (r - k as f64).abs();
                    let near = ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
                    let far = ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
                    (k, if d <= 1.0 { near } else { far })
                })
                .collect(),
            other => return Decline::because(format!("its mode is \"{other}\"")),
        };
        for (k, weight) in taps {
            let last = input.saturating_sub(1) as i64;
            let at = (base as i64 + k).clamp(0, last) as usize;
            w[at * places.len() + o] += weight;
        }
    }
    Ok(w)
}
