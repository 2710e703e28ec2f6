//! CumSum (ONNX CumSum-14) as a product with a triangular matrix of ones.

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site, axis};

pub(crate) const RULE: Rule = Rule::new("cumsum", "CumSum", cumsum);

/// Longest axis: the matrix has its square.
const MOST: usize = 4096;

fn cumsum(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, over) = (n.input(0)?, n.input(1)?);
    let over = b.ints_of(&over)?.first().copied().unwrap_or(0);
    let at = axis(over, x.rank())?;
    let (exclusive, reverse) = (n.flag("exclusive", false)?, n.flag("reverse", false)?);
    let size = x.size(at);
    if size > MOST {
        return Decline::because(format!("its axis has {size} elements, more than {MOST}"));
    }
    let ones: Vec<f64> = (0..size)
        .flat_map(|from| {
            (0..size).map(move |to| {
                let (from, to) = if reverse { (to, from) } else { (from, to) };
                let counts = if exclusive { from < to } else { from <= to };
                f64::from(u8::from(counts))
            })
        })
        .collect();
    let ones = b.numbers(x.dtype, &[size, size], &ones)?;
    let mut perm: Vec<usize> = (0..x.rank()).collect();
    perm.swap(at, x.rank() - 1);
    let t = b.transpose(&x, &perm)?;
    // A vector becomes a row: not everybody multiplies vectors.
    let rows = match t.rank() {
        1 => b.reshape(&t, &[1, size])?,
        _ => t.clone(),
    };
    let y = b.matmul(&rows, &ones)?;
    let y = b.reshape(&y, &t.shape)?;
    Ok(vec![b.transpose(&y, &perm)?])
}
