//! Tensors travel as files in the job's directory: raw little-endian elements in
//! row-major order, described by a small JSON record. Never as floats in JSON.

use serde::{Deserialize, Serialize};

/// How the bytes of a tensor are to be read.
///
/// A tensor is either plain, or fixed point: `i64` integers with a power-of-two
/// exponent, `value = integer · 2^exponent`, which is what a quantised slice proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "dtype")]
pub enum Encoding {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
    /// IEEE 754 half precision.
    F16,
    /// Signed 8-bit integer.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// Unsigned 8-bit integer.
    U8,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 64-bit integer.
    U64,
    /// One byte per element, 0 or 1.
    Bool,
    /// `i64` integers, each standing for `integer · 2^exponent`.
    Fixed {
        /// The power of two.
        exponent: i32,
    },
}

impl Encoding {
    /// Bytes per element.
    #[must_use]
    pub fn element_size(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 | Self::Fixed { .. } => 8,
        }
    }
}

/// Name, encoding and shape of a tensor, without its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// The tensor's name in the model's graph.
    pub name: String,
    /// How to read the bytes.
    #[serde(flatten)]
    pub encoding: Encoding,
    /// Concrete shape; empty for a scalar.
    pub shape: Vec<u64>,
}

impl TensorInfo {
    /// Number of elements, or `None` when the product overflows.
    #[must_use]
    pub fn len(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d))
    }
    /// Whether the tensor has no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }
}

/// A tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorFile {
    /// What the file holds.
    #[serde(flatten)]
    pub info: TensorInfo,
    /// Path. In requests: absolute, chosen by the host. In replies: relative to the job's directory.
    pub path: String,
    /// SHA-256 of the bytes, lower-case hex. Backends may leave it empty; hosts compute it.
    #[serde(default)]
    pub sha256: String,
}
