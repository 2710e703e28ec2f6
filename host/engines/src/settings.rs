//! `[executor]` of `dsperse.toml`.
//!
//! ```toml
//! [executor]
//! kind = "slurm"                # local, process, slurm, ray; --executor goes before it
//! store = "/shared/dsperse"     # a directory that this machine and all nodes see
//! program = "/opt/dsperse/bin/dsperse"   # the program there; this one under the same path
//! plugins = ["/opt/dsperse/plugins"]     # its plugins there, when not in the usual places
//! scratch = "/scratch"          # where nodes work, when not in the store
//! in_flight = 64                # jobs handed to the engine at the same time
//! cpus = 1                      # for each job
//! memory = "2G"                 # for a job of which nothing is known
//! most_memory = "64G"           # for any job
//! pending = "1h"                # longest wait for a node
//! options = ["--partition=short"]        # for sbatch
//! address = "auto"              # of the Ray cluster
//! python = "python3"            # that has dsperse[ray]
//! nodes = ["a", "b"]            # names of the process engine's nodes
//! ```

use crate::engine::Command;
use dsperse_jobs::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who carries jobs out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// Workers of this machine.
    #[default]
    Local,
    /// Processes of this machine, over a store: to try the seam without an engine.
    Process,
    /// Slurm.
    Slurm,
    /// Ray.
    Ray,
}

impl Kind {
    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "local" => Self::Local,
            "process" => Self::Process,
            "slurm" => Self::Slurm,
            "ray" => Self::Ray,
            _ => return None,
        })
    }
}

/// `[executor]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Who carries jobs out.
    pub kind: Kind,
    /// The shared directory.
    pub store: Option<PathBuf>,
    /// What nodes run. An empty program stands for this one.
    pub command: Command,
    /// Jobs at the same time.
    pub in_flight: usize,
    /// Processors of a job.
    pub cpus: usize,
    /// Memory of a job of which nothing is known, in bytes.
    pub memory: u64,
    /// Most memory of a job, in bytes.
    pub most_memory: u64,
    /// Longest wait for a node.
    pub pending: Duration,
    /// Options of sbatch.
    pub options: Vec<String>,
    /// Address of the Ray cluster.
    pub address: String,
    /// The Python that has Ray.
    pub python: String,
    /// Names of the process engine's nodes.
    pub nodes: Vec<String>,
}

/// Turns "4G" and "90s" into numbers: the command line knows how.
pub struct Units {
    /// A size in bytes.
    pub size: fn(&str) -> std::result::Result<u64, String>,
    /// A time.
    pub duration: fn(&str) -> std::result::Result<Duration, String>,
}

impl Settings {
    /// Reads the table. Relative paths are relative to `base`.
    ///
    /// # Errors
    /// When a key means nothing, or a value has the wrong type.
    pub fn read(table: &toml::Table, base: &Path, units: &Units) -> Result<Self> {
        let mut s = Self {
            kind: Kind::Local,
            store: None,
            command: Command {
                program: String::new(),
                plugins: Vec::new(),
                scratch: None,
            },
            in_flight: 64,
            cpus: 1,
            memory: 2 << 30,
            most_memory: 64 << 30,
            pending: Duration::from_secs(3600),
            options: Vec::new(),
            address: "auto".to_owned(),
            python: "python3".to_owned(),
            nodes: vec!["here".to_owned()],
        };
        for (key, value) in table {
            let wrong = |expected: &str| {
                Error::usage(format!(
                    "dsperse.toml: \"executor.{key}\" can't be {value}, expected {expected}"
                ))
            };
            let text = || value.as_str().ok_or_else(|| wrong("a text"));
            let path = || {
                let path = std::path::absolute(base.join(text()?)).ok();
                path.ok_or_else(|| wrong("a path"))
            };
            let number = || {
                let n = value.as_integer().filter(|n| *n >= 1);
                n.and_then(|n| usize::try_from(n).ok())
                    .ok_or_else(|| wrong("a number from 1"))
            };
            let texts = || {
                let list = value.as_array().and_then(|list| {
                    let texts = list.iter().map(|v| v.as_str().map(str::to_owned));
                    texts.collect::<Option<Vec<_>>>()
                });
                list.ok_or_else(|| wrong("a list of texts"))
            };
            let size = || (units.size)(text()?).map_err(|e| wrong(&e));
            match key.as_str() {
                "kind" => {
                    s.kind = Kind::named(text()?)
                        .ok_or_else(|| wrong("\"local\", \"process\", \"slurm\" or \"ray\""))?;
                }
                "store" => s.store = Some(path()?),
                "program" => s.command.program = text()?.to_owned(),
                "plugins" => s.command.plugins = texts()?.into_iter().map(PathBuf::from).collect(),
                "scratch" => s.command.scratch = Some(path()?),
                "in_flight" => s.in_flight = number()?,
                "cpus" => s.cpus = number()?,
                "memory" => s.memory = size()?,
                "most_memory" => s.most_memory = size()?,
                "pending" => s.pending = (units.duration)(text()?).map_err(|e| wrong(&e))?,
                "options" => s.options = texts()?,
                "address" => s.address = text()?.to_owned(),
                "python" => s.python = text()?.to_owned(),
                "nodes" => {
                    s.nodes = texts()?;
                    if s.nodes.is_empty() {
                        return Err(wrong("at least one name"));
                    }
                }
                _ => {
                    return Err(Error::usage(format!(
                        "dsperse.toml: unknown key \"executor.{key}\""
                    ))
                    .with_hint("the keys are described in docs/engines.md"));
                }
            }
        }
        Ok(s)
    }
}
