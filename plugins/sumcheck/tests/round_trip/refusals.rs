//! What the plugin says no to, and how.

use crate::bench::Bench;
use crate::models::{bench, held_out};
use dsperse_onnx::{AttributeProto, DataType, GraphProto, ModelProto, NodeProto, ValueInfoProto};
use dsperse_plugin_api::{
    Backend, CompileJob, ErrorKind, ProveJob, Role, Support, SupportsJob, WitnessJob,
};

fn with_unsupported() -> Bench {
    let graph = GraphProto {
        name: Some("unsupported".into()),
        node: vec![
            NodeProto::new("LeakyRelu", &["x"], &["r"])
                .with(AttributeProto::from_float("alpha", 0.2)),
            NodeProto::new("NonZero", &["r"], &["y"]),
        ],
        input: vec![ValueInfoProto::concrete("x", DataType::F32, &[4])],
        output: vec![ValueInfoProto::concrete("y", DataType::F32, &[4])],
        ..GraphProto::default()
    };
    let model = ModelProto::from_graph(graph, 17).to_bytes();
    Bench::new(&model, &[vec![4]], &[vec![4]])
}

fn supports(bench: &Bench) -> dsperse_plugin_api::Result<Support> {
    let job = SupportsJob {
        slice: bench.slice.clone(),
        options: bench.options.clone(),
    };
    bench.with("supports", |b, cx| b.supports(&job, cx))
}

fn compile_error(bench: &Bench) -> dsperse_plugin_api::Error {
    let job = CompileJob {
        slice: bench.slice.clone(),
        calibration: Vec::new(),
        calibration_outputs: Vec::new(),
        options: bench.options.clone(),
    };
    bench
        .with("compile", |b, cx| b.compile(&job, cx))
        .expect_err("it can't be compiled")
}

#[test]
fn an_unsupported_node_is_named_by_supports_and_compile() {
    let bench = with_unsupported();
    let Ok(Support::No { node, op, reason }) = supports(&bench) else {
        panic!("it is supported");
    };
    assert_eq!(node.as_deref(), Some("NonZero -> y"));
    assert_eq!(op.as_deref(), Some("NonZero"));
    assert!(reason.contains("\"NonZero\" is not supported"), "{reason}");
    let error = compile_error(&bench);
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_eq!(error.op.as_deref(), Some("NonZero"));
}

#[test]
fn wrong_options_and_models_are_invalid_input() {
    let mut bench = bench("digits-mlp", &[1, 64]);
    for (key, value, text) in [
        ("activation_bits", serde_json::json!(7), "from 8 to 16"),
        ("activation_bits", serde_json::json!("12"), "from 8 to 16"),
        (
            "weight_ranges",
            serde_json::json!("twice"),
            "\"key\" or \"proof\"",
        ),
        ("fidelity_target", serde_json::json!(0.0), "above 0"),
    ] {
        bench.options.clear();
        bench.options.insert(key.into(), value);
        let error = supports(&bench).expect_err("a wrong option");
        assert_eq!(error.kind, ErrorKind::InvalidInput);
        assert!(error.message.contains(text), "{error}");
        assert_eq!(compile_error(&bench).kind, ErrorKind::InvalidInput);
    }
    bench.options.clear();
    std::fs::write(bench.path().join("slice.onnx"), b"not a model").expect("written");
    assert_eq!(compile_error(&bench).kind, ErrorKind::InvalidInput);
    bench.slice.model = None;
    assert!(compile_error(&bench).message.contains("without its model"));
}

#[test]
fn a_prover_does_not_prove_what_is_false() {
    let bench = bench("digits-mlp", &[1, 64]);
    let images = held_out("digits-mlp", "input");
    let calibration = bench.inputs("calibration", &images[..1]);
    let run = bench.run(vec![calibration], bench.inputs("input", &images[1..2]));
    let good = ProveJob {
        slice: bench.slice.clone(),
        circuit: bench.artefacts("compile", &run.compiled),
        witness: Vec::new(),
        inputs: run.job.inputs.clone(),
        outputs: run.job.outputs.clone(),
        options: bench.options.clone(),
    };
    let prove = |job: &ProveJob| bench.with("again", |b, cx| b.prove(job, cx));
    let proof = || {
        prove(&good).expect("the true claim");
        std::fs::read(bench.path().join("again/proof.bin")).expect("a proof")
    };
    // The second time with the key that was kept.
    assert_eq!(proof(), proof());
    // The outputs of another input.
    let mut job = good.clone();
    job.inputs = bench.inputs("other", &images[2..3]);
    let error = prove(&job).expect_err("a false claim");
    assert_eq!(error.kind, ErrorKind::InvalidInput);
    assert!(error.message.contains("not what it computes"), "{error}");
    // Other weights than those of the key: one byte of the last element.
    let mut job = good.clone();
    let weights = job.circuit.iter_mut().find(|a| a.role == Role::Proving);
    let weights = weights.expect("there are weights");
    let mut bytes = std::fs::read(&weights.path).expect("there");
    let last = bytes.len() - 1;
    bytes[last - 1] ^= 1;
    let path = bench.path().join("other_weights.bin");
    std::fs::write(&path, bytes).expect("written");
    weights.path = path.to_string_lossy().into_owned();
    let error = prove(&job).expect_err("other weights");
    assert_eq!(error.kind, ErrorKind::InvalidInput, "{error}");
    // A witness needs both artefacts.
    let mut witness = WitnessJob {
        slice: bench.slice.clone(),
        circuit: good.circuit.clone(),
        inputs: good.inputs.clone(),
        options: bench.options.clone(),
    };
    witness.circuit.retain(|a| a.role != Role::Proving);
    let error = bench
        .with("witness", |b, cx| b.witness(&witness, cx))
        .expect_err("no weights");
    assert!(error.message.contains("\"weights\" is missing"), "{error}");
}

#[test]
fn inputs_beyond_the_calibrated_range_saturate_with_a_warning() {
    let bench = bench("digits-mlp", &[1, 64]);
    let images = held_out("digits-mlp", "input");
    let calibration = bench.inputs("calibration", &images[..1]);
    let mut far = images[1].clone();
    far[3] = 1000.0;
    far[4] = -1000.0;
    let run = bench.run(vec![calibration], bench.inputs("input", &[far]));
    assert_eq!(run.witness.facts["saturated_inputs"], 2);
    assert!(
        run.witness.warnings[0].contains("2 of 64"),
        "{:?}",
        run.witness.warnings
    );
    // It is proven all the same: saturation is part of the statement.
    assert!(matches!(
        bench.verify(&run.job),
        dsperse_plugin_api::Verdict::Valid { .. }
    ));
}

#[test]
fn a_compilation_that_can_not_fit_is_declined_before_it_takes_the_memory() {
    let mut bench = bench("digits-mlp", &[1, 64]);
    // Enough for the numbers of the model, not for the commitment to its weights.
    for most in [1 << 20, 21 << 20] {
        bench.memory = Some(most);
        let error = compile_error(&bench);
        assert_eq!(error.kind, ErrorKind::Resource, "{error}");
        let told = format!("more than the {} MiB that a job may have", most >> 20);
        assert!(error.message.contains(&told), "{error}");
        let hint = error.hint.unwrap_or_default();
        assert!(hint.contains("--memory"), "{hint}");
    }
}
