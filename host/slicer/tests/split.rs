//! Layers that are split compute what they computed before.

mod common;

use common::{fixed, graph, node, run, run_chain, sample, weights};
use dsperse_onnx::{AttributeProto, DataType, ModelProto, NodeProto, ValueInfoProto};
use dsperse_slicer::{DimOptions, Prepared, Slice, Strategy, prepare};
use std::collections::HashMap;
use tract_onnx::prelude::{IntoTValue, TValue, Tensor as Values};

fn split(model: &ModelProto, above: u64) -> Prepared {
    let options = DimOptions {
        split_above: Some(above),
        ..DimOptions::default()
    };
    prepare(common::loaded(model), &options).unwrap()
}

fn inputs(model: &ModelProto) -> HashMap<String, TValue> {
    let inputs = model.main_graph().unwrap().input.iter();
    inputs
        .map(|i| {
            let shape = i.shape().unwrap();
            let value = match i.dtype() {
                DataType::F32 => sample(&shape),
                _ => Values::from_shape(&[3], &[4i64, 0, 9])
                    .unwrap()
                    .into_tvalue(),
            };
            (i.name().to_owned(), value)
        })
        .collect()
}

/// Splits, cuts at every operator, and compares with the model as it was.
fn same_as_before(model: &ModelProto, above: u64) -> Vec<Slice> {
    let inputs = inputs(model);
    let feed = model.main_graph().unwrap().input.iter();
    let feed: Vec<TValue> = feed.map(|i| inputs[i.name()].clone()).collect();
    let want = run(&model.to_bytes(), &feed);
    let prepared = split(model, above);
    let plan = prepared.plan(&Strategy::Op).unwrap();
    let slices: Vec<Slice> = prepared.slices(&plan).map(Result::unwrap).collect();
    let got = run_chain(&slices, inputs);
    for (output, want) in model.main_graph().unwrap().output.iter().zip(want) {
        let got = &got[output.name()];
        assert_eq!(got.shape(), want.shape(), "{}", output.name());
        got.close_enough(&want, true).unwrap();
    }
    slices
}

/// The most weights that a slice has.
fn largest(slices: &[Slice]) -> usize {
    let weights = |s: &Slice| {
        let initializers = &s.model.graph.as_ref().unwrap().initializer;
        let elements = |dims: &[i64]| dims.iter().product::<i64>() as usize;
        initializers.iter().map(|t| elements(&t.dims)).max()
    };
    slices.iter().filter_map(weights).max().unwrap_or(0)
}

fn one(node: NodeProto, input: &[u64], output: &[u64], consts: &[(&str, &[usize])]) -> ModelProto {
    let g = graph(
        vec![node],
        vec![fixed("x", input)],
        vec![fixed("y", output)],
        consts.iter().map(|(n, d)| weights(n, d)).collect(),
    );
    ModelProto::from_graph(g, 17)
}

#[test]
fn every_operator_that_is_split_computes_the_same() {
    let flag = |name: &str| AttributeProto::from_int(name, 1);
    let product = |inputs: &[&str]| node("MatMul", inputs, &["y"]);
    let gemm = |inputs: &[&str]| node("Gemm", inputs, &["y"]);
    let conv = |inputs: &[&str]| node("Conv", inputs, &["y"]);
    let turned = |inputs: &[&str]| node("ConvTranspose", inputs, &["y"]);
    let w: &[usize] = &[6, 11];
    let cases = [
        one(product(&["x", "w"]), &[2, 3, 6], &[2, 3, 11], &[("w", w)]),
        one(product(&["w", "x"]), &[11, 4], &[6, 4], &[("w", w)]),
        one(product(&["w", "x"]), &[11], &[6], &[("w", w)]),
        one(
            product(&["x", "w"]),
            &[2, 3, 6],
            &[2, 3, 11],
            &[("w", &[2, 6, 11])],
        ),
        one(
            gemm(&["x", "w", "b"]),
            &[3, 6],
            &[3, 11],
            &[("w", w), ("b", &[11])],
        ),
        one(
            gemm(&["x", "w", "b"])
                .with(flag("transB"))
                .with(AttributeProto::from_float("alpha", 0.5)),
            &[3, 11],
            &[3, 6],
            &[("w", w), ("b", &[3, 6])],
        ),
        one(
            gemm(&["x", "w", "b"]),
            &[3, 6],
            &[3, 11],
            &[("w", w), ("b", &[1])],
        ),
        one(
            conv(&["x", "w", "b"]),
            &[1, 3, 5, 5],
            &[1, 7, 3, 3],
            &[("w", &[7, 3, 3, 3]), ("b", &[7])],
        ),
        one(
            turned(&["x", "w", "b"]),
            &[1, 3, 5, 5],
            &[1, 7, 7, 7],
            &[("w", &[3, 7, 3, 3]), ("b", &[7])],
        ),
    ];
    for model in cases {
        let op = model.main_graph().unwrap().node[0].op_type().to_owned();
        // One output each, two or four, and a limit that nothing exceeds.
        for (above, split) in [(1, true), (60, true), (65, true), (1000, false)] {
            let slices = same_as_before(&model, above);
            assert_eq!(slices.len() > 1, split, "{op} {above}");
            let p = common::prepared(&model);
            let whole = p.plan(&Strategy::Whole).unwrap();
            let before: Vec<Slice> = p.slices(&whole).map(Result::unwrap).collect();
            assert_eq!(largest(&slices) < largest(&before), split, "{op} {above}");
        }
    }
}

#[test]
fn a_head_that_shares_the_table_of_the_embedding_shares_its_parts() {
    let g = graph(
        vec![
            node("Gather", &["table", "ids"], &["e"]),
            node("Relu", &["e"], &["h"]),
            node("Transpose", &["table"], &["head"])
                .with(AttributeProto::from_ints("perm", &[1, 0])),
            node("MatMul", &["h", "head"], &["y"]),
        ],
        vec![ValueInfoProto::concrete("ids", DataType::I64, &[3])],
        vec![fixed("y", &[3, 10])],
        vec![weights("table", &[10, 6])],
    );
    let model = ModelProto::from_graph(g, 17);
    let slices = same_as_before(&model, 24);
    // Two columns of ten rows, and four rows of six columns, are the powers of two that fit.
    assert_eq!(largest(&slices), 24);
    let prepared = split(&model, 24);
    let ops = |op: &str| prepared.nodes.iter().filter(|n| n.op_type == op).count();
    assert_eq!((ops("Gather"), ops("MatMul"), ops("Concat")), (3, 3, 2));
    let what: Vec<(&str, &str)> = prepared
        .rewritten
        .iter()
        .map(|r| (r.operator.as_str(), r.rules[0].as_str()))
        .collect();
    assert_eq!(what, [("Gather", "split"), ("MatMul", "split")]);
    assert!(prepared.warnings.is_empty(), "{:?}", prepared.warnings);
}

#[test]
fn what_can_not_be_split_is_named() {
    let groups = node("Conv", &["x", "w"], &["y"]).with(AttributeProto::from_int("group", 2));
    let model = one(
        groups,
        &[1, 4, 5, 5],
        &[1, 6, 3, 3],
        &[("w", &[6, 2, 3, 3])],
    );
    let prepared = split(&model, 10);
    assert!(prepared.rewritten.is_empty());
    assert!(
        prepared.warnings[0].contains("Conv) reads 108 constants"),
        "{:?}",
        prepared.warnings
    );
}

#[test]
fn parts_are_powers_of_two_so_that_provers_pad_nothing() {
    let model = one(
        node("MatMul", &["x", "w"], &["y"]),
        &[3, 2],
        &[3, 100],
        &[("w", &[2, 100])],
    );
    let slices = same_as_before(&model, 90);
    let shapes: Vec<u64> = slices
        .iter()
        .filter(|s| s.outputs[0].name != "y")
        .map(|s| s.outputs[0].shape[1])
        .collect();
    assert_eq!(shapes, [32, 32, 32, 4]);
}
