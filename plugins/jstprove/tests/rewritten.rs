//! Operators that JSTprove lacks, rewritten: the integers that the circuit checks against the
//! floats of the operator. No tool is needed.

use dsperse_backend_jstprove::Jstprove;
use dsperse_backend_jstprove::integer::evaluate;
use dsperse_backend_jstprove::network::SCALE_BITS;
use dsperse_backend_jstprove::normalise::normalise;
use dsperse_plugin_api::{Backend, OperatorSupport};
use dsperse_test_support::operators::cases;
use std::collections::BTreeSet;

#[test]
fn what_is_rewritten_computes_the_floats() {
    let scale = f64::from(1u32 << SCALE_BITS);
    let mut done = BTreeSet::new();
    for case in cases() {
        let Ok(network) = normalise(&case.model.to_bytes()) else {
            continue;
        };
        let quantised = |v: &f32| (f64::from(*v) * scale).round() as i64;
        let inputs = case
            .inputs
            .iter()
            .map(|t| t.iter().map(quantised).collect());
        let outputs = evaluate(&network, inputs.collect()).unwrap();
        for (found, expected) in outputs.iter().zip(&case.outputs) {
            assert_eq!(found.data.len(), expected.len(), "{}", case.name);
            for (a, b) in found.data.iter().zip(expected) {
                let a = *a as f64 / scale;
                let error = (a - f64::from(*b)).abs();
                assert!(error < 2e-4, "{}: {a} in place of {b}", case.name);
            }
        }
        done.insert(case.name);
    }
    for name in [
        "AveragePool",
        "Concat",
        "Conv dilated",
        "Conv grouped",
        "Gather",
        "GlobalAveragePool",
        "LeakyRelu",
        "Neg",
        "Pad",
        "ReduceMean",
        "ReduceSum",
        "Slice",
        "Transpose",
    ] {
        assert!(done.contains(name), "{name} is refused; done are {done:?}");
    }
}

#[test]
fn what_is_rewritten_is_listed() {
    let listed = Jstprove::describe().capabilities.operators;
    for op in [
        "AveragePool",
        "HardSwish",
        "PRelu",
        "Transpose",
        "Einsum",
        "Tile",
    ] {
        let found = listed.iter().find(|o| o.op == op);
        assert!(
            found.is_some_and(|o| o.limits == OperatorSupport::REWRITTEN),
            "{op}"
        );
    }
    // There is no exponential to make them of.
    for op in ["Softmax", "Sigmoid", "LSTM"] {
        assert!(listed.iter().all(|o| o.op != op), "{op}");
    }
}
