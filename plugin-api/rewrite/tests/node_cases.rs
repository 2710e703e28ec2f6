//! The onnx package's own node tests: every one whose operator has a rule is rewritten to
//! primitives and run in ONNX Runtime.

mod common;

use common::{Jobs, python, script};
use dsperse_onnx::ModelProto;
use dsperse_rewrite::RULES;
use serde_json::json;
use std::collections::BTreeMap;

/// Cases of other values than a rule promises: Mod of infinities, and no numbers under a mask.
const BEYOND: &[&str] = &["test_mod_float_edge_cases", "nan_robustness"];

#[test]
fn node_tests_give_the_expected_outputs() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    script(&python, &["cases".as_ref(), folder.path().as_ref()]);
    let mut jobs = Jobs::default();
    let mut declined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut files: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|f| f.unwrap().path())
        .filter(|f| f.extension().is_some_and(|e| e == "onnx"))
        .collect();
    files.sort();
    assert!(files.len() > 1000, "found {} cases", files.len());
    for file in files {
        let mut model = ModelProto::parse(std::fs::read(&file).unwrap()).unwrap();
        let ruled = model.main_graph().unwrap().node.iter().any(|n| {
            let domain = if n.is_standard() { "" } else { n.domain() };
            RULES
                .iter()
                .any(|r| r.operator == n.op_type() && r.domain == domain)
        });
        if !ruled {
            continue;
        }
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if BEYOND.iter().any(|b| name.contains(b)) {
            continue;
        }
        let outcome = jobs.rewritten(&mut model);
        for d in &outcome.declined {
            declined
                .entry(d.operator.clone())
                .or_default()
                .push(format!("{name}: {}", d.reason));
        }
        if outcome.applied.is_empty() {
            continue;
        }
        let new = file.with_extension("rewritten");
        std::fs::write(&new, model.to_bytes()).unwrap();
        let data = file.with_extension("npz");
        let half = name.contains("float16") || name.contains("fp16");
        jobs.jobs.push(json!({
            "name": name, "model": new, "data": data,
            "tolerance": if half { 5e-3 } else { 1e-4 },
        }));
    }
    let failed = jobs.check(&python, folder.path());
    for (operator, list) in &declined {
        println!("declined {operator}: {}", list.len());
        list.iter().for_each(|line| println!("    {line}"));
    }
    println!("{} cases, {} rules", jobs.jobs.len(), jobs.rules.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(jobs.jobs.len() > 400, "only {} cases", jobs.jobs.len());
}
