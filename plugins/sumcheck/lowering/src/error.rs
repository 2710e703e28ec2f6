//! Why a slice can't be lowered.

use thiserror::Error;

/// Why a slice can't be lowered.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum LowerError {
    /// A node can't be proven by this backend.
    #[error("node \"{node}\" (\"{op}\") is not supported: {reason}")]
    Unsupported {
        /// The node's name, or the name of its first output.
        node: String,
        /// Its operator.
        op: String,
        /// Why.
        reason: String,
    },
    /// The slice as a whole can't be proven (its inputs or outputs, its size).
    #[error("the slice is not supported: {reason}")]
    Slice {
        /// Why.
        reason: String,
    },
    /// The bytes are not a model, or the model contradicts itself.
    #[error("the slice's model can't be read: {reason}")]
    Model {
        /// What is wrong.
        reason: String,
    },
    /// Calibration tensors do not fit the slice.
    #[error("calibration sample {sample} does not fit: {reason}")]
    Calibration {
        /// Index of the sample.
        sample: usize,
        /// What is wrong.
        reason: String,
    },
}

impl LowerError {
    /// The slice as a whole can't be proven.
    pub fn slice(reason: impl Into<String>) -> Self {
        Self::Slice {
            reason: reason.into(),
        }
    }
    /// The model can't be read.
    pub fn model(reason: impl Into<String>) -> Self {
        Self::Model {
            reason: reason.into(),
        }
    }
}

/// Result with a [`LowerError`].
pub type Result<T, E = LowerError> = std::result::Result<T, E>;
