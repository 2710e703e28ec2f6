//! Several versions of one backend side by side, and versions that a configuration requires.

use dsperse_e2e::Place;
use dsperse_plugin_api::conformance::samples;
use dsperse_test_support::build_cident_version;
use serde_json::Value;
use std::fs;

/// A place with a model of one `Identity` node, and the backend `mine` in two versions: the
/// older one is found first.
fn two_versions() -> Place {
    let place = Place::with_plugins(&["onnx"]);
    for (dir, version) in [("old", "0.1.0"), ("new", "0.2.0")] {
        fs::create_dir(place.path(dir)).expect("a directory");
        build_cident_version(&place.path(dir), "mine", version, 0);
    }
    let sample = samples::all()
        .into_iter()
        .find(|s| s.name == "identity")
        .expect("a sample");
    fs::create_dir(place.path("model")).expect("a directory");
    fs::write(place.path("model/model.onnx"), sample.model).expect("a model");
    fs::write(
        place.path("model/input.json"),
        r#"{"input_data": [[1, 2, 3, 4]]}"#,
    )
    .expect("a file");
    place
        .call("slice -m model --strategy whole --output-type dirs")
        .exits(0);
    place
}

const BOTH: &str = "--plugins old --plugins new";

fn made_by(document: &Value) -> (String, String) {
    let slice = &document["slices"][0];
    let text = |key: &str| slice[key].as_str().unwrap_or_default().to_owned();
    (text("backend"), text("backend_version"))
}

#[test]
fn a_spec_names_the_version() {
    let place = two_versions();
    let listed = place.call(&format!("{BOTH} plugin list")).exits(0).stdout;
    assert!(listed.contains("mine@0.2.0"), "{listed}");
    let listed = place
        .call(&format!("{BOTH} plugin list --json"))
        .exits(0)
        .json();
    assert_eq!(
        listed["other_versions"][0]["descriptor"]["version"],
        "0.2.0"
    );
    assert_eq!(listed["skipped"].as_array().map(Vec::len), Some(0));
    for (spec, backend, version) in [
        ("mine", "mine", "0.1.0"),
        ("mine@0.2.0", "mine@0.2.0", "0.2.0"),
        ("mine@0.1.0", "mine@0.1.0", "0.1.0"),
    ] {
        let compiled = place
            .call(&format!("{BOTH} compile -s model -b {spec} --json"))
            .exits(0)
            .json();
        assert_eq!(compiled["slices"][0]["backend"], backend, "{compiled}");
        place.call(&format!("{BOTH} run -s model")).exits(0);
        let judged = place
            .call(&format!("{BOTH} verify --run-dir model/run --json"))
            .exits(0)
            .json();
        let slice = place.json("model/slices/slice_0/metadata.json");
        assert_eq!(slice["backend"], backend);
        assert_eq!(slice["compilations"][backend]["backend_version"], version);
        assert_eq!(judged["slices"][0]["verdict"], "recomputed", "{judged}");
        let results = place.json(&format!("{}/run_results.json", place.newest_run()));
        assert!(
            results
                .to_string()
                .contains(&format!("\"backend\":\"{backend}\"")),
            "{results}"
        );
    }
    let wrong = place
        .call(&format!("{BOTH} compile -s model -b mine@0.3.0"))
        .exits(2)
        .stderr;
    assert!(
        wrong.contains("version 0.3.0 of backend \"mine\" is not loaded"),
        "{wrong}"
    );
    assert!(wrong.contains("loaded: 0.1.0, 0.2.0"), "{wrong}");
    let shown = place
        .call(&format!("{BOTH} plugin inspect mine@0.2.0"))
        .exits(0)
        .stdout;
    assert!(shown.starts_with("mine 0.2.0"), "{shown}");
}

#[test]
fn what_the_configuration_requires_is_checked_at_the_start() {
    let place = two_versions();
    let write = |text: &str| fs::write(place.path("dsperse.toml"), text).expect("a file");
    // The name means the version that is required.
    write("[require]\nmine = \"^0.2\"\n");
    let compiled = place
        .call(&format!("{BOTH} compile -s model -b mine --json"))
        .exits(0)
        .json();
    let slice = place.json("model/slices/slice_0/metadata.json");
    assert_eq!(slice["compilations"]["mine"]["backend_version"], "0.2.0");
    assert_eq!(made_by(&compiled).0, "mine");
    // Every command says what to type when it is not there.
    for (range, found) in [(">=0.3, <1", "0.1.0, 0.2.0"), ("=1.0.0", "0.1.0, 0.2.0")] {
        write(&format!("[require]\nmine = \"{range}\"\n"));
        for command in [
            "compile -s model",
            "slice -m model",
            "run -s model",
            "analyze -m model",
        ] {
            let told = place.call(&format!("{BOTH} {command}")).exits(4).stderr;
            assert!(
                told.contains(&format!(
                    "\"dsperse.toml\" requires backend \"mine\" {range}, found {found}"
                )),
                "{told}"
            );
            assert!(
                told.contains(&format!("type: dsperse plugin add \"mine@{range}\"")),
                "{told}"
            );
        }
    }
    write("[require]\nother = \"1\"\n");
    let told = place.call("compile -s model").exits(4).stderr;
    assert!(
        told.contains("requires backend \"other\" ^1, found none"),
        "{told}"
    );
    write("[require]\nmine = \"newest\"\n");
    let told = place.call("compile -s model").exits(2).stderr;
    assert!(
        told.contains("\"require.mine\" is no range of versions"),
        "{told}"
    );
}
