//! What is known of every tensor before the model runs.

use dsperse_documents::{Encoding, TensorInfo};
use dsperse_onnx::{DataType, Tensor};
use std::collections::HashMap;

/// What is known of one tensor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fact {
    /// Element type, when known.
    pub dtype: Option<DataType>,
    /// Concrete shape, when known.
    pub shape: Option<Vec<u64>>,
    /// The value itself, when analysis proves it (small integers, booleans and what they
    /// are computed from).
    pub value: Option<Tensor>,
}

/// Facts by tensor name.
pub type Facts = HashMap<String, Fact>;

impl Fact {
    /// Type and shape, when both are known.
    #[must_use]
    pub fn known(&self) -> Option<(DataType, &[u64])> {
        Some((self.dtype?, self.shape.as_deref()?))
    }

    /// How a boundary tensor of this fact travels: `None` when type or shape is unknown
    /// or the type is none that tensor files carry.
    #[must_use]
    pub fn info(&self, name: &str) -> Option<TensorInfo> {
        let (dtype, shape) = self.known()?;
        Some(TensorInfo {
            name: name.to_owned(),
            encoding: encoding(dtype)?,
            shape: shape.to_vec(),
        })
    }

    /// Number of elements, when the shape is known and the product fits.
    #[must_use]
    pub fn elements(&self) -> Option<u64> {
        self.shape
            .as_ref()?
            .iter()
            .try_fold(1u64, |n, d| n.checked_mul(*d))
    }
}

/// The encoding of tensor files for an element type; `None` for those they can't carry.
#[must_use]
pub fn encoding(dtype: DataType) -> Option<Encoding> {
    Some(match dtype {
        DataType::F32 => Encoding::F32,
        DataType::F64 => Encoding::F64,
        DataType::F16 => Encoding::F16,
        DataType::I8 => Encoding::I8,
        DataType::I16 => Encoding::I16,
        DataType::I32 => Encoding::I32,
        DataType::I64 => Encoding::I64,
        DataType::U8 => Encoding::U8,
        DataType::U16 => Encoding::U16,
        DataType::U32 => Encoding::U32,
        DataType::U64 => Encoding::U64,
        DataType::Bool => Encoding::Bool,
        _ => return None,
    })
}
