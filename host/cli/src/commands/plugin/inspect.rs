//! `plugin inspect`.

use crate::app::App;
use crate::console::foreign::field;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_plugin_api::{Descriptor, OperatorSupport, ProofProperties, Setup};
use dsperse_plugin_host::{Plugin, PluginHost};
use serde_json::json;
use std::fmt::Write as _;

/// What a backend says of itself.
pub fn execute(app: &App, name: &str) -> Result<Exit> {
    let host = app.plugins()?;
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
    let mut out = format!("{} {}\n  {}\n", d.name, d.version, field(&d.summary));
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
            "not stated".into()
        } else {
            field(&d.licence)
        }
    );
    let _ = writeln!(out, "  stages       {}", stages.join(", "));
    match &c.proof {
        None => out.push_str("  proofs       none\n"),
        Some(p) => proofs(&mut out, p),
    }
    if !c.operators.is_empty() {
        let name = |o: &OperatorSupport| match o.domain.as_str() {
            "" => field(&o.op).into_owned(),
            domain => field(&format!("{domain}.{}", o.op)).into_owned(),
        };
        let (rewritten, own): (Vec<_>, Vec<_>) = c
            .operators
            .iter()
            .partition(|o| o.limits == OperatorSupport::REWRITTEN);
        let list: Vec<String> = own
            .into_iter()
            .map(|o| match o.limits.as_str() {
                "" => name(o),
                limits => format!("{} ({})", name(o), field(limits)),
            })
            .collect();
        let _ = writeln!(out, "  operators    {}", list.join(", "));
        if !rewritten.is_empty() {
            let list: Vec<String> = rewritten.into_iter().map(name).collect();
            let _ = writeln!(out, "  rewritten    {}", list.join(", "));
        }
    }
    for t in &c.tools {
        let _ = writeln!(
            out,
            "  tool         {} {}; {}",
            field(&t.name),
            field(&t.version),
            field(&t.install_hint)
        );
        if !t.licence_note.is_empty() {
            let _ = writeln!(out, "               {}", field(&t.licence_note));
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
            field(&o.key),
            o.kind,
            field(&o.help)
        );
    }
    for (key, value) in &d.facts {
        let _ = writeln!(out, "  {:<12} {}", field(key), field(&value.to_string()));
    }
    out
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

fn proofs(out: &mut String, p: &ProofProperties) {
    let yes = |b| if b { "yes" } else { "no" };
    let setup = match p.setup {
        Setup::None => "none",
        Setup::Universal => "universal",
        Setup::PerCircuit => "per circuit",
    };
    let binds = format!("{:?}", p.binds_public_io).to_lowercase();
    let bits = p.security_bits.map(|b| format!("{b} bits"));
    for (key, value) in [
        ("zero knowledge", yes(p.zero_knowledge)),
        ("succinct", yes(p.succinct)),
        ("hides weights", yes(p.hides_weights)),
        ("post-quantum", yes(p.post_quantum)),
        ("trusted setup", setup),
        ("binds inputs and outputs", &binds),
        ("same keys when compiled again", yes(p.reproducible_compile)),
        ("soundness", bits.as_deref().unwrap_or("not stated")),
    ] {
        let _ = writeln!(out, "  proofs       {key}: {value}");
    }
    for caveat in &p.caveats {
        let _ = writeln!(out, "  note         {}", field(caveat));
    }
}
