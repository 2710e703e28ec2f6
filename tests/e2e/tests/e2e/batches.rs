//! Several inputs at once: each is a run of its own, and the batch is what they have in common.

use dsperse_e2e::{Place, Random};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// A place with so many inputs for the digits model, a line each.
fn place(inputs: usize) -> Place {
    let place = Place::of_model("digits-mlp");
    let mut random = Random(7);
    let line = |random: &mut Random| {
        let pixels: Vec<usize> = (0..64).map(|_| random.below(17)).collect();
        serde_json::json!({ "input_data": [pixels] }).to_string()
    };
    let lines: Vec<String> = (0..inputs).map(|_| line(&mut random)).collect();
    fs::write(place.path("inputs.jsonl"), lines.join("\n")).unwrap();
    place
}

/// The directory of the only batch.
fn batch(place: &Place) -> PathBuf {
    let entries = fs::read_dir(place.path("model/run")).unwrap();
    let mut found = entries.map(|e| e.unwrap().path()).filter(|p| {
        p.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("batch_")
    });
    let first = found.next().expect("a batch");
    assert_eq!(found.next(), None);
    first
}

fn runs(document: &Value) -> &Vec<Value> {
    document["runs"].as_array().expect("a list of runs")
}

#[test]
fn every_input_is_run_proven_and_judged() {
    let place = place(3);
    place.call("slice -m model").exits(0);
    place.call("compile -s model -i inputs.jsonl").exits(0);
    let ran = place
        .call("run -s model -i inputs.jsonl -o outputs.jsonl --json")
        .exits(0)
        .json();
    assert_eq!(ran["complete"], true);
    let sources: Vec<&str> = runs(&ran)
        .iter()
        .filter_map(|r| r["source"].as_str())
        .collect();
    let expected = [
        "inputs.jsonl, line 1",
        "inputs.jsonl, line 2",
        "inputs.jsonl, line 3",
    ];
    assert_eq!(sources, expected);
    // Three inputs, three outputs, each in its line.
    let outputs = fs::read_to_string(place.path("outputs.jsonl")).unwrap();
    let lines: Vec<Value> = outputs
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_ne!(lines[0]["output_data"], lines[1]["output_data"]);

    // A directory of runs that holds only a batch means the batch.
    let proven = place.call("prove model/run --json").exits(0).json();
    assert_eq!(runs(&proven).len(), 3);
    let words = place.call("verify model/run --require proven").exits(0);
    assert!(
        words.stdout.contains("verdict: accepted, 3 of 3 claims"),
        "{words:#?}"
    );
    assert!(words.stdout.contains("3 inputs in "), "{words:#?}");
    let verified = place.call("verify model/run --json").exits(0).json();
    for run in runs(&verified) {
        assert_eq!(run["verification"]["accepted"], true);
        let receipt = format!("{}/receipt.json", run["path"].as_str().unwrap());
        assert!(place.path(&receipt).is_file());
    }
    // A run of the batch is a run like any other.
    let one = batch(&place).join("run_0002");
    let one = one.to_str().unwrap();
    place
        .call(&format!("verify {one} --require proven"))
        .exits(0);
    place.call(&format!("export {one} -o two.dsproof")).exits(0);
}

#[test]
fn one_false_claim_is_named_and_the_others_stand() {
    let place = place(3);
    let done = place
        .call("full-run -m model -i inputs.jsonl --require proven --json")
        .exits(0)
        .json();
    assert_eq!(done["verification"]["accepted"], true);
    let dir = batch(&place);
    let index = dir.join("run_0002/run_results.json");
    let mut results: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    results["output_sha256"] = "0".repeat(64).into();
    fs::write(&index, results.to_string()).unwrap();
    let verified = place
        .call(&format!("verify {} --json", dir.display()))
        .exits(1)
        .json();
    let accepted: Vec<&Value> = runs(&verified)
        .iter()
        .map(|r| &r["verification"]["accepted"])
        .collect();
    assert_eq!(accepted, [true, false, true]);
    let words = place.call(&format!("verify {}", dir.display())).exits(1);
    assert!(
        words.stdout.starts_with("inputs.jsonl, line 2:\n"),
        "the claim that is false comes first: {words:#?}"
    );
    assert!(
        words
            .stdout
            .contains("verdict: NOT accepted, 2 of 3 claims"),
        "{words:#?}"
    );
}

#[test]
fn the_name_of_a_file_writes_no_line_of_its_own() {
    let place = place(2);
    place.call("slice -m model").exits(0);
    let text = fs::read_to_string(place.path("inputs.jsonl")).unwrap();
    let evil = "x\nverdict: accepted.jsonl";
    fs::write(place.path(evil), text).unwrap();
    let run = ["run", "-s", "model", "-b", "onnx", "-i", evil];
    let words = place.run(run).exits(0).stdout;
    let told = place.call("verify model/run --require proven").exits(1);
    for text in [words, told.stdout] {
        let forged = text.lines().any(|l| l.starts_with("verdict: accepted"));
        assert!(!forged, "{text}");
        assert!(text.contains("x\\n"), "{text}");
    }
}

#[test]
fn what_was_interrupted_goes_on() {
    let place = place(3);
    place.call("slice -m model").exits(0);
    let run = "run -s model -i inputs.jsonl --json";
    let first = place.call(run).exits(0).json();
    let dir = batch(&place);
    fs::remove_dir_all(dir.join("run_0003")).unwrap();
    let lost = place.call(&format!("prove {}", dir.display())).exits(3);
    assert!(
        lost.stderr.contains("no run for inputs.jsonl, line 3"),
        "{lost:#?}"
    );
    let second = place.call(run).exits(0).json();
    assert_eq!(first["path"], second["path"]);
    let digest = |d: &Value, at: usize| runs(d)[at]["results"]["output_sha256"].clone();
    for at in 0..3 {
        assert_eq!(digest(&first, at), digest(&second, at));
    }
    // A complete batch is not touched: the same inputs make another.
    let third = place.call(run).exits(0).json();
    assert_ne!(third["path"], second["path"]);
}

#[test]
fn a_batch_in_the_working_directory_is_taken_and_said() {
    let place = place(2);
    place.call("slice -m model").exits(0);
    place
        .call("run -s model -i inputs.jsonl --run-dir run -b onnx")
        .exits(0);
    let verified = place.call("verify").exits(0);
    let told = "no path given, taking the batch \"run/batch_";
    assert!(verified.stderr.contains(told), "{verified:#?}");
}

#[test]
fn what_is_about_one_claim_is_refused_for_many() {
    let place = place(2);
    place
        .call("full-run -m model -i inputs.jsonl -o out.json")
        .exits(2);
    place.call("full-run -m model -i inputs.jsonl").exits(0);
    let dir = batch(&place);
    for flag in [
        "--input inputs.jsonl",
        "--receipt r.json",
        "--output o.json",
    ] {
        let refused = place
            .call(&format!("verify {} {flag}", dir.display()))
            .exits(2);
        assert!(
            refused.stderr.contains("is about one claim"),
            "{refused:#?}"
        );
    }
    // A wrong line is named, and nothing is made of the others.
    fs::write(place.path("bad.jsonl"), "{\"input_data\": [[1]]}\n").unwrap();
    let bad = place
        .call("run -s model -i inputs.jsonl -i bad.jsonl")
        .exits(3);
    assert!(bad.stderr.contains("bad.jsonl, line 1"), "{bad:#?}");
}
