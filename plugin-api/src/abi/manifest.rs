//! What can be known of a plugin without running its code: a short JSON text in the
//! section `.dsperse` of the library, or in a file `<library>.json` beside it.
//!
//! It serves `plugin list` and early refusals only. The descriptor is the authority.

use serde::{Deserialize, Serialize};

/// Name of the section (`__DATA,__dsperse` on macOS).
pub const MANIFEST_SECTION: &str = ".dsperse";

/// The manifest; all fields optional, unknown ones ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the backend (for Rust plugins: the library's name).
    #[serde(default)]
    pub name: String,
    /// Version of the backend.
    #[serde(default)]
    pub version: String,
    /// Plugin API version that it was built for (`major.minor.patch`).
    #[serde(default)]
    pub api: String,
}

/// Joins the parts of a manifest at compile time, for `export_backend!`.
///
/// # Panics
/// When `N` is not the joined length; evaluated at compile time only.
#[doc(hidden)]
#[must_use]
pub const fn join<const N: usize>(parts: &[&str]) -> [u8; N] {
    let mut joined = [0; N];
    let mut at = 0;
    let mut part = 0;
    while part < parts.len() {
        let bytes = parts[part].as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            joined[at] = bytes[i];
            at += 1;
            i += 1;
        }
        part += 1;
    }
    assert!(at == N, "the manifest's length");
    joined
}

/// Joined length of the parts.
#[doc(hidden)]
#[must_use]
pub const fn joined_len(parts: &[&str]) -> usize {
    let mut len = 0;
    let mut part = 0;
    while part < parts.len() {
        len += parts[part].len();
        part += 1;
    }
    len
}

impl Manifest {
    /// Reads the bytes of the section; zero bytes at the end are padding.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
        let text = bytes.get(..end).unwrap_or_default();
        let mut manifest: Self =
            serde_json::from_slice(text).map_err(|e| format!("its manifest can't be read: {e}"))?;
        if let Some(short) = manifest.name.strip_prefix("dsperse_backend_") {
            manifest.name = short.to_owned();
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined() {
        const PARTS: &[&str] = &["{\"name\":\"", "x", "\"}"];
        const JOINED: [u8; joined_len(PARTS)] = join(PARTS);
        assert_eq!(Manifest::parse(&JOINED).map(|m| m.name), Ok("x".to_owned()));
    }

    #[test]
    fn padding_is_cut_and_the_library_prefix_too() {
        let manifest = Manifest::parse(
            b"{\"name\":\"dsperse_backend_onnx\",\"version\":\"0.1.0\",\"api\":\"1.0.0\"}\0\0",
        )
        .expect("a manifest");
        assert_eq!(manifest.name, "onnx");
        assert_eq!(manifest.api, "1.0.0");
        assert!(Manifest::parse(b"\0").is_err());
    }
}
