//! What the binary says of itself. That this package has an integration test also makes
//! `cargo test --workspace` build the binary, which the end-to-end tests then find.

use std::process::Command;

fn dsperse(args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_dsperse"))
        .args(args)
        .output()
        .expect("the binary can be started");
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

#[test]
fn the_version_is_the_packages() {
    let expected = format!("dsperse {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(dsperse(&["--version"]), (0, expected));
}

#[test]
fn every_verb_has_a_help_page_with_an_example() {
    for verb in [
        "slice", "convert", "compile", "run", "prove", "verify", "full-run", "analyze", "report",
    ] {
        let (code, text) = dsperse(&[verb, "--help"]);
        assert_eq!(code, 0, "{verb}");
        assert!(text.contains(&format!("dsperse {verb} ")), "{verb}: {text}");
        assert!(text.contains("Example"), "{verb}: {text}");
    }
}

#[test]
fn a_wrong_argument_is_a_usage_error() {
    assert_eq!(dsperse(&["slice", "--no-such-flag"]).0, 2);
}
