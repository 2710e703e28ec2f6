//! What users read when all goes well: the tables and sentences of every command, with what
//! is measured taken out.

use dsperse_e2e::Place;

/// What differs from one run or machine to the next, and the widths of columns that follow
/// from it.
const MEASURED: [(&str, &str); 7] = [
    (r"\d+(\.\d+)? (ms|min|s)\b", "[time]"),
    (r"\d+(\.\d+)? ([KMG]iB|B)\b", "[bytes]"),
    (r"\b[0-9a-f]{64}\b", "[digest]"),
    (r"run_\d{8}_\d{6}(_\d+)?", "run_[now]"),
    (
        r"difference [0-9.e-]+ \(relative [0-9.e-]+, allowed 0.01\)",
        "difference [d]",
    ),
    (r"-{3,}", "---"),
    (r" {3,}", "  "),
];

#[test]
fn every_command_tells_what_it_did() {
    let place = Place::of_model("digits-mlp");
    let mut text = String::new();
    for line in [
        "slice -m model --strategy layer --output-type dirs",
        "analyze -m model --strategy layer",
        "compile -s model -b 0,2:sumcheck;1:onnx",
        "run -s model",
        "prove model/run model",
        "verify model/run model",
        "verify model/run model --require proven",
        "report model/run",
        "convert -i model/slices --to dsperse -o packed.dsperse",
        "compile -s packed.dsperse -b 0,2:sumcheck;1:onnx",
    ] {
        let ran = place.call(&format!("{line} --quiet"));
        text.push_str(&format!(
            "$ dsperse {line}\n[exit {}]\n{}\n",
            ran.code,
            place.stable(&ran.stdout)
        ));
    }
    insta::with_settings!({filters => MEASURED}, { insta::assert_snapshot!(text) });
}
