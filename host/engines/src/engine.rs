//! What every engine can do.

use crate::document::VERSION;
use crate::store::JobDir;
use dsperse_documents::Schema;
use dsperse_store::atomic;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// One try at a job, as the engine gets it.
#[derive(Debug, Clone)]
pub struct Order {
    /// The job's directory, which the node sees under the same path.
    pub dir: JobDir,
    /// The backend, and the digest of its library.
    pub backend: (String, String),
    /// Processors.
    pub cpus: usize,
    /// Memory to ask the engine for, in bytes.
    pub memory: u64,
    /// Longest time that the job runs.
    pub time: Option<Duration>,
    /// Nodes that must not get it.
    pub exclude: Vec<String>,
}

impl Order {
    /// Notes in the job's directory what the engine calls the try, so that a coordinator that
    /// is started again finds it.
    ///
    /// # Errors
    /// When the store can't be written to.
    pub fn record(&self, engine: &str, ticket: &str) -> Result<(), String> {
        let document = Ticket {
            schema: Schema::default(),
            engine: engine.to_owned(),
            dsperse: VERSION.to_owned(),
            ticket: ticket.to_owned(),
        };
        atomic::write_document(&self.dir.ticket(), &document).map_err(|e| e.to_string())
    }
}

/// `ticket.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    /// Version of this format.
    pub schema: Schema<1, 0, 0>,
    /// The engine.
    pub engine: String,
    /// Version of the program.
    pub dsperse: String,
    /// What the engine calls the try.
    pub ticket: String,
}

impl dsperse_documents::Document for Ticket {
    const KIND: &'static str = "an engine's ticket";
    const SCHEMA: semver::Version = Schema::<1, 0, 0>::CURRENT;
}

/// Where a try is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It waits; why, in the engine's words.
    Pending(String),
    /// It runs, on that node.
    Running(String),
    /// It is over.
    Ended(Ended),
    /// The engine does not take it; why.
    Refused(String),
    /// The engine can't be asked right now.
    Unknown,
}

/// How a try ended, as the engine saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// The node, where the engine knows it.
    pub node: Option<String>,
    /// The command's exit code; `None` when it did not end by itself.
    pub code: Option<i32>,
    /// The engine's words.
    pub reason: String,
    /// Whether the engine ended it for lack of memory, or may have.
    pub memory: bool,
}

/// Brings jobs to nodes.
pub trait Engine: Send + Sync {
    /// Its name in messages and tickets.
    fn name(&self) -> &'static str;

    /// Hands a try over. It is recorded with [`Order::record`] before the engine has it.
    ///
    /// # Errors
    /// When the engine refuses it, in the engine's words.
    fn submit(&self, order: &Order) -> Result<String, String>;

    /// Where a try is.
    fn state(&self, ticket: &str) -> State;

    /// Ends a try, wherever it is, and waits for that as long as is usual.
    fn cancel(&self, ticket: &str);

    /// Takes over a try that an earlier coordinator handed over, with all that has to be tidied
    /// up after it. Whether it can be asked about.
    fn adopt(&self, _ticket: &str) -> bool {
        false
    }
}

/// A program that Ctrl-C in a terminal does not reach: one that an engine is spoken to with must
/// not end in the middle of it.
#[must_use]
pub fn program(name: &str) -> std::process::Command {
    let mut command = std::process::Command::new(name);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
}

/// The command that a node runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program, as nodes find it.
    pub program: String,
    /// Directories of plugins there; the usual places when empty.
    pub plugins: Vec<PathBuf>,
    /// A directory on the node's own disk.
    pub scratch: Option<PathBuf>,
}

impl Command {
    /// Program and arguments for a job directory, without the directory.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = self.with_plugins();
        words.extend(["job".to_owned(), "run".to_owned()]);
        if let Some(dir) = &self.scratch {
            words.extend(["--scratch".to_owned(), dir.display().to_string()]);
        }
        words
    }

    /// Program and arguments that tell what a node has.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let mut words = self.with_plugins();
        words.extend(["job".to_owned(), "node".to_owned()]);
        words
    }

    fn with_plugins(&self) -> Vec<String> {
        let mut words = vec![self.program.clone(), "--quiet".to_owned()];
        for dir in &self.plugins {
            words.extend(["--plugins".to_owned(), dir.display().to_string()]);
        }
        words
    }
}
