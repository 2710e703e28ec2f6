//! What the host remembers between runs, in its cache directory:
//!
//! ```text
//! v1/
//!   libraries.json       path → size, time, SHA-256: so that a library is hashed once
//!   quarantine.json      libraries that crashed
//!   api-1.0.0/           what was read with this version of the documents:
//!     describe/<digest>.json         descriptions, by the library's SHA-256
//!     supports/<digest>/<key>.json   answers of `supports`, unless tools have a say in them
//! ```
//!
//! All of it can be deleted at any time. A file that can't be read counts as absent, and
//! one that can't be written costs time later, never a failure now. Without a directory
//! everything is kept in memory.

use dsperse_plugin_api::descriptor::API_VERSION_TEXT;
use dsperse_plugin_api::{Descriptor, Support};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Changes when the meaning of these files does.
const VERSION: &str = "v2";

/// By what a file is recognised as unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    size: u64,
    mtime: i64,
    mtime_nanos: i64,
    /// The time of change, which no program can set.
    ctime: i64,
    ctime_nanos: i64,
    inode: u64,
}

impl Stamp {
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let meta = std::fs::metadata(path)?;
        Ok(Self {
            size: meta.size(),
            mtime: meta.mtime(),
            mtime_nanos: meta.mtime_nsec(),
            ctime: meta.ctime(),
            ctime_nanos: meta.ctime_nsec(),
            inode: meta.ino(),
        })
    }

    /// For the quarantine a copy of the file elsewhere is the same file.
    fn same_content(&self, other: &Self) -> bool {
        (self.size, self.mtime, self.mtime_nanos) == (other.size, other.mtime, other.mtime_nanos)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Hashed {
    stamp: Stamp,
    digest: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Banned {
    stamp: Stamp,
    reason: String,
}

/// Libraries that crashed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Quarantine {
    /// By path: crashed when it was loaded or described.
    loads: BTreeMap<PathBuf, Banned>,
    /// By digest: crashes in calls since the last good one.
    calls: BTreeMap<String, u32>,
}

/// The answer of a library to `describe`, and how it was reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Described {
    pub(crate) descriptor: Descriptor,
    /// Through which door.
    pub(crate) door: String,
}

/// The host's memory; threads share it.
#[derive(Debug)]
pub(crate) struct State {
    root: Option<PathBuf>,
    libraries: Mutex<BTreeMap<PathBuf, Hashed>>,
    quarantine: Mutex<Quarantine>,
    supports: Mutex<HashMap<(String, String), Support>>,
}

impl State {
    pub(crate) fn open(cache_dir: Option<&Path>) -> Self {
        let root = cache_dir.map(|dir| dir.join(VERSION));
        let load = |name: &str| root.as_ref().map(|root| root.join(name));
        Self {
            libraries: Mutex::new(read(load("libraries.json")).unwrap_or_default()),
            quarantine: Mutex::new(read(load("quarantine.json")).unwrap_or_default()),
            supports: Mutex::new(HashMap::new()),
            root,
        }
    }

    /// SHA-256 of a library, from memory when the file is unchanged.
    pub(crate) fn digest(&self, path: &Path) -> io::Result<(Stamp, String)> {
        let stamp = Stamp::of(path)?;
        if let Some(known) = lock(&self.libraries).get(path)
            && known.stamp == stamp
        {
            return Ok((stamp, known.digest.clone()));
        }
        let (_, digest) = hash_file(path)?;
        let mut libraries = lock(&self.libraries);
        libraries.retain(|path, _| path.exists());
        let hashed = Hashed {
            stamp: stamp.clone(),
            digest: digest.clone(),
        };
        libraries.insert(path.to_path_buf(), hashed);
        self.save("libraries.json", &*libraries);
        Ok((stamp, digest))
    }

    pub(crate) fn described(&self, digest: &str) -> Option<Described> {
        let name = format!("api-{API_VERSION_TEXT}/describe/{digest}.json");
        read(Some(self.root.as_ref()?.join(name)))
    }

    pub(crate) fn remember_description(&self, digest: &str, described: &Described) {
        let name = format!("api-{API_VERSION_TEXT}/describe/{digest}.json");
        self.save(&name, described);
    }

    /// An answer of `supports`; one from an earlier run only when `lasting`.
    pub(crate) fn supports(&self, digest: &str, key: &str, lasting: bool) -> Option<Support> {
        let memory = (digest.to_owned(), key.to_owned());
        if let Some(support) = lock(&self.supports).get(&memory) {
            return Some(support.clone());
        }
        let name = format!("api-{API_VERSION_TEXT}/supports/{digest}/{key}.json");
        read(Some(self.root.as_ref().filter(|_| lasting)?.join(name)))
    }

    /// Remembers an answer of `supports`, for later runs only when `lasting`.
    pub(crate) fn remember_supports(
        &self,
        digest: &str,
        key: &str,
        support: &Support,
        lasting: bool,
    ) {
        lock(&self.supports).insert((digest.to_owned(), key.to_owned()), support.clone());
        if lasting {
            let name = format!("api-{API_VERSION_TEXT}/supports/{digest}/{key}.json");
            self.save(&name, support);
        }
    }

    /// Bans a library that crashed when it was loaded, until it changes.
    pub(crate) fn ban(&self, path: &Path, reason: &str) {
        let Ok(stamp) = Stamp::of(path) else { return };
        let mut quarantine = lock(&self.quarantine);
        let banned = Banned {
            stamp,
            reason: reason.to_owned(),
        };
        quarantine.loads.insert(path.to_path_buf(), banned);
        self.save("quarantine.json", &*quarantine);
    }

    /// Why a library is banned, if it is and has not changed.
    pub(crate) fn banned(&self, path: &Path) -> Option<String> {
        let stamp = Stamp::of(path).ok()?;
        let mut quarantine = lock(&self.quarantine);
        let banned = quarantine.loads.get(path)?;
        if banned.stamp.same_content(&stamp) {
            return Some(banned.reason.clone());
        }
        quarantine.loads.remove(path);
        self.save("quarantine.json", &*quarantine);
        None
    }

    /// Counts a crash in a call; returns how many there were in a row.
    pub(crate) fn count_crash(&self, digest: &str) -> u32 {
        let mut quarantine = lock(&self.quarantine);
        let count = quarantine.calls.entry(digest.to_owned()).or_default();
        *count = count.saturating_add(1);
        let count = *count;
        self.save("quarantine.json", &*quarantine);
        count
    }

    /// Crashes of a library in a row.
    pub(crate) fn crashes(&self, digest: &str) -> u32 {
        lock(&self.quarantine)
            .calls
            .get(digest)
            .copied()
            .unwrap_or(0)
    }

    /// A good call ends the row.
    pub(crate) fn forgive(&self, digest: &str) {
        let mut quarantine = lock(&self.quarantine);
        if quarantine.calls.remove(digest).is_some() {
            self.save("quarantine.json", &*quarantine);
        }
    }

    /// Empties the quarantine; returns how many libraries were in it.
    pub(crate) fn reset_quarantine(&self, threshold: u32) -> io::Result<usize> {
        let mut quarantine = lock(&self.quarantine);
        let banned = quarantine.loads.len();
        let crashed = quarantine.calls.values().filter(|n| **n >= threshold);
        let count = banned + crashed.count();
        *quarantine = Quarantine::default();
        if let Some(root) = &self.root {
            match std::fs::remove_file(root.join("quarantine.json")) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(count)
    }

    /// Writes a file as a whole or not at all.
    fn save<T: Serialize>(&self, name: &str, value: &T) {
        let Some(root) = &self.root else { return };
        let path = root.join(name);
        let result = (|| -> io::Result<()> {
            let dir = path.parent().unwrap_or(root);
            std::fs::create_dir_all(dir)?;
            let mut file = tempfile::NamedTempFile::new_in(dir)?;
            serde_json::to_writer(&mut file, value)?;
            file.flush()?;
            file.persist(&path)?;
            Ok(())
        })();
        // See the head of this module.
        drop(result);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T: DeserializeOwned>(path: Option<PathBuf>) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path?).ok()?).ok()
}

/// Size and SHA-256 (lower-case hex) of a file.
pub(crate) fn hash_file(path: &Path) -> io::Result<(u64, String)> {
    hash_file_while(path, &|| Ok::<(), io::Error>(()))
}

/// The same, as long as `go_on` says so, which is asked after each quarter of a megabyte.
pub(crate) fn hash_file_while<E: From<io::Error>>(
    path: &Path,
    go_on: &dyn Fn() -> Result<(), E>,
) -> Result<(u64, String), E> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0u64;
    loop {
        go_on()?;
        match file.read(&mut buffer) {
            Ok(0) => return Ok((size, hex::encode(hasher.finalize()))),
            Ok(n) => {
                hasher.update(buffer.get(..n).unwrap_or_default());
                size += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_holds_until_the_file_changes_and_survives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("lib.so");
        std::fs::write(&library, b"one").unwrap();
        let cache = dir.path().join("cache");
        State::open(Some(&cache)).ban(&library, "it crashed");
        let state = State::open(Some(&cache));
        assert_eq!(state.banned(&library).as_deref(), Some("it crashed"));
        std::fs::write(&library, b"three").unwrap();
        assert_eq!(state.banned(&library), None);
        assert_eq!(State::open(Some(&cache)).banned(&library), None);
    }

    #[test]
    fn crashes_are_counted_in_a_row_and_can_be_reset() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(Some(dir.path()));
        assert_eq!(state.count_crash("d"), 1);
        assert_eq!(state.count_crash("d"), 2);
        assert_eq!(State::open(Some(dir.path())).crashes("d"), 2);
        state.forgive("d");
        assert_eq!(state.crashes("d"), 0);
        state.count_crash("d");
        assert_eq!(state.reset_quarantine(1).unwrap(), 1);
        assert_eq!(State::open(Some(dir.path())).crashes("d"), 0);
    }

    #[test]
    fn digests_follow_the_content() {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("lib.so");
        std::fs::write(&library, b"abc").unwrap();
        let state = State::open(Some(&dir.path().join("cache")));
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(state.digest(&library).unwrap().1, abc);
        std::fs::write(&library, b"abcd").unwrap();
        assert_ne!(state.digest(&library).unwrap().1, abc);
        // Of the same size, and made to look as old: the time of change can't be set.
        std::fs::write(&library, b"abc").unwrap();
        assert_eq!(state.digest(&library).unwrap().1, abc);
        let modified = std::fs::metadata(&library).unwrap().modified().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::fs::write(&library, b"abd").unwrap();
        let file = std::fs::File::options().write(true).open(&library).unwrap();
        file.set_modified(modified).unwrap();
        assert_ne!(state.digest(&library).unwrap().1, abc);
    }

    #[test]
    fn a_damaged_cache_counts_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let described = format!("{VERSION}/api-{API_VERSION_TEXT}/describe");
        std::fs::create_dir_all(dir.path().join(&described)).unwrap();
        let quarantine = dir.path().join(VERSION).join("quarantine.json");
        std::fs::write(quarantine, b"{{{").unwrap();
        std::fs::write(dir.path().join(described).join("d.json"), b"[]").unwrap();
        let state = State::open(Some(dir.path()));
        assert_eq!(state.crashes("d"), 0);
        assert!(state.described("d").is_none());
    }
}
