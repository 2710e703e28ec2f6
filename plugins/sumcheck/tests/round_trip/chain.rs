//! Two slices of one small model, made with the prost types.

use crate::bench::Bench;
use dsperse_onnx::ValueInfoProto;
use dsperse_onnx::{AttributeProto, DataType, GraphProto, ModelProto, NodeProto, Tensor, Values};
use dsperse_plugin_api::Verdict;

const WIDTH: usize = 6;

/// Weights that are no round numbers.
fn weights(seed: u64) -> Vec<f32> {
    (0..WIDTH * WIDTH)
        .map(|i| ((i as f32 + 1.0) * (seed as f32 + 0.37)).sin() * 0.6)
        .collect()
}

fn layer(seed: u64, from: &str, to: &str, relu: bool) -> Vec<u8> {
    let last = if relu { "linear" } else { to };
    let mut nodes = vec![
        NodeProto::new("Gemm", &[from, "w"], &[last]).with(AttributeProto::from_int("transB", 1)),
    ];
    if relu {
        nodes.push(NodeProto::new("Relu", &["linear"], &[to]));
    }
    let shape = [1, WIDTH as u64];
    let w = Tensor::new(vec![WIDTH, WIDTH], Values::F32(weights(seed))).expect("fits");
    let graph = GraphProto {
        name: Some("half".into()),
        node: nodes,
        initializer: vec![w.to_proto("w")],
        input: vec![ValueInfoProto::concrete(from, DataType::F32, &shape)],
        output: vec![ValueInfoProto::concrete(to, DataType::F32, &shape)],
        ..GraphProto::default()
    };
    ModelProto::from_graph(graph, 17).to_bytes()
}

pub fn halves() -> (Bench, Bench) {
    let shape = [vec![1, WIDTH as u64]];
    let first = Bench::new(&layer(1, "x", "h", true), &shape, &shape);
    let mut second = Bench::new(&layer(2, "h", "y", false), &shape, &shape);
    second.slice.index = 1;
    (first, second)
}

pub fn images() -> Vec<Vec<f32>> {
    (0..3)
        .map(|s| {
            (0..WIDTH)
                .map(|i| ((s * 7 + i) as f32).cos() * 1.5)
                .collect()
        })
        .collect()
}

/// The float model of the first half, in single precision.
pub fn first_half(x: &[f32]) -> Vec<f32> {
    weights(1)
        .chunks(WIDTH)
        .map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>().max(0.0))
        .collect()
}

/// A weight that is cut into pieces, along what is summed and along the result, is proven.
#[test]
fn a_weight_in_pieces_is_proven() {
    let (rows, columns) = (600, 576);
    let data = (0..rows * columns).map(|i| (i as f32 * 0.37).sin());
    let w = Tensor::new(vec![rows, columns], Values::F32(data.collect())).expect("fits");
    let shapes = [[1, rows as u64], [1, columns as u64]];
    let graph = GraphProto {
        name: Some("wide".into()),
        node: vec![NodeProto::new("MatMul", &["x", "w"], &["y"])],
        initializer: vec![w.to_proto("w")],
        input: vec![ValueInfoProto::concrete("x", DataType::F32, &shapes[0])],
        output: vec![ValueInfoProto::concrete("y", DataType::F32, &shapes[1])],
        ..GraphProto::default()
    };
    let bytes = ModelProto::from_graph(graph, 17).to_bytes();
    let bench = Bench::new(&bytes, &[shapes[0].to_vec()], &[shapes[1].to_vec()]);
    let sample = |seed: f32| {
        [(0..rows)
            .map(|i| (seed + i as f32).cos())
            .collect::<Vec<f32>>()]
    };
    let calibration = bench.inputs("calibration", &sample(0.0));
    let run = bench.run(vec![calibration], bench.inputs("input", &sample(0.5)));
    // In pieces of 512 and 88 by 512 and 64; in one piece it takes 2^20.
    assert_eq!(run.compiled.facts["weights"], rows * columns);
    assert_eq!(run.compiled.facts["committed_weights_log2"], 19);
    let verdict = bench.verify(&run.job);
    assert!(matches!(verdict, Verdict::Valid { .. }), "{verdict:?}");
}
