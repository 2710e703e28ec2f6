//! What all documents on disk share.
//!
//! Every document has a field `schema`, a semver string. A reader takes any minor
//! version of the majors that it knows and refuses newer majors. Fields that it doesn't
//! know stay in [`Extra`] maps, so that an older program that rewrites a newer file
//! loses nothing.

use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::{Map, Value};

/// Fields of a document that this version doesn't know; written back as they were.
pub type Extra = Map<String, Value>;

/// The `schema` field of a document whose current version is `MAJOR.MINOR.PATCH`.
///
/// A new document gets the current version. One that was read keeps the version that it
/// had when that is newer (a later minor), so that a rewrite doesn't hide it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema<const MAJOR: u64, const MINOR: u64, const PATCH: u64>(Version);

impl<const A: u64, const B: u64, const C: u64> Schema<A, B, C> {
    /// The version that this program writes.
    pub const CURRENT: Version = Version::new(A, B, C);

    /// The version that is written.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.0
    }
}

impl<const A: u64, const B: u64, const C: u64> Default for Schema<A, B, C> {
    fn default() -> Self {
        Self(Self::CURRENT)
    }
}

impl<const A: u64, const B: u64, const C: u64> Serialize for Schema<A, B, C> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}

impl<'de, const A: u64, const B: u64, const C: u64> Deserialize<'de> for Schema<A, B, C> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let found = Version::deserialize(d)?;
        Ok(Self(found.max(Self::CURRENT)))
    }
}

/// Why a document can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The bytes are not JSON, or not an object.
    #[error("{kind} is not a JSON document: {reason}")]
    NotJson {
        /// Which document.
        kind: &'static str,
        /// What the parser says.
        reason: String,
    },
    /// There is no `schema`, or it is not a semver string.
    #[error(
        "{kind} has no usable field \"schema\": expected a version such as \"{supported}\", found {found}"
    )]
    NoSchema {
        /// Which document.
        kind: &'static str,
        /// The version that this program writes.
        supported: Version,
        /// What stands there.
        found: String,
    },
    /// The document was written by a newer program that changed the format.
    #[error("{kind} has schema {found}, this program reads up to {}.x: update dsperse to read it", .supported.major)]
    Newer {
        /// Which document.
        kind: &'static str,
        /// The version that this program writes.
        supported: Version,
        /// The version of the document.
        found: Version,
    },
    /// The document has a major version that was never released.
    #[error("{kind} has schema {found}, which no release of dsperse wrote; this program reads {}.x", .supported.major)]
    Unknown {
        /// Which document.
        kind: &'static str,
        /// The version that this program writes.
        supported: Version,
        /// The version of the document.
        found: Version,
    },
    /// A field is missing or has the wrong type.
    #[error("{kind} is not valid: {reason}")]
    Invalid {
        /// Which document.
        kind: &'static str,
        /// Which field, and what was expected.
        reason: String,
    },
}

/// A document with a `schema` field.
pub trait Document: Serialize + DeserializeOwned {
    /// What users call it, for messages.
    const KIND: &'static str;
    /// The version that this program writes.
    const SCHEMA: Version;

    /// Reads a document.
    ///
    /// # Errors
    /// When the bytes are no JSON object, the schema is missing or of a newer major, or
    /// a field is wrong.
    fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let kind = Self::KIND;
        let value: Value = serde_json::from_slice(bytes).map_err(|e| DocumentError::NotJson {
            kind,
            reason: e.to_string(),
        })?;
        check_schema(kind, &Self::SCHEMA, &value)?;
        serde_json::from_value(value).map_err(|e| DocumentError::Invalid {
            kind,
            reason: e.to_string(),
        })
    }

    /// The document as indented JSON with a final line break.
    ///
    /// # Errors
    /// When a map key or number can't be written as JSON (a fault of the caller).
    fn to_json(&self) -> Result<Vec<u8>, DocumentError> {
        let mut out = serde_json::to_vec_pretty(self).map_err(|e| DocumentError::Invalid {
            kind: Self::KIND,
            reason: e.to_string(),
        })?;
        out.push(b'\n');
        Ok(out)
    }
}

fn check_schema(
    kind: &'static str,
    supported: &Version,
    value: &Value,
) -> Result<(), DocumentError> {
    let Some(fields) = value.as_object() else {
        return Err(DocumentError::NotJson {
            kind,
            reason: "expected an object".into(),
        });
    };
    let no_schema = |found: String| DocumentError::NoSchema {
        kind,
        supported: supported.clone(),
        found,
    };
    let found = match fields.get("schema") {
        None => return Err(no_schema("nothing".into())),
        Some(Value::String(s)) => s
            .parse::<Version>()
            .map_err(|_| no_schema(format!("\"{s}\"")))?,
        Some(other) => return Err(no_schema(other.to_string())),
    };
    if found.major > supported.major {
        return Err(DocumentError::Newer {
            kind,
            supported: supported.clone(),
            found,
        });
    }
    // Majors start at 1; once there is a 2, this is where a 1 is brought up to date.
    if found.major < supported.major {
        return Err(DocumentError::Unknown {
            kind,
            supported: supported.clone(),
            found,
        });
    }
    Ok(())
}

/// Implements [`Document`] for a type with a `schema` field of the given version.
macro_rules! document {
    ($type:ty, $kind:literal, $a:literal, $b:literal, $c:literal) => {
        impl $crate::document::Document for $type {
            const KIND: &'static str = $kind;
            const SCHEMA: semver::Version = semver::Version::new($a, $b, $c);
        }
    };
}
pub(crate) use document;
