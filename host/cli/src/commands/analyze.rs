//! `analyze`.

use super::{compile, paths, slice};
use crate::app::App;
use crate::args::inspect::Analyze;
use crate::console::foreign::field;
use crate::console::numbers;
use crate::console::shown;
use crate::console::table::Table;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::{self, SCHEMA};
use dsperse_stages::analyze::{Analysis, AnalyzeOptions, Answer, analyze};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

pub fn execute(app: &App, args: &Analyze) -> Result<Exit> {
    let model = paths::model_or_slices(app, args.model.clone())?;
    let options = AnalyzeOptions {
        cut: slice::cut(&args.cutting, args.routing.backend.as_deref(), None)?,
        dims: paths::dims(&args.dims),
        sample: args.input.clone(),
        backend: args.routing.backend.clone(),
        strict: args.routing.strict,
        policy: compile::policy(&args.routing.policy),
    };
    let analysis = app.with_session(Some(&args.limits), |session| {
        Ok(analyze(session, &model, &options)?)
    })?;
    let document = json!({"schema": SCHEMA, "command": "analyze", "analysis": analysis});
    let mut text = summary(&analysis);
    if let Some(file) = &args.output_file {
        output::file(file, &document)?;
        let _ = writeln!(text, "analysis at {}", shown(file));
    }
    app.print(&text, &document);
    Ok(Exit::Done)
}

fn summary(analysis: &Analysis) -> String {
    let mut out = String::new();
    if let Some(m) = &analysis.model {
        let _ = writeln!(
            out,
            "{}: {} nodes, {} parameters, {} multiply-accumulates, opset {}",
            m.model.name,
            m.nodes.len(),
            numbers::count(m.parameters),
            numbers::count(m.macs),
            m.opset_imports
                .get("")
                .map_or_else(|| "unknown".to_owned(), i64::to_string)
        );
        for warning in &m.warnings {
            let _ = writeln!(out, "note: {}", field(warning));
        }
    }
    let names: Vec<&str> = analysis
        .slices
        .first()
        .map(|s| s.answers.iter().map(|a| a.backend.as_str()).collect())
        .unwrap_or_default();
    let mut heading = vec!["slice", "operators", "parameters", "MACs"];
    heading.extend(&names);
    let mut table = Table::new(&heading, &[0, 2, 3]);
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for s in &analysis.slices {
        let mut row = vec![
            s.index.to_string(),
            s.operators.clone(),
            numbers::count(s.parameters),
            numbers::count(s.macs),
        ];
        for a in &s.answers {
            row.push(cell(a));
            if let Some(reason) = why_not(a) {
                reasons
                    .entry(format!("{}: {reason}", a.backend))
                    .or_default()
                    .push(s.index.to_string());
            }
        }
        table.row(row);
    }
    out.push_str(&table.render());
    for (backend, operators) in rewritten(analysis) {
        let operators: Vec<&str> = operators.into_iter().collect();
        let _ = writeln!(
            out,
            "{backend} rewrites {} by simpler operators",
            field(&operators.join(", "))
        );
    }
    for (reason, slices) in &reasons {
        let _ = writeln!(out, "{} (slice {})", field(reason), slices.join(", "));
    }
    for name in names {
        let yes = |s: &&dsperse_stages::analyze::SliceAnalysis| {
            s.answers
                .iter()
                .any(|a| a.backend == name && a.supported && a.proves)
        };
        let (parameters, macs) = analysis
            .slices
            .iter()
            .filter(yes)
            .fold((0u64, 0u64), |(p, m), s| (p + s.parameters, m + s.macs));
        if analysis.slices.iter().any(|s| yes(&s)) {
            let _ = writeln!(
                out,
                "{name} could prove {} of parameters, {} of multiply-accumulates",
                share(parameters, analysis.parameters),
                share(macs, analysis.macs)
            );
        }
    }
    out
}

/// What each backend that proves does by simpler operators.
fn rewritten(analysis: &Analysis) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut out: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for a in analysis.slices.iter().flat_map(|s| &s.answers) {
        if !a.rewritten.is_empty() {
            let names = a.rewritten.iter().map(String::as_str);
            out.entry(&a.backend).or_default().extend(names);
        }
    }
    out
}

fn cell(a: &Answer) -> String {
    match (a.supported, a.proves) {
        (false, _) => "no".to_owned(),
        (true, false) => "runs".to_owned(),
        (true, true) if a.prove_cpu_seconds > 0.0 => {
            format!("proves (about {})", numbers::seconds(a.prove_cpu_seconds))
        }
        (true, true) => "proves".to_owned(),
    }
}

fn why_not(a: &Answer) -> Option<String> {
    let reason = a.reason.as_ref()?;
    Some(match (&a.node, &a.op) {
        (Some(node), Some(op)) => format!("{reason} (node \"{node}\", {op})"),
        _ => reason.clone(),
    })
}

#[allow(clippy::cast_precision_loss)]
fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "none".to_owned();
    }
    numbers::percent(part as f64 / whole as f64)
}
