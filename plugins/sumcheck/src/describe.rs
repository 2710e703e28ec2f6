//! What the backend says of itself.

use dsperse_plugin_api::{Capabilities, Descriptor, OperatorSupport, OptionSpec, Stage};
use dsperse_sumcheck_judge::{NAME, VERSION, properties};
use dsperse_sumcheck_lowering::Settings;
use dsperse_sumcheck_lowering::quantise::scale::{BOUNDARY_BITS, HEADROOM};
use dsperse_sumcheck_verifier::security::info;
use serde_json::json;

/// Operators that the importer reads itself, with their limits in words.
const OPERATORS: &[(&str, &str)] = &[
    ("Abs", ""),
    ("Add", ""),
    ("And", ""),
    ("Atan", "by table"),
    ("AveragePool", ""),
    (
        "BatchNormalization",
        "inference only; folded into the layer before where possible",
    ),
    ("Cast", ""),
    ("Ceil", ""),
    ("Clip", ""),
    ("Concat", ""),
    ("Constant", ""),
    (
        "Conv",
        "one to three spatial dimensions, constant weights; three without groups",
    ),
    ("Cos", "by table"),
    (
        "DequantizeLinear",
        "constant scales for the tensor or along an axis, not by blocks",
    ),
    ("Div", "of integers towards zero"),
    ("Dropout", "inference only, one output"),
    ("Equal", "exact on integers"),
    ("Erf", "by table"),
    ("Exp", "by table"),
    ("Expand", "constant shape"),
    ("Flatten", ""),
    ("Floor", ""),
    (
        "Gather",
        "indices that are constant or an input; others up to 2^20 comparisons",
    ),
    ("Gelu", "by table"),
    ("Gemm", ""),
    ("GlobalAveragePool", ""),
    ("GlobalMaxPool", ""),
    ("Greater", ""),
    ("GreaterOrEqual", ""),
    ("Identity", ""),
    ("LRN", ""),
    ("LayerNormalization", "one output"),
    ("LeakyRelu", ""),
    ("Less", ""),
    ("LessOrEqual", ""),
    ("Log", "by table"),
    ("MatMul", "constant or computed operands"),
    ("Max", ""),
    ("MaxPool", "one output"),
    ("Min", ""),
    ("Mul", ""),
    ("Neg", ""),
    ("Not", ""),
    ("Or", ""),
    ("Pad", "constant, edge, reflect and wrap modes"),
    (
        "Pow",
        "one constant exponent by table, others as exp(b log a)",
    ),
    (
        "QuantizeLinear",
        "constant scales for the tensor or along an axis, one zero point",
    ),
    ("RMSNormalization", ""),
    ("Reciprocal", ""),
    ("ReduceMax", "constant axes"),
    ("ReduceMean", "constant axes"),
    ("ReduceMin", "constant axes"),
    ("ReduceSum", "constant axes"),
    ("Relu", ""),
    ("Round", ""),
    ("Reshape", "constant shape"),
    ("Sigmoid", "by table"),
    ("Sign", ""),
    ("Sin", "by table"),
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
    ("Where", ""),
    ("Xor", ""),
];

/// Operators that are computed at compile time, on constants only.
const CONSTANT_OPERATORS: &[&str] = &["ConstantOfShape", "Shape"];

/// Element types of tensors, in the standard's words.
const TYPES: [&str; 13] = [
    "float", "double", "float16", "bfloat16", "bool", "int8", "uint8", "int16", "uint16", "int32",
    "uint32", "int64", "uint64",
];

/// All operators: those that the importer reads, and those that it rewrites by them.
fn operators() -> Vec<OperatorSupport> {
    let operator = |domain: &str, op: &str, limits: &str| OperatorSupport {
        op: op.into(),
        domain: domain.into(),
        since_opset: if domain.is_empty() { 7 } else { 1 },
        until_opset: None,
        dtypes: TYPES.map(String::from).to_vec(),
        limits: limits.into(),
    };
    let mut all: Vec<OperatorSupport> = OPERATORS
        .iter()
        .map(|(op, limits)| operator("", op, limits))
        .chain(
            CONSTANT_OPERATORS
                .iter()
                .map(|op| operator("", op, "on constants only")),
        )
        .collect();
    for rule in dsperse_rewrite::RULES {
        let known = |o: &OperatorSupport| o.op == rule.operator && o.domain == rule.domain;
        if !all.iter().any(known) {
            all.push(operator(rule.domain, rule.operator, "by simpler operators"));
        }
    }
    all.sort_by(|a, b| (&a.domain, &a.op).cmp(&(&b.domain, &b.op)));
    all
}

/// The descriptor.
#[must_use]
pub fn descriptor() -> Descriptor {
    let mut d = Descriptor::new(
        NAME,
        VERSION,
        "Embedded prover: sumcheck and WHIR over Goldilocks, no external tool, no trusted setup.",
    );
    d.licence = env!("CARGO_PKG_LICENSE").into();
    let info = info().ok();
    d.capabilities = Capabilities {
        stages: vec![Stage::Compile, Stage::Witness, Stage::Prove, Stage::Verify],
        operators: operators(),
        proof: Some(properties()),
        tools: Vec::new(),
        reusable_worker: true,
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
        OptionSpec {
            key: "weight_ranges".into(),
            kind: "string".into(),
            help:
                "Where it is shown that the weights are within their bounds: \"key\", once, when \
                   compiling, which makes each proof cheaper, or \"proof\", in each; without it, \
                   in the key of a slice with a million weights or more"
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
        let names: std::collections::BTreeSet<_> = ops.iter().map(|o| (&o.domain, &o.op)).collect();
        assert_eq!(names.len(), ops.len());
        assert!(ops.len() >= 120);
    }
}
