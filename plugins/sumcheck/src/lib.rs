//! The sumcheck backend: proofs of quantised slices, in-process, without external tools
//! and without a trusted setup.
//!
//! The work is done by three crates that know nothing of plugins: the lowering (ONNX to
//! integers), the prover and the verifier. The verdict on a claim, keys and the claim's
//! integers are in [`dsperse_sumcheck_judge`], which needs no files. This crate connects
//! them to the plugin API.
//!
//! The modules, in the order in which a slice meets them:
//!
//! - [`describe`]: name, capabilities, operators, facts;
//! - [`slice`](mod@slice): reads a slice's model, and answers `supports`;
//! - [`compile`]: calibration, lowering, keys;
//! - [`weights`]: the proving artefact: quantised weights;
//! - [`prove`]: witness and proof;
//! - [`kept`]: proving keys between jobs of one worker;
//! - [`verify`]: the verdict;
//! - [`backend`]: the [`Backend`](dsperse_plugin_api::Backend) itself.

pub mod backend;
pub mod compile;
pub mod describe;
pub mod kept;
pub mod prove;
pub mod slice;
pub mod verify;
pub mod weights;

pub use backend::SumcheckBackend;

/// Large buffers follow one another all the time here.
#[global_allocator]
static ALLOCATOR: dsperse_sumcheck_reuse::Reuse = dsperse_sumcheck_reuse::Reuse;

dsperse_plugin_api::export_backend!(SumcheckBackend);
