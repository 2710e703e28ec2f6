//! Single nodes with random shapes and attributes, rewritten to primitives and compared with
//! the original in ONNX Runtime.

mod common;

use common::{Jobs, plainest, primitive, python, run_script};
use dsperse_onnx::{
    AttributeProto, DataType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, Tensor,
    TensorProto, ValueInfoProto, Values,
};
use dsperse_rewrite::Site;

/// Numbers from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    fn size(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }
    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
    fn floats(&mut self, name: &str, dims: &[usize]) -> TensorProto {
        let n: usize = dims.iter().product();
        let v = (0..n)
            .map(|_| (self.next() >> 40) as f32 / (1u64 << 24) as f32 - 0.5)
            .collect();
        Tensor::new(dims.to_vec(), Values::F32(v))
            .unwrap()
            .to_proto(name)
    }
}

fn ints(name: &str, v: &[i64]) -> TensorProto {
    Tensor::new(vec![v.len()], Values::I64(v.to_vec()))
        .unwrap()
        .to_proto(name)
}

fn model(node: NodeProto, x: &[usize], constants: Vec<TensorProto>, opset: i64) -> ModelProto {
    let shape: Vec<u64> = x.iter().map(|d| *d as u64).collect();
    let graph = GraphProto {
        name: Some("g".into()),
        // Shapes of outputs are left to inference.
        output: node
            .output
            .iter()
            .map(|o| ValueInfoProto {
                name: Some(o.clone()),
                r#type: Some(dsperse_onnx::TypeProto {
                    value: Some(dsperse_onnx::type_proto::Value::TensorType(
                        dsperse_onnx::type_proto::Tensor {
                            elem_type: Some(DataType::F32.number()),
                            shape: None,
                        },
                    )),
                    denotation: None,
                }),
                ..ValueInfoProto::default()
            })
            .collect(),
        node: vec![node],
        input: vec![ValueInfoProto::concrete("x", DataType::F32, &shape)],
        initializer: constants,
        ..GraphProto::default()
    };
    ModelProto::from_graph(graph, opset)
}

fn activations(jobs: &mut Jobs, folder: &std::path::Path, r: &mut Random) {
    let list: &[(&str, i64, &[&str])] = &[
        ("Elu", 7, &["alpha"]),
        ("Celu", 12, &["alpha"]),
        ("Selu", 7, &["alpha", "gamma"]),
        ("ThresholdedRelu", 10, &["alpha"]),
        ("Softplus", 7, &[]),
        ("Softsign", 7, &[]),
        ("Mish", 18, &[]),
        ("HardSigmoid", 7, &["alpha", "beta"]),
        ("HardSwish", 14, &[]),
        ("LeakyRelu", 7, &["alpha"]),
        ("Reciprocal", 7, &[]),
        ("Shrink", 9, &["lambd", "bias"]),
        ("Gelu", 20, &[]),
        ("Sinh", 9, &[]),
        ("Cosh", 9, &[]),
        ("LogSoftmax", 7, &[]),
    ];
    for (op, first, attributes) in list {
        for opset in [*first, 13.max(*first), 22.max(*first)] {
            let rank = r.size(2, 4);
            let shape: Vec<usize> = (0..rank).map(|_| r.size(1, 5)).collect();
            let mut node = NodeProto::new(op, &["x"], &["y"]);
            for a in *attributes {
                let v = 0.1 + r.below(100) as f32 / 70.0;
                node = node.with(AttributeProto::from_float(a, v));
            }
            if *op == "LogSoftmax" {
                node = node.with(AttributeProto::from_int("axis", r.below(rank) as i64));
            }
            let name = format!("{op} {shape:?} opset {opset}");
            jobs.push(
                folder,
                &name,
                &model(node, &shape, vec![], opset),
                -3.0,
                3.0,
            );
        }
    }
}

fn recurrent(jobs: &mut Jobs, folder: &std::path::Path, r: &mut Random) {
    for k in 0..24 {
        let (op, gates) = r.pick(&[("RNN", 1), ("GRU", 3), ("LSTM", 4)]);
        let (t, n, i, h) = (r.size(1, 5), r.size(1, 3), r.size(1, 4), r.size(1, 4));
        let direction = ["forward", "reverse", "bidirectional"][k % 3];
        let d = if k % 3 == 2 { 2 } else { 1 };
        let mut inputs = vec!["x", "w", "r", "b", "", "h0"];
        let mut constants = vec![
            r.floats("w", &[d, gates * h, i]),
            r.floats("r", &[d, gates * h, h]),
            r.floats("b", &[d, 2 * gates * h]),
            r.floats("h0", &[d, n, h]),
        ];
        let mut outputs = vec!["y", "yh"];
        if op == "LSTM" {
            inputs.extend(["c0", "p"]);
            outputs.push("yc");
            constants.push(r.floats("c0", &[d, n, h]));
            constants.push(r.floats("p", &[d, 3 * h]));
            if r.below(2) == 0 {
                inputs.pop();
                constants.pop();
            }
        }
        let mut node = NodeProto::new(op, &inputs, &outputs)
            .with(AttributeProto::from_int("hidden_size", h as i64))
            .with(AttributeProto::from_string("direction", direction));
        if op == "GRU" {
            let flag = r.below(2) as i64;
            node = node.with(AttributeProto::from_int("linear_before_reset", flag));
        }
        let name = format!("{op} {direction} {t}x{n}x{i}, {h} hidden, {k}");
        let m = model(node, &[t, n, i], constants, r.pick(&[7, 14, 22]));
        jobs.push(folder, &name, &m, -1.0, 1.0);
    }
}

fn convolutions(jobs: &mut Jobs, folder: &std::path::Path, r: &mut Random) {
    for k in 0..24 {
        let rank = [1, 2, 3][k % 3];
        let group = r.size(1, 2);
        let (c, m) = (group * r.size(1, 2), r.size(1, 3));
        let spatial: Vec<usize> = (0..rank).map(|_| r.size(3, 6)).collect();
        let kernel: Vec<usize> = (0..rank).map(|_| r.size(1, 3)).collect();
        let list = |r: &mut Random, low, high, n| -> Vec<i64> {
            (0..n).map(|_| r.size(low, high) as i64).collect()
        };
        let transposed = rank == 2 || r.below(2) == 0;
        let mut w = if transposed {
            vec![c, m]
        } else {
            vec![m * group, c / group]
        };
        w.extend(&kernel);
        let constants = vec![r.floats("w", &w), r.floats("b", &[m * group])];
        let op = if transposed { "ConvTranspose" } else { "Conv" };
        let node = NodeProto::new(op, &["x", "w", "b"], &["y"])
            .with(AttributeProto::from_int("group", group as i64))
            .with(AttributeProto::from_ints("strides", &list(r, 1, 3, rank)))
            .with(AttributeProto::from_ints("dilations", &list(r, 1, 1, rank)))
            .with(AttributeProto::from_ints("pads", &list(r, 0, 1, 2 * rank)));
        let mut x = vec![r.size(1, 2), c];
        x.extend(&spatial);
        let name = format!("{op} {x:?} by {w:?}, {k}");
        jobs.push(
            folder,
            &name,
            &model(node, &x, constants, r.pick(&[11, 13, 22])),
            -1.0,
            1.0,
        );
    }
}

/// Random full trees of some depth.
fn trees(jobs: &mut Jobs, folder: &std::path::Path, r: &mut Random) {
    for k in 0..12 {
        let (count, features, targets) = (r.size(1, 5), r.size(1, 4), r.size(1, 3));
        let mode = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"][k % 4];
        let mut lists: [Vec<i64>; 5] = Default::default();
        let (mut values, mut modes) = (Vec::new(), Vec::new());
        let mut leaves: [Vec<i64>; 3] = Default::default();
        let mut weights = Vec::new();
        for t in 0..count {
            let inner = (1 << r.size(0, 3)) - 1;
            for i in 0..2 * inner + 1 {
                let leaf = i >= inner;
                let children = if leaf { (0, 0) } else { (2 * i + 1, 2 * i + 2) };
                for (list, v) in
                    lists
                        .iter_mut()
                        .zip([t, i, r.below(features), children.0, children.1])
                {
                    list.push(v as i64);
                }
                values.push(r.below(9) as f32 / 4.0 - 1.0);
                modes.push(if leaf { "LEAF" } else { mode });
                // Every leaf has a weight for every target: where a target gets none, ONNX
                // Runtime leaves out its base value.
                for target in 0..if leaf { targets } else { 0 } {
                    for (list, v) in leaves.iter_mut().zip([t, i, target]) {
                        list.push(v as i64);
                    }
                    weights.push(r.below(100) as f32 / 50.0 - 1.0);
                }
            }
        }
        let strings = AttributeProto {
            name: Some("nodes_modes".into()),
            r#type: Some(dsperse_onnx::AttributeType::Strings as i32),
            strings: modes.iter().map(|m| m.as_bytes().to_vec().into()).collect(),
            ..AttributeProto::default()
        };
        let mut node = NodeProto::new("TreeEnsembleRegressor", &["x"], &["y"])
            .with(AttributeProto::from_int("n_targets", targets as i64))
            .with(AttributeProto::from_floats("nodes_values", &values))
            .with(strings)
            .with(AttributeProto::from_floats("target_weights", &weights))
            .with(AttributeProto::from_floats(
                "base_values",
                &vec![0.25; targets],
            ));
        for (name, list) in [
            "nodes_treeids",
            "nodes_nodeids",
            "nodes_featureids",
            "nodes_truenodeids",
            "nodes_falsenodeids",
        ]
        .iter()
        .zip(&lists)
        .chain(
            ["target_treeids", "target_nodeids", "target_ids"]
                .iter()
                .zip(&leaves),
        ) {
            node = node.with(AttributeProto::from_ints(name, list));
        }
        node.domain = Some("ai.onnx.ml".into());
        let mut m = model(node, &[r.size(1, 4), features], vec![], 13);
        m.opset_import.push(OperatorSetIdProto {
            domain: Some("ai.onnx.ml".into()),
            version: Some(1),
        });
        let name = format!("{count} trees, {features} features, {targets} targets, {mode}");
        jobs.push(folder, &name, &m, -1.5, 1.5);
    }
}

fn resizes(jobs: &mut Jobs, folder: &std::path::Path, r: &mut Random) {
    for k in 0..20 {
        let x = [1, r.size(1, 2), r.size(2, 6), r.size(2, 6)];
        let mode = ["nearest", "linear", "cubic"][k % 3];
        let transform = r.pick(&[
            "half_pixel",
            "asymmetric",
            "align_corners",
            "pytorch_half_pixel",
        ]);
        let sizes = [x[0], x[1], r.size(1, 9), r.size(1, 9)].map(|d| d as i64);
        let node = NodeProto::new("Resize", &["x", "", "", "sizes"], &["y"])
            .with(AttributeProto::from_string("mode", mode))
            .with(AttributeProto::from_string("nearest_mode", "floor"))
            .with(AttributeProto::from_string(
                "coordinate_transformation_mode",
                transform,
            ));
        let name = format!("Resize {mode} {transform} {x:?} to {sizes:?}");
        let m = model(node, &x, vec![ints("sizes", &sizes)], r.pick(&[13, 19]));
        jobs.push(folder, &name, &m, -1.0, 1.0);
    }
}

#[test]
#[ignore = "needs a Python with ONNX Runtime: scripts/install-backends.sh reference"]
fn rewritten_nodes_compute_the_same() {
    let python = python();
    let folder = tempfile::tempdir().unwrap();
    let (mut jobs, mut r) = (Jobs::default(), Random(7));
    activations(&mut jobs, folder.path(), &mut r);
    recurrent(&mut jobs, folder.path(), &mut r);
    convolutions(&mut jobs, folder.path(), &mut r);
    trees(&mut jobs, folder.path(), &mut r);
    resizes(&mut jobs, folder.path(), &mut r);
    let failed = jobs.check(&python, folder.path());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// What tests/reference/generate.py makes: most operators, with random attributes. Returns
/// how many were rewritten, and a line for each node that was declined.
fn generated(
    jobs: &mut Jobs,
    folder: &std::path::Path,
    python: &std::path::Path,
    native: &dyn Fn(&Site<'_>) -> bool,
) -> (usize, Vec<String>) {
    let seed = std::env::var("DSPERSE_SEED").unwrap_or_else(|_| "11".into());
    run_script(python, "generate.py", &[folder.as_ref(), seed.as_ref()]);
    let list = std::fs::read(folder.join("cases.json")).unwrap();
    let list: Vec<serde_json::Value> = serde_json::from_slice(&list).unwrap();
    assert!(list.len() > 500);
    let (mut applied, mut declined) = (0, Vec::new());
    for case in list {
        let file = std::path::PathBuf::from(case["file"].as_str().unwrap());
        let mut model = ModelProto::parse(std::fs::read(&file).unwrap()).unwrap();
        let outcome = jobs.rewritten_to(&mut model, native);
        applied += outcome.applied.len();
        if !outcome.declined.is_empty() {
            let lines = outcome.declined.iter();
            declined.extend(lines.map(|d| format!("{}: {}", case["name"], d.reason)));
            continue;
        }
        let new = file.with_extension("rewritten");
        std::fs::write(&new, model.to_bytes()).unwrap();
        let mut job = case.clone();
        job["model"] = serde_json::json!(new);
        job["original"] = case["file"].clone();
        jobs.jobs.push(job);
    }
    (applied, declined)
}

#[test]
#[ignore = "needs a Python with ONNX Runtime: scripts/install-backends.sh reference"]
fn generated_nodes_compute_the_same() {
    let python = python();
    let folder = tempfile::tempdir().unwrap();
    let mut jobs = Jobs::default();
    let (applied, declined) = generated(&mut jobs, folder.path(), &python, &primitive);
    assert!(declined.is_empty(), "{}", declined.join("\n"));
    let failed = jobs.check(&python, folder.path());
    println!("{applied} nodes, {} rules", jobs.rules.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
#[ignore = "needs a Python with ONNX Runtime: scripts/install-backends.sh reference"]
fn generated_nodes_compute_the_same_by_the_plainest_ones() {
    let python = python();
    let folder = tempfile::tempdir().unwrap();
    let mut jobs = Jobs::default();
    let (applied, declined) = generated(&mut jobs, folder.path(), &python, &plainest);
    let failed = jobs.check(&python, folder.path());
    println!(
        "{applied} nodes, {} declined, {} rules",
        declined.len(),
        jobs.rules.len()
    );
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    for rule in [
        "average-pool-conv",
        "concat-matmul",
        "conv-dilations",
        "conv-groups",
        "conv-pads",
        "gather-matmul",
        "global-max-pool-window",
        "matmul-rows",
        "max-pool-gather",
        "pad-matmul",
        "reduce-sum-matmul",
        "slice-matmul",
        "transpose-matmul",
    ] {
        assert!(jobs.rules.contains(rule), "{rule} was never applied");
    }
}
