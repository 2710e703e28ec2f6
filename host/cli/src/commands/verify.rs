//! `verify`.

use super::{attestation, batch, paths, policy, run::fidelity};
use crate::app::App;
use crate::args::Isolation;
use crate::args::common::ExecutorKind;
use crate::args::stages::{Require, RunOf, Verify};
use crate::console::foreign::field;
use crate::console::numbers;
use crate::console::table::Table;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::output;
use dsperse_documents::{
    KeyOrigin, MeasuredBy, SliceVerdict, StageOutcome, Verdict, VerificationReport,
};
use dsperse_stages::verify::{self, VerifyOptions};
use dsperse_stages::{Session, slices};
use dsperse_store::packed::{self, Unpacked};
use dsperse_store::{Access, Limits, RunDir, SliceStore, atomic};
use std::fmt::Write as _;
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
        let store = slices::open(&data, Access::Read)?;
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
        let store = slices::open(&given.slices, Access::Read)?;
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
    Ok(Some(unpacked.map_err(dsperse_stages::Error::from)?))
}

fn judge(
    session: &Session<'_>,
    run: &Path,
    store: &SliceStore,
    options: &VerifyOptions,
) -> Result<VerificationReport> {
    let opened = RunDir::open(run, Access::Read).map_err(dsperse_stages::Error::from)?;
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

/// Less than this share of the work is little.
const LITTLE: f64 = 0.5;

pub fn require(level: Require) -> dsperse_documents::Require {
    match level {
        Require::Proven => dsperse_documents::Require::Proven,
        Require::Checked => dsperse_documents::Require::Checked,
        Require::Any => dsperse_documents::Require::Any,
    }
}

/// 0 only when the demand is met.
pub fn exit(report: &VerificationReport) -> Exit {
    Exit::of(report.accepted)
}

/// The word for a claim.
pub fn verdict(accepted: bool) -> &'static str {
    if accepted { "accepted" } else { "NOT accepted" }
}

/// Verdict per slice, what the proofs offer, and the whole.
pub fn text(report: &VerificationReport) -> String {
    let mut table = Table::new(
        &["slice", "verdict", "backend", "time", "memory", "note"],
        &[0, 3, 4],
    );
    for s in &report.slices {
        let backend = match (&s.backend, &s.backend_version) {
            (Some(name), Some(version)) => format!("{name} {version}"),
            _ => "-".to_owned(),
        };
        table.row(vec![
            s.index.to_string(),
            s.verdict.to_string(),
            backend,
            numbers::seconds(s.usage.seconds),
            numbers::bytes(s.usage.peak_bytes),
            s.reason.clone().unwrap_or_default(),
        ]);
    }
    let mut out = table.render();
    for failure in &report.failures {
        let _ = writeln!(out, "failed: {}", field(failure));
    }
    for line in proofs(&report.slices) {
        let _ = writeln!(out, "{}", field(&line));
    }
    let mut warnings: Vec<&String> = report.slices.iter().flat_map(|s| &s.warnings).collect();
    warnings.sort_unstable();
    warnings.dedup();
    for warning in warnings {
        let _ = writeln!(out, "warning: {}", field(warning));
    }
    let mut hints: Vec<&String> = report
        .slices
        .iter()
        .filter(|s| !report.require.accepts(s.verdict))
        .filter_map(|s| s.hint.as_ref())
        .collect();
    hints.sort_unstable();
    hints.dedup();
    for hint in hints {
        let _ = writeln!(out, "hint: {}", field(hint));
    }
    if let Some(f) = &report.fidelity {
        let who = match report.fidelity_by {
            Some(MeasuredBy::Verifier) => "as this verifier measured it",
            _ => "as the prover measured it",
        };
        let _ = writeln!(out, "fidelity, {who}: {}", field(&fidelity(f)));
    }
    let _ = writeln!(out, "model identity {}", report.model_identity);
    if let Some(keys) = &report.keys_sha256 {
        let _ = writeln!(out, "verifying keys {keys}, {}", origins(&report.slices));
    }
    let c = &report.counts;
    let share = |s: Option<f64>, of: &str| {
        s.map_or_else(
            || format!("no {of} to prove"),
            |s| format!("{} of {of}", numbers::percent(s)),
        )
    };
    let _ = writeln!(
        out,
        "{} proven, {} recomputed, {} unchecked, {} failed; proven: {}, {}",
        c.proven,
        c.recomputed,
        c.unchecked,
        c.failed,
        share(report.proven_by_parameters, "parameters"),
        share(report.proven_by_macs, "multiply-accumulates")
    );
    if let Some(line) = little_proven(report) {
        let _ = writeln!(out, "{line}");
    }
    let _ = writeln!(
        out,
        "verdict: {} (--require {})",
        verdict(report.accepted),
        report.require.as_str()
    );
    out
}

/// Says plainly that nothing was proven, or how little, so that nobody reads more into the
/// verdict below.
fn little_proven(report: &VerificationReport) -> Option<String> {
    if report.counts.proven == 0 {
        return Some("NOTHING WAS PROVEN: no slice has a proof that holds".to_owned());
    }
    let share = report.proven_by_macs.or(report.proven_by_parameters)?;
    let of = if report.proven_by_macs.is_some() {
        "multiply-accumulates"
    } else {
        "parameters"
    };
    (share < LITTLE).then(|| {
        format!(
            "LITTLE WAS PROVEN: {} of the model's {of}",
            numbers::percent(share)
        )
    })
}

/// Where the keys of the proven slices come from.
fn origins(slices: &[SliceVerdict]) -> String {
    let has = |origin| slices.iter().any(|s| s.keys == Some(origin));
    let mut words: Vec<&str> = [KeyOrigin::Pinned, KeyOrigin::Recompiled]
        .into_iter()
        .filter(|o| has(*o))
        .map(KeyOrigin::as_str)
        .collect();
    if has(KeyOrigin::AsGiven) {
        words.push(
            "as they lie in these slices: when somebody else compiled them, use --expect-keys or --recompile",
        );
    }
    words.join(", ")
}

/// One line per backend that proved something: what its proofs offer.
fn proofs(slices: &[SliceVerdict]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for s in slices.iter().filter(|s| s.verdict == Verdict::Proven) {
        let (Some(name), Some(p)) = (&s.backend, &s.proof) else {
            continue;
        };
        let yes = |b| if b { "yes" } else { "no" };
        let bits = p
            .security_bits
            .map_or_else(String::new, |b| format!(", {b} bits of soundness"));
        let line = format!(
            "proofs of {name}: zero knowledge {}, hides weights {}, post-quantum {}, binding {}{bits}",
            yes(p.zero_knowledge),
            yes(p.hides_weights),
            yes(p.post_quantum),
            format!("{:?}", p.binds_public_io).to_lowercase()
        );
        if !lines.contains(&line) {
            lines.push(line);
            lines.extend(p.caveats.iter().map(|c| format!("  note: {c}")));
        }
    }
    lines
}
