//! What can go wrong between a model file and its slices.

use dsperse_documents::setting::{AT, STRATEGY};
use dsperse_onnx::OnnxError;
use std::path::PathBuf;

/// A model that can't be sliced as asked. Every message names the thing and, where there
/// is one, the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SliceError {
    /// The file can't be read.
    #[error("can't read model \"{}\": {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are not a valid model.
    #[error("model is not valid: {0}")]
    Onnx(#[from] OnnxError),
    /// The graph contradicts itself.
    #[error("model is not valid: {0}")]
    Graph(String),
    /// A size of an input is neither in the file nor given.
    #[error(
        "input \"{input}\": the size of axis {axis}{} is not fixed; set it with {flag}",
        if name.is_empty() { String::new() } else { format!(" (\"{name}\")") }
    )]
    OpenDim {
        /// The input.
        input: String,
        /// Position of the size.
        axis: usize,
        /// Name of the size in the file; empty when it has none.
        name: String,
        /// What to type.
        flag: String,
    },
    /// A size was given that doesn't fit the file.
    #[error("{flag}: {reason}")]
    Dim {
        /// The flag as given.
        flag: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A model input or output is not a tensor that DSperse can carry.
    #[error("{what} \"{tensor}\" is {found}; expected a tensor of numbers or booleans{hint}")]
    Type {
        /// `input` or `output`.
        what: &'static str,
        /// Its name.
        tensor: String,
        /// What it is.
        found: String,
        /// What to do, starting with a separator; may be empty.
        hint: String,
    },
    /// The shape of a model output isn't known before the model runs.
    #[error(
        "the shape of output \"{tensor}\" can't be fixed before the model runs{}",
        cause(node, reason)
    )]
    OpenShape {
        /// The output.
        tensor: String,
        /// The first node on the way to it whose shape is unknown.
        node: String,
        /// What shape inference said.
        reason: String,
    },
    /// A place to cut that isn't there.
    #[error("{AT} {at}: {reason}")]
    Point {
        /// As given.
        at: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A slice that doesn't fit the file format.
    #[error(
        "slice {index} takes {bytes} bytes; an ONNX file must stay below 2 GiB; cut it further with {STRATEGY} op or {STRATEGY} points"
    )]
    TooLarge {
        /// The slice.
        index: usize,
        /// Its size.
        bytes: u64,
    },
}

fn cause(node: &str, reason: &str) -> String {
    let at = if node.is_empty() {
        String::new()
    } else {
        format!(": it depends on node \"{node}\"")
    };
    if reason.is_empty() {
        at
    } else {
        format!("{at} ({reason})")
    }
}

/// Result with a [`SliceError`].
pub type Result<T, E = SliceError> = std::result::Result<T, E>;
