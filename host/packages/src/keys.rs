//! Signatures in the format of minisign, and the keys that a user pinned for a source.

use crate::error::{At, PackageError, Result};
use base64::Engine as _;
use dsperse_store::atomic;
use minisign_verify::{PublicKey, Signature};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What the name of a signature ends with.
pub const SIGNATURE: &str = "minisig";
/// Largest signature or key file, in bytes.
pub const MAX_BYTES: u64 = 16 << 10;

/// Where the signature of a file lies.
#[must_use]
pub fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{SIGNATURE}"));
    name.into()
}

/// The number by which people tell keys apart, as minisign prints it. `bytes` is a decoded
/// key or signature.
fn id_of(text: &str) -> Option<String> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text.trim())
        .ok()?;
    let id: [u8; 8] = bytes.get(2..10)?.try_into().ok()?;
    Some(format!("{:016X}", u64::from_le_bytes(id)))
}

/// A public key as people pass it on: the line that minisign calls the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    /// Reads a key: the line itself, or a `.pub` file that holds it.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(text: &str) -> Result<Self> {
        let text = text.trim();
        if PublicKey::from_base64(text).is_ok() {
            return Ok(Self(text.to_owned()));
        }
        let no = |why: String| {
            PackageError::usage(
                format!("\"{text}\" is no public key: {why}"),
                "give the line that begins with RW, or the .pub file that holds it",
            )
        };
        let mut content = String::new();
        File::open(text)
            .and_then(|f| f.take(MAX_BYTES).read_to_string(&mut content))
            .map_err(|e| no(format!("it is not one as it stands, and as a file: {e}")))?;
        PublicKey::decode(&content).map_err(|e| no(format!("the file holds none ({e})")))?;
        let mut lines = content.lines().map(str::trim).filter(|l| !l.is_empty());
        Ok(Self(lines.next_back().unwrap_or_default().to_owned()))
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> String {
        id_of(&self.0).unwrap_or_default()
    }

    /// The line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A signature that was read but not yet checked.
pub struct Signed {
    signature: Signature,
    /// Number of the key that is said to have made it.
    pub id: String,
}

impl Signed {
    /// Reads a signature.
    ///
    /// # Errors
    /// Why it is none.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "it is no text".to_owned())?;
        let signature = Signature::decode(text).map_err(|e| e.to_string())?;
        let id = text.lines().nth(1).and_then(id_of).unwrap_or_default();
        Ok(Self { signature, id })
    }

    /// Whether a key made this signature of a file.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn is_by(&self, key: &Key, file: &Path) -> Result<bool> {
        let Ok(key) = PublicKey::from_base64(key.as_str()) else {
            return Ok(false);
        };
        // Fails for signatures of the old kind, which sign the file and not its hash.
        let Ok(mut check) = key.verify_stream(&self.signature) else {
            return Ok(false);
        };
        let mut content = File::open(file).at("read", file)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match content.read(&mut buffer).at("read", file)? {
                0 => return Ok(check.finalize().is_ok()),
                n => check.update(&buffer[..n]),
            }
        }
    }
}

/// Makes a key pair without a password. Returns the texts of the secret and of the public
/// file, and the key.
///
/// # Errors
/// When the system gives no random numbers.
pub fn generate() -> Result<(String, String, Key)> {
    let failed = |e: minisign::PError| {
        PackageError::usage(format!("no key could be made: {e}"), "try again")
    };
    let pair = minisign::KeyPair::generate_unencrypted_keypair().map_err(failed)?;
    let secret = pair.sk.to_box(None).map_err(failed)?.into_string();
    let public = pair.pk.to_box().map_err(failed)?.into_string();
    Ok((secret, public, Key(pair.pk.to_base64())))
}

/// Signs a file; the signature goes beside it. A key with a password asks for it when
/// `ask` allows.
///
/// # Errors
/// When the key can't be read, or the signature not be written.
pub fn sign(file: &Path, secret: &Path, ask: bool) -> Result<PathBuf> {
    let wrong = |e: &dyn std::fmt::Display| {
        PackageError::usage(
            format!("\"{}\" can't sign: {e}", secret.display()),
            "give a secret key that \"dsperse plugin keygen\" or \"minisign -G\" made",
        )
    };
    let text = std::fs::read_to_string(secret).map_err(|e| wrong(&e))?;
    let boxed = minisign::SecretKeyBox::from_string(&text).map_err(|e| wrong(&e))?;
    let key = match boxed.clone().into_unencrypted_secret_key() {
        Ok(key) => key,
        Err(_) if ask => boxed.into_secret_key(None).map_err(|e| wrong(&e))?,
        Err(e) => return Err(wrong(&e)),
    };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let content = File::open(file).at("read", file)?;
    let comment = format!("file:{name}");
    let signature =
        minisign::sign(None, &key, content, Some(&comment), None).map_err(|e| wrong(&e))?;
    let path = beside(file);
    atomic::write_file(&path, signature.into_string().as_bytes())?;
    Ok(path)
}

/// The keys that a user pinned, each for a source.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// In the order in which they were pinned.
    #[serde(default, rename = "source")]
    pub sources: Vec<Pinned>,
}

/// A source and its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// The source, as [`crate::Source`] writes it.
    pub source: String,
    /// Its keys: a signature by one of them is enough.
    pub keys: Vec<Key>,
}

impl Trust {
    /// The keys for what lies at a source: those of the source itself, or of the nearest
    /// place above it.
    #[must_use]
    pub fn keys(&self, source: &str) -> &[Key] {
        let above = self.sources.iter().filter(|p| {
            source == p.source
                || source
                    .strip_prefix(&p.source)
                    .is_some_and(|rest| p.source.ends_with('/') || rest.starts_with('/'))
        });
        above
            .max_by_key(|p| p.source.len())
            .map_or(&[], |p| p.keys.as_slice())
    }

    /// Pins a key; whether it was not there before.
    pub fn pin(&mut self, source: &str, key: Key) -> bool {
        let known = self.sources.iter_mut().find(|p| p.source == source);
        match known {
            Some(pinned) if pinned.keys.contains(&key) => false,
            Some(pinned) => {
                pinned.keys.push(key);
                true
            }
            None => {
                self.sources.push(Pinned {
                    source: source.to_owned(),
                    keys: vec![key],
                });
                true
            }
        }
    }

    /// Takes a source's keys away; whether there were any.
    pub fn forget(&mut self, source: &str) -> bool {
        let before = self.sources.len();
        self.sources.retain(|p| p.source != source);
        self.sources.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_by_one_key_and_of_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let (file, secret) = (dir.path().join("f"), dir.path().join("k"));
        std::fs::write(&file, b"content").unwrap();
        let (text, public, key) = generate().unwrap();
        std::fs::write(&secret, text).unwrap();
        let signature = sign(&file, &secret, false).unwrap();
        let signed = Signed::read(&std::fs::read(&signature).unwrap()).unwrap();
        assert_eq!(signed.id, key.id());
        assert!(signed.is_by(&key, &file).unwrap());
        let other = generate().unwrap().2;
        assert!(!signed.is_by(&other, &file).unwrap());
        std::fs::write(&file, b"contents").unwrap();
        assert!(!signed.is_by(&key, &file).unwrap());
        // A key is read as a line and as a file.
        let path = dir.path().join("k.pub");
        std::fs::write(&path, public).unwrap();
        assert_eq!(Key::read(path.to_str().unwrap()).unwrap(), key);
        assert_eq!(Key::read(key.as_str()).unwrap(), key);
        assert!(Key::read("RWnonsense").is_err());
    }

    #[test]
    fn cut_and_changed_signatures_are_errors_or_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let (file, secret) = (dir.path().join("f"), dir.path().join("k"));
        std::fs::write(&file, b"content").unwrap();
        let (text, _, key) = generate().unwrap();
        std::fs::write(&secret, text).unwrap();
        let good = std::fs::read(sign(&file, &secret, false).unwrap()).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            // The first line is not signed; everything else is.
            let first_line = good[..at].contains(&b'\n');
            let by = |text: &[u8]| Signed::read(text).is_ok_and(|s| s.is_by(&key, &file).unwrap());
            let untrusted_padding = good[at] == b'\n';
            assert!(!by(&bad) || !first_line || untrusted_padding, "byte {at}");
            assert!(!by(&good[..at]) || good.len() - at < 3, "cut at {at}");
        }
    }

    #[test]
    fn the_nearest_place_above_counts() {
        let mut trust = Trust::default();
        let (a, b) = (generate().unwrap().2, generate().unwrap().2);
        assert!(trust.pin("https://x.org/", a.clone()));
        assert!(!trust.pin("https://x.org/", a.clone()));
        assert!(trust.pin("https://x.org/team/", b.clone()));
        assert_eq!(trust.keys("https://x.org/other/"), [a]);
        assert_eq!(trust.keys("https://x.org/team/"), [b]);
        assert!(trust.keys("https://x.org.evil.org/").is_empty());
        assert!(trust.keys("/srv/plugins").is_empty());
        assert!(trust.forget("https://x.org/team/"));
        assert!(!trust.forget("https://x.org/team/"));
    }
}
