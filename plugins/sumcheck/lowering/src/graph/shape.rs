//! Shapes of results, from the shapes of operands.

use super::{Graph, Op};
use dsperse_sumcheck_verifier::program::MAX_RANK;

/// Most elements of one array: a bound against absurd models, far above what is proven.
const MAX_ELEMENTS: usize = 1 << 28;

/// Checks a shape's rank and number of elements.
pub(crate) fn check(shape: &[usize]) -> Result<(), String> {
    if shape.len() > MAX_RANK {
        return Err(format!(
            "a tensor of shape {shape:?} has more than {MAX_RANK} dimensions"
        ));
    }
    match shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) {
        Some(0) => Err(format!("a tensor of shape {shape:?} has no elements")),
        Some(n) if n <= MAX_ELEMENTS => Ok(()),
        _ => Err(format!(
            "a tensor of shape {shape:?} has more than {MAX_ELEMENTS} elements"
        )),
    }
}

/// The shape of an operator's result.
pub(super) fn infer(graph: &Graph, op: &Op) -> Result<Vec<usize>, String> {
    let of = |id: usize| graph.nodes[id].shape.as_slice();
    let shape = match op {
        Op::Input { shape, .. } => shape.clone(),
        Op::Const(array) => array.shape.clone(),
        Op::Wire { input, factors } => wire(of(*input), factors)?,
        Op::Einsum {
            a,
            b,
            a_labels,
            b_labels,
            out_labels,
        } => einsum(of(*a), a_labels, of(*b), b_labels, out_labels)?,
        Op::Affine { terms, .. } => {
            let first = terms.first().map(|t| of(t.0)).unwrap_or_default();
            for (t, _) in terms {
                same(first, of(*t))?;
            }
            first.to_vec()
        }
        Op::Clamp { input, .. }
        | Op::Map { input, .. }
        | Op::Softmax { input, .. }
        | Op::Normalise { input, .. } => of(*input).to_vec(),
        Op::Step { input, .. }
        | Op::Floor { input }
        | Op::Reciprocal { input }
        | Op::Rescale { input, .. } => of(*input).to_vec(),
        Op::Max { inputs } => {
            let first = inputs.first().map(|&t| of(t)).unwrap_or_default();
            for &t in inputs {
                same(first, of(t))?;
            }
            first.to_vec()
        }
        Op::Div { num, den } | Op::Quotient { num, den } => {
            same(of(*num), of(*den))?;
            of(*num).to_vec()
        }
        Op::Select { input, dim, ids } => {
            let mut shape = of(*input).to_vec();
            *shape.get_mut(*dim).ok_or("its axis is out of range")? = of(*ids).iter().product();
            shape
        }
        Op::Sum { input, axes } => {
            let mut shape = of(*input).to_vec();
            for &a in axes {
                *shape.get_mut(a).ok_or("an axis is out of range")? = 1;
            }
            shape
        }
        Op::Expand { input, shape } => {
            let from = of(*input);
            let fits = from.len() == shape.len()
                && from.iter().zip(shape).all(|(&f, &t)| f == t || f == 1);
            if !fits {
                return Err(format!("shape {from:?} does not broadcast to {shape:?}"));
            }
            shape.clone()
        }
        Op::MaxPool { input, windows } => {
            let mut shape = of(*input).to_vec();
            for w in windows {
                *shape.get_mut(w.dim).ok_or("a window is out of range")? = w.size;
            }
            shape
        }
    };
    check(&shape)?;
    Ok(shape)
}

fn same(a: &[usize], b: &[usize]) -> Result<(), String> {
    if a == b {
        Ok(())
    } else {
        Err(format!("shapes {a:?} and {b:?} differ"))
    }
}

fn wire(
    input: &[usize],
    factors: &[dsperse_sumcheck_verifier::wire::Factor],
) -> Result<Vec<usize>, String> {
    let mut used = vec![false; input.len()];
    let mut shape = Vec::new();
    for factor in factors {
        let mut sizes = Vec::new();
        for dim in factor.input_dims() {
            match used.get_mut(dim) {
                Some(u) if !*u => *u = true,
                _ => return Err(format!("dimension {dim} is absent or used twice")),
            }
            sizes.push(input[dim]);
        }
        shape.extend(factor.output_sizes(&sizes).map_err(|e| e.to_string())?);
    }
    match used.iter().position(|u| !u) {
        Some(dim) => Err(format!("dimension {dim} is not used")),
        None => Ok(shape),
    }
}

fn einsum(
    a: &[usize],
    a_labels: &[u8],
    b: &[usize],
    b_labels: &[u8],
    out_labels: &[u8],
) -> Result<Vec<usize>, String> {
    if a.len() != a_labels.len() || b.len() != b_labels.len() {
        return Err(format!("shapes {a:?} and {b:?} do not fit the product"));
    }
    let mut size = [None::<usize>; 256];
    for (&l, &d) in a_labels.iter().zip(a).chain(b_labels.iter().zip(b)) {
        match size[l as usize] {
            Some(s) if s != d => {
                return Err(format!(
                    "shapes {a:?} and {b:?} do not fit: {s} against {d}"
                ));
            }
            _ => size[l as usize] = Some(d),
        }
    }
    out_labels
        .iter()
        .map(|&l| size[l as usize].ok_or_else(|| "an output dimension has no size".to_owned()))
        .collect()
}
