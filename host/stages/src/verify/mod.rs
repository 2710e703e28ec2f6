//! `verify`: the only place where the claim "this model, on this input, gave this output"
//! is judged.
//!
//! Nothing that the prover wrote is believed except proofs that a backend checks here.
//! From `run_results.json` comes only where to look for proofs and of which backend they
//! are; claims are built from the tensor store, digests are computed again, and a word
//! such as "success" in the results is never read.
//!
//! Per slice (`slice`): a proof that a binding backend accepts makes it
//! `proven`; otherwise the slice is computed again from its ONNX file (`recomputed`); if
//! neither is possible it is `unchecked`; whatever is wrong makes it `failed`, and a
//! proof that was found invalid is never healed by recomputation.
//!
//! [`checks`] names what is checked, `keys` asks whose keys the proofs are under, and
//! `receipt` holds the result against an earlier one.

pub mod checks;
mod claims;
mod fidelity;
mod keys;
mod receipt;
mod slice;

use crate::chain::lock;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::schedule::{self, Task};
use crate::session::{Loaded, Session};
use checks::Check;
use claims::Claims;
use dsperse_documents::digest::is_sha256_hex;
use dsperse_documents::tensors::digest_of;
use dsperse_documents::{
    KeyOrigin, MeasuredBy, ModelMetadata, Receipt, Require, RunResults, SliceVerdict, Verdict,
    VerificationReport,
};
use dsperse_router::Policy;
use dsperse_store::{RunDir, SliceStore};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

/// How to verify.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// The verifier's own model input.
    pub input: Option<PathBuf>,
    /// The claimed model output.
    pub output: Option<PathBuf>,
    /// What every slice must be.
    pub require: Require,
    /// The model identity that the slices must have. Proofs then count only under keys
    /// that are named too, or that the verifier can make from the model itself.
    pub expect_model: Option<String>,
    /// The digest that the verifying keys of the proven slices must have.
    pub expect_keys: Option<String>,
    /// A receipt of somebody whom the verifier trusts: pins model, keys, input and output,
    /// and no verdict may be weaker.
    pub expect_receipt: Option<PathBuf>,
    /// Relative tolerance of recomputations; 0 is bit for bit.
    pub tolerance: f64,
    /// Largest error of the output against the float model; `None` is what the slices were
    /// compiled for. The session's limit is another demand, and the smaller counts.
    pub max_error: Option<f64>,
    /// What the backends of counting proofs must offer.
    pub policy: Policy,
    /// The backends whose word counts, for proofs and for recomputations; empty is all.
    pub allowed: Vec<AllowedBackend>,
    /// Count proofs of claims whose inputs the circuit saw only clamped to its range.
    pub allow_saturation: bool,
    /// Compile the slices again and compare verifying artefacts; a proof under a key that
    /// can't be made again does not count.
    pub recompile: bool,
    /// The model input that the slices were calibrated with, for compiling them again; the
    /// claim's own input when `None`.
    pub calibration: Option<PathBuf>,
}

/// A backend whose word the verifier takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedBackend {
    /// Its name.
    pub name: String,
    /// SHA-256 of its library, lower-case hex; `None` is any.
    pub sha256: Option<String>,
}

impl AllowedBackend {
    /// Reads `NAME` or `NAME@SHA256`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.trim().to_ascii_lowercase())),
            None => (text, None),
        };
        let name = name.trim();
        if name.is_empty() {
            return Err(format!(
                "\"{text}\" names no backend: expected NAME or NAME@SHA256"
            ));
        }
        if let Some(digest) = digest.as_deref().filter(|d| !is_sha256_hex(d)) {
            return Err(format!(
                "\"{digest}\" is no SHA-256: expected 64 hexadecimal digits after \"{name}@\""
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            sha256: digest,
        })
    }

    fn is(&self, backend: &Loaded<'_>) -> bool {
        self.name == backend.name() && self.sha256.as_deref().is_none_or(|d| d == backend.digest)
    }
}

impl std::fmt::Display for AllowedBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.sha256 {
            Some(digest) => write!(f, "{}@{digest}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl VerifyOptions {
    /// Why a backend's word does not count here, if so.
    fn refusal(&self, backend: &Loaded<'_>) -> Option<String> {
        if self.allowed.is_empty() || self.allowed.iter().any(|a| a.is(backend)) {
            return None;
        }
        let name = backend.name();
        Some(if self.allowed.iter().any(|a| a.name == name) {
            format!(
                "the verifier allows another library of backend \"{name}\" than the one that is loaded, whose SHA-256 is {}",
                backend.digest
            )
        } else {
            format!("backend \"{name}\" is not among those that the verifier allows")
        })
    }

    /// What was demanded beyond `require`, for the report.
    fn demands(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut demands = serde_json::Map::new();
        if let Ok(serde_json::Value::Object(policy)) = serde_json::to_value(&self.policy) {
            let set = |v: &serde_json::Value| {
                !matches!(v, serde_json::Value::Bool(false) | serde_json::Value::Null)
            };
            demands.extend(policy.into_iter().filter(|(_, v)| set(v)));
        }
        if !self.allowed.is_empty() {
            let names: Vec<String> = self.allowed.iter().map(ToString::to_string).collect();
            demands.insert("allow_backends".into(), names.into());
        }
        if let Some(most) = self.max_error {
            demands.insert("max_error".into(), most.into());
        }
        if self.allow_saturation {
            demands.insert("allow_saturation".into(), true.into());
        }
        demands
    }
}

/// Whether the verifier says which keys it expects.
fn keys_named(options: &VerifyOptions) -> bool {
    options.expect_keys.is_some()
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
    verify_without(session, store, run, options, None)
}

/// Judges a run with one check left out. For tests only, see [`checks`].
///
/// # Errors
/// As [`verify`].
#[doc(hidden)]
pub fn verify_without(
    session: &Session<'_>,
    store: &SliceStore,
    run: &RunDir,
    options: &VerifyOptions,
    left_out: Option<Check>,
) -> Result<VerificationReport> {
    let on = |check| left_out != Some(check);
    let model = store.require_model()?;
    let identity = model.compute_identity();
    let (options, receipt) = with_receipt(options)?;
    let options = &options;
    check_options(options, model, &identity, on(Check::ExpectModel))?;
    let scratch = tempfile::Builder::new()
        .prefix("dsperse-verify-")
        .tempdir()
        .map_err(|e| Error::failed(format!("can't create a temporary directory: {e}")))?;
    let results = run.results();
    let claims = Claims::build(
        model,
        run,
        options,
        scratch.path(),
        on(Check::ClaimedOutput),
    )?;
    let mut report = VerificationReport {
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        model_identity: identity.clone(),
        model_sha256: model.model.sha256.clone(),
        input_sha256: digest_of(&claims.records(&model.inputs)),
        output_sha256: digest_of(&claims.records(&model.outputs)),
        require: options.require,
        policy: options.demands(),
        ..VerificationReport::default()
    };
    if on(Check::RunIdentity) {
        report.failures.extend(other_model(&identity, &results));
    }
    if on(Check::RunSlices) {
        report.failures.extend(other_slices(model, &results));
    }
    if on(Check::RunRecord) {
        report
            .failures
            .extend(other_record(&report, options, &results));
    }
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
        keys: keys::Keys {
            session,
            store,
            model,
            claims: &claims,
            options,
            scratch: scratch.path(),
            floats: OnceLock::new(),
        },
        left_out,
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
    // Of a claim that is wrong anyway it does not matter how close it is.
    if report.accepted {
        let demands = [options.max_error, session.limits.max_error];
        fidelity::judge(
            session,
            store,
            model,
            &results,
            &claims,
            demands.into_iter().flatten().reduce(f64::min),
            scratch.path(),
            &mut report,
        )?;
    } else {
        report.fidelity.clone_from(&results.fidelity);
        report.fidelity_by = results.fidelity.as_ref().map(|_| MeasuredBy::Prover);
    }
    if on(Check::ExpectKeys) {
        compare_keys(options, &mut report);
    }
    if let Some(receipt) = receipt.filter(|_| on(Check::ExpectReceipt)) {
        let differences = receipt::differences(&receipt, &report);
        report.failures.extend(differences);
    }
    report.conclude(model);
    Ok(report)
}

/// The options with what a receipt pins, and the receipt.
fn with_receipt(options: &VerifyOptions) -> Result<(VerifyOptions, Option<Receipt>)> {
    let mut options = options.clone();
    let Some(path) = &options.expect_receipt else {
        return Ok((options, None));
    };
    let receipt = receipt::read(path)?;
    options
        .expect_model
        .get_or_insert_with(|| receipt.model_identity.clone());
    if let Some(keys) = &receipt.keys_sha256 {
        options.expect_keys.get_or_insert_with(|| keys.clone());
    }
    Ok((options, Some(receipt)))
}

/// Compares the digest of the proven slices' keys with the one that the verifier names.
fn compare_keys(options: &VerifyOptions, report: &mut VerificationReport) {
    let (Some(expected), Some(found)) = (&options.expect_keys, &report.keys_sha256) else {
        return;
    };
    if !expected.trim().eq_ignore_ascii_case(found) {
        report.failures.push(format!(
            "the verifying keys are others than expected: expected {}, found {found}",
            expected.trim()
        ));
        return;
    }
    for s in &mut report.slices {
        if s.keys == Some(KeyOrigin::AsGiven) {
            s.keys = Some(KeyOrigin::Pinned);
        }
    }
}

fn check_options(
    options: &VerifyOptions,
    model: &ModelMetadata,
    identity: &str,
    compare: bool,
) -> Result<()> {
    if !options.tolerance.is_finite() || options.tolerance < 0.0 {
        return Err(Error::usage(format!(
            "--tolerance {} is no tolerance: expected 0 (bit for bit) or a small positive number",
            options.tolerance
        )));
    }
    for (flag, value) in [
        ("--expect-model", &options.expect_model),
        ("--expect-keys", &options.expect_keys),
    ] {
        if let Some(value) = value
            && !is_sha256_hex(&value.trim().to_ascii_lowercase())
        {
            return Err(Error::usage(format!(
                "{flag} \"{value}\" is no SHA-256: expected 64 hexadecimal digits"
            )));
        }
    }
    let Some(expected) = options.expect_model.as_ref().filter(|_| compare) else {
        return Ok(());
    };
    let expected = expected.trim().to_ascii_lowercase();
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

/// Whether the run was made with another model, or with this one sliced in another way.
fn other_model(identity: &str, results: &RunResults) -> Option<String> {
    (results.model_identity != identity).then(|| {
        format!(
            "the run is of another sliced model: its identity is {}, that of the slices is {identity}",
            results.model_identity
        )
    })
}

/// Slices that the run lacks, has twice, or has too many.
fn other_slices(model: &ModelMetadata, results: &RunResults) -> Vec<String> {
    let mut failures = Vec::new();
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

/// A record that names another input or output than the tensors beside it. Where the
/// verifier gives the input or output itself, the record is not asked.
fn other_record(
    report: &VerificationReport,
    options: &VerifyOptions,
    results: &RunResults,
) -> Vec<String> {
    let recorded_output = results.output_sha256.as_deref().unwrap_or("nothing");
    let differs = |what: &str, recorded: &str, found: &str| {
        (recorded != found).then(|| {
            format!(
                "the run's record names another {what} than its tensors: recorded {recorded}, found {found}"
            )
        })
    };
    let model = differs("model file", &results.model_sha256, &report.model_sha256);
    let input = differs("input", &results.input_sha256, &report.input_sha256)
        .filter(|_| options.input.is_none());
    let output = differs("output", recorded_output, &report.output_sha256)
        .filter(|_| options.output.is_none());
    model.into_iter().chain(input).chain(output).collect()
}
