//! The exact messages for wrong specs, and properties of the parser on any text.

use dsperse_router::{Defaults, Spec, SpecError, parse_layers};
use proptest::prelude::*;
use semver::Version;

const LOADED: [&str; 4] = ["ezkl", "jstprove", "onnx", "sumcheck"];

fn error(spec: &str) -> SpecError {
    Spec::parse(spec)
        .and_then(|s| {
            let versions = [Version::new(0, 1, 0), Version::new(0, 2, 0)];
            let mut loaded: Vec<_> = LOADED.iter().map(|n| (*n, &versions[0])).collect();
            loaded.push(("ezkl", &versions[1]));
            s.check_names(loaded).map(|()| s)
        })
        .and_then(|s| s.resolve(4, &Defaults::default(), false))
        .expect_err("the spec is wrong")
}

fn show(e: &SpecError) -> String {
    match &e.hint {
        Some(hint) => format!("{e}\nhint: {hint}"),
        None => e.to_string(),
    }
}

#[test]
fn messages_of_wrong_specs() {
    let all: Vec<String> = [
        "",
        "ezlk",
        "0:jstprove|foo;1:ezkl",
        "0-2:ezkl;2:jstprove",
        "0,9:ezkl",
        "3-1:ezkl",
        "0:",
        "0:ezkl|",
        "0:ezkl;;1:onnx",
        "0-:ezkl",
        "0x:ezkl",
        "0:ezkl;onnx",
        "ezkl;0:onnx",
        "ezkl,onnx",
        "ezkl|ezkl",
        "99999999999999999999999:ezkl",
        "0:ézkl",
        "ezkl@0.3.0",
        "0:onnx@0.1.0|ezkl@0.2",
        "ezkl@",
    ]
    .iter()
    .map(|s| show(&error(s)))
    .collect();
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn messages_of_wrong_layers() {
    let all: Vec<String> = ["", "1,,2", "a", "4", "2-1", "1-"]
        .iter()
        .map(|s| show(&parse_layers(s, 4).expect_err("the layers are wrong")))
        .collect();
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn layers_in_all_documented_forms() {
    let list = |text| {
        parse_layers(text, 23)
            .map(|s| s.into_iter().collect::<Vec<_>>())
            .unwrap_or_else(|e| panic!("{e}"))
    };
    assert_eq!(list("2,3,4"), [2, 3, 4]);
    assert_eq!(list("0-2"), [0, 1, 2]);
    assert_eq!(list("3, 20-22"), [3, 20, 21, 22]);
}

proptest! {
    /// Any text is either a spec or an error that renders and points inside the text.
    #[test]
    fn any_text_is_handled(text in ".{0,40}", slices in 0usize..6) {
        if let Err(e) = Spec::parse(&text).and_then(|s| s.resolve(slices, &Defaults::default(), false)) {
            prop_assert!(e.span.end <= text.len());
            prop_assert!(e.to_string().contains('^'));
        }
        if let Err(e) = parse_layers(&text, slices) {
            prop_assert!(e.span.end <= text.len());
            prop_assert!(e.to_string().contains('^'));
        }
    }

    /// Text made of the grammar's own pieces reaches deeper than random text does.
    #[test]
    fn pieces_of_the_grammar(parts in prop::collection::vec(
        prop::sample::select(vec!["0", "1", "17", "-", ",", ":", ";", "|", "ezkl", "onnx", " "]), 0..12),
        strict: bool)
    {
        let text = parts.concat();
        match Spec::parse(&text).and_then(|s| s.resolve(3, &Defaults::default(), strict)) {
            Ok(routes) => {
                prop_assert_eq!(routes.chains().len(), 3);
                for chain in routes.chains() {
                    prop_assert!(!chain.backends.is_empty());
                    if !strict {
                        prop_assert_eq!(chain.backends.last().map(String::as_str), Some("onnx"));
                    }
                }
            }
            Err(e) => prop_assert!(e.span.end <= text.len()),
        }
    }

    /// A spec that names each slice once gives each slice exactly that chain.
    #[test]
    fn generated_specs_resolve(names in prop::collection::vec(prop::sample::select(LOADED.to_vec()), 1..8)) {
        let text = names.iter().enumerate().map(|(i, n)| format!("{i}:{n}")).collect::<Vec<_>>().join(";");
        let routes = Spec::parse(&text)
            .and_then(|s| s.resolve(names.len(), &Defaults::default(), true))
            .map_err(|e| TestCaseError::fail(e.to_string()))?;
        for (i, name) in names.iter().enumerate() {
            let chain = routes.chain(i).map(|c| c.backends.join("|"));
            prop_assert_eq!(chain.as_deref(), Some(*name));
        }
    }
}
