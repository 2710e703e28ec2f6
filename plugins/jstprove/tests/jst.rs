//! The real `jst` command, where there is one: `DSPERSE_JST` names it, or it starts from
//! `PATH`. Its start takes some five CPU seconds, so these tests are few; its package
//! is some gigabytes.

use dsperse_backend_jstprove::Jstprove;
use dsperse_backend_jstprove::command::Jst;
use dsperse_backend_jstprove::programs::Programs;
use dsperse_onnx::{AttributeProto, ModelProto, NodeProto, Values};
use dsperse_plugin_api::job::Options;
use dsperse_plugin_api::{Cx, ErrorKind, Verdict};
use dsperse_test_support::stages::{self, Quiet, Run, model, needed, noise};
use serde_json::{Map, json};

type Slice = stages::Slice<Jstprove>;

/// Options that ask for the command.
fn jst() -> Options {
    let mut options = Map::new();
    if let Some(path) = std::env::var_os("DSPERSE_JST") {
        options.insert("jst".into(), json!(path.to_string_lossy()));
    }
    let dir = tempfile::tempdir().unwrap();
    let cx = Cx::new(dir.path().to_owned(), 1, None, &Quiet);
    let found = Jst::find(&options).and_then(|j| j.check(&cx).map(|()| j));
    needed(
        "JSTprove",
        Programs::find(&Map::new()).and_then(|p| p.check(&cx)),
    );
    let jst = needed("jst", found);
    options.insert("jst".into(), json!(jst.program()));
    options
}

/// Every kind of constant: weights and biases at both scales, per channel and per element.
fn network() -> ModelProto {
    let pool = NodeProto::new("MaxPool", &["r"], &["p"])
        .with(AttributeProto::from_ints("kernel_shape", &[2, 2]))
        .with(AttributeProto::from_ints("strides", &[2, 2]));
    model(
        &[("x", &[1, 1, 8, 8])],
        &[("y", &[1, 3])],
        vec![
            ("w", &[2, 1, 3, 3], Values::F32(noise(18, 1))),
            ("s", &[2], Values::F32(noise(2, 2))),
            ("b", &[2], Values::F32(noise(2, 3))),
            ("m", &[2], Values::F32(noise(2, 4))),
            ("v", &[2], Values::F32(vec![0.7, 1.3])),
            ("k", &[2, 1, 1], Values::F32(noise(2, 5))),
            ("lo", &[], Values::F32(vec![-0.5])),
            ("hi", &[], Values::F32(vec![0.75])),
            ("axes", &[1], Values::I64(vec![0])),
            ("shape", &[2], Values::I64(vec![1, 18])),
            ("g", &[3, 18], Values::F32(noise(54, 6))),
            ("c", &[3], Values::F32(noise(3, 7))),
            ("d", &[3, 3], Values::F32(noise(9, 8))),
        ],
        vec![
            NodeProto::new("Conv", &["x", "w"], &["c0"]),
            NodeProto::new("BatchNormalization", &["c0", "s", "b", "m", "v"], &["n"]),
            NodeProto::new("Relu", &["n"], &["r"]),
            pool,
            NodeProto::new("Mul", &["p", "k"], &["q"]),
            NodeProto::new("Sub", &["q", "k"], &["t"]),
            NodeProto::new("Clip", &["t", "lo", "hi"], &["u"]),
            NodeProto::new("Squeeze", &["u", "axes"], &["f"]),
            NodeProto::new("Reshape", &["f", "shape"], &["h"]),
            NodeProto::new("Gemm", &["h", "g", "c"], &["i"])
                .with(AttributeProto::from_int("transB", 1))
                .with(AttributeProto::from_float("alpha", 0.3)),
            NodeProto::new("MatMul", &["i", "d"], &["y"]),
        ],
    )
}

/// The command and the programs make the same bytes of the same slice and input, and each
/// accepts what the other made.
#[test]
#[ignore = "needs JSTprove and its command jst: scripts/install-backends.sh jstprove"]
fn the_command_makes_the_same_files_as_the_programs() {
    let options = jst();
    let by_command = Slice::compile(&network(), options, &[]).unwrap();
    let by_programs = Slice::compile(&network(), Map::new(), &[]).unwrap();
    for name in ["circuit", "witness_solver", "settings"] {
        let read = |s: &Slice| std::fs::read(&s.circuit[s.artefact(name)].path).unwrap();
        assert!(read(&by_command) == read(&by_programs), "{name} differs");
    }
    let run = |s: &Slice| s.run("a", s.inputs("a", &[noise(64, 9)])).unwrap();
    let (a, b) = (run(&by_command), run(&by_programs));
    let bytes = |path: &str| std::fs::read(path).unwrap();
    assert!(bytes(&a.witness[0].path) == bytes(&b.witness[0].path));
    assert!(bytes(&a.proof[0].path) == bytes(&b.proof[0].path));
    assert_eq!(bytes(&a.outputs[0].path), bytes(&b.outputs[0].path));

    assert_eq!(by_command.verify(&b).unwrap(), Verdict::valid());
    assert_eq!(by_programs.verify(&a).unwrap(), Verdict::valid());
    // The command's verdict on a changed claim and on a changed proof.
    let mut output = bytes(&a.outputs[0].path);
    output[0] ^= 1;
    let mut changed = a.clone();
    changed.outputs[0].path = by_command.written("output", &output);
    assert!(by_command.invalid(&changed).contains("rejects"));
    let mut proof = bytes(&a.proof[0].path);
    proof[100] ^= 1;
    let mut changed = a.clone();
    changed.proof[0].path = by_command.written("proof", &proof);
    assert!(by_command.invalid(&changed).contains("rejects"));

    only_the_command_is_left(by_programs, &by_command, &b);
}

/// A witness by the command needs a file that only its own compilation makes; everything
/// else goes on with what the programs compiled.
fn only_the_command_is_left(mut slice: Slice, by_command: &Slice, run: &Run) {
    slice.options = by_command.options.clone();
    assert_eq!(slice.verify(run).unwrap(), Verdict::valid());
    let e = slice.run("b", run.inputs.clone()).map(|_| ()).unwrap_err();
    assert_eq!(e.kind, ErrorKind::ToolMissing);
    assert!(e.hint.unwrap().contains("compile the slice again"));
}
