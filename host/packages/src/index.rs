//! What a source offers: `index.json`, a static file that anyone can host.
//!
//! The index is believed in nothing that matters: it can hide a release or name a wrong one,
//! and what it names is then refused by digest, signature, name, version or platform.

use crate::error::{At, PackageError, Result};
use crate::package::{self, EXTENSION, Manifest};
use crate::source::Source;
use dsperse_documents::digest::is_sha256_hex;
use dsperse_store::{atomic, file_digest};
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Name of the file.
pub const INDEX: &str = "index.json";
/// Largest index, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// What a source offers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Index {
    /// Version of the format.
    pub format: u32,
    /// Every release.
    pub plugins: Vec<Release>,
}

/// One version of a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The backend.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// One sentence.
    #[serde(default)]
    pub summary: String,
    /// Its licence.
    #[serde(default)]
    pub licence: String,
    /// The package for each platform.
    pub platforms: BTreeMap<String, Offer>,
}

/// A package of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Where it lies, below the index.
    pub file: String,
    /// Its SHA-256, lower-case hex.
    pub sha256: String,
}

impl Index {
    /// Reads the index of a source.
    ///
    /// # Errors
    /// When there is none, or it can't be read.
    pub fn fetch(source: &Source) -> Result<Self> {
        let what = format!("the index {}", source.name_of(INDEX));
        let Some(text) = source.small(INDEX, MAX_BYTES)? else {
            return Err(PackageError::Fetch {
                what,
                why: "there is none".into(),
                missing: true,
            });
        };
        let refused = |why: String| {
            let hint = "tell whoever keeps this index; \"dsperse plugin index\" writes one";
            PackageError::refused(&what, why, hint)
        };
        let index: Self =
            serde_json::from_slice(&text).map_err(|e| refused(format!("it can't be read: {e}")))?;
        if index.format != package::FORMAT {
            return Err(refused(format!(
                "its format is {}, this program reads {}",
                index.format,
                package::FORMAT
            )));
        }
        for release in &index.plugins {
            for offer in release.platforms.values() {
                if !is_sha256_hex(&offer.sha256) {
                    return Err(refused(format!("\"{}\" is no SHA-256", offer.sha256)));
                }
            }
        }
        Ok(index)
    }

    /// The newest release of a backend in a range, for a platform. Versions before a release
    /// count only where the range names them.
    #[must_use]
    pub fn newest(&self, name: &str, range: &VersionReq, platform: &str) -> Option<&Release> {
        self.plugins
            .iter()
            .filter(|r| r.name == name && range.matches(&r.version))
            .filter(|r| r.platforms.contains_key(platform))
            .max_by(|a, b| a.version.cmp(&b.version))
    }

    /// Makes the index of the packages in a folder, and writes it there.
    ///
    /// # Errors
    /// When a package can't be read, or two are of one version and platform.
    pub fn write(dir: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir).at("read", dir)? {
            let path = entry.at("read", dir)?.path();
            if path.extension().is_some_and(|e| e == EXTENSION) {
                files.push(path);
            }
        }
        files.sort();
        let mut plugins: Vec<Release> = Vec::new();
        for path in files {
            let Manifest {
                name,
                version,
                platform,
                summary,
                licence,
                ..
            } = package::open(&path)?.manifest;
            let offer = Offer {
                file: path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                sha256: file_digest(&path)?.1,
            };
            let known = plugins
                .iter()
                .position(|r| r.name == name && r.version == version);
            let at = known.unwrap_or_else(|| {
                plugins.push(Release {
                    name: name.clone(),
                    version: version.clone(),
                    summary,
                    licence,
                    platforms: BTreeMap::new(),
                });
                plugins.len() - 1
            });
            if let Some(other) = plugins[at]
                .platforms
                .insert(platform.clone(), offer.clone())
            {
                return Err(PackageError::usage(
                    format!(
                        "\"{}\" and \"{}\" are both {name} {version} for {platform}",
                        other.file, offer.file
                    ),
                    "take one of them out of the folder",
                ));
            }
        }
        plugins.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        let index = Self {
            format: package::FORMAT,
            plugins,
        };
        let mut text = serde_json::to_vec_pretty(&index).unwrap_or_default();
        text.push(b'\n');
        atomic::write_file(&dir.join(INDEX), &text)?;
        Ok(index)
    }
}
