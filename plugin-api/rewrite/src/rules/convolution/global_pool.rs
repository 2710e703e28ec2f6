//! GlobalAveragePool and GlobalMaxPool as reductions over the spatial axes (ONNX
//! GlobalAveragePool-22, GlobalMaxPool-22); LpPool as the p-th root of the sum of p-th powers
//! under the window, which is its size times an AveragePool that counts the padding (ONNX
//! LpPool-22).

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site};
use dsperse_onnx::AttributeProto;

use super::pools::{sums, window};

pub(crate) const AVERAGE: Rule = Rule::new("global-average-pool", "GlobalAveragePool", global);
pub(crate) const MAX: Rule = Rule::new("global-max-pool", "GlobalMaxPool", global);
pub(crate) const MAX_WINDOW: Rule = Rule::new("global-max-pool-window", "GlobalMaxPool", whole);
pub(crate) const LP: Rule = Rule::new("lp-pool", "LpPool", lp);

fn global(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let over: Vec<usize> = (2..x.rank()).collect();
    if n.operator() == "GlobalMaxPool" {
        return Ok(vec![b.reduce("ReduceMax", &x, &over, true)?]);
    }
    Ok(vec![b.mean(&x, &over, true)?])
}

/// One window over the whole image.
fn whole(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let kernel: Vec<i64> = x.shape.iter().skip(2).map(|d| *d as i64).collect();
    let kernel = AttributeProto::from_ints("kernel_shape", &kernel);
    Ok(vec![b.node("MaxPool", &[&x], vec![kernel])?])
}

fn lp(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let p = n.int("p", 2)?;
    let power = match p {
        1 => b.abs(&x)?,
        2 => b.mul(&x, &x)?,
        3..=16 => {
            let size = b.abs(&x)?;
            #[allow(clippy::cast_precision_loss)] // at most 16
            let p = b.scalar(&size, p as f64)?;
            b.node("Pow", &[&size, &p], vec![])?
        }
        p => return Decline::because(format!("its p is {p}, expected is 1 to 16")),
    };
    let w = window(n, &x)?;
    let dilated = w.dilations.iter().any(|d| *d > 1);
    let y = if dilated || n.flag("ceil_mode", false)? {
        // AveragePool takes these otherwise.
        sums(b, &power, &w, &|_, _| 1.0)?
    } else {
        let mut attributes: Vec<AttributeProto> = n
            .node()
            .attribute
            .iter()
            .filter(|a| matches!(a.name(), "kernel_shape" | "strides" | "pads" | "auto_pad"))
            .cloned()
            .collect();
        attributes.push(AttributeProto::from_int("count_include_pad", 1));
        let y = b.node("AveragePool", &[&power], attributes)?;
        #[allow(clippy::cast_precision_loss)] // the size of a window
        b.scale(&y, w.kernel.iter().product::<usize>() as f64)?
    };
    Ok(vec![match p {
        1 => y,
        2 => b.sqrt(&y)?,
        #[allow(clippy::cast_precision_loss)] // at most 16
        p => {
            let root = b.scalar(&y, 1.0 / p as f64)?;
            b.node("Pow", &[&y, &root], vec![])?
        }
    }])
}
