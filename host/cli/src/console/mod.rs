//! What people see while they wait, and the tables at the end.
//!
//! - [`foreign`]: text from outside, made harmless before it is shown (of `dsperse-documents`);
//! - [`progress`]: events of a stage as [`bars`] on a terminal, as [`lines`] elsewhere, or as
//!   JSON for programs ([`events`]);
//! - [`table`], [`numbers`]: the summary.

mod bars;
mod events;
mod lines;
pub mod numbers;
pub mod progress;
pub mod table;

pub use dsperse_documents::foreign;
