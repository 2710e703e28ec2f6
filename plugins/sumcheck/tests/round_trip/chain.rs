//! Two slices of one small model, made with the prost types.

use crate::bench::Bench;
use dsperse_onnx::ValueInfoProto;
use dsperse_onnx::{AttributeProto, DataType, GraphProto, ModelProto, NodeProto, Tensor, Values};

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
