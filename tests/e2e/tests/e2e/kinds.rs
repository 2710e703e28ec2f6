//! `full-run` on small models of the kinds that people have (`models/kinds`), against what
//! ONNX Runtime answers (`expected.json`, made by `models/kinds.py`).

use dsperse_e2e::Place;
use serde_json::Value;

/// What must hold of a kind.
struct Wanted {
    /// Share of the multiply-accumulates and of the parameters that is proven, at least.
    proven: f64,
    /// Largest error of a tensor of floats, relative to its largest element.
    error: f64,
    /// Axis length along which the largest element must be at the same place.
    row: usize,
}

const WHOLE: f64 = 1.0;

/// The names of the outputs, with their numbers.
fn numbers(tensor: &Value) -> Vec<f64> {
    fn collect(v: &Value, out: &mut Vec<f64>) {
        match v {
            Value::Array(list) => list.iter().for_each(|v| collect(v, out)),
            v => out.extend(v.as_f64()),
        }
    }
    let mut out = Vec::new();
    collect(tensor, &mut out);
    out
}

fn largest(row: &[f64]) -> usize {
    let by_value = |a: &usize, b: &usize| row[*a].total_cmp(&row[*b]).then(b.cmp(a));
    (0..row.len()).max_by(by_value).expect("a row")
}

/// Runs a kind and compares its outputs.
fn check(kind: &str, wanted: &Wanted) {
    let place = Place::new();
    let folder = format!("kinds/{kind}");
    place.add_model(&folder, "model");
    let document = place
        .call("full-run -m model -o out.json --json")
        .exits(0)
        .json();
    let verification = &document["verification"];
    assert_eq!(verification["accepted"], true);
    for share in ["proven_by_macs", "proven_by_parameters"] {
        let found = verification[share].as_f64().expect("a share");
        assert!(found >= wanted.proven, "{share}: {found}");
    }
    let expected = dsperse_test_support::repository()
        .join("models")
        .join(&folder)
        .join("expected.json");
    let expected: Value =
        serde_json::from_slice(&std::fs::read(expected).expect("a file")).expect("JSON");
    let found = place.json("out.json");
    let order: Vec<&String> = found["outputs"]
        .as_object()
        .expect("names")
        .keys()
        .collect();
    for (name, tensor) in expected["outputs"].as_object().expect("outputs") {
        let at = order
            .iter()
            .position(|o| *o == name)
            .unwrap_or_else(|| panic!("output {name} is missing from {order:?}"));
        let found = numbers(&found["output_data"][at]);
        let data = numbers(&tensor["data"]);
        assert_eq!(found.len(), data.len(), "{name}");
        let scale = data.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        for (a, b) in found.iter().zip(&data) {
            assert!((a - b).abs() <= wanted.error * scale, "{name}: {a}, {b}");
        }
        if data.len().is_multiple_of(wanted.row) {
            for (a, b) in found.chunks(wanted.row).zip(data.chunks(wanted.row)) {
                assert_eq!(largest(a), largest(b), "{name}");
            }
        }
    }
}

macro_rules! kinds {
    ($($test:ident: $kind:literal, $proven:expr, $error:literal, $row:literal;)*) => {
        $(#[test]
        fn $test() {
            check($kind, &Wanted { proven: $proven, error: $error, row: $row });
        })*
    };
}

// Kind, share that is proven, error, classes.
kinds! {
    gpt: "gpt", WHOLE, 0.01, 48;
    llama: "llama", WHOLE, 0.01, 40;
    lstm: "lstm", WHOLE, 0.01, 5;
    gru: "gru", WHOLE, 0.01, 5;
    int8_cnn: "int8-cnn", WHOLE, 0.0001, 10;
    sklearn_logistic: "sklearn-logistic", WHOLE, 0.01, 1;
    sklearn_mlp: "sklearn-mlp", WHOLE, 0.01, 2;
    sklearn_forest: "sklearn-forest", WHOLE, 0.01, 1;
    sklearn_boosting: "sklearn-boosting", WHOLE, 0.01, 2;
    sklearn_svm: "sklearn-svm", WHOLE, 0.01, 3;
    sklearn_ridge: "sklearn-ridge", WHOLE, 0.01, 1;
}
