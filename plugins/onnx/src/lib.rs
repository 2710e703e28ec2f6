//! The onnx backend: the fallback that runs a slice as it is and proves nothing.
//!
//! `compile` checks that the engine (tract) takes the slice, `witness` is inference, and
//! `verify` runs the slice again on the claimed inputs and compares the outputs. The
//! modules, in the order in which a slice meets them:
//!
//! - [`check`]: which graphs are refused before the engine sees them, and [`rules`], the
//!   operators that tract would run with wrong values and no error;
//! - [`engine`]: loading a slice into an optimised plan, and running it;
//! - [`cache`]: plans kept between the calls of one worker, bounded, by slice digest;
//! - [`values`]: tensor files to engine tensors and back, fixed point included;
//! - [`compare`]: claimed against recomputed values, bit for bit or within a tolerance;
//! - [`backend`]: the [`Backend`](dsperse_plugin_api::Backend) itself.

pub mod backend;
pub mod cache;
pub mod check;
pub mod compare;
pub mod engine;
pub mod rules;
pub mod values;

pub use backend::OnnxBackend;

dsperse_plugin_api::export_backend!(OnnxBackend);
