//! Where a model is to be cut, as the user says it.

use crate::error::Error;
use dsperse_router::Policy;
use dsperse_slicer::SliceError;
use std::path::Path;

/// Where to cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Cut {
    /// Into as few slices as can be proven by the wanted backends within the memory of a job
    /// (see [`crate::Limits::memory`]), or what the machine allows.
    #[default]
    Auto,
    /// At each node that carries weights.
    Layer,
    /// At each operator.
    Op,
    /// Nowhere.
    Whole,
    /// At the named nodes.
    Points(Vec<String>),
    /// Where what some loaded backend can prove begins and ends, as the backends say.
    Capability,
}

/// For whom [`Cut::Auto`] and [`Cut::Capability`] cut; the other cuts do not depend on it.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Backend spec, of which the names count; `None` is the default chain for `Auto`, and
    /// everything that is loaded for `Capability`.
    pub backend: Option<String>,
    /// Demands on proofs.
    pub policy: Policy,
}

/// What the slicer says of a model file, as a stage's error.
pub(crate) fn slice_error(e: &SliceError, file: &Path) -> Error {
    match e {
        SliceError::Point { .. } | SliceError::Dim { .. } => Error::usage(e.to_string()),
        SliceError::Read { .. } => Error::bad_input(e.to_string()),
        _ => Error::bad_input(e.to_string()).at(format!("\"{}\"", file.display())),
    }
}
