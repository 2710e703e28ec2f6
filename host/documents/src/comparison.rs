//! `fidelity.json` of a run: each tensor that a slice computed, beside the float model's.
//!
//! A record for people and plots. `run` writes it when the chain is complete; no command
//! takes a decision by it.

use crate::document::{Extra, Schema, document};
use crate::measure::WorstElement;
use serde::{Deserialize, Serialize};

/// One element in both computations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "Triple", from = "Triple")]
pub struct ComparedElement {
    /// Position in the tensor, row-major.
    pub element: u64,
    /// What the float model has there; `None` when that is not finite.
    pub expected: Option<f64>,
    /// What the run computed; `None` when that is not finite.
    pub found: Option<f64>,
}

/// How an element is written: `[element, expected, found]`.
type Triple = (u64, Option<f64>, Option<f64>);

impl From<ComparedElement> for Triple {
    fn from(e: ComparedElement) -> Self {
        (e.element, e.expected, e.found)
    }
}

impl From<Triple> for ComparedElement {
    fn from((element, expected, found): Triple) -> Self {
        Self {
            element,
            expected,
            found,
        }
    }
}

/// A tensor of the run against the float chain's: the whole way from the model's input on,
/// so that the errors of earlier slices are in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ComparedTensor {
    /// Name in the model's graph.
    pub tensor: String,
    /// The slice that computes it.
    pub slice: usize,
    /// Number of elements.
    pub elements: u64,
    /// The error, as in [`crate::Fidelity::error`].
    pub error: Option<f64>,
    /// Largest absolute difference; `None` when a value is not finite.
    pub max_abs: Option<f64>,
    /// Where the difference is largest; `None` when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst: Option<WorstElement>,
    /// Elements at even distances. Empty when both are the same bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sample: Vec<ComparedElement>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The document `fidelity.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunComparison {
    /// Version of this document.
    pub schema: Schema<1, 0, 0>,
    /// Identity of the sliced model.
    pub model_identity: String,
    /// Digest of the model's input tensors.
    pub input_sha256: String,
    /// The outputs of all slices, in the order of the graph.
    pub tensors: Vec<ComparedTensor>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}
document!(RunComparison, "fidelity.json", 1, 0, 0);

impl RunComparison {
    /// Its name in the run's directory.
    pub const FILE: &str = "fidelity.json";
}
