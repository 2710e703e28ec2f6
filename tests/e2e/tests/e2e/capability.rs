//! `slice --strategy capability` asks the real backends.

use dsperse_e2e::{Place, Ran};
use dsperse_onnx::{
    DataType, GraphProto, ModelProto, NodeProto, Tensor, TensorProto, ValueInfoProto, Values,
};
use serde_json::Value;
use std::fs;

/// x → MatMul → Relu → Exp → Conv with itself → MatMul → y. Every operator is in the list of
/// sumcheck, but it does not convolve with computed weights.
fn computed_weights(place: &Place) {
    let weights = |name: &str, dims: &[usize]| -> TensorProto {
        let values = (0..dims.iter().product()).map(|i: usize| (i as f32).sin());
        let values = Values::F32(values.collect());
        Tensor::new(dims.to_vec(), values).unwrap().to_proto(name)
    };
    let value = |name: &str| ValueInfoProto::concrete(name, DataType::F32, &[1, 1, 4]);
    let graph = GraphProto {
        node: vec![
            NodeProto::new("MatMul", &["x", "w1"], &["a"]),
            NodeProto::new("Relu", &["a"], &["b"]),
            NodeProto::new("Exp", &["b"], &["c"]),
            NodeProto::new("Conv", &["c", "c"], &["d"]),
            NodeProto::new("MatMul", &["d", "w2"], &["y"]),
        ],
        input: vec![value("x")],
        output: vec![value("y")],
        initializer: vec![weights("w1", &[4, 4]), weights("w2", &[1, 4])],
        ..GraphProto::default()
    };
    fs::create_dir_all(place.path("model")).expect("a directory");
    let bytes = ModelProto::from_graph(graph, 17).to_bytes();
    fs::write(place.path("model/model.onnx"), bytes).expect("a file");
    let input = r#"{"input_data": [[0.5, -0.25, 1, 0.125]]}"#;
    fs::write(place.path("model/input.json"), input).expect("a file");
}

/// The operators of each slice.
fn slices(ran: &Ran) -> Vec<String> {
    let d = ran.json();
    let slices = d["model"]["slices"].as_array().expect("slices");
    let operators = |s: &Value| {
        let operators = s["operators"].as_object().expect("operators");
        operators.keys().cloned().collect::<Vec<_>>().join(" ")
    };
    slices.iter().map(operators).collect()
}

fn slice(place: &Place) -> Ran {
    place
        .call("slice -m model --strategy capability --json")
        .exits(0)
}

#[test]
fn what_the_list_allows_and_supports_declines_stands_alone() {
    let place = Place::new();
    computed_weights(&place);
    let ran = slice(&place);
    assert_eq!(slices(&ran), ["Exp MatMul Relu", "Conv", "MatMul"]);
    assert!(ran.stderr.contains("asking backends"), "{}", ran.stderr);
    assert_eq!(slices(&slice(&place)), slices(&ran), "every time");
    // And so it is proven.
    let d = place
        .call("full-run -m model --strategy layer -s model/slices -b sumcheck --json")
        .exits(0)
        .json();
    let backends: Vec<_> = d["compile"]["slices"]
        .as_array()
        .expect("slices")
        .iter()
        .map(|s| s["backend"].as_str().expect("a backend"))
        .collect();
    assert_eq!(backends, ["sumcheck", "onnx", "sumcheck"]);
}

#[test]
fn backends_that_fail_or_are_not_ready_are_named_and_do_not_count() {
    for (fault, warning) in [
        ("abort", "backend \"faulty\" failed when it was asked about"),
        ("error-tool-missing", "backend \"faulty\" is not ready"),
        ("none", ""),
    ] {
        let place = Place::with_plugins(&["onnx", "sumcheck", "faulty"]);
        computed_weights(&place);
        fs::write(
            place.path("dsperse.toml"),
            format!("[backend.faulty]\nfault = \"{fault}\"\nat = \"supports\"\n"),
        )
        .expect("a file");
        let ran = slice(&place);
        if fault == "none" {
            // It takes anything, so there is nothing to cut.
            assert_eq!(slices(&ran), ["Conv Exp MatMul Relu"]);
            assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
        } else {
            assert_eq!(slices(&ran), ["Exp MatMul Relu", "Conv", "MatMul"]);
            assert!(ran.stderr.contains(warning), "{fault}: {}", ran.stderr);
        }
    }
}
