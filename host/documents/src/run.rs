//! `run/metadata.json` and `run_results.json`.
//!
//! These are the prover's notes: which slice ran with which backend, what it cost, what
//! went wrong. A verifier believes none of it; see [`crate::verdict`].

use crate::document::{Extra, Schema, document};
use crate::measure::{Fidelity, Usage};
use crate::verdict::Verdict;
use dsperse_plugin_api::{Artefact, Error, ErrorKind, Stage};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A backend of the chain that was turned down, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fallback {
    /// The backend.
    pub backend: String,
    /// The stage that it was turned down at.
    pub stage: Stage,
    /// Kind of error; `None` when it was never asked (not loaded, policy, capabilities).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ErrorKind>,
    /// Why, for the user.
    pub reason: String,
    /// What the user can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The node that could not be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op: Option<String>,
    /// What the refusal depended on, as a digest: as long as it is the same, the backend need
    /// not be asked again. `None` when it was never asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Fallback {
    /// A backend that was turned down without being asked.
    pub fn new(backend: impl Into<String>, stage: Stage, reason: impl Into<String>) -> Self {
        Self {
            backend: backend.into(),
            stage,
            kind: None,
            reason: reason.into(),
            hint: None,
            node: None,
            op: None,
            key: None,
            extra: Extra::new(),
        }
    }
    /// A backend that failed with an error.
    pub fn from_error(backend: impl Into<String>, stage: Stage, e: &Error) -> Self {
        Self {
            kind: Some(e.kind),
            hint: e.hint.clone(),
            node: e.node.clone(),
            op: e.op.clone(),
            ..Self::new(backend, stage, e.message.clone())
        }
    }
}

/// How one stage of one slice went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageOutcome {
    /// Whether the stage did what it should.
    pub success: bool,
    /// `seconds`, `cpu_seconds` and `peak_bytes`.
    #[serde(flatten)]
    pub usage: Usage,
    /// Files that the stage made; paths relative to the run's directory.
    #[serde(default)]
    pub files: Vec<Artefact>,
    /// The error, when it failed: kind, message, hint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    /// Backends that were tried first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<Fallback>,
    /// Verification: what the verifier said. A note of the past and never an input of a
    /// later verification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Digest of everything that the stage depended on (inputs, options, backend and its
    /// version); a later command skips the stage when its own digest is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Facts from the backend.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub facts: Map<String, Value>,
    /// Sentences for the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What a slice claims: that its outputs follow from its inputs. The values are those of
/// the tensor store, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Input tensors, in the order of the slice.
    pub inputs: Vec<String>,
    /// Output tensors, in the order of the slice.
    pub outputs: Vec<String>,
}

/// What computed the values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Engine {
    /// Name (`tract`).
    pub name: String,
    /// Version.
    pub version: String,
    /// Processor and instruction set (`x86_64+fma+avx2`); results are bit-reproducible
    /// only on the same one.
    pub instruction_set: String,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One slice of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SliceRun {
    /// Slice index.
    pub index: usize,
    /// The backend that produced what is in the run; `None` when none succeeded.
    pub backend: Option<String>,
    /// Its version.
    #[serde(default)]
    pub backend_version: Option<String>,
    /// Input and output tensors by name.
    pub claim: Claim,
    /// Inference and witness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness_execution: Option<StageOutcome>,
    /// Proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof_execution: Option<StageOutcome>,
    /// The last verification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification_execution: Option<StageOutcome>,
    /// This slice's outputs against the float slice on the same inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<Fidelity>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Sums over a run's slices.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Cost per stage (`witness`, `prove`, `verify`): seconds and CPU seconds are sums,
    /// the peak is the largest.
    #[serde(default)]
    pub stages: BTreeMap<String, Usage>,
    /// Bytes of all proofs.
    #[serde(default)]
    pub proof_bytes: u64,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The document `run_results.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunResults {
    /// Version of this document.
    pub schema: Schema<1, 0, 0>,
    /// Version of dsperse.
    pub tool_version: String,
    /// When the run began, RFC 3339 with offset.
    pub started: String,
    /// Identity of the sliced model.
    pub model_identity: String,
    /// SHA-256 of the original ONNX file.
    pub model_sha256: String,
    /// Digest of the model's input tensors, see [`crate::tensors::digest_of`].
    pub input_sha256: String,
    /// Digest of the model's output tensors; `None` until the chain is complete.
    #[serde(default)]
    pub output_sha256: Option<String>,
    /// What computed the values.
    #[serde(default)]
    pub engine: Engine,
    /// Model output tensors by name, in graph order.
    #[serde(default)]
    pub output: Vec<String>,
    /// Slices by index.
    pub slices: Vec<SliceRun>,
    /// The chain's output against the whole float model.
    #[serde(default)]
    pub fidelity: Option<Fidelity>,
    /// Sums.
    #[serde(default)]
    pub totals: Totals,
    /// Digest of what the run was made from (model, inputs, backends), by which a later
    /// command knows that it may go on with it. `None` in a packed proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}
document!(RunResults, "run_results.json", 1, 0, 0);

impl RunResults {
    /// Recomputes [`RunResults::totals`] from the slices.
    pub fn update_totals(&mut self) {
        let mut stages: BTreeMap<String, Usage> = BTreeMap::new();
        let mut proof_bytes = 0u64;
        for s in &self.slices {
            for (name, stage) in [
                ("witness", &s.witness_execution),
                ("prove", &s.proof_execution),
                ("verify", &s.verification_execution),
            ] {
                let Some(stage) = stage else { continue };
                let sum = stages.entry(name.to_owned()).or_default();
                sum.seconds += stage.usage.seconds;
                sum.cpu_seconds += stage.usage.cpu_seconds;
                sum.peak_bytes = sum.peak_bytes.max(stage.usage.peak_bytes);
            }
            if let Some(p) = &s.proof_execution {
                for f in &p.files {
                    proof_bytes = proof_bytes.saturating_add(f.size);
                }
            }
        }
        self.totals.stages = stages;
        self.totals.proof_bytes = proof_bytes;
    }
}

/// What `run/metadata.json` says of one slice.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunSlice {
    /// Slice index.
    pub index: usize,
    /// SHA-256 of the slice's ONNX file.
    pub payload_sha256: String,
    /// Backends that have a compilation of this slice.
    pub ready: Vec<String>,
    /// The one that `run` takes.
    pub backend: Option<String>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The document `run/metadata.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunMetadata {
    /// Version of this document.
    pub schema: Schema<1, 0, 0>,
    /// Identity of the sliced model.
    pub model_identity: String,
    /// Where the slices are, relative to this file; `None` when they are elsewhere.
    #[serde(default)]
    pub slices_path: Option<String>,
    /// Slices by index.
    pub slices: Vec<RunSlice>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}
document!(RunMetadata, "run/metadata.json", 1, 0, 0);
