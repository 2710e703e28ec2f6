//! The ezkl and jstprove backends through the real binary, with the real tools: those in the
//! Python environment of `VIRTUAL_ENV`, or in the repository's `.venv`.
#![cfg(unix)]

use dsperse_e2e::{Place, Ran};
use dsperse_test_support::repository;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The environment in which a package lies.
fn environment(tool: &str, package: &str) -> PathBuf {
    let known = [
        std::env::var_os("VIRTUAL_ENV").map(PathBuf::from),
        Some(repository().join(".venv")),
    ];
    let holds = |dir: &PathBuf| {
        fs::read_dir(dir.join("lib"))
            .into_iter()
            .flatten()
            .flatten()
            .any(|e| e.path().join("site-packages").join(package).is_dir())
    };
    let found = known.into_iter().flatten().find(holds);
    found.unwrap_or_else(|| panic!("{tool} is not in VIRTUAL_ENV or .venv"))
}

fn jstprove() -> PathBuf {
    environment("JSTprove", "python/core/binaries")
}

fn ezkl() -> PathBuf {
    environment("EZKL", "ezkl")
}

/// A place with all four backends, a sample, and the options of the ezkl backend.
fn place() -> Place {
    let place = Place::with_plugins(&["onnx", "sumcheck", "ezkl", "jstprove"]);
    place.add_model("digits-mlp", "model");
    place
}

/// Options for 2^15 rows with the test SRS that all tests of this target directory share.
fn configure_ezkl(place: &Place) {
    let srs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ezkl-srs");
    let text =
        format!("[backend.ezkl]\nsrs_dir = {srs:?}\ninsecure_test_srs = true\nlogrows = 15\n");
    fs::write(place.path("dsperse.toml"), text).expect("a file");
}

/// Calls `dsperse` with this Python environment active.
fn run(place: &Place, environment: &Path, line: &str) -> Ran {
    let mut command = place.command();
    command.env("VIRTUAL_ENV", environment);
    let output = command.args(line.split_whitespace()).output();
    dsperse_e2e::ran(&output.expect("the binary can be started"))
}

fn backends(stage: &Value) -> Vec<&str> {
    let slices = stage["slices"].as_array().expect("a list of slices");
    slices
        .iter()
        .filter_map(|s| s["backend"].as_str())
        .collect()
}

fn all_proven(document: &Value) {
    let verification = &document["verification"];
    assert_eq!(verification["accepted"], true, "{verification:#}");
    assert_eq!(verification["counts"]["proven"], 3, "{verification:#}");
    assert_eq!(document["results"]["fidelity"]["same_argmax"], true);
}

#[test]
#[ignore = "needs JSTprove: scripts/install-backends.sh jstprove"]
fn jstprove_proves_a_whole_model() {
    let environment = jstprove();
    let place = place();
    let ran = run(
        &place,
        &environment,
        "full-run -m model --strategy layer -b jstprove --json",
    )
    .exits(0);
    let document = ran.json();
    all_proven(&document);
    assert_eq!(backends(&document["compile"]), ["jstprove"; 3]);
    // The reader is told that the binding is weak.
    let ran = run(&place, &environment, "verify --run-dir model/run").exits(0);
    assert!(ran.stdout.contains("binding weak"), "{}", ran.stdout);
}

/// `.venv` where the user works is found without any variable, and the default chain begins
/// with what is installed.
#[test]
#[ignore = "needs JSTprove: scripts/install-backends.sh jstprove"]
fn the_default_chain_finds_the_projects_own_environment() {
    let environment = jstprove();
    let place = place();
    std::os::unix::fs::symlink(environment, place.path(".venv")).expect("a link");
    let document = place
        .call("full-run -m model --strategy layer --json")
        .exits(0)
        .json();
    all_proven(&document);
    assert_eq!(backends(&document["compile"]), ["jstprove"; 3]);
}

#[test]
#[ignore = "needs JSTprove: scripts/install-backends.sh jstprove"]
fn jstprove_and_sumcheck_share_a_model() {
    let environment = jstprove();
    let place = place();
    let line = "full-run -m model --strategy layer -b 0:sumcheck;1:jstprove;2:sumcheck --json";
    let document = run(&place, &environment, line).exits(0).json();
    all_proven(&document);
    assert_eq!(
        backends(&document["compile"]),
        ["sumcheck", "jstprove", "sumcheck"]
    );
}

#[test]
#[ignore = "needs EZKL: scripts/install-backends.sh ezkl"]
fn ezkl_and_sumcheck_share_a_model() {
    let environment = ezkl();
    let place = place();
    configure_ezkl(&place);
    let line = "full-run -m model --strategy layer -b 0:ezkl;1-2:sumcheck --json";
    let document = run(&place, &environment, line).exits(0).json();
    all_proven(&document);
    assert_eq!(
        backends(&document["compile"]),
        ["ezkl", "sumcheck", "sumcheck"]
    );
    // The verdict names the test SRS, and a verifier who does not allow one rejects it.
    let verify = "verify --run-dir model/run";
    let ran = run(&place, &environment, verify).exits(0);
    let text = ran.stdout + &ran.stderr;
    assert!(text.contains("insecure test SRS"), "{text}");
    fs::remove_file(place.path("dsperse.toml")).expect("a file");
    let ran = run(&place, &environment, verify).exits(1);
    assert!(ran.stdout.contains("1 failed"), "{}", ran.stdout);

    // Neither time nor memory that do not suffice lose anything: the next backend does it.
    for limit in ["--timeout 1s", "--memory 100M"] {
        configure_ezkl(&place);
        let line = format!("compile -s model -b ezkl|sumcheck {limit} --force --json");
        let document = run(&place, &environment, &line).exits(0).json();
        let slice = &document["slices"][0];
        assert_eq!(slice["backend"], "sumcheck", "{limit}: {slice:#}");
        assert_eq!(slice["fallbacks"][0]["backend"], "ezkl", "{limit}");
    }
}

/// Without an SRS the slice goes to the next backend, and the user reads what to do.
#[test]
#[ignore = "needs EZKL: scripts/install-backends.sh ezkl"]
fn ezkl_without_an_srs_is_a_hint_and_a_fallback() {
    let environment = ezkl();
    let place = place();
    let line = "full-run -m model --strategy layer -b ezkl|sumcheck";
    let ran = run(&place, &environment, line).exits(0);
    let text = ran.stdout + &ran.stderr;
    assert!(text.contains("3 proven"), "{text}");
    assert!(text.contains("get_srs"), "{text}");
}

/// Without the tools it is the same, and `plugin doctor` says what to type.
#[test]
fn missing_tools_are_a_hint_and_a_fallback() {
    let place = place();
    let run = |line: &str| {
        let mut command = place.command();
        // Nothing but the system's own programs.
        command.env("PATH", place.path("home"));
        let output = command.args(line.split_whitespace()).output();
        dsperse_e2e::ran(&output.expect("the binary can be started"))
    };
    let ran = run("full-run -m model --strategy layer").exits(0);
    let text = ran.stdout + &ran.stderr;
    assert!(text.contains("3 proven"), "{text}");
    for hint in ["pip install ezkl==", "pip install --no-deps jstprove=="] {
        assert!(text.contains(hint), "{text}");
    }
    let doctor = run("plugin doctor");
    let text = doctor.stdout + &doctor.stderr;
    assert!(text.contains("scripts/install-backends.sh ezkl"), "{text}");
    assert!(
        text.contains("scripts/install-backends.sh jstprove"),
        "{text}"
    );
}
