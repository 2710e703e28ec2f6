//! `verify`.

use super::verdict::{exit, text};
use super::{attestation, batch, paths, policy};
use crate::app::App;
use crate::args::Isolation;
use crate::args::common::ExecutorKind;
use crate::args::stages::{RunOf, Verify};
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::output;
use dsperse_documents::{StageOutcome, VerificationReport};
use dsperse_stages::verify::{self, VerifyOptions};
use dsperse_stages::{Session, opened};
use dsperse_store::packed::{self, Unpacked};
use dsperse_store::{Access, Limits, RunDir, SliceStore, atomic};
use std::path::{Path, PathBuf};

pub fn execute(app: &App, args: &Verify) -> Result<Exit> {
    let mut args = args.clone();
    if args.of.run.is_none() && args.of.run_dir.is_none() {
        args.of.run = paths::judged_here(app)?;
    }
    let args = &args;
    let packed = unpacked(&args.of)?;
    if app.global.isolation == Isolation::None {
        return Err(UserError::usage(
            "verify does not run plugins inside its own process: one that ends the process would end it without a verdict",
            "leave --isolation out",
        ));
    }
    let options = policy::options(args)?;
    if packed.is_none()
        && let Some(given) = batch::given(app, &args.of)?
    {
        return judge_all(app, args, &given, &options);
    }
    let (run, data) = match &packed {
        Some(unpacked) => (unpacked.run(), unpacked.slices()),
        None => paths::run_and_slices(app, &args.of)?,
    };
    let signer = args
        .attest
        .as_deref()
        .map(attestation::signer)
        .transpose()?;
    let report = app.with_session(Some(&args.limits), |session| {
        if args.engine.executor.is_some_and(|e| e != ExecutorKind::Local) {
            let message = "a verdict rests on what this machine checks itself: nothing of it is sent to others";
            session.warn(message.to_owned(), None);
        }
        let store = opened::open(&data, Access::Read)?;
        let report = judge(session, &run, &store, &options)?;
        // What was unpacked goes away; only a receipt that was asked for stays.
        if packed.is_none() || args.receipt.is_some() {
            write_receipt(&report, &run, args.receipt.as_deref())?;
        }
        if let Some(key) = &signer {
            attestation::write(
                &report.receipt(),
                key,
                &attestation_path(args, &run, packed.is_some()),
            )?;
        }
        if packed.is_none() {
            note(&run, &report);
        }
        Ok(report)
    })?;
    if let Some(file) = &args.output_file {
        output::file(file, &report)?;
    }
    app.print(&text(&report), &report);
    Ok(exit(&report))
}

/// Judges every run of a batch by the same demands.
fn judge_all(
    app: &App,
    args: &Verify,
    given: &batch::Given,
    options: &VerifyOptions,
) -> Result<Exit> {
    batch::refuse(
        &[
            ("--input", args.input.is_some()),
            ("--output", args.output.is_some()),
            ("--expect-receipt", args.expect_receipt.is_some()),
            ("--expect-attestation", args.expect_attestation.is_some()),
            ("--attest", args.attest.is_some()),
            ("--receipt", args.receipt.is_some()),
        ],
        &given.path,
    )?;
    let verdicts = app.with_session(Some(&args.limits), |session| {
        let store = opened::open(&given.slices, Access::Read)?;
        batch::each(&given.path, &given.members, |member| {
            carry_out(session, &member.run, &store, options, None)
        })
    })?;
    let document = verdicts.document();
    if let Some(file) = &args.output_file {
        output::file(file, &document)?;
    }
    app.print(&verdicts.text(), &document);
    Ok(Exit::of(verdicts.accepted()))
}

/// Where the attestation goes.
fn attestation_path(args: &Verify, run: &Path, packed: bool) -> PathBuf {
    let named = args.of.run_dir.as_ref().or(args.of.run.as_ref());
    match (&args.attestation, named) {
        (Some(path), _) => path.clone(),
        (None, Some(file)) if packed => file.with_extension("attestation.json"),
        _ => run.join("attestation.json"),
    }
}

/// The packed proof that is named in place of a run.
fn unpacked(of: &RunOf) -> Result<Option<Unpacked>> {
    let Some(path) = of.run_dir.as_ref().or(of.run.as_ref()) else {
        return Ok(None);
    };
    if !packed::is_packed(path) {
        return Ok(None);
    }
    let more = match &of.run_dir {
        Some(_) => of.run.as_ref(),
        None => of.data.as_ref(),
    };
    if let Some(more) = more {
        return Err(UserError::usage(
            format!("\"{}\" is one path too many", more.display()),
            "a .dsproof file holds run and slices",
        ));
    }
    let unpacked = packed::unpack(path, Limits::default());
    Ok(Some(unpacked?))
}

fn judge(
    session: &Session<'_>,
    run: &Path,
    store: &SliceStore,
    options: &VerifyOptions,
) -> Result<VerificationReport> {
    let opened = RunDir::open(run, Access::Read)?;
    Ok(verify::verify(session, store, &opened, options)?)
}

/// Judges, writes the receipt, and notes the verdicts in the run.
pub fn carry_out(
    session: &Session<'_>,
    run: &Path,
    store: &SliceStore,
    options: &VerifyOptions,
    receipt: Option<&Path>,
) -> Result<VerificationReport> {
    let report = judge(session, run, store, options)?;
    write_receipt(&report, run, receipt)?;
    keep(run, &report);
    note(run, &report);
    Ok(report)
}

/// A receipt that the user asked for must be written; the usual one may fail where a
/// verifier can't write into the prover's directory.
fn write_receipt(report: &VerificationReport, run: &Path, asked: Option<&Path>) -> Result<()> {
    let path: PathBuf = asked.map_or_else(|| run.join("receipt.json"), Path::to_path_buf);
    match atomic::write_document(&path, &report.receipt()) {
        Ok(()) => Ok(()),
        Err(e) if asked.is_some() => Err(dsperse_stages::Error::from(e).into()),
        Err(e) => {
            tracing::info!("no receipt was written: {e}");
            Ok(())
        }
    }
}

/// The whole report beside the run, for `dsperse report`; no later verification reads it.
fn keep(run: &Path, report: &VerificationReport) {
    if let Err(e) = atomic::write_document(&run.join(VerificationReport::FILE), report) {
        tracing::info!("the verification report was not kept in the run: {e}");
    }
}

/// The verdicts as a note in `run_results.json`, which no later verification reads.
fn note(run: &Path, report: &VerificationReport) {
    let noted = RunDir::open(run, Access::Edit).and_then(|run| {
        run.update(|results| {
            for v in &report.slices {
                for s in results.slices.iter_mut().filter(|s| s.index == v.index) {
                    s.verification_execution = Some(StageOutcome {
                        success: report.require.accepts(v.verdict),
                        usage: v.usage,
                        verdict: Some(v.verdict),
                        facts: v.facts.clone(),
                        warnings: v.warnings.clone(),
                        ..StageOutcome::default()
                    });
                }
            }
            results.update_totals();
        })
    });
    if let Err(e) = noted {
        tracing::info!("the verdicts were not noted in the run: {e}");
    }
}
