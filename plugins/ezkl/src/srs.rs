//! Structured reference strings: KZG files `kzg<k>.srs` that EZKL reads without a check.
//!
//! A file is `u32 k | 2^k G1 points | 2^k Lagrange G1 points | G2 | s·G2`, each G1 point 64
//! bytes and each G2 point 128, all little-endian in Montgomery form. Whoever knows `s`
//! forges proofs, so where a file comes from matters more than anything else here:
//!
//! - nothing is downloaded, and no file of the user's is ever changed or deleted;
//! - a file is used only when its size, its `k` and its generators are right;
//! - its *fingerprint*, the SHA-256 of `s·G2`, which is the same for every `k` of one
//!   ceremony, stands in the circuit's settings and beside the verdict;
//! - a local test SRS, whose secret existed on this machine, is made only when the user
//!   asked for it, lies under a name of its own, and makes every verdict carry a warning.

use dsperse_plugin_api::{Error, Result};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Smallest and largest number of rows (as a power of two) that this plugin uses.
pub const LOGROWS: std::ops::RangeInclusive<u32> = 15..=24;

const G1: usize = 64;
const G2: usize = 128;

/// BN254's generator (1, 2) of G1, coordinates in Montgomery form.
const G1_GENERATOR: [u8; G1] = [
    0x9d, 0x0d, 0x8f, 0xc5, 0x8d, 0x43, 0x5d, 0xd3, 0x3d, 0x0b, 0xc7, 0xf5, 0x28, 0xeb, 0x78, 0x0a,
    0x2c, 0x46, 0x79, 0x78, 0x6f, 0xa3, 0x6e, 0x66, 0x2f, 0xdf, 0x07, 0x9a, 0xc1, 0x77, 0x0a, 0x0e,
    0x3a, 0x1b, 0x1e, 0x8b, 0x1b, 0x87, 0xba, 0xa6, 0x7b, 0x16, 0x8e, 0xeb, 0x51, 0xd6, 0xf1, 0x14,
    0x58, 0x8c, 0xf2, 0xf0, 0xde, 0x46, 0xdd, 0xcc, 0x5e, 0xbe, 0x0f, 0x34, 0x83, 0xef, 0x14, 0x1c,
];

/// The SRS that a circuit is made with.
#[derive(Debug, Clone, PartialEq)]
pub struct Srs {
    /// The file.
    pub path: PathBuf,
    /// Rows as a power of two.
    pub logrows: u32,
    /// Whether it is a local test SRS.
    pub insecure: bool,
    /// What a verifier needs of it: see [`verifying`].
    pub verifying: Vec<u8>,
}

/// Where to look, from the backend's options and the environment.
#[derive(Debug, Clone, PartialEq)]
pub struct Places {
    directories: Vec<PathBuf>,
    /// Use test files, and only those.
    insecure: bool,
}

impl Places {
    /// Reads the options `srs_dir` and `insecure_test_srs`; without the first, the places
    /// that EZKL itself uses.
    ///
    /// # Errors
    /// `invalid_input` when a test SRS is wanted and no directory is named for it.
    pub fn new(options: &Map<String, Value>) -> Result<Self> {
        let insecure = insecure(options);
        let configured = options.get("srs_dir").and_then(Value::as_str);
        if insecure && configured.is_none() {
            return Err(Error::invalid_input(
                "the option \"insecure_test_srs\" needs \"srs_dir\", a directory of its own for test files",
            )
            .with_hint("set srs_dir in [backend.ezkl] of dsperse.toml"));
        }
        let directories = match configured {
            Some(dir) => vec![PathBuf::from(dir)],
            None => [("EZKL_REPO_PATH", "srs"), ("HOME", ".ezkl/srs")]
                .iter()
                .filter_map(|(key, sub)| Some(PathBuf::from(std::env::var_os(key)?).join(sub)))
                .collect(),
        };
        Ok(Self {
            directories,
            insecure,
        })
    }

    /// Whether test files are to be used.
    pub fn insecure(&self) -> bool {
        self.insecure
    }

    /// The path of a test SRS that may have to be made.
    pub fn test_file(&self, logrows: u32) -> Option<PathBuf> {
        let dir = self.directories.first().filter(|_| self.insecure)?;
        Some(dir.join(format!("insecure-test-kzg{logrows}.srs")))
    }

    /// The sizes that are there, for `probe`.
    pub fn available(&self) -> Vec<u32> {
        LOGROWS
            .filter(|k| self.candidates(*k).any(|p| p.is_file()))
            .collect()
    }

    /// Finds and checks the file of exactly this size.
    ///
    /// # Errors
    /// `tool_missing` when there is none, or it is not what it must be.
    pub fn find(&self, logrows: u32) -> Result<Srs> {
        let Some(path) = self.candidates(logrows).find(|p| p.is_file()) else {
            let places: Vec<String> = self
                .candidates(logrows)
                .map(|p| format!("\"{}\"", p.display()))
                .collect();
            return Err(missing(format!(
                "there is no SRS for 2^{logrows} rows: {} does not exist",
                places.join(" or ")
            )));
        };
        let verifying = verifying(&path, logrows)
            .map_err(|why| missing(format!("the SRS \"{}\" {why}", path.display())))?;
        Ok(Srs {
            path,
            logrows,
            insecure: self.insecure,
            verifying,
        })
    }

    fn candidates(&self, logrows: u32) -> impl Iterator<Item = PathBuf> + '_ {
        let name = if self.insecure {
            format!("insecure-test-kzg{logrows}.srs")
        } else {
            format!("kzg{logrows}.srs")
        };
        self.directories.iter().map(move |d| d.join(&name))
    }
}

/// The option that allows a test SRS.
pub fn insecure(options: &Map<String, Value>) -> bool {
    options.get("insecure_test_srs").and_then(Value::as_bool) == Some(true)
}

fn missing(message: String) -> Error {
    Error::tool_missing("ezkl SRS", message).with_hint(
        "get the file with EZKL's own get_srs into ~/.ezkl/srs, or name its directory with srs_dir; for trials only, insecure_test_srs = true makes a test SRS in a srs_dir of its own",
    )
}

/// Reads what a verifier needs from a full file: an SRS for two rows, 516 bytes. Its
/// Lagrange part is not used in verification and repeats the points.
///
/// # Errors
/// A clause that says what is wrong with the file.
pub fn verifying(path: &Path, logrows: u32) -> std::result::Result<Vec<u8>, String> {
    let read = |e: std::io::Error| format!("can't be read: {e}");
    let mut file = File::open(path).map_err(read)?;
    let size = file.metadata().map_err(read)?.len();
    let expected = 4 + (2u64 << logrows) * G1 as u64 + 2 * G2 as u64;
    if size != expected {
        return Err(format!("has {size} bytes, expected {expected}"));
    }
    let mut head = [0u8; 4 + 2 * G1];
    file.read_exact(&mut head).map_err(read)?;
    let mut tail = [0u8; 2 * G2];
    file.seek(SeekFrom::End(-(tail.len() as i64)))
        .map_err(read)?;
    file.read_exact(&mut tail).map_err(read)?;
    let (k, points) = head.split_at(4);
    if k != logrows.to_le_bytes() {
        return Err(format!("is for another size than 2^{logrows} rows"));
    }
    let small = [&1u32.to_le_bytes(), points, points, &tail].concat();
    if check_verifying(&small) {
        Ok(small)
    } else {
        Err("does not begin with the curve's generator".to_owned())
    }
}

/// Whether bytes are a verifying SRS in the one form that [`verifying`] writes.
pub fn check_verifying(bytes: &[u8]) -> bool {
    let Some((k, rest)) = bytes.split_first_chunk::<4>() else {
        return false;
    };
    let Some((points, rest)) = rest.split_first_chunk::<{ 2 * G1 }>() else {
        return false;
    };
    let Some((lagrange, rest)) = rest.split_first_chunk::<{ 2 * G1 }>() else {
        return false;
    };
    *k == 1u32.to_le_bytes()
        && points.starts_with(&G1_GENERATOR)
        && points == lagrange
        && rest.len() == 2 * G2
        && rest.get(..G2) != rest.get(G2..)
}

/// The fingerprint of a ceremony: SHA-256 of `s·G2`, in hex.
pub fn fingerprint(verifying: &[u8]) -> String {
    let start = verifying.len().saturating_sub(G2);
    hex::encode(Sha256::digest(verifying.get(start..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(k: u32) -> Vec<u8> {
        let mut bytes = k.to_le_bytes().to_vec();
        bytes.extend(G1_GENERATOR);
        bytes.resize(4 + (2 << k) * G1, 7);
        bytes.extend([1; G2]);
        bytes.extend([2; G2]);
        bytes
    }

    fn options(dir: &Path, insecure: bool) -> Map<String, Value> {
        let value = json!({"srs_dir": dir, "insecure_test_srs": insecure});
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn only_a_whole_file_of_the_right_size_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kzg15.srs");
        let places = Places::new(&options(dir.path(), false)).unwrap();
        let e = places.find(15).unwrap_err();
        assert!(e.message.contains("kzg15.srs"), "{}", e.message);
        assert!(e.hint.unwrap().contains("get_srs"));

        std::fs::write(&path, file(15)).unwrap();
        let srs = places.find(15).unwrap();
        assert_eq!(srs.verifying.len(), 516);
        assert!(!srs.insecure);
        assert_eq!(
            fingerprint(&srs.verifying),
            hex::encode(Sha256::digest([2; G2]))
        );
        assert_eq!(places.available(), [15]);

        let mut wrong = file(15);
        wrong.pop();
        std::fs::write(&path, &wrong).unwrap();
        assert!(
            places
                .find(15)
                .unwrap_err()
                .message
                .contains("bytes, expected")
        );
        let mut wrong = file(15);
        wrong[0] = 16;
        std::fs::write(&path, &wrong).unwrap();
        assert!(
            places
                .find(15)
                .unwrap_err()
                .message
                .contains("another size")
        );
        let mut wrong = file(15);
        wrong[4] ^= 1;
        std::fs::write(&path, &wrong).unwrap();
        assert!(places.find(15).unwrap_err().message.contains("generator"));
    }

    #[test]
    fn a_test_srs_is_never_taken_for_a_real_one() {
        let dir = tempfile::tempdir().unwrap();
        let real = Places::new(&options(dir.path(), false)).unwrap();
        let test = Places::new(&options(dir.path(), true)).unwrap();
        std::fs::write(test.test_file(15).unwrap(), file(15)).unwrap();
        assert!(real.find(15).is_err());
        assert!(test.find(15).unwrap().insecure);
        assert_eq!(real.test_file(15), None);
        let mut no_dir = options(dir.path(), true);
        no_dir.remove("srs_dir");
        assert!(Places::new(&no_dir).is_err());
    }

    #[test]
    fn a_verifying_srs_has_one_form_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, file(15)).unwrap();
        let good = verifying(&path, 15).unwrap();
        assert!(check_verifying(&good));
        for cut in 0..good.len() {
            assert!(!check_verifying(&good[..cut]), "{cut}");
        }
        for i in (0..4 + G1).chain([4 + G1, 4 + 2 * G1]) {
            let mut bad = good.clone();
            bad[i] ^= 1;
            assert!(!check_verifying(&bad), "{i}");
        }
    }
}
