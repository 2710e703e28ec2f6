//! The in-toto Statement: what is attested, of which subjects.

use crate::AttestError;
use dsperse_documents::{Document, Receipt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// `_type` of a statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// What the predicate is: a receipt of schema 1.
pub const PREDICATE_TYPE: &str = "urn:dsperse:verification-receipt:v1";

/// A statement whose predicate is a receipt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// What it speaks of.
    pub subject: Vec<Subject>,
    /// [`PREDICATE_TYPE`].
    pub predicate_type: String,
    /// The receipt, as it was written.
    pub predicate: Value,
}

/// Something by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// What it is.
    pub name: String,
    /// Digests by algorithm, lower-case hex.
    pub digest: BTreeMap<String, String>,
}

impl Subject {
    fn new(name: &str, algorithm: &str, digest: &str) -> Self {
        Self {
            name: name.to_owned(),
            digest: [(algorithm.to_owned(), digest.to_owned())].into(),
        }
    }
}

/// The subjects of a receipt. `sha256` is that of a file's bytes; the others are SHA-256
/// over structured data, see `docs/attestations.md`.
fn subjects(receipt: &Receipt) -> Vec<Subject> {
    vec![
        Subject::new("model.onnx", "sha256", &receipt.model_sha256),
        Subject::new(
            "sliced model",
            "dsperseModelIdentityV1",
            &receipt.model_identity,
        ),
        Subject::new("input", "dsperseTensorsV1", &receipt.input_sha256),
        Subject::new("output", "dsperseTensorsV1", &receipt.output_sha256),
    ]
}

impl Statement {
    /// The statement over a receipt.
    ///
    /// # Errors
    /// When it can't be written out, which no receipt gives cause for.
    pub fn of(receipt: &Receipt) -> Result<Self, AttestError> {
        let predicate = serde_json::to_value(receipt);
        Ok(Self {
            kind: STATEMENT_TYPE.to_owned(),
            subject: subjects(receipt),
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: predicate.map_err(|e| AttestError::Format(e.to_string()))?,
        })
    }

    /// The receipt, when the statement is one over it and over an accepted claim.
    ///
    /// # Errors
    /// When it is of another kind, its subjects are others, or nothing was accepted.
    pub fn into_receipt(self) -> Result<Receipt, AttestError> {
        for (what, found, expected) in [
            ("statement", &self.kind, STATEMENT_TYPE),
            ("predicate", &self.predicate_type, PREDICATE_TYPE),
        ] {
            if found != expected {
                return Err(AttestError::Format(format!(
                    "its {what} is of type \"{found}\", expected \"{expected}\""
                )));
            }
        }
        let format = |e: &dyn std::fmt::Display| AttestError::Format(e.to_string());
        let predicate = serde_json::to_vec(&self.predicate).map_err(|e| format(&e))?;
        let receipt = Receipt::parse(&predicate).map_err(|e| format(&e))?;
        let expected = subjects(&receipt);
        if let Some(odd) = self.subject.iter().find(|s| !expected.contains(s)) {
            return Err(AttestError::Subject {
                subject: odd.name.clone(),
            });
        }
        if let Some(lacks) = expected.iter().find(|s| !self.subject.contains(s)) {
            return Err(AttestError::Subject {
                subject: lacks.name.clone(),
            });
        }
        if !receipt.accepted {
            return Err(AttestError::NotAccepted);
        }
        Ok(receipt)
    }
}
