//! The documents of each operation. They travel as JSON: a field that is added later
//! breaks nobody, because unknown fields are ignored and new ones have defaults.

use crate::{TensorFile, TensorInfo};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Options of a backend for a job: from `dsperse.toml`, `[backend.<name>]`, checked
/// against the descriptor's option list by the host.
pub type Options = Map<String, Value>;

/// One slice of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SliceInfo {
    /// Index in topological order.
    pub index: usize,
    /// Absolute path of the slice's ONNX file; absent when a verifier has no payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// SHA-256 of the slice's ONNX file, lower-case hex.
    pub sha256: String,
    /// SHA-256 that identifies the whole sliced model, lower-case hex. Proof systems
    /// bind a proof to it together with `sha256` and `index`.
    pub model_sha256: String,
    /// Inputs (without initializers), in the order of the slice's graph.
    pub inputs: Vec<TensorInfo>,
    /// Outputs, in the order of the slice's graph.
    pub outputs: Vec<TensorInfo>,
}

/// Who needs an artefact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Needed to make witnesses or proofs only.
    Proving,
    /// Needed by the verifier (also by the prover, when the backend wants it): keys,
    /// settings that the verdict depends on, and the proof itself.
    Verifying,
    /// Of no use to either, but worth keeping and harmless (a readable settings file).
    Public,
    /// Never leaves the prover: witnesses and what reveals them.
    Secret,
}

/// A file that a backend made, as declared in its reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artefact {
    /// What it is for this backend: `circuit`, `verifying_key`, `witness`, `proof`, …
    pub name: String,
    /// Who needs it.
    pub role: Role,
    /// Path relative to the job's directory, with `/`; must stay inside.
    pub path: String,
    /// Size in bytes. 0 with an empty digest means "host, please measure".
    #[serde(default)]
    pub size: u64,
    /// SHA-256, lower-case hex. When given, the host compares it with the file.
    #[serde(default)]
    pub sha256: String,
}

impl Artefact {
    /// Declares a file; size and digest are measured by the host.
    pub fn new(name: impl Into<String>, role: Role, path: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            role,
            path: path.into(),
            size: 0,
            sha256: String::new(),
        }
    }
}

/// A file of an earlier stage, handed to a later one. The host has checked the digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtefactRef {
    /// The name under which it was declared.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Absolute path, read-only for the backend.
    pub path: String,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

/// Finds an artefact by name.
///
/// # Errors
/// `invalid_input` that names the missing artefact.
pub fn artefact<'a>(list: &'a [ArtefactRef], name: &str) -> crate::Result<&'a ArtefactRef> {
    list.iter().find(|a| a.name == name).ok_or_else(|| {
        crate::Error::invalid_input(format!(
            "artefact \"{name}\" is missing; found: {}",
            list.iter()
                .map(|a| a.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        ))
        .with_hint("compile the slice again")
    })
}

/// Request of `probe`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeJob {
    /// The backend's options.
    #[serde(default)]
    pub options: Options,
}

/// State of one external tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolStatus {
    /// Name of the tool.
    pub name: String,
    /// Version requirement.
    pub wanted: String,
    /// Version that was found, when any.
    #[serde(default)]
    pub found: Option<String>,
    /// Where it was found.
    #[serde(default)]
    pub path: Option<String>,
    /// Usable as it is.
    pub ok: bool,
    /// What to type or to check (installation, licence).
    #[serde(default)]
    pub hint: Option<String>,
}

/// Reply of `probe`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Whether slices can be compiled and proven here.
    pub ready: bool,
    /// Whether proofs can be verified here (may need less).
    pub can_verify: bool,
    /// Each external tool.
    #[serde(default)]
    pub tools: Vec<ToolStatus>,
    /// Further sentences for the user.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Probe {
    /// A backend that needs nothing.
    #[must_use]
    pub fn ready() -> Self {
        Self {
            ready: true,
            can_verify: true,
            tools: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// Request of `supports`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SupportsJob {
    /// The slice.
    pub slice: SliceInfo,
    /// The backend's options.
    #[serde(default)]
    pub options: Options,
}

/// Estimated cost, for scheduling and for `analyze`. Zero means "not known".
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// CPU seconds of `prove`.
    #[serde(default)]
    pub prove_cpu_seconds: f64,
    /// Largest peak memory over all stages, in bytes.
    #[serde(default)]
    pub peak_bytes: u64,
}

/// Reply of `supports`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "supported")]
pub enum Support {
    /// The slice can be done.
    Yes {
        /// Estimated cost.
        #[serde(default)]
        cost: Cost,
    },
    /// The slice can't be done.
    No {
        /// The first node that can't be done.
        #[serde(default)]
        node: Option<String>,
        /// Its operator.
        #[serde(default)]
        op: Option<String>,
        /// Why.
        reason: String,
    },
}

/// Request of `compile`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompileJob {
    /// The slice.
    pub slice: SliceInfo,
    /// Calibration data: one entry per sample, each with this slice's input tensors
    /// (in order), computed by the float model. May be empty.
    #[serde(default)]
    pub calibration: Vec<Vec<TensorFile>>,
    /// The slice's output tensors for the same samples, computed by the float model, for
    /// backends that measure their fidelity. As long as `calibration`, or empty.
    #[serde(default)]
    pub calibration_outputs: Vec<Vec<TensorFile>>,
    /// The backend's options.
    #[serde(default)]
    pub options: Options,
}

/// Request of `witness`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WitnessJob {
    /// The slice.
    pub slice: SliceInfo,
    /// What `compile` made (all roles).
    pub circuit: Vec<ArtefactRef>,
    /// The slice's inputs in order, as they stand in the tensor store: plain, or fixed
    /// point when an earlier slice was proven with it.
    pub inputs: Vec<TensorFile>,
    /// The backend's options.
    #[serde(default)]
    pub options: Options,
}

/// Request of `prove`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProveJob {
    /// The slice.
    pub slice: SliceInfo,
    /// What `compile` made (all roles).
    pub circuit: Vec<ArtefactRef>,
    /// What `witness` made.
    pub witness: Vec<ArtefactRef>,
    /// The claim: inputs in order.
    pub inputs: Vec<TensorFile>,
    /// The claim: outputs in order.
    pub outputs: Vec<TensorFile>,
    /// The backend's options.
    #[serde(default)]
    pub options: Options,
}

/// Request of `verify`. The circuit holds only artefacts of role `verifying`: a verdict may
/// depend on nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifyJob {
    /// The slice; its `model` is absent when the verifier has no payload.
    pub slice: SliceInfo,
    /// Verifying artefacts of `compile`. Empty where the host asks a backend of the stage
    /// `recompute` to compute a slice again that it may never have compiled.
    pub circuit: Vec<ArtefactRef>,
    /// What `prove` made; empty for backends that recompute.
    #[serde(default)]
    pub proof: Vec<ArtefactRef>,
    /// The claim: inputs in order.
    pub inputs: Vec<TensorFile>,
    /// The claim: outputs in order.
    pub outputs: Vec<TensorFile>,
    /// Relative tolerance for a recomputation, chosen by the verifier; 0 = bit for bit.
    #[serde(default)]
    pub tolerance: f64,
    /// The backend's options.
    #[serde(default)]
    pub options: Options,
}

/// Reply of `compile`, `witness` and `prove`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Files that were made.
    #[serde(default)]
    pub artefacts: Vec<Artefact>,
    /// `witness`: the slice's output tensors, in order.
    #[serde(default)]
    pub outputs: Vec<TensorFile>,
    /// Figures and facts for the report (`fidelity`, `logrows`, `engine`, …).
    #[serde(default)]
    pub facts: Map<String, Value>,
    /// Sentences the user should see.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The fact of a valid verdict that says how many values of the claimed inputs lie beyond
/// what the circuit can represent, so that it computed with the nearest value that it has.
/// The host does not count such a slice as proven unless the verifier allows it. A backend
/// that never clamps leaves the fact out.
pub const SATURATED_INPUTS: &str = "saturated_inputs";

/// The fact of a compilation that says how much memory later stages will take at most, in bytes,
/// by the stage's name: `{"witness": …, "prove": …}`. It knows the circuit, so it should come
/// closer than [`Cost::peak_bytes`]: within a fifth. The host runs as many jobs at once as
/// fit, and begins none that does not fit. A backend that does not know leaves it out.
pub const PEAK_BYTES: &str = "peak_bytes";

/// Reply of `verify`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// The claim holds.
    Valid {
        /// Facts for the report: engine and tolerance of a recomputation, warnings such
        /// as an insecure test SRS.
        #[serde(default)]
        facts: Map<String, Value>,
        /// Sentences that belong beside the verdict.
        #[serde(default)]
        warnings: Vec<String>,
    },
    /// The claim does not hold, or the proof does not show it.
    Invalid {
        /// Which check failed.
        reason: String,
    },
}

impl Verdict {
    /// A valid claim with nothing to add.
    #[must_use]
    pub fn valid() -> Self {
        Self::Valid {
            facts: Map::new(),
            warnings: Vec::new(),
        }
    }
    /// An invalid claim.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid {
            reason: reason.into(),
        }
    }
}
