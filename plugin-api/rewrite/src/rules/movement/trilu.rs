//! Trilu (ONNX Trilu-14): keeps what is on and above (or below) the `k`-th diagonal, by a
//! product with a constant mask.

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site};
use dsperse_onnx::DataType;

pub(crate) const RULE: Rule = Rule::new("trilu", "Trilu", trilu);

fn trilu(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let k = match n.optional(1)? {
        Some(k) => b.ints_of(&k)?.first().copied().unwrap_or(0),
        None => 0,
    };
    let upper = n.flag("upper", true)?;
    let [.., rows, columns] = *x.shape.as_slice() else {
        return Decline::because("its input is no matrix");
    };
    let mask: Vec<f64> = (0..rows)
        .flat_map(|i| {
            (0..columns).map(move |j| {
                let d = j as i64 - i as i64;
                let keep = if upper { d >= k } else { d <= k };
                f64::from(u8::from(keep))
            })
        })
        .collect();
    let mask = b.numbers(x.dtype, &[rows, columns], &mask)?;
    if x.dtype == DataType::Bool {
        return Ok(vec![b.node("And", &[&x, &mask], vec![])?]);
    }
    Ok(vec![b.mul(&x, &mask)?])
}
