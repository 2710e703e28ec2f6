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
        output_file: args.output_file.clone(),
    };
    let ran = app.with_session(Some(&args.limits), |session| {
        carry_out(session, &path, &options)
    })?;
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
    Ok(exit(&ran.report))
}

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
    let _ = writeln!(out, "run at {}", shown(&ran.path));
    out
}

/// `largest difference 2.4e-7 (relative 1.1e-7), same answer`.
pub fn fidelity(f: &Fidelity) -> String {
    let number = |v: Option<f64>| v.map_or_else(|| "not finite".to_owned(), numbers::short);
    let answer = match f.same_argmax {
        Some(true) => ", same largest element",
        Some(false) => ", another largest element",
        None => "",
    };
    format!(
        "largest difference {} (relative {}){answer}",
        number(f.max_abs),
        number(f.max_rel)
    )
}
