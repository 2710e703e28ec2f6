//! An executor in memory and a small sliced model, for the unit tests of the stages.
//!
//! No plugin is loaded and no process is started: what stands for backends is a
//! descriptor each and a script that says how their jobs end. A distributed executor
//! would stand in the same place.

use crate::compile::{CompileOptions, compile};
use crate::config::Config;
use crate::error::Result;
use crate::event::Event;
use crate::job::{Executor, Files, Hint, Job, Outcome, TensorRef, Work};
use crate::prove::{ProveOptions, prove};
use crate::report::StageReport;
use crate::run::{Ran, RunOptions, run};
use crate::session::{Limits, Session};
use crate::verify::{VerifyOptions, verify};
use dsperse_documents::digest::sha256_hex;
use dsperse_documents::{
    BackendError, ModelFile, ModelMetadata, SliceMetadata, SliceSummary, Usage, VerificationReport,
};
use dsperse_plugin_api::{
    Artefact, BindsPublicIo, Capabilities, Cost, Descriptor, Done, Encoding, ProofProperties, Role,
    Stage, Support, TensorFile, TensorInfo, Verdict,
};
use dsperse_plugin_host::{CancelToken, Control, Reply};
use dsperse_store::{Access, Fixed, NewSlices, RunDir, Shape, SliceStore, read_inputs};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// How a job ends: the answer of the script, or `None` when it goes well.
pub(crate) type Answer = Option<std::result::Result<Reply, BackendError>>;

type Script<'s> = Box<dyn Fn(&Job, &Control) -> Answer + Send + Sync + 's>;

/// Carries out jobs as a script says, and remembers them.
pub(crate) struct Fake<'s> {
    script: Script<'s>,
    jobs: Mutex<Vec<Job>>,
}

impl<'s> Fake<'s> {
    pub(crate) fn new(script: impl Fn(&Job, &Control) -> Answer + Send + Sync + 's) -> Self {
        Self {
            script: Box::new(script),
            jobs: Mutex::default(),
        }
    }

    /// The jobs since the last call of this function.
    pub(crate) fn jobs(&self) -> Vec<Job> {
        std::mem::take(&mut self.jobs.lock().unwrap())
    }

    /// The same in words, `compile 0 a`, those on slice `index` only.
    pub(crate) fn calls(&self, index: usize) -> Vec<String> {
        let jobs = self.jobs().into_iter().filter(|j| j.slice.index == index);
        jobs.map(|j| said(&j)).collect()
    }
}

/// A job in words: operation, slice, backend. `verify` asks for the very version that it
/// judged by, which is left out.
pub(crate) fn said(job: &Job) -> String {
    let backend = job.backend.split('@').next().unwrap();
    format!("{} {} {backend}", job.op(), job.slice.index)
}

impl Executor for Fake<'_> {
    fn execute(
        &self,
        job: &Job,
        files: &Files,
        control: &Control,
        _: Hint,
    ) -> crate::Result<Outcome> {
        self.jobs.lock().unwrap().push(job.clone());
        let scripted = (self.script)(job, control);
        let usage = Usage {
            seconds: 2.0,
            cpu_seconds: 1.0,
            peak_bytes: 1000,
            ..Usage::default()
        };
        let result = scripted.unwrap_or_else(|| Ok(well(job, files, control)));
        Ok(Outcome::here(result, usage))
    }
}

/// What a backend does when nothing is wrong: every slice adds one to its input, keys are
/// of the slice, proofs are of the claim.
fn well(job: &Job, files: &Files, control: &Control) -> Reply {
    let artefact = |name: &str, text: String| {
        fs::write(control.dir.join(name), text).unwrap();
        vec![Artefact::new(name, Role::Verifying, name)]
    };
    let input = |inputs: &[TensorRef]| {
        let input = &inputs[0];
        fs::read(files.get(&input.info.name, &input.sha256).unwrap()).unwrap()
    };
    match &job.work {
        Work::Supports => yes(0),
        Work::Compile { .. } => Reply::Done(Done {
            artefacts: artefact("key", format!("{} {}", job.backend, job.slice.sha256)),
            ..Done::default()
        }),
        Work::Witness { inputs, .. } => {
            let data = plus_one(&input(inputs));
            fs::write(control.dir.join("output"), &data).unwrap();
            Reply::Done(Done {
                outputs: vec![TensorFile {
                    info: job.slice.outputs[0].clone(),
                    path: "output".into(),
                    sha256: sha256_hex(&data),
                }],
                ..Done::default()
            })
        }
        Work::Prove { outputs, .. } => Reply::Done(Done {
            artefacts: artefact("proof", outputs[0].sha256.clone()),
            ..Done::default()
        }),
        Work::Verify {
            inputs, outputs, ..
        } => {
            let right = sha256_hex(&plus_one(&input(inputs))) == outputs[0].sha256;
            Reply::Verdict(if right {
                Verdict::valid()
            } else {
                invalid("the output is another")
            })
        }
    }
}

fn plus_one(bytes: &[u8]) -> Vec<u8> {
    let values = bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    values.flat_map(|v| (v + 1.0).to_le_bytes()).collect()
}

/// "Yes, with so much memory."
pub(crate) fn yes(peak_bytes: u64) -> Reply {
    Reply::Supports(Support::Yes {
        cost: Cost {
            peak_bytes,
            ..Cost::default()
        },
    })
}

pub(crate) fn invalid(reason: &str) -> Verdict {
    Verdict::Invalid {
        reason: reason.into(),
    }
}

/// A backend that proves.
pub(crate) fn prover(name: &str) -> Descriptor {
    let mut d = Descriptor::new(name, "1.0.0", "a prover");
    d.capabilities = Capabilities {
        stages: vec![Stage::Compile, Stage::Witness, Stage::Prove, Stage::Verify],
        proof: Some(ProofProperties {
            binds_public_io: BindsPublicIo::Strong,
            ..ProofProperties::default()
        }),
        ..Capabilities::default()
    };
    d
}

/// A backend that executes: in the place of `onnx`, the default fallback.
pub(crate) fn executor() -> Descriptor {
    let mut d = Descriptor::new("onnx", "1.0.0", "an executor");
    d.capabilities.stages = vec![Stage::Compile, Stage::Witness, Stage::Recompute];
    d
}

/// A model of two slices, x → slice 0 → a → slice 1 → y, in a directory of its own.
pub(crate) struct World {
    pub dir: tempfile::TempDir,
    pub cancel: CancelToken,
    pub limits: Limits,
    pub backends: Vec<Descriptor>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl World {
    /// The model, and these backends beside the executor.
    pub(crate) fn new(backends: &[Descriptor]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let new = NewSlices::create(&dir.path().join("slices"), Shape::Dirs).unwrap();
        let info = |name: &str| TensorInfo {
            name: name.into(),
            encoding: Encoding::F32,
            shape: vec![1, 4],
        };
        let slice = |index: usize, input: &str, output: &str| {
            let payload = format!("onnx {index}");
            fs::write(new.payload_path(index).unwrap(), &payload).unwrap();
            SliceSummary {
                index,
                payload_sha256: sha256_hex(payload.as_bytes()),
                payload_size: payload.len() as u64,
                inputs: vec![info(input)],
                outputs: vec![info(output)],
                operators: [("Add".to_owned(), 1)].into(),
                parameters: 4,
                macs: 4,
                ..SliceSummary::default()
            }
        };
        let mut model = ModelMetadata {
            model: ModelFile {
                name: "model.onnx".into(),
                size: 3,
                sha256: sha256_hex(b"abc"),
                ..ModelFile::default()
            },
            inputs: vec![info("x")],
            outputs: vec![info("y")],
            slices: vec![slice(0, "x", "a"), slice(1, "a", "y")],
            ..ModelMetadata::default()
        };
        model.seal().unwrap();
        new.finish(&model).unwrap();
        let input = r#"{"input_data": [[1, 2, 3, 4]]}"#;
        fs::write(dir.path().join("input.json"), input).unwrap();
        Self {
            dir,
            cancel: CancelToken::new(),
            // One at a time, so that jobs have an order.
            limits: Limits {
                parallel: Some(1),
                ..Limits::default()
            },
            backends: [backends, &[executor()]].concat(),
            events: Arc::default(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn session<'a>(&self, fake: &'a Fake<'_>) -> Session<'a> {
        let events = self.events.clone();
        let digest = |d: &Descriptor| sha256_hex(format!("{} {}", d.name, d.summary).as_bytes());
        Session::with_backends(
            self.backends.iter().map(|d| (d.clone(), digest(d))),
            fake,
            &Config::default(),
            self.limits,
            self.cancel.clone(),
            Arc::new(move |e| events.lock().unwrap().push(e.clone())),
        )
        .unwrap()
    }

    /// What was reported so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    pub(crate) fn slice(&self, index: usize) -> SliceMetadata {
        let store = SliceStore::open(&self.path("slices"), Access::Read).unwrap();
        store.slice(index).unwrap()
    }

    pub(crate) fn compile(&self, fake: &Fake<'_>, chain: &str) -> StageReport {
        self.compile_with(fake, chain, |_| {})
    }

    pub(crate) fn compile_with(
        &self,
        fake: &Fake<'_>,
        chain: &str,
        change: impl FnOnce(&mut CompileOptions),
    ) -> StageReport {
        let store = SliceStore::open(&self.path("slices"), Access::Edit).unwrap();
        let mut options = CompileOptions {
            backend: Some(chain.into()),
            ..CompileOptions::default()
        };
        change(&mut options);
        let report = compile(&self.session(fake), &store, &options).unwrap();
        store.commit().unwrap();
        report
    }

    pub(crate) fn run(&self, fake: &Fake<'_>) -> Ran {
        self.run_layers(fake, None)
    }

    pub(crate) fn run_layers(&self, fake: &Fake<'_>, layers: Option<&str>) -> Ran {
        self.try_run(fake, layers).unwrap()
    }

    pub(crate) fn try_run(&self, fake: &Fake<'_>, layers: Option<&str>) -> Result<Ran> {
        let store = SliceStore::open(&self.path("slices"), Access::Read).unwrap();
        let options = RunOptions {
            views: false,
            name: None,
            runs: self.path("run"),
            backend: None,
            layers: layers.map(str::to_owned),
            output_file: None,
        };
        let inputs = &store.require_model().unwrap().inputs;
        let inputs = read_inputs(&self.path("input.json"), inputs, &Fixed::new()).unwrap();
        run(&self.session(fake), &store, &options, &inputs)
    }

    pub(crate) fn prove(&self, fake: &Fake<'_>, ran: &Ran) -> StageReport {
        self.prove_layers(fake, ran, None)
    }

    pub(crate) fn prove_layers(
        &self,
        fake: &Fake<'_>,
        ran: &Ran,
        layers: Option<&str>,
    ) -> StageReport {
        let options = ProveOptions {
            layers: layers.map(str::to_owned),
            ..ProveOptions::default()
        };
        self.try_prove(fake, ran, &options).unwrap()
    }

    pub(crate) fn try_prove(
        &self,
        fake: &Fake<'_>,
        ran: &Ran,
        options: &ProveOptions,
    ) -> Result<StageReport> {
        let store = SliceStore::open(&self.path("slices"), Access::Read).unwrap();
        let dir = RunDir::open(&ran.path, Access::Edit).unwrap();
        prove(&self.session(fake), &store, &dir, options)
    }

    pub(crate) fn verify(
        &self,
        fake: &Fake<'_>,
        ran: &Ran,
        options: &VerifyOptions,
    ) -> Result<VerificationReport> {
        let store = SliceStore::open(&self.path("slices"), Access::Read).unwrap();
        let dir = RunDir::open(&ran.path, Access::Read).unwrap();
        verify(&self.session(fake), &store, &dir, options)
    }

    pub(crate) fn results(&self, ran: &Ran) -> dsperse_documents::RunResults {
        RunDir::open(&ran.path, Access::Read).unwrap().results()
    }
}
