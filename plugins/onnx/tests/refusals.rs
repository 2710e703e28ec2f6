//! What `supports` says no to, with node and operator; and what it takes next to that.

mod common;

use common::{Bench, info};
use dsperse_onnx::{
    AttributeProto, DataLocation, DataType, GraphProto, ModelProto, NodeProto,
    StringStringEntryProto, Tensor, TensorProto, ValueInfoProto, Values,
};
use dsperse_plugin_api::{Encoding, ErrorKind, SliceInfo, Support, TensorInfo};

/// A graph of `nodes` with weights.
fn graph(
    nodes: Vec<NodeProto>,
    weights: Vec<TensorProto>,
    inputs: &[TensorInfo],
    outputs: &[TensorInfo],
) -> GraphProto {
    let values = |side: &[TensorInfo]| -> Vec<ValueInfoProto> {
        side.iter()
            .map(|t| ValueInfoProto::concrete(&t.name, data_type(t.encoding), &t.shape))
            .collect()
    };
    GraphProto {
        name: Some("g".into()),
        node: nodes,
        initializer: weights,
        input: values(inputs),
        output: values(outputs),
        ..GraphProto::default()
    }
}

fn data_type(encoding: Encoding) -> DataType {
    match encoding {
        Encoding::F32 => DataType::F32,
        Encoding::I64 => DataType::I64,
        Encoding::U8 => DataType::U8,
        other => panic!("{other:?} is not used here"),
    }
}

fn f32s(shape: &[u64], name: &str) -> TensorInfo {
    info(name, Encoding::F32, shape)
}

fn tensor(name: &str, dims: &[usize], values: Values) -> TensorProto {
    Tensor {
        dims: dims.into(),
        values,
    }
    .to_proto(name)
}

fn weights(name: &str, dims: &[usize]) -> TensorProto {
    let n: usize = dims.iter().product();
    let values = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
    tensor(name, dims, Values::F32(values))
}

/// One node from `x` to `y`, both with these shapes.
fn unary(bench: &Bench, node: NodeProto, opset: i64, x: &[u64], y: &[u64]) -> SliceInfo {
    let (i, o) = ([f32s(x, "x")], [f32s(y, "y")]);
    bench.slice(graph(vec![node], vec![], &i, &o), opset, &i, &o)
}

#[track_caller]
fn no(bench: &Bench, slice: &SliceInfo, op: &str, part: &str) {
    match bench.supports(slice).unwrap() {
        Support::No {
            node,
            op: found,
            reason,
        } => {
            assert_eq!(found.as_deref(), Some(op), "{reason}");
            assert_eq!(node.as_deref(), Some("n"), "{reason}");
            assert!(reason.contains(part), "{reason}");
        }
        Support::Yes { .. } => panic!("{op} is taken"),
    }
}

#[track_caller]
fn yes(bench: &Bench, slice: &SliceInfo) {
    let answer = bench.supports(slice).unwrap();
    assert!(matches!(answer, Support::Yes { .. }), "{answer:?}");
}

fn one(op: &str) -> NodeProto {
    NodeProto::new(op, &["x"], &["y"]).named("n")
}

/// A recurrent cell with 3 inputs and 2 hidden values.
fn cell(bench: &Bench, op: &str, gates: usize, more: Vec<AttributeProto>) -> SliceInfo {
    let mut node = NodeProto::new(op, &["x", "w", "r"], &["y"])
        .named("n")
        .with(AttributeProto::from_int("hidden_size", 2));
    node.attribute.extend(more);
    let (i, o) = ([f32s(&[4, 1, 3], "x")], [f32s(&[4, 1, 1, 2], "y")]);
    let w = vec![
        weights("w", &[1, gates * 2, 3]),
        weights("r", &[1, gates * 2, 2]),
    ];
    bench.slice(graph(vec![node], w, &i, &o), 17, &i, &o)
}

#[test]
fn recurrent_cells_that_run_backwards_or_with_other_functions() {
    let bench = Bench::new();
    let text = |name, value| vec![AttributeProto::from_string(name, value)];
    for (op, gates) in [("LSTM", 4), ("GRU", 3), ("RNN", 1)] {
        yes(
            &bench,
            &cell(&bench, op, gates, text("direction", "forward")),
        );
        no(
            &bench,
            &cell(&bench, op, gates, text("direction", "reverse")),
            op,
            "reverse",
        );
        let clip = vec![AttributeProto::from_float("clip", 1.0)];
        no(&bench, &cell(&bench, op, gates, clip), op, "clip");
        let mut other = AttributeProto::from_string("activations", "");
        other.s = None;
        other.r#type = Some(dsperse_onnx::AttributeType::Strings as i32);
        other.strings = ["Relu", "Relu", "Relu"][..gates.min(3)]
            .iter()
            .map(|s| s.as_bytes().to_vec().into())
            .collect();
        no(
            &bench,
            &cell(&bench, op, gates, vec![other]),
            op,
            "activations",
        );
    }
    let coupled = vec![AttributeProto::from_int("input_forget", 1)];
    no(
        &bench,
        &cell(&bench, "LSTM", 4, coupled),
        "LSTM",
        "input_forget",
    );
}

fn attention(bench: &Bench, opset: i64, past: bool, more: &[AttributeProto]) -> SliceInfo {
    let mut i = vec![
        f32s(&[1, 2, 3, 4], "q"),
        f32s(&[1, 2, 3, 4], "k"),
        f32s(&[1, 2, 3, 4], "v"),
    ];
    let mut reads = vec!["q", "k", "v"];
    let mut writes = vec!["y"];
    let mut o = vec![f32s(&[1, 2, 3, 4], "y")];
    if past {
        i.extend([f32s(&[1, 2, 5, 4], "pk"), f32s(&[1, 2, 5, 4], "pv")]);
        reads.extend(["", "pk", "pv"]);
        o.extend([f32s(&[1, 2, 8, 4], "nk"), f32s(&[1, 2, 8, 4], "nv")]);
        writes.extend(["nk", "nv"]);
    }
    let mut node = NodeProto::new("Attention", &reads, &writes).named("n");
    node.attribute.extend_from_slice(more);
    bench.slice(graph(vec![node], vec![], &i, &o), opset, &i, &o)
}

#[test]
fn attention_with_masks_that_the_engine_does_not_know() {
    let bench = Bench::new();
    let causal = [AttributeProto::from_int("is_causal", 1)];
    yes(&bench, &attention(&bench, 23, true, &causal));
    yes(&bench, &attention(&bench, 24, true, &[]));
    yes(&bench, &attention(&bench, 24, false, &causal));
    no(
        &bench,
        &attention(&bench, 24, true, &causal),
        "Attention",
        "opset 24",
    );
    for name in ["left_window_size", "right_window_size"] {
        let window = |n| [AttributeProto::from_int(name, n)];
        yes(&bench, &attention(&bench, 25, false, &window(-1)));
        no(
            &bench,
            &attention(&bench, 25, false, &window(1)),
            "Attention",
            name,
        );
    }
}

#[test]
fn attributes_that_the_engine_ignores() {
    let bench = Bench::new();
    let shape: &[u64] = &[1, 4, 4, 4];
    let slice = |node, opset| unary(&bench, node, opset, shape, shape);
    for (op, opset) in [("Celu", 12), ("Swish", 24)] {
        let alpha = |a| one(op).with(AttributeProto::from_float("alpha", a));
        yes(&bench, &slice(alpha(1.0), opset));
        no(&bench, &slice(alpha(2.0), opset), op, "\"alpha\" is 2");
    }
    let blocks = |mode| {
        let node = one("SpaceToDepth").with(AttributeProto::from_int("blocksize", 2));
        let node = node.with(AttributeProto::from_string("mode", mode));
        unary(&bench, node, 28, shape, &[1, 16, 2, 2])
    };
    yes(&bench, &blocks("DCR"));
    no(&bench, &blocks("CRD"), "SpaceToDepth", "\"CRD\"");
    let mut add = NodeProto::new("Add", &["x", "x"], &["y"]).named("n");
    yes(&bench, &slice(add.clone(), 6));
    add = add.with(AttributeProto::from_int("axis", 1));
    no(&bench, &slice(add, 6), "Add", "axis");
}

#[test]
fn shifts_that_may_reach_the_width() {
    let bench = Bench::new();
    let u8s = |name| info(name, Encoding::U8, &[3]);
    let node = || {
        NodeProto::new("BitShift", &["x", "by"], &["y"])
            .named("n")
            .with(AttributeProto::from_string("direction", "LEFT"))
    };
    let by = |shift| {
        let (i, o) = ([u8s("x")], [u8s("y")]);
        let amount = tensor("by", &[3], Values::U8(vec![0, 1, shift]));
        bench.slice(graph(vec![node()], vec![amount], &i, &o), 17, &i, &o)
    };
    yes(&bench, &by(7));
    no(&bench, &by(8), "BitShift", "8-bit integers by 8");
    let (i, o) = ([u8s("x"), u8s("by")], [u8s("y")]);
    let variable = bench.slice(graph(vec![node()], vec![], &i, &o), 17, &i, &o);
    no(&bench, &variable, "BitShift", "not constant");
}

#[test]
fn formulas_that_are_wrong() {
    let bench = Bench::new();
    // Slices whose positions need more than 32 bits and do not mean "the end".
    let cut = |start: i64, end: i64| {
        let (i, o) = ([f32s(&[4], "x")], [f32s(&[4], "y")]);
        let position = |name: &str, v| tensor(name, &[1], Values::I64(vec![v]));
        let weights = vec![position("s", start), position("e", end), position("a", 0)];
        let node = NodeProto::new("Slice", &["x", "s", "e", "a"], &["y"]).named("n");
        bench.slice(graph(vec![node], weights, &i, &o), 17, &i, &o)
    };
    yes(&bench, &cut(0, i64::MAX));
    yes(&bench, &cut(0, i64::from(i32::MAX)));
    yes(&bench, &cut(i64::MIN, 4));
    no(&bench, &cut(0, 1 << 31), "Slice", "beyond 32 bits");
    no(&bench, &cut(-(1 << 32) - 1, 4), "Slice", "beyond 32 bits");

    let scaled = |scale: f32, size, opset, mode| {
        let (i, o) = ([f32s(&[1, 1, 4, 4], "x")], [f32s(&[1, 1, size, size], "y")]);
        let s = tensor("s", &[4], Values::F32(vec![1.0, 1.0, scale, scale]));
        let reads: &[&str] = if opset > 10 {
            &["x", "", "s"]
        } else {
            &["x", "s"]
        };
        let node = NodeProto::new("Resize", reads, &["y"]).named("n");
        let node = node.with(AttributeProto::from_string("mode", mode));
        bench.slice(graph(vec![node], vec![s], &i, &o), opset, &i, &o)
    };
    yes(&bench, &scaled(2.0, 8, 10, "nearest"));
    yes(&bench, &scaled(0.5, 2, 10, "nearest"));
    yes(&bench, &scaled(3.0, 12, 10, "linear"));
    yes(&bench, &scaled(3.0, 12, 13, "nearest"));
    no(
        &bench,
        &scaled(3.0, 12, 10, "nearest"),
        "Resize",
        "powers of two",
    );

    let sampled = |mode, padding| {
        let (i, o) = (
            [f32s(&[1, 1, 4, 4], "x"), f32s(&[1, 2, 2, 2], "g")],
            [f32s(&[1, 1, 2, 2], "y")],
        );
        let node = NodeProto::new("GridSample", &["x", "g"], &["y"])
            .named("n")
            .with(AttributeProto::from_string("mode", mode))
            .with(AttributeProto::from_string("padding_mode", padding));
        bench.slice(graph(vec![node], vec![], &i, &o), 16, &i, &o)
    };
    yes(&bench, &sampled("bicubic", "zeros"));
    yes(&bench, &sampled("bilinear", "border"));
    no(
        &bench,
        &sampled("bicubic", "border"),
        "GridSample",
        "border",
    );
}

#[test]
fn contributed_operators_with_parts_that_the_engine_ignores() {
    let bench = Bench::new();
    let foreign = |mut node: NodeProto| {
        node.domain = Some("com.microsoft".into());
        node.named("n")
    };
    let heads = |unidirectional| {
        let (i, o) = (
            ["q", "k", "v"].map(|name| f32s(&[1, 3, 4], name)),
            [f32s(&[1, 3, 4], "y")],
        );
        let node = foreign(NodeProto::new(
            "MultiHeadAttention",
            &["q", "k", "v"],
            &["y"],
        ))
        .with(AttributeProto::from_int("num_heads", 2))
        .with(AttributeProto::from_int("unidirectional", unidirectional));
        bench.slice(graph(vec![node], vec![], &i, &o), 17, &i, &o)
    };
    yes(&bench, &heads(0));
    no(&bench, &heads(1), "MultiHeadAttention", "unidirectional");

    let (i, o) = (
        ["x", "s"].map(|name| f32s(&[1, 4], name)),
        [f32s(&[1, 4], "y")],
    );
    let norm = |reads: &[&str]| {
        let node = foreign(NodeProto::new(
            "SkipSimplifiedLayerNormalization",
            reads,
            &["y"],
        ));
        let w = vec![weights("g", &[4]), weights("b", &[4])];
        bench.slice(graph(vec![node], w, &i, &o), 17, &i, &o)
    };
    yes(&bench, &norm(&["x", "s", "g"]));
    no(
        &bench,
        &norm(&["x", "s", "g", "b"]),
        "SkipSimplifiedLayerNormalization",
        "bias",
    );

    let (i, o) = ([f32s(&[1, 32], "x")], [f32s(&[1, 1], "y")]);
    let packed = |scale: f32| {
        let node = foreign(NodeProto::new("MatMulNBits", &["x", "w", "s"], &["y"]))
            .with(AttributeProto::from_int("K", 32))
            .with(AttributeProto::from_int("N", 1))
            .with(AttributeProto::from_int("bits", 4))
            .with(AttributeProto::from_int("block_size", 32));
        let w = vec![
            tensor(
                "w",
                &[1, 1, 16],
                Values::U8((0..16).map(|i| i * 15).collect()),
            ),
            tensor("s", &[1], Values::F32(vec![scale])),
        ];
        bench.slice(graph(vec![node], w, &i, &o), 17, &i, &o)
    };
    yes(&bench, &packed(0.125));
    no(&bench, &packed(0.1), "MatMulNBits", "half precision");

    let (i, o) = ([f32s(&[1, 2, 3, 8], "x")], [f32s(&[1, 2, 3, 8], "y")]);
    let rotated = |part: i64| {
        let node = foreign(NodeProto::new(
            "RotaryEmbedding",
            &["x", "p", "c", "s"],
            &["y"],
        ))
        .with(AttributeProto::from_int("num_heads", 2))
        .with(AttributeProto::from_int("rotary_embedding_dim", part));
        let half = if part == 0 { 4 } else { 2 };
        let w = vec![
            tensor("p", &[1, 3], Values::I64(vec![0, 1, 2])),
            weights("c", &[5, half]),
            weights("s", &[5, half]),
        ];
        bench.slice(graph(vec![node], w, &i, &o), 17, &i, &o)
    };
    yes(&bench, &rotated(0));
    no(&bench, &rotated(4), "RotaryEmbedding", "part of each head");
}

#[test]
fn outputs_of_another_shape_than_declared() {
    let bench = Bench::new();
    let node = one("Flatten").with(AttributeProto::from_int("axis", 1));
    let slice = unary(&bench, node, 17, &[2, 3, 4], &[2, 12]);
    yes(&bench, &slice);
    let mut other = slice;
    other.outputs[0].shape = vec![24];
    match bench.supports(&other).unwrap() {
        Support::No { reason, .. } => assert_eq!(
            reason,
            "output \"y\" has shape [24], but the engine gives it [2, 12]"
        ),
        Support::Yes { .. } => panic!("another shape is taken"),
    }
}

#[test]
fn extrema_of_nothing() {
    let bench = Bench::new();
    let node = || one("ReduceMax").with(AttributeProto::from_ints("axes", &[1]));
    yes(&bench, &unary(&bench, node(), 13, &[2, 3], &[2, 1]));
    no(
        &bench,
        &unary(&bench, node(), 13, &[2, 0], &[2, 1]),
        "ReduceMax",
        "no elements",
    );
}

#[test]
fn operators_that_are_unknown_foreign_or_random() {
    let bench = Bench::new();
    let slice = |node, opset| unary(&bench, node, opset, &[2], &[2]);
    no(
        &bench,
        &slice(one("CumProd"), 26),
        "CumProd",
        "no such operator",
    );
    let like = one("RandomNormalLike");
    no(&bench, &slice(like, 17), "RandomNormalLike", "random");
    // Relu in a domain of its own is another function; the engine would run ONNX's.
    let mut foreign = one("Relu");
    foreign.domain = Some("example.org".into());
    no(&bench, &slice(foreign, 17), "Relu", "example.org");
    let mut contrib = one("QuickGelu");
    contrib.domain = Some("com.microsoft".into());
    yes(&bench, &slice(contrib, 17));
    let mut namesake = one("Relu");
    namesake.domain = Some("com.microsoft".into());
    no(&bench, &slice(namesake, 17), "Relu", "com.microsoft");
}

#[test]
fn refusals_reach_into_sub_graphs() {
    let bench = Bench::new();
    let branch = |op: &str| {
        let mut node = NodeProto::new(op, &["x"], &["z"]).named("n");
        if op == "Celu" {
            node = node.with(AttributeProto::from_float("alpha", 3.0));
        }
        GraphProto {
            name: Some(op.into()),
            node: vec![node],
            output: vec![ValueInfoProto::concrete("z", DataType::F32, &[2])],
            ..GraphProto::default()
        }
    };
    let slice = |other: &str| {
        let node = NodeProto::new("If", &["c"], &["y"])
            .named("if")
            .with(AttributeProto::from_graph("then_branch", branch("Relu")))
            .with(AttributeProto::from_graph("else_branch", branch(other)));
        let (i, o) = ([f32s(&[2], "x")], [f32s(&[2], "y")]);
        let c = tensor("c", &[], Values::Bool(vec![true]));
        bench.slice(graph(vec![node], vec![c], &i, &o), 17, &i, &o)
    };
    yes(&bench, &slice("Tanh"));
    no(&bench, &slice("Celu"), "Celu", "alpha");
}

#[test]
fn what_the_engine_itself_refuses_names_the_node() {
    let bench = Bench::new();
    // The shape of a Reshape has to be constant.
    let (i, o) = (
        [f32s(&[2, 3], "x"), info("s", Encoding::I64, &[1])],
        [f32s(&[6], "y")],
    );
    let node = NodeProto::new("Reshape", &["x", "s"], &["y"]).named("n");
    let slice = bench.slice(graph(vec![node], vec![], &i, &o), 17, &i, &o);
    no(&bench, &slice, "Reshape", "the engine refuses the slice");
}

#[test]
fn graphs_that_are_not_slices() {
    let bench = Bench::new();
    let (i, o) = ([f32s(&[2], "x")], [f32s(&[2], "y")]);
    let good = || {
        graph(
            vec![NodeProto::new("Add", &["x", "w"], &["y"])],
            vec![weights("w", &[2])],
            &i,
            &o,
        )
    };
    yes(&bench, &bench.slice(good(), 17, &i, &o));

    let reason = |model: &ModelProto| match bench.supports(&bench.slice_of_model(model, &i, &o)) {
        Ok(Support::No { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let mut external = good();
    let w = &mut external.initializer[0];
    w.raw_data = None;
    w.data_location = Some(DataLocation::External as i32);
    w.external_data.push(StringStringEntryProto {
        key: Some("location".into()),
        value: Some("/etc/hostname".into()),
    });
    let external = ModelProto::from_graph(external, 17);
    assert_eq!(
        reason(&external),
        "tensor \"w\" is stored outside the slice's ONNX file"
    );

    let mut twice = good();
    twice.node.push(NodeProto::new("Relu", &["x"], &["y"]));
    assert!(reason(&ModelProto::from_graph(twice, 17)).contains("produced by two nodes"));

    let mut functions = ModelProto::from_graph(good(), 17);
    functions.functions.push(Default::default());
    assert!(reason(&functions).contains("local functions"));

    assert!(reason(&ModelProto::from_graph(good(), 29)).contains("opset 29"));

    let mut dangling = good();
    dangling.initializer.clear();
    assert!(reason(&ModelProto::from_graph(dangling, 17)).contains("\"w\" is read but neither"));
}

#[test]
fn files_that_contradict_the_job_are_invalid_input() {
    let bench = Bench::new();
    let (i, o) = ([f32s(&[2], "x")], [f32s(&[2], "y")]);
    let slice = bench.slice(graph(vec![one("Relu")], vec![], &i, &o), 17, &i, &o);
    yes(&bench, &slice);
    let fails = |slice: &SliceInfo, part: &str| {
        let e = Bench::new().supports(slice).unwrap_err();
        assert_eq!(e.kind, ErrorKind::InvalidInput, "{e}");
        assert!(e.message.contains(part), "{e}");
    };
    let mut other = slice.clone();
    other.inputs[0].shape = vec![3];
    fails(&other, "input \"x\"");
    other = slice.clone();
    other.inputs[0].encoding = Encoding::I64;
    fails(&other, "input \"x\"");
    other = slice.clone();
    other.outputs[0].name = "z".into();
    fails(&other, "expected [\"z\"]");
    other = slice.clone();
    other.sha256 = "00".repeat(32);
    fails(&other, "has SHA-256");
    let path = slice.model.clone().unwrap();
    std::fs::write(&path, b"not a model").unwrap();
    let junk = bench.slice_of(path.as_ref(), &i, &o);
    fails(&junk, "not valid");
    std::fs::remove_file(&path).unwrap();
    fails(&slice, "can't be read");
}

#[test]
fn a_verifier_without_the_payload_gets_no_verdict() {
    let bench = Bench::new();
    let (i, o) = ([f32s(&[2], "x")], [f32s(&[2], "y")]);
    let mut slice = bench.slice(graph(vec![one("Relu")], vec![], &i, &o), 17, &i, &o);
    slice.model = None;
    let x = bench.tensor(&i[0], &[0; 8]);
    let y = bench.tensor(&o[0], &[0; 8]);
    let e = bench.verify(&slice, &[x], &[y], 0.0).unwrap_err();
    assert_eq!(e.kind, ErrorKind::Unsupported);
}
