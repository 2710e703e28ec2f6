//! A backend that misbehaves costs its slice a fallback, and nothing else.

use dsperse_e2e::Place;
use std::fs;

fn with_fault(fault: &str, at: &str) -> Place {
    Place::of_faulty(&format!("fault = \"{fault}\"\nat = \"{at}\""))
}

/// Takes the model's input away from where `compile` looks for calibration data: what the
/// faulty backend computes is not the model, so that with such data it would be no candidate.
fn without_calibration(place: &Place) {
    fs::rename(place.path("model/input.json"), place.path("input.json")).expect("renamed");
}

#[test]
fn faults_in_compile_fall_through_with_a_reason() {
    for fault in ["panic", "abort", "segfault", "exit-0"] {
        let place = with_fault(fault, "compile");
        let d = place
            .run([
                "full-run",
                "-m",
                "model",
                "--strategy",
                "layer",
                "-b",
                "faulty",
                "--json",
            ])
            .exits(0)
            .json();
        let slice = &d["compile"]["slices"][0];
        assert_eq!(slice["backend"], "onnx", "{fault}");
        assert_eq!(slice["fallbacks"][0]["backend"], "faulty", "{fault}");
        assert!(
            slice["fallbacks"][0]["reason"].as_str() > Some(""),
            "{fault}"
        );
        assert_eq!(d["verification"]["counts"]["recomputed"], 3, "{fault}");
        let metadata = place.json("model/slices/slice_0/metadata.json");
        assert_eq!(metadata["backend"], "onnx");
        assert!(metadata["compilations"]["faulty"].is_null());
    }
}

#[test]
fn a_refusal_is_remembered_and_force_asks_again() {
    let place = with_fault("panic", "compile");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    without_calibration(&place);
    place
        .run(["compile", "-s", "model", "-b", "faulty"])
        .exits(0);
    fs::remove_file(place.path("dsperse.toml")).expect("a file");
    // Without the fault the job is another one (its options are part of it).
    let d = place
        .run(["compile", "-s", "model", "-b", "faulty", "--json"])
        .exits(0)
        .json();
    assert_eq!(d["slices"][0]["backend"], "faulty");
}

#[test]
fn strict_means_no_fallback() {
    let place = with_fault("abort", "compile");
    let ran = place
        .run([
            "full-run",
            "-m",
            "model",
            "--strategy",
            "layer",
            "-b",
            "faulty",
            "--strict",
        ])
        .exits(1);
    assert!(ran.stderr.contains("faulty"), "{}", ran.stderr);
}

#[test]
fn faults_in_run_fall_through_to_the_executor() {
    let place = with_fault("abort", "witness");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    without_calibration(&place);
    let d = place.call("compile -s model -b faulty --json").exits(0);
    assert_eq!(d.json()["slices"][0]["backend"], "faulty");
    let d = place.call("run -s model -i input.json --json").exits(0);
    let slice = &d.json()["slices"][0];
    assert_eq!(slice["backend"], "onnx");
    assert_eq!(slice["fallbacks"][0]["backend"], "faulty");
    let d = place.call("verify model/run model --json").exits(0).json();
    assert_eq!(d["counts"]["recomputed"], 3, "{d:#}");
}

#[test]
fn a_crash_in_verify_never_proves_anything() {
    let place = with_fault("abort", "verify");
    let ran = place.run([
        "full-run",
        "-m",
        "model",
        "--strategy",
        "layer",
        "-b",
        "faulty",
        "--json",
    ]);
    assert_eq!(ran.json()["verification"]["counts"]["proven"], 0);
}

#[test]
fn limits_hold() {
    let place = with_fault("loop", "compile");
    let d = place
        .run([
            "full-run",
            "-m",
            "model",
            "--strategy",
            "layer",
            "-b",
            "faulty",
            "--timeout",
            "1s",
            "--json",
        ])
        .exits(0)
        .json();
    let reason = d["compile"]["slices"][0]["fallbacks"][0]["reason"]
        .as_str()
        .expect("a reason");
    assert!(
        reason.contains("1 s") || reason.contains("time"),
        "{reason}"
    );
    assert_eq!(d["compile"]["slices"][0]["backend"], "onnx");
}

#[test]
fn wrong_options_are_told_before_any_work() {
    let place = Place::of_faulty("fualt = \"x\"");
    let ran = place.call("full-run -m model --strategy layer").exits(2);
    assert!(ran.stderr.contains("no option \"fualt\""), "{}", ran.stderr);
    fs::write(place.path("dsperse.toml"), "chain = \"onnx\"\n").expect("a file");
    let d = place
        .call("full-run -m model --strategy layer --json")
        .exits(0)
        .json();
    assert_eq!(d["compile"]["slices"][0]["backend"], "onnx");
    assert_eq!(
        d["compile"]["slices"][0]["fallbacks"]
            .as_array()
            .map(Vec::len),
        Some(0)
    );
}

#[test]
fn nothing_falls_through_to_what_comes_later_in_the_chain() {
    let place = Place::with_plugins(&["sumcheck"]);
    place.add_model("digits-mlp", "model");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    // "onnx" is appended to the chain, and is not loaded here.
    for _ in 0..2 {
        let d = place
            .call("compile -s model -b sumcheck --json")
            .exits(0)
            .json();
        for slice in d["slices"].as_array().expect("slices") {
            assert_eq!(slice["fallbacks"], serde_json::json!([]), "{slice}");
        }
    }
}

#[test]
fn a_backend_that_writes_over_its_input_is_named_at_once() {
    let place = with_fault("overwrite", "witness");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    without_calibration(&place);
    place.call("compile -s model -b faulty").exits(0);
    let ran = place.call("run -s model -i input.json").exits(1);
    let words = "while backend \"faulty\" worked, the file of \"";
    assert!(ran.stdout.contains(words), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn a_backend_that_hands_back_too_much_costs_a_fallback() {
    let place = with_fault("huge", "compile");
    let d = place
        .call("full-run -m model --strategy layer -b faulty --json")
        .exits(0)
        .json();
    let reason = d["compile"]["slices"][0]["fallbacks"][0]["reason"].as_str();
    assert!(
        reason.is_some_and(|r| r.contains("more than its limit of 16384 MiB")),
        "{reason:?}"
    );
}
