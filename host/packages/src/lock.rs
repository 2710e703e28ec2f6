//! The lock file of a project: exactly which packages it works with, on every platform.
//!
//! It stands beside `dsperse.toml` and is meant to be shared. Its digests, and the keys that
//! signed the packages when they were first added, are what `plugin install` believes.

use crate::error::{At, PackageError, Result};
use crate::index::Offer;
use crate::installed::Package;
use crate::keys::Key;
use crate::package::platform;
use dsperse_store::atomic;
use semver::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Name of the file.
pub const LOCK_FILE: &str = "dsperse-plugins.lock";
const FORMAT: u32 = 1;
const HEAD: &str = "# Written by \"dsperse plugin\": which backends this project works with, on every platform.\n# Share it: \"dsperse plugin install\" installs exactly these.\n";

/// The lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    format: u32,
    /// Every locked backend, by name.
    #[serde(default, rename = "plugin")]
    pub plugins: Vec<Entry>,
}

/// A locked backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// Where its packages are.
    pub source: String,
    /// The key that must have signed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// The package of each platform.
    pub platforms: BTreeMap<String, Offer>,
}

impl Default for LockFile {
    fn default() -> Self {
        Self {
            format: FORMAT,
            plugins: Vec::new(),
        }
    }
}

impl LockFile {
    /// Reads a lock file; `None` when there is none.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let refused = |why: String| {
            let hint = "take it back from your version control, or write it anew with \"dsperse plugin lock\"";
            PackageError::refused(format!("the lock file \"{}\"", path.display()), why, hint)
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).at("read", path),
        };
        let lock: Self = toml::from_str(&text).map_err(|e| refused(e.message().to_owned()))?;
        if lock.format != FORMAT {
            return Err(refused(format!(
                "its format is {}, this program knows {FORMAT}",
                lock.format
            )));
        }
        let mut names: Vec<&str> = lock.plugins.iter().map(|p| p.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
            return Err(refused(format!("\"{}\" is locked twice", twice[0])));
        }
        Ok(Some(lock))
    }

    /// Writes the file, when it says something else than is there.
    ///
    /// # Errors
    /// When the disk refuses; then it is as it was.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut portable = self.clone();
        // A folder of the project is elsewhere on another machine.
        let dir = std::path::absolute(path).ok();
        let dir = dir.as_deref().and_then(Path::parent);
        let dir = dir.and_then(|d| d.canonicalize().ok());
        for plugin in &mut portable.plugins {
            let below = dir
                .as_deref()
                .and_then(|d| Path::new(&plugin.source).strip_prefix(d).ok());
            let below = below.and_then(Path::to_str).map(str::to_owned);
            if let Some(below) = below {
                plugin.source = if below.is_empty() {
                    ".".to_owned()
                } else {
                    below
                };
            }
        }
        let text = format!(
            "{HEAD}{}",
            toml::to_string_pretty(&portable).unwrap_or_default()
        );
        if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        Ok(atomic::write_file(path, text.as_bytes())?)
    }

    /// Locks an installed version in place of what was locked of this backend.
    pub fn set(&mut self, name: &str, version: &Version, package: &Package) {
        let mut platforms = package.platforms.clone();
        // Also where the package came without an index.
        platforms.insert(
            platform(),
            Offer {
                file: package.file.clone(),
                sha256: package.sha256.clone(),
            },
        );
        self.remove(name);
        self.plugins.push(Entry {
            name: name.to_owned(),
            version: version.clone(),
            source: package.source.clone(),
            key: package.key.clone(),
            platforms,
        });
        self.plugins.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// Takes a backend out.
    pub fn remove(&mut self, name: &str) {
        self.plugins.retain(|p| p.name != name);
    }
}
