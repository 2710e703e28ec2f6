//! The unit of work, and who carries it out.
//!
//! A [`Job`] names everything that it depends on by digest: operation, slice, artefacts,
//! tensors, options. It holds no path and nothing that only this process knows, so it can
//! be sent to another machine together with the files of those digests. An [`Executor`]
//! turns a job into an [`Outcome`]. [`crate::local::LocalExecutor`] runs jobs in workers
//! on this machine; the crate `engines` has the one that sends them to others.

use crate::backend::Loaded;
use crate::error::Error;
use dsperse_documents::{
    BackendError, Usage,
    digest::{canonical, sha256_hex},
};
use dsperse_plugin_api::abi::Op;
use dsperse_plugin_api::{Artefact, ArtefactRef, Role, SliceInfo, TensorInfo, job::Options};
use dsperse_plugin_host::{Control, Reply};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

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

/// What to do with a slice, with just the files that it takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "operation")]
pub enum Work {
    /// Can the backend take this slice?
    Supports,
    /// Slice to circuit.
    Compile {
        /// Calibration samples: the slice's inputs.
        calibration: Vec<Vec<TensorRef>>,
        /// The float model's outputs for the same samples.
        calibration_outputs: Vec<Vec<TensorRef>>,
    },
    /// Inference and witness.
    Witness {
        /// What `compile` made.
        circuit: Vec<FileRef>,
        /// In the slice's order.
        inputs: Vec<TensorRef>,
    },
    /// Witness to proof.
    Prove {
        /// What `compile` made.
        circuit: Vec<FileRef>,
        /// What `witness` made.
        witness: Vec<FileRef>,
        /// The claim: inputs in the slice's order.
        inputs: Vec<TensorRef>,
        /// The claim: outputs in the slice's order.
        outputs: Vec<TensorRef>,
    },
    /// Is the claim true?
    Verify {
        /// What `compile` made.
        circuit: Vec<FileRef>,
        /// What `prove` made.
        proof: Vec<FileRef>,
        /// The claim: inputs in the slice's order.
        inputs: Vec<TensorRef>,
        /// The claim: outputs in the slice's order.
        outputs: Vec<TensorRef>,
        /// Relative tolerance of a recomputation.
        tolerance: f64,
    },
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
    /// The slice. `model` is empty here; the executor fills it in when `payload` is true.
    pub slice: SliceInfo,
    /// Whether the slice's ONNX file goes with the job.
    pub payload: bool,
    /// What to do.
    #[serde(flatten)]
    pub work: Work,
    /// The backend's options.
    #[serde(default)]
    pub options: Options,
}

impl Work {
    /// Which operation it is.
    #[must_use]
    pub fn op(&self) -> Op {
        match self {
            Self::Supports => Op::Supports,
            Self::Compile { .. } => Op::Compile,
            Self::Witness { .. } => Op::Witness,
            Self::Prove { .. } => Op::Prove,
            Self::Verify { .. } => Op::Verify,
        }
    }

    /// Every artefact and every tensor that it takes.
    fn takes(&self) -> (Vec<&FileRef>, Vec<&TensorRef>) {
        match self {
            Self::Supports => (Vec::new(), Vec::new()),
            Self::Compile {
                calibration,
                calibration_outputs,
            } => {
                let samples = calibration.iter().chain(calibration_outputs);
                (Vec::new(), samples.flatten().collect())
            }
            Self::Witness { circuit, inputs } => {
                (circuit.iter().collect(), inputs.iter().collect())
            }
            Self::Prove {
                circuit,
                witness: more,
                inputs,
                outputs,
            }
            | Self::Verify {
                circuit,
                proof: more,
                inputs,
                outputs,
                ..
            } => (
                circuit.iter().chain(more).collect(),
                inputs.iter().chain(outputs).collect(),
            ),
        }
    }
}

impl Job {
    /// A job with the slice's ONNX file.
    #[must_use]
    pub fn new(backend: &Loaded<'_>, slice: SliceInfo, work: Work) -> Self {
        Self {
            backend: backend.name().to_owned(),
            backend_version: backend.descriptor.version.to_string(),
            plugin_sha256: backend.digest.to_owned(),
            slice: SliceInfo {
                model: None,
                ..slice
            },
            payload: true,
            work,
            options: backend.options.clone(),
        }
    }

    /// What to do.
    #[must_use]
    pub fn op(&self) -> Op {
        self.work.op()
    }

    /// Every file that the job needs: name and digest, as in [`Files`].
    #[must_use]
    pub fn files(&self) -> Vec<(&str, &str)> {
        let payload = self
            .payload
            .then_some((Files::PAYLOAD, self.slice.sha256.as_str()));
        let (artefacts, tensors) = self.work.takes();
        let artefacts = artefacts.into_iter();
        let tensors = tensors.into_iter();
        payload
            .into_iter()
            .chain(artefacts.map(|f| (f.name.as_str(), f.sha256.as_str())))
            .chain(tensors.map(|t| (t.info.name.as_str(), t.sha256.as_str())))
            .collect()
    }

    /// Digest of the whole document: two jobs with the same key have the same result.
    #[must_use]
    pub fn key(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        // Jobs once had the fields of every operation, and the keys of their results are kept.
        if let Some(fields) = value.as_object_mut() {
            for list in EVERY_LIST {
                fields
                    .entry(list)
                    .or_insert_with(|| Value::Array(Vec::new()));
            }
            fields.entry("tolerance").or_insert_with(|| 0.0.into());
        }
        sha256_hex(canonical(&value).to_string().as_bytes())
    }
}

/// The fields of [`Work`] that are lists.
const EVERY_LIST: [&str; 7] = [
    "circuit",
    "witness",
    "proof",
    "inputs",
    "outputs",
    "calibration",
    "calibration_outputs",
];

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

/// What an executor may care to know of a job beyond its bounds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hint {
    /// Memory that it is expected to need, where something is known.
    pub memory: Option<u64>,
    /// Whether it only serves another job, and is not worth a way to another machine.
    pub serves: bool,
}

/// Result of a job and its cost.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The checked answer, with files below [`Control::dir`], or a typed error.
    pub result: Result<Reply, BackendError>,
    /// What it cost.
    pub usage: Usage,
    /// The machine that made it, as its engine calls it; `None` is this one.
    pub node: Option<String>,
}

impl Outcome {
    /// What this machine's own worker answered.
    #[must_use]
    pub fn here(result: Result<Reply, BackendError>, usage: Usage) -> Self {
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

/// Carries out jobs.
pub trait Executor: Send + Sync {
    /// Runs one job to its end. Blocking; threads may share the executor. An error of the
    /// backend is in the outcome.
    ///
    /// # Errors
    /// When nobody could carry the job out, which is not the backend's doing: no other
    /// backend is tried.
    fn execute(
        &self,
        job: &Job,
        files: &Files,
        control: &Control,
        hint: Hint,
    ) -> Result<Outcome, Error>;

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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As jobs were written before they had just the fields of their operation.
    fn earlier(operation: &str, fields: Value) -> Value {
        let tensor =
            |name: &str| json!({"name": name, "dtype": "f32", "shape": [1, 2], "sha256": name});
        let mut job = json!({
            "backend": "a", "backend_version": "1.2.3", "plugin_sha256": "p",
            "operation": operation,
            "slice": {"index": 3, "sha256": "s", "model_sha256": "m", "inputs": [], "outputs": []},
            "payload": false, "circuit": [], "witness": [], "proof": [], "inputs": [],
            "outputs": [], "calibration": [], "calibration_outputs": [], "tolerance": 0.0,
            "options": {"z": 1, "b": {"y": 2.5, "a": null}},
        });
        for (name, value) in fields.as_object().unwrap() {
            assert!(job.get(name).is_some());
            job[name] = match value.as_str() {
                Some("file") => json!([{"name": name, "role": "verifying", "sha256": name}]),
                Some("tensor") => json!([tensor(name)]),
                Some("samples") => json!([[tensor(name)], []]),
                _ => value.clone(),
            };
        }
        job
    }

    #[test]
    fn earlier_jobs_are_read_and_keep_their_keys() {
        for (operation, fields, files) in [
            ("supports", json!({"payload": true}), 1),
            (
                "compile",
                json!({"calibration": "samples", "calibration_outputs": "samples"}),
                2,
            ),
            ("witness", json!({"circuit": "file", "inputs": "tensor"}), 2),
            (
                "prove",
                json!({"circuit": "file", "witness": "file", "inputs": "tensor", "outputs": "tensor"}),
                4,
            ),
            (
                "verify",
                json!({"circuit": "file", "proof": "file", "inputs": "tensor", "outputs": "tensor",
                       "tolerance": 0.25}),
                4,
            ),
        ] {
            let document = earlier(operation, fields);
            let job: Job = serde_json::from_value(document.clone()).unwrap();
            assert_eq!(job.op().as_str(), operation);
            assert_eq!(job.files().len(), files, "{operation}");
            let key = sha256_hex(canonical(&document).to_string().as_bytes());
            assert_eq!(job.key(), key, "{operation}");
            let again: Job = serde_json::from_str(&serde_json::to_string(&job).unwrap()).unwrap();
            assert_eq!(again, job);
        }
    }

    #[test]
    fn a_job_of_no_operation_on_slices_is_refused() {
        for operation in ["probe", "divine"] {
            let error = serde_json::from_value::<Job>(earlier(operation, json!({}))).unwrap_err();
            assert!(error.to_string().contains(operation), "{error}");
        }
    }
}
