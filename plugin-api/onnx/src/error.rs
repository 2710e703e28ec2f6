//! What can go wrong while a model is read.

/// A model, or a part of it, is not what the standard says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The bytes are not a protobuf message of this kind.
    #[error("the bytes are not an ONNX {message}: {reason}")]
    Decode {
        /// What was expected (`model`, `tensor`).
        message: &'static str,
        /// What the decoder met.
        reason: String,
    },
    /// The model has no graph.
    #[error("the model has no graph")]
    NoGraph,
    /// An attribute is missing or of another kind.
    #[error("attribute \"{attribute}\" of node \"{node}\": expected {expected}, found {found}")]
    Attribute {
        /// The node's [label](crate::NodeProto::label).
        node: String,
        /// The attribute's name.
        attribute: String,
        /// Expected kind.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A tensor's fields contradict each other or can't be read.
    #[error("tensor \"{tensor}\": {reason}")]
    Tensor {
        /// The tensor's name.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor's external data can't be used.
    #[error("external data of tensor \"{tensor}\" at \"{location}\": {reason}")]
    External {
        /// The tensor's name.
        tensor: String,
        /// The location as the model gives it.
        location: String,
        /// What is wrong.
        reason: String,
    },
}

/// Result with an [`OnnxError`].
pub type Result<T, E = OnnxError> = std::result::Result<T, E>;
