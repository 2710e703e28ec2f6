//! The verdict on one slice.

use super::checks::Check;
use super::keys::Keys;
use super::{VerifyOptions, claims::Claims};
use crate::ask;
use crate::attempt::Attempt;
use crate::chain::Held;
use crate::error::Result;
use crate::event::Event;
use crate::job::{FileRef, Files, Job, Operation};
use crate::session::{Loaded, Session};
use crate::slices;
use dsperse_documents::{
    BackendError, Compilation, ErrorKind, KeyOrigin, ModelMetadata, ReceiptFile, RunResults,
    SliceMetadata, SliceRun, SliceVerdict, Usage, Verdict,
};
use dsperse_plugin_api::{Role, Stage, Support, Verdict as Answer};
use dsperse_router::policy::verdict_counts_as_proof;
use dsperse_store::{BundleError, RunDir, SliceStore};
use std::path::Path;

/// A verdict rests on these artefacts alone, so that what pins them pins everything.
const VERIFIER_ROLES: [Role; 1] = [Role::Verifying];

pub(super) struct Judge<'a> {
    pub session: &'a Session<'a>,
    pub store: &'a SliceStore,
    pub run: &'a RunDir,
    pub model: &'a ModelMetadata,
    pub results: &'a RunResults,
    pub claims: &'a Claims,
    pub options: &'a VerifyOptions,
    pub scratch: &'a Path,
    pub keys: Keys<'a>,
    pub left_out: Option<Check>,
}

/// Why a slice did not become `proven`.
pub(super) enum NotProven {
    /// Something is wrong: the verdict is `failed`.
    Wrong(String),
    /// The proof could not be judged: the slice may still be computed again.
    Undecided {
        reason: String,
        hint: Option<String>,
    },
}

impl NotProven {
    pub(super) fn undecided(reason: impl Into<String>) -> Self {
        Self::Undecided {
            reason: reason.into(),
            hint: None,
        }
    }
    pub(super) fn hint(self, text: impl Into<String>) -> Self {
        match self {
            Self::Undecided { reason, .. } => Self::Undecided {
                reason,
                hint: Some(text.into()),
            },
            wrong @ Self::Wrong(_) => wrong,
        }
    }
}

/// A file that is not there can't be judged; any other contradiction is wrong.
impl From<BundleError> for NotProven {
    fn from(e: BundleError) -> Self {
        match e {
            BundleError::Missing { .. } | BundleError::Request(_) => Self::undecided(e.to_string()),
            e => Self::Wrong(e.to_string()),
        }
    }
}

struct Claim {
    inputs: Vec<Held>,
    outputs: Vec<Held>,
}

impl Judge<'_> {
    fn on(&self, check: Check) -> bool {
        self.left_out != Some(check)
    }

    /// Judges a slice.
    ///
    /// # Errors
    /// Only an interruption.
    pub(super) fn slice(&self, index: usize) -> Result<SliceVerdict> {
        self.session.check_cancelled()?;
        let summary = &self.model.slices[index];
        let mut verdict = SliceVerdict::new(index, Verdict::Unchecked, &summary.payload_sha256);
        let recorded = self.results.slices.iter().find(|s| s.index == index);
        verdict.fidelity = recorded.and_then(|r| r.fidelity.clone());
        match self.judge(index, recorded, &mut verdict)? {
            Ok(()) => {}
            Err(reason) => {
                verdict.verdict = Verdict::Failed;
                verdict.proof = None;
                verdict.reason = Some(reason);
            }
        }
        self.session.check_cancelled()?;
        self.session.emit(&Event::Finished {
            stage: "verify",
            slice: index,
            backend: verdict.backend.clone().unwrap_or_else(|| "-".to_owned()),
            usage: verdict.usage,
            outcome: verdict.verdict.as_str().to_owned(),
        });
        Ok(verdict)
    }

    /// The inner error is the reason of a failed verdict.
    fn judge(
        &self,
        index: usize,
        recorded: Option<&SliceRun>,
        verdict: &mut SliceVerdict,
    ) -> Result<Result<(), String>> {
        // The slice's own document must say what the model's document says, and the ONNX
        // file, when it is there, must be the one that both name.
        let slice = match self.store.slice(index) {
            Ok(slice) => slice,
            Err(e) => return Ok(Err(e.to_string())),
        };
        if let Err(e) = self.store.payload(index)
            && self.on(Check::Payload)
        {
            return Ok(Err(e.to_string()));
        }
        let claim = match (
            self.claims.pick(&slice.inputs),
            self.claims.pick(&slice.outputs),
        ) {
            (Ok(inputs), Ok(outputs)) => Claim { inputs, outputs },
            (Err(reason), _) | (_, Err(reason)) => return Ok(Err(reason)),
        };
        let not_proven = match self.proof(&slice, recorded, &claim, verdict)? {
            Ok(()) => return Ok(Ok(())),
            Err(not_proven) => not_proven,
        };
        match not_proven {
            NotProven::Wrong(reason) => Ok(Err(reason)),
            NotProven::Undecided { reason, hint } => {
                verdict.reason = Some(reason);
                verdict.hint = hint;
                self.recompute(&slice, &claim, verdict)
            }
        }
    }

    /// Checks the proof, if there is one.
    fn proof(
        &self,
        slice: &SliceMetadata,
        recorded: Option<&SliceRun>,
        claim: &Claim,
        verdict: &mut SliceVerdict,
    ) -> Result<Result<(), NotProven>> {
        let files = recorded
            .and_then(|r| r.proof_execution.as_ref())
            .map(|p| p.files.as_slice())
            .unwrap_or_default();
        let Some(name) = recorded.and_then(|r| r.backend.as_deref()) else {
            return Ok(Err(NotProven::undecided("the slice did not run")));
        };
        if files.is_empty() {
            return Ok(Err(NotProven::undecided(match self.session.loaded(name) {
                Some(b) if !b.can(Stage::Prove) => format!("backend \"{name}\" makes no proofs"),
                _ => "there is no proof".to_owned(),
            })));
        }
        let Some(backend) = self.session.loaded(name) else {
            return Ok(Err(NotProven::undecided(format!(
                "its proof needs backend \"{name}\"{}, which is not loaded",
                slice
                    .compilations
                    .get(name)
                    .map_or_else(String::new, |c| format!(" {}", c.backend_version))
            ))
            .hint("see \"dsperse plugin list\"")));
        };
        if !backend.can(Stage::Verify) {
            return Ok(Err(NotProven::undecided(format!(
                "backend \"{name}\" verifies no proofs"
            ))));
        }
        if let Some(reason) = self.options.refusal(&backend) {
            return Ok(Err(NotProven::undecided(reason)));
        }
        if let Err(reason) = self.options.policy.check(&backend.descriptor.capabilities) {
            return Ok(Err(NotProven::undecided(format!(
                "a proof of \"{name}\" does not count here: {reason}"
            ))));
        }
        let Some(compilation) = slice.compilations.get(name) else {
            return Ok(Err(NotProven::undecided(format!(
                "these slices hold nothing that \"{name}\" compiled"
            ))));
        };
        if compilation.payload_sha256 != slice.payload.sha256 {
            return Ok(Err(NotProven::Wrong(format!(
                "what \"{name}\" compiled is of another ONNX file than the slice's"
            ))));
        }
        if let Err(e) = compatible(compilation, &backend) {
            return Ok(Err(e));
        }
        let prepared = self.proof_job(slice, &backend, files, claim, verdict);
        let (job, files) = match prepared {
            Ok(prepared) => prepared,
            Err(e) => return Ok(Err(e)),
        };
        let origin = if self.on(Check::Recompile) {
            self.keys
                .origin(slice, compilation, &backend, &verdict.circuit)?
        } else {
            Ok(KeyOrigin::AsGiven)
        };
        let origin = match origin {
            Ok(origin) => origin,
            Err(e) => return Ok(Err(e)),
        };
        let (answer, usage) = self.execute(&job, &files)?;
        verdict.usage = usage;
        note_backend(verdict, &backend);
        match answer {
            Ok(Answer::Valid { facts, warnings }) => {
                let capabilities = &backend.descriptor.capabilities;
                if !verdict_counts_as_proof(capabilities) {
                    return Ok(Err(NotProven::undecided(format!(
                        "a proof of \"{name}\" is not bound to inputs and outputs"
                    ))));
                }
                verdict.saturated_inputs = saturated_inputs(&facts);
                if verdict.saturated_inputs > 0 && !self.options.allow_saturation {
                    return Ok(Err(NotProven::undecided(format!(
                        "{} of the claimed input values are beyond the range that the circuit of \"{name}\" represents: its proof holds for the nearest values that it has, not for these",
                        verdict.saturated_inputs
                    ))
                    .hint("compile with calibration inputs like this one; or accept such proofs when you verify, with --allow-saturation")));
                }
                verdict.verdict = Verdict::Proven;
                verdict.keys = Some(origin);
                verdict.proof.clone_from(&capabilities.proof);
                verdict.facts.extend(facts);
                verdict.warnings.extend(warnings);
                verdict.reason = None;
                verdict.hint = None;
                Ok(Ok(()))
            }
            Ok(Answer::Invalid { reason }) if self.on(Check::Proof) => {
                Ok(Err(NotProven::Wrong(reason)))
            }
            Ok(Answer::Invalid { .. }) => {
                verdict.verdict = Verdict::Proven;
                Ok(Ok(()))
            }
            // What the backend can't read is part of the claim, and wrong.
            Err(e) if e.kind == ErrorKind::InvalidInput => Ok(Err(NotProven::Wrong(e.message))),
            Err(e) => {
                let reason = format!(
                    "backend \"{name}\" could not judge its proof: {}",
                    e.message
                );
                Ok(Err(NotProven::Undecided {
                    reason,
                    hint: e.hint,
                }))
            }
        }
    }

    fn proof_job(
        &self,
        slice: &SliceMetadata,
        backend: &Loaded<'_>,
        proof: &[dsperse_documents::Artefact],
        claim: &Claim,
        verdict: &mut SliceVerdict,
    ) -> Result<(Job, Files), NotProven> {
        let needs_payload = backend.descriptor.capabilities.verify_needs_payload;
        let (mut job, mut files) = self.job(slice, backend, claim, needs_payload)?;
        for a in self
            .store
            .circuit(slice.index, backend.name(), &VERIFIER_ROLES)?
        {
            job.circuit.push(files.attach(a));
        }
        verdict.circuit = job.circuit.iter().map(receipt).collect();
        for a in proof {
            let a = self.run.artefact(a)?;
            job.proof.push(files.attach(a));
        }
        verdict.proof_files = job.proof.iter().map(receipt).collect();
        // Of two files of one name a backend could take either.
        for list in [&job.circuit, &job.proof] {
            let mut names: Vec<&str> = list.iter().map(|f| f.name.as_str()).collect();
            names.sort_unstable();
            if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
                return Err(NotProven::Wrong(format!(
                    "the artefact \"{}\" is declared twice",
                    twice[0]
                )));
            }
        }
        Ok((job, files))
    }

    fn job(
        &self,
        slice: &SliceMetadata,
        backend: &Loaded<'_>,
        claim: &Claim,
        payload: bool,
    ) -> Result<(Job, Files), NotProven> {
        let mut files = Files::default();
        let mut job = Job::new(Operation::Verify, backend, slice.slice_info(None));
        job.payload = payload;
        if payload {
            match self.store.payload(slice.index)? {
                Some(path) => files.insert(Files::PAYLOAD, &slice.payload.sha256, path),
                None => {
                    return Err(NotProven::undecided(format!(
                        "backend \"{}\" needs the slice's ONNX file, which is not in this bundle",
                        backend.name()
                    )));
                }
            }
        }
        job.tolerance = self.options.tolerance;
        for (held, list) in [
            (&claim.inputs, &mut job.inputs),
            (&claim.outputs, &mut job.outputs),
        ] {
            for h in held {
                list.push(files.attach_tensor(&h.tensor, &h.path));
            }
        }
        Ok((job, files))
    }

    /// Computes the slice again from its ONNX file.
    fn recompute(
        &self,
        slice: &SliceMetadata,
        claim: &Claim,
        verdict: &mut SliceVerdict,
    ) -> Result<Result<(), String>> {
        let why_not_proven = verdict.reason.clone().unwrap_or_default();
        let also = |reason: &str| Some(format!("{why_not_proven}; {reason}"));
        let backend = match self.session.float_executor() {
            Ok(backend) if backend.can(Stage::Recompute) => backend,
            _ => {
                verdict.reason = also("no backend that computes slices again is loaded");
                return Ok(Ok(()));
            }
        };
        if let Some(reason) = self.options.refusal(&backend) {
            verdict.reason = also(&reason);
            return Ok(Ok(()));
        }
        let (job, files) = match self.job(slice, &backend, claim, true) {
            Ok(prepared) => prepared,
            Err(NotProven::Wrong(reason)) => return Ok(Err(reason)),
            Err(NotProven::Undecided { reason, .. }) => {
                verdict.reason = also(&reason);
                return Ok(Ok(()));
            }
        };
        if let Some(reason) = self.declined(slice, &backend)? {
            verdict.reason = also(&reason);
            return Ok(Ok(()));
        }
        let (answer, usage) = self.execute(&job, &files)?;
        verdict.usage.seconds += usage.seconds;
        verdict.usage.cpu_seconds += usage.cpu_seconds;
        verdict.usage.peak_bytes = verdict.usage.peak_bytes.max(usage.peak_bytes);
        note_backend(verdict, &backend);
        match answer {
            Ok(Answer::Valid { facts, warnings }) => {
                verdict.verdict = Verdict::Recomputed;
                verdict.tolerance = Some(self.options.tolerance);
                verdict.facts.extend(facts);
                verdict.warnings.extend(warnings);
                Ok(Ok(()))
            }
            Ok(Answer::Invalid { reason }) if self.on(Check::Recomputation) => Ok(Err(reason)),
            Ok(Answer::Invalid { .. }) => {
                verdict.verdict = Verdict::Recomputed;
                Ok(Ok(()))
            }
            Err(e) if e.kind == ErrorKind::InvalidInput => Ok(Err(e.message)),
            Err(e) => {
                verdict.reason = also(&e.message);
                // What leads to a proof is the better advice.
                if verdict.hint.is_none() {
                    verdict.hint = e.hint;
                }
                Ok(Ok(()))
            }
        }
    }

    /// Why an executor that only stands in for the configured one may not judge this
    /// slice. Without asking, its "no" to a slice that it can't run would be a verdict.
    fn declined(&self, slice: &SliceMetadata, backend: &Loaded<'_>) -> Result<Option<String>> {
        if backend.name() == self.session.defaults.fallback {
            return Ok(None);
        }
        let info = slice.slice_info(None);
        let payload = slices::payload(self.store, slice.index)?;
        let name = backend.name();
        Ok(
            match ask::supports(self.session, backend, info, &payload, self.scratch)? {
                Ok(Support::Yes { .. }) => None,
                Ok(Support::No { reason, .. }) => Some(format!(
                    "backend \"{name}\" can't compute it again: {reason}"
                )),
                Err(e) => Some(e.message),
            },
        )
    }

    fn execute(
        &self,
        job: &Job,
        files: &Files,
    ) -> Result<(std::result::Result<Answer, BackendError>, Usage)> {
        let how = Attempt::told("verify", self.scratch, self.model.slices.len());
        let attempt = self.session.attempt(job, files, how)?;
        let usage = attempt.usage;
        Ok((attempt.verdict(), usage))
    }
}

fn receipt(file: &FileRef) -> ReceiptFile {
    ReceiptFile {
        name: file.name.clone(),
        sha256: file.sha256.clone(),
    }
}

/// How many input values the circuit saw clamped. A number that can't be read counts as one:
/// the backend says that there is something.
fn saturated_inputs(facts: &serde_json::Map<String, serde_json::Value>) -> u64 {
    facts
        .get(dsperse_plugin_api::job::SATURATED_INPUTS)
        .map_or(0, |n| n.as_u64().unwrap_or(1))
}

fn note_backend(verdict: &mut SliceVerdict, backend: &Loaded<'_>) {
    verdict.backend = Some(backend.name().to_owned());
    verdict.backend_version = Some(backend.descriptor.version.to_string());
    verdict.plugin_sha256 = Some(backend.digest.to_owned());
}

/// Whether this version of the backend can use what another one compiled.
fn compatible(compilation: &Compilation, backend: &Loaded<'_>) -> Result<(), NotProven> {
    if backend.takes_artefacts_of(&compilation.backend_version) {
        return Ok(());
    }
    Err(NotProven::undecided(format!(
        "its proof is of \"{}\" {}, loaded is {}",
        backend.name(),
        compilation.backend_version,
        backend.descriptor.version
    ))
    .hint("install that version of the backend, or compile, run and prove again"))
}
