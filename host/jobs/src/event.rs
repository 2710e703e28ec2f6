//! What a stage reports while it works; the command line turns it into progress lines.

use dsperse_documents::{Fallback, Usage};
use dsperse_plugin_host::CallEvent;
use serde::Serialize;

/// Something that happened; serialised, an object whose `event` names what.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
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
    /// A running job's backend has something to say.
    Call {
        /// Slice.
        slice: usize,
        /// Backend.
        backend: String,
        /// What; told by each listener in its own way.
        #[serde(skip)]
        event: CallEvent,
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
        #[serde(flatten)]
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
        #[serde(flatten)]
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
