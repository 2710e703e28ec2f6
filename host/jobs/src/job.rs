//! The unit of work, and who carries it out.
//!
//! A [`Job`] names everything that it depends on by digest: operation, slice, artefacts,
//! tensors, options. It holds no path and nothing that only this process knows, so it can
//! be sent to another machine together with the files of those digests. An [`Executor`]
//! turns a job into an [`Outcome`]. [`crate::local::LocalExecutor`] runs jobs in workers
//! on this machine; the crate `engines` has the one that sends them to others.

use crate::error::Error;
use dsperse_documents::{BackendError, Usage, digest::sha256_hex};
use dsperse_plugin_api::{
    Artefact, ArtefactRef, Cost, Done, Role, SliceInfo, Support, TensorInfo, Verdict, job::Options,
};
use dsperse_plugin_host::CancelToken;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What to do with a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Can the backend take this slice?
    Supports,
    /// Slice to circuit.
    Compile,
    /// Inference and witness.
    Witness,
    /// Witness to proof.
    Prove,
    /// Is the claim true?
    Verify,
}

/// A file by content.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileRef {
    /// The name under which a backend declared it, or the tensor's name.
    pub name: String,
    /// Who needs it.
    pub role: Role,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

/// A tensor by content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorRef {
    /// Name, encoding and shape.
    #[serde(flatten)]
    pub info: TensorInfo,
    /// SHA-256 of the bytes, lower-case hex.
    pub sha256: String,
}

/// One operation on one slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The backend.
    pub backend: String,
    /// Its version.
    pub backend_version: String,
    /// SHA-256 of its library.
    pub plugin_sha256: String,
    /// What to do.
    pub operation: Operation,
    /// The slice. `model` is empty here; the executor fills it in when `payload` is true.
    pub slice: SliceInfo,
    /// Whether the slice's ONNX file goes with the job.
    pub payload: bool,
    /// What `compile` made.
    #[serde(default)]
    pub circuit: Vec<FileRef>,
    /// What `witness` made.
    #[serde(default)]
    pub witness: Vec<FileRef>,
    /// What `prove` made.
    #[serde(default)]
    pub proof: Vec<FileRef>,
    /// The claim: inputs in the slice's order.
    #[serde(default)]
    pub inputs: Vec<TensorRef>,
    /// The claim: outputs in the slice's order.
    #[serde(default)]
    pub outputs: Vec<TensorRef>,
    /// Calibration samples.
    #[serde(default)]
    pub calibration: Vec<Vec<TensorRef>>,
    /// The float model's outputs for the calibration samples.
    #[serde(default)]
    pub calibration_outputs: Vec<Vec<TensorRef>>,
    /// Relative tolerance of a recomputation.
    #[serde(default)]
    pub tolerance: f64,
    /// The backend's options.
    #[serde(default)]
    pub options: Options,
}

impl Job {
    /// A job without files.
    #[must_use]
    pub fn new(
        operation: Operation,
        backend: &crate::session::Loaded<'_>,
        slice: SliceInfo,
    ) -> Self {
        Self {
            backend: backend.name().to_owned(),
            backend_version: backend.descriptor.version.to_string(),
            plugin_sha256: backend.digest.to_owned(),
            operation,
            slice: SliceInfo {
                model: None,
                ..slice
            },
            payload: true,
            circuit: Vec::new(),
            witness: Vec::new(),
            proof: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            calibration: Vec::new(),
            calibration_outputs: Vec::new(),
            tolerance: 0.0,
            options: backend.options.clone(),
        }
    }

    /// Every file that the job needs: name and digest, as in [`Files`].
    #[must_use]
    pub fn files(&self) -> Vec<(&str, &str)> {
        let payload = self
            .payload
            .then_some((Files::PAYLOAD, self.slice.sha256.as_str()));
        let artefacts = [&self.circuit, &self.witness, &self.proof];
        let artefacts = artefacts.into_iter().flatten();
        let samples = self.calibration.iter().chain(&self.calibration_outputs);
        let tensors = self.inputs.iter().chain(&self.outputs);
        let tensors = tensors.chain(samples.flatten());
        payload
            .into_iter()
            .chain(artefacts.map(|f| (f.name.as_str(), f.sha256.as_str())))
            .chain(tensors.map(|t| (t.info.name.as_str(), t.sha256.as_str())))
            .collect()
    }

    /// Digest of the whole document: two jobs with the same key have the same result.
    #[must_use]
    pub fn key(&self) -> String {
        // Field order is fixed by the struct; maps are sorted by `canonical`.
        let value = serde_json::to_value(self).unwrap_or_default();
        sha256_hex(canonical(&value).to_string().as_bytes())
    }
}

/// The value with every object's keys sorted, so that equal values have equal text.
#[must_use]
pub fn canonical(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            Value::Object(
                entries
                    .into_iter()
                    .map(|(k, v)| (k.clone(), canonical(v)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        other => other.clone(),
    }
}

/// Where the files of a job are on this machine.
#[derive(Debug, Clone, Default)]
pub struct Files {
    by_content: HashMap<(String, String), PathBuf>,
}

impl Files {
    /// The name that stands for a slice's ONNX file.
    pub const PAYLOAD: &'static str = "payload";

    /// Says where the file `name` with this digest is.
    pub fn insert(&mut self, name: &str, sha256: &str, path: impl Into<PathBuf>) {
        self.by_content
            .insert((name.to_owned(), sha256.to_owned()), path.into());
    }
    /// Takes an artefact along; the job names it by what is returned.
    pub fn attach(&mut self, artefact: ArtefactRef) -> FileRef {
        self.insert(&artefact.name, &artefact.sha256, artefact.path);
        FileRef {
            name: artefact.name,
            role: artefact.role,
            sha256: artefact.sha256,
        }
    }
    /// Takes along what another job made in its directory `dir`.
    pub fn attach_made(&mut self, made: &Artefact, dir: &Path) -> FileRef {
        self.insert(&made.name, &made.sha256, dir.join(&made.path));
        FileRef {
            name: made.name.clone(),
            role: made.role,
            sha256: made.sha256.clone(),
        }
    }
    /// Takes a tensor along; the job names it by what is returned.
    pub fn attach_tensor(&mut self, tensor: &TensorRef, path: &Path) -> TensorRef {
        self.insert(&tensor.info.name, &tensor.sha256, path);
        tensor.clone()
    }
    /// Where it is.
    #[must_use]
    pub fn get(&self, name: &str, sha256: &str) -> Option<&Path> {
        self.by_content
            .get(&(name.to_owned(), sha256.to_owned()))
            .map(PathBuf::as_path)
    }
}

/// Something that a job reports while it runs.
pub type JobEvents = Arc<dyn Fn(&dsperse_plugin_host::Event) + Send + Sync>;

/// Bounds and companions of one job; they don't change its result.
#[derive(Clone)]
pub struct Control {
    /// An empty directory for the job's files, on the disk where they will stay.
    pub dir: PathBuf,
    /// Threads that the backend should use at most.
    pub threads: usize,
    /// Longest wall time.
    pub timeout: Option<Duration>,
    /// Most memory.
    pub memory: Option<u64>,
    /// Memory that it is expected to need, where something is known.
    pub estimate: Option<u64>,
    /// Bytes of all files together that it may hand back.
    pub artefacts: u64,
    /// Whether it only serves another job, and is not worth a way to another machine.
    pub serves: bool,
    /// Asks the job to stop.
    pub cancel: CancelToken,
    /// Receives events.
    pub events: Option<JobEvents>,
}

/// What a job produced.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Answer to [`Operation::Supports`].
    Supports(Support),
    /// Files below [`Control::dir`], with sizes and digests.
    Done(Done),
    /// Answer to [`Operation::Verify`].
    Verdict(Verdict),
}

/// Result of a job and its cost.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The checked answer or a typed error.
    pub result: Result<Output, BackendError>,
    /// What it cost.
    pub usage: Usage,
    /// The machine that made it, as its engine calls it; `None` is this one.
    pub node: Option<String>,
}

impl Outcome {
    /// What this machine's own worker answered.
    #[must_use]
    pub fn here(result: Result<Output, BackendError>, usage: Usage) -> Self {
        Self {
            result,
            usage,
            node: None,
        }
    }

    /// An error that cost nothing.
    #[must_use]
    pub fn error(e: BackendError) -> Self {
        Self::here(Err(e), Usage::default())
    }
}

/// Estimated peak memory of a job in bytes, from the backend's own cost estimate.
#[must_use]
pub fn estimated_memory(cost: &Cost) -> Option<u64> {
    (cost.peak_bytes > 0).then_some(cost.peak_bytes)
}

/// Carries out jobs.
pub trait Executor: Send + Sync {
    /// Runs one job to its end. Blocking; threads may share the executor. An error of the
    /// backend is in the outcome.
    ///
    /// # Errors
    /// When nobody could carry the job out, which is not the backend's doing: no other
    /// backend is tried.
    fn execute(&self, job: &Job, files: &Files, control: &Control) -> Result<Outcome, Error>;

    /// The executor of this machine, where this one sends jobs to others: for what must not
    /// rest on their word.
    fn here(&self) -> Option<&dyn Executor> {
        None
    }

    /// How many jobs it takes at the same time, where this machine does not bound that.
    fn at_once(&self) -> Option<usize> {
        None
    }
}
