//! The stages: slice, compile, run, prove, verify.
//!
//! A stage is a function over a [`Session`] (plugins, limits, a listener) and files on
//! disk; it knows no command line. Where is what decided?
//!
//! - [`mod@slice`], [`mod@compile`], [`mod@run`], [`mod@prove`], [`mod@verify`]: the stages
//!   in their order, [`mod@analyze`] beside them;
//! - [`opened`]: slices on disk that a stage works on: their jobs and files, which were chosen;
//! - `driver`: what they have in common: turns, events, records, rows;
//! - [`cut`]: where a model is to be cut;
//! - [`batch`]: several inputs for the same slices;
//! - [`dsperse_jobs`]: jobs, who carries them out, and the [`Session`] (named here as well);
//! - [`chain`], [`fidelity`]: the float model, and how far the run is from it.

pub mod analyze;
mod ask;
pub mod batch;
mod capability;
#[cfg(test)]
mod capability_tests;
pub mod chain;
pub mod compile;
pub mod cut;
mod driver;
#[cfg(test)]
mod fake;
pub mod opened;
pub mod prove;
pub mod report;
pub mod run;
pub mod slice;
#[cfg(test)]
mod stages_tests;
pub mod verify;

pub use dsperse_verify::fidelity;

pub use dsperse_jobs::{
    attempt, backend, config, error, event, job, local, memory, schedule, session,
};

pub use backend::Loaded;
pub use config::Config;
pub use error::{Error, ErrorClass, Result};
pub use event::{Event, Events};
pub use session::{Limits, Session};
