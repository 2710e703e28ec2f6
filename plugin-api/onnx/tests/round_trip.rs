//! Reading and writing again yields the same bytes, for every ONNX file at hand; hostile
//! bytes never panic.

use dsperse_onnx::{
    AttributeProto, Constants, DataType, Dim, GraphProto, ModelProto, NodeProto, OnnxError, Tensor,
    ValueInfoProto, Values,
};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

/// Every `.onnx` file below a folder.
fn files_below(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_below(&path, out);
        } else if path.extension().is_some_and(|e| e == "onnx") {
            out.push(path);
        }
    }
}

fn round_trip(folder: &Path) {
    let mut files = Vec::new();
    files_below(folder, &mut files);
    assert!(!files.is_empty(), "no models in {}", folder.display());
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        match ModelProto::parse(bytes.clone()) {
            Ok(model) => assert!(model.to_bytes() == bytes, "{} differs", file.display()),
            // Data of operator tests that are not models would be a fault of the corpus.
            Err(e) => panic!("{}: {e}", file.display()),
        }
    }
    println!("{} files round-trip", files.len());
}

#[test]
fn samples_round_trip_byte_for_byte() {
    round_trip(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models"));
}

#[test]
#[ignore = "needs a Python with the package onnx: scripts/install-backends.sh reference"]
fn the_onnx_packages_models_round_trip_byte_for_byte() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = std::env::var_os("DSPERSE_PYTHON")
        .map_or_else(|| root.join(".venv/bin/python"), PathBuf::from);
    let find = "import onnx, os; print(os.path.dirname(onnx.__file__))";
    let out = std::process::Command::new(python)
        .args(["-c", find])
        .output();
    let out = out.expect("a Python: run \"scripts/install-backends.sh reference\"");
    let folder = String::from_utf8(out.stdout).unwrap();
    assert!(
        out.status.success() && !folder.trim().is_empty(),
        "no package onnx"
    );
    round_trip(Path::new(folder.trim()));
}

/// A model that uses most fields, written by hand.
fn sample() -> ModelProto {
    let inner = GraphProto {
        node: vec![NodeProto::new("Identity", &["x"], &["z"])],
        output: vec![ValueInfoProto::tensor("z", DataType::F32, &[Dim::Open])],
        ..GraphProto::default()
    };
    let graph = GraphProto {
        name: Some(String::new()),
        node: vec![
            NodeProto::new("Gemm", &["x", "w", ""], &["y"])
                .named("fc")
                .with(AttributeProto::from_float("alpha", 0.0))
                .with(AttributeProto::from_int("transB", 0))
                .with(AttributeProto::from_ints("ints", &[-1, 0, 1 << 40]))
                .with(AttributeProto::from_floats("floats", &[0.0, -0.0])),
            NodeProto::new("If", &["c"], &["o"])
                .with(AttributeProto::from_graph("then_branch", inner)),
        ],
        initializer: vec![
            Tensor {
                dims: vec![2, 0],
                values: Values::F32(vec![]),
            }
            .to_proto("w"),
            dsperse_onnx::TensorProto {
                dims: vec![2],
                data_type: Some(1),
                float_data: vec![1.0, 2.0],
                int32_data: vec![-1],
                ..Default::default()
            },
        ],
        input: vec![ValueInfoProto::tensor(
            "x",
            DataType::F32,
            &[Dim::Named("n".into()), Dim::Known(2)],
        )],
        ..GraphProto::default()
    };
    ModelProto::from_graph(graph, 21)
}

#[test]
fn presence_is_kept() {
    let model = sample();
    let again = ModelProto::parse(model.to_bytes()).unwrap();
    assert_eq!(again, model);
    let graph = again.main_graph().unwrap();
    // An empty name that was written is not the same as none at all.
    assert_eq!(graph.name, Some(String::new()));
    assert_eq!(graph.doc_string, None);
    assert_eq!(graph.node[0].float("alpha"), Ok(Some(0.0)));
}

/// Reads everything that a plugin would read; results do not matter, panics do.
fn exercise(model: &ModelProto) {
    let Ok(graph) = model.main_graph() else {
        return;
    };
    let constants = Constants::of(graph);
    let _ = (graph.captures(), graph.real_inputs(), model.opset(""));
    for t in &graph.initializer {
        let _ = Tensor::read(t);
        let _ = dsperse_onnx::external::location(t);
        let _ = dsperse_onnx::tensor::normalise(&mut t.clone());
    }
    for v in graph.input.iter().chain(&graph.output) {
        let _ = (v.dims(), v.shape(), v.dtype());
    }
    for n in &graph.node {
        let _ = (n.label(), n.reads(), n.constant_value());
        for name in n.reads() {
            let _ = constants.get(name);
        }
        for a in &n.attribute {
            let _ = (n.int(a.name()), n.ints(a.name()), n.string(a.name()));
            let _ = (n.floats(a.name()), n.tensor(a.name()), n.graph(a.name()));
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_model_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        if let Ok(model) = ModelProto::parse(bytes) {
            exercise(&model);
        }
    }

    #[test]
    fn damaged_models_do_not_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = sample().to_bytes();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        match ModelProto::parse(bytes) {
            Ok(model) => {
                exercise(&model);
                prop_assert!(ModelProto::parse(model.to_bytes()).is_ok());
            }
            Err(e) => {
                let expected = matches!(e, OnnxError::Decode { .. } | OnnxError::NoGraph);
                prop_assert!(expected);
            }
        }
    }
}

#[test]
fn deep_nesting_is_an_error() {
    // 10 000 graphs inside each other would overflow the stack of a naive reader.
    let mut graph = GraphProto::default();
    let mut bytes: Vec<u8> = Vec::new();
    for _ in 0..10_000 {
        // field 6 (g) of an attribute, field 5 (attribute) of a node, field 1 (node).
        for tag in [6u8, 5, 1] {
            let mut outer = vec![(tag << 3) | 2];
            let mut len = bytes.len();
            while len >= 128 {
                outer.push((len & 127) as u8 | 128);
                len >>= 7;
            }
            outer.push(len as u8);
            outer.extend_from_slice(&bytes);
            bytes = outer;
        }
        if bytes.len() > 100_000 {
            break;
        }
    }
    let mut model = vec![(7 << 3) | 2];
    let mut len = bytes.len();
    while len >= 128 {
        model.push((len & 127) as u8 | 128);
        len >>= 7;
    }
    model.push(len as u8);
    model.extend_from_slice(&bytes);
    assert!(matches!(
        ModelProto::parse(model),
        Err(OnnxError::Decode { .. })
    ));
    graph.name = Some("shallow".into());
    assert!(ModelProto::parse(ModelProto::from_graph(graph, 17).to_bytes()).is_ok());
}
