//! From the real-valued graph to the integer program.
//!
//! Every tensor of the program stands for `integer · 2^exponent`. A value is *wide* when
//! it is what an exact operation left (an accumulator, a sum of terms at different
//! exponents) and *narrow* when it fits a few bits more than an activation. Exact
//! operations cost no commitment, so values stay wide until somebody needs them narrow;
//! then one `Requant` rounds half up and saturates. Interval bounds of the program
//! ([`dsperse_sumcheck_verifier::validate`]) prove that nothing else can overflow.
//!
//! - [`scale`]: exponents from calibrated ranges;
//! - `builder`: appends nodes, knows bounds, rounds;
//! - `channels`: scales of their own for channels that differ much in size;
//! - `plan`: which nodes are computed by one lookup table;
//! - `linear`: products and sums;
//! - `tiles`: large weights in pieces, which are padded less;
//! - `nonlinear`: limits, tables, max-pooling;
//! - `normalise`: Softmax and layer normalisation;
//! - `divide`: quotients;
//! - `compare`: maxima, steps and roundings to integers.
//!
//! A node whose values are [integers](crate::graph::Node::integral) has exponent 0 and is exact.

mod builder;
mod channels;
mod compare;
mod divide;
mod linear;
mod nonlinear;
mod normalise;
mod plan;
pub mod scale;
mod tiles;

use crate::array::Array;
use crate::error::{LowerError, Result};
use crate::graph::{Graph, Id, Op};
use builder::{Builder, Quantity};
use channels::Channels;
use dsperse_onnx::DataType;
use dsperse_sumcheck_verifier::program::{self as ir, Program, Tensor, TensorId};
use dsperse_sumcheck_verifier::validate::Checked;
use dsperse_sumcheck_verifier::wire::Factor;
use plan::Plan;
use scale::{BOUNDARY_BITS, Ranges, exponent_for};
use std::collections::HashMap;
use std::rc::Rc;

/// How finely values are quantised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Precision {
    /// Bits of an interior activation, sign included; 8 to 24. Also the greatest size of
    /// a lookup table, as a power of two, up to [`TABLE_BITS`].
    pub activation_bits: u32,
    /// Bits of a weight, sign included; 8 to 16.
    pub weight_bits: u32,
    /// Bits of an input or output of the slice, sign included.
    pub boundary_bits: u32,
    /// Whether channels that differ much in size get scales of their own.
    pub channels: bool,
    /// Whether the rare greatest values at a table's input saturate
    /// (see [`Ranges::clipped`]).
    pub clip: bool,
}

/// Greatest magnitude of an integer that is kept as it is.
const WHOLE: i64 = 1 << 31;

/// Bits of an input that is compared, or quantised by the model itself: what is nearest to a
/// threshold must stay on its side, so that all of a float's bits count.
const JUDGED_BITS: u32 = 30;

/// Most bits of a value that is looked up.
pub const TABLE_BITS: u32 = 16;

impl Precision {
    /// One number of bits for activations and weights, one scale for a tensor.
    #[must_use]
    pub fn plain(bits: u32) -> Self {
        Self {
            activation_bits: bits,
            weight_bits: bits.min(16),
            boundary_bits: BOUNDARY_BITS,
            channels: false,
            clip: false,
        }
    }

    /// Channels with scales of their own, and wider values at the boundary where the
    /// activations are wider.
    #[must_use]
    pub fn by_channel(bits: u32) -> Self {
        Self {
            boundary_bits: BOUNDARY_BITS.max(bits),
            channels: true,
            ..Self::plain(bits)
        }
    }

    fn table_bits(&self) -> u32 {
        self.activation_bits.min(TABLE_BITS)
    }
}

/// An input or output of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Element type; the integers of an integer or boolean tensor are its elements.
    pub dtype: DataType,
    /// The integers stand for `integer · 2^exponent`.
    pub exponent: i32,
    /// Least integer.
    pub lo: i64,
    /// Greatest integer.
    pub hi: i64,
}

/// A slice in integers.
#[derive(Clone, Debug)]
pub struct Quantised {
    /// The program.
    pub program: Program,
    /// What the check of the program found: shapes and bounds.
    pub checked: Checked,
    /// The weights, in the order of the program's `Weight` nodes.
    pub weights: Vec<Tensor>,
    /// The inputs, in order.
    pub inputs: Vec<Port>,
    /// The outputs, in order.
    pub outputs: Vec<Port>,
}

/// Turns a graph into a program. `ranges` are those of every node, from calibration.
///
/// # Errors
/// [`LowerError::Unsupported`] with the node that does not fit the program's limits.
pub fn quantise(graph: &Graph, ranges: &Ranges, precision: Precision) -> Result<Quantised> {
    program(graph, ranges, precision, false)
}

/// The same without the elements of the weights, for whoever wants to know only whether there
/// is such a program, and what it costs.
///
/// # Errors
/// As [`quantise`].
pub fn outline(graph: &Graph, ranges: &Ranges, precision: Precision) -> Result<Quantised> {
    program(graph, ranges, precision, true)
}

fn program(
    graph: &Graph,
    ranges: &Ranges,
    precision: Precision,
    outline: bool,
) -> Result<Quantised> {
    let plan = Plan::new(graph);
    let mut q = Quantiser {
        graph,
        ranges,
        precision,
        plan,
        b: Builder {
            outline,
            ..Builder::default()
        },
        values: vec![None; graph.nodes.len()],
        narrowed: vec![None; graph.nodes.len()],
        narrowed_channels: vec![None; graph.nodes.len()],
        channels: HashMap::new(),
        plain_of: HashMap::new(),
        judged: judged(graph),
        at: 0,
    };
    let mut inputs = Vec::new();
    for (&id, &dtype) in graph.inputs.iter().zip(&graph.input_types) {
        let (exponent, lo, hi) = match q.score_limits(id, i32::MIN) {
            _ if graph.nodes[id].integral => {
                let (lo, hi) = q.integer_limits(id);
                (0, lo, hi)
            }
            // A tensor that only a Softmax reads need not hold what its mask added.
            Some(limits) if q.only_scores(id) => limits,
            _ => {
                let bits = if q.judged[id] {
                    JUDGED_BITS.max(precision.boundary_bits)
                } else {
                    precision.boundary_bits
                };
                let (lo, hi) = scale::limits(bits);
                let exponent = exponent_for(ranges.max_abs(id), bits);
                (exponent, lo, hi)
            }
        };
        let shape = graph.shape(id).to_vec();
        let tensor = q.push(ir::Op::Input {
            shape: shape.clone(),
            lo,
            hi,
        })?;
        q.values[id] = Some(Quantity { tensor, exponent });
        inputs.push(Port {
            shape,
            dtype,
            exponent,
            lo,
            hi,
        });
    }
    for id in 0..graph.nodes.len() {
        q.at = id;
        if q.plan.needed[id] && q.values[id].is_none() {
            let value = q.node(id)?;
            q.values[id] = Some(q.comparable(id, value)?);
        }
    }
    let mut outputs = Vec::new();
    for (&id, &dtype) in graph.outputs.iter().zip(&graph.output_types) {
        q.at = id;
        let port = q.output(id, dtype)?;
        outputs.push(port);
    }
    let (program, checked, weights) = (q.b.program, q.b.checked, q.b.weights);
    Ok(Quantised {
        program,
        checked,
        weights,
        inputs,
        outputs,
    })
}

/// Which nodes lead to a comparison or a quantisation by exact operations only.
fn judged(graph: &Graph) -> Vec<bool> {
    let mut judged = vec![false; graph.nodes.len()];
    for id in (0..graph.nodes.len()).rev() {
        let passes = match &graph.nodes[id].op {
            Op::Step { .. } | Op::Rescale { .. } => true,
            Op::Wire { .. } | Op::Expand { .. } | Op::Affine { .. } => judged[id],
            _ => false,
        };
        if passes {
            for operand in graph.nodes[id].op.operands() {
                judged[operand] = true;
            }
        }
    }
    judged
}

struct Quantiser<'a> {
    graph: &'a Graph,
    ranges: &'a Ranges,
    precision: Precision,
    plan: Plan,
    b: Builder,
    /// The exact value of each node of the graph, once it is there.
    values: Vec<Option<Quantity>>,
    /// The same rounded to an activation's bits.
    narrowed: Vec<Option<Quantity>>,
    /// The same for readers that know of channels.
    narrowed_channels: Vec<Option<Quantity>>,
    /// Tensors of the program whose channels have scales of their own.
    channels: HashMap<TensorId, Rc<Channels>>,
    /// The same tensors with one scale.
    plain_of: HashMap<TensorId, Quantity>,
    /// Which nodes keep all their bits, see [`judged`].
    judged: Vec<bool>,
    /// The node in work, for messages.
    at: Id,
}

impl Quantiser<'_> {
    fn refuse(&self, reason: impl Into<String>) -> LowerError {
        let origin = &self.graph.origins[self.graph.nodes[self.at].origin];
        LowerError::Unsupported {
            node: origin.node.clone(),
            op: origin.op.clone(),
            reason: reason.into(),
        }
    }

    fn push(&mut self, op: ir::Op) -> Result<TensorId> {
        self.b.push(op).map_err(|e| self.refuse(e))
    }

    /// A value that is compared with its own maximum must be the same in both places: it is
    /// rounded, finely, before either reads it.
    fn comparable(&mut self, id: Id, value: Quantity) -> Result<Quantity> {
        let ranked = |op: &Op| {
            matches!(op, Op::Max { .. } | Op::MaxPool { .. }) && op.operands().contains(&id)
        };
        if !self.judged[id]
            || self.b.max_abs(value.tensor) <= WHOLE
            || !self.graph.nodes.iter().any(|n| ranked(&n.op))
        {
            return Ok(value);
        }
        let value = self.plain(value)?;
        let exponent = exponent_for(self.ranges.max_abs(id), JUDGED_BITS).max(value.exponent);
        let (lo, hi) = scale::limits(JUDGED_BITS);
        self.round(value, exponent, lo, hi)
    }

    /// An operand of a maximum.
    fn ranked(&mut self, id: Id) -> Result<Quantity> {
        if self.judged[id] {
            self.value(id)
        } else {
            self.narrow(id)
        }
    }

    /// The exact value of an operand, with one scale for the whole tensor.
    fn value(&mut self, id: Id) -> Result<Quantity> {
        let raw = self.raw(id)?;
        self.plain(raw)
    }

    /// The exact value of an operand; its channels may have scales of their own.
    fn raw(&mut self, id: Id) -> Result<Quantity> {
        if self.values[id].is_none() && plan::constant_root(self.graph, id).is_some() {
            // A constant that is no operand of a product or sum has a scale of its own.
            let value = self.node(id)?;
            self.values[id] = Some(value);
        }
        self.values[id].ok_or_else(|| self.refuse("an operand has no value"))
    }

    fn is_narrow(&self, tensor: TensorId) -> bool {
        self.b.is_narrow(tensor, self.precision.activation_bits)
    }

    /// Bits of a node's rounded result: outputs of the slice keep those of a boundary.
    fn bits(&self, id: Id) -> u32 {
        if self.graph.outputs.contains(&id) {
            self.precision.boundary_bits
        } else {
            self.precision.activation_bits
        }
    }

    /// The operand rounded to an activation, unless it is narrow already.
    fn narrow(&mut self, id: Id) -> Result<Quantity> {
        if let Some(done) = self.narrowed[id] {
            return Ok(done);
        }
        let value = self.value(id)?;
        let out = if self.is_narrow(value.tensor) || self.is_whole(id, value) {
            value
        } else if let Some((lo, hi)) = self.whole_limits(id) {
            self.round(value, 0, lo, hi)?
        } else {
            let bits = self.bits(id);
            let exponent = exponent_for(self.ranges.max_abs(id), bits).max(value.exponent);
            let (lo, hi) = scale::limits(bits);
            self.round(value, exponent, lo, hi)?
        };
        self.narrowed[id] = Some(out);
        Ok(out)
    }

    /// The operand rounded to at most so many bits.
    fn narrow_within(&mut self, id: Id, bits: u32) -> Result<Quantity> {
        let value = self.narrow(id)?;
        if self.precision.activation_bits <= bits || self.b.max_abs(value.tensor) < 1 << bits {
            return Ok(value);
        }
        let value = self.value(id)?;
        let exponent = exponent_for(self.ranges.max_abs(id), bits).max(value.exponent);
        let (lo, hi) = scale::limits(bits);
        self.round(value, exponent, lo, hi)
    }

    /// Whether a value is an integer that need not be rounded.
    fn is_whole(&self, id: Id, value: Quantity) -> bool {
        self.graph.nodes[id].integral
            && value.exponent == 0
            && self.b.max_abs(value.tensor) <= WHOLE
    }

    /// Limits within which an integer stays exact, when calibration saw none beyond.
    fn whole_limits(&self, id: Id) -> Option<(i64, i64)> {
        let reach = self.ranges.max_abs(id) * 2.0 * scale::HEADROOM;
        if !self.graph.nodes[id].integral || reach > WHOLE as f64 {
            return None;
        }
        let mut half = 1i64 << 15;
        while (half as f64) < reach {
            half *= 2;
        }
        Some((-half, half - 1))
    }

    /// Least and greatest integer of an input of the slice.
    fn integer_limits(&self, id: Id) -> (i64, i64) {
        let (mut lo, mut hi) = match &self.graph.nodes[id].op {
            Op::Input {
                integers: Some(limits),
                ..
            } => *limits,
            _ => (i64::MIN, i64::MAX),
        };
        let (least, most) = self.whole_limits(id).unwrap_or((-WHOLE, WHOLE - 1));
        (lo, hi) = (lo.max(least), hi.min(most));
        for node in &self.graph.nodes {
            if let Op::Select { input, dim, ids } = &node.op
                && *ids == id
            {
                (lo, hi) = (lo.max(0), hi.min(self.graph.shape(*input)[*dim] as i64 - 1));
            }
        }
        (lo, hi)
    }

    fn round(&mut self, value: Quantity, exponent: i32, lo: i64, hi: i64) -> Result<Quantity> {
        let rounded = self.b.round(value, exponent, lo, hi);
        rounded.map_err(|e| self.refuse(e))
    }

    /// One label for each dimension of a tensor.
    fn labels(&self, tensor: TensorId) -> Vec<u8> {
        let dims = 0..self.b.shape(tensor).len();
        dims.map(|i| b'a' + i as u8).collect()
    }

    /// Product of two tensors of one shape, element by element; virtual.
    fn times(&mut self, a: TensorId, b: TensorId) -> Result<TensorId> {
        let labels = self.labels(a);
        self.push(ir::Op::Einsum {
            a,
            b,
            a_labels: labels.clone(),
            b_labels: labels.clone(),
            out_labels: labels,
        })
    }

    /// Product with one whole constant for each index along an axis; virtual.
    fn times_along(
        &mut self,
        tensor: TensorId,
        axis: usize,
        factors: Vec<f64>,
    ) -> Result<TensorId> {
        let factors = Array {
            shape: vec![factors.len()],
            data: factors,
        };
        let factors = self.weight(&factors, 0)?;
        let labels = self.labels(tensor);
        self.push(ir::Op::Einsum {
            a: tensor,
            b: factors.tensor,
            a_labels: labels.clone(),
            b_labels: vec![labels[axis]],
            out_labels: labels,
        })
    }

    /// A weight tensor at a given exponent.
    fn weight(&mut self, array: &Array, exponent: i32) -> Result<Quantity> {
        let tensor = self.b.weight(array, exponent);
        let tensor = tensor.map_err(|e| self.refuse(e))?;
        Ok(Quantity { tensor, exponent })
    }

    fn node(&mut self, id: Id) -> Result<Quantity> {
        if let Some(source) = self.plan.table_of[id] {
            return self.table(id, source);
        }
        let node = &self.graph.nodes[id];
        match &node.op {
            Op::Input { .. } => Err(self.refuse("an input has no value")),
            Op::Const(array) => {
                let exponent = if node.integral {
                    0
                } else {
                    exponent_for(array.max_abs(), self.precision.weight_bits)
                };
                self.weight(array, exponent)
            }
            Op::Wire { input, factors } => self.wire(*input, factors.clone(), &node.shape),
            Op::Expand { input, shape } => {
                let factors = expand_factors(self.graph.shape(*input), shape);
                self.wire(*input, factors, shape)
            }
            Op::Sum { input, axes } => {
                let rank = self.graph.shape(*input).len();
                let factors = sum_factors(rank, axes);
                self.wire(*input, factors, &node.shape)
            }
            Op::Einsum {
                a,
                b,
                a_labels,
                b_labels,
                out_labels,
            } => self.einsum(id, (*a, a_labels), (*b, b_labels), out_labels),
            Op::Affine { terms, constant } => self.affine(id, terms, *constant),
            Op::Clamp { input, lo, hi } => self.clamp(id, *input, *lo, *hi),
            Op::Map { .. } => Err(self.refuse("a function has no table")),
            Op::Max { inputs } => self.max(id, inputs),
            Op::Step { input, strict } => self.step(*input, *strict),
            Op::Floor { input } => self.floor(id, *input),
            Op::Rescale {
                input,
                axis,
                factors,
                zero,
                lo,
                hi,
            } => self.rescale(id, *input, *axis, factors, (*zero, *lo, *hi)),
            Op::Reciprocal { input } => self.divide(id, None, *input),
            Op::Div { num, den } => self.divide(id, Some(*num), *den),
            Op::Quotient { num, den } => self.quotient(*num, *den),
            Op::Select { input, dim, ids } => self.select(*input, *dim, *ids),
            Op::MaxPool { input, windows } => self.max_pool(*input, windows),
            Op::Softmax { input, axis } => self.softmax(id, *input, *axis),
            Op::Normalise {
                input,
                axes,
                epsilon,
                centred,
            } => self.normalise(*input, axes, *epsilon, *centred),
        }
    }

    /// Moves a value; one that is about to be repeated is rounded before.
    fn wire(&mut self, input: Id, factors: Vec<Factor>, shape: &[usize]) -> Result<Quantity> {
        let from = self.graph.shape(input);
        let grows =
            shape.iter().product::<usize>() > from.iter().product::<usize>() && !self.judged[input];
        let mut value = if grows {
            self.narrow_channels(input)?
        } else {
            self.raw(input)?
        };
        let before = self.channels_of(value.tensor);
        let channels = before.as_ref().and_then(|c| self.wired(c, from, &factors));
        if before.is_some() && channels.is_none() {
            value = if grows {
                self.narrow(input)?
            } else {
                self.plain(value)?
            };
        }
        let tensor = self.push(ir::Op::Wire {
            input: value.tensor,
            factors,
        })?;
        if let Some(channels) = channels {
            self.channels.insert(tensor, Rc::new(channels));
        }
        Ok(Quantity {
            tensor,
            exponent: value.exponent,
        })
    }

    /// Makes a node an output: at the exponent that the next slice will choose for the
    /// same tensor, within the bits of a boundary.
    fn output(&mut self, id: Id, dtype: DataType) -> Result<Port> {
        let value = self.value(id)?;
        let (mut tensor, exponent) = if dtype.is_float() {
            let bits = self.precision.boundary_bits;
            let exponent = exponent_for(self.ranges.max_abs(id), bits);
            let (lo, hi) = scale::limits(bits);
            (self.round(value, exponent, lo, hi)?.tensor, exponent)
        } else if value.exponent == 0 {
            (value.tensor, 0)
        } else {
            return Err(self.refuse("its result holds integers that can't be kept exact"));
        };
        let plain = matches!(
            self.b.program.nodes[tensor as usize],
            ir::Op::Input { .. } | ir::Op::Weight { .. }
        );
        if plain || self.b.program.outputs.contains(&tensor) {
            tensor = self.push(ir::Op::Affine {
                terms: vec![(tensor, 1)],
                constant: 0,
            })?;
        }
        self.b.program.outputs.push(tensor);
        let bounds = self.b.bounds(tensor);
        Ok(Port {
            shape: self.graph.shape(id).to_vec(),
            dtype,
            exponent,
            lo: bounds.0,
            hi: bounds.1,
        })
    }
}

/// Broadcasting of dimensions of size 1, as factors.
fn expand_factors(from: &[usize], to: &[usize]) -> Vec<Factor> {
    let mut factors = Vec::new();
    for (dim, (&f, &t)) in from.iter().zip(to).enumerate() {
        if f == t {
            factors.push(Factor::Keep { dim });
        } else {
            factors.push(Factor::Reshape {
                dims: vec![dim],
                sizes: vec![],
            });
            factors.push(Factor::Repeat { size: t });
        }
    }
    factors
}

/// Sums over axes that keep size 1, as factors.
fn sum_factors(rank: usize, axes: &[usize]) -> Vec<Factor> {
    let mut factors = Vec::new();
    for dim in 0..rank {
        if axes.contains(&dim) {
            factors.push(Factor::Sum { dim });
            factors.push(Factor::Repeat { size: 1 });
        } else {
            factors.push(Factor::Keep { dim });
        }
    }
    factors
}
