//! Keys as files: PEM, PKCS#8 for the private one, SPKI for the public one. OpenSSL and
//! every other library of the trade read them.

use crate::AttestError;
use dsperse_documents::digest::sha256_hex;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{Signature, Signer, VerifyingKey};

/// A key that signs.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.public().id())
    }
}

impl SigningKey {
    /// A new key from the system's random numbers.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn generate() -> Result<Self, AttestError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| AttestError::Random(e.to_string()))?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// Reads a private key.
    ///
    /// # Errors
    /// When the text is no ed25519 key in PKCS#8.
    pub fn from_pem(text: &str) -> Result<Self, AttestError> {
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(text.trim());
        key.map(Self).map_err(|e| AttestError::Key {
            expected: "private ed25519 key (PEM, PKCS#8)",
            reason: e.to_string(),
        })
    }

    /// The key's file.
    ///
    /// # Errors
    /// When it can't be written out, which no key gives cause for.
    pub fn to_pem(&self) -> Result<String, AttestError> {
        let pem = self.0.to_pkcs8_pem(LineEnding::LF);
        pem.map(|p| p.to_string()).map_err(|e| AttestError::Key {
            expected: "private ed25519 key (PEM, PKCS#8)",
            reason: e.to_string(),
        })
    }

    /// The key that others verify with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// A key that signatures are checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a public key.
    ///
    /// # Errors
    /// When the text is no ed25519 key in SPKI.
    pub fn from_pem(text: &str) -> Result<Self, AttestError> {
        let key = VerifyingKey::from_public_key_pem(text.trim());
        key.map(Self).map_err(|e| AttestError::Key {
            expected: "public ed25519 key (PEM)",
            reason: e.to_string(),
        })
    }

    /// The key's file.
    ///
    /// # Errors
    /// When it can't be written out, which no key gives cause for.
    pub fn to_pem(&self) -> Result<String, AttestError> {
        let pem = self.0.to_public_key_pem(LineEnding::LF);
        pem.map_err(|e| AttestError::Key {
            expected: "public ed25519 key (PEM)",
            reason: e.to_string(),
        })
    }

    /// The key's name in envelopes: SHA-256 of its 32 bytes, lower-case hex.
    #[must_use]
    pub fn id(&self) -> String {
        sha256_hex(self.0.as_bytes())
    }

    /// Whether the signature is this key's. Strict: no signature has a second form.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}
