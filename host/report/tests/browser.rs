//! How pages look and behave, in a real browser: headless Chromium, driven by
//! `tests/page/check.mjs`. Pages are those of `common`, made by a seed.
//!
//! A reader who sees only the page must be able to say:
//!
//! 1. what is claimed — the card `#answer-claim` ("What is claimed?"): model, identity,
//!    input, output;
//! 2. what was checked — the sentence of the verdict in the header and `#answer-checked`;
//! 3. by whom — `#answer-by`: version, backends with the digests of their libraries, time,
//!    where the keys came from;
//! 4. what was not — `#answer-not`, with the reasons in `#reasons` and the share behind each;
//! 5. how faithful it is — `#answer-faithful`: error, what was allowed, who measured it; the
//!    plots in `#fidelity`;
//! 6. what it cost — `#answer-cost`, with the timeline and the dearest slices in `#cost`.
//!
//! `check.mjs` looks at each of them as it is shown (not at the source), besides: no message
//! on the console and no request, nothing that sticks out at 360, 768 and 1440 pixels, axe's
//! rules (contrast AA among them) in light and dark, every control reached by the keyboard,
//! parts that open when a link leads to them, sorting, and the size of the file.

#![allow(missing_docs)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
#[ignore = "needs Chromium and Node.js: run scripts/test-page.sh, which installs them"]
fn pages_are_right_in_a_browser() {
    let dir = root().join("target/pages");
    fs::create_dir_all(&dir).expect("a directory");
    for (name, subject) in common::all() {
        let html = dsperse_report::page(&subject).expect("a page");
        fs::write(dir.join(format!("{name}.html")), html).expect("a file");
    }
    let cases: std::collections::BTreeMap<_, _> = common::all().into_iter().collect();
    for (name, a, b) in [
        ("compare-runs", "resnet50", "unverified"),
        ("compare-hostile", "hostile", "hostile"),
    ] {
        let html = dsperse_report::comparison(&cases[a], &cases[b]).expect("a page");
        fs::write(dir.join(format!("{name}.html")), html).expect("a file");
    }
    let check = Command::new("node")
        .arg(root().join("tests/page/check.mjs"))
        .arg(&dir)
        .status()
        .expect("Node.js: run scripts/install-browser.sh");
    assert!(check.success(), "see the messages above");
}
