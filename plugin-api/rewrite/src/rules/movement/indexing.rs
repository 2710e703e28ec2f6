//! GatherElements and GatherND with constant indices (ONNX GatherElements-13, GatherND-13):
//! one Gather from the flat tensor; Slice with steps (ONNX Slice-13): a Gather for each axis.

use crate::builder::Builder;
use crate::operand::{Operand, strides};
use crate::rule::{Decline, Done, Rule, Site, axis};

pub(crate) const ELEMENTS: Rule = Rule::new("gather-elements", "GatherElements", elements_rule);
pub(crate) const ND: Rule = Rule::new("gather-nd", "GatherND", nd);
pub(crate) const SLICE: Rule = Rule::new("slice", "Slice", slice);

/// Constant indices with their shape.
pub(crate) fn indices(b: &Builder<'_>, x: &Operand) -> Done<(Vec<usize>, Vec<i64>)> {
    let t = b
        .value(x)
        .ok_or_else(|| Decline(format!("its indices \"{}\" are not constant", x.name)))?;
    match t.values.to_i64() {
        Some(v) => Ok((t.dims.clone(), v)),
        None => Decline::because("its indices are no integers"),
    }
}

fn place(i: i64, size: usize) -> Done<usize> {
    crate::operand::position(i, size)
        .ok_or_else(|| Decline(format!("its index {i} is out of range for {size} elements")))
}

/// Gathers single elements of a tensor by their places in row-major order.
pub(crate) fn from_flat(
    b: &mut Builder<'_>,
    x: &Operand,
    places: &[usize],
    shape: &[usize],
) -> Done<Operand> {
    let flat = b.reshape(x, &[x.elements()])?;
    let y = b.gather(&flat, places, 0)?;
    b.reshape(&y, shape)
}

fn elements_rule(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, i) = (n.input(0)?, n.input(1)?);
    let (shape, list) = indices(b, &i)?;
    let at = axis(n.int("axis", 0)?, x.rank())?;
    let places = element_places(&x.shape, &shape, &list, at)?;
    Ok(vec![from_flat(b, &x, &places, &shape)?])
}

/// Places in `data` of the elements that `list`, of shape `shape`, names along an axis.
pub(crate) fn element_places(
    data: &[usize],
    shape: &[usize],
    list: &[i64],
    axis: usize,
) -> Done<Vec<usize>> {
    if shape.len() != data.len() {
        return Decline::because("its indices have another number of axes than its data");
    }
    let (own, steps) = (strides(shape), strides(data));
    list.iter()
        .enumerate()
        .map(|(k, i)| {
            let mut at = 0;
            for a in 0..data.len() {
                let index = if a == axis {
                    place(*i, data[a])?
                } else {
                    place(((k / own[a]) % shape[a]) as i64, data[a])?
                };
                at += index * steps[a];
            }
            Ok(at)
        })
        .collect()
}

fn nd(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, i) = (n.input(0)?, n.input(1)?);
    let (shape, list) = indices(b, &i)?;
    let batch = usize::try_from(n.int("batch_dims", 0)?).unwrap_or(usize::MAX);
    let places = nd_places(&x.shape, &shape, &list, batch)?;
    let Some(t) = b.type_of(n) else {
        return Decline::because("its result's shape can't be told");
    };
    Ok(vec![from_flat(b, &x, &places, &t.shape)?])
}

/// Places in `data` of the elements of the parts that index tuples name.
pub(crate) fn nd_places(
    data: &[usize],
    shape: &[usize],
    list: &[i64],
    batch: usize,
) -> Done<Vec<usize>> {
    let Some((depth, outer)) = shape.split_last() else {
        return Decline::because("its indices are a single number");
    };
    let fits = batch
        .checked_add(*depth)
        .is_some_and(|d| d <= data.len() && batch <= outer.len());
    if !fits || *depth == 0 || data[..batch] != outer[..batch] {
        return Decline::because("its indices do not fit its data");
    }
    let steps = strides(data);
    let part: usize = data[batch + depth..].iter().product();
    let per_batch: usize = outer[batch..].iter().product();
    let step_of_batch: usize = data[batch..].iter().product();
    let mut out = Vec::new();
    for (k, tuple) in list.chunks(*depth).enumerate() {
        let mut at = k / per_batch.max(1) * step_of_batch;
        for (j, i) in tuple.iter().enumerate() {
            at += place(*i, data[batch + j])? * steps[batch + j];
        }
        out.extend(at..at + part);
    }
    Ok(out)
}

fn slice(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let mut x = n.input(0)?;
    let lists: Vec<Option<Vec<i64>>> = (0..n.node().input.len())
        .map(|i| n.optional_list(b, i.max(1)))
        .collect::<Done<_>>()?;
    let ranges = crate::constants::slice_ranges(n.node(), &x.shape, &|i| lists.get(i)?.clone());
    let Some(ranges) = ranges else {
        return Decline::because("its ranges are not constant");
    };
    if ranges.iter().all(|r| r.2 == 1) && n.version() >= 10 && ranges.len() == 1 {
        return Decline::because("it has no steps");
    }
    for (a, range) in ranges.into_iter().enumerate() {
        let places: Vec<usize> = (0..crate::constants::range_len(range) as i64)
            .filter_map(|i| usize::try_from(range.0 + i * range.2).ok())
            .collect();
        x = b.gather(&x, &places, a)?;
    }
    Ok(vec![x])
}
