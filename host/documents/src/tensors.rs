//! `tensors/index.json`: every tensor of a run, by its name in the model's graph.
//!
//! The index is the run's statement of values: the output of one slice and the input of
//! the next are the same record, hence the same bytes.

use crate::digest::FieldHasher;
use crate::document::{Extra, Schema, document};
use dsperse_plugin_api::{Encoding, TensorInfo};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Where a tensor came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TensorOrigin {
    /// Input of the model.
    #[default]
    Input,
    /// Output of a slice.
    Slice(usize),
}

/// One tensor of the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TensorRecord {
    /// Name in the model's graph.
    pub name: String,
    /// `dtype`, and `exponent` when it is fixed point.
    #[serde(flatten, with = "encoding_fields")]
    pub encoding: Encoding,
    /// Concrete shape; empty for a scalar.
    pub shape: Vec<u64>,
    /// File, relative to the index.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the bytes, lower-case hex.
    pub sha256: String,
    /// Where it came from.
    pub origin: TensorOrigin,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

impl TensorRecord {
    /// Name, encoding and shape.
    #[must_use]
    pub fn info(&self) -> TensorInfo {
        TensorInfo {
            name: self.name.clone(),
            encoding: self.encoding,
            shape: self.shape.clone(),
        }
    }
}

/// The document `tensors/index.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TensorIndex {
    /// Version of this document.
    pub schema: Schema<1, 0, 0>,
    /// The tensors, in the order in which they were written.
    pub tensors: Vec<TensorRecord>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}
document!(TensorIndex, "tensors/index.json", 1, 0, 0);

impl TensorIndex {
    /// The record of a tensor.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TensorRecord> {
        self.tensors.iter().find(|t| t.name == name)
    }

    /// Checks that the document doesn't contradict itself: each tensor once, of a size that
    /// follows from its shape.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn validate(&self) -> Result<(), String> {
        let mut names = HashSet::new();
        for t in &self.tensors {
            if !names.insert(t.name.as_str()) {
                return Err(format!("tensor \"{}\" is listed twice", t.name));
            }
            t.info().check_len(t.size).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

/// Digest of a list of tensors: names, encodings, shapes and values. This is what
/// `input_sha256` and `output_sha256` of a run are, over the model's inputs (outputs) in
/// graph order.
#[must_use]
pub fn digest_of<'a>(tensors: impl IntoIterator<Item = &'a TensorRecord>) -> String {
    let mut h = FieldHasher::new("dsperse/tensors/1");
    for t in tensors {
        h.tensor(&t.info()).text(&t.sha256);
    }
    h.finish()
}

/// `Encoding` as two plain fields. Its own derive would leave the fields in the map of
/// unknown ones, since an internally tagged enum doesn't consume what it reads.
mod encoding_fields {
    use super::Encoding;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use serde_json::json;

    #[derive(Serialize, Deserialize)]
    struct Fields {
        dtype: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exponent: Option<i32>,
    }

    pub(super) fn serialize<S: Serializer>(e: &Encoding, s: S) -> Result<S::Ok, S::Error> {
        let exponent = match e {
            Encoding::Fixed { exponent } => Some(*exponent),
            _ => None,
        };
        let dtype = e.name().to_owned();
        Fields { dtype, exponent }.serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Encoding, D::Error> {
        let f = Fields::deserialize(d)?;
        let value = match f.exponent {
            Some(exponent) => json!({"dtype": f.dtype, "exponent": exponent}),
            None => json!({"dtype": f.dtype}),
        };
        serde_json::from_value(value).map_err(D::Error::custom)
    }
}
