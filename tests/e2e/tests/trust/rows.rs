//! The table: what a cheat does, on which backends, and what a verifier says to it.

use super::forge::forge;
use super::world::{Lab, World, change_input, flip};
use dsperse_documents::{Require, Role, StageOutcome, Verdict};
use dsperse_stages::verify::{Demands, VerifyOptions};
use serde_json::json;
use std::fs;

/// What has to come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// A slice or the run failed, or the input was refused; one of the words is said.
    Failed(&'static [&'static str]),
    /// Nothing is wrong, but less was shown than demanded; the words are said.
    NotEnough(&'static [&'static str]),
    /// The change means nothing: accepted, with the same verdicts.
    Same,
    /// Accepted, and the report says that the keys were taken as they were.
    KeysAsGiven,
}

/// A row of the table.
pub struct Row {
    pub name: &'static str,
    pub backends: &'static [&'static str],
    pub tamper: fn(&World, &Lab),
    pub options: fn(&World) -> VerifyOptions,
    pub expect: Expect,
}

const ALL: &[&str] = &["sumcheck", "onnx", "jstprove", "ezkl"];
const PROVERS: &[&str] = &["sumcheck", "jstprove", "ezkl"];
const SUMCHECK: &[&str] = &["sumcheck"];
const EMBEDDED: &[&str] = &["sumcheck", "onnx"];

/// Rows in which a backend with an external tool has a say of its own. The others are
/// decided before any backend is asked, and a call of such a tool takes a second.
pub const OF_TOOLS: &[&str] = &[
    "nothing",
    "proof of another input",
    "proof of another slice",
    "proof flipped, digests too",
    "proof cut off, digests too",
    "proof emptied, digests too",
    "key flipped, digests too",
    "keys of two slices swapped, digests too",
    "input changed, digests too",
    "tensor between slices flipped, digests too",
    "output changed in store and results",
    "another run's tensors and digests",
    "results say verified",
    "two slices swapped in the results",
    "exponent of a fixed-point tensor changed",
    "verifier's own input is another",
    "key of another circuit with a true proof of it",
    "key of another circuit, model pinned",
    "key of another circuit, keys pinned",
];

fn plain(_: &World) -> VerifyOptions {
    VerifyOptions::default()
}
fn proven(_: &World) -> VerifyOptions {
    Demands {
        require: Require::Proven,
        ..Demands::default()
    }
    .into()
}
/// An error that no output of these models exceeds: a verifier who looks at keys alone.
const FAR: f64 = 1.0;

fn any_error(_: &World) -> VerifyOptions {
    Demands {
        max_error: Some(FAR),
        ..Demands::default()
    }
    .into()
}
/// Pins the model as it was before anybody touched it.
fn pinned_model(w: &World) -> VerifyOptions {
    Demands {
        expect_model: Some(before(w).model().identity),
        max_error: Some(FAR),
        ..Demands::default()
    }
    .into()
}
fn recompiled(_: &World) -> VerifyOptions {
    Demands {
        recompile: true,
        max_error: Some(FAR),
        ..Demands::default()
    }
    .into()
}
fn pinned_keys(w: &World) -> VerifyOptions {
    let good = before(w);
    let report = Lab::of(w.backend)
        .verify(&good, &VerifyOptions::default())
        .report();
    Demands {
        expect_keys: report.keys_sha256,
        max_error: Some(FAR),
        ..Demands::default()
    }
    .into()
}
fn own_input(w: &World) -> VerifyOptions {
    let path = w.root().join("own-input.json");
    let mut v = super::input(w, "first");
    let pixel = v["input_data"][0][10].as_f64().expect("a number");
    v["input_data"][0][10] = json!(pixel + 1.0);
    v.as_object_mut().map(|o| o.remove("inputs"));
    fs::write(&path, v.to_string()).expect("a write");
    VerifyOptions {
        input: Some(path),
        ..VerifyOptions::default()
    }
}
fn own_output(w: &World) -> VerifyOptions {
    let path = w.root().join("own-output.json");
    let mut v = super::output(w);
    v["output_data"][0][3] = json!(1234.5);
    v.as_object_mut().map(|o| o.remove("outputs"));
    fs::write(&path, v.to_string()).expect("a write");
    VerifyOptions {
        output: Some(path),
        ..VerifyOptions::default()
    }
}
/// One view of the output is true, the one that people read is not.
fn two_faced_output(w: &World) -> VerifyOptions {
    let path = w.root().join("two-faced.json");
    let mut v = super::output(w);
    v["output_data"][0][3] = json!(1234.5);
    fs::write(&path, v.to_string()).expect("a write");
    VerifyOptions {
        output: Some(path),
        ..VerifyOptions::default()
    }
}
fn true_input_and_output(w: &World) -> VerifyOptions {
    let (i, o) = (
        w.root().join("true-input.json"),
        w.root().join("true-output.json"),
    );
    fs::write(&i, super::input(w, "first").to_string()).expect("a write");
    fs::write(&o, super::output(w).to_string()).expect("a write");
    VerifyOptions {
        input: Some(i),
        output: Some(o),
        ..VerifyOptions::default()
    }
}

fn before(w: &World) -> World {
    World::of(w.backend)
}

fn set_backend_onnx(w: &World, _: &Lab) {
    w.edit_results(|r| {
        for s in &mut r.slices {
            s.backend = Some("onnx".into());
            s.proof_execution = None;
        }
    });
    for i in 0..3 {
        w.edit_slice(i, |m| m.backend = Some("onnx".into()));
    }
}

fn tamper_key_entry(w: &World, f: impl Fn(&mut dsperse_documents::Artefact)) {
    w.edit_slice(1, |m| {
        let c = m.compilations.get_mut(w.backend).expect("compiled");
        let key = c.artefacts.iter_mut().find(|a| a.role == Role::Verifying);
        f(key.expect("a key"));
    });
}

fn steal_proofs(w: &World, from: impl Fn(usize) -> usize, other_run: bool) {
    let source = if other_run { w.other_run() } else { w.run() };
    let stolen: Vec<(std::path::PathBuf, Vec<u8>)> = (0..3)
        .map(|i| {
            let theirs = if other_run {
                let name = w.proof(from(i));
                let relative = name.strip_prefix(w.run()).expect("below").to_path_buf();
                source.join(relative)
            } else {
                w.proof(from(i))
            };
            (w.proof(i), fs::read(theirs).expect("a proof"))
        })
        .collect();
    for (path, bytes) in stolen {
        fs::write(path, bytes).expect("a write");
    }
    w.reseal();
}

fn swap(a: &std::path::Path, b: &std::path::Path) {
    let aside = a.with_extension("aside");
    fs::rename(a, &aside).expect("a move");
    fs::rename(b, a).expect("a move");
    fs::rename(&aside, b).expect("a move");
}

/// Every row. The words are those of the check that is meant to speak: were it gone, at
/// best another one would, and the row would fail.
pub fn table() -> Vec<Row> {
    use Expect::{Failed, KeysAsGiven, NotEnough, Same};
    let row = |name, backends, tamper, options, expect| Row {
        name,
        backends,
        tamper,
        options,
        expect,
    };
    vec![
        row("nothing", ALL, |_, _| {}, plain, Same),
        row(
            "proof of another input",
            PROVERS,
            |w, _| steal_proofs(w, |i| i, true),
            plain,
            Failed(&["slice 0 failed"]),
        ),
        row(
            "proof of another slice",
            PROVERS,
            |w, _| steal_proofs(w, |i| (i + 1) % 3, false),
            plain,
            Failed(&["slice 1 failed"]),
        ),
        row(
            "proof flipped",
            PROVERS,
            |w, _| flip(&w.proof(1)),
            plain,
            Failed(&["\"proof\" of the run has been changed"]),
        ),
        row(
            "proof flipped, digests too",
            PROVERS,
            |w, _| {
                flip(&w.proof(1));
                w.reseal();
            },
            plain,
            Failed(&["slice 1 failed"]),
        ),
        row(
            "proof cut off, digests too",
            PROVERS,
            |w, _| {
                let p = w.proof(1);
                let b = fs::read(&p).expect("a proof");
                fs::write(&p, &b[..b.len() - 7]).expect("a write");
                w.reseal();
            },
            plain,
            Failed(&["slice 1 failed"]),
        ),
        row(
            "proof emptied, digests too",
            PROVERS,
            |w, _| {
                fs::write(w.proof(1), b"").expect("a write");
                w.reseal();
            },
            plain,
            Failed(&["slice 1 failed"]),
        ),
        row(
            "key flipped",
            PROVERS,
            |w, _| flip(&w.key(1)),
            plain,
            Failed(&["of slice 1 has been changed"]),
        ),
        row(
            "key flipped, digests too",
            PROVERS,
            |w, _| {
                flip(&w.key(1));
                w.reseal();
            },
            plain,
            Failed(&["slice 1 failed"]),
        ),
        row(
            "keys of two slices swapped, digests too",
            PROVERS,
            |w, _| {
                swap(&w.key(1), &w.key(2));
                w.reseal();
            },
            plain,
            Failed(&["slice 1 failed"]),
        ),
        row(
            "payload flipped",
            ALL,
            |w, _| flip(&w.payload(1)),
            plain,
            Failed(&["ONNX file of slice 1 has been changed"]),
        ),
        row(
            "weights changed, digests too, model pinned",
            ALL,
            |w, _| {
                super::forge::change_weights(&w.payload(2), &w.payload(2));
                w.reseal();
            },
            pinned_model,
            Failed(&["slices of another model"]),
        ),
        row(
            "weights changed, digests too",
            EMBEDDED,
            |w, _| {
                super::forge::change_weights(&w.payload(2), &w.payload(2));
                w.reseal();
            },
            plain,
            Failed(&["slice 2 failed"]),
        ),
        row(
            "input flipped",
            ALL,
            |w, _| flip(&w.tensor("input")),
            plain,
            Failed(&["tensor \"input\" has been changed"]),
        ),
        row(
            "input changed, digests too",
            ALL,
            |w, _| {
                change_input(w);
                w.reseal();
            },
            plain,
            Failed(&["slice 0 failed"]),
        ),
        row(
            "tensor between slices flipped",
            ALL,
            |w, _| flip(&w.tensor("relu1")),
            plain,
            Failed(&["tensor \"relu1\" has been changed"]),
        ),
        row(
            "tensor between slices flipped, digests too",
            ALL,
            |w, _| {
                flip(&w.tensor("relu1"));
                w.reseal();
            },
            plain,
            Failed(&["slice 0 failed"]),
        ),
        row(
            "output changed in the store",
            ALL,
            |w, _| flip(&w.tensor("logits")),
            plain,
            Failed(&["tensor \"logits\" has been changed"]),
        ),
        row(
            "output changed in store and results",
            ALL,
            |w, _| {
                flip(&w.tensor("logits"));
                w.reseal();
            },
            plain,
            Failed(&["slice 2 failed"]),
        ),
        row(
            "another run's tensors",
            ALL,
            |w, _| {
                fs::remove_dir_all(w.run().join("tensors")).expect("gone");
                super::world::copy(&w.other_run().join("tensors"), &w.run().join("tensors"));
            },
            plain,
            Failed(&["record names another input"]),
        ),
        row(
            "another run's tensors and digests",
            PROVERS,
            |w, _| {
                fs::remove_dir_all(w.run().join("tensors")).expect("gone");
                super::world::copy(&w.other_run().join("tensors"), &w.run().join("tensors"));
                w.reseal();
            },
            plain,
            Failed(&["slice 0 failed"]),
        ),
        row(
            "output named otherwise in the results",
            ALL,
            |w, _| w.edit_results(|r| r.output_sha256 = Some("0".repeat(64))),
            plain,
            Failed(&["record names another output"]),
        ),
        row(
            "input named otherwise in the results",
            ALL,
            |w, _| w.edit_results(|r| r.input_sha256 = "0".repeat(64)),
            plain,
            Failed(&["record names another input"]),
        ),
        row(
            "results say verified",
            PROVERS,
            |w, _| {
                flip(&w.proof(1));
                w.reseal();
                w.edit_results(|r| {
                    for s in &mut r.slices {
                        s.verification_execution = Some(StageOutcome {
                            success: true,
                            verdict: Some(Verdict::Proven),
                            ..StageOutcome::default()
                        });
                    }
                });
            },
            plain,
            Failed(&["slice 1 failed"]),
        ),
        row(
            "results say failed",
            ALL,
            |w, _| {
                w.edit_results(|r| {
                    for s in &mut r.slices {
                        s.verification_execution = Some(StageOutcome {
                            success: false,
                            verdict: Some(Verdict::Failed),
                            ..StageOutcome::default()
                        });
                        s.claim.inputs = vec!["nonsense".into()];
                    }
                })
            },
            plain,
            Same,
        ),
        row(
            "two slices swapped on disk",
            ALL,
            |w, _| swap(&w.slice(0), &w.slice(1)),
            plain,
            Failed(&["expected slice 0", "expected slice 1"]),
        ),
        row(
            "two slices swapped, indices too",
            ALL,
            |w, _| {
                swap(&w.slice(0), &w.slice(1));
                w.edit_slice(0, |m| m.index = 0);
                w.edit_slice(1, |m| m.index = 1);
            },
            plain,
            Failed(&["differs from what the model's metadata says"]),
        ),
        row(
            "two slices swapped in the results",
            PROVERS,
            |w, _| {
                w.edit_results(|r| {
                    r.slices.swap(0, 1);
                    r.slices[0].index = 0;
                    r.slices[1].index = 1;
                })
            },
            plain,
            Failed(&["slice 0 failed"]),
        ),
        row(
            "slice dropped from the results",
            ALL,
            |w, _| {
                w.edit_results(|r| {
                    r.slices.pop();
                })
            },
            plain,
            Failed(&["the run has no slice 2"]),
        ),
        row(
            "slice dropped from the disk",
            ALL,
            |w, _| fs::remove_dir_all(w.slice(2)).expect("gone"),
            plain,
            Failed(&["slice 2 of the model is missing"]),
        ),
        row(
            "slice dropped from the model",
            ALL,
            |w, _| {
                fs::remove_dir_all(w.slice(2)).expect("gone");
                w.edit_model(|m| {
                    m.slices.pop();
                });
            },
            plain,
            Failed(&["model output \"logits\" is produced by no slice"]),
        ),
        row(
            "slice dropped and the output renamed",
            ALL,
            |w, _| {
                fs::remove_dir_all(w.slice(2)).expect("gone");
                w.edit_model(|m| {
                    m.slices.pop();
                    m.outputs = m.slices[1].outputs.clone();
                    m.seal().expect("fits");
                });
            },
            plain,
            Failed(&["the run is of another sliced model"]),
        ),
        row(
            "slice added to the results",
            ALL,
            |w, _| {
                w.edit_results(|r| {
                    let mut s = r.slices[0].clone();
                    s.index = 3;
                    r.slices.push(s);
                })
            },
            plain,
            Failed(&["the run has slice 3, which the model has not"]),
        ),
        row(
            "slice twice in the results",
            ALL,
            |w, _| {
                w.edit_results(|r| {
                    let s = r.slices[0].clone();
                    r.slices.push(s);
                })
            },
            plain,
            Failed(&["the run has slice 0 2 times"]),
        ),
        row(
            "slice added to the disk",
            ALL,
            |w, _| super::world::copy(&w.slice(2), &w.slices().join("slice_3")),
            plain,
            Failed(&["the model's metadata lists 3 slices"]),
        ),
        row(
            "run of another model",
            ALL,
            |w, _| w.edit_results(|r| r.model_identity = "0".repeat(64)),
            plain,
            Failed(&["the run is of another sliced model"]),
        ),
        row(
            "slices of the same model, cut otherwise",
            ALL,
            |w, _| {
                fs::remove_dir_all(w.slices()).expect("gone");
                super::world::copy(&w.root().join("whole"), &w.slices());
            },
            plain,
            Failed(&["the run is of another sliced model"]),
        ),
        row(
            "another model than expected",
            ALL,
            |_, _| {},
            |_| {
                Demands {
                    expect_model: Some("0".repeat(64)),
                    ..Demands::default()
                }
                .into()
            },
            Failed(&["slices of another model"]),
        ),
        row(
            "identity replaced",
            ALL,
            |w, _| w.edit_model(|m| m.identity = "0".repeat(64)),
            plain,
            Failed(&["model identity doesn't match the content"]),
        ),
        row(
            "edges rewritten",
            ALL,
            |w, _| w.edit_model(|m| m.edges[1].consumers = vec![2]),
            plain,
            Failed(&["edges don't follow"]),
        ),
        row(
            "shares dressed up",
            ALL,
            |w, _| w.edit_model(|m| m.slices[0].parameters = 1),
            plain,
            Failed(&["model identity doesn't match the content"]),
        ),
        row(
            "tensor renamed in the index",
            ALL,
            |w, _| {
                w.edit_index(|i| {
                    for t in &mut i.tensors {
                        if t.name == "relu1" {
                            t.name = "relu9".into();
                        }
                    }
                })
            },
            plain,
            Failed(&["tensor \"relu1\" of the run is missing"]),
        ),
        row(
            "tensor twice in the index",
            ALL,
            |w, _| {
                w.edit_index(|i| {
                    let t = i.tensors[0].clone();
                    i.tensors.push(t);
                })
            },
            plain,
            Failed(&["is listed twice"]),
        ),
        row(
            "tensor missing",
            ALL,
            |w, _| fs::remove_file(w.tensor("relu1")).expect("gone"),
            plain,
            Failed(&["tensor \"relu1\" is missing"]),
        ),
        row(
            "tensors exchanged in the index",
            ALL,
            |w, _| {
                w.edit_index(|i| {
                    let (a, b) = (i.tensors[1].path.clone(), i.tensors[2].path.clone());
                    i.tensors[1].path = b;
                    i.tensors[2].path = a;
                });
            },
            plain,
            Failed(&["has been changed"]),
        ),
        row(
            "exponent of a fixed-point tensor changed",
            PROVERS,
            |w, _| {
                w.edit_index(|i| {
                    for t in &mut i.tensors {
                        if let (dsperse_documents::Encoding::Fixed { exponent }, "logits") =
                            (&mut t.encoding, t.name.as_str())
                        {
                            *exponent += 1;
                        }
                    }
                });
                w.reseal();
            },
            plain,
            Failed(&["slice 2 failed"]),
        ),
        row(
            "index outside the run",
            ALL,
            |w, _| {
                fs::copy(w.tensor("relu1"), w.run().join("t.bin")).expect("a copy");
                w.edit_index(|i| {
                    for t in &mut i.tensors {
                        if t.name == "relu1" {
                            t.path = "../t.bin".into();
                        }
                    }
                });
            },
            plain,
            Failed(&["which is refused: it climbs out"]),
        ),
        row(
            "tensor is a link",
            ALL,
            |w, _| {
                let p = w.tensor("relu1");
                let to = w.root().join("t.bin");
                fs::rename(&p, &to).expect("a move");
                link(&to, &p);
            },
            plain,
            Failed(&["leads through, a link"]),
        ),
        row(
            "proof is a link",
            PROVERS,
            |w, _| {
                let p = w.proof(1);
                let to = w.root().join("p.bin");
                fs::rename(&p, &to).expect("a move");
                link(&to, &p);
            },
            plain,
            Failed(&["leads through, a link"]),
        ),
        row(
            "proof path absolute",
            PROVERS,
            |w, _| {
                let p = w.proof(1).to_string_lossy().into_owned();
                w.edit_results(|r| {
                    if let Some(s) = &mut r.slices[1].proof_execution {
                        s.files[0].path = p;
                    }
                });
            },
            plain,
            Failed(&["it is absolute"]),
        ),
        row(
            "key path climbs out",
            PROVERS,
            |w, _| {
                let k = w.key(1);
                fs::copy(&k, w.slices().join("key.bin")).expect("a copy");
                tamper_key_entry(w, |a| a.path = "../key.bin".into());
            },
            plain,
            Failed(&["it climbs out"]),
        ),
        row(
            "payload path climbs out",
            ALL,
            |w, _| {
                fs::copy(w.payload(1), w.slices().join("p.onnx")).expect("a copy");
                w.edit_slice(1, |m| m.payload.path = Some("../p.onnx".into()));
            },
            plain,
            Failed(&["it climbs out"]),
        ),
        row(
            "key declared as a prover's file",
            PROVERS,
            |w, _| tamper_key_entry(w, |a| a.role = Role::Proving),
            plain,
            Failed(&["is missing"]),
        ),
        row(
            "key declared as public",
            PROVERS,
            |w, _| tamper_key_entry(w, |a| a.role = Role::Public),
            plain,
            Failed(&["is missing"]),
        ),
        row(
            "key declared twice",
            PROVERS,
            |w, _| {
                w.edit_slice(1, |m| {
                    let c = m.compilations.get_mut(w.backend).expect("compiled");
                    let k = c
                        .artefacts
                        .iter()
                        .find(|a| a.role == Role::Verifying)
                        .expect("a key")
                        .clone();
                    c.artefacts.push(k);
                })
            },
            plain,
            Failed(&["is declared twice"]),
        ),
        row(
            "compiled from another file, it says",
            PROVERS,
            |w, _| {
                w.edit_slice(1, |m| {
                    m.compilations
                        .get_mut(w.backend)
                        .expect("compiled")
                        .payload_sha256 = "0".repeat(64)
                })
            },
            plain,
            Failed(&["compiled is of another ONNX file"]),
        ),
        row(
            "compiled by another version, it says",
            PROVERS,
            |w, _| {
                w.edit_slice(1, |m| {
                    m.compilations
                        .get_mut(w.backend)
                        .expect("compiled")
                        .backend_version = "99.0.0".into()
                })
            },
            proven,
            NotEnough(&["99.0.0"]),
        ),
        row(
            "backend says onnx to escape a proof",
            PROVERS,
            set_backend_onnx,
            proven,
            NotEnough(&["makes no proofs"]),
        ),
        row(
            "proofs dropped",
            PROVERS,
            |w, _| {
                w.edit_results(|r| {
                    for s in &mut r.slices {
                        s.proof_execution = None;
                    }
                })
            },
            proven,
            NotEnough(&["there is no proof"]),
        ),
        row(
            "unknown backend",
            ALL,
            |w, _| {
                w.edit_results(|r| {
                    for s in &mut r.slices {
                        s.backend = Some("../../evil".into());
                        s.proof_execution = Some(StageOutcome {
                            files: vec![dsperse_documents::Artefact::new(
                                "proof",
                                Role::Verifying,
                                "x",
                            )],
                            ..StageOutcome::default()
                        });
                    }
                })
            },
            proven,
            NotEnough(&["which is not loaded"]),
        ),
        row(
            "nothing proven",
            &["onnx"],
            |_, _| {},
            proven,
            NotEnough(&["makes no proofs"]),
        ),
        row(
            "verifier's own input is another",
            ALL,
            |_, _| {},
            own_input,
            Failed(&["slice 0 failed"]),
        ),
        row(
            "verifier's own output is another",
            ALL,
            |_, _| {},
            own_output,
            Failed(&["slice 2 failed"]),
        ),
        row(
            "verifier's output says two things",
            ALL,
            |_, _| {},
            two_faced_output,
            Failed(&["hold different values"]),
        ),
        row(
            "verifier's own input and output are the run's",
            ALL,
            |_, _| {},
            true_input_and_output,
            Same,
        ),
        row(
            "future results",
            ALL,
            |w, _| future(&w.run().join("run_results.json")),
            plain,
            Failed(&["update dsperse"]),
        ),
        row(
            "future index",
            ALL,
            |w, _| future(&w.run().join("tensors/index.json")),
            plain,
            Failed(&["update dsperse"]),
        ),
        row(
            "future model",
            ALL,
            |w, _| future(&w.slices().join("metadata.json")),
            plain,
            Failed(&["update dsperse"]),
        ),
        row(
            "future slice",
            ALL,
            |w, _| future(&w.slice(1).join("metadata.json")),
            plain,
            Failed(&["update dsperse"]),
        ),
        row(
            "key of another circuit with a true proof of it",
            PROVERS,
            forge,
            any_error,
            KeysAsGiven,
        ),
        row(
            "key of another circuit, told by its output",
            SUMCHECK,
            forge,
            plain,
            Failed(&["too far from the float model's"]),
        ),
        row(
            "key of another circuit, digest as before",
            PROVERS,
            |w, lab| {
                let good = w.slice_metadata(2);
                forge(w, lab);
                w.edit_slice(2, |m| *m = good);
            },
            plain,
            Failed(&["of slice 2 has been changed"]),
        ),
        row(
            "key of another circuit, model pinned",
            PROVERS,
            forge,
            pinned_model,
            Failed(&["compiled again, "]),
        ),
        row(
            "key of another circuit, compiled again",
            PROVERS,
            forge,
            recompiled,
            Failed(&["compiled again, "]),
        ),
        row(
            "key of another circuit, keys pinned",
            PROVERS,
            forge,
            pinned_keys,
            Failed(&["verifying keys are others than expected"]),
        ),
        row(
            "key of another circuit with made-up calibration",
            PROVERS,
            |w, lab| {
                forge(w, lab);
                w.edit_slice(2, |m| {
                    m.compilations
                        .get_mut(w.backend)
                        .expect("compiled")
                        .calibration_sha256 = Some("0".repeat(64))
                });
            },
            pinned_model,
            NotEnough(&["--calibration"]),
        ),
        row(
            "model pinned, nothing touched",
            ALL,
            |_, _| {},
            pinned_model,
            Same,
        ),
        row(
            "keys pinned, nothing touched",
            SUMCHECK,
            |_, _| {},
            pinned_keys,
            Same,
        ),
    ]
}

#[cfg(unix)]
fn link(to: &std::path::Path, at: &std::path::Path) {
    std::os::unix::fs::symlink(to, at).expect("a link");
}

fn future(path: &std::path::Path) {
    let mut v: serde_json::Value =
        serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON");
    v["schema"] = json!("2.0.0");
    fs::write(path, v.to_string()).expect("a write");
}
