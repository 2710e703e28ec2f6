//! `plugin list`.

use crate::app::App;
use crate::console::foreign::field;
use crate::console::table::Table;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_plugin_api::Stage;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What is loaded, and what was skipped and why.
pub fn execute(app: &App) -> Result<Exit> {
    let host = app.plugins()?;
    let mut table = Table::new(
        &["backend", "version", "proofs", "library", "what it is"],
        &[],
    );
    let others = host.other_versions();
    for p in host.plugins().iter().chain(others) {
        // What to write in a backend spec.
        let beside = others.iter().any(|o| o.path == p.path);
        let d = &p.descriptor;
        table.row(vec![
            match beside {
                true => format!("{}@{}", d.name, d.version),
                false => d.name.clone(),
            },
            p.descriptor.version.to_string(),
            if p.descriptor.capabilities.stages.contains(&Stage::Prove) {
                "yes"
            } else {
                "no"
            }
            .to_owned(),
            p.path.display().to_string(),
            p.descriptor.summary.clone(),
        ]);
    }
    let mut out = if host.plugins().is_empty() {
        "no backend could be loaded\n".to_owned()
    } else {
        table.render()
    };
    if !host.skipped().is_empty() {
        out.push_str("skipped:\n");
        for s in host.skipped() {
            let _ = writeln!(out, "  {}", field(&s.to_string()));
        }
    }
    let searched = &host.options().search;
    out.push_str("searched, in this order:\n");
    for place in searched {
        let _ = writeln!(out, "  {} ({})", place.path.display(), place.source.words());
    }
    let searched: Vec<Value> = searched
        .iter()
        .map(|p| json!({"path": p.path, "source": p.source.words()}))
        .collect();
    let skipped: Vec<Value> = host
        .skipped()
        .iter()
        .map(|s| json!({"path": s.path, "kind": s.kind, "reason": s.reason}))
        .collect();
    let plugins: Vec<Value> = host
        .plugins()
        .iter()
        .map(|p| json!({"path": p.path, "sha256": p.digest, "descriptor": p.descriptor}))
        .collect();
    let others: Vec<Value> = others
        .iter()
        .map(|p| json!({"path": p.path, "sha256": p.digest, "descriptor": p.descriptor}))
        .collect();
    app.print(
        &out,
        &json!({"schema": SCHEMA, "command": "plugin list", "plugins": plugins, "other_versions": others, "skipped": skipped, "searched": searched}),
    );
    Ok(Exit::Done)
}
