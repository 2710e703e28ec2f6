//! Calls a backend's stages directly, in this process, with every stage in a directory of
//! its own: for the tests of a plugin crate that need no host.

use dsperse_onnx::{DataType, GraphProto, ModelProto, NodeProto, Tensor, ValueInfoProto, Values};
use dsperse_plugin_api::context::Host;
use dsperse_plugin_api::job::Options;
use dsperse_plugin_api::{
    ArtefactRef, Backend, CompileJob, Cx, Done, Encoding, Level, ProveJob, Result, Role, SliceInfo,
    Support, SupportsJob, TensorFile, TensorInfo, Verdict, VerifyJob, WitnessJob,
};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A host that hears nothing and never cancels.
pub struct Quiet;
impl Host for Quiet {
    fn log(&self, _: Level, _: &str) {}
    fn progress(&self, _: f64, _: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
}

/// Runs `f` with a backend in a directory.
///
/// # Errors
/// Those of the backend.
pub fn call<B: Backend, T>(dir: &Path, f: impl FnOnce(&B, &Cx) -> Result<T>) -> Result<T> {
    std::fs::create_dir_all(dir).expect("a directory can be made");
    let cx = Cx::new(dir.to_owned(), 2, None, &Quiet);
    f(&B::open(&cx)?, &cx)
}

/// A calibration sample: one list of plain floats for each input and output.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The slice's inputs.
    pub inputs: Vec<Vec<f32>>,
    /// The float model's outputs.
    pub outputs: Vec<Vec<f32>>,
}

/// A compiled slice.
pub struct Slice<B> {
    dir: TempDir,
    /// What requests say of the slice.
    pub info: SliceInfo,
    /// What `compile` made.
    pub circuit: Vec<ArtefactRef>,
    /// What `compile` reported.
    pub done: Done,
    /// The backend's options, for all further stages.
    pub options: Options,
    backend: PhantomData<B>,
}

/// A run of a slice: the claim, the witness and the proof.
#[derive(Clone)]
pub struct Run {
    /// Claimed inputs.
    pub inputs: Vec<TensorFile>,
    /// Claimed outputs.
    pub outputs: Vec<TensorFile>,
    /// What `witness` made.
    pub witness: Vec<ArtefactRef>,
    /// What `prove` made.
    pub proof: Vec<ArtefactRef>,
}

impl<B: Backend> Slice<B> {
    /// Asks `supports`, which must say yes, and compiles.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Panics
    /// When the backend does not support the slice.
    pub fn compile(model: &ModelProto, options: Options, calibration: &[Sample]) -> Result<Self> {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let job = compile_job(dir.path(), model, options, calibration);
        let mut slice = Self {
            info: job.slice.clone(),
            dir,
            circuit: vec![],
            done: Done::default(),
            options: job.options.clone(),
            backend: PhantomData,
        };
        let ask = SupportsJob {
            slice: slice.info.clone(),
            options: slice.options.clone(),
        };
        let support = slice.stage("supports", |b: &B, cx| b.supports(&ask, cx))?;
        assert!(matches!(support, Support::Yes { .. }), "{support:?}");
        let done = slice.stage("compile", |b: &B, cx| b.compile(&job, cx))?;
        slice.circuit = slice.refs("compile", &done);
        slice.done = done;
        Ok(slice)
    }

    /// The slice's input tensors from plain floats.
    #[must_use]
    pub fn inputs(&self, name: &str, data: &[Vec<f32>]) -> Vec<TensorFile> {
        tensors(self.dir.path(), name, &self.info.inputs, data)
    }

    /// Makes a witness and a proof; `name` keeps the files of several runs apart.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn run(&self, name: &str, inputs: Vec<TensorFile>) -> Result<Run> {
        let job = WitnessJob {
            slice: self.info.clone(),
            circuit: self.circuit.clone(),
            inputs: inputs.clone(),
            options: self.options.clone(),
        };
        let stage = format!("{name}_witness");
        let done = self.stage(&stage, |b: &B, cx| b.witness(&job, cx))?;
        let witness = self.refs(&stage, &done);
        let outputs: Vec<TensorFile> = done
            .outputs
            .iter()
            .map(|o| TensorFile {
                path: self.file(&stage).join(&o.path).display().to_string(),
                ..o.clone()
            })
            .collect();
        let job = ProveJob {
            slice: self.info.clone(),
            circuit: self.circuit.clone(),
            witness: witness.clone(),
            inputs: inputs.clone(),
            outputs: outputs.clone(),
            options: self.options.clone(),
        };
        let stage = format!("{name}_prove");
        let done = self.stage(&stage, |b: &B, cx| b.prove(&job, cx))?;
        Ok(Run {
            inputs,
            outputs,
            witness,
            proof: self.refs(&stage, &done),
        })
    }

    /// The verdict, from verifying artefacts and without the payload.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn verify(&self, run: &Run) -> Result<Verdict> {
        self.verify_with(run, self.options.clone())
    }

    /// The verdict of a verifier with options of its own.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn verify_with(&self, run: &Run, options: Options) -> Result<Verdict> {
        self.verify_circuit(run, self.circuit.clone(), options)
    }

    /// The verdict with other artefacts of the circuit, of which the verifier gets its own.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn verify_circuit(
        &self,
        run: &Run,
        circuit: Vec<ArtefactRef>,
        options: Options,
    ) -> Result<Verdict> {
        let job = VerifyJob {
            slice: SliceInfo {
                model: None,
                ..self.info.clone()
            },
            circuit: circuit
                .into_iter()
                .filter(|a| a.role == Role::Verifying)
                .collect(),
            proof: run.proof.clone(),
            inputs: run.inputs.clone(),
            outputs: run.outputs.clone(),
            tolerance: 0.0,
            options,
        };
        self.stage("verify", |b: &B, cx| b.verify(&job, cx))
    }

    /// The reason for which a run is invalid.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn invalid(&self, run: &Run) -> String {
        match self.verify(run) {
            Ok(Verdict::Invalid { reason }) => reason,
            other => panic!("expected an invalid verdict, found {other:?}"),
        }
    }

    /// The path of a file in the slice's directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file into the slice's directory and returns its path for a request.
    ///
    /// # Panics
    /// When it can't be written.
    #[must_use]
    pub fn written(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.file(name);
        std::fs::write(&path, bytes).expect("a file can be written");
        path.display().to_string()
    }

    /// The index of a circuit's artefact.
    ///
    /// # Panics
    /// When there is none of this name.
    #[must_use]
    pub fn artefact(&self, name: &str) -> usize {
        self.circuit
            .iter()
            .position(|a| a.name == name)
            .expect("the artefact is there")
    }

    fn stage<T>(&self, name: &str, f: impl FnOnce(&B, &Cx) -> Result<T>) -> Result<T> {
        call(&self.file(name), f)
    }

    fn refs(&self, stage: &str, done: &Done) -> Vec<ArtefactRef> {
        done.artefacts
            .iter()
            .map(|a| ArtefactRef {
                name: a.name.clone(),
                role: a.role,
                path: self.file(stage).join(&a.path).display().to_string(),
                sha256: String::new(),
            })
            .collect()
    }
}

/// Writes a model and calibration samples into a directory and asks for their compilation.
///
/// # Panics
/// When files can't be written, or the model has no graph with concrete shapes.
#[must_use]
pub fn compile_job(
    dir: &Path,
    model: &ModelProto,
    options: Options,
    calibration: &[Sample],
) -> CompileJob {
    let path = dir.join("slice.onnx");
    std::fs::write(&path, model.to_bytes()).expect("a model can be written");
    let graph = model.main_graph().expect("the model has a graph");
    let slice = SliceInfo {
        index: 0,
        model: Some(path.display().to_string()),
        sha256: String::new(),
        model_sha256: String::new(),
        inputs: ports(&graph.input),
        outputs: ports(&graph.output),
    };
    let files = |what: &str, infos: &[TensorInfo], pick: fn(&Sample) -> &Vec<Vec<f32>>| {
        calibration
            .iter()
            .enumerate()
            .map(|(i, s)| tensors(dir, &format!("{what}{i}"), infos, pick(s)))
            .collect()
    };
    CompileJob {
        calibration: files("calibration", &slice.inputs, |s| &s.inputs),
        calibration_outputs: files("expected", &slice.outputs, |s| &s.outputs),
        slice,
        options,
    }
}

/// Writes plain tensors as `<name>_<i>.bin`.
fn tensors(dir: &Path, name: &str, infos: &[TensorInfo], data: &[Vec<f32>]) -> Vec<TensorFile> {
    infos
        .iter()
        .zip(data)
        .enumerate()
        .map(|(i, (info, data))| {
            let bytes: Vec<u8> = data.iter().flat_map(|v| v.to_le_bytes()).collect();
            let path = dir.join(format!("{name}_{i}.bin"));
            std::fs::write(&path, bytes).expect("a tensor can be written");
            TensorFile {
                info: info.clone(),
                path: path.display().to_string(),
                sha256: String::new(),
            }
        })
        .collect()
}

fn ports(ports: &[ValueInfoProto]) -> Vec<TensorInfo> {
    ports
        .iter()
        .map(|p| TensorInfo {
            name: p.name().to_owned(),
            encoding: Encoding::F32,
            shape: p.shape().expect("a concrete shape"),
        })
        .collect()
}

/// Deterministic values in -1..1.
#[must_use]
pub fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

/// A small model (opset 17) from float inputs and outputs, constants and nodes.
///
/// # Panics
/// When a constant's shape and values disagree.
#[must_use]
pub fn model(
    inputs: &[(&str, &[u64])],
    outputs: &[(&str, &[u64])],
    constants: Vec<(&str, &[usize], Values)>,
    nodes: Vec<NodeProto>,
) -> ModelProto {
    let port = |p: &(&str, &[u64])| ValueInfoProto::concrete(p.0, DataType::F32, p.1);
    let graph = GraphProto {
        name: Some("slice".into()),
        input: inputs.iter().map(port).collect(),
        output: outputs.iter().map(port).collect(),
        initializer: constants
            .into_iter()
            .map(|(name, shape, values)| {
                Tensor::new(shape.to_vec(), values)
                    .expect("shape and values agree")
                    .to_proto(name)
            })
            .collect(),
        node: nodes
            .into_iter()
            .enumerate()
            .map(|(i, n)| n.named(&format!("n{i}")))
            .collect(),
        ..GraphProto::default()
    };
    ModelProto::from_graph(graph, 17)
}

/// A tool that a test needs. Such a test is ignored with a reason, and run where the tool is.
///
/// # Panics
/// When it is missing.
pub fn needed<T>(name: &str, found: Result<T>) -> T {
    found.unwrap_or_else(|e| panic!("{name} is missing: {e}"))
}
