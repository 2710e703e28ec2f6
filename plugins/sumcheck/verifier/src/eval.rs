//! The plain evaluator of integer programs: the one definition of what a
//! program computes. Witness generation, prover and tests use it.

use thiserror::Error;

use crate::program::*;
use crate::validate::{Checked, divide, isqrt, rescale};

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

/// Evaluates a program that [`crate::validate::validate`] has accepted (with
/// the result of that call) and returns every tensor, in node order.
pub fn evaluate(
    program: &Program,
    checked: &Checked,
    weights: &[Tensor],
    inputs: &[Tensor],
) -> Result<Vec<Tensor>, EvalError> {
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
    let mut all: Vec<Tensor> = Vec::with_capacity(program.nodes.len());
    for (node, op) in program.nodes.iter().enumerate() {
        let shape = &checked.shapes[node];
        let data = match op {
            Op::Input { lo, hi, .. } => given(node, op, shape, inputs.next(), *lo, *hi)?,
            Op::Weight { lo, hi, .. } => given(node, op, shape, weights.next(), *lo, *hi)?,
            Op::Wire { input, factors } => wire(&all[*input as usize], factors),
            Op::Select { input, dim, ids } => {
                select(&all[*input as usize], *dim, &all[*ids as usize].data)
            }
            Op::Einsum {
                a,
                b,
                a_labels,
                b_labels,
                out_labels,
            } => einsum(
                &all[*a as usize],
                a_labels,
                &all[*b as usize],
                b_labels,
                out_labels,
                shape,
            ),
            Op::Affine { terms, constant } => {
                let mut data = vec![*constant; shape.iter().product()];
                for (t, c) in terms {
                    data.iter_mut()
                        .zip(&all[*t as usize].data)
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
            } => all[*input as usize]
                .data
                .iter()
                .map(|&x| {
                    rescale(x, *multiplier, *shift).clamp(i128::from(*lo), i128::from(*hi)) as i64
                })
                .collect(),
            Op::Lookup { input, table } => {
                let t = &program.tables[*table as usize];
                let data = &all[*input as usize].data;
                data.iter()
                    .map(|&x| i64::from(t.values[(x - t.lo) as usize]))
                    .collect()
            }
            Op::Max { inputs } => {
                let mut data = all[inputs[0] as usize].data.clone();
                for &t in &inputs[1..] {
                    data.iter_mut()
                        .zip(&all[t as usize].data)
                        .for_each(|(d, &x)| *d = (*d).max(x));
                }
                data
            }
            Op::Div { num, den, lo, hi } => {
                let pairs = all[*num as usize].data.iter().zip(&all[*den as usize].data);
                pairs
                    .map(|(&n, &d)| in_range(node, op, divide(n, d), *lo, *hi))
                    .collect::<Result<_, _>>()?
            }
            Op::Sqrt { input } => all[*input as usize]
                .data
                .iter()
                .map(|&x| isqrt(x))
                .collect(),
        };
        all.push(Tensor {
            shape: shape.clone(),
            data,
        });
    }
    Ok(all)
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

fn given(
    node: usize,
    op: &Op,
    shape: &[usize],
    tensor: Option<&Tensor>,
    lo: i64,
    hi: i64,
) -> Result<Vec<i64>, EvalError> {
    let found = tensor.map(|t| t.shape.clone()).unwrap_or_default();
    match tensor {
        Some(t) if found == shape && t.data.len() == shape.iter().product::<usize>() => {
            for &v in &t.data {
                in_range(node, op, v.into(), lo, hi)?;
            }
            Ok(t.data.clone())
        }
        _ => Err(EvalError::Shape {
            node,
            expected: shape.to_vec(),
            found,
        }),
    }
}

/// Picks along a dimension. The ids are within it: an input's bounds are checked.
fn select(input: &Tensor, dim: usize, ids: &[i64]) -> Vec<i64> {
    let row: usize = input.shape[dim + 1..].iter().product();
    let block = row * input.shape[dim];
    let mut out = Vec::with_capacity(input.data.len() / input.shape[dim] * ids.len());
    for part in input.data.chunks(block) {
        for &id in ids {
            let at = id as usize * row;
            out.extend_from_slice(&part[at..at + row]);
        }
    }
    out
}

/// Row-major strides of a shape.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut out = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        out[i - 1] = out[i] * shape[i];
    }
    out
}

/// One factor with its entries as offsets into the whole tensors, sorted by
/// output.
fn wire(input: &Tensor, factors: &[Factor]) -> Vec<i64> {
    let in_strides = strides(&input.shape);
    // For each factor, per flat output index: (input offset, coefficient)s.
    let mut rows: Vec<Vec<Vec<(usize, i64)>>> = Vec::new();
    for factor in factors {
        let dims = factor.input_dims();
        let sizes: Vec<usize> = dims.iter().map(|&d| input.shape[d]).collect();
        let n_out: usize = match factor.output_sizes(&sizes) {
            Ok(out) => out.iter().product(),
            Err(_) => 0,
        };
        let mut table = vec![Vec::new(); n_out];
        for (o, i, c) in factor.entries(&sizes) {
            let (mut rest, mut offset) = (i as usize, 0);
            for k in (0..dims.len()).rev() {
                offset += rest % sizes[k] * in_strides[dims[k]];
                rest /= sizes[k];
            }
            table[o as usize].push((offset, i64::from(c)));
        }
        rows.push(table);
    }
    let mut out = Vec::with_capacity(rows.iter().map(Vec::len).product());
    expand(&rows, &input.data, &[(0, 1)], &mut out);
    out
}

/// Walks the product of the factors' outputs in row-major order; `partial`
/// holds the terms chosen by the factors before.
fn expand(
    rows: &[Vec<Vec<(usize, i64)>>],
    data: &[i64],
    partial: &[(usize, i64)],
    out: &mut Vec<i64>,
) {
    let Some((first, rest)) = rows.split_first() else {
        out.push(partial.iter().map(|&(o, c)| c * data[o]).sum());
        return;
    };
    for row in first {
        if let ([(o, c)], [(o2, c2)]) = (partial, row.as_slice()) {
            expand(rest, data, &[(o + o2, c * c2)], out);
            continue;
        }
        let next: Vec<(usize, i64)> = partial
            .iter()
            .flat_map(|&(o, c)| row.iter().map(move |&(o2, c2)| (o + o2, c * c2)))
            .collect();
        expand(rest, data, &next, out);
    }
}

/// Nested loops over output labels, then over summed ones.
fn einsum(
    a: &Tensor,
    a_labels: &[u8],
    b: &Tensor,
    b_labels: &[u8],
    out_labels: &[u8],
    out_shape: &[usize],
) -> Vec<i64> {
    let (sa, sb) = (strides(&a.shape), strides(&b.shape));
    let stride = |labels: &[u8], strides: &[usize], l: u8| {
        labels
            .iter()
            .position(|&x| x == l)
            .map_or(0, |i| strides[i])
    };
    let offsets = |labels: &[u8], strides: &[usize], over: &[(u8, usize)]| {
        let mut out = vec![0usize];
        for &(l, size) in over {
            let step = stride(labels, strides, l);
            out = out
                .iter()
                .flat_map(|&o| (0..size).map(move |i| o + i * step))
                .collect();
        }
        out
    };
    let outer: Vec<(u8, usize)> = out_labels
        .iter()
        .copied()
        .zip(out_shape.iter().copied())
        .collect();
    let inner: Vec<(u8, usize)> = a_labels
        .iter()
        .zip(&a.shape)
        .filter(|(l, _)| !out_labels.contains(l))
        .map(|(&l, &s)| (l, s))
        .collect();
    let (ia, ib) = (
        offsets(a_labels, &sa, &inner),
        offsets(b_labels, &sb, &inner),
    );
    // The longest suffix of the output dimensions that one operand does not
    // read is the innermost loop, so that long runs share one factor.
    let (oa, ob) = (
        offsets(a_labels, &sa, &outer),
        offsets(b_labels, &sb, &outer),
    );
    let mut out = vec![0i64; oa.len()];
    let suffix: usize = outer
        .iter()
        .rev()
        .take_while(|(l, _)| !a_labels.contains(l))
        .map(|x| x.1)
        .product();
    if suffix > 1 {
        return rows_times((&a.data, &oa), (&b.data, &ob), (&ia, &ib), suffix);
    }
    let suffix: usize = outer
        .iter()
        .rev()
        .take_while(|(l, _)| !b_labels.contains(l))
        .map(|x| x.1)
        .product();
    if suffix > 1 {
        return rows_times((&b.data, &ob), (&a.data, &oa), (&ib, &ia), suffix);
    }
    for ((x, &oa), &ob) in out.iter_mut().zip(&oa).zip(&ob) {
        *x = ia
            .iter()
            .zip(&ib)
            .map(|(&i, &j)| a.data[oa + i] * b.data[ob + j])
            .sum();
    }
    out
}

/// Columns and rows of a product that are worked on at once: their sums stay in the first-level
/// cache while a strip of the right operand, which stays in the second, is gone through.
const COLUMNS: usize = 64;
const ROWS: usize = 4;

/// A sum of products in which one operand, the left, is constant over runs of `run` outputs,
/// so that each run is a sum of scaled rows of the other. Every sum is made in the order of
/// `shared`, whatever is worked on at once, so that floats are the same everywhere.
///
/// `left` and `right` are each operand's values with its offsets by output; `shared` has the
/// offsets in both of what is summed over.
pub fn rows_times<T>(
    left: (&[T], &[usize]),
    right: (&[T], &[usize]),
    shared: (&[usize], &[usize]),
    run: usize,
) -> Vec<T>
where
    T: Copy + Default + PartialEq + std::ops::AddAssign + std::ops::Mul<Output = T>,
{
    let ((a, oa), (b, ob)) = (left, right);
    let pairs = || shared.0.iter().copied().zip(shared.1.iter().copied());
    let zero = T::default();
    let mut out = vec![zero; oa.len()];
    let rows = out.len() / run.max(1);
    let mut first = 0;
    while first < rows {
        let columns = &ob[first * run..(first + 1) * run];
        let dense = columns.windows(2).all(|w| w[1] == w[0] + 1);
        // All rows that read the same part of the right operand, strip by strip.
        let end = (first..rows)
            .find(|&r| ob[r * run] != columns[0])
            .unwrap_or(rows);
        for from in (0..run).step_by(COLUMNS) {
            let to = run.min(from + COLUMNS);
            for group in (first..end).step_by(ROWS) {
                let group = group..end.min(group + ROWS);
                for (i, j) in pairs() {
                    for r in group.clone() {
                        let x = a[oa[r * run] + i];
                        if x == zero {
                            continue;
                        }
                        let sums = &mut out[r * run + from..r * run + to];
                        if dense {
                            let row = &b[columns[0] + j + from..columns[0] + j + to];
                            sums.iter_mut().zip(row).for_each(|(d, &y)| *d += x * y);
                        } else {
                            let row = columns[from..to].iter().map(|&o| b[o + j]);
                            sums.iter_mut().zip(row).for_each(|(d, y)| *d += x * y);
                        }
                    }
                }
            }
        }
        first = end;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::validate;

    fn run(p: &Program, weights: &[Tensor], inputs: &[Tensor]) -> Result<Vec<Tensor>, EvalError> {
        evaluate(p, &validate(p).expect("valid"), weights, inputs)
    }

    fn t(shape: &[usize], data: &[i64]) -> Tensor {
        Tensor::new(shape.to_vec(), data.to_vec()).expect("lengths agree")
    }

    #[test]
    fn products_are_the_sums_that_they_should_be_whatever_the_sizes() {
        let tensor = |shape: &[usize], seed: i64| {
            let n = shape.iter().product::<usize>() as i64;
            let data: Vec<i64> = (0..n).map(|i| (i * 31 + seed) % 17 - 5).collect();
            t(shape, &data)
        };
        // More and fewer rows and columns than are worked on at once.
        for (rows, inner, columns) in [(9, 5, 130), (1, 3, 64), (4, 1, 2), (3, 7, 65)] {
            let a = tensor(&[2, rows, inner], 1);
            let by_row = tensor(&[2, inner, columns], 2);
            // Rows of the right operand lie apart from each other in memory.
            let by_column = tensor(&[2, columns, inner], 3);
            let shape = [2, rows, columns];
            let product = |b: &Tensor, labels: &[u8]| einsum(&a, b"btc", b, labels, b"btn", &shape);
            let (dense, apart) = (product(&by_row, b"bcn"), product(&by_column, b"bnc"));
            for (i, (&dense, &apart)) in dense.iter().zip(&apart).enumerate() {
                let (b, r, n) = (i / (rows * columns), i / columns % rows, i % columns);
                let left = |c: usize| a.data[(b * rows + r) * inner + c];
                let sum = |right: &dyn Fn(usize) -> i64| -> i64 {
                    (0..inner).map(|c| left(c) * right(c)).sum()
                };
                let right = |c: usize| by_row.data[(b * inner + c) * columns + n];
                assert_eq!(dense, sum(&right), "{rows} {inner} {columns} {i}");
                let right = |c: usize| by_column.data[(b * columns + n) * inner + c];
                assert_eq!(apart, sum(&right), "{rows} {inner} {columns} {i}");
            }
        }
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
            matches!(
                got,
                Err(crate::validate::ProgramError::Overflow { node: 1, .. })
            ),
            "{got:?}"
        );
    }
}
