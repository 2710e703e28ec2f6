//! What a verifier says: verdicts per slice, the report and the receipt.

use crate::digest::FieldHasher;
use crate::document::{Extra, Schema, document};
use crate::measure::{Fidelity, Usage};
use crate::model::ModelMetadata;
use dsperse_plugin_api::ProofProperties;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The verdict on one slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A proof was checked, and its own public values are the claimed tensors.
    Proven,
    /// The verifier ran the slice itself and got the claimed output.
    Recomputed,
    /// Neither was possible.
    Unchecked,
    /// A proof, a binding, a digest or a recomputation was wrong.
    Failed,
}

impl Verdict {
    /// The word for tables and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Recomputed => "recomputed",
            Self::Unchecked => "unchecked",
            Self::Failed => "failed",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why the key of a proven slice is believed to belong to the slice's ONNX file.
///
/// A proof shows that the circuit behind a verifying key was computed. That this circuit
/// is the slice is another question, which a proof can't answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyOrigin {
    /// The key lay beside the slice. Whoever made the slices could have put the key of
    /// another circuit there.
    AsGiven,
    /// The verifier compiled the slice's ONNX file and got the same key.
    Recompiled,
    /// The key is one that the verifier named.
    Pinned,
}

impl KeyOrigin {
    /// The words for tables and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AsGiven => "as given",
            Self::Recompiled => "compiled again",
            Self::Pinned => "pinned",
        }
    }
}

/// Digest of the verifying artefacts of a model's slices, by which `--expect-keys` pins
/// them. Each item is a slice's index, the backend, and the artefacts, in the order of the
/// slices; artefacts are sorted by name here. `None` when there are no items.
#[must_use]
pub fn keys_digest<'a>(
    items: impl IntoIterator<Item = (usize, &'a str, Vec<ReceiptFile>)>,
) -> Option<String> {
    let mut h = FieldHasher::new("dsperse/keys/1");
    let mut any = false;
    for (index, backend, mut files) in items {
        any = true;
        files.sort_by(|a, b| (&a.name, &a.sha256).cmp(&(&b.name, &b.sha256)));
        h.number(index as u64)
            .text(backend)
            .number(files.len() as u64);
        for f in &files {
            h.text(&f.name).text(&f.sha256);
        }
    }
    any.then(|| h.finish())
}

/// Who measured how far the output is from the float model's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeasuredBy {
    /// The verifier ran the float model on the claimed input.
    Verifier,
    /// Only the prover's own note is there.
    Prover,
}

/// What the user demands of a verification (`--require`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Require {
    /// Every slice proven or recomputed.
    #[default]
    Checked,
    /// Every slice proven.
    Proven,
    /// Nothing failed.
    Any,
}

impl Require {
    /// Whether one slice's verdict is good enough.
    #[must_use]
    pub fn accepts(self, verdict: Verdict) -> bool {
        match self {
            Self::Checked => matches!(verdict, Verdict::Proven | Verdict::Recomputed),
            Self::Proven => verdict == Verdict::Proven,
            Self::Any => verdict != Verdict::Failed,
        }
    }
    /// The word on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checked => "checked",
            Self::Proven => "proven",
            Self::Any => "any",
        }
    }
}

/// How many slices got each verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Proven slices.
    pub proven: usize,
    /// Recomputed slices.
    pub recomputed: usize,
    /// Slices that nothing was said of.
    pub unchecked: usize,
    /// Slices that failed.
    pub failed: usize,
}

/// Which part of the model's work was proven. Sums over slices: a weight that several
/// slices share counts in each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ProvenShare {
    /// Parameters in proven slices.
    pub proven_parameters: u64,
    /// Parameters in all slices.
    pub total_parameters: u64,
    /// Multiply-accumulates in proven slices.
    pub proven_macs: u64,
    /// Multiply-accumulates in all slices.
    pub total_macs: u64,
}

impl ProvenShare {
    /// Proven parameters from 0 to 1; `None` when the model has none.
    #[must_use]
    pub fn by_parameters(&self) -> Option<f64> {
        ratio(self.proven_parameters, self.total_parameters)
    }
    /// Proven multiply-accumulates from 0 to 1; `None` when the model has none.
    #[must_use]
    pub fn by_macs(&self) -> Option<f64> {
        ratio(self.proven_macs, self.total_macs)
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The verdict on one slice, with its grounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SliceVerdict {
    /// Slice index.
    pub index: usize,
    /// The verdict.
    pub verdict: Verdict,
    /// The backend that decided; `None` when none did.
    #[serde(default)]
    pub backend: Option<String>,
    /// Its version.
    #[serde(default)]
    pub backend_version: Option<String>,
    /// SHA-256 of its library.
    #[serde(default)]
    pub plugin_sha256: Option<String>,
    /// Why: which check failed, or what is missing. `None` for proven slices.
    #[serde(default)]
    pub reason: Option<String>,
    /// What the user can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Properties of the proof; `None` unless proven.
    #[serde(default)]
    pub proof: Option<ProofProperties>,
    /// Why the verifying key is believed to be the slice's; `None` unless proven.
    #[serde(default)]
    pub keys: Option<KeyOrigin>,
    /// Recomputed: the relative tolerance that was allowed; 0 is bit for bit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// Values of the claimed inputs that the circuit saw only clamped to its range. Unless
    /// the verifier allows it, a slice with any is not proven.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub saturated_inputs: u64,
    /// What the prover measured against the float model. A note, not a checked fact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<Fidelity>,
    /// SHA-256 of the slice's ONNX file.
    pub payload_sha256: String,
    /// Digests of the verifying artefacts that were used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub circuit: Vec<ReceiptFile>,
    /// Digests of the proof's files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proof_files: Vec<ReceiptFile>,
    /// What checking cost.
    #[serde(default)]
    pub usage: Usage,
    /// Facts from the backend (engine, tolerance, …).
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub facts: Map<String, Value>,
    /// Sentences that belong beside the verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl SliceVerdict {
    /// A verdict without grounds yet.
    pub fn new(index: usize, verdict: Verdict, payload_sha256: impl Into<String>) -> Self {
        Self {
            index,
            verdict,
            backend: None,
            backend_version: None,
            plugin_sha256: None,
            reason: None,
            hint: None,
            proof: None,
            keys: None,
            tolerance: None,
            saturated_inputs: 0,
            fidelity: None,
            payload_sha256: payload_sha256.into(),
            circuit: Vec::new(),
            proof_files: Vec::new(),
            usage: Usage::default(),
            facts: Map::new(),
            warnings: Vec::new(),
            extra: Extra::new(),
        }
    }
}

/// What `verify --json` prints.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VerificationReport {
    /// Version of this document.
    pub schema: Schema<1, 0, 0>,
    /// Version of dsperse.
    pub tool_version: String,
    /// Identity of the sliced model, computed by the verifier.
    pub model_identity: String,
    /// SHA-256 of the original ONNX file, covered by the identity.
    pub model_sha256: String,
    /// Digest of the model's input tensors, computed by the verifier.
    pub input_sha256: String,
    /// Digest of the claimed model output tensors, computed by the verifier.
    pub output_sha256: String,
    /// Digest of the verifying artefacts of the proven slices, see [`keys_digest`]; `None`
    /// when nothing was proven.
    #[serde(default)]
    pub keys_sha256: Option<String>,
    /// What was demanded.
    pub require: Require,
    /// What was demanded beyond that: properties of proofs, backends that count, whether
    /// clamped inputs do. Empty when nothing was.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub policy: Map<String, Value>,
    /// Whether the demand is met: every slice's verdict is accepted and nothing of the
    /// whole run failed.
    pub accepted: bool,
    /// Verdicts by slice.
    pub slices: Vec<SliceVerdict>,
    /// What is wrong with the run as a whole (missing slice, edges, digests).
    #[serde(default)]
    pub failures: Vec<String>,
    /// How many of each.
    pub counts: Counts,
    /// Which part was proven.
    pub proven_share: ProvenShare,
    /// `proven_share` by parameters, 0 to 1.
    #[serde(default)]
    pub proven_by_parameters: Option<f64>,
    /// `proven_share` by multiply-accumulates, 0 to 1.
    #[serde(default)]
    pub proven_by_macs: Option<f64>,
    /// How far the claimed output is from the float model's; `target` is what was allowed.
    #[serde(default)]
    pub fidelity: Option<Fidelity>,
    /// Who measured that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity_by: Option<MeasuredBy>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}
document!(VerificationReport, "verification report", 1, 0, 0);

impl VerificationReport {
    /// Its name in the run's directory, where `verify` leaves the newest one.
    pub const FILE: &str = "verification.json";

    /// Fills counts, proven share, the keys' digest and `accepted` from the verdicts. A slice of the model
    /// without exactly one verdict is a failure.
    pub fn conclude(&mut self, model: &ModelMetadata) {
        let mut counts = Counts::default();
        let mut share = ProvenShare::default();
        for s in &self.slices {
            match s.verdict {
                Verdict::Proven => counts.proven += 1,
                Verdict::Recomputed => counts.recomputed += 1,
                Verdict::Unchecked => counts.unchecked += 1,
                Verdict::Failed => counts.failed += 1,
            }
            if s.index >= model.slices.len() {
                self.failures
                    .push(format!("slice {} is not part of the model", s.index));
            }
        }
        for m in &model.slices {
            share.total_parameters = share.total_parameters.saturating_add(m.parameters);
            share.total_macs = share.total_macs.saturating_add(m.macs);
            let mut found = self.slices.iter().filter(|s| s.index == m.index);
            match (found.next(), found.next()) {
                (Some(s), None) => {
                    if s.verdict == Verdict::Proven {
                        share.proven_parameters =
                            share.proven_parameters.saturating_add(m.parameters);
                        share.proven_macs = share.proven_macs.saturating_add(m.macs);
                    }
                }
                (None, _) => self
                    .failures
                    .push(format!("slice {} has no verdict", m.index)),
                (Some(_), Some(_)) => self
                    .failures
                    .push(format!("slice {} has more than one verdict", m.index)),
            }
        }
        self.accepted = self.failures.is_empty()
            && !model.slices.is_empty()
            && self.slices.iter().all(|s| self.require.accepts(s.verdict));
        self.keys_sha256 = keys_digest(self.slices.iter().filter_map(|s| {
            let backend = s.backend.as_deref()?;
            (s.verdict == Verdict::Proven).then(|| (s.index, backend, s.circuit.clone()))
        }));
        self.counts = counts;
        self.proven_share = share;
        self.proven_by_parameters = share.by_parameters();
        self.proven_by_macs = share.by_macs();
    }

    /// The receipt for this report.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        Receipt {
            tool_version: self.tool_version.clone(),
            model_identity: self.model_identity.clone(),
            model_sha256: self.model_sha256.clone(),
            input_sha256: self.input_sha256.clone(),
            output_sha256: self.output_sha256.clone(),
            keys_sha256: self.keys_sha256.clone(),
            require: self.require,
            policy: self.policy.clone(),
            accepted: self.accepted,
            slices: self
                .slices
                .iter()
                .map(|s| ReceiptSlice {
                    index: s.index,
                    verdict: s.verdict,
                    backend: s.backend.clone(),
                    backend_version: s.backend_version.clone(),
                    plugin_sha256: s.plugin_sha256.clone(),
                    keys: s.keys,
                    tolerance: s.tolerance,
                    saturated_inputs: s.saturated_inputs,
                    payload_sha256: s.payload_sha256.clone(),
                    circuit: s.circuit.clone(),
                    proof_files: s.proof_files.clone(),
                    extra: Extra::new(),
                })
                .collect(),
            ..Receipt::default()
        }
    }
}

/// A file that a verdict rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptFile {
    /// The artefact's name (`verifying_key`, `proof`).
    pub name: String,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

/// One slice of a receipt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceiptSlice {
    /// Slice index.
    pub index: usize,
    /// The verdict.
    pub verdict: Verdict,
    /// The backend that decided.
    pub backend: Option<String>,
    /// Its version.
    pub backend_version: Option<String>,
    /// SHA-256 of its library.
    pub plugin_sha256: Option<String>,
    /// Proven: why the verifying key was believed to be the slice's.
    #[serde(default)]
    pub keys: Option<KeyOrigin>,
    /// Recomputed: the relative tolerance that was allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// Input values that the circuit saw only clamped; the verifier allowed it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub saturated_inputs: u64,
    /// SHA-256 of the slice's ONNX file.
    pub payload_sha256: String,
    /// Verifying artefacts.
    pub circuit: Vec<ReceiptFile>,
    /// Proof files.
    pub proof_files: Vec<ReceiptFile>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A receipt: the digests, verdicts and versions with which a third party can repeat a
/// verification and compare. It is no proof by itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Version of this document.
    pub schema: Schema<1, 0, 0>,
    /// Version of dsperse.
    pub tool_version: String,
    /// Identity of the sliced model.
    pub model_identity: String,
    /// SHA-256 of the original ONNX file.
    pub model_sha256: String,
    /// Digest of the model's input tensors.
    pub input_sha256: String,
    /// Digest of the model's output tensors.
    pub output_sha256: String,
    /// Digest of the verifying artefacts of the proven slices.
    #[serde(default)]
    pub keys_sha256: Option<String>,
    /// What was demanded.
    pub require: Require,
    /// What was demanded beyond that.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub policy: Map<String, Value>,
    /// Whether it was met.
    pub accepted: bool,
    /// Slices by index.
    pub slices: Vec<ReceiptSlice>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}
document!(Receipt, "receipt", 1, 0, 0);
