//! Every operator, against ONNX Runtime's answers (see `tests/data/operators.py` beside the
//! plugin): first the float reference, then the integer program.

use dsperse_onnx::ModelProto;
use dsperse_sumcheck_lowering::array::Array;
use dsperse_sumcheck_lowering::graph::{Graph, evaluate};
use dsperse_sumcheck_lowering::{Calibration, Settings, import, lower};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use zip::ZipArchive;

const SAMPLES: usize = 4;

struct Case {
    name: String,
    model: ModelProto,
    graph: Graph,
    /// Per sample, inputs and ONNX Runtime's outputs.
    samples: Vec<(Vec<Array>, Vec<Array>)>,
}

fn archive() -> ZipArchive<File> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/operators.zip");
    ZipArchive::new(File::open(path).expect("the cases are there")).expect("an archive")
}

fn array(archive: &mut ZipArchive<File>, name: &str, shape: &[usize]) -> Array {
    let file = npyz::NpyFile::new(archive.by_name(name).expect("there")).expect("an array");
    let data: Vec<f32> = file.into_vec().expect("floats");
    let data = data.into_iter().map(f64::from).collect();
    Array::new(shape.to_vec(), data)
        .unwrap_or_else(|| panic!("{name} does not have the shape {shape:?}"))
}

fn cases() -> Vec<Case> {
    let mut archive = archive();
    let names: BTreeSet<String> = archive
        .file_names()
        .filter_map(|n| Some(n.ok()?.strip_suffix("/model.onnx")?.to_owned()))
        .collect();
    names
        .into_iter()
        .map(|name| {
            let mut bytes = Vec::new();
            archive
                .by_name(&format!("{name}/model.onnx"))
                .expect("there")
                .read_to_end(&mut bytes)
                .expect("readable");
            let model = ModelProto::parse(bytes).expect("a model");
            let graph = import::import(&model, None).unwrap_or_else(|e| panic!("{name}: {e}"));
            let samples = (0..SAMPLES)
                .map(|s| {
                    let mut read = |kind: &str, ids: &[usize]| {
                        let each = ids.iter().enumerate();
                        each.map(|(i, &id)| {
                            let file = format!("{name}/{s}/{kind}_{i}.npy");
                            array(&mut archive, &file, graph.shape(id))
                        })
                        .collect::<Vec<_>>()
                    };
                    (read("input", &graph.inputs), read("output", &graph.outputs))
                })
                .collect();
            Case {
                name,
                model,
                graph,
                samples,
            }
        })
        .collect()
}

/// Greatest difference over all samples, relative to the greatest magnitude of that output
/// in any sample.
fn difference(found: &[Vec<Array>], expected: &[&Vec<Array>]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let mut worst = 0f64;
    for output in 0..expected[0].len() {
        let (mut most, mut scale) = (0f64, 1e-30f64);
        for (f, e) in found.iter().zip(expected) {
            let (f, e) = (&f[output], &e[output]);
            assert_eq!(f.shape, e.shape);
            let pairs = f.data.iter().zip(&e.data);
            most = pairs.map(|(x, y)| (x - y).abs()).fold(most, f64::max);
            scale = scale.max(e.max_abs());
        }
        worst = worst.max(most / scale);
    }
    worst
}

#[test]
fn the_float_reference_agrees_with_onnx_runtime() {
    let cases = cases();
    assert!(cases.len() > 120, "{} cases", cases.len());
    for case in cases {
        let found: Vec<_> = case
            .samples
            .iter()
            .map(|s| evaluate(&case.graph, &s.0))
            .collect();
        let expected: Vec<_> = case.samples.iter().map(|s| &s.1).collect();
        let off = difference(&found, &expected);
        assert!(off < 2e-5, "{}: {off:.2e}", case.name);
    }
}

/// Largest relative error that is accepted of a case at 16 bits; documented in
/// `docs/sumcheck-operators.md`.
fn bound(name: &str) -> f64 {
    match name {
        // Exponentials and roots of what is computed before, and quotients by small numbers.
        "div_signed" | "pow_computed" | "selu" | "lstm" | "lstm_both_ways" | "gru" | "rnn" => 1e-2,
        // A table of a steep function.
        "log" => 1e-3,
        // Differences of inputs of 30 times the result's size, through an exponential.
        "softmax_wide" => 1e-3,
        _ => 5e-4,
    }
}

#[test]
fn the_integer_program_agrees_with_onnx_runtime() {
    let mut failed = Vec::new();
    for case in cases() {
        let calibration = Calibration {
            inputs: case.samples[..SAMPLES - 1]
                .iter()
                .map(|s| s.0.clone())
                .collect(),
            outputs: Vec::new(),
        };
        let settings = Settings {
            least_bits: 16,
            ..Settings::default()
        };
        let lowered = lower(&case.model, None, &calibration, settings)
            .unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let found: Vec<_> = case
            .samples
            .iter()
            .map(|s| lowered.quantised.run(&s.0))
            .map(|r| r.unwrap_or_else(|e| panic!("{}: {e}", case.name)))
            .collect();
        let expected: Vec<_> = case.samples.iter().map(|s| &s.1).collect();
        let worst = difference(&found, &expected);
        println!("{:28} {worst:.1e}", case.name);
        if worst > bound(&case.name) {
            failed.push(format!("{}: {worst:.2e}", case.name));
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}
