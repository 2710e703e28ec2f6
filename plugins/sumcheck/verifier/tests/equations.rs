//! The equations of `docs/sumcheck-protocol.md` and the code that carries them out: every
//! equation is cited by the verifier, and by the prover where it has a part in it, and
//! nothing else is cited.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What only one side does: the verifier alone looks at keys.
const VERIFIER_ONLY: [&str; 1] = ["K1"];

/// Names such as L1 between `open` and `close`.
fn names(text: &str, open: &str, close: &str) -> BTreeSet<String> {
    let after = text.split(open).skip(1);
    let name = after.filter_map(|t| t.split_once(close)).map(|(n, _)| n);
    name.filter(|n| {
        let mut c = n.chars();
        n.len() == 2
            && c.next().is_some_and(|c| c.is_ascii_uppercase())
            && c.next().is_some_and(|c| c.is_ascii_digit())
    })
    .map(str::to_owned)
    .collect()
}

fn cited(dir: &Path) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(dir).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(cited(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            all.extend(names(&text, "(", ")"));
        }
    }
    all
}

#[test]
fn every_equation_of_the_page_is_cited_by_the_code_and_no_other() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(here.join("../../../docs/sumcheck-protocol.md"));
    let defined = names(&page.expect("the page"), "**(", ")**");
    assert!(defined.len() > 20, "{defined:?}");
    assert_eq!(cited(&here.join("src")), defined, "the verifier");
    let mut prover = cited(&here.join("../prover/src"));
    // "(G1) to (G6)" stands for all between.
    if prover.contains("G1") && prover.contains("G6") {
        prover.extend((2..6).map(|i| format!("G{i}")));
    }
    prover.extend(VERIFIER_ONLY.map(str::to_owned));
    assert_eq!(prover, defined, "the prover");
}
