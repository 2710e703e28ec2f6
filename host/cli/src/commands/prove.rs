//! `prove`.

use super::{batch, compile::exit, paths, summary};
use crate::app::App;
use crate::args::stages::Prove;
use crate::error::Result;
use crate::exit::Exit;
use crate::output;
use dsperse_stages::prove::{self, ProveOptions};
use dsperse_stages::report::StageReport;
use dsperse_stages::{Session, opened};
use dsperse_store::{Access, RunDir, SliceStore};
use std::path::Path;

pub fn execute(app: &App, args: &Prove) -> Result<Exit> {
    let options = ProveOptions {
        layers: args.layers.clone(),
        force: args.force,
        proof_output: args.proof_output.clone(),
    };
    if let Some(given) = batch::given(app, &args.of)? {
        batch::refuse(
            &[("--proof-output", args.proof_output.is_some())],
            &given.path,
        )?;
        let stage = app.with_executor(&args.limits, &args.engine, |session| {
            let store = opened::open(&given.slices, Access::Read)?;
            batch::each(&given.path, &given.members, |member| {
                carry_out(session, &member.run, &store, &options)
            })
        })?;
        let document = stage.document("prove");
        if let Some(file) = &args.output_file {
            output::file(file, &document)?;
        }
        app.print(&stage.text("prove"), &document);
        return Ok(Exit::of(stage.complete()));
    }
    let (run, data) = paths::run_and_slices(app, &args.of)?;
    let report = app.with_executor(&args.limits, &args.engine, |session| {
        carry_out(session, &run, &opened::open(&data, Access::Read)?, &options)
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
    store: &SliceStore,
    options: &ProveOptions,
) -> Result<StageReport> {
    let run = RunDir::open(run, Access::Edit)?;
    let report = prove::prove(session, store, &run, options)?;
    session.check_cancelled()?;
    Ok(report)
}
