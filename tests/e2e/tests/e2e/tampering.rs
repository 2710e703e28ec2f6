//! Someone cheats and is caught. The full table over all backends is in the trust suite;
//! these are the basics on the embedded prover.

use dsperse_e2e::Place;
use std::fs;

fn proven() -> (Place, String) {
    let place = Place::of_model("digits-mlp");
    place.call("full-run -m model --strategy layer").exits(0);
    let run = place.newest_run();
    (place, run)
}

fn flip(place: &Place, path: &str) {
    let full = place.path(path);
    let mut bytes = fs::read(&full).expect("the file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&full, bytes).expect("a write");
}

#[test]
fn a_flipped_bit_anywhere_fails() {
    let (place, run) = proven();
    let slice_files: Vec<String> = place
        .files("model/slices/slice_1")
        .into_iter()
        // What only the prover or a curious reader uses takes no part in a verification.
        .filter(|f| {
            !["metadata.json", "weights.bin", "settings.json"]
                .iter()
                .any(|e| f.ends_with(e))
        })
        .map(|f| format!("model/slices/slice_1/{f}"))
        .collect();
    let run_files: Vec<String> = place
        .files(&run)
        .into_iter()
        .filter(|f| f.ends_with(".bin") || f.starts_with("slice_1/sumcheck/proof/"))
        .map(|f| format!("{run}/{f}"))
        .collect();
    for file in slice_files.iter().chain(&run_files) {
        let good = fs::read(place.path(file)).expect("the file");
        flip(&place, file);
        let ran = place.run(["verify", &run]);
        assert!(
            ran.code == 1 || ran.code == 3,
            "{file}: exit {}\n{}",
            ran.code,
            ran.stdout
        );
        fs::write(place.path(file), good).expect("a write");
    }
    place.run(["verify", &run]).exits(0);
}

#[test]
fn the_word_success_means_nothing() {
    let (place, run) = proven();
    let proof = place
        .files(&run)
        .into_iter()
        .find(|f| f.starts_with("slice_0/sumcheck/proof/"))
        .expect("a proof");
    flip(&place, &format!("{run}/{proof}"));
    place.edit_json(&format!("{run}/run_results.json"), |v| {
        v["slices"][0]["verification_execution"]["verdict"] = "proven".into();
        v["slices"][0]["verification_execution"]["success"] = true.into();
    });
    let v = place.run(["verify", &run, "--json"]).exits(1).json();
    assert_eq!(v["slices"][0]["verdict"], "failed");
}

#[test]
fn a_proof_of_another_slice_or_input_fails() {
    let (place, run) = proven();
    // Another input's proof, in place of this one's, with its digests.
    place.edit_json("model/input.json", |v| v["input_data"][0][5] = 0.5.into());
    std::thread::sleep(std::time::Duration::from_millis(1100));
    place.call("full-run -m model --strategy layer").exits(0);
    let other = place.newest_run();
    assert_ne!(run, other);
    for slice in 0..3 {
        let here = format!("{run}/slice_{slice}/sumcheck/proof");
        let there = format!("{other}/slice_{slice}/sumcheck/proof");
        for file in place.files(&here) {
            fs::copy(
                place.path(&there).join(&file),
                place.path(&here).join(&file),
            )
            .expect("a copy");
        }
    }
    let stolen = place.json(&format!("{other}/run_results.json"));
    place.edit_json(&format!("{run}/run_results.json"), |v| {
        for i in 0..3 {
            v["slices"][i]["proof_execution"] = stolen["slices"][i]["proof_execution"].clone();
        }
    });
    let v = place.run(["verify", &run, "--json"]).exits(1).json();
    assert_eq!(v["counts"]["failed"], 3);
}

#[test]
fn dropped_added_and_swapped_slices_fail() {
    let (place, run) = proven();
    let results = format!("{run}/run_results.json");
    let good = place.json(&results);
    let restore = || place.edit_json(&results, |v| *v = good.clone());

    place.edit_json(&results, |v| {
        v["slices"].as_array_mut().expect("slices").pop();
    });
    place.run(["verify", &run]).exits(1);
    restore();

    place.edit_json(&results, |v| {
        let mut extra = v["slices"][0].clone();
        extra["index"] = 3.into();
        v["slices"].as_array_mut().expect("slices").push(extra);
    });
    place.run(["verify", &run]).exits(1);
    restore();

    place.edit_json(&results, |v| {
        v["slices"].as_array_mut().expect("slices").swap(0, 1);
        v["slices"][0]["index"] = 0.into();
        v["slices"][1]["index"] = 1.into();
    });
    place.run(["verify", &run]).exits(1);
    restore();
    place.run(["verify", &run]).exits(0);

    let slices = place.path("model/slices");
    fs::rename(slices.join("slice_0"), slices.join("x")).expect("a move");
    fs::rename(slices.join("slice_1"), slices.join("slice_0")).expect("a move");
    fs::rename(slices.join("x"), slices.join("slice_1")).expect("a move");
    let swapped = place.run(["verify", &run]);
    assert!(swapped.code == 1 || swapped.code == 3, "{swapped:?}");
}

#[test]
fn a_run_of_another_model_fails() {
    let (place, run) = proven();
    place.add_model("lenet", "other");
    place
        .call("slice -m other --strategy layer --output-type dirs")
        .exits(0);
    let ran = place
        .run(["verify", &run, "other/slices", "--json"])
        .exits(1);
    assert!(
        ran.json()["failures"][0]
            .as_str()
            .is_some_and(|f| f.contains("another sliced model"))
    );
}

#[test]
fn a_newer_major_is_refused() {
    let (place, run) = proven();
    place.edit_json(&format!("{run}/run_results.json"), |v| {
        v["schema"] = "2.0.0".into();
    });
    let ran = place.run(["verify", &run]).exits(3);
    assert!(ran.stderr.contains("update dsperse"), "{}", ran.stderr);
}
