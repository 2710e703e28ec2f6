//! Turns an ONNX slice into the integer program that the sumcheck backend proves.
//!
//! The way of a slice, step by step:
//!
//! 1. [`import`] reads the ONNX model into a [`graph::Graph`]: few operators, static
//!    shapes, constants folded, or a refusal that names node, operator and reason.
//! 2. [`graph::evaluate`] is the float reference; [`quantise::scale::Ranges`] runs it on
//!    the calibration samples to learn the range of every interior value.
//! 3. [`quantise::quantise`] chooses exponents and writes the integer program.
//! 4. [`lower`] does all of it, and repeats step 3 with more bits until the program's
//!    results are as close to the float reference as asked for.

pub mod array;
pub mod error;
pub mod graph;
pub mod import;
mod lower;
pub mod quantise;

pub use error::{LowerError, Result};
pub use lower::{
    Calibration, DEFAULT_RANGE, Fidelity, Lowered, Settings, Worst, default_samples, lower,
    measure, scale_of,
};
