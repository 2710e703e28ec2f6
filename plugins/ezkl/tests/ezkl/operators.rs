//! Every operator that the plugin lists, alone in a slice, against the floats.

use crate::{Slice, ezkl, options, with_cx};
use dsperse_backend_ezkl::driver::Ezkl;
use dsperse_backend_ezkl::files::Work;
use dsperse_backend_ezkl::model::{normalise, operators};
use dsperse_backend_ezkl::prepare::{build, settle};
use dsperse_backend_ezkl::srs::Places;
use dsperse_onnx::{AttributeProto, DataType, GraphProto, ModelProto, NodeProto, ValueInfoProto};
use dsperse_plugin_api::{OperatorSupport, Verdict};
use dsperse_test_support::operators::{Case, cases};
use dsperse_test_support::stages::{Sample, compile_job, noise};
use std::collections::BTreeSet;

/// Largest error that a single operator may have. Scale 13 resolves 1.2e-4.
const BOUND: f64 = 2e-3;

/// Whether EZKL computes a slice's floats; says how far off it is, or what went wrong.
fn computes_the_floats(
    ezkl: &Ezkl,
    name: &str,
    model: &ModelProto,
    sample: Sample,
) -> Result<(), String> {
    let options = options(ezkl);
    let places = Places::new(&options).unwrap();
    let fidelity = with_cx(|cx, dir| {
        let job = compile_job(dir, model, options, &[sample]);
        let work = Work::new(cx)?;
        let settled = settle(ezkl, &job, &places, &work, cx)?;
        build(ezkl, &job, &settled, &work, cx)
    });
    match fidelity.map(|f| f.max_error) {
        Ok(Some(error)) if error < BOUND => {
            eprintln!("{name}: {error:.1e}");
            Ok(())
        }
        Ok(error) => Err(format!("{name}: error {error:?}")),
        Err(e) => Err(format!("{name}: {e}")),
    }
}

#[test]
#[ignore = "needs EZKL: scripts/install-backends.sh ezkl"]
fn every_listed_operator_computes_the_floats() {
    let ezkl = ezkl();
    let (mut wrong, mut done) = (Vec::new(), BTreeSet::new());
    for case in cases() {
        if normalise(case.model.to_bytes()).is_err() {
            eprintln!("{}: refused by the plugin", case.name);
            continue;
        }
        let Case {
            name,
            model,
            inputs,
            outputs,
        } = &case;
        let sample = Sample {
            inputs: inputs.clone(),
            outputs: outputs.clone(),
        };
        match computes_the_floats(&ezkl, name, model, sample) {
            Ok(()) => drop(done.insert(case.op().to_owned())),
            Err(e) => wrong.push(e),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let listed: BTreeSet<String> = operators()
        .into_iter()
        .filter(|o| o.limits != OperatorSupport::REWRITTEN)
        .map(|o| o.op)
        .collect();
    // What is rewritten may be among the cases as well.
    done.retain(|op| listed.contains(op));
    assert_eq!(done, listed);
}

/// Shape of the input of what is rewritten.
const SHAPE: [u64; 4] = [1, 2, 4, 4];

/// A slice of one node that EZKL lacks, and its results.
fn rewritten() -> Vec<(&'static str, ModelProto, Vec<f32>, Vec<f32>)> {
    let x: Vec<f32> = noise(32, 5).into_iter().map(|v| 3.0 * v).collect();
    let each = |op: &'static str, f: &dyn Fn(f32) -> f32| {
        let y = x.iter().map(|v| f(*v)).collect();
        (op, NodeProto::new(op, &["x"], &["y"]), SHAPE, y)
    };
    let swish = |v: f32| v * (v / 6.0 + 0.5).clamp(0.0, 1.0);
    let mut list = vec![
        each("Abs", &f32::abs),
        each("Elu", &|v| if v > 0.0 { v } else { v.exp() - 1.0 }),
        each("HardSigmoid", &|v| (0.2 * v + 0.5).clamp(0.0, 1.0)),
        each("HardSwish", &swish),
        each("Celu", &|v| v.max(0.0) + (v.exp() - 1.0).min(0.0)),
    ];
    // The greatest of 3 by 3, padded: EZKL's own pads with zeros, and -x is never above 0.
    let at = |c: usize, h: usize, w: usize| x[c * 16 + h * 4 + w].abs();
    let mut greatest = Vec::new();
    for (c, h, w) in (0..32usize).map(|i| (i / 16, i / 4 % 4, i % 4)) {
        let rows = h.saturating_sub(1)..(h + 2).min(4);
        let under = rows.flat_map(|i| (w.saturating_sub(1)..(w + 2).min(4)).map(move |j| (i, j)));
        greatest.push(under.map(|(i, j)| -at(c, i, j)).fold(f32::MIN, f32::max));
    }
    let pool = NodeProto::new("MaxPool", &["x"], &["y"])
        .with(AttributeProto::from_ints("kernel_shape", &[3, 3]))
        .with(AttributeProto::from_ints("pads", &[1, 1, 1, 1]));
    let negative: Vec<f32> = x.iter().map(|v| -v.abs()).collect();
    let blocks = NodeProto::new("SpaceToDepth", &["x"], &["y"])
        .with(AttributeProto::from_int("blocksize", 2));
    let mut moved = Vec::new();
    for (block, c, h, w) in (0..32usize).map(|i| (i / 8, i / 4 % 2, i / 2 % 2, i % 2)) {
        moved.push(x[c * 16 + (2 * h + block / 2) * 4 + 2 * w + block % 2]);
    }
    list.push(("SpaceToDepth", blocks, [1, 8, 2, 2], moved));
    let slice = |node: NodeProto, shape: &[u64]| {
        let port = |n, s: &[u64]| ValueInfoProto::concrete(n, DataType::F32, s);
        let graph = GraphProto {
            name: Some("g".into()),
            node: vec![node],
            input: vec![port("x", &SHAPE)],
            output: vec![port("y", shape)],
            ..GraphProto::default()
        };
        ModelProto::from_graph(graph, 17)
    };
    let mut out: Vec<_> = list
        .into_iter()
        .map(|(name, node, shape, y)| (name, slice(node, &shape), x.clone(), y))
        .collect();
    out.push((
        "MaxPool with padding",
        slice(pool, &SHAPE),
        negative,
        greatest,
    ));
    out
}

#[test]
#[ignore = "needs EZKL: scripts/install-backends.sh ezkl"]
fn what_is_rewritten_computes_the_floats() {
    let ezkl = ezkl();
    let mut wrong = Vec::new();
    for (name, model, x, y) in rewritten() {
        let sample = Sample {
            inputs: vec![x],
            outputs: vec![y],
        };
        wrong.extend(computes_the_floats(&ezkl, name, &model, sample).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "needs EZKL: scripts/install-backends.sh ezkl"]
fn what_is_rewritten_is_proven() {
    let ezkl = ezkl();
    for (name, model, x, y) in rewritten() {
        if !["Elu", "HardSwish", "MaxPool with padding"].contains(&name) {
            continue;
        }
        let slice = Slice::compile(&model, options(&ezkl), &[]).unwrap();
        let run = slice.run("a", slice.inputs("a", &[x])).unwrap();
        let found = run.outputs[0].read_values().unwrap().to_f64();
        for (a, b) in found.iter().zip(&y) {
            assert!((a - f64::from(*b)).abs() < 4.0 * BOUND, "{name}: {a}, {b}");
        }
        let verdict = slice.verify(&run).unwrap();
        assert!(
            matches!(verdict, Verdict::Valid { .. }),
            "{name}: {verdict:?}"
        );
    }
}
