//! ScatterND and ScatterElements with constant indices (ONNX ScatterND-18,
//! ScatterElements-18): one Gather from the data and the updates, one after the other. With
//! a reduction, the updates that go to one place must be one at most:
//! `reduction(data, updates, or the neutral element)`.

use crate::builder::Builder;
use crate::rule::{Decline, Done, Rule, Site, axis};

use super::indexing::{element_places, from_flat, indices, nd_places};

pub(crate) const ND: Rule = Rule::new("scatter-nd", "ScatterND", scatter);
pub(crate) const ELEMENTS: Rule = Rule::new("scatter-elements", "ScatterElements", scatter);
pub(crate) const OLD: Rule = Rule::new("scatter", "Scatter", scatter);

fn scatter(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, i, updates) = (n.input(0)?, n.input(1)?, n.input(2)?);
    let (shape, list) = indices(b, &i)?;
    let places = if n.operator() == "ScatterND" {
        nd_places(&x.shape, &shape, &list, 0)?
    } else {
        let at = axis(n.int("axis", 0)?, x.rank())?;
        element_places(&x.shape, &shape, &list, at)?
    };
    if places.len() != updates.elements() {
        return Decline::because("its updates do not fit its indices");
    }
    let reduction = n.text("reduction", "none")?;
    let count = x.elements();
    let mut from: Vec<Option<usize>> = vec![None; count];
    for (k, place) in places.iter().enumerate() {
        // Without a reduction, the last one stays.
        if from[*place].replace(k).is_some() && reduction != "none" {
            return Decline::because("it updates a place twice");
        }
    }
    let (operator, neutral) = match reduction {
        "none" => ("", 0.0),
        "add" => ("Add", 0.0),
        "mul" => ("Mul", 1.0),
        other => return Decline::because(format!("its reduction is \"{other}\"")),
    };
    let flat = b.reshape(&updates, &[updates.elements()])?;
    if operator.is_empty() {
        let data = b.reshape(&x, &[count])?;
        let both = b.concat(&[data, flat], 0)?;
        let picked: Vec<usize> = from
            .iter()
            .enumerate()
            .map(|(at, k)| k.map_or(at, |k| count + k))
            .collect();
        return Ok(vec![from_flat(b, &both, &picked, &x.shape)?]);
    }
    let neutral = b.numbers(x.dtype, &[1], &[neutral])?;
    let both = b.concat(&[neutral, flat], 0)?;
    let picked: Vec<usize> = from.iter().map(|k| k.map_or(0, |k| k + 1)).collect();
    let change = from_flat(b, &both, &picked, &x.shape)?;
    Ok(vec![b.node(operator, &[&x, &change], vec![])?])
}
