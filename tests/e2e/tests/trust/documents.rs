//! The documents that a verification writes are those of `docs/verification-report.md`:
//! every field is described there, with its type, and nothing else is.

use super::world::{Lab, World};
use dsperse_documents::Document;
use dsperse_stages::verify::VerifyOptions;
use serde_json::Value;
use std::collections::BTreeMap;

/// Tables of the page: heading of the section, then field → (type, may be absent or null).
fn described() -> BTreeMap<String, BTreeMap<String, String>> {
    let page = dsperse_test_support::repository().join("docs/verification-report.md");
    let text = std::fs::read_to_string(page).expect("the page");
    let mut tables: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading.trim().to_owned();
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let [_, field, kind, _, ..] = cells[..]
            && let Some(field) = field.strip_prefix('`').and_then(|f| f.strip_suffix('`'))
        {
            let fields = tables.entry(section.clone()).or_default();
            fields.insert(field.to_owned(), kind.to_owned());
        }
    }
    tables
}

fn fits(kind: &str, value: &Value) -> bool {
    kind.split(" or ").any(|k| match k {
        "text" | "version" | "digest" | "word" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64(),
        "bool" => value.is_boolean(),
        "list" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        "absent" => false,
        other => panic!("the page has an unknown type \"{other}\""),
    })
}

fn compare(section: &str, value: &Value) {
    let tables = described();
    let fields = tables
        .get(section)
        .unwrap_or_else(|| panic!("the page has no section \"{section}\""));
    let object = value.as_object().expect("an object");
    for (name, value) in object {
        let kind = fields
            .get(name)
            .unwrap_or_else(|| panic!("\"{name}\" is not described under \"{section}\""));
        assert!(
            fits(kind, value),
            "{section}: \"{name}\" is no {kind}: {value}"
        );
        if kind.contains("digest") && !value.is_null() {
            let text = value.as_str().expect("text");
            assert!(
                dsperse_documents::digest::is_sha256_hex(text),
                "{name}: {text}"
            );
        }
    }
    for (name, kind) in fields {
        assert!(
            object.contains_key(name) || kind.contains("absent"),
            "{section}: \"{name}\" is described and not there"
        );
    }
}

pub fn reports_and_receipts_are_as_described() {
    for backend in ["sumcheck", "onnx"] {
        let world = World::of(backend);
        let report = Lab::of(backend)
            .verify(&world, &VerifyOptions::default())
            .report();
        let value = serde_json::to_value(&report).expect("JSON");
        compare("Report", &value);
        compare("Counts", &value["counts"]);
        compare("Proven share", &value["proven_share"]);
        for s in value["slices"].as_array().expect("slices") {
            compare("Slice of a report", s);
            compare("Usage", &s["usage"]);
            if s["proof"].is_object() {
                compare("Proof properties", &s["proof"]);
            }
            for f in s["circuit"].as_array().into_iter().flatten() {
                compare("File", f);
            }
        }
        let receipt = serde_json::to_value(report.receipt()).expect("JSON");
        compare("Receipt", &receipt);
        for s in receipt["slices"].as_array().expect("slices") {
            compare("Slice of a receipt", s);
        }
    }
}

pub fn the_page_names_the_versions() {
    let page = dsperse_test_support::repository().join("docs/verification-report.md");
    let text = std::fs::read_to_string(page).expect("the page");
    for (kind, schema) in [
        ("Report", dsperse_documents::VerificationReport::SCHEMA),
        ("Receipt", dsperse_documents::Receipt::SCHEMA),
    ] {
        assert!(
            text.contains(&format!("{kind}: schema {schema}")),
            "the page describes another version of the {kind}"
        );
    }
}
