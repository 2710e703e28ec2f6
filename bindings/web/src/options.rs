//! What the verifier demands, as JavaScript says it.

use dsperse_documents::Require;
use dsperse_verify::Demands;
use serde::Deserialize;

/// Demands of a verification in a browser. An unknown one is an error, so that a misspelt
/// demand is not lost.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Options {
    /// What every slice must be.
    pub require: Require,
    /// The model identity that the slices must have.
    pub expect_model: Option<String>,
    /// The digest that the verifying keys must have.
    pub expect_keys: Option<String>,
    /// Largest error of the output against the float model, by the prover's note.
    pub max_error: Option<f64>,
    /// Count proofs of claims whose inputs the circuit saw only clamped to its range.
    pub allow_saturation: bool,
}

impl Options {
    pub(crate) fn demands(self) -> Demands {
        Demands {
            require: self.require,
            expect_model: self.expect_model,
            expect_keys: self.expect_keys,
            max_error: self.max_error,
            allow_saturation: self.allow_saturation,
            ..Demands::default()
        }
    }
}
