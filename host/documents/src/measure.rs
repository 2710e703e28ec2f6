//! What a job cost, and how close its values are to those of the float model.

use crate::document::Extra;
use serde::{Deserialize, Serialize};

/// What a job cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Wall-clock seconds.
    #[serde(default)]
    pub seconds: f64,
    /// CPU seconds over all threads and children.
    #[serde(default)]
    pub cpu_seconds: f64,
    /// Peak memory in bytes.
    #[serde(default)]
    pub peak_bytes: u64,
    /// When it began, in seconds since 1970-01-01 00:00 UTC; `None` where nobody wrote it
    /// down, and for sums.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<f64>,
}

impl Usage {
    /// Adds what a further job for the same purpose cost: seconds add up, the larger peak
    /// and the earlier start stay.
    pub fn add(&mut self, other: &Usage) {
        self.seconds += other.seconds;
        self.cpu_seconds += other.cpu_seconds;
        self.peak_bytes = self.peak_bytes.max(other.peak_bytes);
        self.started_at = match (self.started_at, other.started_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

/// The largest error of a model's outputs that is allowed when nobody says anything.
pub const DEFAULT_MAX_ERROR: f64 = 0.01;

/// How far the computed values are from those of the float model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    /// Largest absolute difference; `None` when a value is not finite.
    pub max_abs: Option<f64>,
    /// Largest relative difference; `None` when a value is not finite.
    pub max_rel: Option<f64>,
    /// Whether the largest element is at the same place (last axis, all rows); `None`
    /// where that makes no sense.
    #[serde(default)]
    pub same_argmax: Option<bool>,
    /// The error that is held against the target: over all outputs, the largest difference
    /// divided by the lesser of the output's largest magnitude and its range (see
    /// `docs/fidelity.md`); `None` when a value is not finite or the reference is all zero
    /// and the values are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// Where that is; `None` when there is no difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst: Option<WorstElement>,
    /// Share of the five largest elements (last axis, mean over all rows) that are among
    /// the five largest of the reference; `None` for rows of less than ten elements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top5: Option<f64>,
    /// The largest error that was allowed; `None` where nothing was demanded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Fidelity {
    /// Whether the error is beyond the target; `false` where there is no target.
    #[must_use]
    pub fn misses(&self) -> bool {
        self.target
            .is_some_and(|target| self.error.is_none_or(|error| error > target))
    }
}

/// An element of an output that is far from the float model's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WorstElement {
    /// The output tensor.
    pub output: String,
    /// Position in it, row-major.
    pub element: u64,
    /// What the float model has there; `None` when that is not finite.
    pub expected: Option<f64>,
    /// What was computed; `None` when that is not finite.
    pub found: Option<f64>,
}
