//! Digests over structured data.
//!
//! A digest over JSON would depend on spaces and field order, so structured data is
//! hashed as a sequence of tagged, length-prefixed fields: two different sequences never
//! give the same bytes.

use dsperse_plugin_api::{Encoding, TensorInfo};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// SHA-256 over a sequence of fields, under a name that separates one use from another.
pub struct FieldHasher(Sha256);

impl FieldHasher {
    /// Starts a digest. `domain` names what is hashed and in which version of the rule.
    #[must_use]
    pub fn new(domain: &str) -> Self {
        let mut h = Self(Sha256::new());
        h.text(domain);
        h
    }
    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }
    /// Adds text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }
    /// Adds a number.
    pub fn number(&mut self, n: u64) -> &mut Self {
        self.bytes(&n.to_le_bytes())
    }
    /// Adds a tensor's name, encoding and shape.
    pub fn tensor(&mut self, info: &TensorInfo) -> &mut Self {
        self.text(&info.name).encoding(info.encoding);
        self.number(info.shape.len() as u64);
        for d in &info.shape {
            self.number(*d);
        }
        self
    }
    /// Adds a list of tensors.
    pub fn tensors(&mut self, infos: &[TensorInfo]) -> &mut Self {
        self.number(infos.len() as u64);
        for info in infos {
            self.tensor(info);
        }
        self
    }
    /// Adds an encoding by its name, and the exponent of fixed point.
    pub fn encoding(&mut self, encoding: Encoding) -> &mut Self {
        self.text(encoding.name());
        if let Encoding::Fixed { exponent } = encoding {
            self.bytes(&exponent.to_le_bytes());
        }
        self
    }
    /// The digest, lower-case hex.
    #[must_use]
    pub fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// SHA-256 of bytes, lower-case hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Whether the text is a SHA-256 in lower-case hex.
#[must_use]
pub fn is_sha256_hex(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The value with every object's keys sorted, so that equal values have equal text.
#[must_use]
pub fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            Value::Object(
                entries
                    .into_iter()
                    .map(|(k, v)| (k.clone(), canonical(v)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        other => other.clone(),
    }
}
