//! `run`.

use super::{batch, compile::exit, paths, summary};
use crate::app::App;
use crate::args::stages::Run;
use crate::console::shown;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_stages::batch::BatchRan;
use dsperse_stages::run::{self, Ran, RunOptions};
use dsperse_stages::{Session, opened};
use dsperse_store::{Access, Sample, SliceStore};
use serde_json::json;
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
            let store = opened::open(&path, Access::Read)?;
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
        &summary::run(&ran),
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
    Ok(if summary::missed(&ran).is_some() {
        Exit::Failed
    } else {
        exit(&ran.report)
    })
}

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
    let model = store.require_model()?;
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
