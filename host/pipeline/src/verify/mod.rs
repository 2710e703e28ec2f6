//! `verify`: the only place where the claim "this model, on this input, gave this output"
//! is judged.
//!
//! Nothing that the prover wrote is believed except proofs that a backend checks here.
//! From `run_results.json` comes only where to look for proofs and of which backend they
//! are; claims are built from the tensor store, digests are computed again, and a word
//! such as "success" in the results is never read.
//!
//! Per slice ([`slice`](mod@slice)): a proof that a binding backend accepts makes it
//! `proven`; otherwise the slice is computed again from its ONNX file (`recomputed`); if
//! neither is possible it is `unchecked`; whatever is wrong makes it `failed`, and a
//! proof that was found invalid is never healed by recomputation.

mod claims;
mod slice;

use crate::chain::lock;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::schedule::{self, Task};
use crate::session::Session;
use claims::Claims;
use dsperse_bundle::{RunDir, SliceStore};
use dsperse_types::digest::is_sha256_hex;
use dsperse_types::tensors::digest_of;
use dsperse_types::{
    ModelMetadata, Require, RunResults, SliceVerdict, Verdict, VerificationReport,
};
use std::path::PathBuf;
use std::sync::Mutex;

/// How to verify.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// The verifier's own model input.
    pub input: Option<PathBuf>,
    /// The claimed model output.
    pub output: Option<PathBuf>,
    /// What every slice must be.
    pub require: Require,
    /// The model identity that the slices must have.
    pub expect_model: Option<String>,
    /// Relative tolerance of recomputations; 0 is bit for bit.
    pub tolerance: f64,
    /// Compile again where the backend is reproducible, and compare verifying artefacts.
    pub recompile: bool,
}

/// Judges a run.
///
/// # Errors
/// When no verdict could be reached at all: a wrong option, an unreadable claim,
/// interruption. Everything else is in the report.
pub fn verify(
    session: &Session<'_>,
    store: &SliceStore,
    run: &RunDir,
    options: &VerifyOptions,
) -> Result<VerificationReport> {
    let model = store.require_model()?;
    let identity = model.compute_identity();
    check_options(options, model, &identity)?;
    let scratch = tempfile::Builder::new()
        .prefix("dsperse-verify-")
        .tempdir()
        .map_err(|e| Error::failed(format!("can't create a temporary directory: {e}")))?;
    let results = run.results();
    let claims = Claims::build(model, run, options, scratch.path())?;
    let mut report = VerificationReport {
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        model_identity: identity.clone(),
        model_sha256: model.model.sha256.clone(),
        input_sha256: digest_of(&claims.records(&model.inputs)),
        output_sha256: digest_of(&claims.records(&model.outputs)),
        require: options.require,
        failures: whole_run(model, &identity, &results),
        fidelity: results.fidelity.clone(),
        ..VerificationReport::default()
    };
    session.emit(&Event::StageStarted {
        stage: "verify",
        slices: model.slices.len(),
    });
    let judge = slice::Judge {
        session,
        store,
        run,
        model,
        results: &results,
        claims: &claims,
        options,
        scratch: scratch.path(),
    };
    let interrupted: Mutex<Option<Error>> = Mutex::new(None);
    let tasks = vec![Task::default(); model.slices.len()];
    let verdicts = schedule::run_all(
        &tasks,
        session.bounds(),
        &session.cancel,
        |index| match judge.slice(index) {
            Ok(verdict) => Some(verdict),
            Err(e) => {
                lock(&interrupted).get_or_insert(e);
                None
            }
        },
    );
    session.check_cancelled()?;
    if let Some(e) = lock(&interrupted).take() {
        return Err(e);
    }
    report.slices = verdicts
        .into_iter()
        .enumerate()
        .map(|(index, v)| {
            v.flatten().unwrap_or_else(|| {
                let mut v = SliceVerdict::new(
                    index,
                    Verdict::Unchecked,
                    &model.slices[index].payload_sha256,
                );
                v.reason = Some("the check did not end".to_owned());
                v
            })
        })
        .collect();
    report.conclude(model);
    Ok(report)
}

fn check_options(options: &VerifyOptions, model: &ModelMetadata, identity: &str) -> Result<()> {
    if !options.tolerance.is_finite() || options.tolerance < 0.0 {
        return Err(Error::usage(format!(
            "--tolerance {} is no tolerance: expected 0 (bit for bit) or a small positive number",
            options.tolerance
        )));
    }
    let Some(expected) = &options.expect_model else {
        return Ok(());
    };
    let expected = expected.trim().to_ascii_lowercase();
    if !is_sha256_hex(&expected) {
        return Err(Error::usage(format!(
            "--expect-model \"{expected}\" is no SHA-256: expected 64 hexadecimal digits"
        )));
    }
    if expected == identity {
        return Ok(());
    }
    let error = Error::failed(format!(
        "these are slices of another model: expected identity {expected}, found {identity}"
    ));
    Err(if expected == model.model.sha256 {
        error.with_hint(
            "this is the digest of the ONNX file, which slices could claim falsely; pin the model identity that \"dsperse slice\" prints",
        )
    } else {
        error
    })
}

/// What is wrong with the run as a whole.
fn whole_run(model: &ModelMetadata, identity: &str, results: &RunResults) -> Vec<String> {
    let mut failures = Vec::new();
    if results.model_identity != identity {
        failures.push(format!(
            "the run is of another sliced model: its identity is {}, that of the slices is {identity}",
            results.model_identity
        ));
    }
    for s in &model.slices {
        match results.slices.iter().filter(|r| r.index == s.index).count() {
            1 => {}
            0 => failures.push(format!("the run has no slice {}", s.index)),
            n => failures.push(format!("the run has slice {} {n} times", s.index)),
        }
    }
    for r in &results.slices {
        if r.index >= model.slices.len() {
            failures.push(format!(
                "the run has slice {}, which the model has not",
                r.index
            ));
        }
    }
    failures
}
