//! Each stage as a command of its own: aliases, flags, positional forms.

use dsperse_e2e::Place;
use serde_json::Value;

fn words<'v>(document: &'v Value, field: &str) -> Vec<&'v str> {
    document["slices"]
        .as_array()
        .expect("a list of slices")
        .iter()
        .filter_map(|s| s[field].as_str())
        .collect()
}

#[test]
fn stage_by_stage_under_short_names() {
    let place = Place::of_model("digits-mlp");
    place.call("s -m model --strategy layer").exits(0);
    assert!(place.path("model/slices.dsperse").is_file());
    let compiled = place.call("c -s model --json").exits(0).json();
    assert_eq!(words(&compiled, "backend"), ["sumcheck"; 3]);
    assert_eq!(words(&compiled, "outcome"), ["done"; 3]);
    let ran = place.call("r -p model --json").exits(0).json();
    assert_eq!(words(&ran, "backend"), ["sumcheck"; 3]);
    let run = place.newest_run();
    let proven = place
        .run(["p", &run, "model/slices.dsperse", "--json"])
        .exits(0)
        .json();
    assert_eq!(words(&proven, "outcome"), ["done"; 3]);
    let verified = place
        .run(["v", &run, "model/slices.dsperse", "--json"])
        .exits(0)
        .json();
    assert_eq!(words(&verified, "verdict"), ["proven"; 3]);
    assert!(place.path(&run).join("receipt.json").is_file());
}

#[test]
fn every_spelling_of_the_slices_flag() {
    let place = Place::of_model("digits-mlp");
    place.call("slice --mp model --output-type dirs").exits(0);
    for flag in [
        "-s",
        "--sd",
        "--slices",
        "--slices-path",
        "--slices-dir",
        "--slices-directory",
        "-p",
        "--path",
    ] {
        place
            .run(["compile", flag, "model/slices", "-b", "onnx", "-l", "0"])
            .exits(0);
    }
    for flag in ["-i", "--if", "--input", "--input-file"] {
        place
            .run([
                "run",
                "-s",
                "model",
                flag,
                "model/input.json",
                "--run-dir",
                "elsewhere",
            ])
            .exits(0);
    }
    assert!(place.path("elsewhere/metadata.json").is_file());
}

#[test]
fn layers_narrow_compile_and_prove() {
    let place = Place::of_model("lenet");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    let compiled = place
        .run(["compile", "-s", "model", "-l", "0, 3-4", "--json"])
        .exits(0)
        .json();
    let indices: Vec<u64> = compiled["slices"]
        .as_array()
        .expect("slices")
        .iter()
        .filter_map(|s| s["index"].as_u64())
        .collect();
    assert_eq!(indices, [0, 3, 4]);
    // What is not compiled is run by the executor.
    let ran = place.call("run -s model --json").exits(0).json();
    assert_eq!(
        words(&ran, "backend"),
        ["sumcheck", "onnx", "onnx", "sumcheck", "sumcheck"]
    );
    let run = place.newest_run();
    let proven = place
        .run(["prove", "--run-dir", &run, "-l", "3", "--json"])
        .exits(0)
        .json();
    assert_eq!(words(&proven, "outcome"), ["done"]);
    // Slices 0 and 4 have no proof, and a float computation can't confirm quantised
    // outputs bit for bit: they are unchecked, and the default demand is not met.
    let verified = place
        .run(["verify", "--rd", &run, "--json"])
        .exits(1)
        .json();
    assert_eq!(
        words(&verified, "verdict"),
        [
            "unchecked",
            "recomputed",
            "recomputed",
            "proven",
            "unchecked"
        ]
    );
    place
        .run(["verify", "--rd", &run, "--require", "any"])
        .exits(0);
    // With the verifier's own tolerance they can be computed again.
    let verified = place
        .run(["verify", "--rd", &run, "--tolerance", "0.05", "--json"])
        .exits(0)
        .json();
    assert_eq!(verified["slices"][0]["verdict"], "recomputed");
    assert_eq!(verified["slices"][0]["tolerance"], 0.05);
}

#[test]
fn a_directory_of_runs_means_the_newest() {
    let place = Place::of_model("digits-mlp");
    place.call("full-run -m model --strategy layer").exits(0);
    let old = place.newest_run();
    place.call("run -s model -b onnx").exits(0);
    let new = place.newest_run();
    assert_ne!(old, new);
    let verified = place
        .call("verify --run-dir model/run --no-input --json")
        .exits(0)
        .json();
    assert_eq!(words(&verified, "verdict"), ["recomputed"; 3]);
    let verified = place.run(["verify", &old, "--json"]).exits(0).json();
    assert_eq!(words(&verified, "verdict"), ["proven"; 3]);
}

#[test]
fn proofs_and_results_are_copied_where_asked() {
    let place = Place::of_model("digits-mlp");
    place.call("full-run -m model --strategy layer").exits(0);
    let run = place.newest_run();
    let again = place
        .run([
            "prove",
            "--run-dir",
            &run,
            "--proof-output",
            "proofs",
            "-o",
            "proved.json",
            "--json",
        ])
        .exits(0)
        .json();
    assert_eq!(words(&again, "outcome"), ["up_to_date"; 3]);
    assert_eq!(place.json("proved.json"), again);
    assert_eq!(again["command"], "prove");
    assert!(
        place
            .files("proofs")
            .iter()
            .all(|f| f.starts_with("slice_") && f.contains("/sumcheck/proof/")),
    );
    let forced = place
        .run(["prove", "--run-dir", &run, "--force", "--json"])
        .exits(0)
        .json();
    assert_eq!(words(&forced, "outcome"), ["done"; 3]);
    place
        .run([
            "verify",
            "--run-dir",
            &run,
            "-o",
            "verdict.json",
            "--receipt",
            "r.json",
        ])
        .exits(0);
    assert_eq!(place.json("verdict.json")["accepted"], true);
    assert_eq!(place.json("r.json")["accepted"], true);
}

#[test]
fn the_verifier_brings_its_own_input_and_output() {
    let place = Place::of_model("digits-mlp");
    place
        .call("full-run -m model --strategy layer -o out.json")
        .exits(0);
    let run = place.newest_run();
    place
        .run([
            "verify",
            &run,
            "--input",
            "model/input.json",
            "--output",
            "out.json",
        ])
        .exits(0);
    place.edit_json("model/input.json", |v| v["input_data"][0][0] = 0.25.into());
    let v = place
        .run(["verify", &run, "--input", "model/input.json", "--json"])
        .exits(1)
        .json();
    assert_eq!(v["slices"][0]["verdict"], "failed");
    assert_eq!(v["slices"][1]["verdict"], "proven");
    place.edit_json("out.json", |v| {
        let n = v["outputs"]["logits"]["data"][0]
            .as_i64()
            .expect("an integer");
        v["outputs"]["logits"]["data"][0] = (n + 1).into();
    });
    // "output_data" still says the old value: a claim that says two things is no claim.
    place.run(["verify", &run, "--output", "out.json"]).exits(3);
    place.edit_json("out.json", |v| {
        v.as_object_mut().expect("an object").remove("output_data");
    });
    let v = place
        .run(["verify", &run, "--output", "out.json", "--json"])
        .exits(1)
        .json();
    assert_eq!(v["slices"][2]["verdict"], "failed");
}

#[test]
fn the_model_can_be_pinned() {
    let place = Place::of_model("digits-mlp");
    let document = place
        .call("full-run -m model --strategy layer --json")
        .exits(0)
        .json();
    let identity = document["verification"]["model_identity"]
        .as_str()
        .expect("an identity");
    let run = place.newest_run();
    place
        .run(["verify", &run, "--expect-model", identity])
        .exits(0);
    let file = document["verification"]["model_sha256"]
        .as_str()
        .expect("a digest");
    let wrong = place.run(["verify", &run, "--expect-model", file]).exits(1);
    assert!(
        wrong.stderr.contains("pin the model identity"),
        "{}",
        wrong.stderr
    );
    place
        .run(["verify", &run, "--expect-model", "abc"])
        .exits(2);
}

#[test]
fn strategies_and_analysis() {
    let place = Place::of_model("lenet");
    let count = |extra: &str| {
        let d = place
            .call(&format!(
                "slice -m model -o tmp --output-type dirs --json {extra}"
            ))
            .exits(0)
            .json();
        d["model"]["slices"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(count("--strategy whole"), 1);
    assert_eq!(count("--strategy op"), 12);
    assert_eq!(count("--strategy layer"), 5);
    assert_eq!(count("--strategy points --at 3,6"), 3);
    // All of it can be proven by one backend, so there is nothing to cut.
    assert_eq!(count("--strategy capability"), 1);
    assert_eq!(count(""), 1);
    // Slices are named by number, or nobody in the chain makes proofs.
    assert_eq!(count("-b 0:sumcheck"), 5);
    assert_eq!(count("-b onnx"), 1);
    place.call("slice -m model --strategy layer -S").exits(0);
    let analysis = place.json("model/analysis/model_metadata.json");
    assert_eq!(analysis["nodes"].as_array().map(Vec::len), Some(12));
    place
        .call("slice -m model --strategy layer --save-file a.json")
        .exits(0);
    assert_eq!(place.json("a.json"), analysis);
}

#[test]
fn analyze_and_report() {
    let place = Place::of_model("transformer-block");
    let d = place
        .call("a -m model --strategy layer --json")
        .exits(0)
        .json();
    let slices = d["analysis"]["slices"].as_array().expect("slices");
    assert_eq!(slices.len(), 8);
    for s in slices {
        assert_eq!(s["backend"], "sumcheck");
        assert_eq!(s["answers"].as_array().map(Vec::len), Some(2));
    }
    let text = place
        .call("analyze -m model -o analysis.json")
        .exits(0)
        .stdout;
    assert!(
        text.contains("sumcheck could prove 100.0 % of parameters"),
        "{text}"
    );
    assert!(place.path("analysis.json").is_file());
    place.call("full-run -m model --strategy layer").exits(0);
    place.call("report model/run").exits(0);
    let page = std::fs::read_to_string(place.path(&place.newest_run()).join("report.html"))
        .expect("a page");
    assert!(page.contains("Accepted: a proof of all 8 slices was checked and holds."));
    for outside in ["http://", "https://", " src="] {
        assert!(!page.contains(outside), "the page holds \"{outside}\"");
    }
    place.call("report model/slices -o model.html").exits(0);
    assert!(place.path("model.html").is_file());
}

#[test]
fn recompiling_confirms_or_refutes_the_keys() {
    let place = Place::of_model("digits-mlp");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    std::fs::rename(place.path("model/input.json"), place.path("in.json")).expect("a move");
    place.call("compile -s model").exits(0);
    place.call("run -s model -i in.json").exits(0);
    let run = place.newest_run();
    place.run(["prove", &run]).exits(0);
    let v = place
        .run(["verify", &run, "--recompile", "--json"])
        .exits(0)
        .json();
    for s in v["slices"].as_array().expect("slices") {
        assert_eq!(s["keys"], "recompiled");
    }
}

#[test]
fn the_run_may_be_named_by_flag_and_the_slices_by_position() {
    let place = Place::with_plugins(&["onnx"]);
    place.add_model("digits-mlp", "model");
    place
        .call("slice -m model --strategy layer --output-type dirs -o apart")
        .exits(0);
    place
        .call("run -s apart -i model/input.json --run-dir runs")
        .exits(0);
    for line in [
        "verify runs apart",
        "verify --run-dir runs apart",
        "verify --rd runs apart --no-input",
    ] {
        let said = place.call(line).exits(0).stdout;
        assert!(said.contains("3 recomputed"), "{line}: {said}");
    }
    let many = place.call("verify --run-dir runs runs apart").exits(2);
    assert!(
        many.stderr.contains("\"apart\" is one path too many"),
        "{}",
        many.stderr
    );
}

#[test]
fn compile_tells_the_keys_that_verify_finds() {
    let place = Place::of_model("digits-mlp");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    // The circuit of one slice alone is not what the whole model is proven with.
    let first = place.call("compile -s model -l 0 --json").exits(0).json();
    let all = place.call("compile -s model --json").exits(0).json();
    assert!(first.get("keys_sha256").is_none(), "{first}");
    let keys = all["keys_sha256"].as_str().expect("a digest").to_owned();
    let said = place.call("compile -s model").exits(0).stdout;
    assert!(said.contains(&format!("verifying keys {keys}")), "{said}");
    let ran = place
        .call("full-run -m model --strategy layer --json")
        .exits(0)
        .json();
    assert_eq!(ran["verification"]["keys_sha256"], keys.as_str());
    // Execution alone has no keys.
    let floats = place
        .call("compile -s model -b onnx --force --json")
        .exits(0)
        .json();
    assert!(floats.get("keys_sha256").is_none(), "{floats}");
}

#[test]
fn slices_that_are_not_what_the_model_directory_means_are_told() {
    let place = Place::of_model("digits-mlp");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    let ran = place.call("slice -m model --strategy layer").exits(0);
    assert!(ran.stdout.contains("is there too"), "{}", ran.stdout);
    let ran = place.call("compile -s model -b onnx").exits(0);
    assert!(ran.stderr.contains("not looked at"), "{}", ran.stderr);
    // What is named itself leaves no doubt.
    place
        .call("slice -m model --strategy layer -o named")
        .exits(0);
    place
        .call("slice -m model --strategy layer -o named --output-type dirs")
        .exits(0);
    let ran = place.call("compile -s named -b onnx").exits(0);
    assert!(!ran.stderr.contains("not looked at"), "{}", ran.stderr);
}

#[test]
fn slices_of_a_changed_model_are_refused_until_it_is_sliced_again() {
    let place = Place::of_model("digits-mlp");
    place.add_model("lenet", "other");
    place.call("full-run -m model").exits(0);
    let (model, other) = (
        place.path("model/model.onnx"),
        place.path("other/model.onnx"),
    );
    std::fs::copy(other, model).expect("another model");
    for command in ["compile -p model", "run -p model"] {
        let ran = place.call(command).exits(3);
        let said = &ran.stderr;
        assert!(
            said.contains("is not the model that the slices at"),
            "{said}"
        );
        assert!(said.contains("dsperse slice -m model"), "{said}");
    }
    // Named themselves, they are what is meant.
    place.call("compile -p model/slices -b onnx").exits(0);
    // The old slices have another shape and go away.
    let ran = place.call("slice -m model").exits(0);
    assert!(
        ran.stdout.contains("an earlier model at") && !place.path("model/slices").exists(),
        "{}",
        ran.stdout
    );
    place.call("compile -p model -b onnx").exits(0);
}

#[test]
fn slices_of_two_models_in_one_directory_are_refused() {
    let place = Place::of_model("digits-mlp");
    place.add_model("lenet", "other");
    place.call("slice -m model").exits(0);
    place
        .call("slice -m other --output-type dirs -o model/slices")
        .exits(0);
    let ran = place.call("compile -p model").exits(3);
    let said = &ran.stderr;
    assert!(said.contains("holds the slices of two models"), "{said}");
    place
        .call("compile -p model/slices.dsperse -b onnx")
        .exits(0);
}

#[test]
fn a_path_that_does_not_exist_is_said_to_be_missing() {
    let place = Place::of_model("digits-mlp");
    for command in [
        "compile -s nowhere",
        "run -s nowhere",
        "prove nowhere model",
        "verify nowhere model",
        "convert -i nowhere --to dirs",
    ] {
        let ran = place.call(command).exits(3);
        let said = &ran.stderr;
        assert!(
            said.contains("there is nothing at \"nowhere\"") && !said.contains("first"),
            "{command}: {said}"
        );
    }
}

#[test]
fn running_what_was_never_compiled_is_told() {
    let place = Place::of_model("digits-mlp");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    place.call("compile -s model -l 1").exits(0);
    let ran = place.call("run -s model").exits(0);
    assert!(ran.stderr.contains("slice 0, 2"), "{}", ran.stderr);
    let ran = place.call("run -s model -b onnx").exits(0);
    assert!(!ran.stderr.contains("not compiled"), "{}", ran.stderr);
}

#[test]
fn fidelity_is_measured_demanded_and_told() {
    let place = Place::of_model("lenet");
    place.call("slice -m model --output-type dirs").exits(0);
    let d = place.call("compile -s model --json").exits(0).json();
    let error = d["fidelity"]["error"].as_f64().expect("measured");
    assert!(error > 0.0 && error < 0.01, "{d:#}");
    let metadata = place.json("model/slices/slice_0/metadata.json");
    let made = &metadata["compilations"]["sumcheck"];
    assert_eq!(made["fidelity"]["max_error"], 0.01);
    assert_eq!(made["calibrated"][0]["greatest"], 1.0);
    place.call("run -s model").exits(0);
    let ran = place.call("run -s model --max-error 0.0001").exits(1);
    let sentence = "failed: the run misses the fidelity target: the largest relative error is";
    assert!(ran.stdout.contains(sentence), "{}", ran.stdout);
    // A full run proves nothing of such values.
    let ran = place
        .call("full-run -m model --strategy whole --max-error 0.0000001 -b sumcheck")
        .exits(0);
    assert!(ran.stdout.contains("NOTHING WAS PROVEN"), "{}", ran.stdout);
    let reason = "the quantised slice misses the fidelity target";
    assert!(ran.stdout.contains(reason), "{}", ran.stdout);
}
