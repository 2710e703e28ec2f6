//! What the coordinator believes of a result: what it has read itself.
//!
//! Every output is copied out of the store first and hashed there, so that what was checked
//! is what is used. A proof is checked as `verify` would before it is taken. That the result
//! is *true* is not decided here: whoever verifies does that.

use crate::document::{Came, JobResult};
use crate::store::JobDir;
use dsperse_documents::BackendError;
use dsperse_jobs::job::{Job, Work};
use dsperse_plugin_api::{Artefact, Done, Role};
use dsperse_plugin_host::{AnswerBounds, Control, Reply, check_done, check_sizes};
use dsperse_store::copy_hashing;
use std::fs::{self, File};
use std::path::Path;
use std::time::Instant;

/// Takes a result into the job's own directory, as far as its bounds allow. The inner error is the backend's own.
///
/// # Errors
/// Why the result is not believed.
pub fn admit(
    result: &JobResult,
    dir: &JobDir,
    job: &Job,
    control: &Control,
) -> Result<Result<Reply, BackendError>, String> {
    let key = job.key();
    if result.key != key {
        return Err(format!("it is of the job {}, not {key}", result.key));
    }
    if result.backend_version != job.backend_version || result.plugin_sha256 != job.plugin_sha256 {
        return Err(format!(
            "it was made by version {} of the backend in a library with SHA-256 {}, not by {} in {}",
            result.backend_version, result.plugin_sha256, job.backend_version, job.plugin_sha256
        ));
    }
    match (&result.outcome, &job.work) {
        (Came::Failed(error), _) => Ok(Err(error.clone())),
        (
            Came::Done(done),
            work @ (Work::Compile { .. } | Work::Witness { .. } | Work::Prove { .. }),
        ) => {
            let mut done = done.clone();
            let to = control.dir.as_path();
            let bounds = AnswerBounds {
                op: work.op().as_str(),
                bytes: control.artefacts,
                began: Instant::now(),
                timeout: control.timeout,
                cancel: &control.cancel,
            };
            take(result, dir, &done, to, &bounds)?;
            roles(work, &done)?;
            let witness = matches!(work, Work::Witness { .. });
            let outputs = witness.then_some(job.slice.outputs.as_slice());
            check_done(outputs, to, &mut done, &bounds).map_err(|e| e.message)?;
            Ok(Ok(Reply::Done(done)))
        }
        _ => Err("it answers another question than was asked".to_owned()),
    }
}

/// Copies what is declared.
fn take(
    result: &JobResult,
    dir: &JobDir,
    done: &Done,
    to: &Path,
    bounds: &AnswerBounds<'_>,
) -> Result<(), String> {
    let named =
        !result.attempt.is_empty() && result.attempt.chars().all(|c| c.is_ascii_alphanumeric());
    if !named {
        return Err("it names no attempt".to_owned());
    }
    let attempt = dir.attempts().join(&result.attempt);
    let from = attempt.join("out");
    let plain = |dir: &Path| fs::symlink_metadata(dir).is_ok_and(|m| m.is_dir());
    if !plain(&attempt) || !plain(&from) {
        return Err(format!("its attempt \"{}\" is not there", result.attempt));
    }
    check_sizes(&from, done, bounds).map_err(|e| e.message)?;
    let artefacts = done.artefacts.iter().map(|a| (&a.path, &a.sha256));
    let outputs = done.outputs.iter().map(|t| (&t.path, &t.sha256));
    for (declared, sha256) in artefacts.chain(outputs) {
        let source = dsperse_plugin_host::resolve(&from, declared)
            .map_err(|e| format!("the file \"{declared}\" {e}"))?;
        let target = to.join(declared);
        let unread = |e: String| format!("the file \"{declared}\" can't be taken over: {e}");
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(|e| unread(e.to_string()))?;
        }
        let mut copy = File::create(&target).map_err(|e| unread(e.to_string()))?;
        let (_, found) = copy_hashing(&source, &mut copy).map_err(|e| unread(e.to_string()))?;
        if found != *sha256 {
            return Err(format!(
                "the file \"{declared}\" is not what was declared: expected SHA-256 {sha256}, found {found}"
            ));
        }
    }
    Ok(())
}

/// A witness is nobody's but the prover's, and a proof is for verifiers.
fn roles(work: &Work, done: &Done) -> Result<(), String> {
    let verifying = |a: &Artefact| a.role == Role::Verifying;
    match work {
        Work::Witness { .. } => match done.artefacts.iter().find(|a| verifying(a)) {
            Some(a) => Err(format!("its witness \"{}\" is for verifiers", a.name)),
            None => Ok(()),
        },
        Work::Prove { .. } if !done.artefacts.iter().any(verifying) => {
            Err("it holds no proof for verifiers".to_owned())
        }
        _ => Ok(()),
    }
}
