//! Cuts a model into slices.
//!
//! ```text
//! load ──> prepare ──> plan ──> slices
//! file     shapes,     where    one valid ONNX
//! digests  constants   to cut   model each
//! ```
//!
//! [`load`] reads a file with its external data. [`prepare`] fixes open sizes, infers the
//! shape of every tensor and turns what is provably constant into constants.
//! [`Prepared::plan`] applies a [`Strategy`], and [`Prepared::slices`] makes the slices one
//! after the other. [`Prepared::analyse`] describes the model node by node. Nothing here
//! writes files.
//!
//! The rules that make a slice valid on its own are in the `extract` module; the hard kinds
//! of models and how they are treated stand in `docs/slicing.md`.

mod analysis;
mod cost;
mod dims;
mod error;
mod extract;
mod facts;
mod fold;
mod functions;
mod graph;
mod infer;
mod load;
mod plan;
mod prepare;
mod rewrite;
mod sparse;
mod splice;
mod split;
mod types;
mod weights;

pub use analysis::{ModelAnalysis, NodeAnalysis, NodeState, TensorAnalysis};
pub use dims::DimOptions;
pub use error::{Result, SliceError};
pub use extract::{Slice, WeightDigests};
pub use facts::{Fact, Facts, encoding};
pub use load::{LoadedModel, load, load_bytes};
pub use plan::{CapabilityClass, Plan, Strategy};
pub use prepare::{PlanNode, Prepared, prepare};
