//! Text from files that somebody else wrote, on its way out: whatever it says, it moves no cursor,
//! begins no line and turns no direction.

use dsperse_e2e::{Place, copy};
use serde_json::Value;
use std::fs;

/// Clears the screen, forges a line, and turns what follows around.
const HOSTILE: &str = "x\u{1b}[2J\r\nverdict: FORGED\n\u{202e}\u{85}\u{2028}verdict: FORGED";

/// The places of all strings in a document.
fn strings(value: &Value, at: &str, out: &mut Vec<String>) {
    match value {
        Value::String(_) => out.push(at.to_owned()),
        Value::Array(list) => {
            for (i, v) in list.iter().enumerate() {
                strings(v, &format!("{at}/{i}"), out);
            }
        }
        Value::Object(map) => {
            for (key, v) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                strings(v, &format!("{at}/{key}"), out);
            }
        }
        _ => {}
    }
}

fn harmless(place: &Place, line: &str, tampered: &str) {
    let ran = place.call(line);
    for text in [&ran.stdout, &ran.stderr] {
        let odd = |c: char| {
            (c.is_control() && c != '\n')
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
        };
        assert!(
            !text.contains(odd) && !text.lines().any(|l| l.starts_with("verdict: FORGED")),
            "\"{line}\" with {tampered} changed:\n{text:?}"
        );
    }
}

#[test]
fn no_string_of_any_document_does_anything_on_a_terminal() {
    let place = Place::of_model("digits-mlp");
    place
        .call("full-run -m model --strategy layer -b 0,2:sumcheck;1:onnx")
        .exits(0);
    let run = place.newest_run();
    fs::rename(place.path("model"), place.path("before")).expect("a move");
    let mut told = 0;
    for document in [
        format!("{run}/run_results.json"),
        format!("{run}/tensors/index.json"),
        "model/run/metadata.json".to_owned(),
        "model/slices/metadata.json".to_owned(),
        "model/slices/slice_0/metadata.json".to_owned(),
    ] {
        let before = place.json(&document.replacen("model", "before", 1));
        let mut all = Vec::new();
        strings(&before, "", &mut all);
        assert!(!all.is_empty(), "{document} has strings");
        // Every third, and then what a command says of it; all of them take minutes.
        for (i, at) in all.iter().enumerate().step_by(3) {
            if place.path("model").exists() {
                fs::remove_dir_all(place.path("model")).expect("the last one goes");
            }
            copy(&place.path("before"), &place.path("model"));
            place.edit_json(&document, |v| {
                *v.pointer_mut(at).expect("a string") = HOSTILE.into();
            });
            let tampered = format!("{at} of {document}");
            let line = match i / 3 % 6 {
                0 => "prove --run-dir model/run".to_owned(),
                1 => "run -s model".to_owned(),
                2 => format!("verify {run} model/slices --json"),
                3 => format!("report {run} model/slices -o page.html"),
                4 => format!("export {run} model/slices -o x.dsproof"),
                _ => "compile -s model -b onnx --progress json".to_owned(),
            };
            harmless(&place, &format!("verify {run} model/slices"), &tampered);
            harmless(&place, &line, &tampered);
            told += 1;
        }
    }
    assert!(told > 40, "{told} strings were changed");
}
