//! What is not supported is refused with node, operator and reason; what is malformed is
//! refused without a panic.

use dsperse_onnx::{AttributeProto, DataType, GraphProto, ModelProto, NodeProto, Tensor, Values};
use dsperse_onnx::{TensorProto, ValueInfoProto};
use dsperse_sumcheck_lowering::quantise::quantise;
use dsperse_sumcheck_lowering::quantise::scale::Ranges;
use dsperse_sumcheck_lowering::{LowerError, Settings, graph, import};
use std::io::Read;
use std::path::Path;

fn floats(name: &str, dims: &[usize], data: &[f32]) -> TensorProto {
    let tensor = Tensor::new(dims.to_vec(), Values::F32(data.to_vec())).expect("fits");
    tensor.to_proto(name)
}

fn model(
    nodes: Vec<NodeProto>,
    inputs: &[(&str, DataType, &[u64])],
    constants: Vec<TensorProto>,
    opset: i64,
) -> ModelProto {
    let mut nodes = nodes;
    for (i, node) in nodes.iter_mut().enumerate() {
        node.name = Some(format!("n{i}"));
    }
    ModelProto::from_graph(
        GraphProto {
            name: Some("case".into()),
            node: nodes,
            initializer: constants,
            input: inputs
                .iter()
                .map(|(n, t, s)| ValueInfoProto::concrete(n, *t, s))
                .collect(),
            output: vec![ValueInfoProto::concrete("y", DataType::F32, &[])],
            ..GraphProto::default()
        },
        opset,
    )
}

fn refusal(model: &ModelProto) -> LowerError {
    let lowered = import::import(model, None)
        .and_then(|g| quantise(&g, &Ranges::unit(&g), Settings::default().finest()));
    match lowered {
        Err(e) => e,
        Ok(_) => panic!("it is accepted"),
    }
}

/// Refused at a node, with this reason.
fn at_node(model: &ModelProto, name: &str, operator: &str, why: &str) {
    match refusal(model) {
        LowerError::Unsupported { node, op, reason } => {
            assert_eq!((node.as_str(), op.as_str()), (name, operator), "{reason}");
            assert!(reason.contains(why), "{reason}");
        }
        other => panic!("{other}"),
    }
}

const X: (&str, DataType, &[u64]) = ("x", DataType::F32, &[2, 3]);
const Z: (&str, DataType, &[u64]) = ("z", DataType::F32, &[2, 3]);

#[test]
fn refusals_name_node_operator_and_reason() {
    let unary = |op: &str| vec![NodeProto::new(op, &["x"], &["y"])];
    at_node(
        &model(unary("NonZero"), &[X], vec![], 17),
        "n0",
        "NonZero",
        "\"NonZero\" is not supported",
    );
    let second = vec![
        NodeProto::new("Relu", &["x"], &["r"]),
        NodeProto::new("TopK", &["r"], &["y"]),
    ];
    at_node(
        &model(second, &[X], vec![], 17),
        "n1",
        "TopK",
        "not supported",
    );
    let two = vec![
        NodeProto::new("NonZero", &["x"], &["a"]),
        NodeProto::new("Unique", &["a"], &["y"]),
    ];
    at_node(
        &model(two, &[X], vec![], 17),
        "n0",
        "NonZero",
        "also missing here: Unique",
    );
    let zero = vec![NodeProto::new("Div", &["x", "c"], &["y"])];
    let constant = vec![floats("c", &[1], &[0.0])];
    at_node(&model(zero, &[X], constant, 17), "n0", "Div", "by zero");
    let reshape = vec![NodeProto::new("Reshape", &["x", "z"], &["y"])];
    at_node(
        &model(reshape, &[X, Z], vec![], 17),
        "n0",
        "Reshape",
        "\"z\" is not constant",
    );
    let add = vec![NodeProto::new("Add", &["x", "c"], &["y"])];
    let constant = vec![floats("c", &[4], &[1.0, 2.0, 3.0, 4.0])];
    at_node(
        &model(add, &[X], constant, 17),
        "n0",
        "Add",
        "do not broadcast",
    );
    let mut custom = unary("Relu");
    custom[0].domain = Some("com.example".into());
    at_node(
        &model(custom, &[X], vec![], 17),
        "n0",
        "Relu",
        "com.example",
    );
    let pool = vec![
        NodeProto::new("MaxPool", &["x"], &["y", "indices"])
            .with(AttributeProto::from_ints("kernel_shape", &[2])),
        NodeProto::new("Identity", &["indices"], &["w"]),
    ];
    let image: (&str, DataType, &[u64]) = ("x", DataType::F32, &[1, 2, 8]);
    at_node(
        &model(pool, &[image], vec![], 17),
        "n0",
        "MaxPool",
        "\"indices\" is not supported",
    );
    let conv = vec![NodeProto::new("Conv", &["x", "z"], &["y"])];
    let weights: (&str, DataType, &[u64]) = ("z", DataType::F32, &[1, 2, 3]);
    at_node(
        &model(conv, &[image, weights], vec![], 17),
        "n0",
        "Conv",
        "only constant",
    );
}

/// A layer normalisation written out; `axes` of the two means, and whether the squares
/// are those of the centred values.
fn normalisation(axes: [i64; 2], centred: bool) -> ModelProto {
    let mean = |from: &str, to: &str, axis: i64| {
        NodeProto::new("ReduceMean", &[from], &[to])
            .with(AttributeProto::from_ints("axes", &[axis]))
    };
    let squared = if centred { "d" } else { "x" };
    let nodes = vec![
        mean("x", "m", axes[0]),
        NodeProto::new("Sub", &["x", "m"], &["d"]),
        NodeProto::new("Mul", &[squared, squared], &["q"]),
        mean("q", "v", axes[1]),
        NodeProto::new("Add", &["v", "eps"], &["w"]),
        NodeProto::new("Sqrt", &["w"], &["r"]),
        NodeProto::new("Div", &["d", "r"], &["y"]),
    ];
    model(nodes, &[X], vec![floats("eps", &[], &[1e-5])], 17)
}

/// What only looks like a layer normalisation is an ordinary division.
#[test]
fn only_true_layer_normalisations_are_recognised() {
    let centred = |axes, squares| {
        let graph = import::import(&normalisation(axes, squares), None).expect("supported");
        let last = &graph.nodes[graph.outputs[0]].op;
        match last {
            graph::Op::Normalise { centred, .. } => Some(*centred),
            other => {
                assert!(matches!(other, graph::Op::Div { .. }), "{other:?}");
                None
            }
        }
    };
    assert_eq!(centred([1, 1], true), Some(true));
    assert_eq!(centred([0, -2], true), Some(true));
    assert_eq!(centred([0, 1], true), Some(false));
    assert_eq!(centred([1, 0], true), Some(false));
    assert_eq!(centred([1, 1], false), None);
}

#[test]
fn refusals_of_the_whole_slice() {
    let relu = vec![NodeProto::new("Relu", &["x"], &["y"])];
    let texts: (&str, DataType, &[u64]) = ("x", DataType::String, &[2]);
    let refused = refusal(&model(relu.clone(), &[texts], vec![], 17));
    assert_eq!(
        refused.to_string(),
        "the slice is not supported: input \"x\" has elements of type string; floats, integers \
         and booleans are supported"
    );
    let refused = refusal(&model(relu.clone(), &[X], vec![], 6));
    assert!(refused.to_string().contains("opset 6"), "{refused}");
    let mut nothing = model(relu, &[X], vec![], 17);
    if let Some(g) = &mut nothing.graph {
        g.node.clear();
    }
    assert!(matches!(refusal(&nothing), LowerError::Model { .. }));
}

#[test]
fn values_that_could_overflow_are_refused() {
    // A product of products of products: 2^15 to the eighth power at the end.
    let mut nodes = vec![NodeProto::new("Mul", &["x", "x"], &["a0"])];
    for i in 0..6 {
        nodes.push(NodeProto::new(
            "Mul",
            &[&format!("a{i}"), &format!("a{i}")],
            &[&format!("a{}", i + 1)],
        ));
    }
    nodes.push(NodeProto::new("Identity", &["a6"], &["y"]));
    let model = model(nodes, &[X], vec![], 17);
    // Each product is rounded before the next, so nothing overflows and nothing wraps.
    let graph = import::import(&model, None).expect("supported");
    let q = quantise(&graph, &Ranges::unit(&graph), Settings::default().finest());
    let q = q.expect("rounded in between");
    assert!(
        q.checked
            .bounds
            .iter()
            .all(|b| b.lo.abs().max(b.hi.abs()) < 1 << 61)
    );
}

/// Every model of the operator cases with bytes flipped, cut out or doubled: whatever
/// comes of it, the importer and the quantiser do not panic.
#[test]
fn damaged_models_do_not_panic() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/operators.zip");
    let file = std::fs::File::open(path).expect("there");
    let mut archive = zip::ZipArchive::new(file).expect("an archive");
    let mut state = 1u64;
    let mut random = |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % n.max(1)
    };
    let (mut accepted, mut refused) = (0, 0);
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).expect("readable");
        let is_model = entry.name().is_ok_and(|n| n.ends_with("model.onnx"));
        if !is_model {
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("readable");
        for _ in 0..100 {
            let mut damaged = bytes.clone();
            for _ in 0..=random(3) {
                let at = random(damaged.len());
                match random(4) {
                    0 => damaged[at] = random(256) as u8,
                    1 => damaged[at] ^= 1 << random(8),
                    2 => {
                        let end = (at + random(6)).min(damaged.len());
                        damaged.drain(at..end);
                    }
                    _ => damaged.insert(at, random(256) as u8),
                }
            }
            let lowered = ModelProto::parse(damaged).ok().and_then(|model| {
                let graph = import::import(&model, None).ok()?;
                quantise(&graph, &Ranges::unit(&graph), Settings::default().finest()).ok()
            });
            if lowered.is_some() {
                accepted += 1
            } else {
                refused += 1
            }
        }
    }
    assert!(
        accepted > 500 && refused > 500,
        "{accepted} accepted, {refused} refused"
    );
}
