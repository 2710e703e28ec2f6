//! What is handed to a verifier in one file.

use dsperse_e2e::Place;
use std::fs;
use std::io::{Read, Write};

/// A packed proof of a small model, with its run.
fn exported() -> (Place, String) {
    let place = Place::of_model("digits-mlp");
    place.call("full-run -m model --strategy layer").exits(0);
    let run = place.newest_run();
    place
        .run(["export", &run, "model/slices", "-o", "p.dsproof"])
        .exits(0);
    (place, run)
}

fn entries(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).expect("a ZIP archive");
    (0..zip.len())
        .map(|i| {
            let mut entry = zip.by_index(i).expect("an entry");
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            (entry.name().expect("a name").into_owned(), content)
        })
        .collect()
}

fn zipped(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in entries {
        zip.start_file(name, stored).expect("an entry");
        zip.write_all(content).expect("content");
    }
    zip.finish().expect("an archive").into_inner()
}

#[test]
fn one_file_is_enough_for_a_verifier() {
    let (place, run) = exported();
    let usual = place
        .run(["verify", &run, "model/slices", "--json"])
        .exits(0)
        .json();
    let bytes = fs::read(place.path("p.dsproof")).expect("the file");
    let names: Vec<String> = entries(&bytes).into_iter().map(|(n, _)| n).collect();
    for secret in ["witness", "weights", ".onnx", "receipt", "input.json"] {
        assert!(
            !names.iter().any(|n| n.contains(secret)),
            "{secret}: {names:?}"
        );
    }
    // The same content gives the same bytes.
    place
        .run(["export", &run, "model/slices", "-o", "again.dsproof"])
        .exits(0);
    assert_eq!(
        bytes,
        fs::read(place.path("again.dsproof")).expect("the file")
    );
    // The prover's files are gone, the verdict is the same.
    fs::remove_dir_all(place.path("model")).expect("gone");
    let files = place.files("");
    for line in [
        "verify p.dsproof --require proven --json",
        "verify --run-dir p.dsproof --require proven --json",
    ] {
        let v = place.call(line).exits(0).json();
        for field in [
            "model_identity",
            "model_sha256",
            "input_sha256",
            "output_sha256",
            "keys_sha256",
            "counts",
            "proven_share",
        ] {
            assert_eq!(v[field], usual[field], "{field}");
        }
        assert_eq!(v["fidelity_by"], "prover");
    }
    assert_eq!(place.files(""), files, "nothing is written beside it");
    place.call("verify p.dsproof --receipt r.json").exits(0);
    let again = place
        .call("verify p.dsproof --expect-receipt r.json --json")
        .exits(0)
        .json();
    assert_eq!(again["slices"][0]["keys"], "pinned");
    place.call("verify p.dsproof elsewhere").exits(2);
}

#[test]
fn a_packed_proof_that_was_tampered_with_is_rejected() {
    let (place, _) = exported();
    let bytes = fs::read(place.path("p.dsproof")).expect("the file");
    let good = entries(&bytes);
    let rejected = |what: &str, entries: &[(String, Vec<u8>)], code: i32| {
        fs::write(place.path("t.dsproof"), zipped(entries)).expect("a write");
        let ran = place.call("verify t.dsproof");
        assert_eq!(ran.code, code, "{what}: {}{}", ran.stdout, ran.stderr);
        ran.stdout + &ran.stderr
    };
    assert_eq!(
        place.call("verify t.dsproof").code,
        3,
        "there is no such file"
    );
    for (at, (name, content)) in good.iter().enumerate() {
        if name.ends_with(".json") {
            continue;
        }
        let mut bad = good.clone();
        bad[at].1[content.len() / 2] ^= 1;
        let said = rejected(name, &bad, 1);
        assert!(said.contains("has been changed"), "{name}: {said}");
        bad.remove(at);
        rejected(name, &bad, 1);
    }
    let with = |name: &str| {
        let mut more = good.clone();
        more.push((name.into(), b"x".to_vec()));
        more
    };
    for (name, words) in [
        ("../escape", "climbs out"),
        ("/etc/escape", "absolute"),
        ("other/file", "does not belong"),
        ("RUN/run_results.json", "collides"),
    ] {
        let said = rejected(name, &with(name), 3);
        assert!(said.contains(words), "{name}: {said}");
    }
    let without: Vec<_> = good
        .iter()
        .filter(|(n, _)| n != "dsproof.json")
        .cloned()
        .collect();
    assert!(rejected("no mark", &without, 3).contains("it is no packed proof"));
    let mut future = good.clone();
    for (name, content) in &mut future {
        if name == "dsproof.json" {
            *content = br#"{"schema":"2.0.0","tool_version":"9.0.0"}"#.to_vec();
        }
    }
    assert!(rejected("future", &future, 3).contains("update dsperse"));
    for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        fs::write(place.path("t.dsproof"), &bytes[..cut]).expect("a write");
        place.call("verify t.dsproof").exits(3);
    }
    place.call("export model/run -o wrong.zip").exits(2);
}

#[test]
fn attestations_are_signed_and_expected() {
    let (place, run) = exported();
    let refused = |line: &str, code: i32, words: &str| {
        let ran = place.call(line);
        let said = ran.stdout + &ran.stderr;
        assert_eq!(ran.code, code, "{line}: {said}");
        assert!(said.contains(words), "{line}: {said}");
    };
    place.call("keygen -o a.pem").exits(0);
    place.call("keygen -o b.pem").exits(0);
    refused("keygen -o a.pem", 3, "can't write the key");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let about = fs::metadata(place.path("a.pem")).expect("the key");
        assert_eq!(about.permissions().mode() & 0o777, 0o600);
    }
    place.call("verify p.dsproof --attest a.pem").exits(0);
    let file = place.path("p.attestation.json");
    let good = fs::read(&file).expect("an attestation");
    let expect = "verify p.dsproof --expect-attestation p.attestation.json --public-key";
    let v = place
        .call(&format!("{expect} a.pub.pem --json"))
        .exits(0)
        .json();
    assert_eq!(v["slices"][0]["keys"], "pinned");
    refused(
        &format!("{expect} b.pub.pem"),
        1,
        "none of its 1 signatures is by the key",
    );
    refused(&format!("{expect} a.pem"), 3, "it is no public ed25519 key");
    refused(
        "verify p.dsproof --expect-attestation p.attestation.json",
        2,
        "--public-key",
    );
    refused(
        "verify p.dsproof --attest a.pub.pem",
        3,
        "it is no private ed25519 key",
    );
    refused("verify p.dsproof --attest none.pem", 3, "can't read");
    // The payload with another letter in it.
    let mut altered: serde_json::Value = serde_json::from_slice(&good).expect("JSON");
    let payload = altered["payload"].as_str().expect("text");
    let at = payload.len() / 2;
    let other = if &payload[at..=at] == "A" { "B" } else { "A" };
    altered["payload"] = format!("{}{other}{}", &payload[..at], &payload[at + 1..]).into();
    fs::write(&file, altered.to_string()).expect("a write");
    refused(&format!("{expect} a.pub.pem"), 1, "is refused: none of its");
    fs::write(&file, &good).expect("a write");
    // Of another output: a claim of the same model on another input.
    place.edit_json("model/input.json", |v| v["input_data"][0][5] = 0.5.into());
    place.call("full-run -m model --strategy layer").exits(0);
    let other = place.newest_run();
    assert_ne!(run, other);
    refused(
        &format!(
            "verify {other} model/slices --expect-attestation p.attestation.json --public-key a.pub.pem"
        ),
        1,
        "the receipt is of another output",
    );
    // What is not accepted is not attested, and an older attestation does not stay.
    let bytes = fs::read(place.path("p.dsproof")).expect("the file");
    let mut bad = entries(&bytes);
    for (name, content) in &mut bad {
        if name.contains("proof.bin") {
            content[40] ^= 1;
        }
    }
    fs::write(place.path("p.dsproof"), zipped(&bad)).expect("a write");
    refused("verify p.dsproof --attest a.pem", 1, "nothing is attested");
    assert!(!file.exists());
}
