//! `batch.json`: runs of the same slices on several inputs, in one directory.

use crate::document::{Extra, Schema, document};
use serde::{Deserialize, Serialize};

/// The document `batch.json`, beside the runs of the batch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Version of the document.
    pub schema: Schema<1, 0, 0>,
    /// Which slices, backends and inputs the runs are of, as a digest: by it an interrupted
    /// batch is found again.
    pub key: String,
    /// Where each input comes from: the name of a file, and which of its inputs.
    pub sources: Vec<String>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}
document!(Batch, "batch", 1, 0, 0);

impl Batch {
    /// Name of the document in the directory of the batch.
    pub const FILE: &'static str = "batch.json";

    /// What the run of an input is called after `run_`, counted from 0. Names are in the
    /// order of the inputs.
    #[must_use]
    pub fn stamp(at: usize) -> String {
        format!("{:04}", at + 1)
    }
}
