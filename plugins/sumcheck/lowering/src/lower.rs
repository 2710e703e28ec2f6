//! The whole way from a model to a program of stated fidelity.

use crate::array::Array;
use crate::error::{LowerError, Result};
use crate::graph::Graph;
use crate::import::import;
use crate::quantise::scale::Ranges;
use crate::quantise::{Port, Precision, Quantised, quantise};
use dsperse_onnx::ModelProto;
use dsperse_sumcheck_verifier::eval;
use dsperse_sumcheck_verifier::program::Tensor;

/// Fewest and most bits of activations that are tried.
pub const ACTIVATION_BITS: [u32; 5] = [8, 10, 12, 14, 16];

/// What [`lower`] aims at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Largest relative error of an output that is accepted: the greatest difference to
    /// the float reference, divided by the greatest magnitude of that output.
    pub target: f64,
    /// Fewest bits of interior activations.
    pub least_bits: u32,
    /// Most bits of interior activations.
    pub most_bits: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            target: 0.01,
            least_bits: 12,
            most_bits: 16,
        }
    }
}

impl Settings {
    /// The finest precision that these settings allow.
    #[must_use]
    pub fn finest(&self) -> Precision {
        Precision {
            activation_bits: self.most_bits,
            weight_bits: self.most_bits,
        }
    }
}

/// How close a program is to the float reference on some samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fidelity {
    /// Number of samples.
    pub samples: usize,
    /// Samples of which every output has its greatest element at the same place.
    pub same_arg_max: usize,
    /// Greatest relative error (see [`Settings::target`]).
    pub relative_error: f64,
}

/// A lowered slice.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// The real-valued graph, for fidelity figures on other inputs.
    pub graph: Graph,
    /// The integer program and its ports.
    pub quantised: Quantised,
    /// The precision that was chosen.
    pub precision: Precision,
    /// Closeness on the calibration samples.
    pub fidelity: Fidelity,
    /// Whether the fidelity target is met.
    pub meets_target: bool,
}

/// Tensors of a slice, computed by the float model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    /// For each sample, the input tensors. Must not be empty (see [`default_samples`]).
    pub inputs: Vec<Vec<Array>>,
    /// For each sample, the output tensors; or nothing, then they are computed here.
    pub outputs: Vec<Vec<Array>>,
}

/// Lowers a slice.
///
/// # Errors
/// See [`LowerError`].
pub fn lower(
    model: &ModelProto,
    shapes: Option<&[Vec<usize>]>,
    calibration: &Calibration,
    settings: Settings,
) -> Result<Lowered> {
    let graph = import(model, shapes)?;
    let samples = &calibration.inputs;
    let (mut ranges, reference) = Ranges::measure(&graph, samples)?;
    if !calibration.outputs.is_empty() {
        ranges.set_outputs(&graph, &calibration.outputs)?;
    }
    let mut best: Option<Lowered> = None;
    for bits in ACTIVATION_BITS {
        if bits < settings.least_bits || bits > settings.most_bits {
            continue;
        }
        let precision = Precision {
            activation_bits: bits,
            weight_bits: bits,
        };
        let quantised = quantise(&graph, &ranges, precision)?;
        let fidelity = measure(&quantised, samples, &reference)?;
        let meets_target =
            fidelity.relative_error <= settings.target && fidelity.same_arg_max == fidelity.samples;
        let better = best
            .as_ref()
            .is_none_or(|b| fidelity.relative_error < b.fidelity.relative_error);
        if better || meets_target {
            best = Some(Lowered {
                graph: graph.clone(),
                quantised,
                precision,
                fidelity,
                meets_target,
            });
        }
        if meets_target {
            break;
        }
    }
    best.ok_or_else(|| {
        LowerError::slice(format!(
            "no precision from {} to {} bits can be tried",
            settings.least_bits, settings.most_bits
        ))
    })
}

/// Runs a program on samples and compares it with the reference's outputs.
///
/// # Errors
/// [`LowerError::Slice`] when the program fails on a sample.
pub fn measure(
    quantised: &Quantised,
    samples: &[Vec<Array>],
    reference: &[Vec<Array>],
) -> Result<Fidelity> {
    let mut out = Fidelity::default();
    // Relative to each output's greatest magnitude over all samples.
    let scale = |k: usize| {
        let all = reference.iter().filter_map(|r| r.get(k));
        all.map(Array::max_abs).fold(0.0, f64::max)
    };
    for (sample, expected) in samples.iter().zip(reference) {
        let found = quantised.run(sample)?;
        let mut same = true;
        for (k, (f, e)) in found.iter().zip(expected).enumerate() {
            let pairs = f.data.iter().zip(&e.data);
            let worst = pairs.map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
            let relative = if worst == 0.0 {
                0.0
            } else {
                worst / scale(k).max(f64::MIN_POSITIVE)
            };
            out.relative_error = out.relative_error.max(relative);
            same &= arg_max(&f.data) == arg_max(&e.data);
        }
        out.samples += 1;
        out.same_arg_max += usize::from(same);
    }
    Ok(out)
}

fn arg_max(data: &[f64]) -> Option<usize> {
    data.iter()
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)))
        .map(|x| x.0)
}

impl Quantised {
    /// Quantises real inputs (nearest, ties to even, saturating), evaluates the program
    /// and returns the outputs as real numbers.
    ///
    /// # Errors
    /// [`LowerError::Slice`] when the evaluation fails.
    pub fn run(&self, inputs: &[Array]) -> Result<Vec<Array>> {
        let inputs: Vec<Tensor> = inputs
            .iter()
            .zip(&self.inputs)
            .map(|(x, port)| port.quantise(x))
            .collect();
        let all = eval::evaluate(&self.program, &self.checked, &self.weights, &inputs)
            .map_err(|e| LowerError::slice(e.to_string()))?;
        let ports = self.program.outputs.iter().zip(&self.outputs);
        Ok(ports
            .map(|(&t, port)| port.dequantise(&all[t as usize]))
            .collect())
    }
}

impl Port {
    /// Integers for real numbers: nearest, ties to even, saturating.
    #[must_use]
    pub fn quantise(&self, array: &Array) -> Tensor {
        let scale = 2f64.powi(-self.exponent);
        let limit = |x: f64| x.max(self.lo as f64).min(self.hi as f64) as i64;
        Tensor {
            shape: array.shape.clone(),
            data: array
                .data
                .iter()
                .map(|x| limit((x * scale).round_ties_even()))
                .collect(),
        }
    }

    /// The real numbers that integers stand for.
    #[must_use]
    pub fn dequantise(&self, tensor: &Tensor) -> Array {
        let scale = 2f64.powi(self.exponent);
        Array {
            shape: tensor.shape.clone(),
            data: tensor.data.iter().map(|&i| i as f64 * scale).collect(),
        }
    }
}

/// Greatest magnitude of [`default_samples`].
pub const DEFAULT_RANGE: f64 = 16.0;

/// Samples for a slice that comes without calibration data: four of numbers spread evenly
/// over `-16..=16` in a fixed pseudo-random order. That is wider than most activations,
/// because what is too wide loses a few bits and what is too narrow saturates; take the
/// most bits for it.
#[must_use]
pub fn default_samples(shapes: &[Vec<usize>]) -> Vec<Vec<Array>> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        // SplitMix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((z ^ (z >> 31)) >> 11) as f64 / 2f64.powi(53);
        (2.0 * unit - 1.0) * DEFAULT_RANGE
    };
    (0..4)
        .map(|_| {
            shapes
                .iter()
                .map(|shape| {
                    let n: usize = shape.iter().product();
                    Array {
                        shape: shape.clone(),
                        data: (0..n).map(|_| next()).collect(),
                    }
                })
                .collect()
        })
        .collect()
}
