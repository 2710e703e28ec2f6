//! What the bytes of a tensor mean.

use crate::error::{Result, TensorError};
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
    /// The upper half of an `f32`: 8 bits of exponent, 8 bits of precision.
    Bf16,
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
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 | Self::Fixed { .. } => 8,
        }
    }

    /// The name in documents, `dtype`. Fixed point has its exponent beside it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::Bool => "bool",
            Self::Fixed { .. } => "fixed",
        }
    }

    /// Whether the elements are plain floating-point numbers.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::Bf16)
    }
}

/// The name, and for fixed point the exponent: `fixed 2^-18`.
impl std::fmt::Display for Encoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Fixed { exponent } => write!(f, " 2^{exponent}"),
            _ => Ok(()),
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

    /// Number of bytes, or `None` when it overflows.
    #[must_use]
    pub fn byte_len(&self) -> Option<u64> {
        self.len()?.checked_mul(self.encoding.element_size() as u64)
    }

    /// Checks a number of bytes against encoding and shape.
    ///
    /// # Errors
    /// [`TensorError::Size`] when it is another.
    pub fn check_len(&self, bytes: u64) -> Result<()> {
        if self.byte_len() == Some(bytes) {
            return Ok(());
        }
        Err(TensorError::Size {
            name: self.name.clone(),
            encoding: self.encoding,
            shape: self.shape.clone(),
            found: bytes,
            expected: self.byte_len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_documents() {
        for (encoding, json) in [
            (Encoding::Bf16, r#"{"dtype":"bf16"}"#),
            (Encoding::Bool, r#"{"dtype":"bool"}"#),
            (Encoding::U64, r#"{"dtype":"u64"}"#),
            (
                Encoding::Fixed { exponent: -18 },
                r#"{"dtype":"fixed","exponent":-18}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&encoding).unwrap(), json);
            assert_eq!(serde_json::from_str::<Encoding>(json).unwrap(), encoding);
            assert!(json.contains(&format!("\"{}\"", encoding.name())));
        }
    }

    #[test]
    fn sizes_do_not_overflow() {
        let mut info = TensorInfo {
            name: "x".into(),
            encoding: Encoding::F32,
            shape: vec![2, 3],
        };
        assert_eq!(info.byte_len(), Some(24));
        info.shape = vec![u64::MAX, 2];
        assert_eq!(info.byte_len(), None);
        assert!(info.check_len(u64::MAX - 1).is_err());
    }
}
