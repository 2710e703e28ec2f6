//! What a verifier demands: which backends count, what their proofs must offer, and that a
//! proof about clamped inputs is not one about the inputs.

use dsperse_e2e::Place;
use std::fs;

fn proven() -> (Place, String) {
    let place = Place::of_model("digits-mlp");
    place
        .call("full-run -m model -b sumcheck|onnx --no-input")
        .exits(0);
    let run = place.newest_run();
    (place, run)
}

/// What `plugin list` says of a backend's library.
fn digest(place: &Place, name: &str) -> String {
    let list = place.call("plugin list --json").exits(0).json();
    let plugins = list["plugins"].as_array().expect("a list");
    let found = plugins.iter().find(|p| p["descriptor"]["name"] == name);
    found
        .and_then(|p| p["sha256"].as_str())
        .expect("a digest")
        .to_owned()
}

#[test]
fn only_allowed_backends_count() {
    let (place, run) = proven();
    let sumcheck = digest(&place, "sumcheck");
    let verify = |flags: &str| place.call(&format!("verify {run} {flags} --json"));
    verify("--require proven --allow-backend sumcheck").exits(0);
    let v = verify(&format!(
        "--require proven --allow-backend sumcheck@{sumcheck}"
    ))
    .exits(0);
    let policy = &v.json()["policy"];
    assert_eq!(policy["allow_backends"][0], format!("sumcheck@{sumcheck}"));
    let receipt = place.json(&format!("{run}/receipt.json"));
    assert_eq!(&receipt["policy"], policy);
    // Another backend, or another library of the same name: nothing counts, nor does a
    // recomputation by a backend that is not allowed.
    for other in ["ezkl".to_owned(), format!("sumcheck@{}", "0".repeat(64))] {
        let v = verify(&format!("--allow-backend {other}")).exits(1).json();
        for s in v["slices"].as_array().expect("slices") {
            assert_eq!(s["verdict"], "unchecked", "{other}: {s:#}");
            assert!(
                s["reason"].as_str().expect("a reason").contains("allow"),
                "{s:#}"
            );
        }
    }
    let wrong = verify("--allow-backend sumcheck@12").exits(2);
    assert!(
        wrong.stderr.contains("64 hexadecimal digits"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn proofs_must_offer_what_is_required() {
    let (place, run) = proven();
    let verify = |flags: &str| place.call(&format!("verify {run} {flags} --json"));
    verify("--require proven --require-post-quantum --require-transparent").exits(0);
    let v = verify("--require-zk --allow-backend sumcheck")
        .exits(1)
        .json();
    let reason = v["slices"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("zero knowledge is required"), "{reason}");
    verify("--require proven --require-security 100").exits(0);
    verify("--require proven --require-security 101").exits(1);
}

#[test]
fn a_policy_file_holds_the_demands() {
    let (place, run) = proven();
    fs::write(
        place.path("policy.toml"),
        "require = \"proven\"\nallow_backends = [\"sumcheck\"]\nrequire_post_quantum = true\n",
    )
    .expect("a file");
    let v = place
        .call(&format!("verify {run} --policy policy.toml --json"))
        .exits(0)
        .json();
    assert_eq!(v["require"], "proven");
    assert_eq!(v["policy"]["post_quantum"], true);
    // A flag adds; it can't take the file's demand back.
    let v = place
        .call(&format!(
            "verify {run} --policy policy.toml --require any --require-zk --json"
        ))
        .exits(1)
        .json();
    assert_eq!(v["require"], "proven");
    fs::write(place.path("policy.toml"), "require_zero_knowledge = true\n").expect("a file");
    let ran = place
        .call(&format!("verify {run} --policy policy.toml"))
        .exits(2);
    assert!(
        ran.stderr.contains("require_zero_knowledge"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_verdict_needs_isolated_plugins() {
    let (place, run) = proven();
    let ran = place
        .call(&format!("verify {run} --isolation none"))
        .exits(2);
    assert!(
        ran.stderr.contains("leave --isolation out"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_claim_that_the_circuit_saw_clamped_is_not_proven() {
    let place = Place::of_model("digits-mlp");
    place.call("slice -m model --output-type dirs").exits(0);
    place.call("compile -s model -b sumcheck|onnx").exits(0);
    place.edit_json("model/input.json", |v| {
        v["input_data"][0][5] = 1e6.into();
        v["input_data"][0][6] = (-1e30).into();
    });
    // Clamped so far, the output is useless as well; here only the clamping is looked at.
    place
        .call("run -s model -i model/input.json --max-error 1")
        .exits(0);
    let run = place.newest_run();
    place.call(&format!("prove {run}")).exits(0);
    let v = place
        .call(&format!("verify {run} --max-error 1 --json"))
        .exits(1)
        .json();
    let first = &v["slices"][0];
    assert_ne!(first["verdict"], "proven", "{first:#}");
    assert_ne!(
        first["verdict"], "failed",
        "nobody showed it wrong: {first:#}"
    );
    assert_eq!(first["saturated_inputs"], 2, "{first:#}");
    assert!(
        first["hint"]
            .as_str()
            .expect("a hint")
            .contains("--allow-saturation")
    );
    let v = place
        .call(&format!(
            "verify {run} --allow-saturation --max-error 1 --require proven --json"
        ))
        .exits(0)
        .json();
    assert_eq!(v["slices"][0]["verdict"], "proven");
    assert_eq!(v["slices"][0]["saturated_inputs"], 2);
    assert_eq!(v["policy"]["allow_saturation"], true);
}

#[test]
fn an_output_too_far_from_the_float_model_is_not_accepted() {
    let (place, run) = proven();
    let v = place.call(&format!("verify {run} --json")).exits(0).json();
    assert_eq!(v["fidelity_by"], "verifier");
    let error = v["fidelity"]["error"].as_f64().expect("an error");
    assert!(error > 0.0 && error < 0.01, "{error}");
    assert_eq!(v["fidelity"]["target"], 0.01);
    // The prover measured the same, on the same machine.
    let noted = place.json(&format!("{run}/run_results.json"))["fidelity"]["error"].clone();
    assert_eq!(noted, v["fidelity"]["error"]);
    let v = place
        .call(&format!("verify {run} --max-error {} --json", error / 2.0))
        .exits(1)
        .json();
    let failure = v["failures"][0].as_str().expect("a failure");
    assert!(
        failure.contains("too far from the float model's: "),
        "{failure}"
    );
    assert!(failure.contains("element "), "{failure}");
    // Proofs are still what they were.
    assert_eq!(v["slices"][0]["verdict"], "proven");

    // Without the ONNX files only the prover's note is there, and is called that.
    place
        .call("convert -i model/slices --to dsperse --for verify -o check.dsperse --no-cleanup")
        .exits(0);
    let verify = |flags: &str| place.call(&format!("verify {run} check.dsperse {flags} --json"));
    let v = verify("").exits(0).json();
    assert_eq!(v["fidelity_by"], "prover");
    let failure = verify(&format!("--max-error {}", error / 2.0))
        .exits(1)
        .json();
    let failure = failure["failures"][0]
        .as_str()
        .expect("a failure")
        .to_owned();
    assert!(failure.contains("as the prover notes it"), "{failure}");
}
