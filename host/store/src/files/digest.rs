//! Digests of files.

use crate::files::error::{BundleError, IoContext, Result};
use crate::files::mutex::lock;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, SystemTime};

/// A file that changed less than this ago may change again without its times showing it:
/// the coarsest clock of a file system in use ticks every two seconds.
const SETTLED: Duration = Duration::from_secs(2);

/// Size and SHA-256 (lower-case hex) of a file, in constant memory.
///
/// # Errors
/// When the file can't be read.
pub fn file_digest(path: &Path) -> Result<(u64, String)> {
    copy_hashing(path, &mut io::sink())
}

/// Copies a file, in constant memory. Size and SHA-256 are those of the very bytes that were
/// written.
///
/// # Errors
/// When the file can't be read, or the copy not written.
pub fn copy_hashing(path: &Path, out: &mut dyn Write) -> Result<(u64, String)> {
    let mut file = File::open(path).at("read", path)?;
    let mut hash = Sha256::new();
    let mut buf = vec![0u8; dsperse_archive::CHUNK];
    let mut size = 0u64;
    loop {
        let n = file.read(&mut buf).at("read", path)?;
        if n == 0 {
            return Ok((size, hex::encode(hash.finalize())));
        }
        size += n as u64;
        let chunk = buf.get(..n).unwrap_or_default();
        hash.update(chunk);
        out.write_all(chunk).at("write a copy of", path)?;
    }
}

/// As [`file_digest`], but a file that this process has read before is not read again when
/// it is the same file of the same size and has not been touched since. Several stages of
/// one command look at the same slices. Nothing is kept from one command to the next, so a
/// verdict rests on what `verify` itself has read.
///
/// # Errors
/// When the file can't be read.
pub fn known_digest(path: &Path) -> Result<(u64, String)> {
    let before = Stamp::of(&fs::metadata(path).at("read", path)?);
    if let Some((stamp, digest)) = lock(&KNOWN).get(path)
        && *stamp == before
    {
        return Ok(digest.clone());
    }
    let digest = file_digest(path)?;
    let after = Stamp::of(&fs::metadata(path).at("read", path)?);
    if after == before && before.settled() {
        lock(&KNOWN).insert(path.to_owned(), (before, digest.clone()));
    }
    Ok(digest)
}

/// Compares a file's size and digest with what is recorded of it.
pub(crate) fn compare(
    what: &str,
    path: &Path,
    (size, sha256): (u64, &str),
    (found_size, found): &(u64, String),
) -> Result<()> {
    let changed = |field, expected: String, found: String| BundleError::Changed {
        what: what.to_owned(),
        path: path.to_owned(),
        field,
        expected,
        found,
    };
    if *found_size != size {
        return Err(changed("size", size.to_string(), found_size.to_string()));
    }
    if found != sha256 {
        return Err(changed("SHA-256", sha256.to_owned(), found.to_owned()));
    }
    Ok(())
}

type Known = HashMap<PathBuf, (Stamp, (u64, String))>;
static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// What changes when a file is replaced or written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
    /// Device and inode.
    #[cfg(unix)]
    file: (u64, u64),
    /// Seconds and nanoseconds of the last change of any kind, which no program can set.
    #[cfg(unix)]
    changed: (i64, i64),
}

impl Stamp {
    fn of(m: &Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        Self {
            size: m.len(),
            modified: m.modified().ok(),
            #[cfg(unix)]
            file: (m.dev(), m.ino()),
            #[cfg(unix)]
            changed: (m.ctime(), m.ctime_nsec()),
        }
    }

    /// Whether the last change is long enough ago that another would show.
    fn settled(&self) -> bool {
        let old = |t: SystemTime| t.elapsed().is_ok_and(|age| age > SETTLED);
        #[cfg(unix)]
        let changed = u64::try_from(self.changed.0)
            .ok()
            .and_then(|s| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(s + 1)));
        #[cfg(not(unix))]
        let changed = self.modified;
        self.modified.is_some_and(old) && changed.is_some_and(old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settled_files_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        for content in ["one", "two", "six"] {
            fs::write(&path, content).unwrap();
            // Any program can make a file look old; when that was done can't be hidden.
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!(known_digest(&path).unwrap(), file_digest(&path).unwrap());
            #[cfg(unix)]
            assert!(!lock(&KNOWN).contains_key(&path));
        }
        // Older than this build.
        let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let digest = known_digest(&old).unwrap();
        assert_eq!(digest, file_digest(&old).unwrap());
        assert_eq!(lock(&KNOWN)[&old].1, digest);
    }

    #[test]
    fn settled_files_are_read_once_until_they_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "one").unwrap();
        let stamp = || Stamp::of(&fs::metadata(&path).unwrap());
        let remembered = (3, "remembered".to_owned());
        lock(&KNOWN).insert(path.clone(), (stamp(), remembered.clone()));
        assert_eq!(known_digest(&path).unwrap(), remembered);
        fs::write(&path, "other").unwrap();
        assert_eq!(known_digest(&path).unwrap(), file_digest(&path).unwrap());
        // Another file of the same size and time in its place.
        lock(&KNOWN).insert(path.clone(), (stamp(), remembered));
        let times = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(dir.path().join("y"), "OTHER").unwrap();
        let other = File::options()
            .write(true)
            .open(dir.path().join("y"))
            .unwrap();
        other.set_modified(times).unwrap();
        fs::rename(dir.path().join("y"), &path).unwrap();
        assert_eq!(known_digest(&path).unwrap(), file_digest(&path).unwrap());
    }
}
