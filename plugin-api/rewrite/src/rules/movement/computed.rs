//! Indices that are computed. A Gather is a product with `[index = place]` (an index below
//! zero counts from the end), GatherElements the sum of that times the data; GatherND counts
//! places of parts and is a Gather then. A scatter takes away what is replaced and adds the
//! updates: `data·(1 − Σ hit) + hitᵀ·updates`, for updates of different places, or
//! `data + hitᵀ·updates` where it adds.

use crate::builder::Builder;
use crate::operand::{Operand, strides};
use crate::rule::{Decline, Done, Rule, Site, axis};
use dsperse_onnx::{AttributeProto, DataType};

pub(crate) const RULES: [Rule; 5] = [
    Rule::new("gather-one-hot", "Gather", gather),
    Rule::new("gather-elements-one-hot", "GatherElements", elements),
    Rule::new("gather-nd-places", "GatherND", nd),
    Rule::new("scatter-nd-one-hot", "ScatterND", scatter_nd),
    Rule::new(
        "scatter-elements-one-hot",
        "ScatterElements",
        scatter_elements,
    ),
];

/// `[index = place]` along a new last axis, in the type of the data.
fn hits(b: &mut Builder<'_>, index: &Operand, places: usize, to: DataType) -> Done<Operand> {
    let mut shape = index.shape.clone();
    shape.push(1);
    let index = b.reshape(index, &shape)?;
    #[allow(clippy::cast_precision_loss)] // places of a tensor in memory
    let list = |from: f64| -> Vec<f64> { (0..places).map(|i| i as f64 + from).collect() };
    let ahead = b.numbers(index.dtype, &[places], &list(0.0))?;
    let hit = b.compare("Equal", &index, &ahead)?;
    let hit = b.cast(&hit, to)?;
    #[allow(clippy::cast_precision_loss)]
    let back = b.numbers(index.dtype, &[places], &list(-(places as f64)))?;
    let from_end = b.compare("Equal", &index, &back)?;
    let from_end = b.cast(&from_end, to)?;
    b.add(&hit, &from_end)
}

fn gather(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, index) = (n.input(0)?, n.input(1)?);
    if n.is_constant(1) {
        return Decline::because("its indices are constant");
    }
    let at = axis(n.int("axis", 0)?, x.rank())?;
    let size = x.size(at);
    let hit = hits(b, &index, size, x.dtype)?;
    let hit = b.reshape(&hit, &[index.elements(), size])?;
    let mut perm: Vec<usize> = (0..x.rank()).filter(|a| *a != at).collect();
    perm.insert(0, at);
    let rows = b.transpose(&x, &perm)?;
    let rows = b.reshape(&rows, &[size, x.elements() / size])?;
    let y = b.matmul(&hit, &rows)?;
    // The indices' axes come first; they belong where the axis was.
    let mut shape = index.shape.clone();
    shape.extend(perm[1..].iter().map(|a| x.size(*a)));
    let y = b.reshape(&y, &shape)?;
    let k = index.rank();
    let order: Vec<usize> = (k..k + at).chain(0..k).chain(k + at..shape.len()).collect();
    Ok(vec![b.transpose(&y, &order)?])
}

fn elements(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (mut x, index) = (n.input(0)?, n.input(1)?);
    let at = axis(n.int("axis", 0)?, x.rank())?;
    if index.rank() != x.rank() {
        return Decline::because("its indices have another number of axes than its data");
    }
    let hit = hits(b, &index, x.size(at), x.dtype)?;
    for a in (0..x.rank()).filter(|a| *a != at) {
        x = b.slice(&x, a, 0, index.size(a))?;
    }
    // The data's axis goes to the end, and leaves one of size 1.
    let mut perm: Vec<usize> = (0..x.rank()).filter(|a| *a != at).collect();
    perm.push(at);
    let mut shape = x.shape.clone();
    shape[at] = 1;
    shape.push(x.size(at));
    let x = b.transpose(&x, &perm)?;
    let x = b.reshape(&x, &shape)?;
    let y = b.mul(&hit, &x)?;
    Ok(vec![b.sum(&y, &[index.rank()], false)?])
}

/// Places of parts of the data that tuples of indices name, and the number of places.
fn linear(b: &mut Builder<'_>, index: &Operand, data: &[usize]) -> Done<(Operand, usize)> {
    let last = index.rank().saturating_sub(1);
    let depth = index.size(last);
    if index.rank() == 0 || depth == 0 || depth > data.len() {
        return Decline::because("its indices do not fit its data");
    }
    let head = &data[..depth];
    let count: usize = head.iter().product();
    let index = b.cast(index, DataType::I64)?;
    #[allow(clippy::cast_precision_loss)] // sizes of a tensor in memory
    let list = |v: &[usize]| -> Vec<f64> { v.iter().map(|d| *d as f64).collect() };
    let sizes = b.numbers(DataType::I64, &[depth], &list(head))?;
    let steps = b.numbers(DataType::I64, &[depth], &list(&strides(head)))?;
    let zero = b.scalar(&index, 0.0)?;
    let below = b.compare("Less", &index, &zero)?;
    let below = b.cast(&below, DataType::I64)?;
    let below = b.mul(&below, &sizes)?;
    let index = b.add(&index, &below)?;
    let index = b.mul(&index, &steps)?;
    Ok((b.sum(&index, &[last], false)?, count))
}

fn nd(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, index) = (n.input(0)?, n.input(1)?);
    if n.is_constant(1) {
        return Decline::because("its indices are constant");
    }
    if n.int("batch_dims", 0)? != 0 {
        return Decline::because("its indices are computed, for each of its batches");
    }
    let (places, count) = linear(b, &index, &x.shape)?;
    let depth = index.size(index.rank() - 1);
    let part = &x.shape[depth..];
    let rows = b.reshape(&x, &[count, part.iter().product()])?;
    let axis = AttributeProto::from_int("axis", 0);
    let y = b.node("Gather", &[&rows, &places], vec![axis])?;
    let mut shape = places.shape.clone();
    shape.extend(part);
    Ok(vec![b.reshape(&y, &shape)?])
}

/// `data` with updates at places; all of them as rows.
fn scattered(
    b: &mut Builder<'_>,
    n: &Site<'_>,
    data: &Operand,
    places: &Operand,
    updates: &Operand,
) -> Done<Operand> {
    let hit = hits(b, places, data.size(0), data.dtype)?;
    let turned = b.transpose(&hit, &[1, 0])?;
    let change = b.matmul(&turned, updates)?;
    match n.text("reduction", "none")? {
        "add" => b.add(data, &change),
        "none" => {
            let hit = b.sum(&turned, &[1], true)?;
            let one = b.scalar(&hit, 1.0)?;
            let kept = b.sub(&one, &hit)?;
            let kept = b.mul(data, &kept)?;
            b.add(&kept, &change)
        }
        other => Decline::because(format!("its reduction is \"{other}\"")),
    }
}

fn scatter_nd(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, index, updates) = (n.input(0)?, n.input(1)?, n.input(2)?);
    if n.is_constant(1) {
        return Decline::because("its indices are constant");
    }
    let (places, count) = linear(b, &index, &x.shape)?;
    let part = x.elements() / count.max(1);
    let rows = b.reshape(&x, &[count, part])?;
    let flat = b.reshape(&places, &[places.elements()])?;
    let updates = b.reshape(&updates, &[places.elements(), part])?;
    let y = scattered(b, n, &rows, &flat, &updates)?;
    Ok(vec![b.reshape(&y, &x.shape)?])
}

fn scatter_elements(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let (x, index, updates) = (n.input(0)?, n.input(1)?, n.input(2)?);
    if n.is_constant(1) {
        return Decline::because("its indices are constant");
    }
    let at = axis(n.int("axis", 0)?, x.rank())?;
    if index.rank() != x.rank() {
        return Decline::because("its indices have another number of axes than its data");
    }
    // The place is the index along the axis, and its own along the others.
    let (steps, own) = (strides(&x.shape), strides(&index.shape));
    #[allow(clippy::cast_precision_loss)] // places of a tensor in memory
    let others: Vec<f64> = (0..index.elements())
        .map(|k| {
            (0..x.rank())
                .filter(|a| *a != at)
                .map(|a| k / own[a] % index.size(a) * steps[a])
                .sum::<usize>() as f64
        })
        .collect();
    let index = b.cast(&index, DataType::I64)?;
    let zero = b.scalar(&index, 0.0)?;
    let below = b.compare("Less", &index, &zero)?;
    let below = b.cast(&below, DataType::I64)?;
    #[allow(clippy::cast_precision_loss)]
    let below = b.scale(&below, x.size(at) as f64)?;
    let places = b.add(&index, &below)?;
    #[allow(clippy::cast_precision_loss)]
    let places = b.scale(&places, steps[at] as f64)?;
    let others = b.numbers(DataType::I64, &index.shape, &others)?;
    let places = b.add(&places, &others)?;
    let places = b.reshape(&places, &[index.elements()])?;
    let rows = b.reshape(&x, &[x.elements(), 1])?;
    let updates = b.reshape(&updates, &[index.elements(), 1])?;
    let y = scattered(b, n, &rows, &places, &updates)?;
    Ok(vec![b.reshape(&y, &x.shape)?])
}
