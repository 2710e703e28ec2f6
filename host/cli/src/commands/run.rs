//! `run`.

use super::{compile::exit, paths, summary};
use crate::app::{App, shown};
use crate::args::stages::Run;
use crate::console::numbers;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_documents::Fidelity;
use dsperse_stages::run::{self, Ran, RunOptions};
use dsperse_stages::{Session, slices};
use dsperse_store::Access;
use serde_json::json;
use std::fmt::Write as _;
use std::path::Path;

pub fn execute(app: &App, args: &Run) -> Result<Exit> {
    let path = paths::slices(app, args.path.slices.clone())?;
    let dir = paths::model_dir_of(&path)?;
    let options = RunOptions {
        input: paths::model_input(app, args.input.as_deref(), &dir)?,
        runs: args.run_dir.clone().unwrap_or_else(|| dir.join("run")),
        backend: args.backend.clone(),
        layers: args.layers.clone(),
        output_file: args.output_file.clone(),
        views: args.json_tensors,
    };
    let ran = app.with_executor(
        &args.fidelity.within(&args.limits),
        &args.engine,
        |session| carry_out(session, &path, &options),
    )?;
    app.print(
        &text(&ran),
        &json!({
            "schema": SCHEMA,
            "command": "run",
            "complete": ran.report.complete(),
            "path": shown(&ran.path),
            "slices": ran.report.slices,
            "results": ran.results,
        }),
    );
    // Values that nobody should rely on are no success.
    Ok(if missed(&ran).is_some() {
        Exit::Failed
    } else {
        exit(&ran.report)
    })
}

/// What there is to say when the run's outputs are too far from the float model.
pub fn missed(ran: &Ran) -> Option<String> {
    let fidelity = ran.results.fidelity.as_ref()?;
    fidelity.misses().then(|| {
        format!(
            "the run misses the fidelity target: {}",
            dsperse_stages::fidelity::told(fidelity)
        )
    })
}

/// What the user can do about it.
pub const MISSED_HINT: &str =
    "compile with inputs like this one (-i), or allow more with --max-error";

pub fn carry_out(session: &Session<'_>, path: &Path, options: &RunOptions) -> Result<Ran> {
    let store = slices::open(path, Access::Read)?;
    let ran = run::run(session, &store, options)?;
    session.check_cancelled()?;
    Ok(ran)
}

/// Table, fidelity and place.
pub fn text(ran: &Ran) -> String {
    let mut out = summary::text(&ran.report);
    if let Some(f) = &ran.results.fidelity {
        let _ = writeln!(out, "fidelity against the float model: {}", fidelity(f));
    }
    if let Some(sentence) = missed(ran) {
        let _ = writeln!(out, "failed: {sentence}\nhint: {MISSED_HINT}");
    }
    let _ = writeln!(out, "run at {}", shown(&ran.path));
    out
}

/// `largest difference 2.4e-7 (relative 1.1e-7, allowed 0.01), same largest element`.
pub fn fidelity(f: &Fidelity) -> String {
    let number = |v: Option<f64>| v.map_or_else(|| "not finite".to_owned(), numbers::short);
    let answer = match f.same_argmax {
        Some(true) => ", same largest element",
        Some(false) => ", another largest element",
        None => "",
    };
    let allowed = f
        .target
        .map_or_else(String::new, |t| format!(", allowed {t}"));
    let top = f.top5.filter(|t| *t < 1.0).map_or_else(String::new, |t| {
        format!(", {} of the largest five agree", numbers::percent(t))
    });
    // Results of an earlier version have no error of this kind.
    let relative = f.error.or(f.max_rel);
    format!(
        "largest difference {} (relative {}{allowed}){answer}{top}",
        number(f.max_abs),
        number(relative)
    )
}
