//! Tests on the real JSTprove programs.

use dsperse_backend_jstprove::Jstprove;
use dsperse_backend_jstprove::normalise::normalise;
use dsperse_backend_jstprove::programs::Programs;
use dsperse_onnx::{ModelProto, NodeProto, Tensor, Values};
use dsperse_plugin_api::{Backend, Cx, Encoding, OperatorSupport, TensorFile, Verdict};
use dsperse_test_support::operators::cases;
use dsperse_test_support::stages::{self, Quiet, Run, model, needed, noise};
use serde_json::Map;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

type Slice = stages::Slice<Jstprove>;

/// Fails where the real programs are missing.
fn tools() {
    let cx = Cx::new(std::env::temp_dir(), 1, None, &Quiet);
    needed(
        "JSTprove",
        Programs::find(&Map::new()).and_then(|p| p.check(&cx)),
    );
}

fn compile(model: &ModelProto) -> Slice {
    Slice::compile(model, Map::new(), &[]).unwrap()
}

fn mlp() -> ModelProto {
    model(
        &[("x", &[1, 6])],
        &[("y", &[1, 3])],
        vec![
            ("w", &[6, 3], Values::F32(noise(18, 1))),
            ("b", &[3], Values::F32(noise(3, 2))),
        ],
        vec![
            NodeProto::new("Gemm", &["x", "w", "b"], &["g"]),
            NodeProto::new("Relu", &["g"], &["y"]),
        ],
    )
}

#[test]
#[ignore = "needs JSTprove: scripts/install-backends.sh jstprove"]
fn a_proof_is_valid_and_each_tampering_is_not() {
    tools();
    let slice = compile(&mlp());
    let run = slice.run("a", slice.inputs("a", &[noise(6, 3)])).unwrap();
    assert_eq!(slice.verify(&run).unwrap(), Verdict::valid());

    let with = |f: &dyn Fn(&mut Run)| {
        let mut changed = run.clone();
        f(&mut changed);
        slice.invalid(&changed)
    };
    let file = |name: &str, bytes: &[u8]| {
        let path = slice.file(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };

    // Another input than the proof's.
    let other = slice.run("b", slice.inputs("b", &[noise(6, 4)])).unwrap();
    assert!(with(&|r| r.inputs = other.inputs.clone()).contains("rejects"));
    // Another output.
    let mut bytes = std::fs::read(&run.outputs[0].path).unwrap();
    bytes[0] ^= 1;
    let path = file("changed_output.bin", &bytes);
    assert!(with(&|r| r.outputs[0].path = path.clone()).contains("rejects"));
    // The proof of another input.
    assert!(with(&|r| r.proof = other.proof.clone()).contains("rejects"));
    // Outputs that are not in the circuit's form.
    assert!(
        with(&|r| r.outputs[0].info.encoding = Encoding::Fixed { exponent: -17 })
            .contains("fixed-point form")
    );
    assert!(with(&|r| r.outputs[0].info.encoding = Encoding::F64).contains("fixed-point form"));
    // No proof.
    assert!(with(&|r| r.proof.clear()).contains("no proof"));

    // Every part of the proof's bytes, and its length.
    let proof = std::fs::read(&run.proof[0].path).unwrap();
    let mut long = proof.clone();
    long.push(0);
    let path = file("long", &long);
    assert!(with(&|r| r.proof[0].path = path.clone()).contains("its header says"));
    for at in (0..proof.len()).step_by(proof.len() / 24) {
        let mut changed = proof.clone();
        changed[at] ^= 1;
        let path = file("flipped", &changed);
        with(&|r| r.proof[0].path = path.clone());
    }
    let path = file("cut", &proof[..proof.len() / 2]);
    with(&|r| r.proof[0].path = path.clone());
}

/// JSTprove's own verifier accepts a proof of a wrong output; this backend does not.
#[test]
#[ignore = "needs JSTprove: scripts/install-backends.sh jstprove"]
fn a_forged_output_that_the_tool_accepts_is_rejected() {
    tools();
    let slice = compile(&mlp());
    let run = slice.run("a", slice.inputs("a", &[noise(6, 3)])).unwrap();
    let unpack = |from: &str, to: &Path| {
        let bytes = zstd::decode_all(std::fs::File::open(from).unwrap()).unwrap();
        std::fs::write(to, bytes).unwrap();
    };
    let (circuit, witness) = (slice.file("circuit.txt"), slice.file("witness.bin"));
    unpack(&slice.circuit[0].path, &circuit);
    unpack(&run.witness[0].path, &witness);

    // The first output is the seventh public value from the end less one: 3 outputs, 2, 18.
    let mut bytes = std::fs::read(&witness).unwrap();
    let at = bytes.len() - 5 * 32;
    let mut claimed = std::fs::read(&run.outputs[0].path).unwrap();
    let honest = i64::from_le_bytes(claimed[..8].try_into().unwrap());
    let forged = honest + 12_345;
    bytes[at..at + 8].copy_from_slice(&forged.to_le_bytes());
    claimed[..8].copy_from_slice(&forged.to_le_bytes());
    std::fs::write(&witness, bytes).unwrap();
    let output = slice.file("forged_output.bin");
    std::fs::write(&output, claimed).unwrap();

    let proof = slice.file("forged.bin");
    let prover = Programs::find(&Map::new()).unwrap().prover().to_owned();
    let expander = |args: &[&str], file: &str| {
        let status = Command::new(&prover)
            .envs([
                ("OMPI_MCA_ess_singleton_isolated", "1"),
                ("OMPI_MCA_btl", "self"),
                ("OMPI_MCA_pml", "ob1"),
            ])
            .args(["-p", "Hyrax"])
            .args(args)
            .arg("-c")
            .arg(&circuit)
            .arg("-w")
            .arg(&witness)
            .arg(file)
            .arg(&proof)
            .output()
            .unwrap();
        status.status.success()
    };
    assert!(expander(&["prove"], "-o"));
    assert!(
        expander(&["verify"], "-i"),
        "the tool rejects the forgery itself: the control of this test is gone"
    );

    let mut changed = run.clone();
    changed.outputs[0].path = output.display().to_string();
    changed.proof[0].path = proof.display().to_string();
    assert!(slice.invalid(&changed).contains("not zero"));

    // The same with the claimed value zeroed by hand.
    let mut bytes = std::fs::read(&proof).unwrap();
    let end = bytes.len() - 32;
    bytes[end..].fill(0);
    std::fs::write(&proof, bytes).unwrap();
    assert!(slice.invalid(&changed).contains("rejects"));
}

#[test]
#[ignore = "needs JSTprove: scripts/install-backends.sh jstprove"]
fn a_changed_circuit_is_rejected() {
    tools();
    let slice = compile(&mlp());
    let run = slice.run("a", slice.inputs("a", &[noise(6, 3)])).unwrap();
    let mut other = mlp();
    if let Some(graph) = &mut other.graph {
        graph.initializer[0] = Tensor::new(vec![6, 3], Values::F32(noise(18, 9)))
            .unwrap()
            .to_proto("w");
    }
    let mut changed = compile(&other);
    assert!(changed.invalid(&run).contains("rejects"));
    // Bytes that are no circuit at all.
    let path = changed.file("junk");
    std::fs::write(&path, b"junk").unwrap();
    changed.circuit[0].path = path.display().to_string();
    assert!(changed.invalid(&run).contains("corrupt"));
    std::fs::write(&path, zstd::encode_all(&b"junk"[..], 3).unwrap()).unwrap();
    assert!(!changed.invalid(&run).is_empty());
}

/// The integers that leave one slice enter the next one unchanged.
#[test]
#[ignore = "needs JSTprove: scripts/install-backends.sh jstprove"]
fn slices_link_by_integers() {
    tools();
    let slice = compile(&mlp());
    let run = slice.run("a", slice.inputs("a", &[noise(6, 3)])).unwrap();
    let next = compile(&model(
        &[("y", &[1, 3])],
        &[("z", &[1, 3])],
        vec![("k", &[3], Values::F32(vec![0.5, -0.25, 3.0]))],
        vec![NodeProto::new("Mul", &["y", "k"], &["z"])],
    ));
    let linked = next.run("a", run.outputs.clone()).unwrap();
    assert_eq!(next.verify(&linked).unwrap(), Verdict::valid());
    let ints = |f: &TensorFile| f.read_values().unwrap().to_fixed(-18).unwrap();
    let expected: Vec<i64> = ints(&run.outputs[0])
        .iter()
        .zip([1i64 << 17, -(1 << 16), 3 << 18])
        .map(|(y, k)| (y * k) >> 18)
        .collect();
    assert_eq!(ints(&linked.outputs[0]), expected);
}

/// Every operator, against the floats that it stands for.
#[test]
#[ignore = "needs JSTprove: scripts/install-backends.sh jstprove"]
fn every_listed_operator_is_proven() {
    tools();
    let mut proven = BTreeSet::new();
    for case in cases() {
        if normalise(&case.model.to_bytes()).is_err() {
            eprintln!("{}: refused by the plugin", case.name);
            continue;
        }
        let slice = compile(&case.model);
        let run = slice.run("a", slice.inputs("a", &case.inputs)).unwrap();
        for (found, expected) in run.outputs.iter().zip(&case.outputs) {
            let found = found.read_values().unwrap().to_f64();
            for (a, b) in found.iter().zip(expected) {
                let error = (a - f64::from(*b)).abs();
                assert!(error < 1e-4, "{}: {a} in place of {b}", case.name);
            }
        }
        assert_eq!(
            slice.verify(&run).unwrap(),
            Verdict::valid(),
            "{}",
            case.name
        );
        proven.insert(case.op().to_owned());
    }
    let listed = Jstprove::describe().capabilities.operators;
    let listed: BTreeSet<String> = listed
        .into_iter()
        .filter(|o| o.limits != OperatorSupport::REWRITTEN)
        .map(|o| o.op)
        .collect();
    // What is rewritten may be among the cases as well.
    proven.retain(|op| listed.contains(op));
    assert_eq!(proven, listed);
}

/// Two inputs and two outputs, one of them used inside the slice as well.
#[test]
#[ignore = "needs JSTprove: scripts/install-backends.sh jstprove"]
fn several_inputs_and_outputs_are_bound() {
    tools();
    let shape: &[u64] = &[1, 4];
    let slice = compile(&model(
        &[("a", shape), ("b", shape)],
        &[("s", shape), ("p", shape)],
        vec![],
        vec![
            NodeProto::new("Add", &["a", "b"], &["s"]),
            NodeProto::new("Mul", &["s", "b"], &["p"]),
        ],
    ));
    let run = slice
        .run("a", slice.inputs("a", &[noise(4, 1), noise(4, 2)]))
        .unwrap();
    assert_eq!(slice.verify(&run).unwrap(), Verdict::valid());
    let swapped = Run {
        outputs: vec![run.outputs[1].clone(), run.outputs[0].clone()],
        ..run.clone()
    };
    assert!(slice.invalid(&swapped).contains("rejects"));
}
