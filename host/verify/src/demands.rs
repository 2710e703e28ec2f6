//! What a verifier demands of a claim.

use crate::checker::Backend;
use dsperse_documents::digest::is_sha256_hex;
use dsperse_documents::{Receipt, Require};
use dsperse_router::Policy;
use serde_json::{Map, Value};

/// What a verifier demands.
#[derive(Debug, Clone, Default)]
pub struct Demands {
    /// What every slice must be.
    pub require: Require,
    /// The model identity that the slices must have. Proofs then count only under keys
    /// that are named too, or that the verifier can make from the model itself.
    pub expect_model: Option<String>,
    /// The digest that the verifying keys of the proven slices must have.
    pub expect_keys: Option<String>,
    /// Receipts of somebody whom the verifier trusts: each pins model, keys, input and
    /// output, and no verdict may be weaker.
    pub expect_receipts: Vec<Receipt>,
    /// Relative tolerance of recomputations; 0 is bit for bit.
    pub tolerance: f64,
    /// Largest error of the output against the float model; `None` is what the slices were
    /// compiled for.
    pub max_error: Option<f64>,
    /// What the backends of counting proofs must offer.
    pub policy: Policy,
    /// The backends whose word counts, for proofs and for recomputations; empty is all.
    pub allowed: Vec<AllowedBackend>,
    /// Count proofs of claims whose inputs the circuit saw only clamped to its range.
    pub allow_saturation: bool,
    /// Compile the slices again and compare verifying artefacts; a proof under a key that
    /// can't be made again does not count.
    pub recompile: bool,
}

/// A backend whose word the verifier takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedBackend {
    /// Its name.
    pub name: String,
    /// SHA-256 of its library, lower-case hex; `None` is any.
    pub sha256: Option<String>,
}

impl AllowedBackend {
    /// Reads `NAME` or `NAME@SHA256`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.trim().to_ascii_lowercase())),
            None => (text, None),
        };
        let name = name.trim();
        if name.is_empty() {
            return Err(format!(
                "\"{text}\" names no backend: expected NAME or NAME@SHA256"
            ));
        }
        if let Some(digest) = digest.as_deref().filter(|d| !is_sha256_hex(d)) {
            return Err(format!(
                "\"{digest}\" is no SHA-256: expected 64 hexadecimal digits after \"{name}@\""
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            sha256: digest,
        })
    }

    fn is(&self, backend: &Backend<'_>) -> bool {
        self.name == backend.name() && self.sha256.as_deref().is_none_or(|d| d == backend.digest)
    }
}

impl std::fmt::Display for AllowedBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.sha256 {
            Some(digest) => write!(f, "{}@{digest}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl Demands {
    /// The demands with what receipts pin.
    pub(crate) fn with_receipts(mut self) -> Self {
        for receipt in &self.expect_receipts {
            self.expect_model
                .get_or_insert_with(|| receipt.model_identity.clone());
            if let Some(keys) = &receipt.keys_sha256 {
                self.expect_keys.get_or_insert_with(|| keys.clone());
            }
        }
        self
    }

    /// What makes no sense in them.
    pub(crate) fn objection(&self) -> Option<String> {
        if !self.tolerance.is_finite() || self.tolerance < 0.0 {
            return Some(format!(
                "{} is no tolerance: expected 0 (bit for bit) or a small positive number",
                self.tolerance
            ));
        }
        let pins = [
            ("the expected model identity", &self.expect_model),
            ("the expected digest of the keys", &self.expect_keys),
        ];
        pins.into_iter().find_map(|(what, value)| {
            let value = value.as_deref().filter(|v| !is_sha256_hex(&plain(v)))?;
            Some(format!(
                "{what}, \"{value}\", is no SHA-256: expected 64 hexadecimal digits"
            ))
        })
    }

    /// Why a backend's word does not count here, if so.
    pub(crate) fn refusal(&self, backend: &Backend<'_>) -> Option<String> {
        if self.allowed.is_empty() || self.allowed.iter().any(|a| a.is(backend)) {
            return None;
        }
        let name = backend.name();
        Some(if self.allowed.iter().any(|a| a.name == name) {
            format!(
                "the verifier allows another library of backend \"{name}\" than the one that is loaded, whose SHA-256 is {}",
                backend.digest
            )
        } else {
            format!("backend \"{name}\" is not among those that the verifier allows")
        })
    }

    /// What was demanded beyond `require`, for the report.
    pub(crate) fn noted(&self) -> Map<String, Value> {
        let mut demands = Map::new();
        if let Ok(Value::Object(policy)) = serde_json::to_value(&self.policy) {
            let set = |v: &Value| !matches!(v, Value::Bool(false) | Value::Null);
            demands.extend(policy.into_iter().filter(|(_, v)| set(v)));
        }
        if !self.allowed.is_empty() {
            let names: Vec<String> = self.allowed.iter().map(ToString::to_string).collect();
            demands.insert("allow_backends".into(), names.into());
        }
        if let Some(most) = self.max_error {
            demands.insert("max_error".into(), most.into());
        }
        if self.allow_saturation {
            demands.insert("allow_saturation".into(), true.into());
        }
        demands
    }
}

/// A digest as users write it, in the form in which digests are compared.
pub(crate) fn plain(digest: &str) -> String {
    digest.trim().to_ascii_lowercase()
}
