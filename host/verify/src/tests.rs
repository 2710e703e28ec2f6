//! The kernel under attack, over evidence in memory and a toy checker: each row tampers with
//! one thing, and is accepted when the check that it names is taken out. The same attacks on
//! real proofs are in `tests/e2e/tests/trust`.

use crate::memory::{Bytes, Memory};
use crate::*;
use dsperse_documents::digest::sha256_hex;
use dsperse_documents::tensors::digest_of;
use dsperse_documents::*;
use dsperse_plugin_api::{
    BindsPublicIo, Capabilities, Descriptor, Verdict as Answer, job::SATURATED_INPUTS,
};
use dsperse_tensor::Tensor;
use std::collections::BTreeMap;
use std::sync::Mutex;

const SLICES: usize = 2;
const TENSORS: [&str; 3] = ["x", "a", "y"];

/// A backend that proves with digests, one that computes again, and what the rows turn.
struct Toy {
    prover: Descriptor,
    executor: Option<Descriptor>,
    /// What `supports` of the executor says against a slice.
    declined: Option<String>,
    /// What compiling again gives.
    compiled: CompiledAgain,
    /// What the prover's backend answers, in place of the truth.
    answer: Option<Result<Answer, BackendError>>,
    /// What the executor answers, in place of the truth.
    again: Option<BackendError>,
    saturated: Option<serde_json::Value>,
    float: Option<Vec<Tensor>>,
    asked: Mutex<Vec<String>>,
}

impl Toy {
    fn new() -> Self {
        let mut prover = Descriptor::new("toy", "1.2.0", "a toy");
        prover.capabilities = Capabilities {
            stages: vec![Stage::Compile, Stage::Witness, Stage::Prove, Stage::Verify],
            proof: Some(ProofProperties {
                binds_public_io: BindsPublicIo::Strong,
                reproducible_compile: true,
                security_bits: Some(100),
                ..ProofProperties::default()
            }),
            ..Capabilities::default()
        };
        let mut executor = Descriptor::new("exec", "3.0.0", "an executor");
        executor.capabilities.stages = vec![Stage::Witness, Stage::Recompute];
        Self {
            prover,
            executor: Some(executor),
            declined: None,
            compiled: CompiledAgain::No("nobody can".into()),
            answer: None,
            again: None,
            saturated: None,
            float: None,
            asked: Mutex::default(),
        }
    }
}

/// One who checks, and does nothing over.
struct Bare;

impl Checker<Bytes> for Bare {
    type Stop = String;
    fn backend(&self, _: &str) -> Option<Backend<'_>> {
        None
    }
    fn check(&self, _: Question<'_, Bytes>) -> Result<Checked, String> {
        Err("never asked".into())
    }
    fn advice(&self, _: Need) -> Option<String> {
        None
    }
}

impl Again<Bytes> for Bare {}

#[test]
fn by_default_nobody_does_anything_over_or_stands_against_it() {
    let descriptor = Descriptor::new("toy", "1.2.0", "a toy");
    let backend = Backend {
        descriptor: &descriptor,
        digest: "d0",
    };
    let slice = SliceMetadata::default();
    assert!(Bare.executor().is_none());
    assert_eq!(Bare.declines(&backend, &slice), Ok(None));
    assert_eq!(Bare.float_outputs(&[]), Ok(None));
    let made = Bare.compile(&backend, &slice, &Compilation::default(), Ok(Vec::new()));
    assert!(matches!(made, Ok(CompiledAgain::No(_))));
}

/// The one true function: every slice adds one.
fn plus_one(bytes: &[u8]) -> Vec<u8> {
    let values = bytes.as_chunks::<4>().0.iter();
    values
        .flat_map(|b| (f32::from_le_bytes(*b) + 1.0).to_le_bytes())
        .collect()
}

/// The toy's proof: a digest over key, slice, input and output.
fn proof_of(key: &[u8], slice: &str, input: &[u8], output: &[u8]) -> Vec<u8> {
    let all = [key, slice.as_bytes(), input, output];
    sha256_hex(&all.map(sha256_hex).concat().into_bytes()).into_bytes()
}

impl Checker<Bytes> for Toy {
    type Stop = String;

    fn backend(&self, name: &str) -> Option<Backend<'_>> {
        let all = [Some(&self.prover), self.executor.as_ref()];
        let descriptor = all.into_iter().flatten().find(|d| d.name == name)?;
        Some(Backend {
            descriptor,
            digest: "d0",
        })
    }

    fn check(&self, q: Question<'_, Bytes>) -> Result<Checked, String> {
        let said = format!("{} {}", q.backend.name(), q.slice.index);
        self.asked.lock().unwrap().push(said);
        let done = |answer| {
            Ok(Checked {
                answer,
                usage: Usage {
                    seconds: 1.0,
                    cpu_seconds: 2.0,
                    peak_bytes: 3,
                    ..Usage::default()
                },
            })
        };
        let (input, output) = (&q.inputs[0].file, &q.outputs[0].file);
        if q.backend.name() == "exec" {
            assert!(q.payload.is_some() && q.circuit.is_empty() && q.proof.is_empty());
            if let Some(error) = &self.again {
                return done(Err(error.clone()));
            }
            let near = plus_one(input)
                .as_chunks::<4>()
                .0
                .iter()
                .zip(output.as_chunks::<4>().0)
                .all(|(a, b)| {
                    let (a, b) = (f32::from_le_bytes(*a), f32::from_le_bytes(*b));
                    f64::from((a - b).abs()) <= q.tolerance * f64::from(a.abs())
                });
            return done(Ok(if near {
                Answer::valid()
            } else {
                Answer::invalid("it computes to something else")
            }));
        }
        if let Some(answer) = &self.answer {
            return done(answer.clone());
        }
        assert!(q.circuit.iter().all(|f| f.role == Role::Verifying));
        let right = proof_of(&q.circuit[0].file, &q.slice.payload.sha256, input, output);
        if right != *q.proof[0].file {
            return done(Ok(Answer::invalid("the proof does not hold")));
        }
        let mut facts = serde_json::Map::new();
        facts.extend(
            self.saturated
                .clone()
                .map(|n| (SATURATED_INPUTS.to_owned(), n)),
        );
        done(Ok(Answer::Valid {
            facts,
            warnings: vec!["a toy".into()],
        }))
    }

    fn advice(&self, need: Need) -> Option<String> {
        Some(format!("{need:?}"))
    }
}

impl Again<Bytes> for Toy {
    fn executor(&self) -> Option<Backend<'_>> {
        self.backend("exec")
    }
    fn declines(&self, _: &Backend<'_>, _: &SliceMetadata) -> Result<Option<String>, String> {
        Ok(self.declined.clone())
    }
    fn compile(
        &self,
        _: &Backend<'_>,
        _: &SliceMetadata,
        _: &Compilation,
        claimed: Result<Vec<Held<Bytes>>, String>,
    ) -> Result<CompiledAgain, String> {
        assert_eq!(claimed.unwrap()[0].info.name, "x");
        Ok(self.compiled.clone())
    }
    fn float_outputs(&self, inputs: &[Held<Bytes>]) -> Result<Option<Vec<Tensor>>, String> {
        assert_eq!(inputs[0].info.name, "x");
        Ok(self.float.clone())
    }
}

fn info(name: &str) -> TensorInfo {
    TensorInfo {
        name: name.into(),
        encoding: Encoding::F32,
        shape: vec![2],
    }
}

fn f32s(values: [f32; 2]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A sliced model and a proven run in memory.
struct World {
    files: BTreeMap<String, Vec<u8>>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            files: BTreeMap::new(),
        };
        let mut model = ModelMetadata {
            model: ModelFile {
                sha256: sha256_hex(b"the model"),
                ..ModelFile::default()
            },
            inputs: vec![info("x")],
            outputs: vec![info("y")],
            ..ModelMetadata::default()
        };
        for i in 0..SLICES {
            let payload = format!("onnx {i}").into_bytes();
            model.slices.push(SliceSummary {
                index: i,
                payload_sha256: sha256_hex(&payload),
                payload_size: payload.len() as u64,
                inputs: vec![info(TENSORS[i])],
                outputs: vec![info(TENSORS[i + 1])],
                parameters: 3,
                macs: 5,
                ..SliceSummary::default()
            });
            world.put(&format!("slices/slice_{i}/model.onnx"), payload);
        }
        model.seal().unwrap();
        let mut results = RunResults {
            model_identity: model.identity.clone(),
            model_sha256: model.model.sha256.clone(),
            output: vec!["y".into()],
            ..RunResults::default()
        };
        let mut index = TensorIndex::default();
        let values = [[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]].map(f32s);
        for (name, data) in TENSORS.iter().zip(&values) {
            index.tensors.push(TensorRecord {
                name: (*name).into(),
                encoding: Encoding::F32,
                shape: vec![2],
                path: format!("{name}.bin"),
                size: 0,
                sha256: String::new(),
                origin: TensorOrigin::Input,
                extra: Extra::new(),
            });
            world.put(&format!("run/tensors/{name}.bin"), data.clone());
        }
        for (i, s) in model.slices.iter().enumerate() {
            let key = format!("key {i}").into_bytes();
            let proof = proof_of(&key, &s.payload_sha256, &values[i], &values[i + 1]);
            world.put(&format!("slices/slice_{i}/toy/key"), key);
            world.put(&format!("slices/slice_{i}/toy/proving"), b"secret".to_vec());
            world.put(&format!("run/slice_{i}/proof"), proof);
            let mut slice = SliceMetadata::from_summary(s, &model.identity, "model.onnx");
            let compilation = Compilation {
                backend_version: "1.2.0".into(),
                payload_sha256: s.payload_sha256.clone(),
                artefacts: vec![
                    Artefact::new("key", Role::Verifying, "toy/key"),
                    Artefact::new("proving", Role::Proving, "toy/proving"),
                ],
                ..Compilation::default()
            };
            slice.compilations.insert("toy".into(), compilation);
            world.write(&format!("slices/slice_{i}/metadata.json"), &slice);
            let path = format!("slice_{i}/proof");
            results.slices.push(SliceRun {
                index: i,
                backend: Some("toy".into()),
                proof_execution: Some(StageOutcome {
                    files: vec![Artefact::new("proof", Role::Verifying, &path)],
                    ..StageOutcome::default()
                }),
                ..SliceRun::default()
            });
        }
        world.write(packed::MARK, &packed::PackedProof::default());
        world.write("slices/metadata.json", &model);
        world.write("run/run_results.json", &results);
        world.write("run/tensors/index.json", &index);
        world.reseal();
        world
    }

    fn put(&mut self, path: &str, bytes: Vec<u8>) {
        self.files.insert(path.into(), bytes);
    }
    fn write<D: Document>(&mut self, path: &str, document: &D) {
        self.put(path, document.to_json().unwrap());
    }
    fn read<D: Document>(&self, path: &str) -> D {
        D::parse(&self.files[path]).unwrap()
    }
    fn edit<D: Document>(&mut self, path: &str, f: impl FnOnce(&mut D)) {
        let mut document: D = self.read(path);
        f(&mut document);
        self.write(path, &document);
    }
    fn results(&mut self, f: impl FnOnce(&mut RunResults)) {
        self.edit("run/run_results.json", f);
    }
    fn model(&mut self, f: impl FnOnce(&mut ModelMetadata)) {
        self.edit("slices/metadata.json", f);
    }
    fn slice(&mut self, i: usize, f: impl FnOnce(&mut SliceMetadata)) {
        self.edit(&format!("slices/slice_{i}/metadata.json"), f);
    }
    fn compilation(&mut self, i: usize, f: impl FnOnce(&mut Compilation)) {
        self.slice(i, |s| f(s.compilations.get_mut("toy").unwrap()));
    }
    fn flip(&mut self, path: &str) {
        *self.files.get_mut(path).unwrap().last_mut().unwrap() ^= 1;
    }

    /// Makes every size and digest fit the files again, as a cheat does who knows the format.
    fn reseal(&mut self) {
        let measured = |files: &BTreeMap<String, Vec<u8>>, path: &str| {
            let bytes = &files[path];
            (bytes.len() as u64, sha256_hex(bytes))
        };
        let files = self.files.clone();
        self.edit("run/tensors/index.json", |index: &mut TensorIndex| {
            for t in &mut index.tensors {
                (t.size, t.sha256) = measured(&files, &format!("run/tensors/{}", t.path));
            }
        });
        for i in 0..SLICES {
            self.slice(i, |s| {
                for a in s.compilations.values_mut().flat_map(|c| &mut c.artefacts) {
                    let path = format!("slices/slice_{i}/{}", a.path);
                    (a.size, a.sha256) = measured(&files, &path);
                }
            });
        }
        let index: TensorIndex = self.read("run/tensors/index.json");
        self.results(|r| {
            for a in r
                .slices
                .iter_mut()
                .filter_map(|s| s.proof_execution.as_mut())
                .flat_map(|p| &mut p.files)
            {
                (a.size, a.sha256) = measured(&files, &format!("run/{}", a.path));
            }
            r.input_sha256 = digest_of(index.get("x"));
            r.output_sha256 = Some(digest_of(index.get("y")));
        });
    }

    fn evidence(&self) -> Result<Memory, Defect> {
        let files = self.files.iter();
        Memory::new(
            files
                .map(|(p, b)| (p.clone(), Bytes::from(b.as_slice())))
                .collect(),
        )
    }

    fn judge_with(&self, toy: &Toy, demands: Demands, given: Given<Bytes>) -> Outcome {
        let memory = match self.evidence() {
            Ok(memory) => memory,
            Err(defect) => return Outcome::Refused(defect.reason()),
        };
        let verification = match Verification::begin(&memory, toy, demands, given) {
            Ok(verification) => verification,
            Err(refused) => return Outcome::Refused(refused.to_string()),
        };
        // From the last to the first: the order is the caller's.
        let verdicts: Vec<_> = (0..verification.slices())
            .rev()
            .map(|i| verification.slice(i).unwrap())
            .collect();
        Outcome::Judged(Box::new(verification.conclude(verdicts).unwrap()))
    }

    fn judge(&self, toy: &Toy, demands: Demands) -> Outcome {
        self.judge_with(toy, demands, Given::default())
    }
}

#[derive(Debug)]
enum Outcome {
    Refused(String),
    Judged(Box<VerificationReport>),
}

impl Outcome {
    fn report(self) -> VerificationReport {
        match self {
            Self::Judged(report) => *report,
            Self::Refused(reason) => panic!("refused: {reason}"),
        }
    }
    /// Everything that was said.
    fn words(&self) -> String {
        match self {
            Self::Refused(reason) => format!("refused: {reason}"),
            Self::Judged(r) => {
                let slices = r.slices.iter().map(|s| {
                    format!(
                        "slice {} {}: {} ({})",
                        s.index,
                        s.verdict,
                        s.reason.clone().unwrap_or_default(),
                        s.hint.clone().unwrap_or_default()
                    )
                });
                let all = r.failures.iter().cloned().chain(slices);
                all.collect::<Vec<_>>().join("\n")
            }
        }
    }
    /// Not accepted, with these words.
    #[track_caller]
    fn rejected(&self, expected: &str) {
        let accepted = matches!(self, Self::Judged(r) if r.accepted);
        assert!(!accepted, "accepted; expected {expected}");
        assert!(
            self.words().contains(expected),
            "{expected}\n{}",
            self.words()
        );
    }
    /// Accepted, with these verdicts.
    #[track_caller]
    fn accepted(self, verdicts: [Verdict; SLICES]) -> VerificationReport {
        let words = self.words();
        let report = self.report();
        assert!(report.accepted, "{words}");
        let found: Vec<_> = report.slices.iter().map(|s| s.verdict).collect();
        assert_eq!(found, verdicts, "{words}");
        report
    }
}

const PROVEN: [Verdict; SLICES] = [Verdict::Proven; SLICES];

/// Tampers with an honest run and says what comes out, with every demand at its default.
fn after(tamper: impl FnOnce(&mut World)) -> Outcome {
    let mut world = World::new();
    tamper(&mut world);
    world.judge(&Toy::new(), Demands::default())
}

#[test]
fn an_honest_run_is_proven() {
    let report = after(|_| {}).accepted(PROVEN);
    assert_eq!(report.counts.proven, 2);
    assert_eq!(report.proven_by_parameters, Some(1.0));
    assert_eq!(report.fidelity, None);
    assert!(report.policy.is_empty());
    for (i, s) in report.slices.iter().enumerate() {
        assert_eq!(s.index, i);
        assert_eq!(s.keys, Some(KeyOrigin::AsGiven));
        assert_eq!(s.backend.as_deref(), Some("toy"));
        assert_eq!(s.backend_version.as_deref(), Some("1.2.0"));
        assert_eq!(s.plugin_sha256.as_deref(), Some("d0"));
        assert!(s.proof.is_some() && s.reason.is_none() && s.hint.is_none());
        assert_eq!(s.usage.seconds, 1.0);
        assert_eq!(s.warnings, ["a toy"]);
        // Only what pins pin: the verifying artefacts.
        assert_eq!(s.circuit.len(), 1);
        assert_eq!(s.circuit[0].name, "key");
        assert_eq!(s.proof_files[0].name, "proof");
    }
}

#[test]
fn bytes_that_are_not_those_recorded_fail() {
    for (path, words) in [
        (
            "run/slice_1/proof",
            "file \"proof\" of the run has been changed",
        ),
        (
            "slices/slice_1/toy/key",
            "artefact \"key\" of slice 1 has been changed",
        ),
        (
            "slices/slice_1/model.onnx",
            "the ONNX file of slice 1 has been changed",
        ),
        (
            "run/tensors/x.bin",
            "slice 0 failed: tensor \"x\" has been changed",
        ),
        ("run/tensors/a.bin", "tensor \"a\" has been changed"),
        (
            "run/tensors/y.bin",
            "slice 1 failed: tensor \"y\" has been changed",
        ),
    ] {
        after(|w| w.flip(path)).rejected(words);
        after(|w| w.files.get_mut(path).unwrap().push(0)).rejected("has been changed");
    }
}

#[test]
fn other_values_with_fitting_digests_fail() {
    for path in [
        "run/slice_1/proof",
        "slices/slice_1/toy/key",
        "run/tensors/x.bin",
        "run/tensors/a.bin",
        "run/tensors/y.bin",
    ] {
        after(|w| {
            w.flip(path);
            w.reseal();
        })
        .rejected("failed: the proof does not hold");
    }
}

#[test]
fn an_invalid_proof_is_not_healed_by_computing_again() {
    let mut world = World::new();
    world.flip("run/slice_1/proof");
    world.reseal();
    let toy = Toy::new();
    world
        .judge(&toy, Demands::default())
        .rejected("slice 1 failed");
    assert_eq!(*toy.asked.lock().unwrap(), ["toy 1", "toy 0"]);
}

#[test]
fn another_slices_proof_and_key_fail() {
    after(|w| {
        let (a, b) = (
            w.files["run/slice_0/proof"].clone(),
            w.files["run/slice_1/proof"].clone(),
        );
        w.put("run/slice_0/proof", b);
        w.put("run/slice_1/proof", a);
        w.reseal();
    })
    .rejected("slice 0 failed");
}

#[test]
fn documents_that_contradict_each_other_are_refused() {
    after(|w| w.model(|m| m.identity = "0".repeat(64))).rejected("refused: model identity");
    after(|w| w.model(|m| m.edges[1].consumers.clear())).rejected("refused: the recorded edges");
    after(|w| w.slice(1, |s| s.index = 0))
        .rejected("slice 1 failed: \"slices/slice_1/metadata.json\": \"index\" differs");
    after(|w| w.slice(1, |s| s.parameters = 1)).rejected("\"parameters\" differs");
    after(|w| w.slice(0, |s| s.model_identity = "0".repeat(64)))
        .rejected("\"model_identity\" differs");
    after(|w| {
        w.edit("run/tensors/index.json", |i: &mut TensorIndex| {
            i.tensors.push(i.tensors[0].clone())
        });
    })
    .rejected("refused: tensor \"x\" is listed twice");
    after(|w| {
        w.edit("run/tensors/index.json", |i: &mut TensorIndex| {
            i.tensors[0].shape = vec![3]
        });
    })
    .rejected("refused: tensor \"x\"");
    after(|w| drop(w.files.remove("slices/slice_1/metadata.json")))
        .rejected("refused: slice 1 is missing");
    after(|w| {
        let more = w.files["slices/slice_1/metadata.json"].clone();
        w.put("slices/slice_2/metadata.json", more);
    })
    .rejected("refused: there is a slice 2");
    after(|w| w.put("elsewhere", Vec::new())).rejected("refused: \"elsewhere\" does not belong");
    for path in [
        packed::MARK,
        "slices/metadata.json",
        "run/run_results.json",
        "run/tensors/index.json",
    ] {
        after(|w| drop(w.files.remove(path))).rejected("is missing");
        after(|w| w.put(path, b"{\"schema\":\"9.0.0\"}".to_vec())).rejected("refused");
    }
}

#[test]
fn a_run_of_something_else_fails() {
    after(|w| w.results(|r| r.model_identity = "0".repeat(64)))
        .rejected("the run is of another sliced model");
    after(|w| w.results(|r| drop(r.slices.pop()))).rejected("the run has no slice 1");
    after(|w| w.results(|r| r.slices.push(r.slices[0].clone())))
        .rejected("the run has slice 0 2 times");
    after(|w| {
        w.results(|r| {
            let mut s = r.slices[0].clone();
            s.index = 2;
            r.slices.push(s);
        });
    })
    .rejected("the run has slice 2, which the model has not");
    after(|w| w.results(|r| r.model_sha256 = "0".repeat(64))).rejected("another model file");
    after(|w| w.results(|r| r.input_sha256 = "0".repeat(64))).rejected("another input");
    after(|w| w.results(|r| r.output_sha256 = None)).rejected("another output");
}

#[test]
fn paths_lead_nowhere_else() {
    after(|w| {
        let key = w.files["slices/slice_1/toy/key"].clone();
        w.put("slices/key", key);
        w.compilation(1, |c| c.artefacts[0].path = "../key".into());
    })
    .rejected("slice 1 failed: artefact \"key\" of slice 1 has the path");
    after(|w| w.results(|r| r.slices[1].proof_execution.as_mut().unwrap().files[0].path = "/etc/passwd".into()))
        .rejected("slice 1 failed: file \"proof\" of the run has the path \"run//etc/passwd\", which is refused");
}

#[test]
fn tensors_have_the_models_shapes_and_encodings() {
    let with = |f: fn(&mut TensorRecord)| {
        after(|w| {
            w.edit("run/tensors/index.json", |i: &mut TensorIndex| {
                f(&mut i.tensors[1])
            });
            w.reseal();
        })
    };
    with(|t| t.shape = vec![2, 1])
        .rejected("tensor \"a\" of the run is F32 [2, 1], the model has F32 [2]");
    with(|t| t.encoding = Encoding::I32).rejected("tensor \"a\" of the run is I32");
    after(|w| {
        w.edit("run/tensors/index.json", |i: &mut TensorIndex| {
            drop(i.tensors.remove(1))
        });
    })
    .rejected("tensor \"a\" of the run is missing");
    // Fixed point may stand for floats, not for integers.
    let mut world = World::new();
    world.put("run/tensors/a.bin", vec![0; 16]);
    world.edit("run/tensors/index.json", |i: &mut TensorIndex| {
        i.tensors[1].encoding = Encoding::Fixed { exponent: -3 };
    });
    world.reseal();
    world
        .judge(&Toy::new(), Demands::default())
        .rejected("failed: the proof does not hold");
}

#[test]
fn what_has_no_proof_is_computed_again() {
    let without = |w: &mut World| {
        w.results(|r| r.slices[1].proof_execution = None);
    };
    let report = after(without).accepted([Verdict::Proven, Verdict::Recomputed]);
    let s = &report.slices[1];
    assert_eq!(s.reason.as_deref(), Some("there is no proof"));
    assert_eq!((s.tolerance, s.keys), (Some(0.0), None));
    assert_eq!(s.backend.as_deref(), Some("exec"));
    assert_eq!(report.proven_share.proven_macs, 5);
    let mut world = World::new();
    without(&mut world);
    let demands = Demands {
        require: Require::Proven,
        ..Demands::default()
    };
    world
        .judge(&Toy::new(), demands)
        .rejected("slice 1 recomputed: there is no proof");
    // What computes to something else is wrong.
    world.put("run/tensors/y.bin", f32s([3.0, 5.0]));
    world.reseal();
    world
        .judge(&Toy::new(), Demands::default())
        .rejected("slice 1 failed: it computes to something else");
}

#[test]
fn what_nobody_can_judge_is_unchecked() {
    let mut world = World::new();
    world.results(|r| r.slices[1].proof_execution = None);
    let say = |change: &dyn Fn(&mut Toy), words: &str| {
        let mut toy = Toy::new();
        change(&mut toy);
        let outcome = world.judge(&toy, Demands::default());
        outcome.rejected(&format!("slice 1 unchecked: there is no proof; {words}"));
    };
    say(
        &|t| t.executor = None,
        "no backend that computes slices again is loaded",
    );
    say(
        &|t| t.executor.as_mut().unwrap().capabilities.stages = vec![Stage::Witness],
        "no backend that computes",
    );
    say(
        &|t| t.declined = Some("it has an odd node".into()),
        "it has an odd node",
    );
    let mut bundle = World::new();
    bundle.results(|r| r.slices[1].proof_execution = None);
    bundle.slice(1, |s| s.payload.path = None);
    bundle
        .judge(&Toy::new(), Demands::default())
        .rejected("backend \"exec\" needs the slice's ONNX file, which is not in this bundle");
    after(|w| w.results(|r| r.slices[1].backend = None))
        .accepted([Verdict::Proven, Verdict::Recomputed]);
    let demands = Demands {
        require: Require::Any,
        ..Demands::default()
    };
    let mut toy = Toy::new();
    toy.executor = None;
    world
        .judge(&toy, demands)
        .accepted([Verdict::Proven, Verdict::Unchecked]);
}

#[test]
fn floats_of_a_circuit_that_nobody_could_judge_are_wrong_only_when_they_are_far() {
    let claim = |y: f32, target: Option<f64>| {
        let mut world = World::new();
        world.put("run/tensors/y.bin", f32s([3.0, y]));
        world.compilation(1, |c| {
            c.fidelity = target.map(|target| CompiledFidelity {
                target,
                ..CompiledFidelity::default()
            });
        });
        world.reseal();
        world
    };
    let mut toy = Toy::new();
    let fell = BackendError::internal("it fell over").with_hint("stand it up");
    toy.answer = Some(Err(fell));
    // The last bit of another engine: nothing is shown to be wrong.
    let close = f32::from_bits(4f32.to_bits() + 1);
    let report = claim(close, None).judge(&toy, Demands::default()).report();
    let s = &report.slices[1];
    assert_eq!((s.verdict, report.accepted), (Verdict::Unchecked, false));
    let reason = s.reason.as_deref().unwrap();
    assert!(
        reason.starts_with("backend \"toy\" could not judge its proof: it fell over"),
        "{reason}"
    );
    assert!(
        reason.contains("within 1e-2") && reason.contains("not the same bit for bit"),
        "{reason}"
    );
    assert_eq!(s.hint.as_deref(), Some("stand it up"));
    // The verifier may allow it, and is told so where the backend has no advice of its own.
    let demands = Demands {
        tolerance: 1e-6,
        ..Demands::default()
    };
    claim(close, None)
        .judge(&toy, demands)
        .accepted([Verdict::Recomputed; SLICES]);
    toy.answer = Some(Err(BackendError::internal("it fell over")));
    claim(close, None)
        .judge(&toy, Demands::default())
        .rejected("(Tolerance)");
    // What is further away than the circuit was made for is wrong, and the reason is kept.
    for (y, target) in [(4.1, None), (4.01, Some(1e-3))] {
        let outcome = claim(y, target).judge(&toy, Demands::default());
        outcome.rejected("slice 1 failed: it computes to something else");
        outcome.rejected("; backend \"toy\" could not judge its proof: it fell over");
    }
    // What it was made for is the prover's note: no note makes it more than the verifier's
    // own bound, and a tolerance that the verifier sets is all that counts.
    let demanded = |tolerance, max_error| Demands {
        require: Require::Any,
        tolerance,
        max_error,
        ..Demands::default()
    };
    for (y, noted, tolerance, max_error) in [
        (400.0, Some(1e9), 0.0, None),
        (4.1, Some(0.05), 0.0, None),
        (4.01, None, 0.0, Some(1e-3)),
        (close, None, 1e-9, None),
        (close, Some(0.0), 0.0, None),
    ] {
        claim(y, noted)
            .judge(&toy, demanded(tolerance, max_error))
            .rejected("slice 1 failed: it computes to something else; backend \"toy\" could not");
    }
    claim(4.1, Some(0.05))
        .judge(&toy, demanded(0.0, Some(0.05)))
        .rejected("slice 1 unchecked");
    // A circuit that was made for no error at all leaves nothing to ask a second time.
    toy.asked.lock().unwrap().clear();
    claim(close, Some(0.0)).judge(&toy, demanded(0.0, None));
    let asked = toy.asked.lock().unwrap().clone();
    assert_eq!(asked.iter().filter(|a| *a == "exec 1").count(), 1);
    // Where no circuit computed it, every bit counts.
    let mut plain = claim(close, None);
    plain.results(|r| r.slices[1].backend = Some("exec".into()));
    plain.slice(1, |s| {
        let compiled = s.compilations["toy"].clone();
        s.compilations.insert("exec".into(), compiled);
    });
    plain
        .judge(&toy, Demands::default())
        .rejected("slice 1 failed: it computes to something else");
}

#[test]
fn a_backends_error_is_no_verdict_but_what_it_cant_read_is() {
    let world = World::new();
    let mut toy = Toy::new();
    toy.answer = Some(Err(
        BackendError::internal("it fell over").with_hint("stand it up")
    ));
    let report = world
        .judge(&toy, Demands::default())
        .accepted([Verdict::Recomputed, Verdict::Recomputed]);
    let s = &report.slices[0];
    assert_eq!(
        s.reason.as_deref(),
        Some("backend \"toy\" could not judge its proof: it fell over")
    );
    assert_eq!(s.hint.as_deref(), Some("stand it up"));
    assert_eq!(
        (s.usage.seconds, s.usage.cpu_seconds, s.usage.peak_bytes),
        (2.0, 4.0, 3)
    );
    assert!(s.proof.is_none() && s.keys.is_none());
    toy.answer = Some(Err(BackendError::invalid_input(
        "these are no bytes of mine",
    )));
    world
        .judge(&toy, Demands::default())
        .rejected("slice 0 failed: these are no bytes of mine");
    // The same of the backend that computes again.
    let mut world = World::new();
    world.results(|r| r.slices[1].proof_execution = None);
    let mut toy = Toy::new();
    toy.again = Some(BackendError::internal("it fell over").with_hint("stand it up"));
    let report = world.judge(&toy, Demands::default()).report();
    let s = &report.slices[1];
    assert_eq!(s.verdict, Verdict::Unchecked);
    assert_eq!(s.reason.as_deref(), Some("there is no proof; it fell over"));
    assert_eq!(s.hint.as_deref(), Some("stand it up"));
    toy.again = Some(BackendError::invalid_input("this is no slice of mine"));
    world
        .judge(&toy, Demands::default())
        .rejected("slice 1 failed: this is no slice of mine");
}

#[test]
fn only_proofs_of_backends_that_bind_and_verify_count() {
    let world = World::new();
    let with = |f: &dyn Fn(&mut Descriptor)| {
        let mut toy = Toy::new();
        toy.executor = None;
        f(&mut toy.prover);
        world.judge(&toy, Demands::default())
    };
    with(&|d| d.capabilities.proof.as_mut().unwrap().binds_public_io = BindsPublicIo::No)
        .rejected("a proof of \"toy\" is not bound to inputs and outputs");
    with(&|d| d.capabilities.stages = vec![Stage::Prove])
        .rejected("backend \"toy\" verifies no proofs");
    with(&|d| d.name = "other".into())
        .rejected("its proof needs backend \"toy\" 1.2.0, which is not loaded; no backend");
    with(&|d| d.name = "other".into()).rejected("(Backend)");
    with(&|d| d.version = "1.3.0".parse().unwrap())
        .rejected("its proof is of \"toy\" 1.2.0, loaded is 1.3.0; no backend");
    with(&|d| d.version = "1.3.0".parse().unwrap()).rejected("(Version)");
    with(&|d| {
        d.version = "1.3.0".parse().unwrap();
        d.compatible_artefacts = Some("^1.2".into());
    })
    .accepted(PROVEN);
    let mut no_proofs = World::new();
    no_proofs.results(|r| r.slices[0].proof_execution = None);
    let mut toy = Toy::new();
    toy.prover.capabilities.stages = vec![Stage::Verify];
    no_proofs
        .judge(
            &toy,
            Demands {
                require: Require::Proven,
                ..Demands::default()
            },
        )
        .rejected("slice 0 recomputed: backend \"toy\" makes no proofs");
    // The ONNX file goes along only where the backend wants it.
    let mut toy = Toy::new();
    toy.prover.capabilities.verify_needs_payload = true;
    world.judge(&toy, Demands::default()).accepted(PROVEN);
    let mut bundle = World::new();
    bundle.slice(0, |s| s.payload.path = None);
    bundle
        .judge(&toy, Demands::default())
        .rejected("slice 0 unchecked: backend \"toy\" needs the slice's ONNX file");
    bundle
        .judge(&Toy::new(), Demands::default())
        .accepted(PROVEN);
}

#[test]
fn what_was_compiled_belongs_to_the_slice() {
    after(|w| w.compilation(1, |c| c.payload_sha256 = "0".repeat(64)))
        .rejected("slice 1 failed: what \"toy\" compiled is of another ONNX file");
    after(|w| w.slice(1, |s| s.compilations.clear()))
        .accepted([Verdict::Proven, Verdict::Recomputed]);
    after(|w| {
        w.compilation(1, |c| c.artefacts.push(c.artefacts[0].clone()));
    })
    .rejected("slice 1 failed: the artefact \"key\" is declared twice");
    after(|w| {
        w.results(|r| {
            let files = &mut r.slices[1].proof_execution.as_mut().unwrap().files;
            files.push(files[0].clone());
        });
    })
    .rejected("slice 1 failed: the artefact \"proof\" is declared twice");
    // What is missing could not be judged, and does not show that anything is wrong.
    after(|w| drop(w.files.remove("run/slice_1/proof")))
        .accepted([Verdict::Proven, Verdict::Recomputed]);
    after(|w| drop(w.files.remove("slices/slice_1/toy/key")))
        .accepted([Verdict::Proven, Verdict::Recomputed]);
    after(|w| drop(w.files.remove("slices/slice_1/model.onnx")))
        .rejected("slice 1 failed: the ONNX file of slice 1 is missing");
}

#[test]
fn clamped_inputs_count_only_where_they_are_allowed() {
    let world = World::new();
    let mut toy = Toy::new();
    toy.executor = None;
    for (fact, count) in [(serde_json::json!(2), 2), (serde_json::json!("many"), 1)] {
        toy.saturated = Some(fact);
        let outcome = world.judge(&toy, Demands::default());
        outcome.rejected(&format!(
            "slice 0 unchecked: {count} of the claimed input values are beyond"
        ));
        outcome.rejected("(Saturation)");
        let demands = Demands {
            allow_saturation: true,
            ..Demands::default()
        };
        let report = world.judge(&toy, demands).accepted(PROVEN);
        assert_eq!(report.slices[0].saturated_inputs, count);
        assert_eq!(report.policy["allow_saturation"], true);
    }
    toy.saturated = Some(0.into());
    world.judge(&toy, Demands::default()).accepted(PROVEN);
}

#[test]
fn demands_are_made_and_recorded() {
    let world = World::new();
    let mut toy = Toy::new();
    toy.executor = None;
    let with = |f: &dyn Fn(&mut Demands)| {
        let mut demands = Demands::default();
        f(&mut demands);
        world.judge(&toy, demands)
    };
    let allow = |text: &str| AllowedBackend::parse(text).unwrap();
    with(&|d| d.allowed = vec![allow("other")])
        .rejected("slice 0 unchecked: backend \"toy\" is not among");
    let other = format!("toy@{}", "0".repeat(64));
    with(&|d| d.allowed = vec![allow(&other)])
        .rejected("allows another library of backend \"toy\"");
    let report = with(&|d| d.allowed = vec![allow("other"), allow(" toy ")]).accepted(PROVEN);
    assert_eq!(
        report.policy["allow_backends"],
        serde_json::json!(["other", "toy"])
    );
    let exact = AllowedBackend {
        name: "toy".into(),
        sha256: Some("d0".into()),
    };
    let report = with(&|d| d.allowed = vec![exact.clone()]).accepted(PROVEN);
    assert_eq!(
        report.policy["allow_backends"],
        serde_json::json!(["toy@d0"])
    );
    with(&|d| d.policy.zero_knowledge = true)
        .rejected("a proof of \"toy\" does not count here: zero knowledge");
    let report = with(&|d| d.policy.security_bits = Some(100)).accepted(PROVEN);
    assert_eq!(
        report.policy,
        serde_json::json!({"security_bits": 100})
            .as_object()
            .unwrap()
            .clone()
    );
    for tolerance in [-0.1, f64::NAN, f64::INFINITY] {
        with(&|d| d.tolerance = tolerance).rejected("is no tolerance");
    }
    // A recomputation is a word that counts, too.
    let mut unproven = World::new();
    unproven.results(|r| r.slices[1].proof_execution = None);
    let demands = Demands {
        allowed: vec![allow("toy")],
        ..Demands::default()
    };
    unproven
        .judge(&Toy::new(), demands)
        .rejected("slice 1 unchecked: there is no proof; backend \"exec\" is not among");
    let demands = Demands {
        tolerance: 0.5,
        ..Demands::default()
    };
    let report = unproven
        .judge(&Toy::new(), demands)
        .accepted([Verdict::Proven, Verdict::Recomputed]);
    assert_eq!(report.slices[1].tolerance, Some(0.5));
    for wrong in ["", "@", "toy@12", "@toy"] {
        assert!(AllowedBackend::parse(wrong).is_err(), "{wrong}");
    }
    let upper = format!("toy@ {}", "A".repeat(64));
    assert_eq!(allow(&upper).sha256, Some("a".repeat(64)));
}

#[test]
fn another_model_than_expected_is_refused() {
    let mut world = World::new();
    let identity = {
        let mut id = String::new();
        world.model(|m| id.clone_from(&m.identity));
        id
    };
    let expect = |model: &str| Demands {
        expect_model: Some(model.into()),
        expect_keys: None,
        ..Demands::default()
    };
    world
        .judge(&Toy::new(), expect(&"0".repeat(64)))
        .rejected("refused: these are slices of another model");
    world
        .judge(&Toy::new(), expect("0"))
        .rejected("is no SHA-256");
    let memory = world.evidence().unwrap();
    let (toy, file) = (Toy::new(), sha256_hex(b"the model"));
    let refused = Verification::begin(&memory, &toy, expect(&file), Given::default()).err();
    assert!(
        matches!(refused, Some(Refused::OtherModel { is_file: true, .. })),
        "{refused:?}"
    );
    // Who pins the model alone does not take the keys as they are.
    let padded = format!(" {} ", identity.to_ascii_uppercase());
    let mut toy = Toy::new();
    world
        .judge(
            &toy,
            Demands {
                require: Require::Proven,
                ..expect(&padded)
            },
        )
        .rejected("its proof is under a key that is not known to be the slice's: nobody can");
    toy.executor = None;
    world.judge(&toy, expect(&padded)).rejected("(Keys)");
}

#[test]
fn keys_are_pinned() {
    let world = World::new();
    let keys = after(|_| {}).report().keys_sha256.unwrap();
    let expect = |keys: &str| Demands {
        expect_keys: Some(keys.into()),
        ..Demands::default()
    };
    let report = world
        .judge(
            &Toy::new(),
            expect(&format!(" {} ", keys.to_ascii_uppercase())),
        )
        .accepted(PROVEN);
    assert!(
        report
            .slices
            .iter()
            .all(|s| s.keys == Some(KeyOrigin::Pinned))
    );
    let other = world.judge(&Toy::new(), expect(&"0".repeat(64)));
    other.rejected("the verifying keys are others than expected");
    assert_eq!(other.report().slices[0].keys, Some(KeyOrigin::AsGiven));
    world
        .judge(&Toy::new(), expect("none"))
        .rejected("is no SHA-256");
    // With model and keys pinned nothing is compiled again.
    let mut both = expect(&keys);
    both.expect_model = Some(report.model_identity);
    world.judge(&Toy::new(), both).accepted(PROVEN);
}

#[test]
fn keys_are_made_again() {
    let world = World::new();
    let demands = || Demands {
        recompile: true,
        ..Demands::default()
    };
    let mut toy = Toy::new();
    toy.executor = None;
    world
        .judge(&toy, demands())
        .rejected("slice 0 unchecked: its proof is under a key");
    let made = |key: &[u8], same_calibration| CompiledAgain::Made {
        files: vec![ReceiptFile {
            name: "key".into(),
            sha256: sha256_hex(key),
        }],
        same_calibration,
    };
    toy.compiled = made(b"key 0", false);
    let outcome = world.judge(&toy, demands());
    outcome.rejected("slice 1 unchecked: compiled again, \"key\" of backend \"toy\" is another");
    outcome.rejected("(Calibration)");
    assert_eq!(outcome.report().slices[0].keys, Some(KeyOrigin::Recompiled));
    toy.compiled = made(b"key 0", true);
    world
        .judge(&toy, demands())
        .rejected("slice 1 failed: compiled again");
    toy.prover
        .capabilities
        .proof
        .as_mut()
        .unwrap()
        .reproducible_compile = false;
    world
        .judge(&toy, demands())
        .rejected("\"toy\" makes other keys each time");
}

#[test]
fn a_receipt_is_the_yardstick() {
    let world = World::new();
    let receipt = after(|_| {}).report().receipt();
    let against = |f: &dyn Fn(&mut Receipt)| {
        let mut receipt = receipt.clone();
        f(&mut receipt);
        let demands = Demands {
            expect_receipts: vec![receipt],
            ..Demands::default()
        };
        world.judge(&Toy::new(), demands)
    };
    let report = against(&|_| {}).accepted(PROVEN);
    assert!(
        report
            .slices
            .iter()
            .all(|s| s.keys == Some(KeyOrigin::Pinned))
    );
    against(&|r| r.input_sha256 = "0".repeat(64)).rejected("the receipt is of another input");
    against(&|r| r.output_sha256 = "0".repeat(64)).rejected("the receipt is of another output");
    against(&|r| r.model_identity = "0".repeat(64)).rejected("of another model");
    against(&|r| r.keys_sha256 = Some("0".repeat(64))).rejected("others than expected");
    // What the verifier names goes first, and the receipt must still agree.
    let mut two = Demands {
        expect_receipts: vec![receipt.clone(), receipt.clone()],
        ..Demands::default()
    };
    world.judge(&Toy::new(), two.clone()).accepted(PROVEN);
    two.expect_receipts[1].model_identity = "0".repeat(64);
    world
        .judge(&Toy::new(), two.clone())
        .rejected("the receipt is of another model");
    two.expect_receipts[1] = receipt.clone();
    two.expect_receipts[1].keys_sha256 = Some("0".repeat(64));
    world
        .judge(&Toy::new(), two)
        .rejected("the receipt is of other keys");
    against(&|r| drop(r.slices.pop())).rejected("the receipt has no slice 1");
    // A weaker verdict than then: not accepted; a stronger one: it is.
    let mut unproven = World::new();
    unproven.results(|r| r.slices[1].proof_execution = None);
    let demands = Demands {
        expect_receipts: vec![receipt.clone()],
        ..Demands::default()
    };
    let mut loose = demands.clone();
    loose.expect_receipts[0].keys_sha256 = None;
    loose.expect_keys = unproven
        .judge(&Toy::new(), Demands::default())
        .report()
        .keys_sha256;
    unproven
        .judge(&Toy::new(), loose)
        .rejected("slice 1 is recomputed, the receipt has it proven");
    against(&|r| r.slices[1].verdict = Verdict::Unchecked).accepted(PROVEN);
}

fn held(name: &str, encoding: Encoding, bytes: Vec<u8>) -> Held<Bytes> {
    Held {
        info: TensorInfo {
            encoding,
            ..info(name)
        },
        sha256: sha256_hex(&bytes),
        file: bytes.into(),
    }
}

#[test]
fn the_verifiers_own_values_take_the_place_of_the_runs() {
    let world = World::new();
    let toy = Toy::new();
    let judge = |world: &World, input: Option<Held<Bytes>>, output: Option<Held<Bytes>>| {
        let given = Given {
            input: input.map(|h| vec![h]),
            output: output.map(|h| vec![h]),
        };
        world.judge_with(&toy, Demands::default(), given)
    };
    let plain = |name, values| Some(held(name, Encoding::F32, f32s(values)));
    judge(&world, plain("x", [1.0, 2.0]), plain("y", [3.0, 4.0])).accepted(PROVEN);
    judge(&world, plain("x", [1.0, 2.5]), None).rejected("slice 0 failed");
    judge(&world, None, plain("y", [3.0, 4.5])).rejected("slice 1 failed: the proof does not hold");
    // Where the verifier gives the value, the record is not asked; where not, it is.
    let mut unnoted = World::new();
    unnoted.results(|r| (r.input_sha256, r.output_sha256) = (String::new(), None));
    judge(&unnoted, plain("x", [1.0, 2.0]), plain("y", [3.0, 4.0])).accepted(PROVEN);
    judge(&unnoted, plain("x", [1.0, 2.0]), None).rejected("another output");
    judge(&unnoted, None, plain("y", [3.0, 4.0])).rejected("another input");
    // An output in fixed point is compared by the one rounding, and proven exactly.
    let mut fixed = World::new();
    let exact: Vec<u8> = [3i64 << 4, 4 << 4]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    fixed.put("run/tensors/y.bin", exact.clone());
    fixed.edit("run/tensors/index.json", |i: &mut TensorIndex| {
        i.tensors[2].encoding = Encoding::Fixed { exponent: -4 };
    });
    let sha = sha256_hex(b"onnx 1");
    fixed.put(
        "run/slice_1/proof",
        proof_of(b"key 1", &sha, &f32s([2.0, 3.0]), &exact),
    );
    fixed.reseal();
    judge(&fixed, None, plain("y", [3.0, 4.0])).accepted(PROVEN);
    judge(&fixed, None, plain("y", [3.0, 4.5]))
        .rejected("slice 1 failed: the claimed output \"y\" is not what the run computed");
    let same = held("y", Encoding::Fixed { exponent: -4 }, exact);
    judge(&fixed, None, Some(same)).accepted(PROVEN);
}

#[test]
fn an_output_far_from_the_float_model_is_not_accepted() {
    let floats = |values| {
        let mut toy = Toy::new();
        toy.float = Some(vec![Tensor::new(info("y"), f32s(values)).unwrap()]);
        toy
    };
    let world = World::new();
    let report = world
        .judge(&floats([3.0, 4.0]), Demands::default())
        .accepted(PROVEN);
    assert_eq!(report.fidelity_by, Some(MeasuredBy::Verifier));
    let fidelity = report.fidelity.unwrap();
    assert_eq!(
        (fidelity.error, fidelity.target),
        (Some(0.0), Some(DEFAULT_MAX_ERROR))
    );
    let far = world.judge(&floats([3.5, 4.0]), Demands::default());
    far.rejected("the output is too far from the float model's: the largest relative error");
    let allow = Demands {
        max_error: Some(2.0),
        ..Demands::default()
    };
    let report = world.judge(&floats([3.5, 4.0]), allow).accepted(PROVEN);
    assert_eq!(report.policy["max_error"], 2.0);
    // What was compiled for is the measure where nobody demands; the strictest slice counts.
    let mut near = World::new();
    for (i, max_error) in [(0, 3.0), (1, 2.0)] {
        near.compilation(i, |c| {
            c.fidelity = Some(CompiledFidelity {
                max_error,
                ..CompiledFidelity::default()
            });
        });
    }
    let report = near
        .judge(&floats([3.5, 4.0]), Demands::default())
        .accepted(PROVEN);
    assert_eq!(report.fidelity.unwrap().target, Some(2.0));
    // Otherwise there is the prover's note, and then it is said that it is one.
    let mut noted = World::new();
    let fidelity = |error| Fidelity {
        error,
        max_rel: Some(0.5),
        ..Fidelity::default()
    };
    noted.results(|r| {
        r.fidelity = Some(fidelity(Some(0.5)));
        r.slices[0].fidelity = Some(fidelity(Some(0.25)));
        r.slices[1].fidelity = Some(fidelity(None));
    });
    let outcome = noted.judge(&Toy::new(), Demands::default());
    outcome.rejected("too far from the float model's, as the prover notes it");
    outcome.rejected("of the slices, 1 has the largest error of its own");
    assert_eq!(outcome.report().fidelity_by, Some(MeasuredBy::Prover));
    noted.results(|r| r.fidelity = Some(fidelity(None)));
    noted
        .judge(&Toy::new(), Demands::default())
        .rejected("too far");
    let demand = Demands {
        max_error: Some(1.0),
        ..Demands::default()
    };
    world
        .judge(&Toy::new(), demand)
        .rejected("could not be measured, and the prover notes nothing");
    // Of a claim that is wrong anyway only the note is told.
    noted.results(|r| drop(r.slices.pop()));
    let outcome = noted.judge(&Toy::new(), Demands::default()).report();
    assert_eq!(outcome.fidelity.unwrap().target, None);
}

#[test]
fn verdicts_are_the_models_slices_once_each() {
    let world = World::new();
    let (toy, memory) = (Toy::new(), world.evidence().unwrap());
    let begin =
        || Verification::begin(&memory, &toy, Demands::default(), Given::default()).unwrap();
    assert_eq!(begin().slices(), SLICES);
    let v = begin();
    let one = v.slice(0).unwrap();
    let report = v.conclude([one.clone()]).unwrap();
    assert!(!report.accepted);
    assert_eq!(report.tool_version, env!("CARGO_PKG_VERSION"));
    let indices: Vec<_> = report.slices.iter().map(|s| s.index).collect();
    assert_eq!(indices, [0, 1]);
    assert_eq!(
        report.slices[1].reason.as_deref(),
        Some("the check did not end")
    );
    let v = begin();
    let none = v.slice(7).unwrap();
    assert_eq!(none.verdict, Verdict::Failed);
    let all = [one.clone(), v.slice(1).unwrap(), none];
    assert!(!v.conclude(all).unwrap().accepted);
    let v = begin();
    let all = [one.clone(), one, v.slice(1).unwrap()];
    assert!(!v.conclude(all).unwrap().accepted);
}
