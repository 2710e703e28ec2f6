//! `full-run` on every sample, with a proof system and without.

use dsperse_e2e::Place;
use dsperse_onnx::{
    AttributeProto, DataType, Dim, GraphProto, ModelProto, NodeProto, Tensor, ValueInfoProto,
    Values,
};
use serde_json::Value;
use std::fs;

fn verdicts(document: &Value) -> Vec<&str> {
    document["slices"]
        .as_array()
        .expect("a list of slices")
        .iter()
        .filter_map(|s| s["verdict"].as_str())
        .collect()
}

fn proven(sample: &str, slices: usize) {
    let place = Place::of_model(sample);
    let ran = place
        .call("full-run -m model --strategy layer --json")
        .exits(0);
    let document = ran.json();
    let verification = &document["verification"];
    assert_eq!(verification["accepted"], true);
    assert_eq!(verdicts(verification), vec!["proven"; slices]);
    assert_eq!(verification["proven_by_macs"], 1.0);
    assert_eq!(document["results"]["fidelity"]["same_argmax"], true);
}

#[test]
fn digits_mlp_is_proven() {
    proven("digits-mlp", 3);
}

#[test]
fn lenet_is_proven() {
    proven("lenet", 5);
}

#[test]
fn resnet_is_proven() {
    proven("resnet-tiny", 7);
}

#[test]
fn transformer_is_proven() {
    proven("transformer-block", 8);
}

#[test]
fn without_a_proof_system_every_slice_is_computed_again() {
    let place = Place::with_plugins(&["onnx"]);
    place.add_model("lenet", "model");
    let document = place
        .call("fr -m model --strategy layer --json")
        .exits(0)
        .json();
    let verification = &document["verification"];
    assert_eq!(verdicts(verification), vec!["recomputed"; 5]);
    // A run in floats is the float model, bit for bit.
    assert_eq!(document["results"]["fidelity"]["max_abs"], 0.0);
    // And what must be proven is not met by that.
    place
        .call("full-run -m model --strategy layer --require proven")
        .exits(1);
}

#[test]
fn the_second_time_what_is_up_to_date_is_not_done_again() {
    let place = Place::of_model("digits-mlp");
    let first = place
        .call("full-run -m model --strategy layer --json")
        .exits(0)
        .json();
    let second = place
        .call("full-run -m model --strategy layer --json")
        .exits(0)
        .json();
    let outcome = |d: &Value| d["compile"]["slices"][0]["outcome"].clone();
    assert_eq!(outcome(&first), "done");
    assert_eq!(outcome(&second), "up_to_date");
    assert_eq!(
        first["verification"]["output_sha256"],
        second["verification"]["output_sha256"]
    );
    assert_ne!(first["run"], second["run"]);
    let forced = place
        .call("full-run -m model --strategy layer --force --json")
        .exits(0)
        .json();
    assert_eq!(outcome(&forced), "done");
}

#[test]
fn layers_and_backends_are_mixed() {
    let place = Place::of_model("lenet");
    let document = place
        .run([
            "full-run",
            "-m",
            "model",
            "-b",
            "0,2:sumcheck;3-4:onnx",
            "--json",
            "-o",
            "out.json",
        ])
        .exits(0)
        .json();
    assert_eq!(
        verdicts(&document["verification"]),
        ["proven", "proven", "proven", "recomputed", "recomputed"]
    );
    let output = place.json("out.json");
    assert_eq!(output["output_data"][0].as_array().map(Vec::len), Some(10));
    assert_eq!(
        output["outputs"]["logits"]["shape"],
        serde_json::json!([1, 10])
    );
}

#[test]
fn existing_slices_are_used() {
    let place = Place::of_model("digits-mlp");
    place
        .call("slice -m model --strategy layer --output-type dsperse -o elsewhere/net.dsperse")
        .exits(0);
    std::fs::copy(
        place.path("model/input.json"),
        place.path("elsewhere/input.json"),
    )
    .expect("a copy");
    place.call("full-run -s elsewhere/net.dsperse").exits(0);
    assert!(!place.path("model/slices").exists());
    assert!(place.path("elsewhere/run").is_dir());
    assert!(place.path("elsewhere/net.dsperse").is_file());
}

#[test]
fn the_summary_tells_the_whole_story() {
    let place = Place::of_model("digits-mlp");
    let text = place
        .call("full-run -m model --strategy layer -q")
        .exits(0)
        .stdout;
    for part in [
        "3 slices at model/slices",
        "model identity ",
        "compile: 3 of 3 slices",
        "fidelity against the float model: ",
        "3 proven, 0 recomputed, 0 unchecked, 0 failed",
        "100.0 % of parameters",
        "binding strong",
        "verdict: accepted (--require checked)",
    ] {
        assert!(text.contains(part), "\"{part}\" is missing from:\n{text}");
    }
}

#[test]
fn open_sizes_are_taken_from_the_input() {
    let place = Place::new();
    fs::create_dir(place.path("model")).expect("a directory");
    let port = |name: &str| {
        let dims = ["batch", "seq"].map(|n| Dim::Named(n.into()));
        ValueInfoProto::tensor(name, DataType::F32, &dims)
    };
    let graph = GraphProto {
        input: vec![port("x")],
        output: vec![port("y")],
        node: vec![NodeProto::new("Add", &["x", "x"], &["y"])],
        ..GraphProto::default()
    };
    let bytes = ModelProto::from_graph(graph, 17).to_bytes();
    fs::write(place.path("model/model.onnx"), bytes).expect("a file");
    fs::write(place.path("in.json"), r#"{"x": [[1, 2, 3], [4, 5, 6]]}"#).expect("a file");
    let ran = place
        .call("full-run -m model -i in.json -o out.json")
        .exits(0);
    let note = "size \"seq\" of input \"x\" is that of the given input, 3";
    assert!(ran.stdout.contains(note), "{}", ran.stdout);
    let shape = &place.json("out.json")["outputs"]["y"]["shape"];
    assert_eq!(shape, &serde_json::json!([2, 3]));
    let sliced = place
        .call("slice -m model -i in.json -o other --json")
        .exits(0);
    let input = &sliced.json()["model"]["inputs"][0]["shape"];
    assert_eq!(input, &serde_json::json!([2, 3]));
    // Nobody said how long: no guess.
    let ran = place.call("slice -m model -o third").exits(3);
    assert!(ran.stderr.contains("--dim seq=N"), "{}", ran.stderr);
    // A flag goes before the input, which is then two inputs, or does not fit.
    let ran = place
        .call("full-run -m model -i in.json --batch 1")
        .exits(0);
    let runs = "verdict: accepted, 2 of 2 claims";
    assert!(ran.stdout.contains(runs), "{}", ran.stdout);
    place
        .call("full-run -m model -i in.json --dim seq=4")
        .exits(3);
}

#[test]
fn an_if_is_decided_by_an_input_that_is_made_constant() {
    let place = Place::new();
    fs::create_dir(place.path("model")).expect("a directory");
    // The branches have other shapes, so that nothing is known before one is chosen.
    let branch = |node: NodeProto, size: u64| GraphProto {
        name: Some("branch".into()),
        node: vec![node],
        output: vec![ValueInfoProto::concrete("r", DataType::F32, &[size])],
        ..GraphProto::default()
    };
    let axis = AttributeProto::from_int("axis", 0);
    let double = branch(NodeProto::new("Concat", &["x", "x"], &["r"]).with(axis), 4);
    let graph = GraphProto {
        input: vec![
            ValueInfoProto::concrete("x", DataType::F32, &[2]),
            ValueInfoProto::concrete("rate", DataType::I64, &[]),
        ],
        output: vec![ValueInfoProto::tensor("y", DataType::F32, &[Dim::Open])],
        initializer: vec![
            Tensor::new(vec![], Values::I64(vec![16000]))
                .expect("a scalar")
                .to_proto("usual"),
        ],
        node: vec![
            NodeProto::new("Equal", &["rate", "usual"], &["c"]),
            NodeProto::new("If", &["c"], &["y"])
                .with(AttributeProto::from_graph("then_branch", double))
                .with(AttributeProto::from_graph(
                    "else_branch",
                    branch(NodeProto::new("Neg", &["x"], &["r"]), 2),
                )),
        ],
        ..GraphProto::default()
    };
    let bytes = ModelProto::from_graph(graph, 17).to_bytes();
    fs::write(place.path("model/model.onnx"), bytes).expect("a file");
    fs::write(place.path("in.json"), r#"{"x": [1, 2]}"#).expect("a file");
    let ran = place.call("slice -m model").exits(3);
    assert!(ran.stderr.contains("--fix NAME=VALUE"), "{}", ran.stderr);
    let mut identities = Vec::new();
    for (rate, size) in [(16000, 4), (8000, 2)] {
        let line = format!("full-run -m model -i in.json --fix rate={rate} -o out.json --json");
        let document = place.call(&line).exits(0).json();
        assert_eq!(verdicts(&document["verification"]), ["proven"]);
        let output = &place.json("out.json")["outputs"]["y"]["shape"];
        assert_eq!(output, &serde_json::json!([size]));
        identities.push(document["verification"]["model_identity"].clone());
    }
    assert_ne!(identities[0], identities[1]);
    let model = place.json("model/slices/metadata.json");
    assert_eq!(model["fixed"], serde_json::json!({"rate": "8000"}));
    assert_eq!(model["inputs"].as_array().map(Vec::len), Some(1));
    // An input file may name the constant, but not give it another value.
    for (text, exit) in [
        (r#"{"x": [1, 2], "rate": 8000}"#, 0),
        (r#"{"x": [1, 2], "rate": 16000}"#, 3),
        (r#"{"x": [1, 2], "rate": [16000]}"#, 3),
    ] {
        fs::write(place.path("named.json"), text).expect("a file");
        let ran = place.call("run -s model -i named.json").exits(exit);
        let told = ran.stderr.contains("\"rate\" is 16000");
        assert_eq!(told, exit == 3, "{}", ran.stderr);
    }
}
