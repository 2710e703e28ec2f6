//! What the backend says of itself.

use dsperse_plugin_api::{
    BindsPublicIo, Capabilities, Descriptor, OperatorSupport, OptionSpec, ProofProperties, Setup,
    Stage,
};
use dsperse_sumcheck_lowering::Settings;
use dsperse_sumcheck_lowering::quantise::scale::{BOUNDARY_BITS, HEADROOM};
use dsperse_sumcheck_verifier::commit::{MAX_STACK, SECURITY_LEVEL};
use dsperse_sumcheck_verifier::program::{MAX_ELEMENTS, MAX_NODES, MAX_RANK, MAX_TABLE};
use dsperse_sumcheck_verifier::verify::PROTOCOL;
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
    ("Erf", "by table"),
    ("Exp", "by table"),
    ("Flatten", ""),
    ("Gather", "constant indices"),
    ("Gelu", "by table"),
    ("Gemm", ""),
    ("GlobalAveragePool", ""),
    ("Identity", ""),
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
        "sumcheck",
        env!("CARGO_PKG_VERSION"),
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
    d.capabilities = Capabilities {
        stages: vec![Stage::Compile, Stage::Witness, Stage::Prove, Stage::Verify],
        operators: OPERATORS
            .iter()
            .map(|(op, limits)| operator(op, limits))
            .chain(CONSTANT_OPERATORS.iter().map(constant))
            .collect(),
        proof: Some(ProofProperties {
            zero_knowledge: false,
            succinct: true,
            hides_weights: false,
            setup: Setup::None,
            binds_public_io: BindsPublicIo::Strong,
            post_quantum: true,
            reproducible_compile: true,
            security_bits: Some(SECURITY_LEVEL as u32),
            caveats: vec![
                "proofs are not zero-knowledge: they reveal something of weights and activations"
                    .into(),
                "a proof speaks of the quantised slice; see the fidelity figures for its distance \
                 from the float model"
                    .into(),
            ],
        }),
        tools: Vec::new(),
        reusable_worker: false,
        verify_needs_payload: false,
    };
    let settings = Settings::default();
    d.options = vec![
        OptionSpec {
            key: "fidelity_target".into(),
            kind: "number".into(),
            help: "Largest relative error on the calibration samples that is aimed at; more bits \
                   are used until it is met"
                .into(),
            default: Some(json!(settings.target)),
            affects_compile: true,
        },
        OptionSpec {
            key: "activation_bits".into(),
            kind: "integer".into(),
            help: "Bits of interior activations, 8 to 16; without it, as many as the fidelity \
                   target needs"
                .into(),
            default: None,
            affects_compile: true,
        },
    ];
    for (key, value) in [
        ("protocol", json!(PROTOCOL)),
        ("boundary_bits", json!(BOUNDARY_BITS)),
        ("headroom", json!(HEADROOM)),
        ("max_program_nodes", json!(MAX_NODES)),
        ("max_rank", json!(MAX_RANK)),
        ("max_table_entries", json!(MAX_TABLE)),
        ("max_elements_per_tensor", json!(MAX_ELEMENTS)),
        ("max_committed_values_log2", json!(MAX_STACK)),
    ] {
        d.facts.insert(key.into(), value);
    }
    d
}
