//! A packed proof (`.dsproof`): one file with all that a verifier needs.
//!
//! It is a ZIP archive of [`MARK`], the verifier's slices below `slices/` in the shape of
//! directories, and below `run/` the run's record, tensors and proofs.

use crate::document::{Extra, Schema, document};
use serde::{Deserialize, Serialize};

/// The document that says what the archive is.
pub const MARK: &str = "dsproof.json";

/// The document `dsproof.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PackedProof {
    /// Version of the archive's layout.
    pub schema: Schema<1, 0, 0>,
    /// Version of dsperse that packed it.
    pub tool_version: String,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}
document!(PackedProof, "packed proof", 1, 0, 0);

/// Whether an entry of that name belongs into a packed proof.
#[must_use]
pub fn belongs(name: &str) -> bool {
    name == MARK || name.starts_with("slices/") || name.starts_with("run/")
}
