//! Fidelity on the sample models: calibrated with one image, judged on all held-out ones.

use dsperse_onnx::ModelProto;
use dsperse_sumcheck_lowering::array::Array;
use dsperse_sumcheck_lowering::{Calibration, Settings, graph, lower, measure};
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../models")
        .join(name)
}

/// An array of the sample's archive, cut along its first axis.
fn held_out(name: &str, array: &str) -> Vec<Vec<f64>> {
    let file = std::fs::File::open(folder(name).join("heldout.npz")).expect("it is there");
    let mut archive = zip::ZipArchive::new(file).expect("an archive");
    let entry = archive.by_name(&npyz::npz::file_name_from_array_name(array));
    let file = npyz::NpyFile::new(entry.expect("the array is there")).expect("an array");
    let rows = usize::try_from(file.shape()[0]).expect("fits");
    let data: Vec<f32> = file.into_vec().expect("floats");
    data.chunks(data.len() / rows)
        .map(|c| c.iter().map(|&x| f64::from(x)).collect())
        .collect()
}

fn check(name: &str) {
    let bytes = std::fs::read(folder(name).join("model.onnx")).expect("the model is there");
    let model = ModelProto::parse(bytes).expect("a model");
    let graph = dsperse_sumcheck_lowering::import::import(&model, None).expect("supported");
    let shape = graph.shape(graph.inputs[0]).to_vec();
    let samples: Vec<Vec<Array>> = held_out(name, "input")
        .into_iter()
        .map(|data| vec![Array::new(shape.clone(), data).expect("fits")])
        .collect();
    let reference: Vec<Vec<Array>> = samples.iter().map(|s| graph::evaluate(&graph, s)).collect();
    // The float reference itself is right: ONNX Runtime gave these numbers.
    for (own, theirs) in reference.iter().zip(held_out(name, "logits")) {
        for (x, y) in own[0].data.iter().zip(theirs) {
            assert!(
                (x - y).abs() <= 1e-4 * (1.0 + y.abs()),
                "{name}: {x} against {y}"
            );
        }
    }
    let calibration = Calibration {
        inputs: samples[..1].to_vec(),
        outputs: Vec::new(),
    };
    let lowered = lower(&model, None, &calibration, Settings::default()).expect("lowers");
    let fidelity = measure(&lowered.quantised, &samples, &reference).expect("runs");
    println!(
        "{name}: {} bits, {} nodes, calibration {:?}, held out {fidelity:?}",
        lowered.precision.activation_bits,
        lowered.quantised.program.nodes.len(),
        lowered.fidelity
    );
    assert_eq!(fidelity.samples, 100);
    assert!(fidelity.same_arg_max >= 99, "{name}: {fidelity:?}");
    assert!(fidelity.relative_error < 0.03, "{name}: {fidelity:?}");
}

/// Without calibration data ranges are guessed wide, and 16 bits make up for it.
#[test]
fn digits_mlp_without_calibration() {
    let bytes = std::fs::read(folder("digits-mlp").join("model.onnx")).expect("there");
    let model = ModelProto::parse(bytes).expect("a model");
    let settings = Settings {
        least_bits: 16,
        ..Settings::default()
    };
    let calibration = Calibration {
        inputs: Vec::new(),
        outputs: Vec::new(),
    };
    let lowered = lower(&model, None, &calibration, settings).expect("lowers");
    let samples: Vec<Vec<Array>> = held_out("digits-mlp", "input")
        .into_iter()
        .map(|data| vec![Array::new(vec![1, 64], data).expect("fits")])
        .collect();
    let reference: Vec<_> = samples
        .iter()
        .map(|s| graph::evaluate(&lowered.graph, s))
        .collect();
    let fidelity = measure(&lowered.quantised, &samples, &reference).expect("runs");
    assert!(fidelity.same_arg_max >= 99, "{fidelity:?}");
    assert!(fidelity.relative_error < 0.03, "{fidelity:?}");
}

#[test]
fn digits_mlp() {
    check("digits-mlp");
}

#[test]
fn lenet() {
    check("lenet");
}

#[test]
fn resnet_tiny() {
    check("resnet-tiny");
}

#[test]
fn transformer_block() {
    check("transformer-block");
}
