//! Decides which backend handles which slice.
//!
//! The decision has four steps, each of which can turn a backend down with a reason
//! that is kept in the slice's metadata:
//!
//! 1. the **spec** (`--backend "0-2:jstprove|ezkl;3:onnx"`) or the default chain gives
//!    each slice a [`Chain`] of names ([`spec`]);
//! 2. **static capabilities**: does the descriptor list the stages and the operators that
//!    the slice needs ([`mod@plan`]);
//! 3. **policy**: `--require-zk` and friends, decided by capabilities and never by names
//!    ([`policy`]);
//! 4. the backend's own `supports` for this very slice, and then the stage itself. These
//!    two need a worker, so the pipeline asks them; it records the outcome in the same
//!    [`Rejection`] form.
//!
//! This crate is pure: no files, no processes, no clap.

pub mod layers;
pub mod plan;
pub mod policy;
pub mod spec;
mod text;

pub use layers::parse_layers;
pub use plan::{OperatorUse, Plan, Rejection, Step, plan};
pub use policy::Policy;
pub use spec::{Chain, Defaults, Routes, Spec};
pub use text::SpecError;
