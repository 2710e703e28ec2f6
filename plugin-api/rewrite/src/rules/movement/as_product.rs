//! For whoever moves no elements: Transpose, Slice, Gather with constant indices, Pad with
//! zeros and Concat as products of the flat tensor with a matrix of zeros and ones, and sums
//! over axes as products with ones.

use crate::builder::Builder;
use crate::constants;
use crate::operand::{Operand, TensorType};
use crate::rule::{Decline, Done, Rule, Site};
use dsperse_onnx::{Tensor, Values};

use super::super::reduce::composed::{arguments, without};

pub(crate) const RULES: [Rule; 6] = [
    Rule::new("transpose-matmul", "Transpose", moved),
    Rule::new("slice-matmul", "Slice", moved),
    Rule::new("gather-matmul", "Gather", moved),
    Rule::new("pad-matmul", "Pad", padded),
    Rule::new("concat-matmul", "Concat", concat),
    Rule::new("reduce-sum-matmul", "ReduceSum", reduced),
];

/// Most elements of a matrix of zeros and ones.
const MOST: usize = 1 << 20;

/// `x` times a matrix with a one from each place of the input to each of the output that
/// takes it.
fn product(
    b: &mut Builder<'_>,
    x: &Operand,
    from: &[(usize, usize)],
    size: usize,
) -> Done<Operand> {
    if !x.dtype.is_float() {
        return Decline::because("its elements are no floats");
    }
    let count = x.elements();
    if count.checked_mul(size).is_none_or(|s| s > MOST) {
        return Decline::because(format!(
            "a matrix from {count} to {size} elements is too large"
        ));
    }
    let mut table = vec![0.0; count * size];
    for (source, target) in from {
        table[source * size + target] = 1.0;
    }
    let row = b.reshape(x, &[1, count])?;
    let table = b.numbers(x.dtype, &[count, size], &table)?;
    b.matmul(&row, &table)
}

/// Where each element of the result comes from: the operator done with places.
fn sources(b: &Builder<'_>, n: &Site<'_>, x: &Operand, output: &TensorType) -> Option<Vec<usize>> {
    let count = i64::try_from(x.elements()).ok()?;
    let places = Tensor::new(x.shape.clone(), Values::I64((0..count).collect()))?;
    let others: Vec<Option<std::rc::Rc<Tensor>>> = n
        .node()
        .input
        .iter()
        .skip(1)
        .map(|name| match name.as_str() {
            "" => Some(None),
            name => b.by_name(name).map(Some),
        })
        .collect::<Option<_>>()?;
    let mut inputs = vec![Some(&places)];
    inputs.extend(others.iter().map(Option::as_deref));
    let t = TensorType::new(places.values.dtype(), &output.shape);
    let result = constants::evaluate(n.node(), &inputs, &t)?;
    let list = result.values.to_i64()?;
    list.into_iter().map(|p| usize::try_from(p).ok()).collect()
}

fn moved(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let Some(t) = b.type_of(n) else {
        return Decline::because("its result's shape can't be told");
    };
    let Some(from) = sources(b, n, &x, &t) else {
        return Decline::because("where its elements come from is not constant");
    };
    let pairs: Vec<(usize, usize)> = from.into_iter().enumerate().map(|(t, s)| (s, t)).collect();
    let y = product(b, &x, &pairs, pairs.len())?;
    Ok(vec![b.reshape(&y, &t.shape)?])
}

fn padded(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let pads = match (n.ints("pads")?, n.optional_list(b, 1)?) {
        (Some(v), _) => v.to_vec(),
        (None, Some(v)) => v,
        (None, None) => return Decline::because("its pads are missing"),
    };
    let zeros = match (n.node().float("value")?, n.optional(2)?) {
        (Some(v), _) => v == 0.0,
        (None, Some(v)) => b.scalar_of(&v)? == 0.0,
        (None, None) => true,
    };
    let plain = n.text("mode", "constant")? == "constant" && pads.iter().all(|p| *p >= 0);
    let (Some(t), true) = (b.type_of(n), plain && zeros && !n.has(3)) else {
        return Decline::because("it pads with something else than zeros");
    };
    let (own, steps) = (
        crate::operand::strides(&x.shape),
        crate::operand::strides(&t.shape),
    );
    let pairs: Vec<(usize, usize)> = (0..x.elements())
        .map(|i| {
            let at = (0..x.rank()).map(|a| {
                let before = usize::try_from(pads[a]).unwrap_or(0);
                (i / own[a] % x.shape[a] + before) * steps[a]
            });
            (i, at.sum())
        })
        .collect();
    let total = crate::operand::elements(&t.shape).unwrap_or(usize::MAX);
    let y = product(b, &x, &pairs, total)?;
    Ok(vec![b.reshape(&y, &t.shape)?])
}

fn concat(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let parts = n.inputs()?;
    let Some(t) = b.type_of(n) else {
        return Decline::because("its result's shape can't be told");
    };
    let at = crate::rule::axis(n.int("axis", 0)?, t.shape.len())?;
    let total = crate::operand::elements(&t.shape).unwrap_or(0);
    let row: usize = t.shape[at..].iter().product();
    let mut sum: Option<Operand> = None;
    let mut start = 0;
    for part in &parts {
        let width: usize = part.shape[at..].iter().product();
        let pairs: Vec<(usize, usize)> = (0..part.elements())
            .map(|i| (i, i / width.max(1) * row + start + i % width.max(1)))
            .collect();
        start += width;
        let y = product(b, part, &pairs, total)?;
        sum = Some(match sum {
            None => y,
            Some(s) if b.value(&s).is_some() => b.add(&y, &s)?,
            Some(s) => b.add(&s, &y)?,
        });
    }
    match sum {
        Some(y) => Ok(vec![b.reshape(&y, &t.shape)?]),
        None => Decline::because("it has no parts"),
    }
}

fn reduced(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let x = n.input(0)?;
    let (over, keep) = arguments(b, n, &x)?;
    if over.is_empty() || !x.dtype.is_float() {
        return Decline::because("it reduces no axis, or no floats");
    }
    // The reduced axes go to the end, where they are one.
    let perm: Vec<usize> = (0..x.rank())
        .filter(|a| !over.contains(a))
        .chain(over.iter().copied())
        .collect();
    let count: usize = over.iter().map(|a| x.size(*a)).product();
    let t = b.transpose(&x, &perm)?;
    let rows = b.reshape(&t, &[x.elements() / count, count])?;
    let ones = b.numbers(x.dtype, &[count, 1], &vec![1.0; count])?;
    let y = b.matmul(&rows, &ones)?;
    Ok(vec![b.reshape(&y, &without(&x.shape, &over, keep))?])
}
