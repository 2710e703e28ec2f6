//! Why a tensor can't be read or converted.

use crate::Encoding;
use std::io;
use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = TensorError> = std::result::Result<T, E>;

/// What is wrong with a tensor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The file can't be read.
    #[error("tensor \"{name}\" can't be read from \"{}\": {source}", path.display())]
    Read {
        /// Which tensor.
        name: String,
        /// Its file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There are more or fewer bytes than encoding and shape say.
    #[error("tensor \"{name}\" ({encoding}, shape {shape:?}) has {found} bytes, expected {}", bytes(*expected))]
    Size {
        /// Which tensor.
        name: String,
        /// Its encoding.
        encoding: Encoding,
        /// Its shape.
        shape: Vec<u64>,
        /// The bytes that are there.
        found: u64,
        /// The bytes that should be there; `None` beyond 2^64.
        expected: Option<u64>,
    },
    /// An element can't be expressed in the wanted encoding.
    #[error("{}element {at} is {found}, expected {expected}", of(name))]
    Element {
        /// Which tensor, where that is known.
        name: Option<String>,
        /// Position in row-major order.
        at: usize,
        /// The element.
        found: String,
        /// What would do.
        expected: String,
    },
}

impl TensorError {
    /// Adds the tensor's name to an error about an element.
    #[must_use]
    pub fn in_tensor(mut self, tensor: &str) -> Self {
        if let Self::Element { name, .. } = &mut self {
            *name = Some(tensor.to_owned());
        }
        self
    }
}

fn bytes(expected: Option<u64>) -> String {
    expected.map_or_else(
        || "more than can be addressed".to_owned(),
        |n| n.to_string(),
    )
}

fn of(name: &Option<String>) -> String {
    name.as_ref()
        .map_or_else(String::new, |n| format!("tensor \"{n}\": "))
}
