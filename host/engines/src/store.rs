//! The shared directory.
//!
//! ```text
//! sha256/ab/<digest>             every input once, read-only
//! jobs/<key>/job.json            what to do
//!            bounds.json         threads, time, memory of the next try
//!            ticket.json         what the engine calls the running try
//!            cancelled           there when nobody wants the result any more
//!            attempts/<name>/    out/, events.jsonl, end.json: one try's own
//!            result.json         published once, by a link that replaces nothing
//! batches/<name>/                what an engine submits several jobs with
//! ```
//!
//! It is the coordinator's only memory: what is killed is started again and finds here what
//! was finished and what still runs. Both sides take it for written by somebody else.

use crate::document::{JobDocument, JobResult};
use dsperse_documents::Document;
use dsperse_documents::digest::is_sha256_hex;
use dsperse_jobs::error::{Error, Result};
use dsperse_jobs::job::{Files, Job};
use dsperse_store::{atomic, copy_hashing, file_digest};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A directory that coordinator and nodes see.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store at a place, made when it is not there.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn create(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).map_err(|e| Error::io("find the store", root, &e))?;
        for part in ["sha256", "jobs", "batches"] {
            let dir = root.join(part);
            fs::create_dir_all(&dir).map_err(|e| Error::io("create the store", &dir, &e))?;
        }
        Ok(Self { root })
    }

    /// The store at a place where one was made.
    #[must_use]
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the bytes with this digest are.
    #[must_use]
    pub fn content(&self, sha256: &str) -> PathBuf {
        let bucket = sha256.get(..2).unwrap_or("00");
        self.root.join("sha256").join(bucket).join(sha256)
    }

    /// A job's directory.
    #[must_use]
    pub fn job(&self, key: &str) -> JobDir {
        JobDir {
            path: self.root.join("jobs").join(key),
        }
    }

    /// Puts every input of a job there. With `again`, what is there is read and replaced
    /// where it is damaged.
    ///
    /// # Errors
    /// When an input is not what the job says, or the store can't be written to.
    pub fn put_inputs(&self, job: &Job, files: &Files, again: bool) -> Result<()> {
        for (name, sha256) in job.files() {
            let from = files.get(name, sha256).ok_or_else(|| {
                Error::bad_input(format!("the file \"{name}\" of this slice is missing"))
            })?;
            self.put(name, from, sha256, again)?;
        }
        Ok(())
    }

    fn put(&self, name: &str, from: &Path, sha256: &str, again: bool) -> Result<()> {
        if !is_sha256_hex(sha256) {
            return Err(Error::bad_input(format!(
                "the digest of \"{name}\" is not a SHA-256: \"{sha256}\""
            )));
        }
        let target = self.content(sha256);
        let size = |path: &Path| fs::metadata(path).map(|m| m.len()).ok();
        let there = size(&target).is_some() && size(&target) == size(from);
        let good = there && (!again || file_digest(&target).is_ok_and(|(_, d)| d == sha256));
        if good {
            return Ok(());
        }
        let dir = target.parent().unwrap_or(&self.root);
        make(dir)?;
        let mut copy = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(dir)
            .map_err(|e| Error::io("create a file in", dir, &e))?;
        let (_, found) = copy_hashing(from, copy.as_file_mut())?;
        copy.as_file()
            .sync_all()
            .map_err(|e| Error::io("write", &target, &e))?;
        if found != sha256 {
            return Err(Error::bad_input(format!(
                "the file of \"{name}\" was changed: expected SHA-256 {sha256}, found {found}"
            )));
        }
        read_only(copy.as_file()).map_err(|e| Error::io("write", &target, &e))?;
        copy.persist(&target)
            .map_err(|e| Error::io("write", &target, &e.error))?;
        Ok(())
    }

    /// Removes those of these inputs that no job in the store names. A job that another
    /// command is about to make may lose one; it finds out and puts it there again.
    pub fn forget(&self, digests: &BTreeSet<String>) {
        let mut needed = BTreeSet::new();
        let jobs = match fs::read_dir(self.root.join("jobs")) {
            Ok(jobs) => Some(jobs),
            // Where no job is, none needs them.
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(_) => return,
        };
        for entry in jobs.into_iter().flatten() {
            let Ok(entry) = entry else { return };
            let dir = JobDir { path: entry.path() };
            if let Ok(document) = dir.document() {
                needed.extend(document.job.files().into_iter().map(|(_, d)| d.to_owned()));
            }
        }
        for digest in digests.difference(&needed) {
            let path = self.content(digest);
            let _ = fs::remove_file(&path);
            if let Some(bucket) = path.parent() {
                // Only when it is empty.
                let _ = fs::remove_dir(bucket);
            }
        }
    }
}

/// Makes a directory where there may be one. That it lies in is not made: a store that went away
/// would be made anew, on the disk of this machine.
fn make(dir: &Path) -> Result<()> {
    match fs::create_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Error::failed(format!(
            "the store is gone: \"{}\" can't be made in it",
            dir.display()
        ))),
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(Error::io("create", dir, &e)),
        _ => Ok(()),
    }
}

fn read_only(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(fs::Permissions::from_mode(0o444))
    }
    #[cfg(not(unix))]
    {
        let mut permissions = file.metadata()?.permissions();
        permissions.set_readonly(true);
        file.set_permissions(permissions)
    }
}

/// The directory of one job.
#[derive(Debug, Clone)]
pub struct JobDir {
    path: PathBuf,
}

impl JobDir {
    /// The job directory at a path.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// The file that says what to do.
    #[must_use]
    pub fn document_path(&self) -> PathBuf {
        self.path.join("job.json")
    }
    /// The file of threads, time and memory.
    #[must_use]
    pub fn bounds(&self) -> PathBuf {
        self.path.join("bounds.json")
    }
    /// The file that says that nobody wants the result any more.
    #[must_use]
    pub fn cancelled(&self) -> PathBuf {
        self.path.join("cancelled")
    }
    /// The file of what the engine calls the running try.
    #[must_use]
    pub fn ticket(&self) -> PathBuf {
        self.path.join("ticket.json")
    }
    /// The result.
    #[must_use]
    pub fn result_path(&self) -> PathBuf {
        self.path.join("result.json")
    }
    /// Where attempts have their directories.
    #[must_use]
    pub fn attempts(&self) -> PathBuf {
        self.path.join("attempts")
    }

    /// Makes the directory with its document.
    ///
    /// # Errors
    /// When the store can't be written to.
    pub fn create(&self, document: &JobDocument) -> Result<()> {
        make(&self.path)?;
        make(&self.attempts())?;
        Ok(atomic::write_document(&self.document_path(), document)?)
    }

    /// What to do.
    ///
    /// # Errors
    /// When the document can't be read.
    pub fn document(&self) -> Result<JobDocument> {
        Ok(atomic::read_document(&self.document_path())?)
    }

    /// What came of it, when something did.
    ///
    /// # Errors
    /// When the document can't be read.
    pub fn result(&self) -> Result<Option<JobResult>> {
        let path = self.result_path();
        match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read", &path, &e)),
            Ok(m) if !m.is_file() => Err(Error::bad_input(format!(
                "\"{}\" is not a regular file",
                path.display()
            ))),
            Ok(_) => Ok(Some(atomic::read_document(&path)?)),
        }
    }

    /// Publishes a result, unless there is one. Whether it became the result.
    ///
    /// # Errors
    /// When the store can't be written to.
    pub fn publish(&self, result: &JobResult) -> io::Result<bool> {
        let bytes = result.to_json().map_err(io::Error::other)?;
        let mut new = tempfile::Builder::new()
            .prefix(".result-")
            .tempfile_in(&self.path)?;
        new.write_all(&bytes)?;
        new.as_file().sync_all()?;
        // A link replaces nothing, also where a network file system has no such rename.
        match fs::hard_link(new.path(), self.result_path()) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(e) => return Err(e),
        }
        File::open(&self.path)?.sync_all()?;
        Ok(true)
    }

    /// Puts a result aside that is not believed, so that another can be published.
    ///
    /// # Errors
    /// When the store can't be written to.
    pub fn reject(&self) -> Result<()> {
        let path = self.result_path();
        fs::remove_file(&path).map_err(|e| Error::io("remove", &path, &e))
    }

    /// Removes the directory with everything in it.
    pub fn remove(&self) {
        if let Err(e) = fs::remove_dir_all(&self.path)
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("\"{}\" stays: {e}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Came, VERSION};
    use dsperse_plugin_api::Done;

    fn result(attempt: &str) -> JobResult {
        JobResult {
            schema: Default::default(),
            key: "k".into(),
            dsperse: VERSION.into(),
            backend_version: "1.0.0".into(),
            plugin_sha256: "p".into(),
            attempt: attempt.into(),
            host: "h".into(),
            usage: Default::default(),
            outcome: Came::Done(Done::default()),
        }
    }

    #[test]
    fn the_first_result_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let job = store.job("k");
        fs::create_dir_all(job.attempts()).unwrap();
        assert!(job.result().unwrap().is_none());
        assert!(job.publish(&result("a")).unwrap());
        assert!(!job.publish(&result("b")).unwrap());
        assert_eq!(job.result().unwrap().unwrap().attempt, "a");
        job.reject().unwrap();
        assert!(job.publish(&result("b")).unwrap());
        let names: Vec<_> = fs::read_dir(job.path()).unwrap().flatten().collect();
        assert_eq!(names.len(), 2, "no temporary file stays: {names:?}");
    }

    #[test]
    fn a_damaged_input_is_replaced_and_a_changed_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("s")).unwrap();
        let from = dir.path().join("x");
        fs::write(&from, b"abc").unwrap();
        let (_, digest) = file_digest(&from).unwrap();
        store.put("x", &from, &digest, false).unwrap();
        let there = store.content(&digest);
        // Same size, other bytes: only who looks again sees it.
        fs::remove_file(&there).unwrap();
        fs::write(&there, b"abd").unwrap();
        store.put("x", &from, &digest, false).unwrap();
        assert_eq!(fs::read(&there).unwrap(), b"abd");
        store.put("x", &from, &digest, true).unwrap();
        assert_eq!(fs::read(&there).unwrap(), b"abc");
        fs::write(&from, b"abe").unwrap();
        fs::remove_file(&there).unwrap();
        let e = store.put("x", &from, &digest, false).unwrap_err();
        assert!(e.message.contains("was changed"), "{e}");
        assert!(store.put("x", &from, "../../etc", false).is_err());
    }
}
