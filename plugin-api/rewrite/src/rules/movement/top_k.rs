//! TopK (ONNX TopK-24) by counting: with `h[i, j] = [x_j > x_i]` for `i < j`, the place of
//! `x_i` among the sorted is `Σ_j h[i, j] + Σ_{j<i} (1 − h[j, i])`, so that of equal elements
//! the first comes first. Then a product with `[place = k]` picks values and indices.

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site, axis};
use dsperse_onnx::DataType;

pub(crate) const RULE: Rule = Rule::new("top-k", "TopK", top_k);

fn top_k(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let k = match n.optional(1)? {
        Some(k) => b.ints_of(&k)?.first().copied().unwrap_or(0),
        None => n.int("k", 0)?,
    };
    let at = axis(n.int("axis", -1)?, x.rank())?;
    let size = x.size(at);
    let Some(k) = usize::try_from(k).ok().filter(|k| (1..=size).contains(k)) else {
        return Decline::because(format!("it asks for {k} of {size} elements"));
    };
    let last = x.rank() - 1;
    let mut perm: Vec<usize> = (0..x.rank()).collect();
    perm.swap(at, last);
    let moved = b.transpose(&x, &perm)?;
    let rows = x.elements() / size;
    let mine = b.reshape(&moved, &[rows, size, 1])?;
    let other = b.reshape(&moved, &[rows, 1, size])?;
    let operator = if n.flag("largest", true)? {
        "Greater"
    } else {
        "Less"
    };
    let f = DataType::F32;
    let ahead = b.compare(operator, &other, &mine)?;
    let ahead = b.cast(&ahead, f)?;
    let upper: Vec<f64> = (0..size)
        .flat_map(|i| (0..size).map(move |j| f64::from(u8::from(i < j))))
        .collect();
    let upper = b.numbers(f, &[size, size], &upper)?;
    let ahead = b.mul(&ahead, &upper)?;
    let by_row = b.sum(&ahead, &[2], false)?;
    let by_column = b.sum(&ahead, &[1], false)?;
    #[allow(clippy::cast_precision_loss)] // places along an axis
    let own: Vec<f64> = (0..size).map(|i| i as f64).collect();
    let own = b.numbers(f, &[size], &own)?;
    let place = b.sub(&by_row, &by_column)?;
    let place = b.add(&place, &own)?;
    let place = b.reshape(&place, &[rows, 1, size])?;
    #[allow(clippy::cast_precision_loss)] // places along an axis
    let wanted: Vec<f64> = (0..k).map(|i| i as f64).collect();
    let wanted = b.numbers(f, &[1, k, 1], &wanted)?;
    let hit = b.compare("Equal", &place, &wanted)?;
    let mut shape = moved.shape.clone();
    shape[last] = k;
    let mut out = Vec::new();
    for indices in [false, true] {
        let (hit, column) = if indices {
            let column = b.reshape(&own, &[size, 1])?;
            (b.cast(&hit, f)?, column)
        } else {
            (b.cast(&hit, x.dtype)?, mine.clone())
        };
        let y = b.matmul(&hit, &column)?;
        let y = b.reshape(&y, &shape)?;
        let y = b.transpose(&y, &perm)?;
        out.push(if indices {
            b.cast(&y, DataType::I64)?
        } else {
            y
        });
        if !n.output_is_used(1) {
            break;
        }
    }
    Ok(out)
}
