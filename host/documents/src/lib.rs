//! The domain types of DSperse: slices, tensors, claims, verdicts and the documents on disk.
//!
//! Nothing here touches the file system or the command line; crate `dsperse-store`
//! puts these documents on disk. The modules, in the order in which a run meets them:
//!
//! - [`document`]: what all documents share: a `schema` version, and unknown fields
//!   that survive a rewrite;
//! - [`model`]: `slices/metadata.json`, the sliced model with its edges, and the digest
//!   that identifies it;
//! - [`slice`](mod@slice): `slices/slice_<i>/metadata.json`, one slice and what each backend
//!   compiled from it;
//! - [`tensors`]: `tensors/index.json`, the values of one run;
//! - [`measure`]: what a job cost, and how close its values are;
//! - [`run`]: `run/metadata.json` and `run_results.json`;
//! - [`batch`]: `batch.json`, runs on several inputs;
//! - [`comparison`]: `fidelity.json`, the values of a run beside the float model's;
//! - [`verdict`]: the verifier's report and the receipt;
//! - [`packed`]: the mark of a packed proof;
//! - [`digest`]: how digests over structured data are computed;
//! - [`paths`]: which names of files in documents are refused;
//! - [`setting`]: what users can set, as sentences name it;
//! - [`foreign`]: text from outside, made harmless before it leaves the program.
//!
//! Types that plugins see too ([`TensorInfo`], [`Encoding`], [`Artefact`], [`Role`],
//! [`ErrorKind`], [`ProofProperties`]) come from `dsperse-plugin-api`.

pub mod batch;
pub mod comparison;
pub mod digest;
pub mod document;
pub mod foreign;
pub mod measure;
pub mod model;
pub mod packed;
pub mod paths;
pub mod run;
pub mod setting;
pub mod slice;
pub mod tensors;
pub mod verdict;

#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use comparison::{ComparedElement, ComparedTensor, RunComparison};
pub use document::{Document, DocumentError, Extra, Schema};
pub use dsperse_plugin_api::{
    Artefact, Encoding, Error as BackendError, ErrorKind, ProofProperties, Role, Stage, TensorInfo,
};
pub use measure::{DEFAULT_MAX_ERROR, Fidelity, Usage, WorstElement};
pub use model::{
    Edge, ExternalFile, ModelError, ModelFile, ModelMetadata, Rewrite, SliceSummary, Strategy,
    derive_edges, operator_words,
};
pub use run::{
    Claim, Engine, Fallback, RunMetadata, RunResults, RunSlice, SliceRun, StageOutcome, Totals,
};
pub use slice::{Compilation, CompiledFidelity, InputRange, Payload, SliceMetadata};
pub use tensors::{TensorIndex, TensorOrigin, TensorRecord};
pub use verdict::{
    Counts, KeyOrigin, MeasuredBy, ProvenShare, Receipt, ReceiptFile, ReceiptSlice, Require,
    SliceVerdict, Verdict, VerificationReport, keys_digest,
};
