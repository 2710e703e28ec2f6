//! `full-run`: slice, compile, run, prove, verify.

use super::{compile, paths, prove, run, slice as slice_command, summary, verify};
use crate::app::{App, shown};
use crate::args::stages::FullRun;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_documents::{TensorInfo, VerificationReport};
use dsperse_router::Spec;
use dsperse_stages::Session;
use dsperse_stages::compile::Calibration;
use dsperse_stages::prove::ProveOptions;
use dsperse_stages::report::StageReport;
use dsperse_stages::run::{Ran, RunOptions, check_output_file};
use dsperse_stages::slice::{self, SliceOptions, Wanted};
use dsperse_stages::verify::VerifyOptions;
use dsperse_store::{Access, Shape, read_inputs};
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

struct All {
    compiled: StageReport,
    ran: Ran,
    proven: StageReport,
    verdict: VerificationReport,
}

pub fn execute(app: &App, args: &FullRun) -> Result<Exit> {
    let (dir, model) = match (&args.model, &args.slices) {
        (None, Some(slices)) => (paths::model_dir_of(slices)?, None),
        (given, _) => {
            let model = paths::model(app, given.clone())?;
            slice::model_file(&model)?;
            (slice::model_dir(&model), Some(model))
        }
    };
    if let Some(file) = &args.output_file {
        check_output_file(file)?;
    }
    let input = paths::model_input(app, args.input.as_deref(), &dir)?;
    let all = app.with_executor(
        &args.fidelity.within(&args.limits),
        &args.engine,
        |session| {
            // Mistakes in the spec are told before any work.
            if let Some(text) = &args.routing.backend {
                session.check_names(&Spec::parse(text)?)?;
            }
            let slices = sliced(session, app, args, model.as_deref(), &dir, &input)?;
            // A wrong input would be found only after everything is compiled.
            read_inputs(&input, &model_inputs(&slices)?).map_err(dsperse_stages::Error::from)?;
            stages(session, args, &slices, &input, &dir)
        },
    )?;
    let mut text = format!(
        "{}\n{}\n{}\n{}",
        summary::text(&all.compiled),
        run::text(&all.ran),
        summary::text(&all.proven),
        verify::text(&all.verdict)
    );
    let left = all.compiled.failed().count();
    if left > 0 {
        let _ = writeln!(
            text,
            "but {left} of {} slices could not be compiled as asked: see the first table",
            all.compiled.slices.len()
        );
    }
    app.print(
        &text,
        &json!({
            "schema": SCHEMA,
            "command": "full-run",
            "run": shown(&all.ran.path),
            "compile": all.compiled,
            "run_stage": all.ran.report,
            "results": all.ran.results,
            "prove": all.proven,
            "verification": all.verdict,
        }),
    );
    // A slice that could not be compiled or proven by a backend that was asked for is told
    // in the tables; the verdict decides, because it is what the user wants to know.
    if !all.compiled.complete() {
        return Ok(Exit::Failed);
    }
    Ok(verify::exit(&all.verdict))
}

/// The slices to work on: those given, or the model's own, sliced when they are not there.
fn sliced(
    session: &Session<'_>,
    app: &App,
    args: &FullRun,
    model: Option<&Path>,
    dir: &Path,
    input: &Path,
) -> Result<PathBuf> {
    if let Some(path) = &args.slices {
        return Ok(path.clone());
    }
    let Some(model) = model else {
        return Err(UserError::usage(
            "the model is missing",
            "give it with -m PATH",
        ));
    };
    let options = SliceOptions {
        cut: slice_command::cut(
            &args.cutting,
            args.routing.backend.as_deref(),
            args.layers.as_deref(),
        )?,
        wanted: Wanted {
            backend: args.routing.backend.clone(),
            policy: compile::policy(&args.routing.policy),
        },
        dims: paths::dims(&args.dims),
        sample: Some(input.to_path_buf()),
        shape: Shape::Dirs,
        output: dir.join("slices"),
        analysis: None,
    };
    let sliced = slice::slice(session, model, &options)?;
    if !app.global.json {
        app.note(&slice_command::summary(&sliced, None));
    }
    Ok(sliced.path)
}

fn model_inputs(slices: &Path) -> Result<Vec<TensorInfo>> {
    let store = dsperse_stages::slices::open(slices, Access::Read)?;
    let model = store.require_model().map_err(dsperse_stages::Error::from)?;
    Ok(model.inputs.clone())
}

fn stages(
    session: &Session<'_>,
    args: &FullRun,
    slices: &Path,
    input: &Path,
    dir: &Path,
) -> Result<All> {
    let calibration = Calibration::Offered(input.to_path_buf());
    let options = compile::options(&args.routing, args.layers.clone(), calibration, args.force);
    let compiled = compile::carry_out(session, slices, &options)?;
    if args.routing.strict && !compiled.complete() {
        let failed = compiled.failed().next();
        return Err(UserError {
            exit: Exit::Failed,
            message: failed
                .and_then(|l| l.error.clone())
                .unwrap_or_else(|| "a slice could not be compiled".to_owned()),
            hint: failed.and_then(|l| l.hint.clone()),
        });
    }
    let ran = run::carry_out(
        session,
        slices,
        &RunOptions {
            input: input.to_path_buf(),
            runs: dir.join("run"),
            backend: None,
            layers: args.layers.clone(),
            output_file: args.output_file.clone(),
            views: false,
        },
    )?;
    if !ran.report.complete() {
        let failed = ran.report.failed().next();
        return Err(UserError {
            exit: Exit::Failed,
            message: failed
                .and_then(|l| l.error.clone())
                .unwrap_or_else(|| "a slice could not be run".to_owned()),
            hint: failed.and_then(|l| l.hint.clone()),
        });
    }
    // A proof of values that nobody should rely on is worth nothing.
    if let Some(message) = run::missed(&ran) {
        return Err(UserError {
            exit: Exit::Failed,
            message: format!("{message} (run at {})", shown(&ran.path)),
            hint: Some(run::MISSED_HINT.to_owned()),
        });
    }
    let proven = prove::carry_out(
        session,
        &ran.path,
        slices,
        &ProveOptions {
            layers: args.layers.clone(),
            force: args.force,
            proof_output: None,
        },
    )?;
    let verdict = verify::carry_out(
        session,
        &ran.path,
        slices,
        &VerifyOptions {
            require: verify::require(args.require),
            ..VerifyOptions::default()
        },
        None,
    )?;
    Ok(All {
        compiled,
        ran,
        proven,
        verdict,
    })
}
