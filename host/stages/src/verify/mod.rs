//! `verify`: a run on disk and the plugins of this session before the trust kernel.
//!
//! What is judged, and how, is decided in [`dsperse_verify`] alone. Here are its two sides:
//! `evidence` hands out the files of slices and run, `checker` asks plugins in workers, and
//! does over what the kernel wants done over.

mod checker;
mod evidence;

use crate::chain::hold;
use crate::driver::{self, Driver};
use crate::error::{Error, Result};
use crate::schedule::Task;
use crate::session::Session;
use checker::Plugins;
use dsperse_documents::VerificationReport;
use dsperse_documents::setting::EXPECT_KEYS;
use dsperse_store::atomic::read_document;
use dsperse_store::{RunDir, SliceStore, Tensor, read_inputs, read_outputs};
pub use dsperse_verify::{AllowedBackend, Demands};
use dsperse_verify::{Given, Held, Refused, Verification};
use evidence::OnDisk;
use std::path::{Path, PathBuf};

/// How to verify.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// The verifier's own model input.
    pub input: Option<PathBuf>,
    /// The claimed model output.
    pub output: Option<PathBuf>,
    /// A receipt of somebody whom the verifier trusts, for `expect_receipts` of the demands.
    pub expect_receipt: Option<PathBuf>,
    /// The model input that the slices were calibrated with, for compiling them again; the
    /// claim's own input when `None`.
    pub calibration: Option<PathBuf>,
    /// What is demanded. The session's limit of the error is another demand, and the smaller
    /// counts.
    pub demands: Demands,
}

impl From<Demands> for VerifyOptions {
    fn from(demands: Demands) -> Self {
        Self {
            demands,
            ..Self::default()
        }
    }
}

impl VerifyOptions {
    fn demands(&self, session: &Session<'_>) -> Result<Demands> {
        let mut demands = self.demands.clone();
        let receipt = self.expect_receipt.as_deref().map(read_document);
        demands.expect_receipts.extend(receipt.transpose()?);
        let errors = [demands.max_error, session.limits.max_error];
        demands.max_error = errors.into_iter().flatten().reduce(f64::min);
        Ok(demands)
    }
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
    // A verdict rests on what this machine computes and checks, whoever made the proofs.
    let session = &session.here();
    let model = store.require_model()?;
    let mut demands = options.demands(session)?;
    let receipts = &demands.expect_receipts;
    let pinned = demands.expect_keys.is_some() || receipts.iter().any(|r| r.keys_sha256.is_some());
    if !pinned && !demands.recompile && compiled_elsewhere(store) {
        demands.recompile = true;
        session.warn(
            "slices were compiled on other machines: they are compiled again here, so that no verdict rests on their word".to_owned(),
            Some(format!("{EXPECT_KEYS} with the keys' digest from somebody you trust makes that needless")),
        );
    }
    let scratch = driver::scratch("verify")?;
    let driver = Driver::new(session, store, "verify", model.slices.len(), scratch);
    let own = |what: &str, tensors: Vec<Tensor>| held(&driver.scratch().join(what), &tensors);
    let given = Given {
        input: match &options.input {
            Some(path) => {
                let tensors = read_inputs(path, &model.inputs, &model.fixed)?;
                Some(own("own-input", tensors)?)
            }
            None => None,
        },
        output: match &options.output {
            Some(path) => Some(own("own-output", read_outputs(path, &model.outputs)?)?),
            None => None,
        },
    };
    let evidence = OnDisk::new(store, run, model);
    let plugins = Plugins::new(&driver, model, options.calibration.as_deref());
    let verification = Verification::begin(&evidence, &plugins, demands, given).map_err(refused)?;
    driver.begin();
    let tasks = vec![Task::default(); verification.slices()];
    let verdicts = driver::all(session, &tasks, |index| {
        session.check_cancelled()?;
        let v = verification.slice(index)?;
        session.check_cancelled()?;
        let backend = v.backend.as_deref().unwrap_or("-");
        driver.finished(index, backend, v.usage, v.verdict.as_str());
        Ok(v)
    })?;
    verification.conclude(verdicts)
}

/// Whether another machine compiled what the proofs are checked with. A slice that can't be
/// read says nothing here: that it can't is for the verdict to tell.
fn compiled_elsewhere(store: &SliceStore) -> bool {
    let slices = store.indices().into_iter();
    slices.filter_map(|index| store.slice(index).ok()).any(|s| {
        let used = s.backend.as_deref();
        used.and_then(|name| s.compilations.get(name))
            .is_some_and(|c| c.node.is_some())
    })
}

/// The verifier's own tensors in files.
fn held(dir: &Path, tensors: &[Tensor]) -> Result<Vec<Held<PathBuf>>> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, &e))?;
    let held = hold(dir, tensors)?.into_values();
    Ok(held.map(evidence::to_kernel).collect())
}

fn refused(refused: Refused) -> Error {
    let message = refused.to_string();
    match refused {
        Refused::Demand(_) => Error::usage(message),
        Refused::Model(_) => Error::bad_input(message),
        Refused::OtherModel { is_file: true, .. } => Error::failed(message).with_hint(
            "this is the digest of the ONNX file, which slices could claim falsely; pin the model identity that \"dsperse slice\" prints",
        ),
        Refused::OtherModel { .. } => Error::failed(message),
    }
}
