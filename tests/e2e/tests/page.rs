//! `report` on real runs: what the page says, the trace, the tables, two runs. How pages look
//! is checked in a browser, see `host/report/tests/browser.rs`; here that is done with the
//! pages of real runs.

#![allow(missing_docs)]

use dsperse_e2e::Place;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The visible text of a page, roughly: without tags, narrow spaces made plain.
fn words(html: &str) -> String {
    let body = html.split_once("<body>").map_or("", |(_, body)| body);
    let body = body.split("<script").next().unwrap_or_default();
    let mut out = String::new();
    for (k, part) in body.split(['<', '>']).enumerate() {
        if k % 2 == 0 {
            out.push_str(part);
            out.push(' ');
        }
    }
    let out = out.replace('\u{202f}', " ").replace("&quot;", "\"");
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn page(place: &Place, file: &str) -> String {
    words(&fs::read_to_string(place.path(file)).expect("a page"))
}

#[test]
fn the_page_of_a_run_answers_the_six_questions() {
    let place = Place::of_model("lenet");
    place
        .call("full-run -m model --strategy layer -b 0-3:sumcheck;4:onnx")
        .exits(0);
    place.call("report model/run -o page.html").exits(0);
    let page = page(&place, "page.html");
    let run = place.newest_run();
    let receipt = place.json(&format!("{run}/receipt.json"));
    let digest = |key: &str| receipt[key].as_str().expect("a digest").to_owned();
    for wanted in [
        // What is claimed?
        digest("model_identity"),
        digest("input_sha256"),
        digest("output_sha256"),
        // What was checked?
        "Accepted: 4 of 5 slices are proven, 1 recomputed by the verifier.".to_owned(),
        "Proofs of 4 of 5 slices against verifying keys".to_owned(),
        // By whom?
        format!("dsperse {} on 20", env!("CARGO_PKG_VERSION")),
        receipt["slices"][0]["plugin_sha256"]
            .as_str()
            .expect("a digest")
            .to_owned(),
        // What was not?
        "1 slice is not proven,".to_owned(),
        "Proofs of sumcheck are not zero-knowledge, do not hide the weights.".to_owned(),
        // How faithful is it?
        "Measured by the verifier, who ran the float model.".to_owned(),
        "within the allowed 1.00 %".to_owned(),
        // What did it cost?
        "Proving: ".to_owned(),
        "Proofs: ".to_owned(),
    ] {
        assert!(page.contains(&wanted), "\"{wanted}\" is missing in\n{page}");
    }
    assert!(page.contains("Who ran what when"), "{page}");
    assert!(page.contains("Error along the depth"), "{page}");

    // Another proof than the one that was verified, as after an upgrade and a new "prove".
    let record = format!("{run}/run_results.json");
    let mut results = place.json(&record);
    let slice = &mut results["slices"][1];
    slice["proof_execution"]["files"][0]["sha256"] = "0".repeat(64).into();
    for slice in results["slices"].as_array_mut().expect("slices") {
        slice["verification_execution"] = serde_json::Value::Null;
    }
    fs::write(place.path(&record), results.to_string()).expect("a file");
    place.call("report model/run -o page.html").exits(0);
    let page = self::page(&place, "page.html");
    assert!(page.contains("Not verified yet"), "{page}");
    assert!(
        page.contains("the proof of slice 1 was made anew after it"),
        "{page}"
    );
}

#[test]
fn trace_and_tables_of_a_run() {
    let place = Place::of_model("digits-mlp");
    place.call("full-run -m model --strategy layer").exits(0);
    let said = place
        .call("report model/run --trace t.json --csv tables --json")
        .exits(0)
        .json();
    let tables = said["tables"].as_array().expect("tables");
    assert!(tables.iter().any(|t| t == "tables/timeline.csv"), "{said}");
    let timeline = fs::read_to_string(place.path("tables/timeline.csv")).expect("a table");
    assert_eq!(timeline.lines().count(), 1 + 4 * 3, "{timeline}");
    let trace = place.json("t.json");
    assert_eq!(trace["otherData"]["starts_recorded"], true);
    let events = trace["traceEvents"].as_array().expect("events");
    let jobs = events.iter().filter(|e| e["ph"] == "X");
    assert_eq!(jobs.count(), 12);
}

#[test]
fn two_runs_on_one_page() {
    let place = Place::of_model("digits-mlp");
    place.call("full-run -m model --strategy layer").exits(0);
    let a = place.newest_run();
    place.call("run -s model -b onnx").exits(0);
    let b = place.newest_run();
    assert_ne!(a, b);
    place.run(["report", &a, &b, "-o", "both.html"]).exits(0);
    let page = page(&place, "both.html");
    assert!(page.contains("Slices proven 3 0"), "{page}");
    assert!(page.contains("Nothing is proven"), "{page}");
    let ran = place.run(["report", &a, &b, "--trace", "t.json"]).exits(2);
    assert!(
        ran.stderr.contains("--trace is for one run"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_verification_of_another_run_is_refused() {
    let place = Place::of_model("digits-mlp");
    place.call("full-run -m model --strategy layer").exits(0);
    let run = place.newest_run();
    let report = format!("{run}/verification.json");
    let mut v = place.json(&report);
    v["input_sha256"] = "0".repeat(64).into();
    fs::write(place.path("other.json"), v.to_string()).expect("a file");
    let ran = place
        .run(["report", &run, "--verification", "other.json"])
        .exits(3);
    assert!(ran.stderr.contains("another input"), "{}", ran.stderr);
    place
        .run(["report", &run, "--verification", &report])
        .exits(0);
}

#[test]
#[ignore = "needs Chromium and Node.js: run scripts/test-page.sh, which installs them"]
fn pages_of_real_runs_are_right_in_a_browser() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let pages = root.join("target/real-pages");
    fs::create_dir_all(&pages).expect("a directory");
    for model in ["lenet", "transformer-block"] {
        let place = Place::of_model(model);
        place.call("full-run -m model --strategy layer").exits(0);
        place.call("report model/run -o page.html").exits(0);
        let to = pages.join(format!("{model}.html"));
        fs::copy(place.path("page.html"), to).expect("a page");
    }
    let check = Command::new("node")
        .arg(root.join("tests/page/check.mjs"))
        .arg(&pages)
        .status()
        .expect("Node.js: run scripts/install-browser.sh");
    assert!(check.success(), "see the messages above");
}
