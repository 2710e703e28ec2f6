//! GlobalAveragePool and GlobalMaxPool as reductions over the spatial axes (ONNX
//! GlobalAveragePool-22, GlobalMaxPool-22); LpPool as the p-th root of the sum of p-th powers
//! under the window, which is its size times an AveragePool that counts the padding (ONNX
//! LpPool-22).

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site};
use dsperse_onnx::AttributeProto;

pub(crate) const AVERAGE: Rule = Rule::new("global-average-pool", "GlobalAveragePool", global);
pub(crate) const MAX: Rule = Rule::new("global-max-pool", "GlobalMaxPool", global);
pub(crate) const LP: Rule = Rule::new("lp-pool", "LpPool", lp);

fn global(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let over: Vec<usize> = (2..x.rank()).collect();
    if n.operator() == "GlobalMaxPool" {
        return Ok(vec![b.reduce("ReduceMax", &x, &over, true)?]);
    }
    Ok(vec![b.mean(&x, &over, true)?])
}

fn lp(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let size: i64 = n.ints("kernel_shape")?.unwrap_or(&[1]).iter().product();
    let power = match n.int("p", 2)? {
        1 => b.abs(&x)?,
        2 => b.mul(&x, &x)?,
        p => return Decline::because(format!("its p is {p}, neither 1 nor 2")),
    };
    if n.flag("ceil_mode", false)?
        || n.ints("dilations")?
            .is_some_and(|d| d.iter().any(|d| *d > 1))
    {
        return Decline::because(
            "it has ceil_mode or dilations, which AveragePool takes otherwise",
        );
    }
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
    let y = b.scale(&y, size as f64)?;
    Ok(vec![match n.int("p", 2)? {
        1 => y,
        _ => b.sqrt(&y)?,
    }])
}
