//! The integer program: what a proof of this backend speaks about.
//!
//! A [`Program`] is a list of nodes in topological order; node `i` defines
//! tensor `i`. All tensors hold signed integers and all arithmetic is exact:
//! nothing wraps, and a value that would leave its declared range is either
//! saturated by definition ([`Op::Requant`]) or makes the evaluation fail
//! ([`Op::Div`]), so that no proof exists for it. The same types are read by
//! the evaluator (`dsperse-sumcheck-evaluator`), the prover and the verifier.
//!
//! Tensors are of three sorts. *Public* ones are inputs and outputs. *Committed*
//! ones cost a commitment and a range check per element: weights, and the
//! results of `Requant`, `Lookup`, `Max`, `Div` and `Sqrt`. All others
//! (`Wire`, `Select`, `Einsum`, `Affine`) are *virtual*: they exist only as claims that
//! a sumcheck reduces to their operands, so they are nearly free.
//!
//! # How to lower typical operators
//!
//! * **Gemm / MatMul with weights**: `Einsum("k, nk -> n")` plus the bias
//!   (a `Weight` in accumulator scale, broadcast by a `Wire` with
//!   [`Factor::Repeat`]) by `Affine`, then `Requant`. Choose the weight scale
//!   such that the requantisation is a pure shift
//!   (`s_w = s_out / (s_in * 2^shift)`, per output channel if wanted): then
//!   `multiplier` is 1 and the remainder has only `shift` bits.
//!   A remainder of at most 12..16 bits is one lookup; more cost two. Give
//!   weights bounds with a power of two of values (-128..=127, not
//!   -127..=127): others cost a second lookup each, in every proof.
//! * **Batched MatMul of activations**: `Einsum("bik, bkj -> bij")`.
//! * **Conv**: a `Wire` with [`Factor::Window`] on each spatial dimension makes
//!   the patches `[c, ky, oy, kx, ox]` (never materialised by the prover), then
//!   `Einsum("c y p x q, o c y x -> o p q")`. Padding is part of the window.
//!   Groups: weights as `[g, o/g, c/g, ky, kx]`, input through
//!   [`Factor::Reshape`] `[c] -> [g, c/g]`, `g` a batch label.
//! * **BatchNorm**: fold into the weights; alone, `Einsum("chw, c -> chw")`.
//! * **Relu / Clip**: the `lo` and `hi` of `Requant` (fused). LeakyRelu:
//!   `a * x + (1 - a) * relu(x)`, with `relu(x)` one `Requant`.
//! * **Sum and average pooling, ReduceMean**: `Wire` with [`Factor::Pool`] or
//!   [`Factor::Sum`], then `Requant` by the divisor. A divisor that depends on
//!   the position (padding not counted): `Einsum` with a constant `Weight`.
//! * **MaxPool**: separable; per dimension one `Wire` with [`Factor::Strided`]
//!   for each offset of the window, then `Max` of at most [`MAX_MAX_INPUTS`]
//!   tensors (longer windows: a tree). For padding shift the values first:
//!   `Affine(x - lo)`, pads read as 0, which is then the least value.
//! * **Concat**: each part through [`Factor::Strided`] with a negative `start`
//!   (zeros outside), then one `Affine` sum. **Slice/Split**: `Strided`;
//!   **Gather**: [`Factor::Gather`], by indices that are an input: [`Op::Select`]; **Pad**: `Strided`; **Transpose**: a
//!   `Wire` of [`Factor::Keep`] in another order (free); **Reshape**:
//!   [`Factor::Reshape`] over the affected dimensions only (verifier cost is
//!   linear in their size, so keep it to small tensors, or give the next
//!   weight the unflattened shape: `Einsum("chw, nchw -> n")`).
//! * **Sigmoid, Tanh, Gelu, Erf, Exp, reciprocal square root, …**: `Requant`
//!   to at most 16 bits, then `Lookup`.
//! * **Softmax**: `Max` tree over the axis, `Affine(x - max)`, `Lookup(exp)`,
//!   `Wire` `Sum` and `Repeat`, `Affine` (scale the numerator), `Div`.
//! * **LayerNorm**: `Affine(n*x - sum)`, square by `Einsum` with itself, sum,
//!   `Sqrt`, then `Div` by the broadcast root; or a `Lookup` of the reciprocal
//!   root and `Einsum`.

use serde::{Deserialize, Serialize};

pub use crate::wire::Factor;

/// Index of a tensor, which is the index of the node that defines it.
pub type TensorId = u32;

/// Most dimensions a tensor may have.
pub const MAX_RANK: usize = 8;
/// Most nodes of a program.
pub const MAX_NODES: usize = 1 << 14;
/// Most entries of one lookup table.
pub const MAX_TABLE: usize = 1 << 16;
/// Most operands of one [`Op::Max`].
pub const MAX_MAX_INPUTS: usize = 4;
/// Most bits of shift in [`Op::Requant`].
pub const MAX_SHIFT: u32 = 40;
/// Most elements of a tensor, each dimension rounded up to a power of two, for
/// tensors that are committed or public.
pub const MAX_ELEMENTS: usize = 1 << 26;
/// Most elements of a virtual tensor, counted in the same way.
pub const MAX_VIRTUAL_ELEMENTS: usize = 1 << 28;
/// Every bound of every tensor and of both sides of every equation is below
/// this in absolute value, so that a congruence modulo the field's prime
/// (about 2^64) is an equality of integers.
pub const MAX_ABS: i128 = 1 << 61;

/// A function given by its values on consecutive integers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The input that belongs to `values[0]`.
    pub lo: i64,
    /// The function's values at `lo`, `lo + 1`, …; 1 to [`MAX_TABLE`] of them.
    pub values: Vec<i32>,
}

/// One node of a program. The equations are over the integers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// The next public input; the verifier checks `lo <= x <= hi` on it.
    Input {
        /// Dimensions, row-major.
        shape: Vec<usize>,
        /// Least value.
        lo: i64,
        /// Greatest value.
        hi: i64,
    },
    /// The next weight tensor, committed in the verifying key. Every proof
    /// shows `lo <= w <= hi`.
    Weight {
        /// Dimensions, row-major.
        shape: Vec<usize>,
        /// Least value.
        lo: i64,
        /// Greatest value.
        hi: i64,
    },
    /// A linear map with small public coefficients, a product of one factor
    /// for each group of dimensions. Every input dimension is consumed by
    /// exactly one factor; the output dimensions are those of the factors, in
    /// their order.
    Wire {
        /// The tensor read.
        input: TensorId,
        /// The factors.
        factors: Vec<Factor>,
    },
    /// `out[.., k, ..] = input[.., ids[k], ..]`: picks along one dimension what a public
    /// tensor names. `ids` is an `Input`; its elements, row-major, replace the dimension
    /// by one of as many elements. The verifier reads the ids, so this is a wire with
    /// entries that each claim brings along.
    Select {
        /// The tensor read.
        input: TensorId,
        /// The dimension picked from.
        dim: usize,
        /// An [`Op::Input`] whose bounds are within `0..size` of the dimension.
        ids: TensorId,
    },
    /// `out[..] = sum a[..] * b[..]`, with one label for each dimension, as in
    /// Einstein's notation. Labels in both operands and not in `out` are
    /// summed; every other label is in `out`. No label twice in one list.
    Einsum {
        /// First operand.
        a: TensorId,
        /// Second operand; may be the same tensor.
        b: TensorId,
        /// Labels of the dimensions of `a`.
        a_labels: Vec<u8>,
        /// Labels of the dimensions of `b`.
        b_labels: Vec<u8>,
        /// Labels of the result.
        out_labels: Vec<u8>,
    },
    /// `out = sum coefficient * term + constant`, element by element; all
    /// terms have the same shape (broadcast by `Wire` first).
    Affine {
        /// Tensors and their coefficients, at least one.
        terms: Vec<(TensorId, i64)>,
        /// Added to every element.
        constant: i64,
    },
    /// `out = clamp(floor((x * multiplier + half) / 2^shift), lo, hi)`, with
    /// `half = 2^(shift-1)`, or 0 for `shift = 0`: round half up, saturate.
    Requant {
        /// The tensor read.
        input: TensorId,
        /// Positive multiplier.
        multiplier: i64,
        /// Bits shifted out, at most [`MAX_SHIFT`].
        shift: u32,
        /// Least result.
        lo: i64,
        /// Greatest result. Cheapest when `hi - lo + 1` is a power of two.
        hi: i64,
    },
    /// `out = table[x]`; the table must cover the bounds of `x`.
    Lookup {
        /// The tensor read.
        input: TensorId,
        /// Index into [`Program::tables`].
        table: u32,
    },
    /// `out = max` of 2 to [`MAX_MAX_INPUTS`] tensors of the same shape.
    Max {
        /// The operands.
        inputs: Vec<TensorId>,
    },
    /// `out = floor((2 * num + den) / (2 * den))`: nearest, half up. The
    /// bounds of `den` must be positive. Evaluation fails when a result is
    /// outside `lo..=hi`.
    Div {
        /// Numerator.
        num: TensorId,
        /// Denominator, same shape.
        den: TensorId,
        /// Least result.
        lo: i64,
        /// Greatest result.
        hi: i64,
    },
    /// `out = floor(sqrt(x))`; the bounds of `x` must not be negative.
    Sqrt {
        /// The tensor read.
        input: TensorId,
    },
}

impl Op {
    /// The tensors that this node reads, in order.
    pub fn operands(&self) -> Vec<TensorId> {
        match self {
            Op::Input { .. } | Op::Weight { .. } => vec![],
            Op::Wire { input, .. }
            | Op::Requant { input, .. }
            | Op::Lookup { input, .. }
            | Op::Sqrt { input } => vec![*input],
            Op::Select { input, ids, .. } => vec![*input, *ids],
            Op::Einsum { a, b, .. } => vec![*a, *b],
            Op::Affine { terms, .. } => terms.iter().map(|t| t.0).collect(),
            Op::Max { inputs } => inputs.clone(),
            Op::Div { num, den, .. } => vec![*num, *den],
        }
    }

    /// The node's name in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input { .. } => "Input",
            Op::Weight { .. } => "Weight",
            Op::Wire { .. } => "Wire",
            Op::Select { .. } => "Select",
            Op::Einsum { .. } => "Einsum",
            Op::Affine { .. } => "Affine",
            Op::Requant { .. } => "Requant",
            Op::Lookup { .. } => "Lookup",
            Op::Max { .. } => "Max",
            Op::Div { .. } => "Div",
            Op::Sqrt { .. } => "Sqrt",
        }
    }
}

/// A whole integer program. Inputs and weights are numbered in the order of
/// their nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Nodes in topological order: a node reads only earlier tensors.
    pub nodes: Vec<Op>,
    /// Lookup tables.
    pub tables: Vec<Table>,
    /// The public outputs: different tensors, none of them an `Input` or a
    /// `Weight` (pass one through an `Affine` if need be).
    pub outputs: Vec<TensorId>,
}

impl Program {
    /// Appends a node and returns the tensor that it defines.
    pub fn push(&mut self, op: Op) -> TensorId {
        self.nodes.push(op);
        (self.nodes.len() - 1) as TensorId
    }

    /// The tensors that are `Input` nodes, in order.
    pub fn inputs(&self) -> Vec<TensorId> {
        self.ids(|op| matches!(op, Op::Input { .. }))
    }

    /// The tensors that are `Weight` nodes, in order.
    pub fn weights(&self) -> Vec<TensorId> {
        self.ids(|op| matches!(op, Op::Weight { .. }))
    }

    /// The weights alone: a program that computes nothing, whose proof shows that they are
    /// within their bounds.
    pub fn weights_alone(&self) -> Self {
        let weights = self.nodes.iter();
        let weights = weights.filter(|op| matches!(op, Op::Weight { .. }));
        Self {
            nodes: weights.cloned().collect(),
            ..Self::default()
        }
    }

    fn ids(&self, want: impl Fn(&Op) -> bool) -> Vec<TensorId> {
        (0..self.nodes.len() as TensorId)
            .filter(|&i| want(&self.nodes[i as usize]))
            .collect()
    }
}

/// An integer tensor, row-major.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tensor {
    /// Dimensions; empty for a scalar.
    pub shape: Vec<usize>,
    /// Elements, last dimension fastest.
    pub data: Vec<i64>,
}

impl Tensor {
    /// A tensor from its parts; `None` when the lengths do not agree.
    pub fn new(shape: Vec<usize>, data: Vec<i64>) -> Option<Self> {
        let n = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        (n == data.len()).then_some(Self { shape, data })
    }
}
