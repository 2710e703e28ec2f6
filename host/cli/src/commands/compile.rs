//! `compile`.

use super::{paths, summary};
use crate::app::App;
use crate::args::common::{self, Routing};
use crate::args::stages::Compile;
use crate::error::Result;
use crate::exit::Exit;
use dsperse_router::{Policy, Spec};
use dsperse_stages::compile::{self, Calibration, CompileOptions};
use dsperse_stages::report::StageReport;
use dsperse_stages::{Session, opened};
use dsperse_store::Access;
use std::path::Path;

pub fn execute(app: &App, args: &Compile) -> Result<Exit> {
    let path = paths::slices(app, args.path.slices.clone())?;
    let report = app.with_executor(
        &args.fidelity.within(&args.limits),
        &args.engine,
        |session| {
            let calibration = match args.input.as_slice() {
                files @ [_, ..] => Calibration::Given(files.to_vec()),
                [] => {
                    let location = dsperse_store::resolve(&path)?;
                    let only_slice = !matches!(location.kind, dsperse_store::Kind::Model(_));
                    match paths::usual_input(&location.parent()) {
                        Some(file) if !only_slice => Calibration::Offered(vec![file]),
                        _ => Calibration::None,
                    }
                }
            };
            let options = options(&args.routing, args.layers.clone(), calibration, args.force);
            carry_out(session, &path, &options)
        },
    )?;
    summary::stage(app, &report, "compile");
    Ok(exit(&report))
}

/// Compiles and puts the result into the shape that was given, also after an interruption.
pub fn carry_out(
    session: &Session<'_>,
    path: &Path,
    options: &CompileOptions,
) -> Result<StageReport> {
    // Mistakes in the spec are told before anything is opened or locked.
    if let Some(text) = &options.backend {
        session.check_names(&Spec::parse(text)?)?;
    }
    let store = opened::open(path, Access::Edit)?;
    let report = compile::compile(session, &store, options)?;
    store.commit()?;
    session.check_cancelled()?;
    Ok(report)
}

/// The pipeline's options from the flags.
pub fn options(
    routing: &Routing,
    layers: Option<String>,
    calibration: Calibration,
    force: bool,
) -> CompileOptions {
    CompileOptions {
        backend: routing.backend.clone(),
        strict: routing.strict,
        policy: policy(&routing.policy),
        layers,
        calibration,
        force,
    }
}

/// Demands on proofs from the flags.
pub fn policy(p: &common::Policy) -> Policy {
    Policy {
        proof: p.require_proof,
        zero_knowledge: p.require_zk,
        strong_binding: p.require_strong_binding,
        succinct: p.require_succinct,
        hidden_weights: p.require_hidden_weights,
        post_quantum: p.require_post_quantum,
        transparent: p.require_transparent,
        security_bits: p.require_security,
    }
}

/// 1 when a slice failed.
pub fn exit(report: &StageReport) -> Exit {
    Exit::of(report.complete())
}
