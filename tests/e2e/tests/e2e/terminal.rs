//! What a person sees in a terminal: questions for what is missing, progress that is
//! redrawn, and Ctrl-C.

use crate::pty::Terminal;
use dsperse_e2e::Place;
use std::fs;

/// Ctrl-C.
const INTERRUPT: &str = "\x03";
/// Ctrl-D at the beginning of a line: the input ends.
const END: &str = "\x04";
/// Clears a line that is drawn again.
const REDRAWN: &str = "\x1b[2K";

fn terminal(place: &Place, line: &str) -> Terminal {
    let mut command = place.command();
    command.args(line.split_whitespace());
    Terminal::start(command)
}

#[test]
fn a_missing_path_is_asked_for() {
    let place = Place::of_model("digits-mlp");
    let mut t = terminal(&place, "slice --output-type dirs");
    t.wait_for("the model: ");
    t.enter("model");
    let (code, text) = t.end();
    assert_eq!(code, 0, "{text}");
    assert!(place.path("model/slices/metadata.json").is_file(), "{text}");

    fs::rename(place.path("model/input.json"), place.path("mine.json")).expect("an input");
    let mut t = terminal(&place, "run");
    t.wait_for("the path of the slices: ");
    t.enter("model");
    t.wait_for("the model's input file: ");
    t.enter("mine.json");
    let (code, text) = t.end();
    assert_eq!(code, 0, "{text}");
    let asked = place.newest_run();
    // The same as without questions.
    place.call("run -s model -i mine.json --no-input").exits(0);
    let given = place.newest_run();
    assert_ne!(asked, given);
    let output =
        |run: &str| place.json(&format!("{run}/run_results.json"))["output_sha256"].clone();
    assert!(output(&given).is_string());
    assert_eq!(output(&asked), output(&given));
}

#[test]
fn no_answer_and_a_wrong_answer_are_errors() {
    let place = Place::of_model("digits-mlp");
    for keys in ["\r", END] {
        let mut t = terminal(&place, "slice");
        t.wait_for("the model: ");
        t.press(keys);
        t.wait_for("error: the model is missing");
        t.wait_for("hint: give it with -m PATH");
        assert_eq!(t.end().0, 2);
    }
    let mut t = terminal(&place, "slice");
    t.wait_for("the model: ");
    t.enter("nowhere");
    t.wait_for("\"nowhere\"");
    let (code, text) = t.end();
    assert_eq!(code, 3, "{text}");
}

#[test]
fn a_missing_step_is_offered() {
    let place = Place::of_model("digits-mlp");
    let question = "There are no slices at \"model\". Slice the model now? [Y/n] ";
    for keys in ["n\r", END] {
        let mut t = terminal(&place, "compile -s model");
        t.wait_for(question);
        t.press(keys);
        t.wait_for("error: no slices at \"model\"");
        t.wait_for("dsperse slice -m model");
        assert_eq!(t.end().0, 3);
        assert!(!place.path("model/slices.dsperse").exists());
    }
    let mut t = terminal(&place, "compile -s model");
    t.wait_for(question);
    t.enter("");
    let (code, text) = t.end();
    assert_eq!(code, 0, "{text}");
    let d = place.call("compile -s model --json").exits(0).json();
    assert_eq!(d["slices"][0]["outcome"], "up_to_date", "{d:#}");
}

#[test]
fn a_choice_is_asked_for_until_it_is_one() {
    let place = Place::of_model("digits-mlp");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    for input in ["[0, 1, 2, 3]", "[3, 2, 1, 0]"] {
        let values: Vec<i64> = serde_json::from_str(input).expect("numbers");
        let values: Vec<i64> = values.into_iter().cycle().take(64).collect();
        let text = serde_json::json!({ "input_data": [values] }).to_string();
        fs::write(place.path("input.json"), text).expect("a file");
        place.call("run -s model -i input.json").exits(0);
    }
    let newest = place.newest_run();
    let mut t = terminal(&place, "verify --run-dir model/run --json");
    t.wait_for(&format!("1  {newest}"));
    t.wait_for("2  model/run/run_");
    t.wait_for("Which run? [1] ");
    t.enter("3");
    t.wait_for("\"3\" is no number from 1 to 2");
    t.wait_for("Which run? [1] ");
    t.enter("2");
    let (code, text) = t.end();
    assert_eq!(code, 0, "{text}");
    let receipt = |run: &str| place.path(run).join("receipt.json").is_file();
    assert!(!receipt(&newest), "{text}");
    // Enter takes the newest.
    let mut t = terminal(&place, "verify --run-dir model/run");
    t.wait_for("Which run? [1] ");
    t.enter("");
    let (code, text) = t.end();
    assert_eq!(code, 0, "{text}");
    assert!(receipt(&newest), "{text}");
}

#[test]
fn no_input_asks_nothing() {
    let place = Place::of_model("digits-mlp");
    for (line, exit, words) in [
        ("slice --no-input", 2, "error: the model is missing"),
        (
            "run --no-input",
            2,
            "error: the path of the slices is missing",
        ),
        ("compile --no-input -s model", 3, "error: no slices at"),
    ] {
        // Nothing is typed: a question would never end.
        let (code, text) = terminal(&place, line).end();
        assert_eq!(code, exit, "{line}: {text}");
        assert!(text.starts_with(words), "{line}: {text}");
        assert!(text.contains("hint: "), "{line}: {text}");
    }
}

#[test]
fn progress_is_redrawn_in_a_terminal_and_ctrl_c_ends_it() {
    let place = Place::of_faulty("fault = \"loop-polite\"");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    let mut t = terminal(&place, "compile -s model -b faulty --parallel 1");
    t.wait_for("  compile slice 0  faulty  ");
    t.wait_for("  compile 0 of ");
    // Lines are drawn again, with the time of then.
    for _ in 0..3 {
        t.wait_for(REDRAWN);
        t.wait_for("  compile slice 0  faulty  ");
        t.wait_for(" s  peak ");
        t.wait_for(" MiB");
    }
    t.press(INTERRUPT);
    t.wait_for("error: interrupted");
    let (code, text) = t.end();
    assert_eq!(code, 130, "{text}");
    // Plain lines are for those who read later.
    assert!(!text.contains("faulty started"), "{text}");
    fs::remove_file(place.path("dsperse.toml")).expect("a file");
    let piped = place.call("compile -s model -b faulty").exits(0);
    assert!(
        piped.stderr.contains("compile slice 0: faulty started\n"),
        "{}",
        piped.stderr
    );
    assert!(!piped.stderr.contains('\x1b'), "{}", piped.stderr);
}

#[test]
fn ctrl_c_ends_a_question() {
    let place = Place::of_model("digits-mlp");
    let mut t = terminal(&place, "slice");
    t.wait_for("the model: ");
    t.press(INTERRUPT);
    t.wait_for("error: interrupted");
    let (code, text) = t.end();
    assert_eq!(code, 130, "{text}");
    assert_eq!(place.files("model"), ["input.json", "model.onnx"]);
}
