//! The real-valued graph: a slice in a small vocabulary, with every shape known.
//!
//! ONNX has many operators that say the same thing in different words. The
//! [importer](crate::import) writes all of them in the few operators below. This graph is
//! then read twice: by [`evaluate`], which is the float reference of calibration and
//! fidelity figures, and by [`crate::quantise`], which turns it into integers.
//!
//! Movement of data is a [`Factor`] product exactly as in the integer program, so that
//! transposes, windows, slices and pads are translated without any change.

mod evaluate;
mod functions;
mod shape;

pub use evaluate::{evaluate, evaluate_with};
pub(crate) use evaluate::{rescale, step};
pub use functions::Function;
pub(crate) use shape::check as check_shape;

use crate::array::Array;
use dsperse_onnx::DataType;
use dsperse_sumcheck_verifier::wire::Factor;
use std::rc::Rc;

/// Index of a node.
pub type Id = usize;

/// Greatest magnitude of a constant that counts as a whole number.
const MAX_WHOLE: f64 = 2_147_483_648.0;

/// A window that slides over one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The dimension.
    pub dim: usize,
    /// Number of elements in the window.
    pub kernel: usize,
    /// Number of positions.
    pub size: usize,
    /// Distance between positions.
    pub stride: usize,
    /// Distance between the window's elements.
    pub dilation: usize,
    /// Elements before the first one.
    pub pad: usize,
}

/// One operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The next input of the slice.
    Input {
        /// Its shape.
        shape: Vec<usize>,
        /// Least and greatest value, when it holds integers.
        integers: Option<(i64, i64)>,
    },
    /// A constant.
    Const(Rc<Array>),
    /// Moves, repeats and sums elements.
    Wire {
        /// What is read.
        input: Id,
        /// One factor for each group of dimensions.
        factors: Vec<Factor>,
    },
    /// Product of two arrays, summed over labels that are not in `out_labels`.
    Einsum {
        /// First operand.
        a: Id,
        /// Second operand.
        b: Id,
        /// Labels of the dimensions of `a`.
        a_labels: Vec<u8>,
        /// Labels of the dimensions of `b`.
        b_labels: Vec<u8>,
        /// Labels of the result.
        out_labels: Vec<u8>,
    },
    /// `sum coefficient * term + constant`; all terms have the same shape.
    Affine {
        /// Terms with their coefficients.
        terms: Vec<(Id, f64)>,
        /// Added to every element.
        constant: f64,
    },
    /// Limits every element; either limit may be infinite.
    Clamp {
        /// What is read.
        input: Id,
        /// Least value.
        lo: f64,
        /// Greatest value.
        hi: f64,
    },
    /// A function of one variable, element by element.
    Map {
        /// What is read.
        input: Id,
        /// The function.
        function: Function,
    },
    /// Greatest of several arrays of the same shape, element by element.
    Max {
        /// What is read.
        inputs: Vec<Id>,
    },
    /// 1 where `x > 0` (strict) or `x >= 0`, else 0.
    Step {
        /// What is read.
        input: Id,
        /// Whether 0 gives 0.
        strict: bool,
    },
    /// Greatest integer that is not above.
    Floor {
        /// What is read.
        input: Id,
    },
    /// `1 / x`.
    Reciprocal {
        /// What is read.
        input: Id,
    },
    /// `num / den`, both of the same shape.
    Div {
        /// Numerator.
        num: Id,
        /// Denominator.
        den: Id,
    },
    /// `num / den` of integers of the same shape, towards zero.
    Quotient {
        /// Numerator.
        num: Id,
        /// Denominator.
        den: Id,
    },
    /// `out[.., k, ..] = input[.., ids[k], ..]` along one dimension, by the elements of
    /// an input of the slice.
    Select {
        /// What is read.
        input: Id,
        /// The dimension.
        dim: usize,
        /// An [`Op::Input`] of integers.
        ids: Id,
    },
    /// `clamp(round(x · factor) + zero, lo, hi)`, half to even: QuantizeLinear, Round. Each index
    /// along `axis` has a factor of its own, or there is one for all.
    Rescale {
        /// What is read.
        input: Id,
        /// The dimension of the factors.
        axis: Option<usize>,
        /// The factors, all positive.
        factors: Vec<f64>,
        /// Added after rounding; whole.
        zero: f64,
        /// Least result; whole, or infinite where both are.
        lo: f64,
        /// Greatest result; whole or infinite.
        hi: f64,
    },
    /// Sums over the axes, which keep size 1.
    Sum {
        /// What is read.
        input: Id,
        /// The axes.
        axes: Vec<usize>,
    },
    /// Numpy's broadcasting among arrays of the same rank.
    Expand {
        /// What is read.
        input: Id,
        /// The wanted shape.
        shape: Vec<usize>,
    },
    /// Greatest element of each window; elements outside do not count.
    MaxPool {
        /// What is read.
        input: Id,
        /// The windows; other dimensions stay as they are.
        windows: Vec<Window>,
    },
    /// Softmax over one axis.
    Softmax {
        /// What is read.
        input: Id,
        /// The axis.
        axis: usize,
    },
    /// `(x - mean) / sqrt(variance + epsilon)` over the axes; without centring
    /// `x / sqrt(mean(x²) + epsilon)`.
    Normalise {
        /// What is read.
        input: Id,
        /// The axes.
        axes: Vec<usize>,
        /// Added to the variance.
        epsilon: f64,
        /// Whether the mean is taken off.
        centred: bool,
    },
}

impl Op {
    /// The nodes that this operator reads, in order.
    #[must_use]
    pub fn operands(&self) -> Vec<Id> {
        match self {
            Self::Input { .. } | Self::Const(_) => vec![],
            Self::Wire { input, .. }
            | Self::Clamp { input, .. }
            | Self::Map { input, .. }
            | Self::Step { input, .. }
            | Self::Floor { input }
            | Self::Rescale { input, .. }
            | Self::Reciprocal { input }
            | Self::Sum { input, .. }
            | Self::Expand { input, .. }
            | Self::MaxPool { input, .. }
            | Self::Softmax { input, .. }
            | Self::Normalise { input, .. } => vec![*input],
            Self::Einsum { a, b, .. } => vec![*a, *b],
            Self::Affine { terms, .. } => terms.iter().map(|t| t.0).collect(),
            Self::Max { inputs } => inputs.clone(),
            Self::Div { num, den } | Self::Quotient { num, den } => vec![*num, *den],
            Self::Select { input, ids, .. } => vec![*input, *ids],
        }
    }
}

/// A node with what is known about it.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it computes.
    pub op: Op,
    /// The shape of its result.
    pub shape: Vec<usize>,
    /// Index into [`Graph::origins`].
    pub origin: usize,
    /// Whether every value that it can have is an integer, which needs no rounding.
    pub integral: bool,
}

/// The ONNX node that a node stems from, for messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The node's name.
    pub node: String,
    /// Its operator.
    pub op: String,
}

/// A slice as real-valued operators in topological order.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The inputs in order.
    pub inputs: Vec<Id>,
    /// The outputs in order.
    pub outputs: Vec<Id>,
    /// Element types of the inputs.
    pub input_types: Vec<DataType>,
    /// Element types of the outputs.
    pub output_types: Vec<DataType>,
    /// Where nodes come from.
    pub origins: Vec<Origin>,
}

impl Graph {
    /// Appends a node; constants are folded unless that would make them larger.
    ///
    /// # Errors
    /// A sentence that says which shapes do not fit.
    pub fn add(&mut self, op: Op) -> Result<Id, String> {
        let shape = shape::infer(self, &op)?;
        let constants: Option<Vec<&Array>> = op
            .operands()
            .into_iter()
            .map(|id| self.constant(id))
            .collect();
        let grows = |c: &[&Array]| {
            let most = c.iter().map(|a| a.data.len()).max().unwrap_or(0);
            shape.iter().product::<usize>() > most
        };
        let op = match constants {
            Some(c) if !c.is_empty() && !grows(&c) => {
                Op::Const(Rc::new(evaluate::compute(&op, &c, &shape)))
            }
            _ => op,
        };
        let origin = self.origins.len().saturating_sub(1);
        if matches!(op, Op::Input { .. }) {
            self.inputs.push(self.nodes.len());
        }
        let integral = self.is_integral(&op);
        self.nodes.push(Node {
            op,
            shape,
            origin,
            integral,
        });
        Ok(self.nodes.len() - 1)
    }

    /// Appends a constant.
    pub fn constant_node(&mut self, array: Array) -> Id {
        self.shared_constant(Rc::new(array))
    }

    /// Appends a constant that somebody else keeps as well.
    pub fn shared_constant(&mut self, array: Rc<Array>) -> Id {
        let origin = self.origins.len().saturating_sub(1);
        let op = Op::Const(array);
        self.nodes.push(Node {
            integral: self.is_integral(&op),
            shape: match &op {
                Op::Const(array) => array.shape.clone(),
                _ => vec![],
            },
            op,
            origin,
        });
        self.nodes.len() - 1
    }

    /// The value of a node, when it is a constant.
    #[must_use]
    pub fn constant(&self, id: Id) -> Option<&Array> {
        match &self.nodes[id].op {
            Op::Const(array) => Some(array),
            _ => None,
        }
    }

    /// The same for somebody who keeps it as well.
    #[must_use]
    pub fn shared(&self, id: Id) -> Option<Rc<Array>> {
        match &self.nodes[id].op {
            Op::Const(array) => Some(array.clone()),
            _ => None,
        }
    }

    /// Whether an operator on the nodes so far gives nothing but integers.
    fn is_integral(&self, op: &Op) -> bool {
        let whole = |x: f64| x.fract() == 0.0 && x.abs() <= MAX_WHOLE;
        match op {
            Op::Input { integers, .. } => integers.is_some(),
            Op::Const(array) => array.data.iter().all(|&x| whole(x)),
            Op::Step { .. } | Op::Floor { .. } | Op::Quotient { .. } | Op::Rescale { .. } => true,
            Op::Affine { terms, constant } => {
                whole(*constant)
                    && terms
                        .iter()
                        .all(|&(t, c)| whole(c) && self.nodes[t].integral)
            }
            Op::Clamp { input, lo, hi } => {
                self.nodes[*input].integral
                    && [lo, hi].iter().all(|l| l.is_infinite() || whole(**l))
            }
            Op::Map { .. }
            | Op::Reciprocal { .. }
            | Op::Div { .. }
            | Op::Softmax { .. }
            | Op::Normalise { .. } => false,
            Op::Select { input, .. } => self.nodes[*input].integral,
            _ => op.operands().iter().all(|&o| self.nodes[o].integral),
        }
    }

    /// The shape of a node's result.
    #[must_use]
    pub fn shape(&self, id: Id) -> &[usize] {
        &self.nodes[id].shape
    }

    /// Frees the constants that nothing depends on: weights before they were folded.
    pub fn drop_unused_constants(&mut self) {
        let needed = self.needed();
        for (node, needed) in self.nodes.iter_mut().zip(needed) {
            if !needed && matches!(node.op, Op::Const(_)) {
                node.op = Op::Const(Rc::new(Array::filled(vec![0], 0.0)));
            }
        }
    }

    /// Which nodes the outputs depend on.
    #[must_use]
    pub fn needed(&self) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len()];
        for &o in &self.outputs {
            needed[o] = true;
        }
        for id in (0..self.nodes.len()).rev() {
            if needed[id] {
                for operand in self.nodes[id].op.operands() {
                    needed[operand] = true;
                }
            }
        }
        needed
    }
}
