//! `plugin doctor`.

use crate::app::App;
use crate::console::foreign::field;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_plugin_api::{Descriptor, Probe, ProbeJob};
use dsperse_plugin_host::{Control, Reply, Request};
use serde_json::json;
use std::fmt::Write as _;

/// Which external tools are here, and what to type for the others.
pub fn execute(app: &App, reset: bool) -> Result<Exit> {
    let mut out = String::new();
    if reset {
        let n = app.plugins()?.reset_quarantine().map_err(|e| UserError {
            exit: Exit::Backend,
            message: format!("can't clear the quarantine: {e}"),
            hint: Some("check the permissions of the user's cache directory".to_owned()),
        })?;
        let _ = writeln!(
            out,
            "{n} quarantined librar{} will be tried again",
            if n == 1 { "y" } else { "ies" }
        );
    }
    let config = app.config()?;
    let host = app.plugins()?;
    let mut documents = Vec::new();
    for p in host.plugins() {
        let options = config.options(&p.descriptor)?;
        let dir = tempfile::tempdir().map_err(|e| UserError {
            exit: Exit::Failed,
            message: format!("can't create a temporary directory: {e}"),
            hint: None,
        })?;
        let call = host.call(
            &p.descriptor.name,
            Request::Probe(ProbeJob { options }),
            Control::new(dir.path()),
        );
        match call.result {
            Ok(Reply::Probe(probe)) => {
                out.push_str(&probed(&p.descriptor, &probe));
                documents.push(json!({"backend": p.descriptor.name, "probe": probe}));
            }
            Ok(_) => {}
            Err(e) => {
                let _ = writeln!(
                    out,
                    "{}: can't be probed: {}",
                    p.descriptor.name,
                    field(&e.message)
                );
                if let Some(hint) = &e.hint {
                    let _ = writeln!(out, "  hint: {}", field(hint));
                }
                documents.push(json!({"backend": p.descriptor.name, "error": e}));
            }
        }
    }
    if host.plugins().is_empty() {
        out.push_str("no backend could be loaded\n");
    }
    for s in host.skipped() {
        let _ = writeln!(out, "skipped: {}", field(&s.to_string()));
    }
    app.print(
        &out,
        &json!({"schema": SCHEMA, "command": "plugin doctor", "backends": documents}),
    );
    Ok(Exit::Done)
}

fn probed(d: &Descriptor, probe: &Probe) -> String {
    let state = match (probe.ready, probe.can_verify) {
        (true, _) => "ready",
        (false, true) => "can verify, can't compile and prove",
        (false, false) => "not usable",
    };
    let mut out = format!("{} {}: {state}\n", d.name, d.version);
    for t in &probe.tools {
        let found = t.found.as_deref().unwrap_or("not found");
        let mark = if t.ok { "ok" } else { "missing" };
        let _ = writeln!(
            out,
            "  {mark:<8} {} (wanted {}, found {})",
            field(&t.name),
            field(&t.wanted),
            field(found)
        );
        if let Some(hint) = t.hint.as_ref().filter(|_| !t.ok) {
            let _ = writeln!(out, "           {}", field(hint));
        }
    }
    for note in &probe.notes {
        let _ = writeln!(out, "  note     {}", field(note));
    }
    out
}
