//! The node's side of the seam: a job directory becomes a result.
//!
//! Whatever is started twice does no harm: who finds a result is done, and of two results the
//! first stays. A node believes nothing that it can check: the key, every input, and that its
//! own program and plugin are those that the job names.

use crate::document::{Bounds, Came, End, JobDocument, JobExit, JobResult, VERSION};
use crate::store::{JobDir, Store};
use dsperse_documents::{BackendError, ErrorKind, Usage};
use dsperse_jobs::attempt::wrong_answer;
use dsperse_jobs::job::{Executor, Files, Hint, Job, Outcome};
use dsperse_jobs::local::LocalExecutor;
use dsperse_jobs::schedule::lock;
use dsperse_plugin_host::{CancelToken, Control, EventSink, PluginHost, Reply};
use dsperse_store::{atomic, known_digest};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often is looked whether the result is still wanted.
const LOOK: Duration = Duration::from_millis(500);

/// Carries out job directories.
pub struct Node<'a> {
    /// The plugins of this machine.
    pub host: &'a PluginHost,
    /// The store; that of the job directory when `None`.
    pub store: Option<PathBuf>,
    /// Where to work; in the job directory when `None`.
    pub scratch: Option<PathBuf>,
    /// Asks the job to stop.
    pub cancel: CancelToken,
}

/// Why there is no result.
struct Stopped {
    exit: JobExit,
    error: BackendError,
}

impl Stopped {
    fn new(exit: JobExit, error: BackendError) -> Self {
        Self { exit, error }
    }
    fn node(doing: &str, path: &Path, e: &io::Error) -> Self {
        let message = format!("can't {doing} \"{}\": {e}", path.display());
        Self::new(JobExit::Node, BackendError::internal(message))
    }
}

impl Node<'_> {
    /// Carries out the job in a directory. The error says why there is no result.
    ///
    /// # Errors
    /// Every way to end but [`JobExit::Result`] and [`JobExit::Failed`].
    pub fn run(&self, dir: &Path) -> Result<JobExit, (JobExit, BackendError)> {
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
        let dir = JobDir::at(dir);
        if fs::exists(dir.cancelled()).unwrap_or(false) {
            return Err((JobExit::Cancelled, BackendError::cancelled()));
        }
        let attempt = tempfile::Builder::new()
            .prefix("a")
            .rand_bytes(12)
            .tempdir_in(dir.attempts())
            .map_err(|e| Stopped::node("create an attempt in", &dir.attempts(), &e))
            .map_err(|s| (s.exit, s.error))?
            .keep();
        let ended = self.attempt(&dir, &attempt);
        match ended {
            Ok(exit) => Ok(exit),
            Err(Stopped { exit, error }) => {
                let _ = fs::remove_dir_all(attempt.join("out"));
                let end = End {
                    schema: Default::default(),
                    code: exit as u8,
                    host: host_name(),
                    error: error.clone(),
                };
                // A full disk takes it away; the exit code says the same.
                let _ = atomic::write_document(&attempt.join("end.json"), &end);
                Err((exit, error))
            }
        }
    }

    fn attempt(&self, dir: &JobDir, attempt: &Path) -> Result<JobExit, Stopped> {
        let input =
            |message: String| Stopped::new(JobExit::Input, BackendError::invalid_input(message));
        let document = dir.document().map_err(|e| input(e.message))?;
        let JobDocument { key, job, .. } = &document;
        let named = dir.path().file_name().and_then(|n| n.to_str());
        if job.key() != *key || named != Some(key) {
            return Err(input(format!(
                "the job in \"{}\" is not the one that its key names",
                dir.path().display()
            )));
        }
        if let Some(result) = dir.result().map_err(|e| input(e.message))? {
            if result.key != *key {
                return Err(input("the result is of another job".to_owned()));
            }
            let _ = fs::remove_dir(attempt);
            return Ok(exit_of(&result.outcome));
        }
        let executor = LocalExecutor::new(self.host);
        self.same_build(&document, &executor)?;
        let files = self.inputs(dir, job)?;
        let bounds: Bounds =
            atomic::read_document(&dir.bounds()).map_err(|e| input(e.to_string()))?;
        // Where the node works, and where the result's files will be.
        let out = attempt.join("out");
        let work = match &self.scratch {
            Some(scratch) => Some(
                tempfile::Builder::new()
                    .prefix("dsperse-job-")
                    .tempdir_in(scratch)
                    .map_err(|e| Stopped::node("create a directory in", scratch, &e))?,
            ),
            None => None,
        };
        fs::create_dir(&out).map_err(|e| Stopped::node("create", &out, &e))?;
        let at = work.as_ref().map_or(out.as_path(), |w| w.path());
        let outcome = self.carry_out(&executor, job, &files, &bounds, dir, attempt, at)?;
        let Outcome { result, usage, .. } = outcome;
        let came = match result {
            Ok(Reply::Done(done)) => {
                if work.is_some() {
                    for path in done.artefacts.iter().map(|a| &a.path) {
                        move_out(at, &out, path)?;
                    }
                    for path in done.outputs.iter().map(|t| &t.path) {
                        move_out(at, &out, path)?;
                    }
                }
                sync_tree(&out).map_err(|e| Stopped::node("write", &out, &e))?;
                Came::Done(done)
            }
            Ok(Reply::Supports(support)) => Came::Supports(support),
            Ok(Reply::Verdict(verdict)) => Came::Verdict(verdict),
            Ok(Reply::Probe(_)) => Came::Failed(wrong_answer()),
            Err(error) => match self.exit_of_error(&error, &usage, &bounds, [at, attempt]) {
                Some(exit) => return Err(Stopped::new(exit, error)),
                None => Came::Failed(error),
            },
        };
        let exit = exit_of(&came);
        let result = JobResult {
            schema: Default::default(),
            key: key.clone(),
            dsperse: VERSION.to_owned(),
            backend_version: job.backend_version.clone(),
            plugin_sha256: job.plugin_sha256.clone(),
            attempt: name(attempt),
            host: host_name(),
            usage,
            outcome: came,
        };
        let published = dir
            .publish(&result)
            .map_err(|e| Stopped::node("publish a result in", dir.path(), &e))?;
        if !published {
            // Another was first; its files count.
            let _ = fs::remove_dir_all(attempt);
        }
        Ok(exit)
    }

    fn same_build(
        &self,
        document: &JobDocument,
        executor: &LocalExecutor<'_>,
    ) -> Result<(), Stopped> {
        let other = |e| Stopped::new(JobExit::OtherBuild, e);
        if document.dsperse != VERSION {
            return Err(other(BackendError::internal(format!(
                "the job wants dsperse {}, this node has {VERSION}",
                document.dsperse
            ))));
        }
        let name = &document.job.backend;
        if self.host.get(name).is_none() {
            return Err(other(BackendError::internal(format!(
                "this node has no backend \"{name}\""
            ))));
        }
        executor.same_backend(&document.job).map_err(other)
    }

    /// The inputs, each compared with its digest.
    fn inputs(&self, dir: &JobDir, job: &Job) -> Result<Files, Stopped> {
        let usual = dir.path().ancestors().nth(2);
        let root = self.store.as_deref().or(usual).unwrap_or(dir.path());
        if !root.join("sha256").is_dir() {
            let message = format!("the store \"{}\" is gone", root.display());
            return Err(Stopped::new(JobExit::Node, BackendError::internal(message)));
        }
        let store = Store::at(root.to_path_buf());
        let mut files = Files::default();
        for (name, sha256) in job.files() {
            let path = store.content(sha256);
            let found = known_digest(&path).map_err(|e| e.to_string());
            if found.as_ref().map(|(_, digest)| digest.as_str()) != Ok(sha256) {
                let why = match found {
                    Ok((_, digest)) => format!("found {digest}"),
                    Err(e) => e,
                };
                let message =
                    format!("the input \"{name}\" is not there: expected SHA-256 {sha256}, {why}");
                return Err(Stopped::new(
                    JobExit::Input,
                    BackendError::invalid_input(message),
                ));
            }
            files.insert(name, sha256, path);
        }
        Ok(files)
    }

    #[allow(clippy::too_many_arguments, reason = "each is a part of the one job")]
    fn carry_out(
        &self,
        executor: &LocalExecutor<'_>,
        job: &Job,
        files: &Files,
        bounds: &Bounds,
        dir: &JobDir,
        attempt: &Path,
        at: &Path,
    ) -> Result<Outcome, Stopped> {
        let control = Control {
            dir: at.to_path_buf(),
            threads: bounds.threads.max(1),
            timeout: bounds
                .timeout_seconds
                .and_then(|s| Duration::try_from_secs_f64(s).ok()),
            memory: bounds.memory,
            artefacts: dsperse_plugin_host::DEFAULT_ARTEFACTS,
            cancel: self.cancel.clone(),
            events: Some(events(&attempt.join("events.jsonl"))),
        };
        let over = Arc::new(AtomicBool::new(false));
        let began = Instant::now();
        let outcome = std::thread::scope(|scope| {
            let ended = over.clone();
            scope.spawn(move || {
                let mut looked = Instant::now();
                while !ended.load(Ordering::Acquire) {
                    std::thread::park_timeout(Duration::from_millis(20));
                    if looked.elapsed() >= LOOK {
                        looked = Instant::now();
                        if fs::exists(dir.cancelled()).unwrap_or(false) {
                            self.cancel.cancel();
                        }
                    }
                }
            });
            let outcome = executor.execute(job, files, &control, Hint::default());
            over.store(true, Ordering::Release);
            outcome
        });
        let mut outcome =
            outcome.map_err(|e| Stopped::new(JobExit::Node, BackendError::internal(e.message)))?;
        outcome.usage.started_at = std::time::SystemTime::now()
            .checked_sub(began.elapsed())
            .and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok())
            .map(|d| d.as_secs_f64());
        Ok(outcome)
    }

    /// Whether an error is of this try, and another may do better; `None` when the job itself
    /// fails.
    fn exit_of_error(
        &self,
        error: &BackendError,
        usage: &Usage,
        bounds: &Bounds,
        written: [&Path; 2],
    ) -> Option<JobExit> {
        if error.kind == ErrorKind::Cancelled || self.cancel.is_cancelled() {
            return Some(JobExit::Cancelled);
        }
        if written.into_iter().any(is_full) {
            return Some(JobExit::Node);
        }
        match error.kind {
            ErrorKind::ToolMissing => Some(JobExit::OtherBuild),
            ErrorKind::Resource => {
                let out_of_time = bounds.timeout_seconds.is_some_and(|t| usage.seconds >= t);
                Some(if out_of_time {
                    JobExit::Time
                } else {
                    JobExit::Memory
                })
            }
            _ => None,
        }
    }
}

impl From<Stopped> for (JobExit, BackendError) {
    fn from(stopped: Stopped) -> Self {
        (stopped.exit, stopped.error)
    }
}

fn exit_of(came: &Came) -> JobExit {
    match came {
        Came::Failed(_) => JobExit::Failed,
        _ => JobExit::Result,
    }
}

fn name(path: &Path) -> String {
    path.file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The name of this machine, for people.
#[must_use]
pub fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|n| n.trim().to_owned())
        .unwrap_or_default()
}

/// Writes events for the coordinator to read. Losing one loses nothing else.
fn events(path: &Path) -> EventSink {
    let file = Mutex::new(File::create(path).ok());
    Arc::new(move |event| {
        let mut file = lock(&file);
        if let (Some(file), Ok(mut line)) = (file.as_mut(), serde_json::to_vec(event)) {
            line.push(b'\n');
            let _ = file.write_all(&line);
        }
    })
}

/// Whether nothing more can be written in a directory: then it is not the backend's fault
/// that it failed.
fn is_full(dir: &Path) -> bool {
    let probe = || -> io::Result<()> {
        let mut file = tempfile::tempfile_in(dir)?;
        file.write_all(&[0u8; 1 << 16])?;
        file.sync_all()
    };
    probe().is_err()
}

/// Moves a declared file from the node's own disk to where the coordinator finds it.
fn move_out(from: &Path, to: &Path, declared: &str) -> Result<(), Stopped> {
    let source = dsperse_plugin_host::resolve(from, declared).map_err(|e| {
        let message = format!("\"{declared}\" {e}");
        Stopped::new(JobExit::Node, BackendError::internal(message))
    })?;
    let target = to.join(declared);
    let copied = || -> io::Result<()> {
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(&source, &target).map(|_| ())
    };
    copied().map_err(|e| Stopped::node("write", &target, &e))
}

fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(dir)?.sync_all()
}
