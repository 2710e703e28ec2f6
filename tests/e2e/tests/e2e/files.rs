//! What lies on disk: complete, relative, movable.

use dsperse_e2e::Place;

#[test]
fn a_run_has_the_documented_files() {
    let place = Place::of_model("digits-mlp");
    place.call("full-run -m model --strategy layer").exits(0);
    let run = place.newest_run();
    let files = place.files(&run);
    for wanted in [
        "run_results.json",
        "receipt.json",
        "tensors/index.json",
        "slice_0/input.json",
        "slice_0/output.json",
        "slice_2/output.json",
    ] {
        assert!(files.iter().any(|f| f == wanted), "{wanted}: {files:?}");
    }
    assert!(
        files
            .iter()
            .any(|f| f.starts_with("slice_1/sumcheck/proof/"))
    );
    let metadata = place.json("model/run/metadata.json");
    assert_eq!(metadata["slices_path"], "../slices");
    assert_eq!(metadata["slices"][0]["ready"][0], "sumcheck");
    let results = place.json(&format!("{run}/run_results.json"));
    for stage in [
        "witness_execution",
        "proof_execution",
        "verification_execution",
    ] {
        assert_eq!(results["slices"][1][stage]["success"], true, "{stage}");
        assert!(results["slices"][1][stage]["seconds"].as_f64() > Some(0.0));
        assert!(results["slices"][1][stage]["peak_bytes"].as_u64() > Some(0));
    }
    assert_eq!(results["fidelity"]["same_argmax"], true);
    assert!(results["totals"]["proof_bytes"].as_u64() > Some(1000));
}

#[test]
fn no_file_holds_an_absolute_path() {
    let place = Place::of_model("lenet");
    place.call("full-run -m model --strategy layer").exits(0);
    place
        .call("slice -m model --strategy layer -o packed --save")
        .exits(0);
    place.call("report model").exits(0);
    let here = place.path("model").canonicalize().expect("a real path");
    let here = here.parent().expect("a parent").display().to_string();
    for file in place.files("model").iter().chain(&place.files("model/run")) {
        let Ok(bytes) = std::fs::read(place.path("model").join(file)) else {
            continue;
        };
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(&here), "{file} names its own place");
        assert!(
            !text.contains("/home/") && !text.contains("/tmp/"),
            "{file}"
        );
    }
}

#[test]
fn a_moved_directory_still_verifies() {
    let place = Place::of_model("digits-mlp");
    place.call("full-run -m model --strategy layer").exits(0);
    std::fs::create_dir(place.path("far")).expect("a directory");
    std::fs::rename(place.path("model"), place.path("far/away")).expect("a move");
    let v = place
        .call("verify --run-dir far/away/run --json")
        .exits(0)
        .json();
    assert_eq!(v["counts"]["proven"], 3);
    // And work goes on there.
    let d = place
        .call("full-run -m far/away --strategy layer --json")
        .exits(0)
        .json();
    assert_eq!(d["compile"]["slices"][0]["outcome"], "up_to_date");
}

#[test]
fn unknown_fields_of_a_later_version_survive() {
    let place = Place::of_model("digits-mlp");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    let path = "model/slices/slice_1/metadata.json";
    place.edit_json(path, |v| v["from_the_future"] = 7.into());
    place.call("compile -s model").exits(0);
    assert_eq!(place.json(path)["from_the_future"], 7);
    assert_eq!(place.json(path)["backend"], "sumcheck");
}

#[test]
fn nothing_is_left_behind() {
    let place = Place::of_model("digits-mlp");
    place.call("full-run -m model --strategy layer").exits(0);
    let odd: Vec<String> = place
        .files("model")
        .into_iter()
        .filter(|f| f.contains("/.") || f.starts_with('.'))
        .filter(|f| !f.ends_with(".lock"))
        .collect();
    assert_eq!(odd, Vec::<String>::new());
}
