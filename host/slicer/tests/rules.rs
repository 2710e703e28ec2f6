//! The rules of slicing, each on a small model; chains run in tract and must give the
//! bits of the whole model.

mod common;

use common::{
    chain_equals_whole, fixed, float, graph, ints, loaded, mlp, names, node, prepared, residual,
    sliced, weights,
};
use dsperse_onnx::{AttributeProto, DataType, Dim, GraphProto, ModelProto, ValueInfoProto};
use dsperse_slicer::{CapabilityClass, DimOptions, NodeState, Strategy, prepare};

#[test]
fn a_layer_starts_at_each_weighted_node() {
    let slices = chain_equals_whole(&mlp(17), &Strategy::Layer);
    assert_eq!(slices.len(), 2);
    assert_eq!(names(&slices[0].inputs), ["x"]);
    assert_eq!(names(&slices[0].outputs), ["c"]);
    assert_eq!(slices[0].inputs[0].shape, [1, 6]);
    assert_eq!(slices[0].parameters, 35);
    assert_eq!(slices[0].macs, 30);
    assert_eq!(slices[0].operators.get("MatMul"), Some(&1));
    assert_eq!(slices[0].operators.len(), 3);
    assert_eq!(slices[1].parameters, 15);
    assert_eq!(names(&slices[1].outputs), ["y"]);
}

#[test]
fn every_operator_set_from_8_to_24() {
    for opset in 8..=24 {
        let slices = chain_equals_whole(&mlp(opset), &Strategy::Op);
        assert_eq!(slices.len(), 4);
        assert_eq!(slices[3].model.opset(""), Some(opset));
    }
}

#[test]
fn residual_tensors_feed_several_later_slices() {
    let slices = chain_equals_whole(&residual(), &Strategy::Layer);
    assert_eq!(slices.len(), 3);
    // "b" is an output of the model, and both later slices read it.
    assert_eq!(names(&slices[0].outputs), ["b"]);
    assert_eq!(names(&slices[1].inputs), ["b"]);
    assert_eq!(names(&slices[2].inputs), ["d", "b"]);
    let slices = chain_equals_whole(&residual(), &Strategy::Op);
    assert_eq!(slices.len(), 6);
}

#[test]
fn outputs_that_are_also_used_inside() {
    // "b" is read by the next node in the same slice and by a later slice.
    let strategy = Strategy::Points(vec!["4".into()]);
    let slices = chain_equals_whole(&residual(), &strategy);
    assert_eq!(slices.len(), 2);
    assert_eq!(names(&slices[0].outputs), ["b", "d"]);
    assert_eq!(names(&slices[1].inputs), ["d", "b"]);
}

#[test]
fn several_inputs_outputs_and_shared_weights() {
    let g = graph(
        vec![
            node("MatMul", &["p", "w"], &["a"]),
            node("MatMul", &["q", "w"], &["b"]),
            node("Add", &["a", "b"], &["y"]),
            node("Sub", &["a", "b"], &["z"]),
        ],
        vec![fixed("p", &[2, 4]), fixed("q", &[2, 4])],
        vec![fixed("y", &[2, 3]), fixed("z", &[2, 3])],
        vec![weights("w", &[4, 3])],
    );
    let slices = chain_equals_whole(&ModelProto::from_graph(g, 17), &Strategy::Layer);
    assert_eq!(slices.len(), 2);
    for s in &slices {
        assert_eq!(s.parameters, 12);
        assert_eq!(s.model.graph.as_ref().unwrap().initializer.len(), 1);
    }
    assert_eq!(names(&slices[1].outputs), ["y", "z"]);
}

#[test]
fn constants_are_parameters_and_their_nodes_are_copied_to_each_reader() {
    let constant = AttributeProto::from_tensor("value", weights("", &[3, 4]));
    let g = graph(
        vec![
            node("Constant", &[], &["k"]).with(constant),
            node("Transpose", &["k"], &["t"]),
            node("MatMul", &["x", "t"], &["a"]),
            node("MatMul", &["a", "w"], &["b"]),
            node("MatMul", &["b", "t"], &["y"]),
        ],
        vec![fixed("x", &[1, 4])],
        vec![fixed("y", &[1, 3])],
        vec![weights("w", &[3, 4])],
    );
    let slices = chain_equals_whole(&ModelProto::from_graph(g, 17), &Strategy::Layer);
    let nodes: Vec<usize> = slices
        .iter()
        .map(|s| s.model.graph.as_ref().unwrap().node.len())
        .collect();
    assert_eq!(nodes, [2, 1, 2]);
    assert_eq!(slices.iter().map(|s| s.parameters).sum::<u64>(), 36);
    // The copied node is no operator of the slice.
    assert_eq!(slices[0].nodes.len(), 1);
}

fn if_model(condition: &str) -> ModelProto {
    let branch = |op: &str, out: &str| {
        let inner = graph(
            vec![node(op, &["a", "w2"], &[out])],
            vec![],
            vec![fixed(out, &[1, 4])],
            vec![],
        );
        (
            if op == "Add" {
                "then_branch"
            } else {
                "else_branch"
            },
            inner,
        )
    };
    let mut choice = node("If", &[condition], &["b"]);
    for (name, g) in [branch("Add", "s"), branch("Sub", "d")] {
        choice = choice.with(AttributeProto::from_graph(name, g));
    }
    let g = graph(
        vec![
            node("MatMul", &["x", "w1"], &["a"]),
            node("ReduceSum", &["x"], &["sum"]).with(AttributeProto::from_int("keepdims", 0)),
            node("Greater", &["sum", "zero"], &["unknown"]),
            node("Shape", &["x"], &["shape"]),
            node("Gather", &["shape", "first"], &["n"]),
            node("Equal", &["n", "one"], &["known"]),
            choice,
            node("MatMul", &["b", "w3"], &["y"]),
        ],
        vec![float("x", &[Dim::Open, Dim::Known(4)])],
        vec![fixed("y", &[1, 4])],
        vec![
            weights("w1", &[4, 4]),
            weights("w2", &[4]),
            weights("w3", &[4, 4]),
            dsperse_onnx::Tensor::new(vec![], dsperse_onnx::Values::F32(vec![0.0]))
                .unwrap()
                .to_proto("zero"),
            dsperse_onnx::Tensor::new(vec![], dsperse_onnx::Values::I64(vec![0]))
                .unwrap()
                .to_proto("first"),
            dsperse_onnx::Tensor::new(vec![], dsperse_onnx::Values::I64(vec![1]))
                .unwrap()
                .to_proto("one"),
        ],
    );
    ModelProto::from_graph(g, 13)
}

#[test]
fn an_open_if_stays_whole_and_its_captures_are_reads() {
    let slices = sliced(&if_model("unknown"), &Strategy::Op);
    let at = slices
        .iter()
        .find(|s| s.operators.contains_key("If"))
        .unwrap();
    assert_eq!(names(&at.inputs), ["unknown", "a"]);
    assert_eq!(names(&at.outputs), ["b"]);
    // The branches read weights of the graph around them.
    let g = at.model.graph.as_ref().unwrap();
    assert_eq!(g.initializer[0].name(), "w2");
    assert_eq!(at.parameters, 4);
}

#[test]
fn a_known_if_becomes_its_branch() {
    let model = if_model("known");
    let slices = chain_equals_whole(&model, &Strategy::Layer);
    assert_eq!(slices.len(), 2);
    assert!(slices.iter().all(|s| !s.operators.contains_key("If")));
    assert_eq!(slices[0].operators.get("Add"), Some(&1));
    let p = prepared(&model);
    let analysis = p.analyse(&p.plan(&Strategy::Layer).unwrap());
    let state = |i: usize| {
        analysis
            .nodes
            .iter()
            .find(|n| n.index == Some(i))
            .unwrap()
            .state
    };
    assert_eq!(state(0), NodeState::Computed);
    assert_eq!(state(1), NodeState::Unused);
    assert_eq!(state(3), NodeState::Folded);
    assert_eq!(state(6), NodeState::Spliced);
    // The node from inside the branch is there as well.
    assert!(
        analysis
            .nodes
            .iter()
            .any(|n| n.operator == "Add" && n.index.is_none())
    );
}

#[test]
fn reshape_targets_that_follow_from_shapes_cross_no_cut() {
    let dim = || Dim::Named("batch".into());
    let g = graph(
        vec![
            node("Shape", &["x"], &["s"]),
            node("Gather", &["s", "zero"], &["n"]),
            node("Unsqueeze", &["n", "zero1"], &["n1"]),
            node("Concat", &["n1", "rest"], &["target"]).with(AttributeProto::from_int("axis", 0)),
            node("MatMul", &["x", "w1"], &["a"]),
            node("Reshape", &["a", "target"], &["b"]),
            node("MatMul", &["b", "w2"], &["c"]),
            node("Reshape", &["c", "target"], &["y"]),
        ],
        vec![float("x", &[dim(), Dim::Known(4), Dim::Known(4)])],
        vec![float("y", &[dim(), Dim::Known(2), Dim::Open])],
        vec![
            weights("w1", &[4, 4]),
            weights("w2", &[8, 8]),
            dsperse_onnx::Tensor::new(vec![], dsperse_onnx::Values::I64(vec![0]))
                .unwrap()
                .to_proto("zero"),
            ints("zero1", &[0]),
            ints("rest", &[2, -1]),
        ],
    );
    let model = ModelProto::from_graph(g, 17);
    let slices = chain_equals_whole(&model, &Strategy::Layer);
    assert_eq!(slices.len(), 2);
    assert_eq!(names(&slices[1].inputs), ["b"]);
    assert_eq!(slices[1].inputs[0].shape, [1, 2, 8]);
    // With another batch, the constants follow.
    let options = DimOptions {
        batch: Some(3),
        ..DimOptions::default()
    };
    let p = prepare(loaded(&model), &options).unwrap();
    assert_eq!(p.outputs[0].shape, [3, 2, 8]);
}

#[test]
fn old_files_list_initializers_as_inputs() {
    let mut model = mlp(8);
    model.ir_version = Some(3);
    let g = model.graph.as_mut().unwrap();
    g.input.push(fixed("w1", &[6, 5]));
    g.input.push(fixed("b1", &[5]));
    g.input.push(fixed("w2", &[5, 3]));
    let slices = chain_equals_whole(&model, &Strategy::Layer);
    assert_eq!(names(&slices[0].inputs), ["x"]);
    for s in &slices {
        assert_eq!(s.model.ir_version(), 4);
        assert_eq!(s.model.graph.as_ref().unwrap().input.len(), 1);
    }
}

#[test]
fn external_data_is_inlined() {
    use dsperse_onnx::{DataLocation, StringStringEntryProto};
    let folder = tempfile::tempdir().unwrap();
    let whole = mlp(17);
    let mut model = whole.clone();
    let mut file = Vec::new();
    for t in &mut model.graph.as_mut().unwrap().initializer {
        let raw = t.raw_data.take().unwrap();
        let entry = |k: &str, v: String| StringStringEntryProto {
            key: Some(k.into()),
            value: Some(v),
        };
        t.external_data = vec![
            entry("location", "weights.bin".into()),
            entry("offset", file.len().to_string()),
            entry("length", raw.len().to_string()),
        ];
        t.data_location = Some(DataLocation::External as i32);
        file.extend_from_slice(&raw);
    }
    let path = folder.path().join("m.onnx");
    std::fs::write(&path, model.to_bytes()).unwrap();
    let missing = dsperse_slicer::load(&path).unwrap_err().to_string();
    assert!(missing.contains("\"weights.bin\""), "{missing}");
    std::fs::write(folder.path().join("weights.bin"), &file).unwrap();
    let loaded = dsperse_slicer::load(&path).unwrap();
    assert_eq!(loaded.file.name, "m.onnx");
    assert_eq!(loaded.file.external_data[0].name, "weights.bin");
    assert_eq!(loaded.file.external_data[0].size, file.len() as u64);
    let p = prepare(loaded, &DimOptions::default()).unwrap();
    let plan = p.plan(&Strategy::Layer).unwrap();
    let from_file: Vec<Vec<u8>> = p.slices(&plan).map(|s| s.unwrap().to_bytes()).collect();
    let inline: Vec<Vec<u8>> = sliced(&whole, &Strategy::Layer)
        .iter()
        .map(|s| s.to_bytes())
        .collect();
    assert_eq!(from_file, inline);
}

#[test]
fn slices_are_plain_files() {
    let mut model = mlp(17);
    let g = model.graph.as_mut().unwrap();
    g.node[0].doc_string = Some("/home/someone/model.py".into());
    g.node[1].name = Some("w1".into());
    let w = g.initializer[0].clone();
    g.initializer[0] = dsperse_onnx::TensorProto {
        float_data: dsperse_onnx::Tensor::read(&w)
            .unwrap()
            .values
            .to_f32()
            .unwrap(),
        raw_data: None,
        ..w
    };
    let slices = chain_equals_whole(&model, &Strategy::Layer);
    let g = slices[0].model.graph.as_ref().unwrap();
    assert!(g.node.iter().all(|n| n.doc_string.is_none()));
    let node_names: Vec<&str> = g.node.iter().map(|n| n.name()).collect();
    assert_eq!(node_names, ["MatMul_0", "w1__2", "Relu_2"]);
    assert!(g.initializer.iter().all(|t| t.raw_data.is_some()));
    // Described are the tensors between the nodes, and no others.
    let described: Vec<&str> = g.value_info.iter().map(|v| v.name()).collect();
    assert_eq!(described, ["a", "b"]);
    assert_eq!(g.value_info[0].shape(), Some(vec![1, 5]));
}

#[test]
fn points_by_name_and_by_index() {
    let mut model = mlp(17);
    model.graph.as_mut().unwrap().node[2].name = Some("relu".into());
    for at in ["relu", "2"] {
        let slices = chain_equals_whole(&model, &Strategy::Points(vec![at.into()]));
        assert_eq!(slices.len(), 2);
        assert_eq!(names(&slices[1].inputs), ["b"]);
    }
    let p = prepared(&model);
    let error = |at: &str| {
        p.plan(&Strategy::Points(vec![at.into()]))
            .unwrap_err()
            .to_string()
    };
    assert!(error("nope").starts_with("at nope: the model has no node of this name"));
    assert_eq!(error("9"), "at 9: the model has 4 nodes, counted from 0");
}

#[test]
fn capability_groups_what_one_backend_can_prove() {
    // Backend 0 proves MatMul and Add, backend 1 MatMul only, none proves Relu.
    let class = |_: usize, n: &dsperse_slicer::PlanNode| {
        CapabilityClass(match n.op_type.as_str() {
            "MatMul" => 0b11,
            "Add" => 0b01,
            _ => 0,
        })
    };
    let slices = chain_equals_whole(&mlp(17), &Strategy::Capability(&class));
    let operators: Vec<Vec<&str>> = slices
        .iter()
        .map(|s| s.operators.keys().map(String::as_str).collect())
        .collect();
    assert_eq!(
        operators,
        [vec!["Add", "MatMul"], vec!["Relu"], vec!["MatMul"]]
    );
}

#[test]
fn capability_runs_reach_over_parallel_branches() {
    // The Sigmoid in the middle depends only on the input: it need not part the rest.
    let g = graph(
        vec![
            node("MatMul", &["x", "w"], &["a"]),
            node("Sigmoid", &["x"], &["s"]),
            node("Relu", &["a"], &["b"]),
            node("Add", &["b", "s"], &["y"]),
        ],
        vec![fixed("x", &[1, 4])],
        vec![fixed("y", &[1, 4])],
        vec![weights("w", &[4, 4])],
    );
    let class =
        |_: usize, n: &dsperse_slicer::PlanNode| CapabilityClass(u64::from(n.op_type != "Sigmoid"));
    let slices = chain_equals_whole(
        &ModelProto::from_graph(g, 17),
        &Strategy::Capability(&class),
    );
    let nodes: Vec<usize> = slices.iter().map(|s| s.nodes.len()).collect();
    assert_eq!(nodes, [2, 1, 1]);
}

#[test]
fn fingerprints_see_everything_but_names() {
    use dsperse_onnx::AttributeProto;
    let pool = |i: &str, o: &str, size: i64| {
        node("MaxPool", &[i], &[o]).with(AttributeProto::from_ints("kernel_shape", &[size, 1]))
    };
    let g = graph(
        vec![
            node("Add", &["x", "w1"], &["a"]),
            node("Add", &["a", "w2"], &["b"]),
            node("Add", &["b", "w3"], &["c"]),
            node("Add", &["w1", "c"], &["d"]),
            pool("d", "e", 1),
            pool("e", "f", 1),
            pool("f", "g", 3),
            pool("g", "h", 3),
            node("Add", &["h", "h"], &["y"]),
        ],
        vec![fixed("x", &[1, 1, 7, 1])],
        vec![fixed("y", &[1, 1, 3, 1])],
        vec![
            weights("w1", &[7, 1]),
            // The same numbers: "w1" is their seed.
            dsperse_onnx::TensorProto {
                name: Some("w2".into()),
                ..weights("w1", &[7, 1])
            },
            weights("w3", &[7, 1]),
        ],
    );
    let slices = sliced(&ModelProto::from_graph(g, 17), &Strategy::Op);
    let weights = dsperse_slicer::WeightDigests::default();
    let prints: Vec<String> = slices.iter().map(|s| s.fingerprint(&weights)).collect();
    let first = |i: usize| prints.iter().position(|p| *p == prints[i]);
    // Other weights, another order of inputs, another attribute, another shape, and one
    // input twice are all different.
    let firsts: Vec<_> = (0..slices.len()).filter_map(first).collect();
    assert_eq!(firsts, [0, 0, 2, 3, 4, 4, 6, 7, 8]);
}

#[test]
fn rearranged_slices_stay_together_where_no_cut_can_be_made() {
    let g = graph(
        vec![
            node("MatMul", &["x", "w"], &["a"]),
            node("Mystery", &["a"], &["b"]),
            node("MatMul", &["b", "w"], &["c"]),
            node("MatMul", &["c", "w"], &["y"]),
        ],
        vec![fixed("x", &[1, 4])],
        vec![fixed("y", &[1, 4])],
        vec![weights("w", &[4, 4])],
    );
    let mut model = ModelProto::from_graph(g, 17);
    let c = fixed("c", &[1, 4]);
    model.graph.as_mut().unwrap().value_info.push(c);
    let p = prepared(&model);
    let whole = p.plan(&Strategy::Whole).unwrap();
    let cut = p.rearranged(&whole, vec![vec![0], vec![1], vec![2], vec![3]]);
    assert_eq!(cut.slices, [vec![0], vec![1, 2], vec![3]]);
    assert_eq!(cut.warnings.len(), 1);
    assert_eq!(p.rearranged(&cut, cut.slices.clone()), cut);
    let some: Vec<usize> = p
        .slices_at(&cut, [2, 0])
        .map(|s| s.unwrap().index)
        .collect();
    assert_eq!(some, [2, 0]);
}

#[test]
fn no_cut_where_a_shape_is_unknown() {
    let g = graph(
        vec![
            node("MatMul", &["x", "w"], &["a"]),
            node("Mystery", &["a"], &["b"]),
            node("MatMul", &["b", "w"], &["y"]),
        ],
        vec![fixed("x", &[1, 4])],
        vec![fixed("y", &[1, 4])],
        vec![weights("w", &[4, 4])],
    );
    let p = prepared(&ModelProto::from_graph(g, 17));
    let plan = p.plan(&Strategy::Op).unwrap();
    assert_eq!(plan.slices, vec![vec![0], vec![1, 2]]);
    assert!(plan.warnings[0].contains("\"b\""));
}

#[test]
fn shapes_that_contradict_each_other_are_told() {
    let model = |inner: usize| {
        let g = graph(
            vec![node("MatMul", &["x", "w"], &["y"])],
            vec![fixed("x", &[1, 4])],
            vec![fixed("y", &[1, 3])],
            vec![weights("w", &[inner, 3])],
        );
        prepared(&ModelProto::from_graph(g, 17)).warnings
    };
    assert_eq!(model(4), Vec::<String>::new());
    let told = model(5);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("contradict each other"), "{told:?}");
    assert!(told[0].contains("MatMul"), "{told:?}");
}

#[test]
fn outputs_that_are_constants_or_inputs() {
    let g = graph(
        vec![node("Relu", &["x"], &["y"]), node("Shape", &["x"], &["s"])],
        vec![fixed("x", &[1, 4])],
        vec![
            fixed("y", &[1, 4]),
            ValueInfoProto::concrete("s", DataType::I64, &[2]),
            fixed("k", &[3]),
            fixed("x", &[1, 4]),
        ],
        vec![weights("k", &[3])],
    );
    let slices = sliced(&ModelProto::from_graph(g, 17), &Strategy::Whole);
    assert_eq!(names(&slices[0].outputs), ["y", "s", "k"]);
    assert_eq!(slices[0].operators.get("Identity"), Some(&2));
}

fn refused(model: &ModelProto) -> String {
    match dsperse_slicer::load_bytes("m.onnx", model.to_bytes().into(), None)
        .and_then(|l| prepare(l, &DimOptions::default()))
    {
        Ok(_) => panic!("the model was accepted"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn refusals_name_the_thing_and_the_way_out() {
    assert_eq!(
        refused(&ModelProto::default()),
        "model is not valid: the model has no graph"
    );
    let mut model = mlp(17);
    model.graph.as_mut().unwrap().input[0] =
        float("x", &[Dim::Known(1), Dim::Named("width".into())]);
    assert_eq!(
        refused(&model),
        "input \"x\": the size of axis 1 (\"width\") is not fixed; set it with dim width=N"
    );
    let mut model = mlp(17);
    model.graph.as_mut().unwrap().initializer[0].dims = vec![6, 6];
    assert!(refused(&model).contains("tensor \"w1\": sizes [6, 6]"));
    let mut model = mlp(17);
    model.graph.as_mut().unwrap().input[0] =
        ValueInfoProto::concrete("x", DataType::String, &[1, 6]);
    assert!(refused(&model).starts_with("input \"x\" is of type string"));
    // The number of results depends on the data.
    let g = graph(
        vec![node("NonZero", &["x"], &["y"])],
        vec![fixed("x", &[1, 4])],
        vec![ValueInfoProto::tensor(
            "y",
            DataType::I64,
            &[Dim::Known(2), Dim::Open],
        )],
        vec![],
    );
    let text = refused(&ModelProto::from_graph(g, 17));
    assert!(
        text.starts_with("the shape of output \"y\" can't be fixed before the model runs: it depends on node \"NonZero_0 (NonZero)\""),
        "{text}"
    );
    let nothing = GraphProto {
        output: vec![fixed("x", &[1])],
        input: vec![fixed("x", &[1])],
        ..GraphProto::default()
    };
    assert!(refused(&ModelProto::from_graph(nothing, 17)).contains("computed from its inputs"));
    let error = dsperse_slicer::load(std::path::Path::new("no/such.onnx")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("can't read model \"no/such.onnx\"")
    );
}

#[test]
fn slices_of_two_gib_are_refused() {
    // Zeroed memory that nobody touches costs nothing.
    let bytes = bytes::Bytes::from(vec![0u8; 1 << 31]);
    let mut model = mlp(17);
    let g = model.graph.as_mut().unwrap();
    g.initializer[2].dims = vec![5, (1 << 31) / 20];
    g.initializer[2].raw_data = Some(bytes.slice(..(1 << 31) / 20 * 20));
    g.output[0] = float("y", &[Dim::Known(1), Dim::Open]);
    g.initializer[0].raw_data = Some(bytes.slice(..120));
    let loaded = dsperse_slicer::LoadedModel {
        model,
        file: dsperse_documents::ModelFile::default(),
    };
    let p = prepare(loaded, &DimOptions::default()).unwrap();
    let plan = p.plan(&Strategy::Layer).unwrap();
    let slices: Vec<_> = p.slices(&plan).collect();
    assert!(slices[0].is_ok());
    let text = slices[1].as_ref().unwrap_err().to_string();
    assert!(text.starts_with("slice 1 takes 2147483"), "{text}");
    assert!(text.contains("strategy op"));
}
