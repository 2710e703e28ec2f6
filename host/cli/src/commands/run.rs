//! `run`.

use super::{batch, compile::exit, paths, summary};
use crate::app::App;
use crate::args::stages::Run;
use crate::console::foreign::field;
use crate::console::numbers;
use crate::console::shown;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_documents::Fidelity;
use dsperse_stages::batch::BatchRan;
use dsperse_stages::run::{self, Ran, RunOptions};
use dsperse_stages::{Session, slices};
use dsperse_store::{Access, Sample, SliceStore};
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

pub fn execute(app: &App, args: &Run) -> Result<Exit> {
    let path = paths::slices(app, args.path.slices.clone())?;
    let dir = paths::model_dir_of(&path)?;
    let input = paths::model_input(app, &args.input, &dir)?;
    let options = RunOptions {
        name: None,
        runs: args.run_dir.clone().unwrap_or_else(|| dir.join("run")),
        backend: args.backend.clone(),
        layers: args.layers.clone(),
        output_file: args.output_file.clone(),
        views: args.json_tensors,
    };
    let ran = app.with_executor(
        &args.fidelity.within(&args.limits),
        &args.engine,
        |session| {
            let store = slices::open(&path, Access::Read)?;
            let samples = samples(&store, &input, args.output_file.as_deref())?;
            carry_out(session, &store, &options, &samples)
        },
    )?;
    let ran = match ran {
        Runs::One(ran) => *ran,
        Runs::Many(many) => {
            app.print(&batch::ran_text(&many), &batch::ran_document(&many));
            return Ok(Exit::of(batch::faithful(&many)));
        }
    };
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

/// One run, or a batch of them.
pub enum Runs {
    /// A run on one input.
    One(Box<Ran>),
    /// Runs on several.
    Many(BatchRan),
}

/// The inputs in files and directories, as the model of the slices wants them. A file that
/// can't take the outputs of so many is told before any work.
pub fn samples(
    store: &SliceStore,
    input: &[PathBuf],
    output_file: Option<&Path>,
) -> Result<Vec<Sample>> {
    let model = store.require_model().map_err(dsperse_stages::Error::from)?;
    let samples = dsperse_stages::compile::read_all(input, model)?;
    if samples.len() > 1 {
        output_file.map(batch::check_outputs).transpose()?;
    }
    Ok(samples)
}

pub fn carry_out(
    session: &Session<'_>,
    store: &SliceStore,
    options: &RunOptions,
    samples: &[Sample],
) -> Result<Runs> {
    let runs = if let [one] = samples {
        Runs::One(Box::new(run::run(session, store, options, &one.tensors)?))
    } else {
        let file = options.output_file.as_deref();
        let options = RunOptions {
            output_file: None,
            ..options.clone()
        };
        let ran = dsperse_stages::batch::run(session, store, &options, samples)?;
        file.map(|file| batch::write_outputs(file, &ran))
            .transpose()?;
        Runs::Many(ran)
    };
    session.check_cancelled()?;
    Ok(runs)
}

/// Table, fidelity and place.
pub fn text(ran: &Ran) -> String {
    let mut out = summary::text(&ran.report);
    if let Some(f) = &ran.results.fidelity {
        let _ = writeln!(out, "fidelity against the float model: {}", fidelity(f));
    }
    if let Some(sentence) = missed(ran) {
        let _ = writeln!(out, "failed: {}\nhint: {MISSED_HINT}", field(&sentence));
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
