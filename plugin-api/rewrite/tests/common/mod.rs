//! Rewriting to primitives only, and comparing in ONNX Runtime.
#![allow(dead_code)] // each test file uses a part

use dsperse_onnx::ModelProto;
use dsperse_rewrite::{Outcome, Site, rewrite};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a consumer has that knows as little as one may expect.
const PRIMITIVES: &[&str] = &[
    "Abs",
    "Add",
    "And",
    "Atan",
    "AveragePool",
    "Cast",
    "Clip",
    "Concat",
    "Conv",
    "Cos",
    "Div",
    "Equal",
    "Erf",
    "Exp",
    "Floor",
    "Gather",
    "Gemm",
    "Greater",
    "Identity",
    "Less",
    "Log",
    "MatMul",
    "Max",
    "MaxPool",
    "Min",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Pad",
    "ReduceMax",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Round",
    "Sigmoid",
    "Sign",
    "Sin",
    "Slice",
    "Softmax",
    "Sqrt",
    "Sub",
    "Tanh",
    "Transpose",
    "Where",
];

/// Whether a node is a primitive. Pools and convolutions are those of images.
pub fn primitive(site: &Site<'_>) -> bool {
    if !site.node().is_standard() || !PRIMITIVES.contains(&site.operator()) {
        return false;
    }
    match site.operator() {
        "Conv" | "AveragePool" | "MaxPool" => {
            site.input_type(0).is_some_and(|t| t.shape.len() == 4)
        }
        "Max" | "Min" => site.node().input.len() == 2,
        "Gemm" => false,
        "Pad" => {
            site.node().attribute.is_empty() && !site.has(3)
                || site.version() < 11 && site.node().attr("mode").is_none()
        }
        "Slice" => !site.has(4),
        _ => true,
    }
}

/// Whether a node is one of the few that a prover of images has: products and convolutions
/// with constants in their plainest form, element-wise arithmetic, and nothing that moves.
pub fn plainest(site: &Site<'_>) -> bool {
    let rank = |i: usize| site.input_type(i).map_or(0, |t| t.shape.len());
    let ones = |name: &str| {
        let list = site.node().ints(name).unwrap().unwrap_or_default();
        list.iter().all(|d| *d == 1)
    };
    let even = site.node().ints("pads").unwrap().unwrap_or_default();
    let even = even.is_empty() || even.len() == 4 && even[..2] == even[2..];
    let auto = site.node().string_or("auto_pad", "NOTSET").unwrap() == "NOTSET";
    site.node().is_standard()
        && match site.operator() {
            "Add" | "Sub" | "Mul" | "Relu" | "Reshape" | "Identity" | "Clip" => true,
            "Max" | "Min" => site.node().input.len() == 2,
            "MatMul" => rank(0) == 2 && rank(1) == 2 && site.is_constant(1),
            "Conv" => {
                rank(0) == 4
                    && site.is_constant(1)
                    && site.node().int_or("group", 1).unwrap() == 1
                    && ones("dilations")
                    && even
                    && auto
            }
            "MaxPool" => {
                rank(0) == 4
                    && even
                    && auto
                    && ones("dilations")
                    && site.node().int_or("ceil_mode", 0).unwrap() == 0
            }
            _ => false,
        }
}

/// What a test says where the reference Python is missing.
pub const MISSING: &str = "no reference Python: run \"scripts/install-backends.sh reference\"";

/// The reference Python, where one is installed.
pub fn find_python() -> Option<PathBuf> {
    std::env::var_os("DSPERSE_PYTHON")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python")))
        .filter(|p| p.exists())
}

/// The same.
pub fn python() -> PathBuf {
    find_python().expect(MISSING)
}

/// Runs `run.py`; returns what it printed.
pub fn script(python: &Path, arguments: &[&std::ffi::OsStr]) -> String {
    run_script(python, "run.py", arguments)
}

/// Runs a script of `tests/reference`; returns what it printed.
pub fn run_script(python: &Path, name: &str, arguments: &[&std::ffi::OsStr]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    let out = Command::new(python)
        .arg(folder.join(name))
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Models that wait for their comparison.
#[derive(Default)]
pub struct Jobs {
    pub jobs: Vec<Value>,
    pub rules: BTreeSet<&'static str>,
}

impl Jobs {
    /// Rewrites a model to primitives; `None` when nothing had to be done.
    pub fn rewritten(&mut self, model: &mut ModelProto) -> Outcome {
        self.rewritten_to(model, &primitive)
    }

    /// Rewrites a model to nodes for which `native` says yes.
    pub fn rewritten_to(
        &mut self,
        model: &mut ModelProto,
        native: &dyn Fn(&Site<'_>) -> bool,
    ) -> Outcome {
        let outcome = rewrite(model, native).unwrap();
        for a in &outcome.applied {
            self.rules.extend(&a.rules);
        }
        outcome
    }

    /// Runs all comparisons. Returns a line for each that failed.
    pub fn check(&self, python: &Path, folder: &Path) -> Vec<String> {
        let results = self.results(python, folder);
        results.into_iter().filter_map(Result::err).collect()
    }

    /// The same, in the order of the jobs.
    pub fn results(&self, python: &Path, folder: &Path) -> Vec<Result<(), String>> {
        let list = folder.join("jobs.json");
        std::fs::write(&list, serde_json::to_vec(&self.jobs).unwrap()).unwrap();
        let text = script(python, &["check".as_ref(), list.as_ref()]);
        let results: Vec<Value> = text
            .lines()
            .filter_map(|l| serde_json::from_str(l).ok())
            .collect();
        assert_eq!(results.len(), self.jobs.len(), "the script stopped early");
        results
            .iter()
            .zip(&self.jobs)
            .map(|(r, job)| {
                let tolerance = job["tolerance"].as_f64().unwrap();
                match r["error"].as_f64() {
                    Some(e) if e <= tolerance => Ok(()),
                    Some(e) => Err(format!("{}: off by {e:.2e}", job["name"])),
                    None => Err(format!("{}: {}", job["name"], r["failed"])),
                }
            })
            .collect()
    }

    /// Compares a rewritten model with its original on random inputs.
    pub fn push(&mut self, folder: &Path, name: &str, model: &ModelProto, low: f64, high: f64) {
        let mut new = model.clone();
        let outcome = self.rewritten(&mut new);
        assert!(
            outcome.declined.is_empty() && !outcome.applied.is_empty(),
            "{name}: {outcome:?}"
        );
        let n = self.jobs.len();
        let (a, b) = (
            folder.join(format!("{n}.onnx")),
            folder.join(format!("{n}.new.onnx")),
        );
        std::fs::write(&a, model.to_bytes()).unwrap();
        std::fs::write(&b, new.to_bytes()).unwrap();
        self.jobs.push(json!({
            "name": name, "model": b, "original": a, "low": low, "high": high, "tolerance": 1e-4
        }));
    }
}
