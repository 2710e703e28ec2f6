//! What users read when something is wrong: the exact words, and the exit codes.

use dsperse_e2e::Place;
use std::fs;

/// Exit code and stderr of a command, ready for a snapshot.
fn wrong(place: &Place, line: &str) -> String {
    let ran = place.run(line.split(' ').map(|w| w.replace('·', " ")));
    format!(
        "$ dsperse {line}\n[exit {}]\n{}",
        ran.code,
        place.stable(&ran.stderr)
    )
}

fn all(place: &Place, lines: &[&str]) -> String {
    lines
        .iter()
        .map(|l| wrong(place, l))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn missing_things() {
    let place = Place::of_model("digits-mlp");
    fs::create_dir(place.path("empty")).expect("a directory");
    insta::assert_snapshot!(all(
        &place,
        &[
            "slice --no-input",
            "slice -m nowhere",
            "slice -m empty",
            "compile -s model",
            "compile -s nowhere",
            "run -s model",
            "prove --run-dir model",
            "verify --no-input",
            "convert -i model/slices",
            "convert -i nowhere --to dirs",
            "full-run -m model --strategy layer -i nowhere.json",
            "full-run -m empty",
            "report nowhere",
            "plugin inspect nobody",
            "plugin test nowhere.so",
        ]
    ));
}

#[test]
fn without_any_backend_the_exit_code_is_4() {
    let place = Place::with_plugins(&[]);
    place.add_model("digits-mlp", "model");
    fs::create_dir(place.path("empty")).expect("a directory");
    let ran = place.call("--plugins empty full-run -m model").exits(4);
    assert!(
        ran.stderr.contains("no backend could be loaded"),
        "{}",
        ran.stderr
    );
    // Cutting where the weights are needs none.
    place.call("--plugins empty slice -m model").exits(0);
    place
        .call("--plugins empty slice -m model --strategy capability")
        .exits(4);
    let told = place.call("--plugins empty plugin doctor").exits(0).stdout;
    assert!(told.contains("no backend could be loaded"), "{told}");
}

#[test]
fn wrong_specs_and_layers() {
    let place = Place::of_model("digits-mlp");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    insta::assert_snapshot!(all(
        &place,
        &[
            "compile -s model -b sumchek",
            "compile -s model -b 0:onnx;0:sumcheck",
            "compile -s model -b 0-9:onnx",
            "compile -s model -b 0:onnx|",
            "compile -s model -l 7",
            "compile -s model -l x",
            "slice -m model --strategy points --at nonsense",
            "verify model nothing --tolerance -1",
            "compile -s model --timeout soon",
            "compile -s model --memory much",
            "compile -s model --parallel 0",
        ]
    ));
}

/// What is logged is chosen by target and level, on the command line or in RUST_LOG.
#[test]
fn log_filters() {
    let place = Place::of_model("digits-mlp");
    let slice = "slice -m model --strategy layer";
    let told = |line: &str, rust_log: &str| {
        let mut command = place.command();
        command
            .args(line.split_whitespace())
            .env("RUST_LOG", rust_log);
        dsperse_e2e::ran(&command.output().expect("a run"))
            .exits(0)
            .stderr
    };
    let engine = "DEBUG tract_hir";
    assert!(!told(slice, "").contains(engine));
    assert!(told(slice, "warn,tract_hir=debug").contains(engine));
    assert!(told(&format!("{slice} --log-level tract_hir=debug"), "").contains(engine));
    assert!(!told(&format!("{slice} --log-level dsperse_store=debug"), "debug").contains(engine));
    assert!(!told(&format!("{slice} -v"), "debug").contains(engine));
    let wrong = told(&format!("{slice} --log-level tract_hir=much"), "");
    assert!(wrong.contains("the log filter is not valid"), "{wrong}");
}

#[test]
fn wrong_models() {
    let place = Place::new();
    for (name, bytes) in [
        ("junk.onnx", b"this is not a model at all".as_slice()),
        ("empty.onnx", b"".as_slice()),
    ] {
        fs::write(place.path(name), bytes).expect("a file");
    }
    place.add_model("digits-mlp", "model");
    let whole = fs::read(place.path("model/model.onnx")).expect("a model");
    fs::write(place.path("cut.onnx"), &whole[..whole.len() / 2]).expect("a file");
    for name in ["junk.onnx", "empty.onnx", "cut.onnx"] {
        let ran = place.run(["slice", "-m", name]).exits(3);
        assert!(ran.stderr.contains(name), "{}", ran.stderr);
    }
}

#[test]
fn wrong_inputs() {
    let place = Place::of_model("digits-mlp");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    for (name, text) in [
        ("short.json", r#"{"input_data": [[1, 2, 3]]}"#),
        ("nan.json", r#"{"input_data": [[NaN]]}"#),
        ("words.json", r#"{"greeting": "hello"}"#),
    ] {
        fs::write(place.path(name), text).expect("a file");
    }
    // What calibrates is an input too, and told once instead of for every slice.
    let ran = place.call("compile -s model -i short.json").exits(3);
    assert_eq!(
        ran.stderr.matches("short.json").count(),
        1,
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stdout, "");
    insta::assert_snapshot!(all(
        &place,
        &[
            "run -s model -i short.json",
            "run -s model -i nan.json",
            "run -s model -i words.json",
            "run -s model -i model/model.onnx",
        ]
    ));
}

#[test]
fn wrong_bundles() {
    let place = Place::of_model("digits-mlp");
    place.call("slice -m model --strategy layer").exits(0);
    let whole = fs::read(place.path("model/slices.dsperse")).expect("a bundle");
    fs::write(place.path("cut.dsperse"), &whole[..whole.len() / 2]).expect("a file");
    fs::write(place.path("junk.dsperse"), b"junk").expect("a file");
    for name in ["cut.dsperse", "junk.dsperse"] {
        for verb in ["compile", "run"] {
            let ran = place
                .run([verb, "-s", name, "-i", "model/input.json"])
                .exits(3);
            assert!(ran.stderr.contains(name), "{}", ran.stderr);
        }
    }
    place
        .call("slice -m model --strategy layer --output-type dirs -o dirs")
        .exits(0);
    place.edit_json("dirs/metadata.json", |v| v["schema"] = "9.0.0".into());
    let ran = place.call("compile -s dirs").exits(3);
    assert!(ran.stderr.contains("update dsperse"), "{}", ran.stderr);
}

#[test]
fn errors_are_json_under_json() {
    let place = Place::new();
    let ran = place.call("slice -m nowhere --json").exits(3);
    let document = ran.json();
    assert_eq!(document["error"]["exit_code"], 3);
    assert!(document["error"]["hint"].is_string());
    // Also what the parser of the command line finds.
    for line in [
        "--json slice --nosuch",
        "--json compile --parallel 0",
        "--json slice -m nowhere --strategy points",
    ] {
        let document = place.call(line).exits(2).json();
        assert_eq!(document["error"]["exit_code"], 2);
        let message = document["error"]["message"].as_str().expect("a message");
        assert!(message.contains("--"), "{message}");
        assert!(!message.starts_with("error"), "{message}");
    }
}

#[test]
fn arguments_that_do_not_fit_the_files_are_usage_errors() {
    let place = Place::of_model("digits-mlp");
    place.call("full-run -m model --strategy layer").exits(0);
    let run = place.newest_run();
    place
        .call("convert -i model/slices/slice_0 --to dslice -o one.dslice")
        .exits(0);
    let ran = place.run(["verify", "model/slices", &run]).exits(3);
    assert!(ran.stderr.contains("name the run first"), "{}", ran.stderr);
    // What has the wanted shape already is left alone.
    let ran = place.call("convert -i model/slices --to dirs -o model/slices");
    assert!(ran.exits(0).stdout.contains("already"));
    place.run(["verify", &run]).exits(0);
    // Exit code 1 would say that the claim was judged.
    for line in [
        &format!("verify {run} one.dslice"),
        "convert -i one.dslice --to dsperse -o one.dsperse",
        "slice -m model --strategy layer -o model --output-type dirs",
        "slice -m model --at 1",
        "full-run -m model --strategy layer -o out.npz",
        "run -s model -o nowhere/out.json",
    ] {
        place.call(line).exits(2);
    }
}

#[test]
fn the_last_line_tells_what_a_policy_left_undone() {
    let place = Place::of_model("digits-mlp");
    let ran = place
        .call("full-run -m model --strategy layer --require-zk")
        .exits(1);
    let last = ran.stdout.lines().last().unwrap_or_default();
    assert!(
        last.contains("3 of 3 slices could not be compiled"),
        "{last}"
    );
}

#[test]
fn a_misspelt_chain_in_the_configuration_is_told() {
    let place = Place::of_model("digits-mlp");
    fs::write(place.path("dsperse.toml"), "chain = \"sumchek\"").expect("a file");
    let ran = place.call("full-run -m model --strategy layer").exits(0);
    assert!(ran.stderr.contains("\"sumchek\""), "{}", ran.stderr);
    // The default chain names what need not be installed.
    fs::remove_file(place.path("dsperse.toml")).expect("the file");
    let ran = place.call("full-run -m model --strategy layer").exits(0);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
}

#[test]
fn strictness_and_policies_fail_the_command() {
    let place = Place::of_model("digits-mlp");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    let ran = place.call("compile -s model --require-zk --json").exits(1);
    let document = ran.json();
    assert_eq!(document["complete"], false);
    let reasons = document["slices"][0]["fallbacks"].to_string();
    assert!(reasons.contains("--require-zk"), "{reasons}");
    let only_executor = Place::with_plugins(&["onnx"]);
    only_executor.add_model("digits-mlp", "model");
    only_executor
        .call("full-run -m model --strategy layer")
        .exits(0);
    only_executor
        .call("full-run -m model --strategy layer --strict --force")
        .exits(1);
    only_executor
        .call("full-run -m model --strategy layer --require-proof --force")
        .exits(1);
}

#[test]
fn every_help_has_an_example() {
    let place = Place::new();
    for verb in [
        "slice",
        "convert",
        "slice convert",
        "compile",
        "run",
        "prove",
        "verify",
        "full-run",
        "analyze",
        "report",
        "plugin list",
        "plugin inspect",
        "plugin doctor",
        "plugin test",
        "plugin new",
    ] {
        let ran = place.call(&format!("{verb} --help")).exits(0);
        assert!(ran.stdout.contains("Example"), "{verb}");
        assert!(ran.stdout.contains("dsperse "), "{verb}");
    }
    place.call("").exits(2);
    place.call("frobnicate").exits(2);
    assert!(
        place
            .call("--version")
            .exits(0)
            .stdout
            .starts_with("dsperse ")
    );
}
