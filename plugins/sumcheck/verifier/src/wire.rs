//! The factors of a [`crate::program::Op::Wire`]: small sparse matrices, one
//! for each group of dimensions.
//!
//! A wire maps `out[o_1, .., o_k] = sum_{i} prod_f M_f[o_f, i_f] * in[i]`, the
//! product over its factors. Each `M_f` is public and sparse; its multilinear
//! extension at a pair of points costs the verifier one step per nonzero entry,
//! so separable maps (windows, slices, sums) cost O(size of a dimension) even
//! when the tensor is large. Convolution as such a product: Xie et al., "zkCNN"
//! (2021) do it by FFT; here the window matrix is evaluated directly.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a factor is no map between its dimensions.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WireError {
    /// This error occurs when a dimension is read that the input has not.
    #[error("it reads a dimension that its input has not")]
    Dimension,
    /// This error occurs when a slice does not move, or moves out of all bounds.
    #[error("a slice has start {start} and step {step}")]
    Slice {
        /// Where it starts.
        start: i64,
        /// How far apart its elements are.
        step: i64,
    },
    /// This error occurs when a window is empty or larger than any tensor.
    #[error(
        "a window has kernel {kernel}, positions {size}, stride {stride}, dilation {dilation}, padding {pad}"
    )]
    Window {
        /// Elements of a window.
        kernel: usize,
        /// Number of windows.
        size: usize,
        /// Distance of two windows.
        stride: usize,
        /// Distance of two elements.
        dilation: usize,
        /// Elements before the first.
        pad: usize,
    },
    /// This error occurs when a reshape changes the number of elements.
    #[error("a reshape turns {from:?} into {to:?}")]
    Reshape {
        /// Sizes before.
        from: Vec<usize>,
        /// Sizes after.
        to: Vec<usize>,
    },
    /// This error occurs when a matrix is not in its canonical form.
    #[error("a matrix has unsorted, zero or outside entries")]
    Matrix,
    /// This error occurs when a result has no elements.
    #[error("an output dimension is empty: {0:?}")]
    Empty(Vec<usize>),
    /// This error occurs when a factor has too many entries.
    #[error("a factor has more than {MAX_FACTOR_ENTRIES} entries")]
    Entries,
    /// This error occurs when sizes multiply to more than an index holds.
    #[error("dimensions {0:?} are too large")]
    Large(Vec<usize>),
}

/// One factor of a wire. `dim` is a dimension of the input tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Factor {
    /// The dimension as it is. Free: no sumcheck.
    Keep {
        /// Input dimension.
        dim: usize,
    },
    /// A new dimension over which values repeat (broadcast). Free.
    Repeat {
        /// Size of the new dimension.
        size: usize,
    },
    /// `out[o] = in[start + step * o]`, or 0 where that is outside.
    /// Slices, strides, reversal (negative step), zero padding, embedding.
    Strided {
        /// Input dimension.
        dim: usize,
        /// Size of the output dimension.
        size: usize,
        /// Input index of output 0; may be negative.
        start: i64,
        /// Step, not 0.
        step: i64,
    },
    /// `out[k, o] = in[o * stride + k * dilation - pad]`, or 0 outside: two
    /// output dimensions, kernel then position.
    Window {
        /// Input dimension.
        dim: usize,
        /// Kernel size.
        kernel: usize,
        /// Number of positions.
        size: usize,
        /// Stride, at least 1.
        stride: usize,
        /// Dilation, at least 1.
        dilation: usize,
        /// Zeros before the first element.
        pad: usize,
    },
    /// `out[o] = sum_k in[o * stride + k * dilation - pad]`, 0 outside: the
    /// window summed over its kernel.
    Pool {
        /// Input dimension.
        dim: usize,
        /// Kernel size.
        kernel: usize,
        /// Number of positions.
        size: usize,
        /// Stride, at least 1.
        stride: usize,
        /// Dilation, at least 1.
        dilation: usize,
        /// Zeros before the first element.
        pad: usize,
    },
    /// Sums over the dimension, which disappears.
    Sum {
        /// Input dimension.
        dim: usize,
    },
    /// `out[o] = in[indices[o]]`, or 0 for an index outside (use -1).
    Gather {
        /// Input dimension.
        dim: usize,
        /// Input index of each output.
        indices: Vec<i64>,
    },
    /// Row-major reinterpretation of the given dimensions (in that order) as
    /// the given sizes, with the same number of elements. Either list may be
    /// empty when that number is 1.
    Reshape {
        /// Input dimensions.
        dims: Vec<usize>,
        /// Sizes of the output dimensions.
        sizes: Vec<usize>,
    },
    /// Any small matrix: entries `(flat output index, flat input index,
    /// coefficient)`, row-major over the named dimensions, sorted strictly
    /// by (output, input), coefficient not 0.
    Matrix {
        /// Input dimensions.
        dims: Vec<usize>,
        /// Sizes of the output dimensions.
        sizes: Vec<usize>,
        /// Nonzero entries.
        entries: Vec<(u32, u32, i32)>,
    },
}

/// Most nonzero entries of one factor.
pub const MAX_FACTOR_ENTRIES: usize = 1 << 23;
/// Most nonzero entries of all factors of a program together. Entries are not written in the
/// key, but listed by whoever checks it, so a small key could ask for much work.
pub const MAX_PROGRAM_ENTRIES: u64 = 1 << 24;
/// Entries that every program may have, however small its tensors are: two milliseconds.
pub const FREE_ENTRIES: u64 = 1 << 16;
/// Further entries for each element of inputs and weights and each listed index. Without a
/// limit that grows with them a key of 200 bytes could ask for as much as any.
pub const ENTRIES_PER_VALUE: u64 = 16;

impl Factor {
    /// The input dimensions that this factor consumes, in its order.
    pub fn input_dims(&self) -> Vec<usize> {
        match self {
            Factor::Keep { dim }
            | Factor::Strided { dim, .. }
            | Factor::Window { dim, .. }
            | Factor::Pool { dim, .. }
            | Factor::Sum { dim }
            | Factor::Gather { dim, .. } => vec![*dim],
            Factor::Repeat { .. } => vec![],
            Factor::Reshape { dims, .. } | Factor::Matrix { dims, .. } => dims.clone(),
        }
    }

    /// The output sizes of this factor, given the sizes of its input
    /// dimensions; an error says what is wrong with the parameters.
    pub fn output_sizes(&self, in_sizes: &[usize]) -> Result<Vec<usize>, WireError> {
        let out = match self {
            Factor::Keep { .. } => in_sizes.to_vec(),
            Factor::Repeat { size } => vec![*size],
            Factor::Strided {
                size, start, step, ..
            } => {
                let in_range = |v: i64| v.unsigned_abs() <= 1 << 32;
                if *step == 0 || !in_range(*step) || !in_range(*start) {
                    return Err(WireError::Slice {
                        start: *start,
                        step: *step,
                    });
                }
                vec![*size]
            }
            Factor::Window {
                kernel,
                size,
                stride,
                dilation,
                pad,
                ..
            } => {
                check_window(*kernel, *size, *stride, *dilation, *pad)?;
                vec![*kernel, *size]
            }
            Factor::Pool {
                kernel,
                size,
                stride,
                dilation,
                pad,
                ..
            } => {
                check_window(*kernel, *size, *stride, *dilation, *pad)?;
                vec![*size]
            }
            Factor::Sum { .. } => vec![],
            Factor::Gather { indices, .. } => vec![indices.len()],
            Factor::Reshape { sizes, .. } => {
                if product(sizes)? != product(in_sizes)? {
                    return Err(WireError::Reshape {
                        from: in_sizes.to_vec(),
                        to: sizes.clone(),
                    });
                }
                sizes.clone()
            }
            Factor::Matrix { sizes, entries, .. } => {
                let (n_out, n_in) = (product(sizes)?, product(in_sizes)?);
                let sorted = entries
                    .windows(2)
                    .all(|w| (w[0].0, w[0].1) < (w[1].0, w[1].1));
                let inside = entries
                    .iter()
                    .all(|e| (e.0 as usize) < n_out && (e.1 as usize) < n_in && e.2 != 0);
                if !sorted || !inside {
                    return Err(WireError::Matrix);
                }
                sizes.clone()
            }
        };
        if out.contains(&0) {
            return Err(WireError::Empty(out));
        }
        if self.entry_bound(in_sizes, &out) > MAX_FACTOR_ENTRIES as u128 {
            return Err(WireError::Entries);
        }
        Ok(out)
    }

    /// Entries that the key lists.
    pub fn listed(&self) -> usize {
        match self {
            Factor::Gather { indices, .. } => indices.len(),
            Factor::Matrix { entries, .. } => entries.len(),
            _ => 0,
        }
    }

    /// An upper bound on the number of entries, before they are listed.
    pub fn entry_bound(&self, in_sizes: &[usize], out: &[usize]) -> u128 {
        let n_out: u128 = out.iter().map(|&d| d as u128).product();
        match self {
            Factor::Keep { .. } | Factor::Repeat { .. } => 0,
            Factor::Pool { kernel, .. } => n_out.saturating_mul(*kernel as u128),
            Factor::Sum { .. } => in_sizes.iter().map(|&d| d as u128).product(),
            Factor::Matrix { entries, .. } => entries.len() as u128,
            _ => n_out,
        }
    }

    /// The nonzero entries `(flat output, flat input, coefficient)`, row-major
    /// over the factor's own dimensions. Call only after [`Self::output_sizes`]
    /// has accepted the same sizes.
    pub fn entries(&self, in_sizes: &[usize]) -> Vec<(u32, u32, i32)> {
        let n_in: usize = in_sizes.iter().product();
        let inside = |i: i64| (0..n_in as i64).contains(&i).then_some(i as u32);
        match self {
            Factor::Keep { .. } => (0..n_in as u32).map(|i| (i, i, 1)).collect(),
            Factor::Repeat { size } => (0..*size as u32).map(|o| (o, 0, 1)).collect(),
            Factor::Strided {
                size, start, step, ..
            } => (0..*size as u32)
                .filter_map(|o| Some((o, inside(start + step * i64::from(o))?, 1)))
                .collect(),
            Factor::Window {
                kernel,
                size,
                stride,
                dilation,
                pad,
                ..
            } => {
                let mut out = Vec::with_capacity(kernel * size);
                for k in 0..*kernel {
                    for o in 0..*size {
                        if let Some(i) = inside((o * stride + k * dilation) as i64 - *pad as i64) {
                            out.push(((k * size + o) as u32, i, 1));
                        }
                    }
                }
                out
            }
            Factor::Pool {
                kernel,
                size,
                stride,
                dilation,
                pad,
                ..
            } => {
                let mut out = Vec::with_capacity(kernel * size);
                for o in 0..*size {
                    for k in 0..*kernel {
                        if let Some(i) = inside((o * stride + k * dilation) as i64 - *pad as i64) {
                            out.push((o as u32, i, 1));
                        }
                    }
                }
                out
            }
            Factor::Sum { .. } => (0..n_in as u32).map(|i| (0, i, 1)).collect(),
            Factor::Gather { indices, .. } => indices
                .iter()
                .enumerate()
                .filter_map(|(o, &i)| Some((o as u32, inside(i)?, 1)))
                .collect(),
            Factor::Reshape { .. } => (0..n_in as u32).map(|i| (i, i, 1)).collect(),
            Factor::Matrix { entries, .. } => entries.clone(),
        }
    }
}

/// What [`crate::program::Op::Select`] is for given ids: a gather along `dim`, all other
/// dimensions as they are.
pub fn select_factors(rank: usize, dim: usize, ids: &[i64]) -> Vec<Factor> {
    let factor = |d| {
        if d == dim {
            Factor::Gather {
                dim,
                indices: ids.to_vec(),
            }
        } else {
            Factor::Keep { dim: d }
        }
    };
    (0..rank).map(factor).collect()
}

fn check_window(
    kernel: usize,
    size: usize,
    stride: usize,
    dilation: usize,
    pad: usize,
) -> Result<(), WireError> {
    let fits = |v: usize, least: usize| (least..=1 << 24).contains(&v);
    if fits(kernel, 1) && fits(size, 1) && fits(stride, 1) && fits(dilation, 1) && fits(pad, 0) {
        Ok(())
    } else {
        Err(WireError::Window {
            kernel,
            size,
            stride,
            dilation,
            pad,
        })
    }
}

fn product(sizes: &[usize]) -> Result<usize, WireError> {
    sizes
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .filter(|&n| n <= u32::MAX as usize)
        .ok_or_else(|| WireError::Large(sizes.to_vec()))
}
