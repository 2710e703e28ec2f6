//! The whole way from a model to a program of stated fidelity.

use crate::array::Array;
use crate::error::{LowerError, Result};
use crate::graph::Graph;
use crate::import::import;
use crate::quantise::scale::Ranges;
use crate::quantise::{Port, Precision, Quantised, quantise};
use dsperse_onnx::ModelProto;
use dsperse_sumcheck_evaluator::outputs;
use dsperse_sumcheck_verifier::program::Tensor;

/// Bits of activations that are tried with one scale for a tensor.
pub const ACTIVATION_BITS: [u32; 5] = [8, 10, 12, 14, 16];
/// Bits of activations that are tried when that is not enough, with scales of their own for
/// channels. Tables stay at 16 bits.
pub const WIDE_BITS: [u32; 2] = [20, 24];
/// An output that varies by less than its magnitude divided by this is judged as if it
/// varied by so much: a tensor that is nearly constant has no range to speak of.
const LEAST_VARIATION: f64 = 64.0;

/// What [`lower`] aims at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Largest relative error of an output that is accepted: the greatest difference to
    /// the float reference, divided by the lesser of that output's greatest magnitude and
    /// its range (greatest minus least value, see [`scale_of`]).
    pub target: f64,
    /// Fewest bits of interior activations.
    pub least_bits: u32,
    /// Most bits of interior activations.
    pub most_bits: u32,
    /// Whether wider activations may be taken where most bits do not meet the target.
    pub wide: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            target: 0.01,
            least_bits: 12,
            most_bits: 16,
            wide: true,
        }
    }
}

impl Settings {
    /// The finest precision with one scale for a tensor that these settings allow.
    #[must_use]
    pub fn finest(&self) -> Precision {
        Precision::plain(self.most_bits)
    }

    /// The precisions to try, cheapest first.
    fn precisions(&self) -> Vec<Precision> {
        let allowed = |b: &u32| (self.least_bits..=self.most_bits).contains(b);
        let mut out: Vec<Precision> = ACTIVATION_BITS
            .into_iter()
            .filter(allowed)
            .map(Precision::plain)
            .collect();
        let own = Precision::by_channel(self.most_bits);
        out.push(own);
        out.push(Precision { clip: true, ..own });
        if self.wide {
            out.extend(WIDE_BITS.map(Precision::by_channel));
        }
        out
    }
}

/// Where a program is furthest from the float reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worst {
    /// Which output.
    pub output: usize,
    /// Which of its elements, row-major.
    pub element: usize,
    /// What the float reference has there.
    pub expected: f64,
    /// What the program computes.
    pub found: f64,
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
    /// Where that is; `None` when there is no difference.
    pub worst: Option<Worst>,
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
    /// For each sample, the input tensors; or nothing, then [`default_samples`] serve.
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
    let guessed = calibration
        .inputs
        .is_empty()
        .then(|| default_samples(&graph));
    let samples = guessed.as_ref().unwrap_or(&calibration.inputs);
    let (mut ranges, reference) = Ranges::measure(&graph, samples)?;
    if !calibration.outputs.is_empty() {
        ranges.set_outputs(&graph, &calibration.outputs)?;
    }
    let mut best: Option<Lowered> = None;
    let mut refused = None;
    for precision in settings.precisions() {
        if precision.channels && !ranges.has_details() {
            ranges.measure_details(&graph, samples);
        }
        let tried = quantise(&graph, &ranges, precision)
            .and_then(|q| measure(&q, samples, &reference).map(|f| (q, f)));
        let (quantised, fidelity) = match tried {
            Ok(tried) => tried,
            // A finer precision may not fit the program's limits; what fits counts.
            Err(e) => {
                refused.get_or_insert(e);
                continue;
            }
        };
        let meets_target = fidelity.relative_error <= settings.target;
        let better = best
            .as_ref()
            .is_none_or(|b| fidelity.relative_error < b.fidelity.relative_error);
        let agrees = fidelity.same_arg_max == fidelity.samples;
        if better || meets_target && agrees {
            best = Some(Lowered {
                graph: graph.clone(),
                quantised,
                precision,
                fidelity,
                meets_target,
            });
        }
        // Another greatest element within the target is a tie that is worth some more bits,
        // but no scales of their own.
        let finest = precision.channels || precision.activation_bits >= settings.most_bits;
        if meets_target && (agrees || finest) {
            break;
        }
    }
    match (best, refused) {
        (Some(best), _) => Ok(best),
        (None, Some(e)) => Err(e),
        (None, None) => Err(LowerError::slice("no precision can be tried")),
    }
}

/// What an error of an output is relative to: the lesser of its greatest magnitude and its
/// range over all samples, the range being at least a 64th of the magnitude. An output of
/// one element has no range.
#[must_use]
pub fn scale_of<'a>(samples: impl Iterator<Item = &'a Array>) -> f64 {
    let (mut magnitude, mut low, mut high, mut elements) =
        (0f64, f64::INFINITY, f64::NEG_INFINITY, 0);
    for sample in samples {
        magnitude = magnitude.max(sample.max_abs());
        elements = elements.max(sample.data.len());
        for &x in &sample.data {
            (low, high) = (low.min(x), high.max(x));
        }
    }
    if elements < 2 {
        return magnitude;
    }
    (high - low).clamp(magnitude / LEAST_VARIATION, magnitude)
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
    let scales: Vec<f64> = (0..quantised.outputs.len())
        .map(|k| scale_of(reference.iter().filter_map(|r| r.get(k))))
        .collect();
    for (sample, expected) in samples.iter().zip(reference) {
        let found = quantised.run(sample)?;
        let mut same = true;
        for (output, (f, e)) in found.iter().zip(expected).enumerate() {
            let pairs = f.data.iter().zip(&e.data).enumerate();
            let worst = pairs
                .map(|(i, (x, y))| (i, (x - y).abs()))
                .fold((0, 0.0), |w, d| if d.1 > w.1 { d } else { w });
            let scale = scales.get(output).copied().unwrap_or_default();
            let relative = worst.1 / scale.max(f64::MIN_POSITIVE);
            if worst.1 > 0.0 && relative > out.relative_error {
                out.relative_error = relative;
                out.worst = Some(Worst {
                    output,
                    element: worst.0,
                    expected: e.data[worst.0],
                    found: f.data[worst.0],
                });
            }
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
        let outputs = outputs(&self.program, &self.checked, &self.weights, &inputs)
            .map_err(|e| LowerError::slice(e.to_string()))?;
        let ports = outputs.iter().zip(&self.outputs);
        Ok(ports.map(|(t, port)| port.dequantise(t)).collect())
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
/// over `-16..=16` in a fixed pseudo-random order (integers: 0 and 1). That is wider than most activations,
/// because what is too wide loses a few bits and what is too narrow saturates; take the
/// most bits for it.
#[must_use]
pub fn default_samples(graph: &Graph) -> Vec<Vec<Array>> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        // SplitMix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((z ^ (z >> 31)) >> 11) as f64 / 2f64.powi(53);
        2.0 * unit - 1.0
    };
    (0..4)
        .map(|_| {
            graph
                .inputs
                .iter()
                .map(|&id| {
                    let shape = graph.shape(id).to_vec();
                    let n: usize = shape.iter().product();
                    // Integers are 0 or 1: valid booleans, masks and ids.
                    let value = |x: f64| match graph.nodes[id].integral {
                        true => f64::from(u8::from(x > 0.0)),
                        false => x * DEFAULT_RANGE,
                    };
                    Array {
                        shape,
                        data: (0..n).map(|_| value(next())).collect(),
                    }
                })
                .collect()
        })
        .collect()
}
