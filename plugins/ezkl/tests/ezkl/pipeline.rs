//! Two linked slices through all stages, and every tampering with what the verifier gets.

use crate::{Slice, ezkl, first_slice, options, second_slice};
use dsperse_backend_ezkl::driver::Ezkl;
use dsperse_plugin_api::{Encoding, ErrorKind, Verdict};
use dsperse_test_support::stages::{Run, noise};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One test, because keys and proofs cost seconds.
#[test]
#[ignore = "needs EZKL: scripts/install-backends.sh ezkl"]
fn linked_slices_are_proven_and_tamperings_are_found() {
    let ezkl = ezkl();
    let options = options(&ezkl);
    let srs_dir = PathBuf::from(options["srs_dir"].as_str().unwrap());
    let before = listing(&srs_dir);

    let mut first = Slice::compile(&first_slice(), options.clone(), &[]).unwrap();
    let mut run = first.run("a", first.inputs("a", &[noise(36, 5)])).unwrap();
    let second = Slice::compile(&second_slice(), options.clone(), &[]).unwrap();
    let next = second.run("a", run.outputs.clone()).unwrap();
    insecure_is_named(&first.verify(&run).unwrap(), &first);
    insecure_is_named(&second.verify(&next).unwrap(), &second);
    fields_link(&run, &next);

    ezkl_accepts(&ezkl, &first, &run, &srs_dir);
    the_claim_is_bound(&second, &next);
    decoration_means_nothing(&second, &next);
    proofs_are_bound(&second, &next);
    keys_are_bound(&second, &next);
    the_srs_decides(&second, &next);
    compiling_again_gives_the_same(&second);
    another_ceremony_proves_nothing(&mut first, &mut run);
    assert_eq!(
        listing(&srs_dir),
        before,
        "a file of the user's was changed"
    );
}

/// Names and contents of a directory.
fn listing(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .map(|p| (p.clone(), std::fs::read(p).unwrap()))
        .collect()
}

fn document(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn insecure_is_named(verdict: &Verdict, slice: &Slice) {
    let Verdict::Valid { facts, warnings } = verdict else {
        panic!("{verdict:?}")
    };
    let fingerprint = facts["srs_fingerprint"].as_str().unwrap();
    assert_eq!(slice.done.facts["srs_fingerprint"], fingerprint);
    assert!(warnings[0].contains("insecure test SRS"), "{warnings:?}");
    assert!(warnings[0].contains(fingerprint));
}

/// The field elements that leave the first proof are those that enter the second.
fn fields_link(first: &Run, second: &Run) {
    let instances = |run: &Run| document(&run.proof[0].path)["instances"][0].clone();
    let (first, second) = (instances(first), instances(second));
    assert_eq!(first.as_array().unwrap().len(), 36 + 8);
    assert_eq!(second.as_array().unwrap().len(), 8 + 3);
    assert_eq!(
        first.as_array().unwrap()[36..],
        second.as_array().unwrap()[..8]
    );
}

/// The files that the plugin keeps are EZKL's own: EZKL verifies the proof with them.
fn ezkl_accepts(ezkl: &Ezkl, slice: &Slice, run: &Run, srs_dir: &Path) {
    let path = |name: &str| slice.circuit[slice.artefact(name)].path.clone();
    let output = Command::new(ezkl.python())
        .arg("-c")
        .arg("import ezkl, sys; print(ezkl.verify(*sys.argv[1:]))")
        .args([
            &run.proof[0].path,
            &path("settings"),
            &path("verifying_key"),
        ])
        .arg(srs_dir.join("insecure-test-kzg15.srs"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.trim().ends_with("True"), "{output:?}");
}

fn the_claim_is_bound(slice: &Slice, run: &Run) {
    let other = slice.inputs("other", &[noise(8, 6)]);
    let mut changed = run.clone();
    changed.inputs = other;
    assert!(slice.invalid(&changed).contains("first difference at"));
    let mut bytes = std::fs::read(&run.outputs[0].path).unwrap();
    bytes[8] ^= 1;
    let mut changed = run.clone();
    changed.outputs[0].path = slice.written("output", &bytes);
    assert!(slice.invalid(&changed).contains("first difference at 9"));
    // The same values in another form, and a shape of another size.
    for encoding in [Encoding::Fixed { exponent: -12 }, Encoding::I64] {
        let mut changed = run.clone();
        changed.outputs[0].info.encoding = encoding;
        assert!(slice.invalid(&changed).contains("fixed-point form"));
    }
    let mut changed = run.clone();
    changed.outputs.clear();
    assert!(slice.invalid(&changed).contains("elements"));
    let mut changed = run.clone();
    changed.proof.clear();
    assert!(slice.invalid(&changed).contains("no proof"));
}

/// A run with a proof file of other content.
fn with_proof(slice: &Slice, run: &Run, change: impl FnOnce(&mut Value)) -> Run {
    let mut proof = document(&run.proof[0].path);
    change(&mut proof);
    let mut changed = run.clone();
    changed.proof[0].path = slice.written("changed_proof", proof.to_string().as_bytes());
    changed
}

fn decoration_means_nothing(slice: &Slice, run: &Run) {
    let changed = with_proof(slice, run, |p| {
        p["hex_proof"] = json!("0x00");
        p["pretty_public_inputs"] = json!({"rescaled_outputs": [["1000"]]});
    });
    insecure_is_named(&slice.verify(&changed).unwrap(), slice);
    // Nothing of the kind is in the file that is kept, so each of its bytes matters.
    let kept = document(&run.proof[0].path);
    let mut names: Vec<&String> = kept.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["instances", "proof", "protocol", "split"]);
    let changed = with_proof(slice, run, |p| p["qrotocol"] = json!(null));
    assert!(slice.invalid(&changed).contains("unknown field"));
}

fn proofs_are_bound(slice: &Slice, run: &Run) {
    let bytes = document(&run.proof[0].path)["proof"].clone();
    let len = bytes.as_array().unwrap().len();
    for at in [0, 40, len / 2, len - 1] {
        let changed = with_proof(slice, run, |p| {
            let byte = p["proof"][at].as_u64().unwrap();
            p["proof"][at] = json!(byte ^ 1);
        });
        assert!(slice.invalid(&changed).contains("rejects"), "{at}");
    }
    let changed = with_proof(slice, run, |p| {
        p["proof"].as_array_mut().unwrap().push(json!(0));
    });
    assert!(slice.invalid(&changed).contains("trailing"));
    let changed = with_proof(slice, run, |p| {
        p["proof"].as_array_mut().unwrap().truncate(len / 2);
    });
    assert!(slice.invalid(&changed).contains("rejects"));
    let changed = with_proof(slice, run, |p| p["proof"] = json!([]));
    assert!(slice.invalid(&changed).contains("rejects"));
    let changed = with_proof(slice, run, |p| {
        p["instances"][0][8] = p["instances"][0][9].clone();
    });
    assert!(slice.invalid(&changed).contains("first difference at 8"));
    for instances in [json!([]), json!([[], []]), json!([[]])] {
        let changed = with_proof(slice, run, |p| p["instances"] = instances);
        assert!(slice.invalid(&changed).contains("public values"));
    }
    // A proof of this circuit, but of another input.
    let other = slice.run("b", slice.inputs("b", &[noise(8, 7)])).unwrap();
    let mut changed = run.clone();
    changed.proof = other.proof.clone();
    assert!(slice.invalid(&changed).contains("first difference at 0"));
    // The same with this claim's values written into it.
    let own = document(&run.proof[0].path)["instances"].clone();
    let mut changed = with_proof(slice, &other, |p| p["instances"] = own);
    (changed.inputs, changed.outputs) = (run.inputs.clone(), run.outputs.clone());
    assert!(slice.invalid(&changed).contains("rejects"));
    // And files that are no proofs.
    for junk in [&b"junk"[..], b"{}", b""] {
        let mut changed = run.clone();
        changed.proof[0].path = slice.written("junk", junk);
        assert!(slice.invalid(&changed).contains("can't be read"));
    }
}

/// The verdict with verifying artefacts replaced.
fn with_artefacts(slice: &Slice, run: &Run, changes: &[(&str, &[u8])]) -> Verdict {
    let mut circuit = slice.circuit.clone();
    for (name, bytes) in changes {
        circuit[slice.artefact(name)].path = slice.written(&format!("changed_{name}"), bytes);
    }
    slice
        .verify_circuit(run, circuit, slice.options.clone())
        .unwrap()
}

#[track_caller]
fn reason(verdict: Verdict) -> String {
    match verdict {
        Verdict::Invalid { reason } => reason,
        other => panic!("{other:?}"),
    }
}

fn keys_are_bound(slice: &Slice, run: &Run) {
    let read = |name: &str| std::fs::read(&slice.circuit[slice.artefact(name)].path).unwrap();
    let keys: Value = serde_json::from_slice(&read("keys")).unwrap();
    // Any byte, and bytes behind the end.
    for name in ["verifying_key", "settings"] {
        let original = read(name);
        let (last, middle) = (original.len() - 1, original.len() / 2);
        for at in [0, middle, last] {
            let mut changed = original.clone();
            changed[at] ^= 1;
            let why = reason(with_artefacts(slice, run, &[(name, &changed)]));
            assert!(!why.contains("EZKL rejects"), "{name} {at}: {why}");
        }
        let longer = [&original[..], b" "].concat();
        let why = reason(with_artefacts(slice, run, &[(name, &longer)]));
        assert!(why.contains("is not the one"), "{why}");
    }
    // With the digests made to fit, EZKL itself or the claim decides.
    let fitting = |name: &str, digest: &str, bytes: &[u8]| {
        let mut keys = keys.clone();
        keys[digest] = json!(hex::encode(Sha256::digest(bytes)));
        let keys = keys.to_string();
        reason(with_artefacts(
            slice,
            run,
            &[(name, bytes), ("keys", keys.as_bytes())],
        ))
    };
    let vk = read("verifying_key");
    for at in [0, 8, 40, 200, 500] {
        let mut changed = vk.clone();
        changed[at] ^= 1;
        let why = fitting("verifying_key", "verifying_key_sha256", &changed);
        assert!(why.contains("EZKL rejects"), "{at}: {why}");
    }
    let settings: Value = serde_json::from_slice(&read("settings")).unwrap();
    let change = |f: &dyn Fn(&mut Value)| {
        let mut changed = settings.clone();
        f(&mut changed);
        fitting(
            "settings",
            "settings_sha256",
            changed.to_string().as_bytes(),
        )
    };
    assert!(change(&|s| s["model_output_scales"][0] = json!(12)).contains("exponent -12"));
    assert!(change(&|s| s["model_input_scales"][0] = json!(12)).contains("first difference"));
    assert!(change(&|s| s["model_instance_shapes"][1] = json!([1, 4])).contains("elements"));
    assert!(change(&|s| s["run_args"]["logrows"] = json!(16)).contains("2^16"));
    assert!(change(&|s| s["run_args"]["num_inner_cols"] = json!(3)).contains("EZKL rejects"));
    assert!(change(&|s| *s = json!({})).contains("corrupt"));

    let srs = read("verifying_srs");
    for at in [0, 4, srs.len() - 200, srs.len() - 1] {
        let mut changed = srs.clone();
        changed[at] ^= 1;
        reason(with_artefacts(slice, run, &[("verifying_srs", &changed)]));
    }
    let change = |key: &str, value: Value| {
        let mut changed = keys.clone();
        changed[key] = value;
        with_artefacts(slice, run, &[("keys", changed.to_string().as_bytes())])
    };
    assert!(reason(change("logrows", json!(17))).contains("2^17"));
    let zeros = json!("0".repeat(64));
    assert!(reason(change("srs_fingerprint", zeros)).contains("corrupt"));
    // Whoever calls the test SRS a real one does not silence the verdict.
    insecure_is_named(&change("insecure_test_srs", json!(false)), slice);
    let mut called_real = keys.clone();
    called_real["insecure_test_srs"] = json!(false);
    let mut circuit = slice.circuit.clone();
    circuit[slice.artefact("keys")].path =
        slice.written("changed_keys", called_real.to_string().as_bytes());
    let elsewhere = json!({"srs_dir": slice.file("no_srs_here")});
    let options = elsewhere.as_object().cloned().unwrap();
    match slice.verify_circuit(run, circuit, options).unwrap() {
        Verdict::Valid { warnings, .. } => assert!(warnings[0].contains("not checked")),
        other => panic!("{other:?}"),
    }
}

/// What a verifier's own options say of the SRS.
fn the_srs_decides(slice: &Slice, run: &Run) {
    let judged = |value: Value| {
        let options = value.as_object().cloned().unwrap();
        slice.verify_with(run, options).unwrap()
    };
    assert!(reason(judged(json!({}))).contains("insecure test SRS"));
    let srs_dir = &slice.options["srs_dir"];
    assert!(reason(judged(json!({"srs_dir": srs_dir}))).contains("insecure_test_srs = true"));
    let fingerprint = slice.done.facts["srs_fingerprint"].as_str().unwrap();
    // A pinned test SRS is still named as what it is.
    insecure_is_named(
        &judged(json!({"srs_fingerprint": fingerprint.to_uppercase()})),
        slice,
    );
    let other = judged(json!({"srs_fingerprint": "ab".repeat(32)}));
    assert!(reason(other).contains("expected abab"));
}

/// What a verifier needs is the same after each compilation.
fn compiling_again_gives_the_same(slice: &Slice) {
    let again = Slice::compile(&second_slice(), slice.options.clone(), &[]).unwrap();
    for name in ["verifying_key", "settings", "verifying_srs", "keys"] {
        let read = |s: &Slice| std::fs::read(&s.circuit[s.artefact(name)].path).unwrap();
        assert_eq!(read(slice), read(&again), "{name}");
    }
}

/// Proving wants the SRS that the keys were made with, and says so before it works.
fn another_ceremony_proves_nothing(slice: &mut Slice, run: &mut Run) {
    let dir = tempfile::tempdir().unwrap();
    let name = "insecure-test-kzg15.srs";
    let own = PathBuf::from(slice.options["srs_dir"].as_str().unwrap()).join(name);
    let mut bytes = std::fs::read(own).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(dir.path().join(name), bytes).unwrap();
    slice.options.insert("srs_dir".into(), json!(dir.path()));
    let e = slice.run("c", run.inputs.clone()).map(|_| ()).unwrap_err();
    assert_eq!(e.kind, ErrorKind::ToolMissing);
    assert!(e.message.contains("not of the ceremony"), "{}", e.message);
    // Nothing of it matters to the verifier, who has the small SRS.
    assert!(matches!(slice.verify(run).unwrap(), Verdict::Valid { .. }));
}
