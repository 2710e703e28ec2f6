//! `slice_<i>/metadata.json`: one slice, and what each backend compiled from it.
//!
//! Paths are relative to the slice's directory (or the root of its `.dslice`) and use
//! `/`. Every file has its size and SHA-256 here; readers compare before use.

use crate::document::{Extra, Schema, document};
use crate::measure::Usage;
use crate::model::SliceSummary;
use crate::run::Fallback;
use dsperse_plugin_api::{Artefact, ProofProperties, Role, SliceInfo, TensorInfo};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The slice's ONNX file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Payload {
    /// Path relative to the slice's directory. `None` in a verifier's bundle that left
    /// the payload out; digest and size still say what it was.
    pub path: Option<String>,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What one backend compiled from the slice.
///
/// A compilation is up to date when the payload's digest and everything from
/// `backend_version` to `calibration_sha256` equal what a new one would have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Compilation {
    /// Version of the backend.
    pub backend_version: String,
    /// SHA-256 of the plugin's library, lower-case hex.
    pub plugin_sha256: String,
    /// Digest of the options that affect `compile`, lower-case hex.
    pub options_sha256: String,
    /// Digest of the calibration tensors, lower-case hex; `None` without calibration.
    #[serde(default)]
    pub calibration_sha256: Option<String>,
    /// SHA-256 of the payload that was compiled, lower-case hex.
    pub payload_sha256: String,
    /// Files that `compile` made; paths relative to the slice's directory
    /// (`<backend>/…`).
    pub artefacts: Vec<Artefact>,
    /// Properties of the proofs, as the backend declared them; `None` when it makes none.
    #[serde(default)]
    pub proof: Option<ProofProperties>,
    /// Whether `verify` needs the slice's ONNX file.
    #[serde(default)]
    pub verify_needs_payload: bool,
    /// What compiling cost.
    #[serde(default)]
    pub usage: Usage,
    /// The machine that compiled it, where it was not the one of the command: whoever
    /// verifies with its keys has them from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// How close it is to the float slice on the calibration samples; `None` without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<CompiledFidelity>,
    /// What the slice's inputs were on the calibration samples; empty without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calibrated: Vec<InputRange>,
    /// Figures and facts from the backend.
    #[serde(default)]
    pub facts: Map<String, Value>,
    /// Sentences for the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// How close a compilation is to the float slice on the calibration samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CompiledFidelity {
    /// Number of samples.
    pub samples: u64,
    /// The largest error over them, as in [`crate::Fidelity::error`].
    pub error: f64,
    /// The error that was aimed at for this slice.
    pub target: f64,
    /// The largest error that was allowed for the whole model's outputs.
    pub max_error: f64,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The values of an input on the calibration samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct InputRange {
    /// The tensor.
    pub name: String,
    /// Least value.
    pub least: f64,
    /// Greatest value.
    pub greatest: f64,
}

/// The document `slice_<i>/metadata.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SliceMetadata {
    /// Version of this document.
    pub schema: Schema<1, 0, 0>,
    /// Index from 0 in topological order.
    pub index: usize,
    /// Identity of the sliced model that this slice is part of.
    pub model_identity: String,
    /// The ONNX file.
    pub payload: Payload,
    /// Inputs without initializers, in the order of the slice's graph.
    pub inputs: Vec<TensorInfo>,
    /// Outputs, in the order of the slice's graph.
    pub outputs: Vec<TensorInfo>,
    /// How often each operator occurs.
    pub operators: BTreeMap<String, u64>,
    /// Number of parameters.
    pub parameters: u64,
    /// Multiply-accumulate operations of one inference.
    pub macs: u64,
    /// The backend that `compile` settled on; `run` takes it unless told otherwise.
    #[serde(default)]
    pub backend: Option<String>,
    /// What each backend compiled, by the backend's name.
    #[serde(default)]
    pub compilations: BTreeMap<String, Compilation>,
    /// Which backends were tried at the last compile and why they fell through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<Fallback>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}
document!(SliceMetadata, "slice metadata", 1, 0, 0);

impl SliceMetadata {
    /// A slice that nothing was compiled from yet. `payload_path` is relative to the
    /// slice's directory.
    #[must_use]
    pub fn from_summary(s: &SliceSummary, model_identity: &str, payload_path: &str) -> Self {
        Self {
            index: s.index,
            model_identity: model_identity.to_owned(),
            payload: Payload {
                path: Some(payload_path.to_owned()),
                size: s.payload_size,
                sha256: s.payload_sha256.clone(),
                ..Payload::default()
            },
            inputs: s.inputs.clone(),
            outputs: s.outputs.clone(),
            operators: s.operators.clone(),
            parameters: s.parameters,
            macs: s.macs,
            ..Self::default()
        }
    }

    /// The first field in which this document contradicts the model's metadata, if any.
    /// A verifier refuses such a slice: it was taken from another model or changed.
    #[must_use]
    pub fn contradiction(&self, s: &SliceSummary, model_identity: &str) -> Option<&'static str> {
        if self.index != s.index {
            Some("index")
        } else if self.model_identity != model_identity {
            Some("model_identity")
        } else if self.payload.sha256 != s.payload_sha256 || self.payload.size != s.payload_size {
            Some("payload")
        } else if self.inputs != s.inputs {
            Some("inputs")
        } else if self.outputs != s.outputs {
            Some("outputs")
        } else if self.parameters != s.parameters {
            Some("parameters")
        } else if self.macs != s.macs {
            Some("macs")
        } else {
            None
        }
    }

    /// The slice as backends see it. `model` is the absolute path of the ONNX file.
    #[must_use]
    pub fn slice_info(&self, model: Option<String>) -> SliceInfo {
        SliceInfo {
            index: self.index,
            model,
            sha256: self.payload.sha256.clone(),
            model_sha256: self.model_identity.clone(),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
        }
    }

    /// Takes out what a verifier doesn't need: artefacts that only a prover uses, and the
    /// payload when every compiled backend verifies without it. Returns the paths of the
    /// files that are no longer part of the slice.
    pub fn strip_for_verify(&mut self) -> Vec<String> {
        let mut gone = Vec::new();
        for c in self.compilations.values_mut() {
            c.artefacts.retain(|a| {
                let keep = matches!(a.role, Role::Verifying | Role::Public);
                if !keep {
                    gone.push(a.path.clone());
                }
                keep
            });
        }
        let without = !self.compilations.is_empty()
            && self.compilations.values().all(|c| !c.verify_needs_payload);
        if without && let Some(path) = self.payload.path.take() {
            gone.push(path);
        }
        gone
    }
}
