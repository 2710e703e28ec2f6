//! `plugin list`, `inspect`, `doctor`.

use crate::app::App;
use crate::args::plugin::PluginCommand;
use crate::console::table::Table;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_plugin_api::{Descriptor, Probe, ProbeJob, Setup, Stage};
use dsperse_plugin_host::{CallOptions, Plugin, PluginHost, Reply, Request};
use serde_json::{Value, json};
use std::fmt::Write as _;

pub fn execute(app: &App, command: &PluginCommand) -> Result<Exit> {
    match command {
        PluginCommand::List => list(app),
        PluginCommand::Inspect { name } => inspect(app, name),
        PluginCommand::Doctor { reset } => doctor(app, *reset),
        _ => Ok(Exit::Usage),
    }
}

fn list(app: &App) -> Result<Exit> {
    let host = app.plugins();
    let mut table = Table::new(
        &["backend", "version", "proofs", "library", "what it is"],
        &[],
    );
    for p in host.plugins() {
        table.row(vec![
            p.descriptor.name.clone(),
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
            let _ = writeln!(out, "  {s}");
        }
    }
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
    app.print(
        &out,
        &json!({"schema": SCHEMA, "command": "plugin list", "plugins": plugins, "skipped": skipped}),
    );
    Ok(Exit::Done)
}

/// A loaded plugin, or an error that lists what there is.
fn find<'h>(host: &'h PluginHost, name: &str) -> Result<&'h Plugin> {
    host.get(name).ok_or_else(|| {
        let names: Vec<&str> = host
            .plugins()
            .iter()
            .map(|p| p.descriptor.name.as_str())
            .collect();
        UserError {
            exit: Exit::Backend,
            message: format!("no backend named \"{name}\" is loaded"),
            hint: Some(if names.is_empty() {
                "see \"dsperse plugin list\" for what was skipped and why".to_owned()
            } else {
                format!(
                    "loaded backends: {}; \"dsperse plugin list\" tells what was skipped",
                    names.join(", ")
                )
            }),
        }
    })
}

fn inspect(app: &App, name: &str) -> Result<Exit> {
    let host = app.plugins();
    let plugin = find(&host, name)?;
    app.print(
        &describe(&plugin.descriptor, plugin),
        &json!({
            "schema": SCHEMA,
            "command": "plugin inspect",
            "path": plugin.path,
            "sha256": plugin.digest,
            "descriptor": plugin.descriptor,
        }),
    );
    Ok(Exit::Done)
}

fn describe(d: &Descriptor, plugin: &Plugin) -> String {
    let c = &d.capabilities;
    let mut out = format!("{} {}\n  {}\n", d.name, d.version, d.summary);
    let stages: Vec<String> = c
        .stages
        .iter()
        .map(|s| format!("{s:?}").to_lowercase())
        .collect();
    let _ = writeln!(out, "  library      {}", plugin.path.display());
    let _ = writeln!(out, "  SHA-256      {}", plugin.digest);
    let _ = writeln!(out, "  plugin API   {}", d.api_version);
    let _ = writeln!(
        out,
        "  licence      {}",
        if d.licence.is_empty() {
            "not stated"
        } else {
            &d.licence
        }
    );
    let _ = writeln!(out, "  stages       {}", stages.join(", "));
    match &c.proof {
        None => out.push_str("  proofs       none\n"),
        Some(p) => {
            let yes = |b| if b { "yes" } else { "no" };
            let setup = match p.setup {
                Setup::None => "none",
                Setup::Universal => "universal",
                Setup::PerCircuit => "per circuit",
            };
            let _ = writeln!(
                out,
                "  proofs       zero knowledge: {}; succinct: {}; hides weights: {}; post-quantum: {}",
                yes(p.zero_knowledge),
                yes(p.succinct),
                yes(p.hides_weights),
                yes(p.post_quantum)
            );
            let _ = writeln!(
                out,
                "               trusted setup: {setup}; binds inputs and outputs: {}; same keys when compiled again: {}",
                format!("{:?}", p.binds_public_io).to_lowercase(),
                yes(p.reproducible_compile)
            );
            if let Some(bits) = p.security_bits {
                let _ = writeln!(out, "               soundness: {bits} bits");
            }
            for caveat in &p.caveats {
                let _ = writeln!(out, "  note         {caveat}");
            }
        }
    }
    if !c.operators.is_empty() {
        let list: Vec<String> = c
            .operators
            .iter()
            .map(|o| {
                if o.limits.is_empty() {
                    o.op.clone()
                } else {
                    format!("{} ({})", o.op, o.limits)
                }
            })
            .collect();
        let _ = writeln!(out, "  operators    {}", list.join(", "));
    }
    for t in &c.tools {
        let _ = writeln!(
            out,
            "  tool         {} {}; {}",
            t.name, t.version, t.install_hint
        );
        if !t.licence_note.is_empty() {
            let _ = writeln!(out, "               {}", t.licence_note);
        }
    }
    for o in &d.options {
        let default = o
            .default
            .as_ref()
            .map_or_else(String::new, |v| format!(", default {v}"));
        let _ = writeln!(
            out,
            "  option       {} ({}{default}): {}",
            o.key, o.kind, o.help
        );
    }
    for (key, value) in &d.facts {
        let _ = writeln!(out, "  {key:<12} {value}");
    }
    out
}

fn doctor(app: &App, reset: bool) -> Result<Exit> {
    let mut out = String::new();
    if reset {
        let n = app.plugins().reset_quarantine().map_err(|e| UserError {
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
    let host = app.plugins();
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
            CallOptions::new(dir.path()),
        );
        match call.result {
            Ok(Reply::Probe(probe)) => {
                out.push_str(&probed(&p.descriptor, &probe));
                documents.push(json!({"backend": p.descriptor.name, "probe": probe}));
            }
            Ok(_) => {}
            Err(e) => {
                let _ = writeln!(out, "{}: can't be probed: {}", p.descriptor.name, e.message);
                if let Some(hint) = &e.hint {
                    let _ = writeln!(out, "  hint: {hint}");
                }
                documents.push(json!({"backend": p.descriptor.name, "error": e}));
            }
        }
    }
    for s in host.skipped() {
        let _ = writeln!(out, "skipped: {s}");
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
            "  {mark:<8} {} (wanted {}, found {found})",
            t.name, t.wanted
        );
        if let Some(hint) = t.hint.as_ref().filter(|_| !t.ok) {
            let _ = writeln!(out, "           {hint}");
        }
    }
    for note in &probe.notes {
        let _ = writeln!(out, "  note     {note}");
    }
    out
}
