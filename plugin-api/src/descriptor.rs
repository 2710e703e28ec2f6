//! What a backend says of itself. Rules about proofs are decided by these
//! capabilities, never by a backend's name.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A stage that a backend can carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Slice to circuit.
    Compile,
    /// Inference and witness.
    Witness,
    /// Proof.
    Prove,
    /// Verdict from a proof.
    Verify,
    /// Verdict by running the slice again.
    Recompute,
}

/// What kind of setup the proof system needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setup {
    /// No trusted setup.
    #[default]
    None,
    /// One setup for all circuits up to a size.
    Universal,
    /// A setup for each circuit.
    PerCircuit,
}

/// Whether a proof is bound to its public inputs and outputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindsPublicIo {
    /// Not at all: such a slice is at most `recomputed`.
    #[default]
    No,
    /// Checked, but with a known residual weakness that the documentation names.
    Weak,
    /// Cryptographically bound.
    Strong,
}

/// Properties of the proofs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofProperties {
    /// The proof reveals nothing beyond the statement.
    #[serde(default)]
    pub zero_knowledge: bool,
    /// Proof size and verification are sub-linear in the computation.
    #[serde(default)]
    pub succinct: bool,
    /// The verifier learns nothing of the weights.
    #[serde(default)]
    pub hides_weights: bool,
    /// Kind of setup.
    #[serde(default)]
    pub setup: Setup,
    /// Binding of public values.
    #[serde(default)]
    pub binds_public_io: BindsPublicIo,
    /// No known quantum attack.
    #[serde(default)]
    pub post_quantum: bool,
    /// The same slice, options and version give the same verifying artefacts.
    #[serde(default)]
    pub reproducible_compile: bool,
    /// Computed or claimed soundness in bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_bits: Option<u32>,
    /// What a careful user must know (printed beside a verdict).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caveats: Vec<String>,
}

/// An operator that the backend takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorSupport {
    /// ONNX operator name.
    pub op: String,
    /// Domain; empty for the default one.
    #[serde(default)]
    pub domain: String,
    /// Lowest opset.
    #[serde(default)]
    pub since_opset: i64,
    /// Highest opset, when limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_opset: Option<i64>,
    /// Element types, ONNX names (`float`, `int64`); empty means `float` only.
    #[serde(default)]
    pub dtypes: Vec<String>,
    /// Limits in words (`2-D, no groups`); [`Self::REWRITTEN`] where the backend does the
    /// operator by simpler ones, as far as its attributes allow.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub limits: String,
}

impl OperatorSupport {
    /// The word in [`Self::limits`] for an operator that becomes simpler ones.
    pub const REWRITTEN: &'static str = "rewritten";
}

/// An external tool that the backend drives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolRequirement {
    /// Name.
    pub name: String,
    /// Version requirement in semver syntax.
    pub version: String,
    /// What to type to install it.
    pub install_hint: String,
    /// What the user must know of its licence.
    #[serde(default)]
    pub licence_note: String,
}

/// An option in `dsperse.toml`, `[backend.<name>]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptionSpec {
    /// Key.
    pub key: String,
    /// `bool`, `integer`, `number`, `string` or `path`.
    pub kind: String,
    /// What it does, with its unit.
    pub help: String,
    /// Default, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Whether the option changes what `compile` makes (and so must make it stale).
    #[serde(default)]
    pub affects_compile: bool,
}

/// What the backend can do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Stages.
    pub stages: Vec<Stage>,
    /// Operators; an empty list means "ask `supports`".
    #[serde(default)]
    pub operators: Vec<OperatorSupport>,
    /// Properties of the proofs; `None` for backends that make none.
    #[serde(default)]
    pub proof: Option<ProofProperties>,
    /// External tools.
    #[serde(default)]
    pub tools: Vec<ToolRequirement>,
    /// Whether one worker may serve many calls.
    #[serde(default)]
    pub reusable_worker: bool,
    /// Whether `verify` needs the slice's ONNX payload.
    #[serde(default)]
    pub verify_needs_payload: bool,
}

/// A backend's description.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Descriptor {
    /// Short name: lower-case letters, digits, `-` and `_`; the word used in `--backend`.
    pub name: String,
    /// The backend's own version.
    pub version: semver::Version,
    /// Version of the plugin API it was built against. Filled by [`Descriptor::new`].
    pub api_version: semver::Version,
    /// One sentence.
    pub summary: String,
    /// SPDX expression or a short note.
    pub licence: String,
    /// Where to read more.
    #[serde(default)]
    pub homepage: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Its options.
    #[serde(default)]
    pub options: Vec<OptionSpec>,
    /// Earlier versions of this backend whose artefacts can still be used, as a semver
    /// requirement; `None` means this version's only.
    #[serde(default)]
    pub compatible_artefacts: Option<String>,
    /// Facts for `plugin inspect` (protocol version, limits).
    #[serde(default)]
    pub facts: serde_json::Map<String, Value>,
}

/// Version of the plugin API in this crate, and of the crate itself: `abi_stable` compares
/// crate versions, so the two must not drift apart.
pub const API_VERSION: semver::Version = semver::Version::new(
    crate::abi::ABI_MAJOR as u64,
    crate::abi::ABI_MINOR as u64,
    0,
);

/// [`API_VERSION`] as text.
pub const API_VERSION_TEXT: &str = env!("CARGO_PKG_VERSION");

impl Descriptor {
    /// Whether the backend can use what this version of it compiled: its own, or one of
    /// which it says so.
    #[must_use]
    pub fn takes_artefacts_of(&self, version: &str) -> bool {
        self.version.to_string() == version || self.says_it_takes(version)
    }

    /// Whether the backend says of a version that it can use what that compiled.
    #[must_use]
    pub fn says_it_takes(&self, version: &str) -> bool {
        let wanted = self.compatible_artefacts.as_deref();
        let wanted = wanted.and_then(|r| semver::VersionReq::parse(r).ok());
        let made_by = semver::Version::parse(version).ok();
        wanted.zip(made_by).is_some_and(|(w, v)| w.matches(&v))
    }

    /// A description with the API version filled in. Unparsable versions become 0.0.0,
    /// which `plugin test` reports.
    pub fn new(name: impl Into<String>, version: &str, summary: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.parse().unwrap_or(semver::Version::new(0, 0, 0)),
            api_version: API_VERSION,
            summary: summary.into(),
            licence: String::new(),
            homepage: String::new(),
            capabilities: Capabilities::default(),
            options: Vec::new(),
            compatible_artefacts: None,
            facts: serde_json::Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_version_is_the_crate_version() {
        assert_eq!(API_VERSION.to_string(), API_VERSION_TEXT);
        assert_eq!(
            Descriptor::new("x", "not a version", "")
                .version
                .to_string(),
            "0.0.0"
        );
    }
}
