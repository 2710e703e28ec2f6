//! Slices real models and runs the chains in ONNX Runtime.
//!
//! The corpus: the light models of the `onnx` package, the samples in `models/`, and every
//! `.onnx` file below the folder that `DSPERSE_CORPUS` names. Needs a Python with onnx and
//! onnxruntime (`DSPERSE_PYTHON`, or what `scripts/install-backends.sh reference` made).

use dsperse_slicer::{CapabilityClass, DimOptions, Strategy, load, prepare};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Largest accepted relative error against the whole model.
const TOLERANCE: f64 = 1e-4;
/// The same for outputs in half precision, which has 11 bits: one rounding is 5e-4, and the
/// chain rounds at boundaries where a fused kernel does not.
const HALF_TOLERANCE: f64 = 2e-3;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn python() -> PathBuf {
    std::env::var_os("DSPERSE_PYTHON")
        .map(PathBuf::from)
        .or_else(|| Some(root().join(".venv/bin/python")))
        .filter(|p| p.exists())
        .expect("no reference Python: run \"scripts/install-backends.sh reference\"")
}

fn models_below(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            models_below(&path, out);
        } else if path.extension().is_some_and(|e| e == "onnx") {
            out.push(path);
        }
    }
}

/// Slices a model into `folder` and describes the job for the Python side.
fn slice(model: &Path, strategy: &Strategy<'_>, folder: &Path) -> Result<Value, String> {
    let loaded = load(model).map_err(|e| e.to_string())?;
    let prepared = prepare(loaded, &DimOptions::default()).map_err(|e| e.to_string())?;
    let plan = prepared.plan(strategy).map_err(|e| e.to_string())?;
    std::fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    let mut paths = Vec::new();
    for slice in prepared.slices(&plan) {
        let slice = slice.map_err(|e| e.to_string())?;
        let path = folder.join(format!("slice_{}.onnx", slice.index));
        std::fs::write(&path, slice.to_bytes()).map_err(|e| e.to_string())?;
        paths.push(path);
    }
    let outputs: Vec<&str> = prepared.outputs.iter().map(|o| o.name.as_str()).collect();
    Ok(json!({"model": model, "slices": paths, "inputs": prepared.inputs, "outputs": outputs}))
}

/// Runs the jobs; returns a line for each and the number of failures.
fn compare(python: &Path, jobs: &[Value], folder: &Path) -> (Vec<String>, usize) {
    let list = folder.join("jobs.json");
    std::fs::write(&list, serde_json::to_vec(jobs).unwrap()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/chain.py");
    let out = Command::new(python)
        .arg(script)
        .arg(&list)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let results: Vec<Value> = text
        .lines()
        .filter_map(|l| serde_json::from_str(l).ok())
        .collect();
    assert_eq!(
        results.len(),
        jobs.len(),
        "the script stopped early: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    let mut failures = 0;
    let lines = results
        .iter()
        .zip(jobs)
        .map(|(r, job)| {
            let name = Path::new(r["model"].as_str().unwrap_or_default());
            let slices = job["slices"].as_array().map_or(0, Vec::len);
            let tolerance = match r["half"].as_bool() {
                Some(true) => HALF_TOLERANCE,
                _ => TOLERANCE,
            };
            let good = r["error"].as_f64().is_some_and(|e| e <= tolerance);
            failures += usize::from(!good);
            let detail = match r["error"].as_f64() {
                Some(e) => format!("{e:.1e}"),
                None => r["failed"].as_str().unwrap_or("no result").to_owned(),
            };
            let verdict = if good { "ok" } else { "FAILED" };
            format!(
                "{verdict:6} {slices:4} slices  {detail}  {}",
                name.display()
            )
        })
        .collect();
    (lines, failures)
}

fn check(python: &Path, models: &[PathBuf], strategy: &Strategy<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let mut jobs = Vec::new();
    let mut failures = 0;
    for (i, model) in models.iter().enumerate() {
        match slice(model, strategy, &folder.path().join(i.to_string())) {
            Ok(job) => jobs.push(job),
            Err(e) => {
                println!("FAILED {}: {e}", model.display());
                failures += 1;
            }
        }
    }
    let (lines, failed) = compare(python, &jobs, folder.path());
    for line in lines {
        println!("{line}");
    }
    failures += failed;
    assert_eq!(
        failures,
        0,
        "{failures} of {} models failed with strategy {}",
        models.len(),
        strategy.name()
    );
}

fn light_models(python: &Path) -> Vec<PathBuf> {
    let out = Command::new(python)
        .args([
            "-c",
            "import onnx, os; print(os.path.dirname(onnx.__file__))",
        ])
        .output()
        .unwrap();
    let folder = PathBuf::from(String::from_utf8(out.stdout).unwrap().trim());
    let mut models = Vec::new();
    models_below(&folder.join("backend/test/data/light"), &mut models);
    models.sort();
    assert!(
        models.len() >= 8,
        "expected the onnx package's light models, found {}",
        models.len()
    );
    models
}

#[test]
#[ignore = "needs a Python with ONNX Runtime: scripts/install-backends.sh reference"]
fn light_models_by_layer() {
    let python = python();
    check(&python, &light_models(&python), &Strategy::Layer);
}

#[test]
#[ignore = "needs a Python with ONNX Runtime: scripts/install-backends.sh reference"]
fn light_resnet_has_a_slice_for_each_of_its_54_layers() {
    let python = python();
    let models = light_models(&python);
    let resnet = models
        .iter()
        .find(|p| p.ends_with("light_resnet50.onnx"))
        .unwrap();
    let prepared = prepare(load(resnet).unwrap(), &DimOptions::default()).unwrap();
    assert_eq!(prepared.nodes.iter().filter(|n| n.weighted).count(), 54);
    let plan = prepared.plan(&Strategy::Layer).unwrap();
    assert_eq!(plan.slices.len(), 54);
    // 25.5 million parameters and 4.1 billion multiply-accumulates, as published.
    assert_eq!(prepared.parameters() / 100_000, 256);
    assert_eq!(prepared.macs() / 100_000_000, 40);
}

#[test]
#[ignore = "needs a Python with ONNX Runtime: scripts/install-backends.sh reference"]
fn light_models_by_capability() {
    let python = python();
    // As if one backend could prove convolutions and what surrounds them.
    let class = |_: usize, n: &dsperse_slicer::PlanNode| {
        CapabilityClass(u64::from(matches!(
            n.op_type.as_str(),
            "Conv" | "Gemm" | "Relu" | "Add" | "BatchNormalization"
        )))
    };
    let models: Vec<PathBuf> = light_models(&python)
        .into_iter()
        .filter(|p| !p.to_string_lossy().contains("vgg"))
        .collect();
    check(&python, &models, &Strategy::Capability(&class));
}

#[test]
#[ignore = "needs a Python with ONNX Runtime: scripts/install-backends.sh reference"]
fn hard_kinds() {
    let python = python();
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/kinds.py");
    let made = Command::new(&python)
        .arg(script)
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let mut models = Vec::new();
    models_below(folder.path(), &mut models);
    models.sort();
    assert!(models.len() > 40, "found {} models", models.len());
    // By turns, so that "unprovable" nodes stand between and beside provable ones.
    let class = |i: usize, _: &dsperse_slicer::PlanNode| CapabilityClass([1, 3, 2, 0][i % 4]);
    for strategy in [
        Strategy::Layer,
        Strategy::Op,
        Strategy::Whole,
        Strategy::Capability(&class),
    ] {
        check(&python, &models, &strategy);
    }
}

#[test]
#[ignore = "needs a Python with ONNX Runtime: scripts/install-backends.sh reference"]
fn samples_and_own_corpus() {
    let python = python();
    let mut models = Vec::new();
    models_below(&root().join("models"), &mut models);
    if let Some(folder) = std::env::var_os("DSPERSE_CORPUS") {
        models_below(Path::new(&folder), &mut models);
    }
    // What the program itself makes lies beside the samples.
    models.retain(|p| !p.components().any(|c| c.as_os_str() == "slices"));
    models.sort();
    for strategy in [Strategy::Layer, Strategy::Op, Strategy::Whole] {
        check(&python, &models, &strategy);
    }
}
