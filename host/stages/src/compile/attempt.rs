//! One slice: which backend to take, and the compilation itself.

use super::Stage;
use crate::ask;
use crate::backend::{FIDELITY_TARGET, Loaded, takes_target};
use crate::chain::backend_error;
use crate::config::compile_options_digest;
use crate::error::{Error, Result};
use crate::job::{Files, Job};
use crate::opened;
use crate::report::SliceLine;
use crate::schedule::lock;
use dsperse_documents::{Compilation, ErrorKind, Fallback, SliceMetadata};
use dsperse_plugin_api::{Stage as BackendStage, Support};
use dsperse_router::{Chain, plan};

/// What is known of a slice after asking.
#[derive(Debug, Clone)]
pub(super) struct Work {
    /// Backends that passed the static steps, in order.
    pub candidates: Vec<String>,
    /// Those that were turned down so far.
    pub fallbacks: Vec<Fallback>,
    /// What to do.
    pub decision: Decision,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decision {
    /// This backend's compilation still holds.
    UpToDate(String),
    /// Compile with the candidate at this position.
    Compile { position: usize, memory: u64 },
    /// Every backend was turned down.
    Nobody,
}

impl Work {
    /// Estimated memory of what is left to do.
    pub(super) fn memory(&self) -> u64 {
        match self.decision {
            Decision::Compile { memory, .. } => memory,
            _ => 0,
        }
    }
}

impl Stage<'_> {
    /// Routes a slice: static steps, then `supports` until somebody says yes.
    pub(super) fn decide(&self, index: usize) -> Result<Work> {
        let slice = self.driver.store.slice(index)?;
        self.ask_from(index, self.planned(&slice), 0)
    }

    /// The static steps.
    fn planned(&self, slice: &SliceMetadata) -> Work {
        let index = slice.index;
        let empty = Chain {
            backends: Vec::new(),
            explicit: false,
        };
        let uses = opened::operator_uses(self.driver.store.model(), slice);
        let plan = plan(
            self.routes.chain(index).unwrap_or(&empty),
            |name| self.driver.session.loaded(name).map(|l| l.descriptor),
            &uses,
            &self.options.policy,
        );
        let fallbacks = plan
            .rejected
            .into_iter()
            .map(|r| Fallback::new(r.backend, BackendStage::Compile, r.reason))
            .collect();
        Work {
            candidates: plan.candidates,
            fallbacks,
            decision: Decision::Nobody,
        }
    }

    /// Asks the candidates from a position on.
    pub(super) fn ask_from(&self, index: usize, mut work: Work, from: usize) -> Result<Work> {
        let slice = self.driver.store.slice(index)?;
        work.decision = Decision::Nobody;
        for position in from..work.candidates.len() {
            self.driver.session.check_cancelled()?;
            let name = work.candidates[position].clone();
            let Some(backend) = self.driver.session.loaded(&name) else {
                continue;
            };
            if !self.options.force {
                if self.fresh(&slice, &backend)? {
                    work.decision = Decision::UpToDate(name);
                    return Ok(work);
                }
                if let Some(earlier) = self.remembered(&slice, &backend)? {
                    work.fallbacks.push(earlier);
                    continue;
                }
            }
            match self.ask(&slice, &backend)? {
                Ok(memory) => {
                    work.decision = Decision::Compile { position, memory };
                    return Ok(work);
                }
                Err(fallback) => {
                    self.driver.fell_through(index, &fallback);
                    work.fallbacks.push(fallback);
                }
            }
        }
        Ok(work)
    }

    /// `supports`: the estimated memory, or why not.
    fn ask(&self, slice: &SliceMetadata, backend: &Loaded<'_>) -> Result<Result<u64, Fallback>> {
        let payload = opened::payload(self.driver.store, slice.index)?;
        let info = slice.slice_info(None);
        let stage = BackendStage::Compile;
        match ask::supports(
            self.driver.session,
            backend,
            info,
            &payload,
            self.driver.scratch(),
        )? {
            Ok(Support::Yes { cost }) => Ok(Ok(cost.peak_bytes)),
            Ok(Support::No { node, op, reason }) => {
                let mut fallback = Fallback::new(backend.name(), stage, reason);
                fallback.kind = Some(ErrorKind::Unsupported);
                fallback.node = node;
                fallback.op = op;
                Ok(Err(fallback))
            }
            Err(e) if falls_through(e.kind) => {
                Ok(Err(Fallback::from_error(backend.name(), stage, &e)))
            }
            Err(e) => Err(backend_error(&e, slice.index, backend.name())),
        }
    }

    /// Compiles, and puts the result in place. The inner error is a fall-through.
    pub(super) fn compile_with(
        &self,
        index: usize,
        name: &str,
        fallbacks: &[Fallback],
        memory: u64,
    ) -> Result<Result<SliceMetadata, Fallback>> {
        let Some(backend) = self.driver.session.loaded(name) else {
            return Err(Error::backend(format!("backend \"{name}\" is not loaded")));
        };
        let slice = self.driver.store.slice(index)?;
        let (job, files) = self.compile_job(&slice, &backend)?;
        let attempt = self.driver.attempt(&job, &files, memory)?;
        let (usage, node) = (attempt.usage, attempt.node.clone());
        let declined = |mut fallback: Fallback| {
            fallback.key = Some(self.rejection_key(&job));
            Ok(Err(fallback))
        };
        let (done, dir) = match attempt.done() {
            Ok(done) => done,
            Err(e) if falls_through(e.kind) => {
                return declined(Fallback::from_error(name, BackendStage::Compile, &e));
            }
            Err(e) => return Err(backend_error(&e, index, name)),
        };
        if let Err(e) = self.driver.session.fits_proof(&done.facts) {
            return declined(Fallback::from_error(name, BackendStage::Prove, &e));
        }
        let fidelity = match self.judge(&slice, &backend, &done, dir.path())? {
            Ok(fidelity) => fidelity,
            Err(fallback) => return declined(fallback),
        };
        let capabilities = &backend.descriptor.capabilities;
        let compilation = Compilation {
            fidelity,
            calibrated: self.input_ranges(&slice)?,
            backend_version: backend.descriptor.version.to_string(),
            plugin_sha256: backend.digest.to_owned(),
            options_sha256: compile_options_digest(backend.descriptor, backend.options),
            calibration_sha256: self.samples.get()?.digest(index),
            payload_sha256: slice.payload.sha256.clone(),
            artefacts: done.artefacts,
            proof: capabilities.proof.clone(),
            verify_needs_payload: capabilities.verify_needs_payload,
            usage,
            node,
            facts: done.facts,
            warnings: done.warnings,
            ..Compilation::default()
        };
        let slice =
            self.driver
                .store
                .install_compilation(index, name, dir.path(), compilation, |m| {
                    m.backend = Some(name.to_owned());
                    m.fallbacks = fallbacks.to_vec();
                })?;
        self.driver.finished(index, name, usage, "done");
        Ok(Ok(slice))
    }

    fn compile_job(&self, slice: &SliceMetadata, backend: &Loaded<'_>) -> Result<(Job, Files)> {
        let mut files = Files::default();
        let work = self.samples.get()?.work(slice, &mut files)?;
        let (mut job, files) = opened::job(self.driver.store, slice, backend, work, files)?;
        let closer = lock(&self.targets).get(&slice.index).copied();
        if let Some(target) = closer.filter(|_| takes_target(backend.descriptor)) {
            job.options
                .insert(FIDELITY_TARGET.to_owned(), target.into());
        }
        Ok((job, files))
    }

    /// Whether the backend's compilation was made from the same payload, options and
    /// calibration, by the same backend or one whose artefacts it can still use.
    fn fresh(&self, slice: &SliceMetadata, backend: &Loaded<'_>) -> Result<bool> {
        let Some(c) = slice.compilations.get(backend.name()) else {
            return Ok(false);
        };
        Ok(c.payload_sha256 == slice.payload.sha256
            && c.options_sha256 == compile_options_digest(backend.descriptor, backend.options)
            && backend.would_compile_as(&c.backend_version, &c.plugin_sha256)
            && self
                .samples
                .still_fits(slice.index, c.calibration_sha256.as_deref())?)
    }

    /// An earlier refusal of the very same job. A missing tool is always looked for again.
    fn remembered(&self, slice: &SliceMetadata, backend: &Loaded<'_>) -> Result<Option<Fallback>> {
        let Some(earlier) = slice.fallbacks.iter().find(|f| {
            f.backend == backend.name() && f.key.is_some() && f.kind != Some(ErrorKind::ToolMissing)
        }) else {
            return Ok(None);
        };
        let (job, _) = self.compile_job(slice, backend)?;
        let same = earlier.key == Some(self.rejection_key(&job));
        Ok(same.then(|| earlier.clone()))
    }

    /// Turns a backend down that compiled a slice, and compiles the slice with those that come
    /// after it in the chain.
    pub(super) fn decline(&self, index: usize, reason: String, line: &mut SliceLine) -> Result<()> {
        let slice = self.driver.store.slice(index)?;
        let Some(backend) = slice
            .backend
            .as_deref()
            .and_then(|n| self.driver.session.loaded(n))
        else {
            return Ok(());
        };
        lock(&self.targets).remove(&index);
        let (job, _) = self.compile_job(&slice, &backend)?;
        let mut fallback = Fallback::new(backend.name(), BackendStage::Compile, reason);
        fallback.kind = Some(ErrorKind::Unsupported);
        fallback.key = Some(self.rejection_key(&job));
        self.driver.fell_through(index, &fallback);
        let name = backend.name().to_owned();
        // Else the next command would find it up to date.
        self.driver.store.update_slice(index, |m| {
            m.compilations.remove(&name);
        })?;
        let mut work = self.planned(&slice);
        let position = work.candidates.iter().position(|c| *c == name);
        work.fallbacks.extend(slice.fallbacks);
        work.fallbacks.push(fallback);
        let next = position.map_or(work.candidates.len(), |p| p + 1);
        let work = self.ask_from(index, work, next)?;
        self.carry_out(index, work, line)
    }

    /// What a refusal depended on: the job, and the limits under which it ran.
    fn rejection_key(&self, job: &Job) -> String {
        let limits = &self.driver.session.limits;
        let mut hasher = dsperse_documents::digest::FieldHasher::new("dsperse/rejection/1");
        hasher
            .text(&job.key())
            .number(limits.timeout.map_or(0, |t| t.as_millis() as u64))
            .number(limits.memory.unwrap_or(0));
        hasher.finish()
    }
}

/// Kinds after which the next backend of the chain is tried.
pub(crate) fn falls_through(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::InvalidInput | ErrorKind::Cancelled)
}
