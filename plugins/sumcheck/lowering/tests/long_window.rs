//! A convolution over a long signal, whose window is cut in two (audio models).

use dsperse_onnx::{
    AttributeProto, DataType, GraphProto, ModelProto, NodeProto, Tensor, ValueInfoProto, Values,
};
use dsperse_sumcheck_lowering::array::Array;
use dsperse_sumcheck_lowering::graph::evaluate;
use dsperse_sumcheck_lowering::quantise::quantise;
use dsperse_sumcheck_lowering::quantise::scale::Ranges;
use dsperse_sumcheck_lowering::{Settings, import};

const LENGTH: usize = 44_051;
const KERNEL: usize = 131;
const STRIDE: usize = 2;
const DILATION: usize = 3;
const PAD: usize = 7;

fn noise(n: usize) -> Vec<f64> {
    let mut state = 7u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1u32 << 24) - 0.5
    };
    (0..n).map(|_| next()).collect()
}

#[test]
fn a_long_window_is_two_short_ones() {
    let weights: Vec<f32> = noise(KERNEL).into_iter().map(|x| x as f32).collect();
    let tensor = Tensor::new(vec![1, 1, KERNEL], Values::F32(weights.clone())).expect("fits");
    let node = NodeProto::new("Conv", &["x", "w"], &["y"])
        .with(AttributeProto::from_ints("pads", &[PAD as i64, 0]))
        .with(AttributeProto::from_ints("strides", &[STRIDE as i64]))
        .with(AttributeProto::from_ints("dilations", &[DILATION as i64]));
    let graph = GraphProto {
        node: vec![node],
        initializer: vec![tensor.to_proto("w")],
        input: vec![ValueInfoProto::concrete(
            "x",
            DataType::F32,
            &[1, 1, LENGTH as u64],
        )],
        output: vec![ValueInfoProto::tensor("y", DataType::F32, &[])],
        ..GraphProto::default()
    };
    let graph = import::import(&ModelProto::from_graph(graph, 17), None).expect("supported");
    let x = noise(LENGTH);
    let input = Array::new(vec![1, 1, LENGTH], x.clone()).expect("fits");
    let found = evaluate(&graph, &[input]).remove(0);
    let size = (LENGTH + PAD - (KERNEL - 1) * DILATION - 1) / STRIDE + 1;
    assert_eq!(found.shape, [1, 1, size]);
    for (o, y) in found.data.iter().enumerate() {
        let at = |k: usize| (o * STRIDE + k * DILATION).checked_sub(PAD);
        let value = |k: usize| at(k).and_then(|i| x.get(i)).copied().unwrap_or(0.0);
        let wanted: f64 = (0..KERNEL).map(|k| f64::from(weights[k]) * value(k)).sum();
        assert!((y - wanted).abs() < 1e-9, "{o}: {y} against {wanted}");
    }
    let program = quantise(&graph, &Ranges::unit(&graph), Settings::default().finest());
    let entries = program.expect("within the limits").checked.entries;
    assert!(entries < (KERNEL * size) as u64 / 2, "{entries}");
}
