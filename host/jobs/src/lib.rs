//! Jobs: the unit of work on a slice, who carries it out, and what a session knows.
//!
//! Stages make jobs and decide what follows from their answers; nothing here knows a stage.
//! Where is what decided?
//!
//! - [`job`]: a [`job::Job`] names all that it depends on by digest, [`job::Files`] says
//!   where those files are here, an [`job::Executor`] turns both into an [`job::Outcome`];
//! - [`local`]: the executor of this machine, over plugin workers;
//! - [`attempt`]: the only place where a job is carried out;
//! - [`memory`]: what jobs on a compiled slice will need, and whether they may;
//! - [`schedule`]: how many jobs run at the same time;
//! - [`backend`]: a backend that can be called;
//! - [`session`], [`config`]: backends with their options, bounds, cancellation, listener;
//! - [`event`], [`error`]: what is told on the way, and at the end.

pub mod attempt;
pub mod backend;
pub mod config;
pub mod error;
pub mod event;
pub mod job;
pub mod local;
pub mod memory;
pub mod schedule;
pub mod session;
