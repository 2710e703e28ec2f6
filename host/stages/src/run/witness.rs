//! One slice of a run: inference and witness, through the backends that may do it.

use super::Stage;
use crate::chain::{attach, backend_error};
use crate::compile::falls_through;
use crate::driver::{intact, reasons, record, success};
use crate::error::{Error, Result};
use crate::job::{Files, Work};
use crate::memory::expected;
use crate::opened;
use crate::report::{Outcome, SliceLine};
use crate::schedule::lock;
use dsperse_documents::{
    BackendError, Claim, ErrorKind, Fallback, SliceMetadata, StageOutcome, TensorOrigin,
};
use dsperse_plugin_api::Stage as BackendStage;
use dsperse_store::{NewTensor, StageFiles};

/// Tensors of a slice are also written as JSON up to so many elements.
const VIEW_ELEMENTS: u64 = 4096;

impl Stage<'_> {
    /// Runs a slice with the first backend that gets through.
    pub(super) fn witness(&self, index: usize, line: &mut SliceLine) -> Result<()> {
        let slice = self.driver.store.slice(index)?;
        let choice = &self.choices[index];
        let mut fallbacks = choice.fallbacks.clone();
        for name in &choice.backends {
            self.driver.session.check_cancelled()?;
            match self.witness_with(&slice, name, &fallbacks, line)? {
                Ok(()) => {
                    line.fallbacks = fallbacks;
                    return Ok(());
                }
                Err(fallback) => {
                    self.driver.fell_through(index, &fallback);
                    fallbacks.push(fallback);
                }
            }
        }
        let hint = fallbacks.iter().rev().find_map(|f| f.hint.clone());
        let mut error = Error::failed(format!(
            "slice {index}: no backend could run it ({})",
            reasons(&fallbacks)
        ));
        error.hint = hint;
        line.fallbacks = fallbacks;
        Err(error)
    }

    /// Keeps a failure in the record, for `report` and for people; the next `run` tries again.
    pub(super) fn record_failure(&self, index: usize, fallbacks: &[Fallback], error: &Error) {
        let kind = fallbacks.iter().rev().find_map(|f| f.kind);
        let mut told = BackendError::new(kind.unwrap_or(ErrorKind::Internal), &error.message);
        told.hint.clone_from(&error.hint);
        let recorded = self.run.update(|results| {
            record(results, index, |s| {
                s.witness_execution = Some(StageOutcome {
                    fallbacks: fallbacks.to_vec(),
                    error: Some(told),
                    ..StageOutcome::default()
                });
            });
        });
        if let Err(e) = recorded {
            tracing::warn!("the failure of slice {index} was not recorded: {e}");
        }
    }

    /// The inner error is a fall-through.
    fn witness_with(
        &self,
        slice: &SliceMetadata,
        name: &str,
        fallbacks: &[Fallback],
        line: &mut SliceLine,
    ) -> Result<Result<(), Fallback>> {
        let index = slice.index;
        let Some(backend) = self.driver.session.loaded(name) else {
            let reason = "no plugin of this name is loaded";
            return Ok(Err(Fallback::new(name, BackendStage::Witness, reason)));
        };
        let mut files = Files::default();
        let circuit = match slice.compilations.contains_key(name) {
            true => opened::circuit(self.driver.store, slice, name, &mut files)?,
            false => Vec::new(),
        };
        let claim = Claim {
            inputs: slice.inputs.iter().map(|t| t.name.clone()).collect(),
            outputs: slice.outputs.iter().map(|t| t.name.clone()).collect(),
        };
        let inputs = attach(&self.held(&claim.inputs)?, &mut files);
        let work = Work::Witness { circuit, inputs };
        let (job, files) = opened::job(self.driver.store, slice, &backend, work, files)?;
        let key = job.key();
        line.backend = Some(name.to_owned());
        if self.up_to_date(index, name, &key, &claim, line) {
            // They are no part of what is recorded, so a command that died may have left
            // them out.
            self.write_views(index, &claim)?;
            self.driver.up_to_date(index, name);
            return Ok(Ok(()));
        }
        let compiled = slice.compilations.get(name);
        let memory = compiled.map_or(0, |c| expected(c, BackendStage::Witness));
        let attempt = self.driver.attempt(&job, &files, memory)?;
        let usage = attempt.usage;
        let (done, dir) = match attempt.done() {
            Ok(done) => done,
            // What a circuit can't take (an infinity that an earlier slice computed) plain
            // execution may.
            Err(e) if falls_through(e.kind) || e.kind == ErrorKind::InvalidInput => {
                return Ok(Err(Fallback::from_error(name, BackendStage::Witness, &e)));
            }
            Err(e) => return Err(backend_error(&e, index, name)),
        };
        if backend.is_executor()
            && let Some(engine) = done.facts.get("engine")
        {
            lock(&self.engine).get_or_insert_with(|| engine.clone());
        }
        let tensors = done
            .outputs
            .iter()
            .map(|t| NewTensor::from_job(t, dir.path(), TensorOrigin::Slice(index)))
            .collect::<Result<Vec<_>, _>>()?;
        let version = backend.descriptor.version.to_string();
        let installed = self.run.install_stage(
            StageFiles {
                slice: index,
                backend: name,
                stage: "witness",
                job_dir: dir.path(),
                artefacts: &done.artefacts,
                tensors,
            },
            |results, files| {
                record(results, index, |s| {
                    s.backend = Some(name.to_owned());
                    s.backend_version = Some(version);
                    s.claim = claim.clone();
                    s.proof_execution = None;
                    s.verification_execution = None;
                    s.witness_execution = Some(StageOutcome {
                        fallbacks: fallbacks.to_vec(),
                        ..success(usage, files, key, &done)
                    });
                });
            },
        )?;
        self.write_views(index, &claim)?;
        line.fill(Outcome::Done, usage, &installed);
        line.warnings = done.warnings;
        self.driver.finished(index, name, usage, "done");
        Ok(Ok(()))
    }

    /// The slice's tensors as JSON, when they are small or the user wants all.
    fn write_views(&self, index: usize, claim: &Claim) -> Result<()> {
        let most = if self.views { u64::MAX } else { VIEW_ELEMENTS };
        Ok(self.run.write_views(index, claim, most)?)
    }

    /// Whether an interrupted run already has this very witness, with its tensors.
    fn up_to_date(
        &self,
        index: usize,
        backend: &str,
        key: &str,
        claim: &Claim,
        line: &mut SliceLine,
    ) -> bool {
        let results = self.run.results();
        let Some(slice) = results.slices.iter().find(|s| s.index == index) else {
            return false;
        };
        let Some(w) = &slice.witness_execution else {
            return false;
        };
        let same = w.key.as_deref() == Some(key)
            && slice.backend.as_deref() == Some(backend)
            && self.held(&claim.outputs).is_ok()
            && intact(self.run, w);
        if same {
            line.fill(Outcome::UpToDate, w.usage, &w.files);
        }
        same
    }
}
