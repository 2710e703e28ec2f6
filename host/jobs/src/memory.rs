//! What jobs on a compiled slice will need, as its backend says, and whether they may.

use crate::schedule;
use crate::session::Session;
use dsperse_documents::setting::{MEMORY, SPLIT_ABOVE};
use dsperse_documents::{BackendError, Compilation};
use dsperse_plugin_api::{Stage, job::PEAK_BYTES};
use dsperse_plugin_host::text_of_bytes;
use serde_json::{Map, Value};

/// What the backend said of a stage when it compiled the slice.
fn said(facts: &Map<String, Value>, stage: Stage) -> Option<u64> {
    let name = serde_json::to_value(stage).ok()?;
    facts.get(PEAK_BYTES)?.get(name.as_str()?)?.as_u64()
}

/// Memory that a stage is expected to need, in bytes: as its backend said, else as much as
/// compiling took.
#[must_use]
pub fn expected(compilation: &Compilation, stage: Stage) -> u64 {
    said(&compilation.facts, stage).unwrap_or(compilation.usage.peak_bytes)
}

impl Session<'_> {
    /// Most memory of a job, where that is known here.
    fn most_memory(&self) -> Option<u64> {
        let here = || self.executor().at_once().is_none();
        let usual = || here().then(schedule::most_memory);
        self.limits.memory.or_else(usual)
    }

    /// Whether proving a slice fits the memory of a job, by what its backend said when it
    /// compiled it. A job that would be ended for its memory need not begin.
    ///
    /// # Errors
    /// Both figures, and what to type.
    pub fn fits_proof(&self, facts: &Map<String, Value>) -> Result<(), BackendError> {
        let (Some(needed), Some(most)) = (said(facts, Stage::Prove), self.most_memory()) else {
            return Ok(());
        };
        if needed <= most {
            return Ok(());
        }
        let enough = needed.div_ceil(1 << 20).max(1);
        Err(BackendError::resource(format!(
            "a proof is estimated to need {} of memory, more than the {} that a job may have",
            text_of_bytes(needed),
            text_of_bytes(most)
        ))
        .with_hint(format!(
            "allow it with \"{MEMORY} {enough}M\", or slice again with \"{MEMORY} {}M\", which cuts into smaller parts, and \"{SPLIT_ABOVE}\" where a single layer is too big",
            (most >> 20).max(1)
        )))
    }
}
