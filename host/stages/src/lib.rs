//! The stages: slice, compile, run, prove, verify.
//!
//! A stage is a function over a [`Session`] (plugins, limits, a listener) and files on
//! disk; it knows no command line. Where is what decided?
//!
//! - [`mod@slice`], [`mod@compile`], [`mod@run`], [`mod@prove`], [`mod@verify`]: the stages
//!   in their order, [`mod@analyze`] and [`page`] beside them;
//! - [`job`]: the unit of work and the [`job::Executor`] that carries it out;
//!   [`local`] runs jobs in plugin workers on this machine;
//! - [`attempt`]: the only place where a job is carried out;
//! - [`schedule`]: how many jobs run at the same time;
//! - [`config`]: what stands in `dsperse.toml`;
//! - [`chain`], [`fidelity`]: the float model, and how far the run is from it.

pub mod analyze;
mod ask;
pub mod attempt;
mod capability;
#[cfg(test)]
mod capability_tests;
pub mod chain;
pub mod compile;
pub mod config;
pub mod error;
pub mod event;
#[cfg(test)]
mod fake;
pub mod fidelity;
pub mod job;
pub mod local;
pub mod page;
pub mod prove;
pub mod report;
pub mod run;
pub mod schedule;
pub mod session;
pub mod slice;
pub mod slices;
#[cfg(test)]
mod stages_tests;
pub mod verify;

pub use config::Config;
pub use error::{Error, ErrorClass, Result};
pub use event::{Event, Events};
pub use session::{Limits, Loaded, Session};
