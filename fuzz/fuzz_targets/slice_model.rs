//! Any bytes are a model or an error, and any model is sliced or refused.
//!
//! The first byte chooses: the rest is a file, or a script of edits of a valid model (see
//! `host/slicer/tests/common/edits.rs`), which reaches deeper than damaged bytes.
#![no_main]

use dsperse_onnx::{DataType, GraphProto, ModelProto, NodeProto, Tensor, ValueInfoProto, Values};
use dsperse_slicer::{DimOptions, Strategy, load_bytes, prepare};
use libfuzzer_sys::fuzz_target;

#[path = "../../host/slicer/tests/common/edits.rs"]
mod edits;

fn base() -> ModelProto {
    let weights = |name: &str, dims: &[usize]| {
        let n: usize = dims.iter().product();
        Tensor {
            dims: dims.to_vec(),
            values: Values::F32((0..n).map(|i| i as f32).collect()),
        }
        .to_proto(name)
    };
    let info = |name: &str, shape: &[u64]| ValueInfoProto::concrete(name, DataType::F32, shape);
    let graph = GraphProto {
        node: vec![
            NodeProto::new("Conv", &["x", "w1"], &["a"]),
            NodeProto::new("Relu", &["a"], &["b"]),
            NodeProto::new("Flatten", &["b"], &["c"]),
            NodeProto::new("Gemm", &["c", "w2"], &["y"]),
        ],
        input: vec![info("x", &[1, 2, 4, 4])],
        output: vec![info("y", &[1, 3])],
        initializer: vec![weights("w1", &[2, 2, 3, 3]), weights("w2", &[8, 3])],
        ..GraphProto::default()
    };
    ModelProto::from_graph(graph, 17)
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    let bytes = if kind % 2 == 0 {
        rest.to_vec()
    } else {
        edits::edited(base(), rest).to_bytes()
    };
    let Ok(loaded) = load_bytes("fuzz.onnx", bytes.into(), None) else {
        return;
    };
    let Ok(prepared) = prepare(loaded, &DimOptions::default()) else {
        return;
    };
    for strategy in [Strategy::Layer, Strategy::Op, Strategy::Whole] {
        if let Ok(plan) = prepared.plan(&strategy) {
            for slice in prepared.slices(&plan) {
                let _ = slice.map(|s| s.to_bytes());
            }
            let _ = prepared.analyse(&plan);
        }
    }
});
