//! Locks, so that two commands on the same files exclude each other.
//!
//! The lock of `slices` (or `slices.dsperse`) is the file `.slices.lock` beside it,
//! locked with `flock` semantics: the kernel releases it when the process ends, however
//! it ends. Its content only names the holder for the message; the file itself stays,
//! because removing it would let two commands hold "the" lock on two different files.

use crate::files::atomic::parent_of;
use crate::files::error::{BundleError, IoContext, Result};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// What the caller is going to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read only; others may read too.
    Read,
    /// Change; nobody else may read or change.
    Edit,
}

impl Access {
    /// Refuses to change what was opened for reading.
    pub(crate) fn check_editable(self, path: &Path) -> Result<()> {
        if self == Self::Edit {
            return Ok(());
        }
        Err(BundleError::Request(format!(
            "\"{}\" was opened for reading",
            path.display()
        )))
    }
}

/// A lock, held until dropped or until the process ends.
#[derive(Debug)]
pub struct Lock {
    /// `None` on a read-only file system, where nobody can write anyway.
    file: Option<File>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    command: String,
}

/// Path of the lock file of `target`.
pub(crate) fn lock_path(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    parent_of(target).join(format!(".{name}.lock"))
}

impl Lock {
    /// Locks a directory or file, without waiting.
    ///
    /// # Errors
    /// [`BundleError::Locked`] with pid and command when another command has it; a system
    /// error when the lock file can't be made (reading does without it where
    /// nothing can be written).
    pub fn acquire(target: &Path, access: Access) -> Result<Self> {
        let path = lock_path(target);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let (mut file, writable) = match opened {
            Ok(f) => (f, true),
            Err(e) if access == Access::Read && is_read_only(&e) => match File::open(&path) {
                Ok(f) => (f, false),
                Err(_) => return Ok(Self { file: None }),
            },
            Err(e) => return Err(BundleError::io("create the lock", &path, e)),
        };
        let locked = match access {
            Access::Read => file.try_lock_shared(),
            Access::Edit => file.try_lock(),
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(BundleError::Locked {
                    path: target.to_owned(),
                    holder: describe(&mut file),
                });
            }
            Err(TryLockError::Error(e)) => return Err(BundleError::io("lock", &path, e)),
        }
        if writable {
            // The note is for messages only; a full disk must not stop the command.
            let _ = note(&mut file);
        }
        Ok(Self { file: Some(file) })
    }

    /// Locks for the time of one call.
    pub(crate) fn with<T>(target: &Path, f: impl FnOnce() -> Result<T>) -> Result<T> {
        let _lock = Self::acquire(target, Access::Edit)?;
        f()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // Closing would not do: a child that another thread has just forked holds a
            // copy of the descriptor until it executes its program, and with it the lock.
            let _ = file.unlock();
        }
    }
}

fn is_read_only(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

fn note(file: &mut File) -> io::Result<()> {
    // Program and verb only: files beside the user's model hold no absolute paths.
    let mut args = std::env::args();
    let program = args.next().unwrap_or_default();
    let program = Path::new(&program).file_name().unwrap_or_default();
    let verb = args.find(|a| {
        a.starts_with(|c: char| c.is_ascii_lowercase())
            && a.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
    });
    let command = format!("{} {}", program.to_string_lossy(), verb.unwrap_or_default());
    let holder = Holder {
        pid: std::process::id(),
        command: command.trim_end().to_owned(),
    };
    let text = serde_json::to_vec(&holder)?;
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&text)
}

fn describe(file: &mut File) -> String {
    let mut text = String::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(4096).read_to_string(&mut text));
    match read
        .ok()
        .and_then(|_| serde_json::from_str::<Holder>(&text).ok())
    {
        Some(h) if is_alive(h.pid) => {
            let command: String = h.command.chars().filter(|c| !c.is_control()).collect();
            format!("process {} (\"{command}\")", h.pid)
        }
        _ => "another dsperse command".to_owned(),
    }
}

/// Whether the noted process still runs. The note can be of an earlier reader that has
/// ended while others hold the lock.
pub(crate) fn is_alive(pid: u32) -> bool {
    #[cfg(unix)]
    {
        use rustix::process::{Pid, test_kill_process};
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            return false;
        };
        !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH))
    }
    #[cfg(not(unix))]
    {
        let _ = pid;
        true
    }
}

/// The absolute path without links, also when only the parent exists yet.
pub(crate) fn canonical(path: &Path) -> Result<PathBuf> {
    if let Ok(p) = path.canonicalize() {
        return Ok(p);
    }
    let parent = parent_of(path);
    let parent = parent.canonicalize().at("find", &parent)?;
    match path.file_name() {
        Some(name) => Ok(parent.join(name)),
        None => Err(BundleError::Request(format!(
            "\"{}\" is not a usable path",
            path.display()
        ))),
    }
}
