//! The onnx package's own node tests: every one whose operator has a rule is rewritten to
//! primitives and run in ONNX Runtime, with its operands as inputs and as constants. One test
//! for each operator; ignored, because they need a reference Python.
//!
//! A case whose node no rule can do is declined, which is no failure; but an operator of which
//! every case is declined fails, and the numbers are printed.

mod common;

use common::{Jobs, find_python, script};
use dsperse_onnx::{ModelProto, NodeProto};
use dsperse_rewrite::RULES;
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::json;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

/// Cases of other values than a rule promises: Mod of infinities, no numbers under a mask, and
/// no number that is compared by an operator that only its opposite stands for.
const BEYOND: &[&str] = &[
    "test_mod_float_edge_cases",
    "nan_robustness",
    "tree_ensemble_set_membership",
];

/// What became of the cases of an operator.
#[derive(Debug, Default)]
struct Tally {
    right: usize,
    wrong: Vec<String>,
    declined: Vec<String>,
}

fn label(n: &NodeProto) -> String {
    if n.is_standard() {
        n.op_type().to_owned()
    } else {
        format!("{}.{}", n.domain(), n.op_type())
    }
}

/// Operators that have a rule, with their domain before a point.
fn ruled() -> Vec<String> {
    let mut out: Vec<String> = RULES
        .iter()
        .map(|r| match r.domain {
            "" => r.operator.to_owned(),
            domain => format!("{domain}.{}", r.operator),
        })
        .collect();
    out.sort();
    out.dedup();
    out
}

/// Rewrites and runs all cases.
fn run() -> BTreeMap<String, Tally> {
    let python = find_python().expect("the trials are ignored without it");
    let folder = tempfile::tempdir().unwrap();
    script(&python, &["cases".as_ref(), folder.path().as_ref()]);
    let ruled = ruled();
    let mut jobs = Jobs::default();
    let mut owners: Vec<String> = Vec::new();
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let mut files: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|f| f.unwrap().path())
        .filter(|f| f.extension().is_some_and(|e| e == "onnx"))
        .collect();
    files.sort();
    assert!(files.len() > 1000, "found {} cases", files.len());
    for file in files {
        let mut model = ModelProto::parse(std::fs::read(&file).unwrap()).unwrap();
        let graph = model.main_graph().unwrap();
        let Some(owner) = graph.node.iter().map(label).find(|l| ruled.contains(l)) else {
            continue;
        };
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if BEYOND.iter().any(|b| name.contains(b)) {
            continue;
        }
        let outcome = jobs.rewritten(&mut model);
        let tally = tallies.entry(owner.clone()).or_default();
        if !outcome.declined.is_empty() {
            tally.declined.extend(
                outcome
                    .declined
                    .iter()
                    .map(|d| format!("{name}: {}", d.reason)),
            );
            continue;
        }
        if outcome.applied.is_empty() {
            continue;
        }
        let new = file.with_extension("rewritten");
        std::fs::write(&new, model.to_bytes()).unwrap();
        let data = file.with_extension("npz");
        let half = name.contains("float16") || name.contains("fp16");
        owners.push(owner);
        jobs.jobs.push(json!({
            "name": name, "model": new, "data": data,
            "tolerance": if half { 5e-3 } else { 1e-4 },
        }));
    }
    for (owner, result) in owners.iter().zip(jobs.results(&python, folder.path())) {
        let tally = tallies.entry(owner.clone()).or_default();
        match result {
            Ok(()) => tally.right += 1,
            Err(line) => tally.wrong.push(line),
        }
    }
    tallies
}

fn judge(tally: Option<&Tally>, operator: &str) -> Result<(), Failed> {
    let Some(t) = tally else {
        // The package has no case of it; the random tests have.
        return Ok(());
    };
    println!(
        "{operator}: {} right, {} declined, {} wrong",
        t.right,
        t.declined.len(),
        t.wrong.len()
    );
    if !t.wrong.is_empty() {
        return Err(t.wrong.join("\n").into());
    }
    if t.right == 0 && !t.declined.is_empty() {
        return Err(format!("every case is declined:\n{}", t.declined.join("\n")).into());
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let here = find_python().is_some();
    let all: Arc<OnceLock<BTreeMap<String, Tally>>> = Arc::default();
    let mut trials: Vec<Trial> = ruled()
        .into_iter()
        .map(|operator| {
            let all = Arc::clone(&all);
            Trial::test(operator.clone(), move || {
                if !here {
                    return Err(common::MISSING.into());
                }
                judge(all.get_or_init(run).get(&operator), &operator)
            })
            .with_ignored_flag(true)
        })
        .collect();
    let all = Arc::clone(&all);
    trials.push(
        Trial::test("the corpus as a whole", move || {
            if !here {
                return Err(common::MISSING.into());
            }
            let all = all.get_or_init(run);
            let right: usize = all.values().map(|t| t.right).sum();
            let declined: usize = all.values().map(|t| t.declined.len()).sum();
            println!(
                "{right} cases right, {declined} declined, {} operators",
                all.len()
            );
            for (operator, t) in all.iter().filter(|(_, t)| !t.declined.is_empty()) {
                println!("{operator}: {} right, declined:", t.right);
                t.declined.iter().for_each(|line| println!("    {line}"));
            }
            if right < 800 {
                return Err(format!("only {right} cases").into());
            }
            Ok(())
        })
        .with_ignored_flag(true),
    );
    libtest_mimic::run(&arguments, trials).exit_code()
}
