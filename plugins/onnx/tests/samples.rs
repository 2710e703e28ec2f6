//! The sample models against what ONNX Runtime answered when they were made.

mod common;

use common::{Bench, bytes_of, floats_of, info, models};
use dsperse_backend_onnx::cache::Cache;
use dsperse_plugin_api::{Encoding, SliceInfo, Support, TensorFile, Verdict};
use npyz::NpyFile;
use std::io::Read;
use std::sync::Arc;

/// The held-out data of a sample: images, labels, ONNX Runtime's answers.
struct HeldOut {
    images: Vec<Vec<f32>>,
    labels: Vec<i64>,
    logits: Vec<Vec<f32>>,
}

fn array<T: npyz::Deserialize>(archive: &[u8], name: &str) -> (Vec<T>, usize) {
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
    let mut bytes = Vec::new();
    let mut file = zip.by_name(&format!("{name}.npy")).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    let npy = NpyFile::new(&bytes[..]).unwrap();
    let rows = usize::try_from(npy.shape()[0]).unwrap();
    (npy.into_vec().unwrap(), rows)
}

fn rows(archive: &[u8], name: &str) -> Vec<Vec<f32>> {
    let (flat, rows) = array::<f32>(archive, name);
    flat.chunks(flat.len() / rows)
        .map(<[f32]>::to_vec)
        .collect()
}

fn held_out(name: &str) -> HeldOut {
    let archive = std::fs::read(models().join(name).join("heldout.npz")).unwrap();
    HeldOut {
        images: rows(&archive, "input"),
        labels: array(&archive, "label").0,
        logits: rows(&archive, "logits"),
    }
}

fn whole(bench: &Bench, name: &str, shape: &[u64]) -> SliceInfo {
    bench.slice_of(
        &models().join(name).join("model.onnx"),
        &[info("input", Encoding::F32, shape)],
        &[info("logits", Encoding::F32, &[1, 10])],
    )
}

fn argmax(v: &[f32]) -> usize {
    let best = (0..v.len()).max_by(|a, b| v[*a].total_cmp(&v[*b]));
    best.unwrap()
}

fn check(name: &str, shape: &[u64], right: usize) {
    let bench = Bench::new();
    let slice = whole(&bench, name, shape);
    let support = bench.supports(&slice).unwrap();
    assert!(matches!(support, Support::Yes { cost } if cost.peak_bytes > 1 << 20));
    let data = held_out(name);
    let mut hits = 0;
    for ((image, label), reference) in data.images.iter().zip(&data.labels).zip(&data.logits) {
        let input = bench.tensor(&slice.inputs[0], &bytes_of(image));
        let answer = floats_of(&bench.witness(&slice, std::slice::from_ref(&input)).unwrap()[0]);
        let size = reference.iter().fold(0f32, |m, v| m.max(v.abs()));
        for (a, r) in answer.iter().zip(reference) {
            assert!(
                (a - r).abs() <= 1e-4 * size,
                "{name}: {a} and {r} of {size}"
            );
        }
        assert_eq!(argmax(&answer), argmax(reference));
        hits += usize::from(argmax(&answer) as i64 == *label);
        let claim: TensorFile = bench.tensor(&slice.outputs[0], &bytes_of(reference));
        let verdict = bench.verify(&slice, &[input], &[claim], 1e-4).unwrap();
        assert!(matches!(verdict, Verdict::Valid { .. }), "{verdict:?}");
    }
    // What models/README.md and the table of make.py say of the kept hundred.
    assert_eq!((data.images.len(), hits), (100, right));
    assert_eq!(bench.backend.kept_plans(), 1);
}

#[test]
fn digits_mlp() {
    check("digits-mlp", &[1, 64], 97);
}

#[test]
fn lenet() {
    check("lenet", &[1, 1, 28, 28], 98);
}

#[test]
fn resnet_tiny_with_its_symbolic_batch_fixed() {
    check("resnet-tiny", &[1, 1, 8, 8], 99);
}

#[test]
fn transformer_block() {
    check("transformer-block", &[1, 8, 8], 98);
}

#[test]
fn input_json_is_the_first_held_out_image() {
    for name in ["digits-mlp", "lenet", "resnet-tiny", "transformer-block"] {
        let text = std::fs::read(models().join(name).join("input.json")).unwrap();
        let document: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let values: Vec<f32> = document["input_data"][0]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap() as f32)
            .collect();
        assert_eq!(values, held_out(name).images[0], "{name}");
    }
}

#[test]
fn bits_are_the_same_in_every_worker() {
    let image = &held_out("lenet").images[3];
    let run = || {
        let bench = Bench::new();
        let slice = whole(&bench, "lenet", &[1, 1, 28, 28]);
        let input = bench.tensor(&slice.inputs[0], &bytes_of(image));
        bench.witness(&slice, &[input]).unwrap()
    };
    let first = run();
    let threads: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(run_lenet(image.clone())))
        .collect();
    for t in threads {
        assert_eq!(t.join().unwrap(), first);
    }
    assert_eq!(run(), first);
}

fn run_lenet(image: Vec<f32>) -> impl FnOnce() -> Vec<Vec<u8>> + Send + 'static {
    move || {
        let bench = Bench::new();
        let slice = whole(&bench, "lenet", &[1, 1, 28, 28]);
        let input = bench.tensor(&slice.inputs[0], &bytes_of(&image));
        let first = bench.witness(&slice, std::slice::from_ref(&input)).unwrap();
        // The kept plan, too.
        assert_eq!(bench.witness(&slice, &[input]).unwrap(), first);
        first
    }
}

#[test]
fn plans_are_kept_within_the_memory_limit_and_for_the_same_slice_only() {
    let bench = Bench::new();
    let slice = whole(&bench, "digits-mlp", &[1, 64]);
    let cache = Cache::default();
    cache.plan(&slice, Some(0)).unwrap();
    assert!(cache.is_empty());
    let first = cache.plan(&slice, None).unwrap();
    assert!(Arc::ptr_eq(&first, &cache.plan(&slice, None).unwrap()));
    assert_eq!(cache.len(), 1);
    // The same file under another claim of its inputs is looked at again.
    let mut other = slice;
    other.inputs[0].shape = vec![64];
    assert!(cache.plan(&other, None).is_err());
}
