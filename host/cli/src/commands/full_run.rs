//! `full-run`: slice, compile, run, prove, verify.

use super::run::Runs;
use super::{
    batch, compile, paths, policy, prove, run, slice as slice_command, summary, verdict, verify,
};
use crate::app::App;
use crate::args::stages::FullRun;
use crate::console::shown;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_router::Spec;
use dsperse_stages::Session;
use dsperse_stages::batch::BatchRan;
use dsperse_stages::compile::Calibration;
use dsperse_stages::cut::Wanted;
use dsperse_stages::opened::open;
use dsperse_stages::prove::ProveOptions;
use dsperse_stages::report::StageReport;
use dsperse_stages::run::{Ran, RunOptions, check_output_file};
use dsperse_stages::slice::{self, SliceOptions};
use dsperse_stages::verify::{Demands, VerifyOptions};
use dsperse_store::{Access, Sample, Shape, SliceStore};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What there is to say at the end.
struct Told {
    text: String,
    document: Value,
    exit: Exit,
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
    let input = paths::model_input(app, &args.input, &dir)?;
    let told = app.with_executor(
        &args.fidelity.within(&args.limits),
        &args.engine,
        |session| {
            // Mistakes in the spec are told before any work.
            if let Some(text) = &args.routing.backend {
                session.check_names(&Spec::parse(text)?)?;
            }
            let slices = sliced(session, app, args, model.as_deref(), &dir, &input)?;
            // A wrong input would be found only after everything is compiled.
            let store = open(&slices, Access::Read)?;
            let samples = run::samples(&store, &input, args.output_file.as_deref())?;
            drop(store);
            stages(session, args, &slices, &input, &samples, &dir)
        },
    )?;
    app.print(&told.text, &told.document);
    Ok(told.exit)
}

/// The slices to work on: those given, or the model's own, sliced when they are not there.
fn sliced(
    session: &Session<'_>,
    app: &App,
    args: &FullRun,
    model: Option<&Path>,
    dir: &Path,
    input: &[PathBuf],
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
        sample: input.first().cloned(),
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

fn stages(
    session: &Session<'_>,
    args: &FullRun,
    slices: &Path,
    input: &[PathBuf],
    samples: &[Sample],
    dir: &Path,
) -> Result<Told> {
    let calibration = Calibration::Offered(input.to_vec());
    let options = compile::options(&args.routing, args.layers.clone(), calibration, args.force);
    let compiled = compile::carry_out(session, slices, &options)?;
    if args.routing.strict && !compiled.complete() {
        return Err(incomplete(&compiled, "a slice could not be compiled"));
    }
    let options = RunOptions {
        name: None,
        runs: dir.join("run"),
        backend: None,
        layers: args.layers.clone(),
        output_file: args.output_file.clone(),
        views: false,
    };
    let store = open(slices, Access::Read)?;
    let ran = run::carry_out(session, &store, &options, samples)?;
    let mut told = match &ran {
        Runs::One(ran) => one(session, args, &store, &compiled, ran)?,
        Runs::Many(ran) => many(session, args, &store, &compiled, ran)?,
    };
    let left = compiled.failed().count();
    if left > 0 {
        let _ = writeln!(
            told.text,
            "but {left} of {} slices could not be compiled as asked: see the first table",
            compiled.slices.len()
        );
    }
    // A slice that could not be compiled or proven by a backend that was asked for is told
    // in the tables; the verdict decides, because it is what the user wants to know.
    if !compiled.complete() {
        told.exit = Exit::Failed;
    }
    Ok(told)
}

fn prove_options(args: &FullRun) -> ProveOptions {
    ProveOptions {
        layers: args.layers.clone(),
        force: args.force,
        proof_output: None,
    }
}

fn verify_options(args: &FullRun) -> VerifyOptions {
    let require = policy::require(args.require);
    Demands {
        require,
        ..Demands::default()
    }
    .into()
}

fn one(
    session: &Session<'_>,
    args: &FullRun,
    store: &SliceStore,
    compiled: &StageReport,
    ran: &Ran,
) -> Result<Told> {
    check(ran)?;
    let proven = prove::carry_out(session, &ran.path, store, &prove_options(args))?;
    let verdict = verify::carry_out(session, &ran.path, store, &verify_options(args), None)?;
    Ok(Told {
        text: format!(
            "{}\n{}\n{}\n{}",
            summary::text(compiled),
            summary::run(ran),
            summary::text(&proven),
            verdict::text(&verdict)
        ),
        document: json!({
            "schema": SCHEMA,
            "command": "full-run",
            "run": shown(&ran.path),
            "compile": compiled,
            "run_stage": ran.report,
            "results": ran.results,
            "prove": proven,
            "verification": verdict,
        }),
        exit: verdict::exit(&verdict),
    })
}

fn many(
    session: &Session<'_>,
    args: &FullRun,
    store: &SliceStore,
    compiled: &StageReport,
    ran: &BatchRan,
) -> Result<Told> {
    for (source, ran) in &ran.runs {
        check(ran).map_err(|e| UserError {
            message: format!("{source}: {}", e.message),
            ..e
        })?;
    }
    let members = ran.members();
    let proven = batch::each(&ran.path, &members, |member| {
        prove::carry_out(session, &member.run, store, &prove_options(args))
    })?;
    let verdicts = batch::each(&ran.path, &members, |member| {
        verify::carry_out(session, &member.run, store, &verify_options(args), None)
    })?;
    Ok(Told {
        text: format!(
            "{}\n{}\n{}\n{}",
            summary::text(compiled),
            batch::ran_text(ran),
            proven.text("prove"),
            verdicts.text()
        ),
        document: json!({
            "schema": SCHEMA,
            "command": "full-run",
            "batch": shown(&ran.path),
            "compile": compiled,
            "run_stage": batch::ran_document(ran),
            "prove": proven.document("prove"),
            "verification": verdicts.document(),
        }),
        exit: Exit::of(verdicts.accepted()),
    })
}

/// Whether a run is worth proving.
fn check(ran: &Ran) -> Result<()> {
    if !ran.report.complete() {
        return Err(incomplete(&ran.report, "a slice could not be run"));
    }
    // A proof of values that nobody should rely on is worth nothing.
    if let Some(message) = summary::missed(ran) {
        return Err(UserError {
            exit: Exit::Failed,
            message: format!("{message} (run at {})", shown(&ran.path)),
            hint: Some(summary::MISSED_HINT.to_owned()),
        });
    }
    Ok(())
}

/// The first slice that failed.
fn incomplete(report: &StageReport, otherwise: &str) -> UserError {
    let failed = report.failed().next();
    UserError {
        exit: Exit::Failed,
        message: failed
            .and_then(|l| l.error.clone())
            .unwrap_or_else(|| otherwise.to_owned()),
        hint: failed.and_then(|l| l.hint.clone()),
    }
}
