//! Asking a backend whether it can take a slice.

use crate::attempt::Attempt;
use crate::backend::Loaded;
use crate::error::Result;
use crate::job::{Files, Job, Work};
use crate::session::Session;
use dsperse_documents::BackendError;
use dsperse_plugin_api::{SliceInfo, Support};
use std::path::Path;

/// Calls `supports` on a slice whose ONNX file is `payload`. The inner error is the
/// backend's own. `scratch` is a directory for the files of the call.
///
/// # Errors
/// When no directory can be made for the call, or the user interrupted.
pub(crate) fn supports(
    session: &Session<'_>,
    backend: &Loaded<'_>,
    slice: SliceInfo,
    payload: &Path,
    scratch: &Path,
) -> Result<Result<Support, BackendError>> {
    let mut files = Files::default();
    files.insert(Files::PAYLOAD, &slice.sha256, payload);
    let job = Job::new(backend, slice, Work::Supports);
    let attempt = session.attempt(&job, &files, Attempt::quiet(scratch, 1))?;
    Ok(attempt.supports())
}
