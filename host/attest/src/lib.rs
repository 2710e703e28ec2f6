//! Receipts that others understand: an in-toto Statement (v1) with the receipt as its
//! predicate, in a DSSE envelope, signed with ed25519.
//!
//! An attestation says that somebody who holds a key has verified a claim. It makes no
//! verdict: who expects one still verifies, and the attested receipt pins what must come
//! out. The format is described in `docs/attestations.md`.
//!
//! - [`key`]: signing keys and public keys as PEM (PKCS#8, SPKI);
//! - [`statement`]: what is signed;
//! - [`envelope`]: the signature around it.

pub mod envelope;
pub mod key;
pub mod statement;

pub use envelope::Envelope;
pub use key::{PublicKey, SigningKey};
pub use statement::{PREDICATE_TYPE, Statement};

use dsperse_documents::Receipt;

/// Why there is no attestation, or why it is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AttestError {
    /// The key's text is no key of the expected kind.
    #[error("it is no {expected}: {reason}")]
    Key {
        /// What was expected.
        expected: &'static str,
        /// What the reader says.
        reason: String,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    /// It can't be read as an attestation.
    #[error("it is no attestation of a verification: {0}")]
    Format(String),
    /// No signature is of the expected key over this content.
    #[error("none of its {signatures} signatures is by the key {keyid} over this content")]
    Signature {
        /// How many there are.
        signatures: usize,
        /// The expected key.
        keyid: String,
    },
    /// The subjects are not those of the receipt.
    #[error("its subject \"{subject}\" is not what its receipt speaks of")]
    Subject {
        /// The subject's name.
        subject: String,
    },
    /// What was verified was not accepted.
    #[error("the claim was not accepted, so there is nothing to attest")]
    NotAccepted,
}

/// Signs a receipt.
///
/// # Errors
/// When the receipt is of a claim that was not accepted.
pub fn attest(receipt: &Receipt, key: &SigningKey) -> Result<Envelope, AttestError> {
    if !receipt.accepted {
        return Err(AttestError::NotAccepted);
    }
    let statement = Statement::of(receipt)?;
    let payload = serde_json::to_vec(&statement).map_err(|e| AttestError::Format(e.to_string()))?;
    Ok(Envelope::seal(&payload, key))
}

/// The receipt of an attestation that is signed by this key.
///
/// # Errors
/// When it is not signed by it, or is no attestation of an accepted verification.
pub fn open(envelope: &[u8], key: &PublicKey) -> Result<Receipt, AttestError> {
    let format = |e: serde_json::Error| AttestError::Format(e.to_string());
    let envelope: Envelope = serde_json::from_slice(envelope).map_err(format)?;
    let payload = envelope.open(key)?;
    // Nothing of the payload is looked at before its signature holds.
    let statement: Statement = serde_json::from_slice(&payload).map_err(format)?;
    statement.into_receipt()
}

#[cfg(test)]
mod tests;
