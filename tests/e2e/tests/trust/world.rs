//! A finished run that somebody may tamper with, and the verifier's view of it.
//!
//! The verifier is called inside this process ([`Lab::verify`]), so that thousands of
//! verifications take seconds; backends still run in workers of the real binary, except
//! where a test asks for [`Isolation::None`].

use dsperse_documents::tensors::digest_of;
use dsperse_documents::{
    Document, ModelMetadata, RunResults, SliceMetadata, TensorIndex, Verdict, VerificationReport,
};
pub use dsperse_e2e::copy;
use dsperse_e2e::{Place, binary};
use dsperse_plugin_host::{CancelToken, HostOptions, Isolation, PluginHost};
use dsperse_stages::local::LocalExecutor;
use dsperse_stages::verify::{VerifyOptions, verify};
use dsperse_stages::{Config, Error, ErrorClass, Limits, Session};
use dsperse_store::{Access, RunDir, SliceStore, file_digest};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Options that the external tools need for trials.
const CONFIG: &str = "[backend.ezkl]\nsrs_dir = \"srs\"\ninsecure_test_srs = true\n";

/// A model, its slices, a run with proofs, and a second run on another input.
pub struct World {
    dir: tempfile::TempDir,
    pub backend: &'static str,
    run: String,
    other_run: String,
}

/// Runs everything once per backend; every test works on a copy.
fn original(backend: &'static str) -> &'static World {
    static MADE: Mutex<BTreeMap<&'static str, &'static World>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry(backend)
        .or_insert_with(|| Box::leak(Box::new(make(backend))))
}

fn make(backend: &'static str) -> World {
    let place = Place::with_plugins(&plugins_of(backend));
    place.add_model("digits-mlp", "model");
    fs::write(place.path("dsperse.toml"), CONFIG).expect("a configuration");
    let call = |line: &str| {
        let mut command = place.command();
        if let Some(environment) = python_environment() {
            command.env("VIRTUAL_ENV", environment);
        }
        let output = command
            .args(line.split_whitespace())
            .output()
            .expect("the binary can be started");
        let ran = dsperse_e2e::ran(&output);
        assert_eq!(ran.code, 0, "{line}\n{}\n{}", ran.stdout, ran.stderr);
    };
    call(&format!(
        "full-run -m model --strategy layer -b {backend} --strict"
    ));
    let run = place.newest_run();
    fs::rename(place.path(&run), place.path("model/run/first")).expect("a move");
    place.edit_json("model/input.json", |v| v["input_data"][0][5] = 0.5.into());
    call(&format!(
        "full-run -m model --strategy layer -b {backend} --strict"
    ));
    let other = place.newest_run();
    fs::rename(place.path(&other), place.path("model/run/second")).expect("a move");
    call("slice -m model --strategy whole --output-type dirs -o whole");
    let dir = tempfile::tempdir().expect("a temporary directory");
    copy(&place.path(""), dir.path());
    World {
        dir,
        backend,
        run: "model/run/first".into(),
        other_run: "model/run/second".into(),
    }
}

pub fn plugins_of(backend: &str) -> Vec<&str> {
    if backend == "onnx" {
        vec!["onnx"]
    } else {
        vec!["onnx", backend]
    }
}

/// Where external tools are looked for: the caller's environment, or the project's own.
fn python_environment() -> Option<PathBuf> {
    std::env::var_os("VIRTUAL_ENV")
        .map(PathBuf::from)
        .or_else(|| Some(dsperse_test_support::repository().join(".venv")))
        .filter(|p| p.is_dir())
        .and_then(|p| p.canonicalize().ok())
}

impl World {
    /// A fresh copy.
    pub fn of(backend: &'static str) -> Self {
        original(backend).again()
    }

    pub fn again(&self) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        copy(self.dir.path(), dir.path());
        Self {
            dir,
            backend: self.backend,
            run: self.run.clone(),
            other_run: self.other_run.clone(),
        }
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }
    pub fn slices(&self) -> PathBuf {
        self.root().join("model/slices")
    }
    pub fn run(&self) -> PathBuf {
        self.root().join(&self.run)
    }
    pub fn other_run(&self) -> PathBuf {
        self.root().join(&self.other_run)
    }
    pub fn slice(&self, i: usize) -> PathBuf {
        self.slices().join(format!("slice_{i}"))
    }

    pub fn model(&self) -> ModelMetadata {
        read(&self.slices().join("metadata.json"))
    }
    pub fn slice_metadata(&self, i: usize) -> SliceMetadata {
        read(&self.slice(i).join("metadata.json"))
    }
    pub fn results(&self) -> RunResults {
        read(&self.run().join("run_results.json"))
    }
    pub fn index(&self) -> TensorIndex {
        read(&self.run().join("tensors/index.json"))
    }
    pub fn edit_model(&self, f: impl FnOnce(&mut ModelMetadata)) {
        edit(&self.slices().join("metadata.json"), f);
    }
    pub fn edit_slice(&self, i: usize, f: impl FnOnce(&mut SliceMetadata)) {
        edit(&self.slice(i).join("metadata.json"), f);
    }
    pub fn edit_results(&self, f: impl FnOnce(&mut RunResults)) {
        edit(&self.run().join("run_results.json"), f);
    }
    pub fn edit_index(&self, f: impl FnOnce(&mut TensorIndex)) {
        edit(&self.run().join("tensors/index.json"), f);
    }

    /// The file of a tensor of the run.
    pub fn tensor(&self, name: &str) -> PathBuf {
        let index = self.index();
        let record = index.get(name).expect("the tensor is in the run");
        self.run().join("tensors").join(&record.path)
    }
    /// The first proof file of a slice.
    pub fn proof(&self, i: usize) -> PathBuf {
        let results = self.results();
        let stage = results.slices[i].proof_execution.as_ref();
        self.run()
            .join(&stage.expect("the slice has a proof").files[0].path)
    }
    /// The first verifying artefact of a slice.
    pub fn key(&self, i: usize) -> PathBuf {
        let metadata = self.slice_metadata(i);
        let all = &metadata.compilations[self.backend].artefacts;
        let key = all
            .iter()
            .find(|a| a.role == dsperse_documents::Role::Verifying);
        self.slice(i).join(&key.expect("a key").path)
    }
    pub fn payload(&self, i: usize) -> PathBuf {
        let path = self.slice_metadata(i).payload.path;
        self.slice(i).join(path.expect("a payload"))
    }

    /// What a cheat does who knows the format: every size and digest, in every document,
    /// is made to fit the files again.
    pub fn reseal(&self) {
        let mut model = self.model();
        for i in 0..model.slices.len() {
            self.edit_slice(i, |m| {
                if let Some(path) = &m.payload.path {
                    (m.payload.size, m.payload.sha256) = measured(&self.slice(i).join(path));
                }
                for c in m.compilations.values_mut() {
                    c.payload_sha256.clone_from(&m.payload.sha256);
                    for a in &mut c.artefacts {
                        (a.size, a.sha256) = measured(&self.slice(i).join(&a.path));
                    }
                }
                model.slices[i].payload_size = m.payload.size;
                model.slices[i].payload_sha256.clone_from(&m.payload.sha256);
            });
        }
        model.seal().expect("the slices still fit together");
        for i in 0..model.slices.len() {
            self.edit_slice(i, |m| m.model_identity.clone_from(&model.identity));
        }
        self.edit_index(|index| {
            for t in &mut index.tensors {
                (t.size, t.sha256) = measured(&self.run().join("tensors").join(&t.path));
            }
        });
        let index = self.index();
        let digest = |names: &[dsperse_documents::TensorInfo]| {
            digest_of(names.iter().filter_map(|t| index.get(&t.name)))
        };
        self.edit_results(|r| {
            r.model_identity.clone_from(&model.identity);
            r.model_sha256.clone_from(&model.model.sha256);
            r.input_sha256 = digest(&model.inputs);
            r.output_sha256 = Some(digest(&model.outputs));
            for s in &mut r.slices {
                for stage in [&mut s.witness_execution, &mut s.proof_execution] {
                    for f in stage.iter_mut().flat_map(|s| &mut s.files) {
                        let path = self.run().join(&f.path);
                        if path.is_file() {
                            (f.size, f.sha256) = measured(&path);
                        }
                    }
                }
            }
        });
        edit(&self.slices().join("metadata.json"), |m| *m = model);
    }
}

fn measured(path: &Path) -> (u64, String) {
    file_digest(path).expect("the file can be read")
}

pub fn read<D: Document>(path: &Path) -> D {
    D::parse(&fs::read(path).expect("a file")).expect("a document")
}

fn edit<D: Document>(path: &Path, f: impl FnOnce(&mut D)) {
    let mut document: D = read(path);
    f(&mut document);
    fs::write(path, document.to_json().expect("JSON")).expect("a write");
}

/// Flips a bit in the middle of a file.
pub fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("a write");
}

/// Makes one number of the model's input another that matters to the model.
pub fn change_input(world: &World) {
    let path = world.tensor("input");
    let mut bytes = fs::read(&path).expect("a file");
    let element = &mut bytes[40..44];
    let value = f32::from_le_bytes(element.try_into().expect("four bytes"));
    element.copy_from_slice(&(value + 1.0).to_le_bytes());
    fs::write(&path, bytes).expect("a write");
}

/// What a verification came to.
#[derive(Debug)]
pub enum Outcome {
    /// No verdict at all.
    Refused(Error),
    /// A verdict.
    Judged(Box<VerificationReport>),
}

impl Outcome {
    pub fn accepted(&self) -> bool {
        matches!(self, Self::Judged(r) if r.accepted)
    }
    /// Refused as bad input or as failed, or at least one slice or the whole run failed.
    pub fn failed(&self) -> bool {
        match self {
            Self::Refused(e) => matches!(e.class, ErrorClass::BadInput | ErrorClass::Failed),
            Self::Judged(r) => !r.accepted && (r.counts.failed > 0 || !r.failures.is_empty()),
        }
    }
    pub fn exit(&self) -> i32 {
        match self {
            Self::Refused(e) => match e.class {
                ErrorClass::Usage => 2,
                ErrorClass::BadInput => 3,
                ErrorClass::Backend => 4,
                ErrorClass::Failed => 1,
                ErrorClass::Interrupted => 130,
            },
            Self::Judged(r) => i32::from(!r.accepted),
        }
    }
    /// Everything that was said against the claim.
    pub fn words(&self) -> String {
        match self {
            Self::Refused(e) => format!("{} {}", e.message, e.hint.clone().unwrap_or_default()),
            Self::Judged(r) => {
                let slices = r.slices.iter().map(|s| {
                    format!(
                        "slice {} {}: {} {}",
                        s.index,
                        s.verdict,
                        s.reason.clone().unwrap_or_default(),
                        s.hint.clone().unwrap_or_default()
                    )
                });
                r.failures
                    .iter()
                    .cloned()
                    .chain(slices)
                    .collect::<Vec<_>>()
                    .join("\n")
            }
        }
    }
    pub fn report(self) -> VerificationReport {
        match self {
            Self::Judged(r) => *r,
            Self::Refused(e) => panic!("no verdict was given: {e}"),
        }
    }
    pub fn verdicts(&self) -> Vec<Verdict> {
        match self {
            Self::Judged(r) => r.slices.iter().map(|s| s.verdict).collect(),
            Self::Refused(_) => Vec::new(),
        }
    }
}

/// A verifier: plugins and configuration.
pub struct Lab {
    pub host: PluginHost,
}

impl Lab {
    pub fn new(backends: &[&str], isolation: Isolation) -> Self {
        let paths: Vec<PathBuf> = backends
            .iter()
            .map(|b| dsperse_test_support::cdylib(b))
            .collect();
        let mut options = HostOptions::with_paths(&paths);
        options.isolation = isolation;
        options.worker_program = Some(binary());
        let host = PluginHost::discover(options);
        assert!(host.skipped().is_empty(), "{:?}", host.skipped());
        Self { host }
    }

    /// The verifier of a world's backend.
    pub fn of(backend: &str) -> Self {
        Self::new(&plugins_of(backend), Isolation::Process)
    }

    pub fn verify(&self, world: &World, options: &VerifyOptions) -> Outcome {
        self.verify_paths(world, &world.run(), &world.slices(), options)
    }

    pub fn verify_paths(
        &self,
        world: &World,
        run: &Path,
        slices: &Path,
        options: &VerifyOptions,
    ) -> Outcome {
        let executor = LocalExecutor::new(&self.host);
        let config = Config::read(&world.root().join("dsperse.toml")).expect("a configuration");
        let session = Session::new(
            &self.host,
            &executor,
            &config,
            Limits {
                parallel: Some(2),
                ..Limits::default()
            },
            CancelToken::new(),
            Arc::new(|_| {}),
        )
        .expect("a session");
        let judged = || {
            let store = SliceStore::open(slices, Access::Read)?;
            let run = RunDir::open(run, Access::Read)?;
            verify(&session, &store, &run, options)
        };
        match judged() {
            Ok(report) => Outcome::Judged(Box::new(report)),
            Err(e) => Outcome::Refused(e),
        }
    }
}
