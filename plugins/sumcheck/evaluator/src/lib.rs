//! The plain evaluator of integer programs: the one definition of what a
//! program computes. Witness generation, prover and tests use it; a verifier needs none.
//!
//! [`product`] and [`movement`] are the same for integers and for real numbers, so that the
//! reference to which a program is compared computes with them too.

pub mod movement;
pub mod product;

use dsperse_sumcheck_verifier::program::*;
use dsperse_sumcheck_verifier::validate::{Checked, divide, isqrt};
use movement::{select, wire};
use product::{Labelled, einsum_within};
use std::borrow::Cow;
use thiserror::Error;

/// Why an evaluation fails.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EvalError {
    /// The number of inputs or weights is wrong.
    #[error("The program needs {expected} {what}, but {found} are given")]
    Count {
        /// "inputs" or "weights".
        what: &'static str,
        /// How many the program has.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// A tensor has another shape than its node.
    #[error("Tensor {node} needs the shape {expected:?}, but {found:?} is given")]
    Shape {
        /// The node.
        node: usize,
        /// Its shape.
        expected: Vec<usize>,
        /// The shape given.
        found: Vec<usize>,
    },
    /// A value is outside the range that the program declares.
    #[error(
        "A value of tensor {node} (\"{op}\") is {value}, outside {lo}..={hi}; the quantisation does not fit this input"
    )]
    Range {
        /// The node.
        node: usize,
        /// Its name.
        op: &'static str,
        /// The value.
        value: i128,
        /// Least allowed.
        lo: i64,
        /// Greatest allowed.
        hi: i64,
    },
}

/// Evaluates a program that [`validate`](dsperse_sumcheck_verifier::validate::validate) has
/// accepted (with the result of that call) and returns every tensor, in node order.
pub fn evaluate(
    program: &Program,
    checked: &Checked,
    weights: &[Tensor],
    inputs: &[Tensor],
) -> Result<Vec<Tensor>, EvalError> {
    let last = vec![usize::MAX; program.nodes.len()];
    let all = walk(program, checked, weights, inputs, &last)?;
    Ok(all.into_iter().map(Cow::into_owned).collect())
}

/// The same, but returns the outputs only, and holds every other tensor no longer than it is
/// read.
pub fn outputs(
    program: &Program,
    checked: &Checked,
    weights: &[Tensor],
    inputs: &[Tensor],
) -> Result<Vec<Tensor>, EvalError> {
    let mut last: Vec<usize> = (0..program.nodes.len()).collect();
    for (node, op) in program.nodes.iter().enumerate() {
        for operand in op.operands() {
            last[operand as usize] = node;
        }
    }
    for &output in &program.outputs {
        last[output as usize] = usize::MAX;
    }
    let mut all = walk(program, checked, weights, inputs, &last)?;
    let outputs = program.outputs.iter();
    Ok(outputs
        .map(|&id| std::mem::replace(&mut all[id as usize], gone()).into_owned())
        .collect())
}

/// What stands where a tensor is no longer needed.
fn gone<'a>() -> Cow<'a, Tensor> {
    let (shape, data) = (vec![], vec![]);
    Cow::Owned(Tensor { shape, data })
}

/// Computes node after node; a tensor is dropped after its last use.
fn walk<'a>(
    program: &Program,
    checked: &Checked,
    weights: &'a [Tensor],
    inputs: &'a [Tensor],
    last: &[usize],
) -> Result<Vec<Cow<'a, Tensor>>, EvalError> {
    let count = |what, expected: usize, found: usize| {
        if expected == found {
            Ok(())
        } else {
            Err(EvalError::Count {
                what,
                expected,
                found,
            })
        }
    };
    count("inputs", program.inputs().len(), inputs.len())?;
    count("weights", program.weights().len(), weights.len())?;
    let (mut weights, mut inputs) = (weights.iter(), inputs.iter());
    let mut all: Vec<Cow<'a, Tensor>> = Vec::with_capacity(program.nodes.len());
    for (node, op) in program.nodes.iter().enumerate() {
        let shape = &checked.shapes[node];
        let tensor = match op {
            Op::Input { lo, hi, .. } => {
                Cow::Borrowed(given(node, op, shape, inputs.next(), *lo, *hi)?)
            }
            Op::Weight { lo, hi, .. } => {
                Cow::Borrowed(given(node, op, shape, weights.next(), *lo, *hi)?)
            }
            _ => Cow::Owned(Tensor {
                shape: shape.clone(),
                data: compute(program, checked, node, &all)?,
            }),
        };
        all.push(tensor);
        for operand in op.operands() {
            if last[operand as usize] == node {
                all[operand as usize] = gone();
            }
        }
    }
    Ok(all)
}

/// The elements of a node from those before it.
fn compute(
    program: &Program,
    checked: &Checked,
    node: usize,
    all: &[Cow<'_, Tensor>],
) -> Result<Vec<i64>, EvalError> {
    let op = &program.nodes[node];
    let tensor = |id: TensorId| all[id as usize].as_ref();
    let values = |id: TensorId| tensor(id).data.iter();
    Ok(match op {
        Op::Input { .. } | Op::Weight { .. } => vec![],
        Op::Wire { input, factors } => wire(&tensor(*input).data, &tensor(*input).shape, factors),
        Op::Select { input, dim, ids } => {
            let ids: Vec<_> = values(*ids).map(|id| usize::try_from(*id).ok()).collect();
            let input = tensor(*input);
            // An input's bounds are checked, so that there is nothing outside.
            select(&input.data, &input.shape, *dim, &ids, 0)
        }
        Op::Einsum {
            a,
            b,
            a_labels,
            b_labels,
            out_labels,
        } => {
            let of = |id: TensorId, labels| Labelled {
                data: &tensor(id).data,
                shape: &tensor(id).shape,
                labels,
            };
            let most = |id: TensorId| {
                let bounds = checked.bounds[id as usize];
                bounds.lo.saturating_abs().max(bounds.hi.saturating_abs())
            };
            let most = (most(*a), most(*b));
            einsum_within(of(*a, a_labels), of(*b, b_labels), out_labels, most)
        }
        Op::Affine { terms, constant } => {
            let mut data = vec![*constant; checked.shapes[node].iter().product()];
            for (t, c) in terms {
                data.iter_mut()
                    .zip(values(*t))
                    .for_each(|(d, x)| *d += c * x);
            }
            data
        }
        Op::Requant {
            input,
            multiplier,
            shift,
            lo,
            hi,
        } => values(*input)
            .map(|&x| rescale_checked(x, *multiplier, *shift).clamp(*lo, *hi))
            .collect(),
        Op::Lookup { input, table } => {
            let t = &program.tables[*table as usize];
            values(*input)
                .map(|&x| i64::from(t.values[(x - t.lo) as usize]))
                .collect()
        }
        Op::Max { inputs } => {
            let mut data = tensor(inputs[0]).data.clone();
            for &t in &inputs[1..] {
                data.iter_mut()
                    .zip(values(t))
                    .for_each(|(d, &x)| *d = (*d).max(x));
            }
            data
        }
        Op::Div { num, den, lo, hi } => values(*num)
            .zip(values(*den))
            .map(|(&n, &d)| in_range(node, op, divide(n, d), *lo, *hi))
            .collect::<Result<_, _>>()?,
        Op::Sqrt { input } => values(*input).map(|&x| isqrt(x)).collect(),
    })
}

/// [`rescale`](dsperse_sumcheck_verifier::validate::rescale) of a value within the bounds of its tensor: those of a program that was
/// accepted keep every step below 2^61.
fn rescale_checked(x: i64, multiplier: i64, shift: u32) -> i64 {
    let half = if shift == 0 { 0 } else { 1i64 << (shift - 1) };
    (x * multiplier + half) >> shift
}

fn in_range(node: usize, op: &Op, value: i128, lo: i64, hi: i64) -> Result<i64, EvalError> {
    if value >= i128::from(lo) && value <= i128::from(hi) {
        Ok(value as i64)
    } else {
        Err(EvalError::Range {
            node,
            op: op.name(),
            value,
            lo,
            hi,
        })
    }
}

/// An input or a weight that fits its node.
fn given<'a>(
    node: usize,
    op: &Op,
    shape: &[usize],
    tensor: Option<&'a Tensor>,
    lo: i64,
    hi: i64,
) -> Result<&'a Tensor, EvalError> {
    match tensor {
        Some(t) if t.shape == shape && t.data.len() == shape.iter().product::<usize>() => {
            match t.data.iter().find(|v| !(lo..=hi).contains(v)) {
                Some(&v) => in_range(node, op, v.into(), lo, hi).map(|_| t),
                None => Ok(t),
            }
        }
        _ => Err(EvalError::Shape {
            node,
            expected: shape.to_vec(),
            found: tensor.map(|t| t.shape.clone()).unwrap_or_default(),
        }),
    }
}

/// Row-major strides of a shape.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut out = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        out[i - 1] = out[i] * shape[i];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_sumcheck_verifier::validate::{ProgramError, validate};

    fn run(p: &Program, weights: &[Tensor], inputs: &[Tensor]) -> Result<Vec<Tensor>, EvalError> {
        evaluate(p, &validate(p).expect("valid"), weights, inputs)
    }

    fn t(shape: &[usize], data: &[i64]) -> Tensor {
        Tensor::new(shape.to_vec(), data.to_vec()).expect("lengths agree")
    }

    #[test]
    fn convolution_with_padding_and_stride() {
        let mut p = Program::default();
        let x = p.push(Op::Input {
            shape: vec![1, 3, 3],
            lo: -100,
            hi: 100,
        });
        let w = p.push(Op::Weight {
            shape: vec![1, 1, 2, 2],
            lo: -100,
            hi: 100,
        });
        let window = |dim| Factor::Window {
            dim,
            kernel: 2,
            size: 2,
            stride: 2,
            dilation: 1,
            pad: 1,
        };
        let patches = p.push(Op::Wire {
            input: x,
            factors: vec![Factor::Keep { dim: 0 }, window(1), window(2)],
        });
        let y = p.push(Op::Einsum {
            a: patches,
            b: w,
            a_labels: b"cypxq".to_vec(),
            b_labels: b"ocyx".to_vec(),
            out_labels: b"opq".to_vec(),
        });
        p.outputs = vec![y];
        let all = run(
            &p,
            &[t(&[1, 1, 2, 2], &[1, 10, 100, -1])],
            &[t(&[1, 3, 3], &[1, 2, 3, 4, 5, 6, 7, 8, 9])],
        );
        // Windows start at -1 and 1: [[.,.],[.,1]], [[.,.],[2,3]], [[.,4],[.,7]], [[5,6],[8,9]].
        assert_eq!(
            all.expect("runs")[y as usize],
            t(&[1, 2, 2], &[-1, 197, 33, 856])
        );
    }

    #[test]
    fn requant_rounds_half_up_and_saturates() {
        let mut p = Program::default();
        let x = p.push(Op::Input {
            shape: vec![7],
            lo: -1000,
            hi: 1000,
        });
        let y = p.push(Op::Requant {
            input: x,
            multiplier: 1,
            shift: 2,
            lo: -2,
            hi: 3,
        });
        p.outputs = vec![y];
        let all = run(&p, &[], &[t(&[7], &[-1000, -7, -6, -2, 1, 2, 14])]).expect("runs");
        assert_eq!(all[y as usize].data, [-2, -2, -1, 0, 0, 1, 3]);
        let low = run(&p, &[], &[t(&[7], &[-1001, 0, 0, 0, 0, 0, 0])]);
        assert!(
            matches!(
                low,
                Err(EvalError::Range {
                    node: 0,
                    value: -1001,
                    ..
                })
            ),
            "{low:?}"
        );
    }

    #[test]
    fn division_is_nearest_and_checked() {
        let mut p = Program::default();
        let n = p.push(Op::Input {
            shape: vec![4],
            lo: -100,
            hi: 100,
        });
        let d = p.push(Op::Input {
            shape: vec![4],
            lo: 1,
            hi: 9,
        });
        let q = p.push(Op::Div {
            num: n,
            den: d,
            lo: -8,
            hi: 8,
        });
        p.outputs = vec![q];
        let den = t(&[4], &[2, 2, 3, 9]);
        let all = run(&p, &[], &[t(&[4], &[5, -5, 7, -4]), den.clone()]).expect("runs");
        assert_eq!(all[q as usize].data, [3, -2, 2, 0]);
        let far = run(&p, &[], &[t(&[4], &[100, 0, 0, 0]), den]);
        assert!(
            matches!(
                far,
                Err(EvalError::Range {
                    value: 50,
                    lo: -8,
                    hi: 8,
                    ..
                })
            ),
            "{far:?}"
        );
    }

    #[test]
    fn overflow_is_refused() {
        let mut p = Program::default();
        let x = p.push(Op::Input {
            shape: vec![2],
            lo: 0,
            hi: 1 << 40,
        });
        p.push(Op::Einsum {
            a: x,
            b: x,
            a_labels: vec![0],
            b_labels: vec![0],
            out_labels: vec![],
        });
        let got = validate(&p);
        assert!(
            matches!(got, Err(ProgramError::Overflow { node: 1, .. })),
            "{got:?}"
        );
    }
}
