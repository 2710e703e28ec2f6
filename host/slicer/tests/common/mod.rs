//! Small models for tests, and running them in tract.
#![allow(dead_code)] // each test file uses a part

pub mod edits;

use dsperse_onnx::{
    DataType, Dim, GraphProto, ModelProto, NodeProto, Tensor, ValueInfoProto, Values,
};
use dsperse_slicer::{DimOptions, LoadedModel, Prepared, Slice, Strategy, load_bytes, prepare};
use std::collections::HashMap;
use tract_onnx::prelude::{Framework, IntoRunnable, IntoTValue, TValue};
use tract_onnx::tract_hir::internal::InferenceModelExt;

/// Weights that are no round numbers, the same at every run.
pub fn weights(name: &str, dims: &[usize]) -> dsperse_onnx::TensorProto {
    let n: usize = dims.iter().product();
    let seed = name.bytes().map(u32::from).sum::<u32>() as f32;
    let values = (0..n)
        .map(|i| ((i as f32 + seed) * 0.7391).sin() * 0.5)
        .collect();
    Tensor::new(dims.to_vec(), Values::F32(values))
        .unwrap()
        .to_proto(name)
}

pub fn ints(name: &str, values: &[i64]) -> dsperse_onnx::TensorProto {
    Tensor::new(vec![values.len()], Values::I64(values.to_vec()))
        .unwrap()
        .to_proto(name)
}

pub fn float(name: &str, dims: &[Dim]) -> ValueInfoProto {
    ValueInfoProto::tensor(name, DataType::F32, dims)
}

pub fn fixed(name: &str, shape: &[u64]) -> ValueInfoProto {
    ValueInfoProto::concrete(name, DataType::F32, shape)
}

pub fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto::new(op, inputs, outputs)
}

pub fn graph(
    nodes: Vec<NodeProto>,
    input: Vec<ValueInfoProto>,
    output: Vec<ValueInfoProto>,
    initializer: Vec<dsperse_onnx::TensorProto>,
) -> GraphProto {
    GraphProto {
        name: Some("g".into()),
        node: nodes,
        input,
        output,
        initializer,
        ..GraphProto::default()
    }
}

/// Two linear layers with a Relu between them.
pub fn mlp(opset: i64) -> ModelProto {
    let batch = || Dim::Named("batch".into());
    let g = graph(
        vec![
            node("MatMul", &["x", "w1"], &["a"]),
            node("Add", &["a", "b1"], &["b"]),
            node("Relu", &["b"], &["c"]),
            node("MatMul", &["c", "w2"], &["y"]),
        ],
        vec![float("x", &[batch(), Dim::Known(6)])],
        vec![float("y", &[batch(), Dim::Known(3)])],
        vec![
            weights("w1", &[6, 5]),
            weights("b1", &[5]),
            weights("w2", &[5, 3]),
        ],
    );
    ModelProto::from_graph(g, opset)
}

/// A convolution with a residual connection over it; `b` is an output and read later.
pub fn residual() -> ModelProto {
    use dsperse_onnx::AttributeProto;
    let conv = |i: &str, w: &str, o: &str| {
        node("Conv", &[i, w], &[o]).with(AttributeProto::from_ints("pads", &[1, 1, 1, 1]))
    };
    let g = graph(
        vec![
            conv("x", "w1", "a"),
            node("Relu", &["a"], &["b"]),
            conv("b", "w2", "c"),
            node("Relu", &["c"], &["d"]),
            conv("d", "w3", "e"),
            node("Add", &["e", "b"], &["y"]),
        ],
        vec![fixed("x", &[1, 2, 5, 5])],
        vec![fixed("b", &[1, 3, 5, 5]), fixed("y", &[1, 3, 5, 5])],
        vec![
            weights("w1", &[3, 2, 3, 3]),
            weights("w2", &[3, 3, 3, 3]),
            weights("w3", &[3, 3, 3, 3]),
        ],
    );
    ModelProto::from_graph(g, 17)
}

pub fn loaded(model: &ModelProto) -> LoadedModel {
    load_bytes("test.onnx", model.to_bytes().into(), None).unwrap()
}

pub fn prepared(model: &ModelProto) -> Prepared {
    prepare(loaded(model), &DimOptions::default()).unwrap()
}

pub fn sliced(model: &ModelProto, strategy: &Strategy<'_>) -> Vec<Slice> {
    let prepared = prepared(model);
    let plan = prepared.plan(strategy).unwrap();
    prepared.slices(&plan).map(Result::unwrap).collect()
}

pub fn names(infos: &[dsperse_documents::TensorInfo]) -> Vec<&str> {
    infos.iter().map(|i| i.name.as_str()).collect()
}

/// Values for a float input, the same at every run.
pub fn sample(shape: &[u64]) -> TValue {
    let dims: Vec<usize> = shape.iter().map(|d| *d as usize).collect();
    let n: usize = dims.iter().product();
    let values: Vec<f32> = (0..n).map(|i| (i as f32 * 1.234).cos()).collect();
    tract_onnx::prelude::Tensor::from_shape(&dims, &values)
        .unwrap()
        .into_tvalue()
}

/// Runs a model in tract's typed form, which fuses nothing across nodes, so that a chain
/// must give the same bits as the whole.
pub fn run(bytes: &[u8], inputs: &[TValue]) -> Vec<TValue> {
    let mut reader = bytes;
    let model = tract_onnx::onnx()
        .model_for_read(&mut reader)
        .unwrap()
        .into_typed()
        .unwrap()
        .into_runnable()
        .unwrap();
    model
        .run(
            inputs
                .iter()
                .cloned()
                .collect::<tract_onnx::prelude::TVec<_>>(),
        )
        .unwrap()
        .into_iter()
        .collect()
}

/// Runs the slices one after the other; returns the tensors by name.
pub fn run_chain(slices: &[Slice], inputs: HashMap<String, TValue>) -> HashMap<String, TValue> {
    let mut tensors = inputs;
    for s in slices {
        let feed: Vec<TValue> = s
            .inputs
            .iter()
            .map(|i| {
                tensors
                    .get(&i.name)
                    .unwrap_or_else(|| panic!("slice {}: nothing made {}", s.index, i.name))
                    .clone()
            })
            .collect();
        for (info, value) in s.outputs.iter().zip(run(&s.to_bytes(), &feed)) {
            let shape: Vec<u64> = value.shape().iter().map(|d| *d as u64).collect();
            assert_eq!(shape, info.shape, "{}", info.name);
            tensors.insert(info.name.clone(), value);
        }
    }
    tensors
}

/// Slices a model of float inputs and checks that the chain gives the bits of the whole.
pub fn chain_equals_whole(model: &ModelProto, strategy: &Strategy<'_>) -> Vec<Slice> {
    let prepared = prepared(model);
    let whole = prepared.plan(&Strategy::Whole).unwrap();
    let whole = prepared.slices(&whole).next().unwrap().unwrap();
    let inputs: HashMap<String, TValue> = prepared
        .inputs
        .iter()
        .map(|i| (i.name.clone(), sample(&i.shape)))
        .collect();
    let plan = prepared.plan(strategy).unwrap();
    let slices: Vec<Slice> = prepared.slices(&plan).map(Result::unwrap).collect();
    let got = run_chain(&slices, inputs.clone());
    let feed: Vec<TValue> = whole
        .inputs
        .iter()
        .map(|i| inputs[&i.name].clone())
        .collect();
    let want = run(&whole.to_bytes(), &feed);
    for (info, want) in whole.outputs.iter().zip(want) {
        assert_eq!(*got[&info.name], *want, "output {}", info.name);
    }
    slices
}
