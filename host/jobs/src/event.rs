//! What a stage reports while it works; the command line turns it into progress lines.

use dsperse_documents::{Fallback, Usage};

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A stage begins with so many slices.
    StageStarted {
        /// `slice`, `compile`, `run`, `prove` or `verify`.
        stage: &'static str,
        /// Number of slices.
        slices: usize,
    },
    /// Backends are asked which parts of a model they can prove.
    Asking {
        /// Parts that were asked about.
        done: usize,
        /// All of them.
        of: usize,
    },
    /// A job begins.
    Started {
        /// Stage.
        stage: &'static str,
        /// Slice.
        slice: usize,
        /// Backend.
        backend: String,
    },
    /// A running job reports progress.
    Progress {
        /// Slice.
        slice: usize,
        /// From 0 to 1.
        fraction: f64,
        /// A short word for the step.
        step: String,
    },
    /// A running job takes more memory than was last told.
    Memory {
        /// Slice.
        slice: usize,
        /// Peak so far, in bytes.
        peak_bytes: u64,
    },
    /// A slice needs nothing because its result is up to date.
    UpToDate {
        /// Stage.
        stage: &'static str,
        /// Slice.
        slice: usize,
        /// Backend.
        backend: String,
    },
    /// A backend of the chain was turned down.
    FellThrough {
        /// Slice.
        slice: usize,
        /// Backend and reason.
        fallback: Fallback,
    },
    /// A job is done.
    Finished {
        /// Stage.
        stage: &'static str,
        /// Slice.
        slice: usize,
        /// Backend.
        backend: String,
        /// What it cost.
        usage: Usage,
        /// A word for the outcome, such as `done` or `proven`.
        outcome: String,
    },
    /// A slice failed for good.
    Failed {
        /// Stage.
        stage: &'static str,
        /// Slice.
        slice: usize,
        /// Why.
        reason: String,
    },
    /// A line that a backend logged.
    Log {
        /// Slice.
        slice: usize,
        /// Backend.
        backend: String,
        /// Severity.
        level: dsperse_plugin_api::context::Level,
        /// The line.
        line: String,
    },
    /// What was chosen where the user left a choice open.
    Note {
        /// The sentence.
        message: String,
    },
    /// Something the user should know.
    Warning {
        /// The sentence.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
}

/// Receives events from any thread.
pub type Events = std::sync::Arc<dyn Fn(&Event) + Send + Sync>;
