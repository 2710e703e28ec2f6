//! Several files and directories of one directory that change together.
//!
//! New content is staged below `.dsperse-txn`, and a journal that lists the moves is
//! written last. Once the journal is there the change will happen: either now, or, when
//! the process dies, at the next [`recover`]. Without a journal the staged content is
//! thrown away. Moves are idempotent, so recovery may itself be interrupted.
//!
//! Whoever calls this holds the lock of the directory.

use crate::files::atomic::{crash_point, parent_of, remove, sync_dir, sync_tree, write_file};
use crate::files::digest::{compare, file_digest};
use crate::files::error::{BundleError, IoContext, Result};
use crate::files::paths::{self, Names};
use dsperse_plugin_api::Artefact;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const JOURNAL: &str = "journal.json";

#[derive(Debug, Serialize, Deserialize)]
struct Move {
    /// Name below the transaction's directory; `None` takes `to` away.
    staged: Option<usize>,
    /// Path relative to the directory.
    to: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Journal {
    moves: Vec<Move>,
}

/// A change of several entries of one directory.
#[derive(Debug)]
pub(crate) struct Transaction {
    dir: PathBuf,
    work: PathBuf,
    journal: Journal,
}

fn work_dir(dir: &Path, tag: &str) -> PathBuf {
    if tag.is_empty() {
        dir.join(".dsperse-txn")
    } else {
        dir.join(format!(".dsperse-txn-{tag}"))
    }
}

impl Transaction {
    /// Starts a change of `dir`. `tag` keeps changes of different entries of a shared
    /// directory apart; it is empty when `dir` belongs to us as a whole.
    pub(crate) fn begin(dir: &Path, tag: &str) -> Result<Self> {
        recover(dir, tag)?;
        let work = work_dir(dir, tag);
        fs::create_dir(&work).at("create", &work)?;
        Ok(Self {
            dir: dir.to_owned(),
            work,
            journal: Journal::default(),
        })
    }

    fn next(&mut self, to: &str) -> Result<PathBuf> {
        paths::join(&self.dir, to, &self.work)?;
        let k = self.journal.moves.len();
        self.journal.moves.push(Move {
            staged: Some(k),
            to: to.to_owned(),
        });
        Ok(self.work.join(k.to_string()))
    }

    /// Stages a file with these bytes.
    pub(crate) fn put_bytes(&mut self, to: &str, bytes: &[u8]) -> Result<()> {
        let staged = self.next(to)?;
        fs::write(&staged, bytes).at("write", &staged)
    }

    /// Stages an empty directory and returns where to fill it.
    fn put_dir(&mut self, to: &str) -> Result<PathBuf> {
        let staged = self.next(to)?;
        fs::create_dir(&staged).at("create", &staged)?;
        Ok(staged)
    }

    /// Moves the files that a job declared in place of what was at `to`. Their new paths begin
    /// with `to/`; sizes and digests are measured, and compared with declared ones.
    pub(crate) fn put_artefacts(
        &mut self,
        to: &str,
        job_dir: &Path,
        declared: &[Artefact],
    ) -> Result<Vec<Artefact>> {
        if declared.is_empty() {
            self.take(to)?;
            return Ok(Vec::new());
        }
        let staged = self.put_dir(to)?;
        let mut out = Vec::with_capacity(declared.len());
        let mut names = Names::default();
        for a in declared {
            let what = format!("artefact \"{}\"", a.name);
            names.add(&a.path, false).map_err(|other| {
                BundleError::inconsistent(
                    job_dir,
                    format!(
                        "the artefacts \"{}\" and \"{other}\" collide on systems that ignore case",
                        a.path
                    ),
                )
            })?;
            let from = paths::regular_file(job_dir, &a.path, job_dir, &what)?;
            let put = staged.join(&a.path);
            let parent = parent_of(&put);
            fs::create_dir_all(&parent).at("create", &parent)?;
            move_file_or_dir(&from, &put)?;
            let found = file_digest(&put)?;
            if !a.sha256.is_empty() {
                compare(&what, &from, (found.0, &a.sha256), &found)?;
            }
            let (size, sha256) = found;
            out.push(Artefact {
                name: a.name.clone(),
                role: a.role,
                path: format!("{to}/{}", a.path),
                size,
                sha256,
            });
        }
        Ok(out)
    }

    /// Stages a file or directory by moving it here (copying when it lies on another
    /// file system).
    pub(crate) fn put_path(&mut self, to: &str, from: &Path) -> Result<()> {
        let staged = self.next(to)?;
        move_file_or_dir(from, &staged)
    }

    /// Takes an entry away.
    pub(crate) fn take(&mut self, to: &str) -> Result<()> {
        paths::join(&self.dir, to, &self.work)?;
        self.journal.moves.push(Move {
            staged: None,
            to: to.to_owned(),
        });
        Ok(())
    }

    /// Makes the change. After an error the old state is still there, or the next
    /// [`recover`] completes the new one.
    pub(crate) fn commit(self) -> Result<()> {
        sync_tree(&self.work)?;
        crash_point();
        let text = serde_json::to_vec(&self.journal).map_err(|e| {
            BundleError::inconsistent(&self.work, format!("the journal can't be written: {e}"))
        })?;
        write_file(&self.work.join(JOURNAL), &text)?;
        crash_point();
        apply(&self.dir, &self.work, &self.journal)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // Without a journal nothing was promised; with one, recovery finishes the work.
        if !self.work.join(JOURNAL).exists() {
            let _ = fs::remove_dir_all(&self.work);
        }
    }
}

/// Moves within one file system, or copies and removes across two.
fn move_file_or_dir(from: &Path, to: &Path) -> Result<()> {
    match fs::rename(from, to) {
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            copy_tree(from, to)?;
            remove(from)
        }
        other => other.at("move", from),
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let kind = fs::symlink_metadata(from).at("read", from)?;
    if kind.is_dir() {
        fs::create_dir(to).at("create", to)?;
        for entry in fs::read_dir(from).at("read", from)? {
            let entry = entry.at("read", from)?;
            copy_tree(&entry.path(), &to.join(entry.file_name()))?;
        }
        Ok(())
    } else if kind.is_file() {
        fs::copy(from, to).map(|_| ()).at("copy", from)
    } else {
        Err(BundleError::inconsistent(
            from,
            "links and special files can't be moved into place",
        ))
    }
}

/// Whether a crashed command left a change of `dir` behind.
pub(crate) fn pending(dir: &Path, tag: &str) -> bool {
    work_dir(dir, tag).symlink_metadata().is_ok()
}

/// Whether that change was already promised and must be completed.
pub(crate) fn promised(dir: &Path, tag: &str) -> bool {
    work_dir(dir, tag).join(JOURNAL).exists()
}

/// Completes or discards what a crashed command left behind.
pub(crate) fn recover(dir: &Path, tag: &str) -> Result<()> {
    let work = work_dir(dir, tag);
    match fs::symlink_metadata(&work) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(BundleError::io("read", &work, e)),
        Ok(m) if !m.is_dir() => return remove(&work),
        Ok(_) => {}
    }
    let path = work.join(JOURNAL);
    match fs::read(&path) {
        Ok(bytes) => {
            let journal: Journal = serde_json::from_slice(&bytes).map_err(|e| {
                BundleError::inconsistent(
                    &path,
                    format!("this journal of an interrupted command is not valid ({e}); remove \"{}\" and run the last command again", work.display()),
                )
            })?;
            tracing::debug!(dir = %dir.display(), "completing an interrupted command");
            apply(dir, &work, &journal)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            tracing::debug!(dir = %dir.display(), "discarding an interrupted command");
            remove(&work)
        }
        Err(e) => Err(BundleError::io("read", &path, e)),
    }
}

fn apply(dir: &Path, work: &Path, journal: &Journal) -> Result<()> {
    for (k, step) in journal.moves.iter().enumerate() {
        let to = paths::join(dir, &step.to, &work.join(JOURNAL))?;
        refuse_links_above(dir, &step.to, work)?;
        let old = work.join(format!("old-{k}"));
        match step.staged {
            Some(k) => {
                let staged = work.join(k.to_string());
                let Ok(kind) = fs::symlink_metadata(&staged) else {
                    continue; // Moved before the interruption.
                };
                let parent = parent_of(&to);
                fs::create_dir_all(&parent).at("create", &parent)?;
                // A file replaces a file in one step; anything else makes room first.
                let there = fs::symlink_metadata(&to).ok();
                if let Some(there) = there
                    && !(there.is_file() && kind.is_file())
                {
                    remove(&old)?;
                    fs::rename(&to, &old).at("replace", &to)?;
                    crash_point();
                }
                fs::rename(&staged, &to).at("replace", &to)?;
                crash_point();
                sync_dir(&parent)?;
            }
            None => {
                if fs::symlink_metadata(&to).is_ok() {
                    remove(&old)?;
                    fs::rename(&to, &old).at("remove", &to)?;
                    crash_point();
                    sync_dir(&parent_of(&to))?;
                }
            }
        }
    }
    remove(&work.join(JOURNAL))?;
    crash_point();
    remove(work)
}

fn refuse_links_above(dir: &Path, to: &str, work: &Path) -> Result<()> {
    let mut at = dir.to_owned();
    let mut parts: Vec<&str> = to.split('/').collect();
    parts.pop();
    for part in parts {
        at.push(part);
        if fs::symlink_metadata(&at).is_ok_and(|m| !m.is_dir()) {
            return Err(BundleError::UnsafePath {
                document: work.join(JOURNAL),
                found: to.to_owned(),
                reason: "it leads through something that is not a directory",
            });
        }
    }
    Ok(())
}
