//! Single files that are replaced in one step.
//!
//! A file is written under a temporary name in its own directory, synced, and renamed;
//! then the directory is synced. A reader sees the old bytes or the new ones.

use crate::files::error::{BundleError, IoContext, Result};
use dsperse_archive::Limits;
use dsperse_documents::Document;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Prefix of temporary files. A crash can leave some; [`clean_leftovers`] removes them.
pub(crate) const TMP_PREFIX: &str = ".dsperse-tmp-";

/// A place where the tests of crash safety end the process. Does nothing elsewhere.
pub(crate) fn crash_point() {
    #[cfg(test)]
    crate::crash_tests::crash_point();
}

/// The error without the temporary name, which says nothing to the user.
fn without_path(e: io::Error) -> io::Error {
    match e.to_string().split_once(" at path ") {
        Some((what, _)) => io::Error::new(e.kind(), what.to_owned()),
        None => e,
    }
}

/// A file that appears under its name only when it is complete.
#[derive(Debug)]
pub struct AtomicFile {
    tmp: tempfile::NamedTempFile,
    target: PathBuf,
}

impl AtomicFile {
    /// Starts a file. Nothing is visible at `target` before [`AtomicFile::commit`].
    ///
    /// # Errors
    /// When the directory can't be written to.
    pub fn create(target: &Path) -> Result<Self> {
        let dir = parent_of(target);
        let prefix = tmp_prefix(target);
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // Temporary files are private by default; this one will be the user's.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        loop {
            let tmp = builder
                .tempfile_in(&dir)
                .map_err(without_path)
                .at("create a file in", &dir)?;
            // Held until the file is complete: a temporary file that nobody holds is of a
            // command that died. One that was taken for such before it was locked is given up.
            let taken = matches!(tmp.as_file().try_lock(), Err(TryLockError::WouldBlock));
            if !taken && tmp.path().exists() {
                let target = target.to_owned();
                return Ok(Self { tmp, target });
            }
        }
    }

    /// The open file.
    pub fn file(&mut self) -> &mut File {
        self.tmp.as_file_mut()
    }

    /// Syncs the file and puts it in place of what was there.
    ///
    /// # Errors
    /// When the disk is full or the rename is refused; the old file stays.
    pub fn commit(self) -> Result<()> {
        let dir = parent_of(&self.target);
        self.put_in_place()?;
        sync_dir(&dir)
    }

    /// As [`AtomicFile::commit`], for the first of several files of one directory: that the
    /// name is there is durable only after the last one's commit.
    pub(crate) fn put_in_place(self) -> Result<()> {
        self.tmp.as_file().sync_all().at("write", &self.target)?;
        self.put_in_place_unsynced()
    }

    /// Puts the file in place without waiting for the disk: whole for every reader, but a
    /// power failure may take it away or leave it empty. For what can be made again.
    pub(crate) fn put_in_place_unsynced(self) -> Result<()> {
        let Self { tmp, target } = self;
        crash_point();
        tmp.persist(&target)
            .map_err(|e| e.error)
            .at("replace", &target)?;
        crash_point();
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.tmp.as_file_mut().write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.tmp.as_file_mut().flush()
    }
}

/// Writes a whole file in one step. What commands that died left of the same file goes away.
///
/// # Errors
/// As [`AtomicFile`].
pub fn write_file(target: &Path, bytes: &[u8]) -> Result<()> {
    clean_abandoned(target);
    let mut f = AtomicFile::create(target)?;
    f.write_all(bytes).at("write", target)?;
    f.commit()
}

/// Writes a document in one step.
///
/// # Errors
/// As [`AtomicFile`].
pub fn write_document<D: Document>(target: &Path, document: &D) -> Result<()> {
    let bytes = document_bytes(target, document)?;
    write_file(target, &bytes)
}

pub(crate) fn document_bytes<D: Document>(target: &Path, document: &D) -> Result<Vec<u8>> {
    document.to_json().map_err(|e| BundleError::Document {
        path: target.to_owned(),
        source: Box::new(e),
    })
}

/// Reads a document.
///
/// # Errors
/// When the file is missing, too large, no JSON, of a newer major schema, or wrong.
pub fn read_document<D: Document>(path: &Path) -> Result<D> {
    let limit = Limits::default().document_bytes;
    let size = fs::metadata(path).at("read", path)?.len();
    if size > limit {
        return Err(BundleError::inconsistent(
            path,
            format!("the document has {size} bytes, at most {limit} are read"),
        ));
    }
    let bytes = fs::read(path).at("read", path)?;
    parse_document(path, &bytes)
}

pub(crate) fn parse_document<D: Document>(path: &Path, bytes: &[u8]) -> Result<D> {
    D::parse(bytes).map_err(|e| BundleError::Document {
        path: path.to_owned(),
        source: Box::new(e),
    })
}

/// The directory that holds `path`.
pub(crate) fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A temporary directory for what only this process uses; it goes away with the value.
pub(crate) fn scratch_in(parent: &Path, prefix: &str) -> Result<TempDir> {
    let made = tempfile::Builder::new().prefix(prefix).tempdir_in(parent);
    made.at("create a directory in", parent)
}

/// A temporary directory that will be moved into place. Temporary directories are private by
/// default; this one will be the user's.
pub(crate) fn staged_dir(parent: &Path, prefix: &str) -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o777));
    }
    builder
        .tempdir_in(parent)
        .at("create a directory in", parent)
}

/// Makes renames in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    #[cfg(unix)]
    File::open(dir).and_then(|d| d.sync_all()).at("sync", dir)?;
    let _ = dir;
    Ok(())
}

/// Makes a directory and everything in it durable.
pub(crate) fn sync_tree(path: &Path) -> Result<()> {
    let meta = fs::symlink_metadata(path).at("read", path)?;
    if meta.is_dir() {
        for entry in fs::read_dir(path).at("read", path)? {
            sync_tree(&entry.at("read", path)?.path())?;
        }
        sync_dir(path)
    } else if meta.is_file() {
        File::open(path).and_then(|f| f.sync_all()).at("sync", path)
    } else {
        Ok(())
    }
}

/// Prefix of the temporary files of `target`.
pub(crate) fn tmp_prefix(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let name: String = name.chars().take(50).collect();
    format!("{TMP_PREFIX}{name}-")
}

/// Removes temporary files that a crashed command left in a directory that is ours as a
/// whole. Call it only under the lock of what lies there.
pub(crate) fn clean_leftovers(dir: &Path) {
    clean(dir, |name| name.starts_with(TMP_PREFIX));
}

/// Removes what a crashed command left in a shared directory under names that begin with
/// `prefix` and end in random letters. The caller's lock says that no other command is
/// using such names.
pub(crate) fn clean_prefixed(dir: &Path, prefix: &str) {
    clean(dir, |name| is_made_from(name, prefix));
}

fn is_made_from(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// Removes the temporary files of `target` that no process holds. Needs no lock, so it also
/// serves for files that several commands may write, and in directories of the user.
pub(crate) fn clean_abandoned(target: &Path) {
    let prefix = tmp_prefix(target);
    let Ok(entries) = fs::read_dir(parent_of(target)) else {
        return;
    };
    for entry in entries.flatten() {
        // Anything but a file is not ours, and opening it could wait for ever.
        let ours = is_made_from(&entry.file_name().to_string_lossy(), &prefix)
            && entry.file_type().is_ok_and(|t| t.is_file());
        if let Some(file) = ours.then(|| File::open(entry.path()).ok()).flatten()
            && file.try_lock().is_ok()
        {
            let _ = remove(&entry.path());
        }
    }
}

fn clean(dir: &Path, is_leftover: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if is_leftover(&entry.file_name().to_string_lossy()) {
            // Another attempt is made at the next open.
            let _ = remove(&entry.path());
        }
    }
}

/// Removes a file or directory if it is there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let result = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => Err(e),
        Ok(m) if m.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    result.at("remove", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_holds_goes_away_and_what_is_being_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("output.json");
        let mut living = AtomicFile::create(&target).unwrap();
        living.write_all(b"slow").unwrap();
        let others = [
            ".dsperse-tmp-other.json-abc123",
            ".dsperse-tmp-output.json-my notes",
        ];
        for name in [".dsperse-tmp-output.json-abc123", others[0], others[1]] {
            fs::write(dir.path().join(name), "dead").unwrap();
        }
        write_file(&target, b"quick").unwrap();
        let names = crate::fixture::listing(dir.path());
        let living_name = living.tmp.path().file_name().unwrap().to_str().unwrap();
        let mut expected = vec![others[0], others[1], living_name, "output.json"];
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(fs::read(&target).unwrap(), b"quick");
        living.commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"slow");
    }
}
