//! What the backend says of itself.

use dsperse_plugin_api::{Capabilities, Descriptor, OperatorSupport, OptionSpec, Stage};
use dsperse_sumcheck_judge::{NAME, VERSION, properties};
use dsperse_sumcheck_lowering::Settings;
use dsperse_sumcheck_lowering::quantise::scale::{BOUNDARY_BITS, HEADROOM};
use dsperse_sumcheck_verifier::security::info;
use serde_json::json;

/// Operators with their limits in words.
const OPERATORS: &[(&str, &str)] = &[
    ("Add", ""),
    ("AveragePool", ""),
    (
        "BatchNormalization",
        "inference only; folded into the layer before where possible",
    ),
    ("Clip", "constant limits"),
    ("Concat", ""),
    ("Constant", ""),
    ("Conv", "one or two spatial dimensions, constant weights"),
    (
        "Div",
        "by constants, and by a computed tensor in a layer normalisation",
    ),
    ("Dropout", "inference only, one output"),
    ("Erf", "by table"),
    ("Exp", "by table"),
    ("Flatten", ""),
    ("Gather", "constant indices"),
    ("Gelu", "by table"),
    ("Gemm", ""),
    ("GlobalAveragePool", ""),
    ("Identity", ""),
    ("LRN", ""),
    ("LayerNormalization", "one output"),
    ("LeakyRelu", ""),
    ("MatMul", "constant or computed operands"),
    ("MaxPool", "one output"),
    ("Mul", ""),
    ("Neg", ""),
    ("Pad", "constant, edge, reflect and wrap modes"),
    ("Pow", "constant exponent"),
    ("ReduceMean", "constant axes"),
    ("ReduceSum", "constant axes"),
    ("Relu", ""),
    ("Reshape", "constant shape"),
    ("Sigmoid", "by table"),
    ("Slice", "constant parameters"),
    ("Softmax", ""),
    ("Split", "constant sizes"),
    ("Sqrt", "by table"),
    ("Squeeze", ""),
    ("Sub", ""),
    ("Sum", ""),
    ("Tanh", "by table"),
    ("Transpose", ""),
    ("Unsqueeze", ""),
];

/// Operators that are computed at compile time, on constants only.
const CONSTANT_OPERATORS: &[&str] = &["Cast", "ConstantOfShape", "Shape"];

/// The descriptor.
#[must_use]
pub fn descriptor() -> Descriptor {
    let mut d = Descriptor::new(
        NAME,
        VERSION,
        "Embedded prover: sumcheck and WHIR over Goldilocks, no external tool, no trusted setup.",
    );
    d.licence = env!("CARGO_PKG_LICENSE").into();
    let operator = |op: &str, limits: &str| OperatorSupport {
        op: op.into(),
        domain: String::new(),
        since_opset: 7,
        until_opset: None,
        dtypes: vec!["float".into(), "double".into(), "float16".into()],
        limits: limits.into(),
    };
    let constant = |op: &&str| OperatorSupport {
        dtypes: vec!["float".into(), "int64".into()],
        ..operator(op, "on constants only")
    };
    let info = info().ok();
    d.capabilities = Capabilities {
        stages: vec![Stage::Compile, Stage::Witness, Stage::Prove, Stage::Verify],
        operators: OPERATORS
            .iter()
            .map(|(op, limits)| operator(op, limits))
            .chain(CONSTANT_OPERATORS.iter().map(constant))
            .collect(),
        proof: Some(properties()),
        tools: Vec::new(),
        reusable_worker: false,
        verify_needs_payload: false,
    };
    let settings = Settings::default();
    d.options = vec![
        OptionSpec {
            key: "fidelity_target".into(),
            kind: "number".into(),
            help: "Largest relative error on the calibration samples; more bits are used until it \
                   is met, and a slice that can't meet it is declined"
                .into(),
            default: Some(json!(settings.target)),
            affects_compile: true,
        },
        OptionSpec {
            key: "activation_bits".into(),
            kind: "integer".into(),
            help: "Bits of interior activations, 8 to 16; without it, as many as the fidelity \
                   target needs, up to 24"
                .into(),
            default: None,
            affects_compile: true,
        },
    ];
    d.facts.insert("boundary_bits".into(), json!(BOUNDARY_BITS));
    d.facts.insert("headroom".into(), json!(HEADROOM));
    if let Some(i) = info {
        for (key, value) in [
            ("protocol", json!(i.protocol)),
            ("security_bits", json!(i.security_bits)),
            ("min_security_bits", json!(i.min_security_bits)),
            ("grinding_bits", json!(i.grinding_bits)),
            ("max_committed_values_log2", json!(i.max_stack_vars)),
            ("max_elements_per_tensor", json!(i.max_elements)),
            ("max_program_nodes", json!(i.max_nodes)),
            ("max_rank", json!(i.max_rank)),
            ("max_table_entries", json!(i.max_table)),
        ] {
            d.facts.insert(key.into(), value);
        }
    }
    d
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_plugin_api::BindsPublicIo;

    #[test]
    fn the_version_is_that_of_the_judge() {
        assert_eq!(VERSION, env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn security_is_computed_and_at_least_a_hundred_bits() {
        let d = descriptor();
        let proof = d.capabilities.proof.expect("it makes proofs");
        assert!(
            proof.security_bits >= Some(100),
            "{:?}",
            proof.security_bits
        );
        assert!(!proof.zero_knowledge && !proof.hides_weights);
        assert_eq!(proof.binds_public_io, BindsPublicIo::Strong);
        assert_eq!(d.facts["protocol"], "dsperse-sumcheck/2");
    }

    #[test]
    fn operators_are_named_once() {
        let ops = descriptor().capabilities.operators;
        let names: std::collections::BTreeSet<_> = ops.iter().map(|o| &o.op).collect();
        assert_eq!(names.len(), ops.len());
        assert!(ops.len() >= 40);
    }
}
