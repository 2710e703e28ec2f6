//! What the stages have in common: whose turn it is and what may run at the same time, what is
//! told and kept of each slice, and the rows of the closing table. A stage itself says what one
//! slice's turn is.

use crate::attempt::{Attempt, Attempted};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::job::{Files, Job};
use crate::opened;
use crate::report::{Outcome, SliceLine, StageReport};
use crate::schedule::{self, Task, lock};
use crate::session::Session;
use dsperse_documents::{Fallback, RunResults, SliceRun, StageOutcome, Usage};
use dsperse_plugin_api::{Artefact, job::Done};
use dsperse_store::{RunDir, SliceStore};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;
use tempfile::TempDir;

/// A stage at work on slices.
pub(crate) struct Driver<'a> {
    pub session: &'a Session<'a>,
    pub store: &'a SliceStore,
    /// `compile`, `run`, `prove` or `verify`.
    stage: &'static str,
    /// How many slices it works on.
    slices: usize,
    scratch: TempDir,
    began: Instant,
}

impl<'a> Driver<'a> {
    /// A stage on so many slices. Jobs work below `scratch`, which is on the disk where their
    /// results stay.
    pub fn new(
        session: &'a Session<'a>,
        store: &'a SliceStore,
        stage: &'static str,
        slices: usize,
        scratch: TempDir,
    ) -> Self {
        Self {
            session,
            store,
            stage,
            slices,
            scratch,
            began: Instant::now(),
        }
    }

    /// Tells that the work begins.
    pub fn begin(&self) {
        self.session.emit(&Event::StageStarted {
            stage: self.stage,
            slices: self.slices,
        });
    }

    /// Where jobs work.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Gives each slice its turn, after those that it depends on and as far as memory allows;
    /// `tasks` are those of `slices`. A turn fills the slice's row and may fail, which is told
    /// there. What comes after a slice that failed is not started.
    pub fn turns(
        &self,
        slices: &[usize],
        tasks: &[Task],
        turn: impl Fn(usize, &mut SliceLine) -> Result<()> + Sync,
    ) -> Vec<SliceLine> {
        let (session, failed) = (self.session, Mutex::new(BTreeSet::new()));
        let lines = schedule::run_all(tasks, session.bounds(), &session.cancel, |at| {
            let mut line = self.line(slices[at]);
            if tasks[at].after.iter().any(|t| lock(&failed).contains(t)) {
                lock(&failed).insert(at);
                return line;
            }
            if let Err(e) = turn(at, &mut line) {
                lock(&failed).insert(at);
                if !session.cancel.is_cancelled() {
                    session.emit(&Event::Failed {
                        stage: self.stage,
                        slice: line.index,
                        reason: e.message.clone(),
                    });
                    line.outcome = Outcome::Failed;
                }
                line.error = Some(e.message);
                line.hint = e.hint;
            }
            line
        });
        let lines = slices.iter().zip(lines);
        lines
            .map(|(index, line)| line.unwrap_or_else(|| self.line(*index)))
            .collect()
    }

    /// The row of a slice that was not started.
    fn line(&self, index: usize) -> SliceLine {
        let slice = self.store.slice(index).ok();
        SliceLine {
            index,
            operators: slice
                .as_ref()
                .map(opened::operator_words)
                .unwrap_or_default(),
            outcome: Outcome::Skipped,
            ..SliceLine::default()
        }
    }

    /// Carries out the job of a slice's turn, which is expected to need so much memory.
    pub fn attempt(&self, job: &Job, files: &Files, memory: u64) -> Result<Attempted> {
        let how = Attempt::told(self.stage, self.scratch(), self.slices);
        self.session.attempt(job, files, how.expecting(memory))
    }

    /// Tells that an earlier result still holds.
    pub fn up_to_date(&self, slice: usize, backend: &str) {
        self.session.emit(&Event::UpToDate {
            stage: self.stage,
            slice,
            backend: backend.to_owned(),
        });
    }

    /// Tells that a backend of the chain was turned down.
    pub fn fell_through(&self, slice: usize, fallback: &Fallback) {
        self.session.emit(&Event::FellThrough {
            slice,
            fallback: fallback.clone(),
        });
    }

    /// Tells that a slice is done.
    pub fn finished(&self, slice: usize, backend: &str, usage: Usage, outcome: &str) {
        self.session.emit(&Event::Finished {
            stage: self.stage,
            slice,
            backend: backend.to_owned(),
            usage,
            outcome: outcome.to_owned(),
        });
    }

    /// The finished stage.
    pub fn report(&self, slices: Vec<SliceLine>) -> StageReport {
        StageReport {
            stage: self.stage.to_owned(),
            slices,
            seconds: self.began.elapsed().as_secs_f64(),
            ..StageReport::default()
        }
    }
}

/// A directory for files that only this command uses; it goes away with the value.
pub(crate) fn scratch(stage: &str) -> Result<TempDir> {
    let made = tempfile::Builder::new()
        .prefix(&format!("dsperse-{stage}-"))
        .tempdir();
    made.map_err(|e| Error::failed(format!("can't create a temporary directory: {e}")))
}

/// Why each backend was turned down, in one line.
pub(crate) fn reasons(fallbacks: &[Fallback]) -> String {
    let reason = |f: &Fallback| format!("{}: {}", f.backend, f.reason);
    let reasons: Vec<String> = fallbacks.iter().map(reason).collect();
    reasons.join("; ")
}

/// Does something for every task, as far as memory allows; the first error ends it.
pub(crate) fn all<R: Send>(
    session: &Session<'_>,
    tasks: &[Task],
    work: impl Fn(usize) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let failure = Mutex::new(None);
    let done = schedule::run_all(tasks, session.bounds(), &session.cancel, |at| {
        if lock(&failure).is_some() {
            return None;
        }
        let done = work(at);
        done.map_err(|e| lock(&failure).get_or_insert(e).clone())
            .ok()
    });
    session.check_cancelled()?;
    match lock(&failure).take() {
        Some(e) => Err(e),
        None => Ok(done.into_iter().flatten().flatten().collect()),
    }
}

/// What a run records of a job that ended well.
pub(crate) fn success(usage: Usage, files: &[Artefact], key: String, done: &Done) -> StageOutcome {
    StageOutcome {
        success: true,
        usage,
        files: files.to_vec(),
        key: Some(key),
        facts: done.facts.clone(),
        warnings: done.warnings.clone(),
        ..StageOutcome::default()
    }
}

/// Whether a run holds what it records of a job, with all files.
pub(crate) fn intact(run: &RunDir, recorded: &StageOutcome) -> bool {
    recorded.success && recorded.files.iter().all(|a| run.artefact(a).is_ok())
}

/// Changes the record of one slice.
pub(crate) fn record(results: &mut RunResults, index: usize, change: impl FnOnce(&mut SliceRun)) {
    if let Some(slice) = results.slices.iter_mut().find(|s| s.index == index) {
        change(slice);
    }
}
