//! Exponents from calibrated ranges.

use crate::array::Array;
use crate::error::{LowerError, Result};
use crate::graph::{Graph, Id, evaluate_with};

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
}

impl Ranges {
    /// Evaluates the graph on every sample.
    ///
    /// # Errors
    /// [`LowerError::Calibration`] when a sample does not fit the graph's inputs or leads
    /// to a value that is not a number.
    pub fn measure(graph: &Graph, samples: &[Vec<Array>]) -> Result<(Self, Vec<Vec<Array>>)> {
        let mut max_abs = vec![0f64; graph.nodes.len()];
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
            }));
            if let Some(id) = odd {
                let origin = &graph.origins[graph.nodes[id].origin];
                return Err(bad(format!(
                    "node \"{}\" (\"{}\") gives values that are not finite",
                    origin.node, origin.op
                )));
            }
        }
        Ok((Self { max_abs }, outputs))
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

    /// Magnitude 1 everywhere: enough to see whether a graph can be quantised at all.
    #[must_use]
    pub fn unit(graph: &Graph) -> Self {
        Self {
            max_abs: vec![1.0; graph.nodes.len()],
        }
    }

    /// Greatest magnitude of a node's values.
    #[must_use]
    pub fn max_abs(&self, id: Id) -> f64 {
        self.max_abs[id]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
