//! A slice with a directory, and the operations on it.

use dsperse_backend_sumcheck::SumcheckBackend;
use dsperse_onnx::{DataType, ModelProto, ValueInfoProto};
use dsperse_plugin_api::context::Host;
use dsperse_plugin_api::job::Options;
use dsperse_plugin_api::{
    ArtefactRef, Backend, CompileJob, Cx, Done, Encoding, Level, Number, ProveJob, SliceInfo,
    TensorFile, TensorInfo, Verdict, VerifyJob, WitnessJob,
};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

struct Quiet;
impl Host for Quiet {
    fn log(&self, _: Level, _: &str) {}
    fn progress(&self, _: f64, _: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
}

fn encoding(dtype: DataType) -> Encoding {
    match dtype {
        DataType::Bool => Encoding::Bool,
        DataType::I8 => Encoding::I8,
        DataType::U8 => Encoding::U8,
        DataType::I32 => Encoding::I32,
        DataType::I64 => Encoding::I64,
        _ => Encoding::F32,
    }
}

/// A slice under test.
pub struct Bench {
    dir: tempfile::TempDir,
    pub slice: SliceInfo,
    pub options: Options,
    /// Most memory of a job.
    pub memory: Option<u64>,
}

/// A finished run: everything that a verifier gets.
pub struct Run {
    pub compiled: Done,
    pub witness: Done,
    pub job: VerifyJob,
}

impl Bench {
    /// A slice from a model's bytes, with concrete input and output shapes.
    pub fn new(model: &[u8], inputs: &[Vec<u64>], outputs: &[Vec<u64>]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("slice.onnx");
        std::fs::write(&path, model).expect("written");
        let proto = ModelProto::parse(model.to_vec()).expect("a model");
        let graph = proto.main_graph().expect("a graph");
        let info = |value: &ValueInfoProto, shape: &[u64]| TensorInfo {
            name: value.name().to_owned(),
            encoding: encoding(value.dtype()),
            shape: shape.to_vec(),
        };
        let real = graph.real_inputs();
        let slice = SliceInfo {
            index: 0,
            model: Some(path.to_string_lossy().into_owned()),
            sha256: hex::encode(Sha256::digest(model)),
            model_sha256: hex::encode(Sha256::digest(b"the whole model")),
            inputs: real.iter().zip(inputs).map(|(v, s)| info(v, s)).collect(),
            outputs: graph
                .output
                .iter()
                .zip(outputs)
                .map(|(v, s)| info(v, s))
                .collect(),
        };
        Self {
            dir,
            slice,
            options: Options::new(),
            memory: None,
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Calls an operation in a directory of its own.
    pub fn with<T>(&self, stage: &str, f: impl FnOnce(&SumcheckBackend, &Cx) -> T) -> T {
        let dir = self.stage(stage);
        let cx = Cx::new(dir, 1, self.memory, &Quiet);
        let backend = SumcheckBackend::open(&cx).expect("opens");
        f(&backend, &cx)
    }

    fn stage(&self, stage: &str) -> PathBuf {
        let dir = self.path().join(stage);
        std::fs::create_dir_all(&dir).expect("a directory");
        dir
    }

    /// Writes a tensor of any type; integers are given as floats.
    fn tensor(&self, file: &str, info: &TensorInfo, data: &[f32]) -> TensorFile {
        let path = self.path().join(file);
        let mut bytes = Vec::new();
        for x in data {
            let number = Number::Float(f64::from(*x));
            number.write(info.encoding, &mut bytes).expect("fits");
        }
        std::fs::write(&path, bytes).expect("written");
        TensorFile {
            info: info.clone(),
            path: path.to_string_lossy().into_owned(),
            sha256: String::new(),
        }
    }

    /// The slice's inputs from data, in order.
    pub fn inputs(&self, label: &str, data: &[Vec<f32>]) -> Vec<TensorFile> {
        self.slice
            .inputs
            .iter()
            .zip(data)
            .enumerate()
            .map(|(i, (info, data))| self.tensor(&format!("{label}_{i}.bin"), info, data))
            .collect()
    }

    /// Artefacts as later stages get them.
    pub fn artefacts(&self, stage: &str, done: &Done) -> Vec<ArtefactRef> {
        done.artefacts
            .iter()
            .map(|a| ArtefactRef {
                name: a.name.clone(),
                role: a.role,
                path: self
                    .path()
                    .join(stage)
                    .join(&a.path)
                    .to_string_lossy()
                    .into_owned(),
                sha256: String::new(),
            })
            .collect()
    }

    /// Compile, witness, prove.
    pub fn run(&self, calibration: Vec<Vec<TensorFile>>, inputs: Vec<TensorFile>) -> Run {
        self.run_with_outputs(calibration, Vec::new(), inputs)
    }

    /// The same with the float model's outputs of the calibration samples.
    pub fn run_with_outputs(
        &self,
        calibration: Vec<Vec<TensorFile>>,
        calibration_outputs: Vec<Vec<TensorFile>>,
        inputs: Vec<TensorFile>,
    ) -> Run {
        let compile = CompileJob {
            slice: self.slice.clone(),
            calibration,
            calibration_outputs,
            options: self.options.clone(),
        };
        let compiled = self
            .with("compile", |b, cx| b.compile(&compile, cx))
            .expect("compiles");
        let circuit = self.artefacts("compile", &compiled);
        let witness = WitnessJob {
            slice: self.slice.clone(),
            circuit: circuit.clone(),
            inputs: inputs.clone(),
            options: self.options.clone(),
        };
        let witness = self
            .with("witness", |b, cx| b.witness(&witness, cx))
            .expect("computes");
        let mut outputs = witness.outputs.clone();
        for t in &mut outputs {
            let path = self.path().join("witness").join(&t.path);
            t.path = path.to_string_lossy().into_owned();
        }
        let prove = ProveJob {
            slice: self.slice.clone(),
            circuit: circuit.clone(),
            witness: Vec::new(),
            inputs: inputs.clone(),
            outputs: outputs.clone(),
            options: self.options.clone(),
        };
        let proven = self
            .with("prove", |b, cx| b.prove(&prove, cx))
            .expect("proves");
        // The verifier gets no payload and no proving artefact.
        let mut slice = self.slice.clone();
        slice.model = None;
        let job = VerifyJob {
            slice,
            circuit: circuit
                .into_iter()
                .filter(|a| a.role != dsperse_plugin_api::Role::Proving)
                .collect(),
            proof: self.artefacts("prove", &proven),
            inputs,
            outputs,
            tolerance: 0.0,
            options: self.options.clone(),
        };
        Run {
            compiled,
            witness,
            job,
        }
    }

    pub fn verify(&self, job: &VerifyJob) -> Verdict {
        self.with("verify", |b, cx| b.verify(job, cx))
            .expect("a verdict, never an error")
    }
}
