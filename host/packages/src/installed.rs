//! What is installed: versions side by side in folders of their own, and one file that says
//! which are there and which is active. A version counts only when that file names it, and
//! the file is replaced as a whole.
//!
//! ```text
//! DATA/dsperse/packages/
//!   installed.json
//!   trust.toml
//!   store/NAME/VERSION-<digest>/   what was in the package
//!   store/.new-…                   what is being made; the next command clears it away
//! ```

use crate::error::{At, PackageError, Result};
use crate::index::Offer;
use crate::keys::{Key, Trust};
use dsperse_store::{Access, Lock, atomic};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Version of the file's format.
const FORMAT: u32 = 1;
/// Prefix of what is being made.
pub(crate) const NEW: &str = ".new-";

/// What is installed of all backends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    format: u32,
    /// By name.
    pub plugins: BTreeMap<String, Installed>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            format: FORMAT,
            plugins: BTreeMap::new(),
        }
    }
}

/// What is installed of one backend.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// The version that the name means.
    pub active: Option<Version>,
    /// The version that was active before: where `rollback` goes.
    #[serde(default)]
    pub previous: Option<Version>,
    /// Every version.
    pub versions: BTreeMap<Version, Package>,
}

/// An installed version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Where it came from.
    pub source: String,
    /// Its file there.
    pub file: String,
    /// SHA-256 of the package.
    pub sha256: String,
    /// The key that signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// The packages of this version for other platforms, as the index had them.
    #[serde(default)]
    pub platforms: BTreeMap<String, Offer>,
    /// Its folder, below `store`.
    pub dir: String,
    /// File name of the library in it.
    pub library: String,
    /// SHA-256 of the library.
    pub library_sha256: String,
}

/// The user's packages.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

impl Root {
    /// The packages below a user's data directory.
    #[must_use]
    pub fn below(data_home: &Path) -> Self {
        Self(data_home.join("dsperse").join("packages"))
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn state_file(&self) -> PathBuf {
        self.0.join("installed.json")
    }

    fn trust_file(&self) -> PathBuf {
        self.0.join("trust.toml")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// Where a version's library lies.
    #[must_use]
    pub fn library(&self, package: &Package) -> PathBuf {
        self.store().join(&package.dir).join(&package.library)
    }

    /// What is installed.
    ///
    /// # Errors
    /// When the file is there and can't be read.
    pub fn state(&self) -> Result<State> {
        let path = self.state_file();
        let wrong = |why: String| {
            let hint = "move the file away: then nothing counts as installed, and \"dsperse plugin install\" or \"add\" make it anew";
            PackageError::refused(format!("\"{}\"", path.display()), why, hint)
        };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(State::default()),
            Err(e) => return Err(e).at("read", &path),
        };
        let state: State = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        if state.format != FORMAT {
            return Err(wrong(format!(
                "its format is {}, this program knows {FORMAT}",
                state.format
            )));
        }
        Ok(state)
    }

    /// The keys that are pinned.
    ///
    /// # Errors
    /// When the file is there and can't be read.
    pub fn trust(&self) -> Result<Trust> {
        let path = self.trust_file();
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|e| {
                let hint = "correct the file, or move it away and pin the keys again";
                PackageError::refused(format!("\"{}\"", path.display()), e.message(), hint)
            }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Trust::default()),
            Err(e) => Err(e).at("read", &path),
        }
    }

    /// Takes the right to change anything, without waiting for it, and clears away what
    /// commands that died left behind.
    ///
    /// # Errors
    /// When another command has it.
    pub fn lock(&self) -> Result<Locked<'_>> {
        let store = self.store();
        fs::create_dir_all(&store).at("create", &store)?;
        let lock = Lock::acquire(&self.0, Access::Edit)?;
        let locked = Locked {
            root: self,
            _lock: lock,
        };
        locked.clear();
        Ok(locked)
    }
}

/// The right to change what is installed.
pub struct Locked<'a> {
    pub(crate) root: &'a Root,
    _lock: Lock,
}

impl Locked<'_> {
    /// Writes what is installed.
    ///
    /// # Errors
    /// When the disk refuses; then it is as it was.
    pub fn write(&self, state: &State) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(state).unwrap_or_default();
        text.push(b'\n');
        Ok(atomic::write_file(&self.root.state_file(), &text)?)
    }

    /// Writes the pinned keys.
    ///
    /// # Errors
    /// When the disk refuses; then they are as they were.
    pub fn write_trust(&self, trust: &Trust) -> Result<()> {
        let text = toml::to_string_pretty(trust).unwrap_or_default();
        Ok(atomic::write_file(
            &self.root.trust_file(),
            text.as_bytes(),
        )?)
    }

    /// Removes folders that no version needs. What can't be removed stays until next time.
    pub fn clear(&self) {
        let Ok(state) = self.root.state() else {
            return;
        };
        let needed: Vec<PathBuf> = state
            .plugins
            .values()
            .flat_map(|p| p.versions.values())
            .map(|v| self.root.store().join(&v.dir))
            .collect();
        let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
        for name in entries(&self.root.store()) {
            if name.file_name().to_string_lossy().starts_with(NEW) {
                let _ = fs::remove_dir_all(name.path());
                continue;
            }
            for version in entries(&name.path()) {
                if !needed.contains(&version.path()) {
                    let _ = fs::remove_dir_all(version.path());
                }
            }
            // Only when it is empty.
            let _ = fs::remove_dir(name.path());
        }
    }
}
