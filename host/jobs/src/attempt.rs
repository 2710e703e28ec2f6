//! One try at a job: the only place where a job gets a directory, is announced, is handed
//! to the executor, and has its answer looked at before a stage believes it.

use crate::error::{Error, Result};
use crate::event::Event;
use crate::job::{Files, Hint, Job, Work};
use crate::session::Session;
use dsperse_documents::{BackendError, ErrorKind, Usage};
use dsperse_plugin_api::{Done, Encoding, Support, TensorFile, TensorInfo, Verdict};
use dsperse_plugin_host::Reply;
use std::path::Path;
use tempfile::TempDir;

/// What goes with a job without changing its result.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The job's directory is made below this one, which is on the disk where results stay.
    pub scratch: &'a Path,
    /// The stage under which its start is told; `None` for a job that only serves another.
    pub stage: Option<&'static str>,
    /// As many jobs may run at the same time, and share the processors.
    pub jobs: usize,
    /// Memory that the job is expected to need, in bytes; 0 when nothing is known.
    pub memory: u64,
}

impl<'a> Attempt<'a> {
    /// A job that only serves another, of which nobody is told.
    #[must_use]
    pub fn quiet(scratch: &'a Path, jobs: usize) -> Self {
        Self {
            scratch,
            stage: None,
            jobs,
            memory: 0,
        }
    }

    /// A job that is a slice's turn in a stage.
    #[must_use]
    pub fn told(stage: &'static str, scratch: &'a Path, jobs: usize) -> Self {
        Self {
            scratch,
            stage: Some(stage),
            jobs,
            memory: 0,
        }
    }

    /// The same, expected to need so much memory.
    #[must_use]
    pub fn expecting(self, memory: u64) -> Self {
        Self { memory, ..self }
    }
}

/// What came of a job.
#[derive(Debug)]
pub struct Attempted {
    /// The answer, which is one to the question that was asked, or the backend's error. Never
    /// a cancellation.
    pub result: Result<Reply, BackendError>,
    /// What it cost.
    pub usage: Usage,
    /// The machine that made it; `None` is this one.
    pub node: Option<String>,
    /// The job's directory with the files that the answer names, gone when this is dropped.
    pub dir: TempDir,
}

impl Session<'_> {
    /// Carries out a job once.
    ///
    /// # Errors
    /// When its directory can't be made, nobody could carry it out, or the user interrupted. An error of the backend is
    /// in [`Attempted::result`].
    pub fn attempt(&self, job: &Job, files: &Files, how: Attempt<'_>) -> Result<Attempted> {
        let dir = tempfile::Builder::new()
            .prefix("job-")
            .tempdir_in(how.scratch)
            .map_err(|e| Error::io("create a directory in", how.scratch, &e))?;
        if let Some(stage) = how.stage {
            self.emit(&Event::Started {
                stage,
                slice: job.slice.index,
                backend: job.backend.clone(),
            });
        }
        let control = self.control(dir.path(), job, how.jobs);
        let hint = Hint {
            memory: (how.memory > 0).then_some(how.memory),
            serves: how.stage.is_none(),
        };
        let started_at = now();
        let outcome = self.executor().execute(job, files, &control, hint)?;
        let result = outcome.result.and_then(|reply| admit(job, reply));
        if matches!(&result, Err(e) if e.kind == ErrorKind::Cancelled) {
            return Err(Error::interrupted());
        }
        Ok(Attempted {
            result,
            usage: Usage {
                // An executor elsewhere knows better when the job began there.
                started_at: outcome.usage.started_at.or(started_at),
                ..outcome.usage
            },
            node: outcome.node,
            dir,
        })
    }
}

impl Attempted {
    /// The answer to `supports`.
    ///
    /// # Errors
    /// The job's own error.
    pub fn supports(self) -> Result<Support, BackendError> {
        match self.result? {
            Reply::Supports(s) => Ok(s),
            _ => Err(wrong_answer()),
        }
    }
    /// The answer to `compile`, `witness` and `prove`, with the directory of its files.
    ///
    /// # Errors
    /// The job's own error.
    pub fn done(self) -> Result<(Done, TempDir), BackendError> {
        match self.result? {
            Reply::Done(d) => Ok((d, self.dir)),
            _ => Err(wrong_answer()),
        }
    }
    /// The answer to `verify`.
    ///
    /// # Errors
    /// The job's own error.
    pub fn verdict(self) -> Result<Verdict, BackendError> {
        match self.result? {
            Reply::Verdict(v) => Ok(v),
            _ => Err(wrong_answer()),
        }
    }
}

/// Seconds since 1970; `None` when the clock is before that.
fn now() -> Option<f64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().map(|d| d.as_secs_f64())
}

/// An answer that is none to the job's question.
#[must_use]
pub fn wrong_answer() -> BackendError {
    BackendError::internal("the backend answered another question than it was asked")
}

/// Looks at an answer as a whole; its files were measured by the executor.
fn admit(job: &Job, reply: Reply) -> Result<Reply, BackendError> {
    match (&reply, &job.work) {
        (Reply::Supports(_), Work::Supports)
        | (Reply::Verdict(_), Work::Verify { .. })
        | (Reply::Done(_), Work::Compile { .. }) => {}
        (Reply::Done(done), Work::Witness { .. }) => {
            check_outputs(&done.outputs, &job.slice.outputs).map_err(BackendError::internal)?;
        }
        (Reply::Done(done), Work::Prove { .. }) => {
            if done.artefacts.is_empty() {
                return Err(BackendError::internal(
                    "the backend says that it has proven the slice, but hands over no proof",
                ));
            }
        }
        _ => return Err(wrong_answer()),
    }
    Ok(reply)
}

/// Compares the outputs of a witness job with what the slice declares: same names, shapes
/// and encodings (fixed point may stand for floats).
fn check_outputs(found: &[TensorFile], declared: &[TensorInfo]) -> Result<(), String> {
    if found.len() != declared.len() {
        return Err(format!(
            "the backend returned {} outputs, the slice has {}",
            found.len(),
            declared.len()
        ));
    }
    for (file, want) in found.iter().zip(declared) {
        let float = want.encoding.is_float();
        let fixed = matches!(file.info.encoding, Encoding::Fixed { .. });
        let fits = file.info.encoding == want.encoding || (float && fixed);
        if file.info.name != want.name || file.info.shape != want.shape || !fits {
            return Err(format!(
                "the backend returned output \"{}\" {:?} {:?}, the slice has \"{}\" {:?} {:?}",
                file.info.name,
                file.info.encoding,
                file.info.shape,
                want.name,
                want.encoding,
                want.shape
            ));
        }
    }
    Ok(())
}
