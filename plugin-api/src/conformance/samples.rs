//! Sample slices: tiny ONNX models with inputs and exact outputs.
//!
//! All weights and inputs are small multiples of 1/8, so every sum is exact in single
//! precision, in any order of summation, and also in fixed point with a few fraction bits.
//! The outputs are those of ONNX Runtime.

use super::onnx_bytes::{Node, Weights, model};
use crate::{Encoding, SliceInfo, TensorInfo};
use sha2::{Digest, Sha256};

/// A slice with two sets of inputs and the outputs that belong to them.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleSlice {
    /// Short name for reports.
    pub name: String,
    /// The ONNX model: float input `x`, float output `y`.
    pub model: Vec<u8>,
    /// Shape of `x`.
    pub input_shape: Vec<u64>,
    /// Shape of `y`.
    pub output_shape: Vec<u64>,
    /// Two inputs, each with its output. Adding 1 to every input changes the output.
    pub cases: [SampleCase; 2],
}

/// Values of a sample's input and output, in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleCase {
    /// Values of `x`.
    pub input: Vec<f32>,
    /// Values of `y`.
    pub output: Vec<f32>,
}

impl SampleSlice {
    /// The slice's document; `model` is the path of its file.
    #[must_use]
    pub fn info(&self, model: Option<String>) -> SliceInfo {
        let tensor = |name: &str, shape: &[u64]| TensorInfo {
            name: name.into(),
            encoding: Encoding::F32,
            shape: shape.to_vec(),
        };
        SliceInfo {
            index: 0,
            model,
            sha256: hex::encode(Sha256::digest(&self.model)),
            model_sha256: hex::encode(Sha256::digest(b"dsperse conformance samples")),
            inputs: vec![tensor("x", &self.input_shape)],
            outputs: vec![tensor("y", &self.output_shape)],
        }
    }
}

fn case(input: &[f32], output: &[f32]) -> SampleCase {
    SampleCase {
        input: input.to_vec(),
        output: output.to_vec(),
    }
}

fn node(op: &'static str, inputs: &'static [&'static str], output: &'static str) -> Node {
    Node {
        op,
        inputs,
        output,
        ints: &[],
    }
}

/// Every sample, the smallest first.
#[must_use]
pub fn all() -> Vec<SampleSlice> {
    vec![identity(), relu(), gemm(), perceptron(), conv()]
}

/// `y = x`.
#[must_use]
pub fn identity() -> SampleSlice {
    SampleSlice {
        name: "identity".into(),
        model: model(
            "identity",
            &[1, 4],
            &[1, 4],
            &[node("Identity", &["x"], "y")],
            &[],
        ),
        input_shape: vec![1, 4],
        output_shape: vec![1, 4],
        cases: [
            case(&[0.5, -0.25, 1.0, 0.125], &[0.5, -0.25, 1.0, 0.125]),
            case(&[0.0, 0.25, -1.0, 0.375], &[0.0, 0.25, -1.0, 0.375]),
        ],
    }
}

/// `y = max(x, 0)`.
#[must_use]
pub fn relu() -> SampleSlice {
    SampleSlice {
        name: "relu".into(),
        model: model("relu", &[1, 4], &[1, 4], &[node("Relu", &["x"], "y")], &[]),
        input_shape: vec![1, 4],
        output_shape: vec![1, 4],
        cases: [
            case(&[0.5, -0.25, 1.0, -0.125], &[0.5, 0.0, 1.0, 0.0]),
            case(&[-0.5, 0.25, -1.0, 0.375], &[0.0, 0.25, 0.0, 0.375]),
        ],
    }
}

/// `y = x · w + b`, four features to two.
#[must_use]
pub fn gemm() -> SampleSlice {
    SampleSlice {
        name: "gemm".into(),
        model: model(
            "gemm",
            &[1, 4],
            &[1, 2],
            &[node("Gemm", &["x", "w", "b"], "y")],
            &[
                Weights {
                    name: "w",
                    shape: &[4, 2],
                    values: &[0.5, 0.25, -0.25, 1.0, 0.125, 0.5, 1.0, -0.5],
                },
                Weights {
                    name: "b",
                    shape: &[2],
                    values: &[0.25, -0.125],
                },
            ],
        ),
        input_shape: vec![1, 4],
        output_shape: vec![1, 2],
        cases: [
            case(&[1.0, 0.5, -1.0, 0.25], &[0.75, 0.0]),
            case(&[0.5, -0.5, 1.0, 0.5], &[1.25, -0.25]),
        ],
    }
}

/// Two layers with a `Relu` between them, as most slices of real models are.
#[must_use]
pub fn perceptron() -> SampleSlice {
    SampleSlice {
        name: "perceptron".into(),
        model: model(
            "perceptron",
            &[1, 2],
            &[1, 2],
            &[
                node("Gemm", &["x", "w1", "b1"], "h"),
                node("Relu", &["h"], "r"),
                node("Gemm", &["r", "w2", "b2"], "y"),
            ],
            &[
                Weights {
                    name: "w1",
                    shape: &[2, 3],
                    values: &[0.5, -0.5, 1.0, 0.25, 1.0, -0.5],
                },
                Weights {
                    name: "b1",
                    shape: &[3],
                    values: &[0.125, 0.0, -0.25],
                },
                Weights {
                    name: "w2",
                    shape: &[3, 2],
                    values: &[1.0, 0.5, -0.5, 0.25, 0.5, -1.0],
                },
                Weights {
                    name: "b2",
                    shape: &[2],
                    values: &[0.0, 0.5],
                },
            ],
        ),
        input_shape: vec![1, 2],
        output_shape: vec![1, 2],
        cases: [
            case(&[1.0, 0.5], &[1.0, 0.375]),
            case(&[-0.5, 1.0], &[-0.5, 0.875]),
        ],
    }
}

/// A convolution of a 4×4 image with one 3×3 kernel, without padding.
#[must_use]
pub fn conv() -> SampleSlice {
    SampleSlice {
        name: "conv".into(),
        model: model(
            "conv",
            &[1, 1, 4, 4],
            &[1, 1, 2, 2],
            &[Node {
                op: "Conv",
                inputs: &["x", "k", "b"],
                output: "y",
                ints: &[
                    ("kernel_shape", &[3, 3]),
                    ("pads", &[0, 0, 0, 0]),
                    ("strides", &[1, 1]),
                ],
            }],
            &[
                Weights {
                    name: "k",
                    shape: &[1, 1, 3, 3],
                    values: &[0.5, 0.0, -0.25, 0.25, 1.0, 0.0, 0.0, -0.5, 0.125],
                },
                Weights {
                    name: "b",
                    shape: &[1],
                    values: &[0.25],
                },
            ],
        ),
        input_shape: vec![1, 1, 4, 4],
        output_shape: vec![1, 1, 2, 2],
        cases: [
            case(
                &[
                    1.0, 0.0, 0.5, -0.5, 0.25, 1.0, 0.0, 0.5, -1.0, 0.5, 0.25, 0.0, 0.5, 0.0, 1.0,
                    -0.25,
                ],
                &[1.46875, 0.5, 0.75, 0.46875],
            ),
            case(
                &[
                    0.0, 0.5, 1.0, 0.0, 0.5, -0.5, 0.25, 1.0, 0.0, 0.25, -1.0, 0.5, 1.0, 0.5, 0.0,
                    0.25,
                ],
                &[-0.625, 1.1875, 0.4375, -1.15625],
            ),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_values_and_digests_belong_together() {
        for sample in all() {
            let info = sample.info(None);
            for case in &sample.cases {
                assert_eq!(info.inputs[0].len(), Some(case.input.len() as u64));
                assert_eq!(info.outputs[0].len(), Some(case.output.len() as u64));
            }
            assert_ne!(
                sample.cases[0].output, sample.cases[1].output,
                "{}",
                sample.name
            );
            assert_eq!(info.sha256.len(), 64);
        }
    }

    #[test]
    fn the_perceptron_is_what_its_doc_says() {
        let sample = perceptron();
        let w1 = [[0.5, -0.5, 1.0], [0.25, 1.0, -0.5]];
        let w2 = [[1.0, 0.5], [-0.5, 0.25], [0.5, -1.0]];
        let (b1, b2) = ([0.125, 0.0, -0.25], [0.0, 0.5]);
        for case in &sample.cases {
            let x = &case.input;
            let h: Vec<f32> = (0..3)
                .map(|j| (x[0] * w1[0][j] + x[1] * w1[1][j] + b1[j]).max(0.0))
                .collect();
            let y: Vec<f32> = (0..2)
                .map(|k| h[0] * w2[0][k] + h[1] * w2[1][k] + h[2] * w2[2][k] + b2[k])
                .collect();
            assert_eq!(y, case.output);
        }
    }
}
