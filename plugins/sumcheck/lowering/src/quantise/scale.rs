//! Exponents from calibrated ranges.

use super::channels::axis_ranges;
use crate::array::Array;
use crate::error::{LowerError, Result};
use crate::graph::{Graph, Id, Op, evaluate_with};
use dsperse_sumcheck_evaluator::strides;
use std::collections::BTreeMap;

/// Bits of a tensor that enters or leaves a slice, sign included.
pub const BOUNDARY_BITS: u32 = 16;

/// A value may exceed what calibration saw by this factor before it saturates.
pub const HEADROOM: f64 = 2.0;

/// Greatest magnitude of an exponent; values beyond `2^±64` are not activations.
const MAX_EXPONENT: i32 = 64;

/// The exponent of a tensor whose greatest magnitude is known: the least one for which
/// `max_abs · HEADROOM` fits the bits.
///
/// A pure function of its arguments, so that two slices that meet at a tensor choose
/// the same exponent when they were calibrated with the same values.
#[must_use]
pub fn exponent_for(max_abs: f64, bits: u32) -> i32 {
    let (_, hi) = limits(bits);
    let reach = max_abs * HEADROOM / hi as f64;
    if reach.is_nan() || reach <= 0.0 {
        return 1 - bits.cast_signed();
    }
    let mut exponent = reach.log2().ceil().clamp(-1000.0, 1000.0) as i32;
    // The logarithm may be off by an ulp on either side of a power of two.
    while exponent < 1000 && 2f64.powi(exponent) < reach {
        exponent += 1;
    }
    while exponent > -1000 && 2f64.powi(exponent - 1) >= reach {
        exponent -= 1;
    }
    exponent.clamp(-MAX_EXPONENT, MAX_EXPONENT)
}

/// Least and greatest integer of a signed number of so many bits.
#[must_use]
pub fn limits(bits: u32) -> (i64, i64) {
    let half = 1i64 << (bits - 1);
    (-half, half - 1)
}

/// Greatest magnitude of every node of a graph, over all calibration samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges {
    max_abs: Vec<f64>,
    /// Least value of every node.
    least: Vec<f64>,
    /// For the input of a Softmax: greatest magnitude of the entries near their row's
    /// maximum.
    near: BTreeMap<Id, f64>,
    details: Option<Details>,
}

/// What only finer precisions need to know.
#[derive(Clone, Debug, PartialEq)]
struct Details {
    /// For every node and axis, the greatest magnitude at each index.
    by_axis: Vec<Vec<Vec<f64>>>,
    /// Greatest magnitude of all but the rarest values.
    clipped: Vec<f64>,
}

/// Entries of a Softmax's row that are further below the maximum than this have an
/// exponential of less than 1e-7.
const NEAR: f64 = 17.0;
/// Share of a tensor's values that may be clipped.
const RARE: f64 = 1e-4;
/// Fewest values of a tensor of which one may be clipped.
const FEWEST: u64 = 64;
/// Bins of a histogram of magnitudes for each power of two.
const BINS: f64 = 4.0;

impl Ranges {
    /// Evaluates the graph on every sample.
    ///
    /// # Errors
    /// [`LowerError::Calibration`] when a sample does not fit the graph's inputs or leads
    /// to a value that is not a number.
    pub fn measure(graph: &Graph, samples: &[Vec<Array>]) -> Result<(Self, Vec<Vec<Array>>)> {
        let mut max_abs = vec![0f64; graph.nodes.len()];
        let mut least = vec![f64::INFINITY; graph.nodes.len()];
        let rows: BTreeMap<Id, usize> = graph
            .nodes
            .iter()
            .filter_map(|n| match n.op {
                Op::Softmax { input, axis } => Some((input, axis)),
                _ => None,
            })
            .collect();
        let mut near: BTreeMap<Id, f64> = BTreeMap::new();
        let mut outputs = Vec::new();
        for (sample, inputs) in samples.iter().enumerate() {
            let bad = |reason: String| LowerError::Calibration { sample, reason };
            if inputs.len() != graph.inputs.len() {
                let (found, needed) = (inputs.len(), graph.inputs.len());
                return Err(bad(format!("it has {found} tensors, {needed} are needed")));
            }
            for (input, &id) in inputs.iter().zip(&graph.inputs) {
                if input.shape != graph.shape(id) {
                    return Err(bad(format!(
                        "a tensor has shape {:?}, the input has {:?}",
                        input.shape,
                        graph.shape(id)
                    )));
                }
            }
            let mut odd = None;
            outputs.push(evaluate_with(graph, inputs, |id, value| {
                let most = value.max_abs();
                // `max` ignores NaN, so look for it.
                if !most.is_finite() || value.data.iter().any(|x| x.is_nan()) {
                    odd = odd.or(Some(id));
                }
                max_abs[id] = max_abs[id].max(most);
                least[id] = value.data.iter().fold(least[id], |m, &x| m.min(x));
                if let Some(axis) = rows.get(&id) {
                    let own = near.entry(id).or_default();
                    *own = own.max(near_maximum(value, *axis));
                }
            }));
            if let Some(id) = odd {
                let origin = &graph.origins[graph.nodes[id].origin];
                return Err(bad(format!(
                    "node \"{}\" (\"{}\") gives values that are not finite",
                    origin.node, origin.op
                )));
            }
        }
        let ranges = Self {
            max_abs,
            least,
            near,
            details: None,
        };
        Ok((ranges, outputs))
    }

    /// Learns what only finer precisions need: the ranges of channels, and those of all but
    /// the rarest values. The samples are those of [`Ranges::measure`].
    pub fn measure_details(&mut self, graph: &Graph, samples: &[Vec<Array>]) {
        let n = graph.nodes.len();
        let mut by_axis: Vec<Vec<Vec<f64>>> = vec![Vec::new(); n];
        let mut bins: Vec<BTreeMap<i32, u64>> = vec![BTreeMap::new(); n];
        for inputs in samples {
            evaluate_with(graph, inputs, |id, value| {
                let axes = by_axis.get_mut(id);
                let new = (0..value.shape.len()).map(|axis| axis_ranges(value, axis));
                if let Some(axes) = axes.filter(|_| !value.data.is_empty()) {
                    if axes.is_empty() {
                        *axes = new.collect();
                    } else {
                        axes.iter_mut()
                            .flatten()
                            .zip(new.flatten())
                            .for_each(|(m, v)| {
                                *m = m.max(v);
                            });
                    }
                }
                for x in value.data.iter().filter(|x| **x != 0.0) {
                    let bin = (x.abs().log2() * BINS).floor() as i32;
                    *bins[id].entry(bin).or_default() += 1;
                }
            });
        }
        let clipped = bins.iter().zip(&self.max_abs).map(|(b, m)| clip(b, *m));
        self.details = Some(Details {
            by_axis,
            clipped: clipped.collect(),
        });
    }

    /// Takes the ranges of the graph's outputs from tensors computed elsewhere, so that
    /// their exponents are those that a slice calibrated with the same tensors chooses
    /// for its inputs.
    ///
    /// # Errors
    /// [`LowerError::Calibration`] when a tensor does not fit its output.
    pub fn set_outputs(&mut self, graph: &Graph, samples: &[Vec<Array>]) -> Result<()> {
        let mut most = vec![0f64; graph.outputs.len()];
        for (sample, outputs) in samples.iter().enumerate() {
            let fits = outputs.len() == graph.outputs.len()
                && outputs.iter().zip(&graph.outputs).all(|(t, &id)| {
                    t.shape == graph.shape(id) && t.data.iter().all(|x| x.is_finite())
                });
            if !fits {
                let reason = "its outputs are not finite numbers in the slice's shapes".into();
                return Err(LowerError::Calibration { sample, reason });
            }
            for (m, t) in most.iter_mut().zip(outputs) {
                *m = m.max(t.max_abs());
            }
        }
        for (m, &id) in most.into_iter().zip(&graph.outputs) {
            self.max_abs[id] = m;
        }
        Ok(())
    }

    /// Whether [`Ranges::measure_details`] was called.
    #[must_use]
    pub fn has_details(&self) -> bool {
        self.details.is_some()
    }

    /// Magnitude 1, or what a sum's constants make of it: enough to see whether a graph can
    /// be quantised at all.
    #[must_use]
    pub fn unit(graph: &Graph) -> Self {
        let mut max_abs: Vec<f64> = Vec::with_capacity(graph.nodes.len());
        for node in &graph.nodes {
            let of = |id: Id| match &graph.nodes[id].op {
                Op::Const(array) => array.max_abs(),
                _ => max_abs[id],
            };
            let most = match &node.op {
                Op::Affine { terms, constant } => terms
                    .iter()
                    .map(|&(t, c)| (c * of(t)).abs())
                    .fold(constant.abs(), f64::max),
                Op::Clamp { input, lo, hi } => of(*input).min(lo.abs().max(hi.abs())),
                Op::Wire { input, .. } | Op::Expand { input, .. } | Op::MaxPool { input, .. } => {
                    of(*input)
                }
                Op::Max { inputs } => inputs.iter().map(|&i| of(i)).fold(0.0, f64::max),
                _ => 1.0,
            };
            max_abs.push(most.max(1.0));
        }
        Self {
            least: max_abs.iter().map(|m| -m).collect(),
            max_abs,
            near: BTreeMap::new(),
            details: None,
        }
    }

    /// Greatest magnitude of the entries of a Softmax's input that are near their row's
    /// maximum, so that they count.
    #[must_use]
    pub fn near_maximum(&self, id: Id) -> f64 {
        self.near
            .get(&id)
            .copied()
            .unwrap_or(self.max_abs[id].min(NEAR))
    }

    /// For each axis of a node, the greatest magnitude at each index; `None` when
    /// [`Ranges::measure_details`] was not called.
    #[must_use]
    pub fn by_axis(&self, id: Id) -> Option<&[Vec<f64>]> {
        self.details.as_ref().map(|d| d.by_axis[id].as_slice())
    }

    /// Greatest magnitude of all but the rarest of a node's values: one value in ten
    /// thousand, or the single greatest of a small tensor, may be left out when that makes
    /// the range much smaller.
    #[must_use]
    pub fn clipped(&self, id: Id) -> f64 {
        match &self.details {
            Some(d) => d.clipped[id],
            None => self.max_abs[id],
        }
    }

    /// Least of a node's values.
    #[must_use]
    pub fn least(&self, id: Id) -> f64 {
        self.least[id]
    }

    /// Greatest magnitude of a node's values.
    #[must_use]
    pub fn max_abs(&self, id: Id) -> f64 {
        self.max_abs[id]
    }
}

/// Greatest magnitude of the entries that are less than [`NEAR`] below the maximum of
/// their row.
fn near_maximum(value: &Array, axis: usize) -> f64 {
    let step = strides(&value.shape)[axis];
    let size = value.shape[axis];
    let row = |i: usize| i / (step * size) * step + i % step;
    let mut most = vec![f64::NEG_INFINITY; value.data.len() / size.max(1)];
    for (i, &x) in value.data.iter().enumerate() {
        let m = &mut most[row(i)];
        *m = m.max(x);
    }
    let counted = value.data.iter().enumerate();
    counted
        .filter(|(i, x)| **x >= most[row(*i)] - NEAR)
        .fold(0.0, |near, (_, x)| near.max(x.abs()))
}

/// The range without the rarest values, when that is less than an eighth of the whole.
fn clip(bins: &BTreeMap<i32, u64>, max_abs: f64) -> f64 {
    let total: u64 = bins.values().sum();
    if total < FEWEST {
        return max_abs;
    }
    let mut spare = ((total as f64 * RARE) as u64).max(1);
    for (&bin, &count) in bins.iter().rev() {
        if count > spare {
            let edge = 2f64.powf((f64::from(bin) + 1.0) / BINS);
            return if edge * 8.0 <= max_abs { edge } else { max_abs };
        }
        spare -= count;
    }
    max_abs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_does_not_count_as_near_the_maximum() {
        let scores = Array {
            shape: vec![2, 3],
            data: vec![1.0, -2.5, -9999.0, -1e4, -3.0, -9990.0],
        };
        assert_eq!(near_maximum(&scores, 1), 3.0);
        // Along the other axis: columns.
        assert_eq!(near_maximum(&scores, 0), 9999.0);
    }

    #[test]
    fn one_value_in_many_is_clipped() {
        let mut bins = BTreeMap::from([(0, 900), (-4, 99)]);
        assert_eq!(clip(&bins, 1.1), 1.1);
        bins.insert(40, 1);
        let clipped = clip(&bins, 1030.0);
        assert!((1.0..2.0).contains(&clipped), "{clipped}");
        // Two are not rare among a thousand.
        bins.insert(40, 2);
        assert_eq!(clip(&bins, 1030.0), 1030.0);
    }

    #[test]
    fn exponents_leave_the_headroom() {
        // 16 bits: 32767 · 2^e >= 2 · max.
        assert_eq!(exponent_for(1.0, 16), -13);
        assert_eq!(exponent_for(32767.0 / 2.0, 16), 0);
        assert_eq!(exponent_for(32767.1 / 2.0, 16), 1);
        assert_eq!(exponent_for(0.0, 16), -15);
        assert_eq!(exponent_for(f64::INFINITY, 16), MAX_EXPONENT);
        for max in [1e-9, 0.3, 1.0, 7.7, 1234.5] {
            for bits in 8..=16 {
                let e = exponent_for(max, bits);
                let most = limits(bits).1 as f64;
                assert!(max * HEADROOM <= most * 2f64.powi(e));
                assert!(max * HEADROOM > most * 2f64.powi(e - 1));
            }
        }
    }
}
