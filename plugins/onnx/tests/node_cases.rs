//! ONNX's own node tests through the backend: what it takes, it must compute rightly.
//!
//! The cases are written by `node_cases.py` (needs Python with onnx); name their folder in
//! `DSPERSE_NODE_CASES`. Without it the test says so and passes.

mod common;

use common::{Bench, info};
use dsperse_plugin_api::{Encoding, Support, TensorFile, TensorInfo, Verdict};
use serde_json::Value;
use std::path::Path;

/// Relative tolerance; the reference implementation computes in other orders.
const TOLERANCE: f64 = 1e-3;

/// Half precision needs more, and these also sum many terms.
const HALF: f64 = 5e-3;

/// Cases that need the maximum of nothing but −∞ (see `rules.rs`).
const KNOWN: [&str; 3] = [
    "test_attention_23_boolmask_fullymasked_row_nan_robustness_expanded",
    "test_attention_23_fullymasked_qk_matmul_output_mode3_zero_expanded",
    "test_attention_4d_causal_nonpad_negative_offset_structural_empty_expanded",
];

fn encoding(dtype: &str) -> Encoding {
    match dtype {
        "float32" => Encoding::F32,
        "float64" => Encoding::F64,
        "float16" => Encoding::F16,
        "int8" => Encoding::I8,
        "int16" => Encoding::I16,
        "int32" => Encoding::I32,
        "int64" => Encoding::I64,
        "uint8" => Encoding::U8,
        "uint16" => Encoding::U16,
        "uint32" => Encoding::U32,
        "uint64" => Encoding::U64,
        "bool" => Encoding::Bool,
        other => panic!("unknown type {other}"),
    }
}

fn side(case: &Path, document: &Value, side: &str) -> Vec<TensorFile> {
    let tensors = document[side].as_array().unwrap().iter().enumerate();
    tensors
        .map(|(i, t)| {
            let shape = t["shape"].as_array().unwrap().iter();
            let shape: Vec<u64> = shape.map(|d| d.as_u64().unwrap()).collect();
            let dtype = encoding(t["dtype"].as_str().unwrap());
            TensorFile {
                info: info(t["name"].as_str().unwrap(), dtype, &shape),
                path: case.join(format!("{side}{i}.bin")).to_str().unwrap().into(),
                sha256: String::new(),
            }
        })
        .collect()
}

#[test]
#[ignore = "needs a folder made by tests/reference/node_cases.py, in DSPERSE_NODE_CASES"]
fn what_is_taken_is_right() {
    let root = std::env::var_os("DSPERSE_NODE_CASES").expect("DSPERSE_NODE_CASES names a folder");
    let (mut right, mut refused, mut failed) = (0, 0, 0);
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let case = entry.unwrap().path();
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        let document = std::fs::read(case.join("case.json")).unwrap();
        let document: Value = serde_json::from_slice(&document).unwrap();
        let (inputs, outputs) = (
            side(&case, &document, "inputs"),
            side(&case, &document, "outputs"),
        );
        let infos = |files: &[TensorFile]| -> Vec<TensorInfo> {
            files.iter().map(|f| f.info.clone()).collect()
        };
        let bench = Bench::new();
        let slice = bench.slice_of(&case.join("model.onnx"), &infos(&inputs), &infos(&outputs));
        if !matches!(bench.supports(&slice), Ok(Support::Yes { .. })) {
            refused += 1;
            continue;
        }
        let half = outputs.iter().any(|o| o.info.encoding == Encoding::F16);
        let tolerance = if half { HALF } else { TOLERANCE };
        match bench.verify(&slice, &inputs, &outputs, tolerance) {
            Ok(Verdict::Valid { .. }) => right += 1,
            Ok(Verdict::Invalid { reason }) => {
                if !KNOWN.contains(&name.trim_end_matches(".fixed")) {
                    wrong.push(format!("{name}: {reason}"));
                }
            }
            Err(_) => failed += 1,
        }
    }
    eprintln!("{right} right, {refused} refused, {failed} failed with an error");
    assert!(wrong.is_empty(), "wrong values:\n{}", wrong.join("\n"));
    assert!(right > 1500, "only {right} cases ran");
}
