//! The four sample models, each as one slice.

use crate::bench::Bench;
use dsperse_plugin_api::{Values, Verdict};
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../models")
        .join(name)
}

/// An array of the sample's archive, cut along its first axis.
pub fn held_out(name: &str, array: &str) -> Vec<Vec<f32>> {
    let file = std::fs::File::open(folder(name).join("heldout.npz")).expect("it is there");
    let mut archive = zip::ZipArchive::new(file).expect("an archive");
    let entry = archive.by_name(&npyz::npz::file_name_from_array_name(array));
    let file = npyz::NpyFile::new(entry.expect("the array is there")).expect("an array");
    let rows = usize::try_from(file.shape()[0]).expect("fits");
    let data: Vec<f32> = file.into_vec().expect("floats");
    data.chunks(data.len() / rows)
        .map(<[f32]>::to_vec)
        .collect()
}

pub fn bench(name: &str, input: &[u64]) -> Bench {
    let model = std::fs::read(folder(name).join("model.onnx")).expect("the model is there");
    Bench::new(&model, &[input.to_vec()], &[vec![1, 10]])
}

fn check(name: &str, input: &[u64]) {
    let bench = bench(name, input);
    let images = held_out(name, "input");
    let calibration = bench.inputs("calibration", &images[..1]);
    let inputs = bench.inputs("input", &images[1..2]);
    let start = std::time::Instant::now();
    let run = bench.run(vec![calibration], inputs);
    let made = start.elapsed();
    let start = std::time::Instant::now();
    let verdict = bench.verify(&run.job);
    println!(
        "{name}: compile to proof {made:.2?}, verify {:.2?}, proof {} bytes, key {} bytes, {}",
        start.elapsed(),
        std::fs::metadata(&run.job.proof[0].path)
            .expect("there")
            .len(),
        std::fs::metadata(&run.job.circuit[0].path)
            .expect("there")
            .len(),
        serde_json::to_string(&run.compiled.facts).expect("text"),
    );
    assert!(matches!(verdict, Verdict::Valid { .. }), "{verdict:?}");
    assert!(
        run.compiled.warnings.is_empty(),
        "{:?}",
        run.compiled.warnings
    );
    // The proven outputs are close to what ONNX Runtime computed.
    let outputs = run.job.outputs[0].read_values().expect("readable");
    assert!(matches!(outputs, Values::Fixed { .. }));
    let expected = &held_out(name, "logits")[1];
    let scale = expected.iter().fold(0f64, |m, x| m.max(f64::from(x.abs())));
    for (x, y) in outputs.to_f64().iter().zip(expected) {
        assert!((x - f64::from(*y)).abs() < 0.02 * scale, "{x} against {y}");
    }
    assert_eq!(run.witness.facts["saturated_inputs"], 0);
}

#[test]
fn digits_mlp() {
    check("digits-mlp", &[1, 64]);
}

#[test]
fn lenet() {
    check("lenet", &[1, 1, 28, 28]);
}

#[test]
fn resnet_tiny() {
    check("resnet-tiny", &[1, 1, 8, 8]);
}

#[test]
fn transformer_block() {
    check("transformer-block", &[1, 8, 8]);
}

/// The descriptor promises that the same slice gives the same verifying artefacts; a
/// verifier that compiles the slice itself relies on it.
#[test]
fn compilation_is_reproducible() {
    let images = held_out("transformer-block", "input");
    let artefacts = || {
        let bench = bench("transformer-block", &[1, 8, 8]);
        let calibration = bench.inputs("calibration", &images[..1]);
        let run = bench.run(vec![calibration], bench.inputs("input", &images[1..2]));
        let read = |name: &str| {
            let all = bench.artefacts("compile", &run.compiled);
            let file = all.into_iter().find(|a| a.name == name).expect("made");
            std::fs::read(file.path).expect("there")
        };
        (read("verifying_key"), read("weights"), read("settings"))
    };
    assert!(artefacts() == artefacts());
}
