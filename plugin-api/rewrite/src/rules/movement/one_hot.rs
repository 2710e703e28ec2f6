//! OneHot (ONNX OneHot-11): `off + (on − off)·[index = place]`; an index below zero counts
//! from the end.

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site, axis};

pub(crate) const RULE: Rule = Rule::new("one-hot", "OneHot", one_hot);

fn one_hot(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (index, depth, values) = (n.input(0)?, n.input(1)?, n.input(2)?);
    let depth = b.scalar_of(&depth)?;
    if !(1.0..1e9).contains(&depth) {
        return Decline::because(format!("its depth is {depth}"));
    }
    let depth = depth as usize;
    let at = axis(n.int("axis", -1)?, index.rank() + 1)?;
    let mut shape = index.shape.clone();
    shape.insert(at, 1);
    let index = b.reshape(&index, &shape)?;
    let mut along = vec![1; shape.len()];
    along[at] = depth;
    let list = |from: f64| -> Vec<f64> { (0..depth).map(|i| i as f64 + from).collect() };
    let places = b.numbers(index.dtype, &along, &list(0.0))?;
    let hot = b.compare("Equal", &index, &places)?;
    let hot = b.cast(&hot, values.dtype)?;
    let from_end = b.numbers(index.dtype, &along, &list(-(depth as f64)))?;
    let hot_from_end = b.compare("Equal", &index, &from_end)?;
    let hot_from_end = b.cast(&hot_from_end, values.dtype)?;
    let hot = b.add(&hot, &hot_from_end)?;
    let (off, on) = (b.slice(&values, 0, 0, 1)?, b.slice(&values, 0, 1, 2)?);
    let span = b.sub(&on, &off)?;
    let y = b.mul(&hot, &span)?;
    Ok(vec![b.add(&y, &off)?])
}
