//! Claims, true and false, before the verifier.

mod common;

use common::{Bench, bytes_of, floats_of, info, models};
use dsperse_onnx::{DataType, GraphProto, NodeProto, ValueInfoProto};
use dsperse_plugin_api::{
    Backend, CompileJob, Encoding, ErrorKind, Role, SliceInfo, TensorFile, TensorInfo, Verdict,
};
use serde_json::json;

struct Claim {
    bench: Bench,
    slice: SliceInfo,
    inputs: Vec<TensorFile>,
    outputs: Vec<TensorFile>,
    answer: Vec<f32>,
}

/// A true claim of the digits MLP.
fn digits() -> Claim {
    let bench = Bench::new();
    let slice = bench.slice_of(
        &models().join("digits-mlp/model.onnx"),
        &[info("input", Encoding::F32, &[1, 64])],
        &[info("logits", Encoding::F32, &[1, 10])],
    );
    let image: Vec<f32> = (0..64).map(|i| (i % 17) as f32 / 16.0).collect();
    let inputs = vec![bench.tensor(&slice.inputs[0], &bytes_of(&image))];
    let bytes = bench.witness(&slice, &inputs).unwrap().remove(0);
    let outputs = vec![bench.tensor(&slice.outputs[0], &bytes)];
    Claim {
        answer: floats_of(&bytes),
        bench,
        slice,
        inputs,
        outputs,
    }
}

impl Claim {
    fn verdict(&self, tolerance: f64) -> Verdict {
        let (i, o) = (&self.inputs, &self.outputs);
        Bench::new().verify(&self.slice, i, o, tolerance).unwrap()
    }

    fn claim_floats(&mut self, values: &[f32]) {
        self.outputs[0] = self.bench.tensor(&self.slice.outputs[0], &bytes_of(values));
    }

    #[track_caller]
    fn invalid(&self, tolerance: f64, part: &str) {
        match self.verdict(tolerance) {
            Verdict::Invalid { reason } => assert!(reason.contains(part), "{reason}"),
            Verdict::Valid { .. } => panic!("a false claim is valid"),
        }
    }

    #[track_caller]
    fn facts(&self, tolerance: f64) -> serde_json::Map<String, serde_json::Value> {
        match self.verdict(tolerance) {
            Verdict::Valid { facts, warnings } => {
                assert!(warnings.is_empty());
                facts
            }
            Verdict::Invalid { reason } => panic!("{reason}"),
        }
    }
}

#[test]
fn a_true_claim_is_valid_bit_for_bit_and_says_by_what() {
    let facts = digits().facts(0.0);
    assert_eq!(facts["engine"]["name"], json!("tract"));
    assert_eq!(facts["engine"]["version"], json!("0.23.9"));
    let set = facts["engine"]["instruction_set"].as_str().unwrap();
    assert!(set.starts_with(std::env::consts::ARCH));
    assert_eq!(facts["bit_for_bit"], json!(true));
    assert_eq!(facts["largest_absolute_difference"], json!(0.0));
}

#[test]
fn every_single_bit_of_an_output_counts() {
    let mut claim = digits();
    let bytes = bytes_of(&claim.answer);
    for at in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            claim.outputs[0] = claim.bench.tensor(&claim.slice.outputs[0], &changed);
            claim.invalid(0.0, &format!("output \"logits\" at [0, {}]", at / 4));
        }
    }
}

#[test]
fn a_small_error_is_valid_only_within_the_tolerance() {
    let mut claim = digits();
    let mut values = claim.answer.clone();
    let changed = values[4] * 1.00001;
    values[4] = changed;
    claim.claim_floats(&values);
    let own = claim.answer[4];
    claim.invalid(
        0.0,
        &format!("at [0, 4]: claimed {changed:?}, recomputed {own:?}"),
    );
    claim.invalid(0.0, "verify with a tolerance such as 1e-4");
    claim.invalid(1e-6, "which differ by more than the tolerance 1e-6");
    let facts = claim.facts(1e-4);
    assert_eq!(facts["bit_for_bit"], json!(false));
    assert_eq!(facts["tolerance"], json!(1e-4));
    let relative = facts["largest_relative_difference"].as_f64().unwrap();
    assert!((1e-7..2e-5).contains(&relative), "{relative}");
}

#[test]
fn nan_and_infinity_in_a_claim_are_never_close() {
    let mut claim = digits();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = claim.answer.clone();
        values[0] = bad;
        claim.claim_floats(&values);
        claim.invalid(0.0, "at [0, 0]");
        claim.invalid(1e6, "at [0, 0]");
    }
}

#[test]
fn another_input_is_invalid() {
    let mut claim = digits();
    let mut image = floats_of(&std::fs::read(&claim.inputs[0].path).unwrap());
    image[20] += 1.0 / 16.0;
    claim.inputs[0] = claim
        .bench
        .tensor(&claim.slice.inputs[0], &bytes_of(&image));
    claim.invalid(0.0, "output \"logits\"");
    claim.invalid(1e-4, "output \"logits\"");
}

#[test]
fn malformed_claims_are_invalid() {
    let mut claim = digits();
    let keep = claim.outputs[0].clone();
    claim.outputs[0].info.shape = vec![10];
    claim.invalid(0.0, "shape [10]");
    claim.outputs[0].info = info("logits", Encoding::I32, &[1, 10]);
    claim.invalid(1.0, "claimed as I32");
    claim.outputs[0].info = info("other", Encoding::F32, &[1, 10]);
    claim.invalid(0.0, "\"other\"");
    claim.outputs.clear();
    claim.invalid(0.0, "has 1 outputs, found 0");
    claim.outputs.push(keep.clone());
    std::fs::write(&keep.path, [0; 39]).unwrap();
    claim.invalid(0.0, "39 bytes");
    std::fs::remove_file(&keep.path).unwrap();
    claim.invalid(0.0, "can't be read");
    let mut claim = digits();
    claim.inputs[0].info.shape = vec![64];
    claim.invalid(0.0, "input \"input\"");
    claim.inputs.clear();
    claim.invalid(0.0, "has 1 inputs, found 0");
}

#[test]
fn changed_weights_are_invalid() {
    let claim = digits();
    let mut bytes = std::fs::read(claim.slice.model.as_ref().unwrap()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let path = claim.bench.dir.path().join("changed.onnx");
    std::fs::write(&path, bytes).unwrap();
    let mut changed = claim;
    changed.slice.model = Some(path.to_str().unwrap().into());
    changed.invalid(0.0, "has SHA-256");
}

#[test]
fn a_tolerance_must_be_a_number_that_bounds_something() {
    let claim = digits();
    for tolerance in [-1.0, f64::NAN, f64::INFINITY] {
        let (i, o) = (&claim.inputs, &claim.outputs);
        let e = claim
            .bench
            .verify(&claim.slice, i, o, tolerance)
            .unwrap_err();
        assert_eq!(e.kind, ErrorKind::InvalidInput);
    }
}

/// `y = x + x`, for tensors of one type.
fn double(bench: &Bench, encoding: Encoding, dtype: DataType) -> SliceInfo {
    let side = |name: &str| {
        (
            [info(name, encoding, &[4])],
            [ValueInfoProto::concrete(name, dtype, &[4])],
        )
    };
    let ((i, gi), (o, go)) = (side("x"), side("y"));
    let graph = GraphProto {
        name: Some("double".into()),
        node: vec![NodeProto::new("Add", &["x", "x"], &["y"])],
        input: gi.into(),
        output: go.into(),
        ..GraphProto::default()
    };
    bench.slice(graph, 17, &i, &o)
}

#[test]
fn every_element_type_runs_and_verifies() {
    let bench = Bench::new();
    let (one, two) = (1u8, 2u8);
    // Little-endian bytes of 1 and 2 in each type.
    let cases: [(Encoding, DataType, Vec<u8>, Vec<u8>); 11] = [
        (
            Encoding::F32,
            DataType::F32,
            1f32.to_le_bytes().into(),
            2f32.to_le_bytes().into(),
        ),
        (
            Encoding::F64,
            DataType::F64,
            1f64.to_le_bytes().into(),
            2f64.to_le_bytes().into(),
        ),
        (
            Encoding::F16,
            DataType::F16,
            vec![0x00, 0x3c],
            vec![0x00, 0x40],
        ),
        (Encoding::I8, DataType::I8, vec![one], vec![two]),
        (Encoding::U8, DataType::U8, vec![one], vec![two]),
        (Encoding::I16, DataType::I16, vec![one, 0], vec![two, 0]),
        (Encoding::U16, DataType::U16, vec![one, 0], vec![two, 0]),
        (
            Encoding::I32,
            DataType::I32,
            1i32.to_le_bytes().into(),
            2i32.to_le_bytes().into(),
        ),
        (
            Encoding::U32,
            DataType::U32,
            1u32.to_le_bytes().into(),
            2u32.to_le_bytes().into(),
        ),
        (
            Encoding::I64,
            DataType::I64,
            1i64.to_le_bytes().into(),
            2i64.to_le_bytes().into(),
        ),
        (
            Encoding::U64,
            DataType::U64,
            1u64.to_le_bytes().into(),
            2u64.to_le_bytes().into(),
        ),
    ];
    for (encoding, dtype, one, two) in cases {
        let slice = double(&bench, encoding, dtype);
        let x = [bench.tensor(&slice.inputs[0], &one.repeat(4))];
        let found = bench.witness(&slice, &x).unwrap().remove(0);
        assert_eq!(found, two.repeat(4), "{encoding:?}");
        let good = [bench.tensor(&slice.outputs[0], &found)];
        let verdict = bench.verify(&slice, &x, &good, 0.0).unwrap();
        assert!(matches!(verdict, Verdict::Valid { .. }), "{encoding:?}");
        let bad = [bench.tensor(&slice.outputs[0], &[two.repeat(3), one].concat())];
        let verdict = bench.verify(&slice, &x, &bad, 0.1).unwrap();
        let Verdict::Invalid { reason } = verdict else {
            panic!("{encoding:?}");
        };
        assert!(reason.contains("at [3]: claimed 1"), "{reason}");
    }
}

#[test]
fn booleans_run_and_verify() {
    let bench = Bench::new();
    let bools = |name: &str| info(name, Encoding::Bool, &[3]);
    let graph = GraphProto {
        name: Some("not".into()),
        node: vec![NodeProto::new("Not", &["x"], &["y"])],
        input: vec![ValueInfoProto::concrete("x", DataType::Bool, &[3])],
        output: vec![ValueInfoProto::concrete("y", DataType::Bool, &[3])],
        ..GraphProto::default()
    };
    let slice = bench.slice(graph, 17, &[bools("x")], &[bools("y")]);
    let x = [bench.tensor(&slice.inputs[0], &[1, 0, 1])];
    assert_eq!(bench.witness(&slice, &x).unwrap(), [vec![0, 1, 0]]);
    let bad = [bench.tensor(&slice.outputs[0], &[0, 1, 1])];
    let Verdict::Invalid { reason } = bench.verify(&slice, &x, &bad, 1.0).unwrap() else {
        panic!("a false claim is valid");
    };
    assert_eq!(reason, "output \"y\" at [2]: claimed 1, recomputed 0");
}

fn fixed(bench: &Bench, of: &TensorInfo, integers: &[i64], exponent: i32) -> TensorFile {
    let claim = TensorInfo {
        encoding: Encoding::Fixed { exponent },
        ..of.clone()
    };
    let bytes: Vec<u8> = integers.iter().flat_map(|v| v.to_le_bytes()).collect();
    bench.tensor(&claim, &bytes)
}

#[test]
fn fixed_point_tensors_of_proven_slices_go_in_and_are_compared() {
    let bench = Bench::new();
    let slice = double(&bench, Encoding::F32, DataType::F32);
    let x = [fixed(
        &bench,
        &slice.inputs[0],
        &[1 << 18, -(1 << 17), 3, 0],
        -18,
    )];
    let y = bench.witness(&slice, &x).unwrap().remove(0);
    let step = 2f32.powi(-18);
    assert_eq!(floats_of(&y), [2.0, -1.0, 6.0 * step, 0.0]);
    let verify = |integers: &[i64], tolerance| {
        let claim = [fixed(&bench, &slice.outputs[0], integers, -18)];
        bench.verify(&slice, &x, &claim, tolerance)
    };
    let exact = [2 << 18, -(1 << 18), 6, 0];
    assert!(
        matches!(verify(&exact, 0.0), Ok(Verdict::Valid { facts, .. }) if facts["bit_for_bit"] == json!(false))
    );
    let off = [(2 << 18) + 9, -(1 << 18), 6, 0];
    let undecided = verify(&off, 0.0).unwrap_err();
    assert_eq!(undecided.kind, ErrorKind::Unsupported);
    assert!(
        undecided.message.contains("only within a tolerance"),
        "{undecided}"
    );
    assert!(matches!(verify(&off, 1e-4), Ok(Verdict::Valid { .. })));
    assert!(matches!(verify(&off, 1e-6), Ok(Verdict::Invalid { .. })));
}

#[test]
fn compile_leaves_a_readable_note_and_witness_refuses_wrong_inputs() {
    let claim = digits();
    let job = CompileJob {
        slice: claim.slice.clone(),
        calibration: vec![],
        calibration_outputs: Vec::new(),
        options: Default::default(),
    };
    let done = claim.bench.cx(|b, cx| b.compile(&job, cx)).unwrap();
    assert_eq!(done.artefacts.len(), 1);
    assert_eq!(done.artefacts[0].role, Role::Public);
    let note = std::fs::read(claim.bench.dir.path().join(&done.artefacts[0].path)).unwrap();
    let note: serde_json::Value = serde_json::from_slice(&note).unwrap();
    assert_eq!(note["slice_sha256"], json!(claim.slice.sha256));
    assert_eq!(note["engine"], done.facts["engine"]);
    let e = claim.bench.witness(&claim.slice, &[]).unwrap_err();
    assert_eq!(e.kind, ErrorKind::InvalidInput);
    assert_eq!(e.message, "the slice has 1 inputs, found 0");
}

#[test]
fn description_is_pure_and_claims_no_proof() {
    let d = dsperse_backend_onnx::OnnxBackend::describe();
    assert_eq!(d, dsperse_backend_onnx::OnnxBackend::describe());
    assert_eq!(d.name, "onnx");
    assert!(d.capabilities.proof.is_none());
    assert!(d.capabilities.reusable_worker && d.capabilities.verify_needs_payload);
}
