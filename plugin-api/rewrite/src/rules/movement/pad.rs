//! Pad that mirrors or repeats (ONNX Pad-21; modes `reflect`, `edge`, `wrap`): a Gather for
//! each axis; negative padding of constants cuts first.

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site, axis};

pub(crate) const RULE: Rule = Rule::new("pad", "Pad", pad);

fn pad(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let mut x = n.input(0)?;
    let mode = n.text("mode", "constant")?;
    let pads = match (n.ints("pads")?, n.optional_list(b, 1)?) {
        (Some(v), _) => v.to_vec(),
        (None, Some(v)) => v,
        (None, None) => return Decline::because("its pads are missing"),
    };
    let over: Vec<usize> = match n.optional_list(b, 3)? {
        Some(v) => v.iter().map(|a| axis(*a, x.rank())).collect::<Done<_>>()?,
        None => (0..x.rank()).collect(),
    };
    if pads.len() != 2 * over.len() {
        return Decline::because("its pads do not fit its axes");
    }
    let value = match (n.node().float("value")?, n.optional(2)?) {
        (Some(v), _) => f64::from(v),
        (None, Some(v)) => b.scalar_of(&v)?,
        (None, None) => 0.0,
    };
    let plain = mode == "constant" && pads.iter().all(|p| *p >= 0);
    if plain && !n.has(3) {
        return Decline::because("it is as simple as it can be");
    }
    let mut around = vec![(0, 0); x.rank()];
    for (k, a) in over.iter().enumerate() {
        let (before, after) = (pads[k], pads[over.len() + k]);
        let size = i64::try_from(x.size(*a)).unwrap_or(i64::MAX);
        let range = before.checked_neg().zip(size.checked_add(after));
        let Some((first, end)) = range.filter(|(f, e)| e - f <= 1 << 24) else {
            return Decline::because("its pads are too large");
        };
        let places: Vec<i64> = match mode {
            "constant" => {
                around[*a] = (before.max(0) as usize, after.max(0) as usize);
                (first.max(0)..end.min(size)).collect()
            }
            "edge" => (first..end).map(|i| i.clamp(0, size - 1)).collect(),
            "wrap" => (first..end).map(|i| i.rem_euclid(size)).collect(),
            "reflect" if size == 1 => (first..end).map(|_| 0).collect(),
            "reflect" => (first..end)
                .map(|i| {
                    let period = 2 * (size - 1);
                    let i = i.rem_euclid(period);
                    i.min(period - i)
                })
                .collect(),
            other => return Decline::because(format!("its mode \"{other}\" is unknown")),
        };
        let places: Vec<usize> = places.into_iter().map(|p| p as usize).collect();
        x = b.gather(&x, &places, *a)?;
    }
    Ok(vec![b.pad(&x, &around, value)?])
}
