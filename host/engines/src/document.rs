//! What coordinator and node write for each other.

use dsperse_documents::{BackendError, Document, Schema, Usage};
use dsperse_jobs::job::Job;
use dsperse_plugin_api::{Done, Support, Verdict};
use semver::Version;
use serde::{Deserialize, Serialize};

/// The version of this program: a node of another one gets no job.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `job.json`: what to do. The same bytes whoever writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobDocument {
    /// Version of this format.
    pub schema: Schema<1, 0, 0>,
    /// Version of the program that wants the result.
    pub dsperse: String,
    /// [`Job::key`], which is also the directory's name.
    pub key: String,
    /// The job.
    pub job: Job,
}

/// `bounds.json`: what does not change the result, and may differ from one try to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Version of this format.
    pub schema: Schema<1, 0, 0>,
    /// Threads.
    pub threads: usize,
    /// Longest wall time in seconds.
    pub timeout_seconds: Option<f64>,
    /// Most memory in bytes.
    pub memory: Option<u64>,
}

/// `result.json`: what came of the job. Published once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobResult {
    /// Version of this format.
    pub schema: Schema<1, 0, 0>,
    /// The job's key.
    pub key: String,
    /// Version of the program that carried it out.
    pub dsperse: String,
    /// Version of the backend.
    pub backend_version: String,
    /// SHA-256 of its library.
    pub plugin_sha256: String,
    /// The attempt's directory; its files are in `attempts/<attempt>/out`.
    pub attempt: String,
    /// The machine.
    pub host: String,
    /// What it cost.
    pub usage: Usage,
    /// What came of it.
    pub outcome: Came,
}

/// What came of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Came {
    /// Files, with sizes and digests; paths are relative to the attempt's `out`.
    Done(Done),
    /// Answer to a question.
    Supports(Support),
    /// A verdict. Nobody relies on one from another machine.
    Verdict(Verdict),
    /// The backend's error, which would be the same again.
    Failed(BackendError),
}

/// `attempts/<attempt>/end.json`: why an attempt left no result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// Version of this format.
    pub schema: Schema<1, 0, 0>,
    /// The exit code.
    pub code: u8,
    /// The machine.
    pub host: String,
    /// Why.
    pub error: BackendError,
}

/// How `dsperse job run` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobExit {
    /// There is a result.
    Result = 0,
    /// There is a result: the job failed, and would again.
    Failed = 10,
    /// More memory was needed than the bounds allow.
    Memory = 11,
    /// More time was needed.
    Time = 12,
    /// This node has another version of the program or the plugin than the job names, or
    /// lacks a tool.
    OtherBuild = 13,
    /// An input is missing or is not what its digest says.
    Input = 14,
    /// The node or the store is at fault: disk full, directory gone.
    Node = 15,
    /// Somebody asked it to stop.
    Cancelled = 130,
}

impl JobExit {
    /// The exit with this code; `None` when the command never ends with it.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        const ALL: [JobExit; 8] = [
            JobExit::Result,
            JobExit::Failed,
            JobExit::Memory,
            JobExit::Time,
            JobExit::OtherBuild,
            JobExit::Input,
            JobExit::Node,
            JobExit::Cancelled,
        ];
        ALL.into_iter().find(|e| *e as i32 == code)
    }
}

macro_rules! documents {
    ($($type:ty, $kind:literal;)*) => {$(
        impl Document for $type {
            const KIND: &'static str = $kind;
            const SCHEMA: Version = Schema::<1, 0, 0>::CURRENT;
        }
    )*};
}

documents! {
    JobDocument, "a job";
    Bounds, "the bounds of a job";
    JobResult, "the result of a job";
    End, "the end of a job";
}
