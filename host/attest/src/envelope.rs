//! The Dead Simple Signing Envelope (DSSE, version 1), in JSON.

use crate::AttestError;
use crate::key::{PublicKey, SigningKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

/// What the payload is.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// An envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// The signed bytes, base64.
    pub payload: String,
    /// What they are.
    pub payload_type: String,
    /// Signatures.
    pub signatures: Vec<EnvelopeSignature>,
}

/// A signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvelopeSignature {
    /// A hint at the key; not signed.
    #[serde(default)]
    pub keyid: String,
    /// The signature, base64.
    pub sig: String,
}

impl Envelope {
    /// Signs a payload.
    #[must_use]
    pub fn seal(payload: &[u8], key: &SigningKey) -> Self {
        let signature = key.sign(&pre_authentication(PAYLOAD_TYPE, payload));
        Self {
            payload: BASE64_STANDARD.encode(payload),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: vec![EnvelopeSignature {
                keyid: key.public().id(),
                sig: BASE64_STANDARD.encode(signature),
            }],
        }
    }

    /// The payload, when one of the signatures over it is by this key.
    ///
    /// # Errors
    /// When none is, or it is of another type.
    pub fn open(&self, key: &PublicKey) -> Result<Vec<u8>, AttestError> {
        let text =
            |e: base64::DecodeError| AttestError::Format(format!("its base64 is wrong: {e}"));
        let payload = BASE64_STANDARD.decode(&self.payload).map_err(text)?;
        let message = pre_authentication(&self.payload_type, &payload);
        let by_key = |s: &EnvelopeSignature| {
            let signature = BASE64_STANDARD.decode(&s.sig);
            signature.is_ok_and(|signature| key.verifies(&message, &signature))
        };
        if !self.signatures.iter().any(by_key) {
            return Err(AttestError::Signature {
                signatures: self.signatures.len(),
                keyid: key.id(),
            });
        }
        if self.payload_type != PAYLOAD_TYPE {
            return Err(AttestError::Format(format!(
                "its payload is \"{}\", expected \"{PAYLOAD_TYPE}\"",
                self.payload_type
            )));
        }
        Ok(payload)
    }
}

/// The pre-authentication encoding: what is signed in place of type and payload.
fn pre_authentication(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_that_of_the_specification() {
        // The example of the DSSE protocol page.
        let encoded = pre_authentication("http://example.com/HelloWorld", b"hello world");
        assert_eq!(
            encoded,
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }
}
