//! `prove`.

use super::{compile::exit, paths, summary};
use crate::app::App;
use crate::args::stages::Prove;
use crate::error::Result;
use crate::exit::Exit;
use crate::output;
use dsperse_stages::prove::{self, ProveOptions};
use dsperse_stages::report::StageReport;
use dsperse_stages::{Session, slices};
use dsperse_store::{Access, RunDir};
use std::path::Path;

pub fn execute(app: &App, args: &Prove) -> Result<Exit> {
    let (run, data) = paths::run_and_slices(app, &args.of)?;
    let options = ProveOptions {
        layers: args.layers.clone(),
        force: args.force,
        proof_output: args.proof_output.clone(),
    };
    let report = app.with_executor(&args.limits, &args.engine, |session| {
        carry_out(session, &run, &data, &options)
    })?;
    if let Some(file) = &args.output_file {
        output::file(file, &summary::document(&report, "prove"))?;
    }
    summary::stage(app, &report, "prove");
    Ok(exit(&report))
}

pub fn carry_out(
    session: &Session<'_>,
    run: &Path,
    data: &Path,
    options: &ProveOptions,
) -> Result<StageReport> {
    let store = slices::open(data, Access::Read)?;
    let run = RunDir::open(run, Access::Edit).map_err(dsperse_stages::Error::from)?;
    let report = prove::prove(session, &store, &run, options)?;
    session.check_cancelled()?;
    Ok(report)
}
