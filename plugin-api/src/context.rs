//! What a call gets from its host: a directory to write in, a place for log lines and
//! progress, and the wish to stop.

use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Something is wrong.
    Error,
    /// The user should know.
    Warn,
    /// Normal.
    Info,
    /// For the curious.
    Debug,
    /// For the author.
    Trace,
}

/// Receives events; the ABI shim and tests implement it.
pub trait Host: Send + Sync {
    /// A log line.
    fn log(&self, level: Level, message: &str);
    /// Progress from 0 to 1 with a short word for the step.
    fn progress(&self, fraction: f64, step: &str);
    /// Whether the host wants the call to stop.
    fn cancelled(&self) -> bool;
}

/// Context of one call.
pub struct Cx<'a> {
    dir: PathBuf,
    threads: usize,
    memory: Option<u64>,
    host: &'a dyn Host,
}

impl<'a> Cx<'a> {
    /// A context; used by the shim, hosts and tests.
    pub fn new(dir: PathBuf, threads: usize, memory: Option<u64>, host: &'a dyn Host) -> Self {
        Self {
            dir,
            threads: threads.max(1),
            memory,
            host,
        }
    }
    /// The job's directory: write here and nowhere else.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// How many threads the call should use at most.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }
    /// Memory limit of the call in bytes, when there is one.
    #[must_use]
    pub fn memory_limit(&self) -> Option<u64> {
        self.memory
    }
    /// Sends a log line to the host.
    pub fn log(&self, level: Level, message: &str) {
        self.host.log(level, message);
    }
    /// Reports progress from 0 to 1.
    pub fn progress(&self, fraction: f64, step: &str) {
        self.host.progress(fraction, step);
    }
    /// Whether the host wants this call to stop.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.host.cancelled()
    }
    /// Call this between steps of long work.
    ///
    /// # Errors
    /// `cancelled` when the host wants the call to stop.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancelled() {
            Err(Error::cancelled())
        } else {
            Ok(())
        }
    }
}
