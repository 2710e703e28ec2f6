//! `plugin list/inspect/doctor/test/new`.

use dsperse_e2e::Place;
use dsperse_test_support::{Fault, build_cident, junk, wrong_architecture};
use std::fs;

#[test]
fn good_ones_are_listed_beside_broken_ones() {
    let place = Place::with_plugins(&[]);
    let dir = place.path("plugins");
    fs::create_dir(&dir).expect("a directory");
    let good = dsperse_test_support::install("onnx", &dir);
    build_cident(&dir, "cident", 0);
    Fault::AbortInConstructor.build(&dir, "dies");
    Fault::AbiMajor2.build(&dir, "future");
    junk(&dir, "noise");
    wrong_architecture(&dir, "foreign", &good);
    let ran = place.call("--plugins plugins plugin list --json").exits(0);
    let document = ran.json();
    let mut names: Vec<&str> = document["plugins"]
        .as_array()
        .expect("plugins")
        .iter()
        .filter_map(|p| p["descriptor"]["name"].as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["cident", "onnx"]);
    let skipped = document["skipped"].as_array().expect("skipped");
    assert_eq!(skipped.len(), 4, "{skipped:#?}");
    assert!(skipped.iter().all(|s| s["reason"].as_str() > Some("")));
    let text = place.call("--plugins plugins plugin list").exits(0).stdout;
    assert!(text.contains("skipped:"), "{text}");
}

#[test]
fn inspect_and_doctor() {
    let place = Place::new();
    let text = place.call("plugin inspect sumcheck").exits(0).stdout;
    for part in [
        "stages",
        "trusted setup: none",
        "binds inputs and outputs: strong",
        "operators",
    ] {
        assert!(text.contains(part), "\"{part}\" is missing from:\n{text}");
    }
    let d = place.call("plugin inspect onnx --json").exits(0).json();
    assert_eq!(d["descriptor"]["name"], "onnx");
    let text = place.call("plugin doctor").exits(0).stdout;
    assert!(
        text.contains("sumcheck") && text.contains("ready"),
        "{text}"
    );
    place.call("plugin doctor --reset").exits(0);
}

#[test]
fn the_conformance_checks_run_on_a_library() {
    let place = Place::with_plugins(&[]);
    let good = build_cident(&place.path("home"), "cident", 0);
    let ran = place
        .run(["plugin".as_ref(), "test".as_ref(), good.as_os_str()])
        .exits(0);
    assert!(ran.stdout.ends_with("passed\n"), "{}", ran.stdout);
    let bad = Fault::DescribeBadJson.build(&place.path("home"), "garbled");
    let ran = place
        .run(["plugin".as_ref(), "test".as_ref(), bad.as_os_str()])
        .exits(1);
    assert!(ran.stdout.contains("FAILED"), "{}", ran.stdout);
}

#[test]
fn the_conformance_checks_use_the_configured_options() {
    let place = Place::with_plugins(&["faulty"]);
    let library = dsperse_test_support::cdylib("faulty");
    let test = || {
        place.run([
            "plugin".as_ref(),
            "test".as_ref(),
            library.as_os_str(),
            "--json".as_ref(),
        ])
    };
    let failed = |document: &serde_json::Value| -> Vec<u64> {
        let results = document["report"]["results"].as_array().expect("results");
        let failed = results.iter().filter(|r| r["outcome"] == "failed");
        failed.filter_map(|r| r["number"].as_u64()).collect()
    };
    let fine = failed(&test().json());
    let write = |text: &str| std::fs::write(place.path("dsperse.toml"), text).expect("a file");
    write("[backend.faulty]\nfault = \"panic\"\nat = \"probe\"\n");
    let faulty = failed(&test().exits(1).json());
    // Check 6 is "probe".
    assert!(
        !fine.contains(&6) && faulty.contains(&6),
        "{fine:?} {faulty:?}"
    );
    write("[backend.faulty]\nfualt = \"panic\"\n");
    let wrong = test().exits(2);
    assert!(
        wrong.stderr.contains("has no option \"fualt\""),
        "{}",
        wrong.stderr
    );
}

#[test]
fn a_new_backend_is_written_once() {
    let place = Place::with_plugins(&[]);
    let api = dsperse_test_support::repository().join("plugin-api");
    let new = |name: &str| {
        place.run([
            "plugin".as_ref(),
            "new".as_ref(),
            name.as_ref(),
            "--api".as_ref(),
            api.as_os_str(),
        ])
    };
    new("mine").exits(0);
    assert_eq!(
        place.files("mine"),
        [
            ".github/workflows/ci.yml",
            ".gitignore",
            "Cargo.toml",
            "LICENSE",
            "README.md",
            "src/lib.rs",
            "tests/conforms.rs"
        ]
    );
    let again = new("mine").exits(2);
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    new("Bad!Name").exits(2);
}

#[test]
fn an_executor_does_not_judge_what_it_can_not_run() {
    let place = Place::with_plugins(&[]);
    place.add_model("digits-mlp", "model");
    let dir = place.path("plugins");
    fs::create_dir(&dir).expect("a directory");
    dsperse_test_support::install("sumcheck", &dir);
    build_cident(&dir, "cident", 0); // runs Identity only
    place
        .call("--plugins plugins slice -m model --output-type dirs")
        .exits(0);
    place
        .call("--plugins plugins compile -s model -b sumcheck")
        .exits(0);
    place.call("--plugins plugins run -s model").exits(0);
    let v = place
        .call("--plugins plugins verify --run-dir model/run --json")
        .exits(1)
        .json();
    for slice in v["slices"].as_array().expect("slices") {
        assert_eq!(slice["verdict"], "unchecked", "{slice}");
        let reason = slice["reason"].as_str().expect("a reason");
        assert!(reason.contains("\"cident\" can't"), "{reason}");
    }
}
