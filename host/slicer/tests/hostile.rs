//! Damaged models are refused with an error or sliced; they never bring the process down.

mod common;

use common::{edits, mlp, residual};
use dsperse_slicer::{CapabilityClass, DimOptions, Strategy, load_bytes, prepare};
use proptest::prelude::*;

/// Everything that `slice` and `analyze` do with a file. Returns whether it was accepted.
fn slice(bytes: Vec<u8>) -> bool {
    let Ok(loaded) = load_bytes("m.onnx", bytes.into(), None) else {
        return false;
    };
    let Ok(prepared) = prepare(loaded, &DimOptions::default()) else {
        return false;
    };
    let class = |i: usize, _: &dsperse_slicer::PlanNode| CapabilityClass(i as u64 % 3);
    for strategy in [
        Strategy::Layer,
        Strategy::Op,
        Strategy::Whole,
        Strategy::Points(vec!["1".into()]),
        Strategy::Capability(&class),
    ] {
        if let Ok(plan) = prepared.plan(&strategy) {
            let count = prepared.slices(&plan).filter(Result::is_ok).count();
            assert!(count <= plan.slices.len());
            assert_eq!(prepared.analyse(&plan).slices, plan.slices.len());
        }
    }
    true
}

#[test]
fn undamaged_models_are_accepted() {
    assert!(slice(mlp(17).to_bytes()));
    assert!(slice(residual().to_bytes()));
}

#[test]
fn contradictions_become_errors() {
    // Shapes that don't fit each other, a missing input, an axis out of range.
    let mut model = mlp(17);
    model.graph.as_mut().unwrap().node[1].input.truncate(1);
    slice(model.to_bytes());
    let mut model = residual();
    model.graph.as_mut().unwrap().initializer[0].dims = vec![54];
    slice(model.to_bytes());
    let mut model = residual();
    model.graph.as_mut().unwrap().node[0].attribute[0].ints = vec![-100; 4];
    slice(model.to_bytes());
    let mut model = residual();
    model.graph.as_mut().unwrap().node[0].op_type = Some("ConstantOfShape".into());
    slice(model.to_bytes());
}

#[test]
fn constants_that_ask_for_all_memory_are_not_computed() {
    for (op, value) in [
        ("Expand", vec![1 << 20, 1 << 20]),
        ("Tile", vec![1 << 40]),
        ("Range", vec![1 << 50]),
        ("ConstantOfShape", vec![1 << 50]),
        ("Pad", vec![0, 1 << 50]),
    ] {
        let mut model = mlp(17);
        let g = model.graph.as_mut().unwrap();
        g.initializer.push(common::ints("big", &value));
        g.initializer.push(common::weights("one", &[1]));
        let inputs: &[&str] = match op {
            "Range" => &["one", "big", "one"],
            "ConstantOfShape" => &["big"],
            _ => &["one", "big"],
        };
        g.node.push(common::node(op, inputs, &["huge"]));
        g.node.push(common::node("Add", &["y", "huge"], &["sum"]));
        g.output[0] = common::fixed("sum", &[1, 3]);
        slice(model.to_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_models(
        second in any::<bool>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let model = if second { residual() } else { mlp(17) };
        let mut bytes = model.to_bytes();
        // Weights are most of the bytes and the least interesting part: leave them out.
        let names: Vec<usize> = (0..bytes.len()).filter(|i| *i < 300 || i + 200 > bytes.len()).collect();
        for (at, value) in changes {
            let at = names[at.index(names.len())];
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        slice(bytes);
    }

    #[test]
    fn models_of_wrong_structure(
        second in any::<bool>(),
        script in proptest::collection::vec(any::<u8>(), 4..40),
    ) {
        let model = if second { residual() } else { mlp(17) };
        slice(edits::edited(model, &script).to_bytes());
    }
}
