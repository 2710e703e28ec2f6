//! Every command on every shape, and conversions between the shapes.

use dsperse_e2e::Place;

#[test]
fn every_stage_keeps_the_shape_that_it_was_given() {
    for (shape, path) in [
        ("dirs", "model/slices"),
        ("dslice", "model/slices"),
        ("dsperse", "model/slices.dsperse"),
    ] {
        let place = Place::of_model("digits-mlp");
        place
            .call(&format!(
                "slice -m model --strategy layer --output-type {shape}"
            ))
            .exits(0);
        let before = place.files("model");
        place.call(&format!("compile -s {path}")).exits(0);
        place.call(&format!("run -s {path}")).exits(0);
        place.call("prove --run-dir model/run").exits(0);
        let v = place
            .call("verify --run-dir model/run --json")
            .exits(0)
            .json();
        assert_eq!(v["counts"]["proven"], 3, "{shape}");
        let added: Vec<String> = place
            .files("model")
            .into_iter()
            .filter(|f| !before.contains(f) && !f.starts_with("run/"))
            .collect();
        let packed = shape != "dirs";
        assert!(
            added.iter().all(|f| !packed && f.starts_with("slices/")),
            "{shape}: {added:?}"
        );
    }
}

#[test]
fn conversions_keep_the_identity_and_the_proofs() {
    let place = Place::of_model("digits-mlp");
    place.call("full-run -m model --strategy layer").exits(0);
    let run = place.newest_run();
    let verify = |data: &str| {
        let v = place.run(["verify", &run, data, "--json"]).exits(0).json();
        assert_eq!(v["counts"]["proven"], 3, "{data}");
    };
    place
        .call("convert -i model/slices --to dsperse -o a.dsperse")
        .exits(0);
    verify("a.dsperse");
    place
        .call("slice convert --input a.dsperse --to dslice --output b --no-cleanup")
        .exits(0);
    verify("b");
    place
        .call("convert -i a.dsperse --to dirs -o c --expand-slices")
        .exits(0);
    assert!(
        !place.path("a.dsperse").exists(),
        "a .dsperse source goes away by default"
    );
    verify("c");
    place.call("convert -i b --to dirs -o d --cleanup").exits(0);
    assert!(!place.path("b").exists());
    verify("d");
}

#[test]
fn a_verifier_needs_neither_proving_keys_nor_weights() {
    let place = Place::of_model("digits-mlp");
    place.call("full-run -m model --strategy layer").exits(0);
    let run = place.newest_run();
    place
        .call("convert -i model/slices --for verify --to dirs -o light")
        .exits(0);
    let v = place
        .run(["verify", &run, "light", "--json"])
        .exits(0)
        .json();
    assert_eq!(v["counts"]["proven"], 3);
    let files = place.files("light");
    assert!(
        !files.iter().any(|f| f.ends_with(".onnx")),
        "weights are not needed: {files:?}"
    );
    let left = place
        .run(["run", "-s", "light", "-i", "model/input.json"])
        .exits(3);
    assert!(
        left.stderr.contains("made for verifying only"),
        "{}",
        left.stderr
    );
}

#[test]
fn one_slice_alone_can_be_compiled() {
    let place = Place::of_model("digits-mlp");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    let d = place
        .call("compile -s model/slices/slice_1 --json")
        .exits(0)
        .json();
    assert_eq!(d["slices"].as_array().map(Vec::len), Some(1));
    assert_eq!(d["slices"][0]["index"], 1);
    place
        .call("slice -m model --strategy layer --output-type dslice -o packed")
        .exits(0);
    std::fs::rename(
        place.path("packed/slice_2.dslice"),
        place.path("alone.dslice"),
    )
    .expect("a move");
    let d = place.call("compile -s alone.dslice --json").exits(0).json();
    assert_eq!(d["slices"][0]["backend"], "sumcheck");
}

#[test]
fn convert_names_the_file_that_it_removed() {
    let place = Place::of_model("digits-mlp");
    place
        .call("slice -m model --strategy layer -o net")
        .exits(0);
    let said = |line: &str| place.call(line).exits(0).stdout;
    assert_eq!(
        said("convert -i net --to dslice"),
        "dslice at net; net.dsperse was removed\n"
    );
    assert!(place.path("net/metadata.json").is_file());
    // In place, nothing is gone.
    assert_eq!(
        said("convert -i net --to dirs -o net --cleanup"),
        "dirs at net\n"
    );
    assert_eq!(said("convert -i net --to dirs"), "dirs at net already\n");
    assert_eq!(
        said("convert -i net --to dsperse --cleanup"),
        "dsperse at net.dsperse; net was removed\n"
    );
    let told = place.call("convert -i net --to dsperse --expand-slices");
    assert!(told.exits(2).stderr.contains("hint: give --to dsperse or"));
}
