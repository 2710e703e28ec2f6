//! Files of an earlier version (`fixtures/make.sh`): what is still good is read, what is not is
//! refused with what to type, and nothing is damaged.

use dsperse_e2e::{Place, Ran, copy};
use std::collections::BTreeMap;
use std::fs;

const SLICES: [&str; 3] = ["model/slices", "compiled.dsperse", "verifiers.dsperse"];
const RUN: &str = "model/run/first";
/// What every refusal leads to.
const NEXT: &str = "type \"dsperse compile\"";

/// A place with the files of commit d999cb8. Slices 0 and 2 were proven by sumcheck 0.1.0, whose
/// keys did not bind one vector of weights; slice 1 was computed.
fn place() -> Place {
    let place = Place::of_model("digits-mlp");
    let fixture = dsperse_test_support::repository().join("tests/e2e/fixtures/d999cb8");
    copy(&fixture, &place.path(""));
    for dir in ["slices", "run"] {
        fs::rename(place.path(dir), place.path("model").join(dir)).expect("a move");
    }
    place
}

/// All files but locks, and but what `verify` writes beside a run.
fn contents(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let written = ["receipt.json", "verification.json", "run_results.json"];
    let all = place.files("").into_iter().filter(|path| {
        let ours = path.starts_with("model/") || path.ends_with(".dsperse");
        ours && !path.contains("/.") && !written.iter().any(|name| path.ends_with(name))
    });
    all.map(|path| {
        let bytes = fs::read(place.path(&path)).expect("a file");
        (path, bytes)
    })
    .collect()
}

fn all_proven(place: &Place, slices: &str) -> Ran {
    place
        .call(&format!(
            "compile -s {slices} -i model/input.json -b sumcheck"
        ))
        .exits(0);
    place
        .call(&format!(
            "run -s {slices} -i model/input.json --run-dir again"
        ))
        .exits(0);
    place
        .call(&format!("prove --run-dir again {slices}"))
        .exits(0);
    place
        .call(&format!("verify --run-dir again {slices} --require proven"))
        .exits(0)
}

#[test]
fn proofs_are_refused_with_what_to_type() {
    let place = place();
    let before = contents(&place);
    for slices in SLICES {
        let judged = place
            .call(&format!("verify {RUN} {slices} --json"))
            .exits(1)
            .json();
        for slice in [0, 2] {
            let verdict = &judged["slices"][slice];
            assert_eq!(verdict["verdict"], "unchecked", "{slices}: {verdict}");
            let said = |key: &str| verdict[key].as_str().unwrap_or_default().to_owned();
            let reason = said("reason");
            assert!(
                reason.starts_with("its proof is of \"sumcheck\" 0.1.0, loaded is 0."),
                "{reason}"
            );
            assert!(said("hint").starts_with(NEXT), "{verdict}");
        }
    }
    // Where the ONNX files are, the values may still be computed again.
    let near = place
        .call(&format!(
            "verify {RUN} {} --tolerance 0.01 --json",
            SLICES[0]
        ))
        .exits(0)
        .json();
    assert_eq!(near["counts"]["recomputed"], 3, "{near}");
    assert_eq!(contents(&place), before);
}

#[test]
fn an_old_key_under_a_new_version_is_no_proof() {
    let place = place();
    let told = place.call(&format!("verify {RUN} {}", SLICES[0])).exits(1);
    let told = told
        .stdout
        .split("loaded is ")
        .nth(1)
        .expect("a version")
        .to_owned();
    let version: String = told
        .chars()
        .take_while(|c| *c == '.' || c.is_ascii_digit())
        .collect();
    for slice in [0, 2] {
        place.edit_json(&format!("{}/slice_{slice}/metadata.json", SLICES[0]), |m| {
            m["compilations"]["sumcheck"]["backend_version"] = version.clone().into();
        });
    }
    let judged = place
        .call(&format!("verify {RUN} {} --require any --json", SLICES[0]))
        .exits(1)
        .json();
    for slice in [0, 2] {
        let verdict = &judged["slices"][slice];
        assert_eq!(verdict["verdict"], "failed", "{verdict}");
        let reason = verdict["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("compile the slice again"), "{reason}");
    }
}

#[test]
fn nothing_is_proven_or_run_under_old_circuits() {
    let place = place();
    let before = contents(&place);
    let results = place.json(&format!("{RUN}/run_results.json"));
    for slices in SLICES {
        let refused = place.call(&format!("prove {RUN} {slices}")).exits(1);
        let said = refused.stdout + &refused.stderr;
        assert!(
            said.contains("slice 0 was compiled by \"sumcheck\" 0.1.0, loaded is 0."),
            "{said}"
        );
        assert!(said.contains(NEXT), "{said}");
    }
    assert_eq!(place.json(&format!("{RUN}/run_results.json")), results);
    // A run goes on without the circuits, and says so.
    for (at, slices) in SLICES[..2].iter().enumerate() {
        let ran = place
            .call(&format!(
                "run -s {slices} -i model/input.json --run-dir new{at}"
            ))
            .exits(0);
        let said = ran.stdout + &ran.stderr;
        assert!(
            said.contains("compiled by another version of the backend, so nothing of it will be proven: slice 0, 2"),
            "{said}"
        );
        assert!(said.contains(NEXT), "{said}");
        place
            .call(&format!("verify --run-dir new{at} {slices} --json"))
            .exits(0);
    }
    let after = contents(&place);
    let kept: BTreeMap<_, _> = after
        .into_iter()
        .filter(|(p, _)| before.contains_key(p))
        .collect();
    assert_eq!(kept, before);
}

#[test]
fn slices_and_bundles_are_read_and_compiled_again() {
    for slices in ["model/slices", "compiled.dsperse", "uncompiled.dsperse"] {
        let judged = all_proven(&place(), slices).stdout;
        assert!(judged.contains("3 proven"), "{slices}: {judged}");
    }
    let place = place();
    place
        .call("convert -i compiled.dsperse --expand-slices -o dirs --no-cleanup")
        .exits(0);
    let mut unpacked = place.files("dirs");
    unpacked.retain(|f| !f.ends_with(".dslice"));
    for file in &unpacked {
        let read = |dir: &str| fs::read(place.path(dir).join(file)).expect("a file");
        assert_eq!(read("dirs"), read("model/slices"), "{file}");
    }
    assert_eq!(unpacked, place.files("model/slices"));
    // One file for verifiers, for those who still have that version.
    place
        .call(&format!("export {RUN} model/slices -o old.dsproof"))
        .exits(0);
    let refused = place.call("verify old.dsproof").exits(1).stdout;
    assert!(refused.contains("0 proven"), "{refused}");
}
