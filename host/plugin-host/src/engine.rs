//! Runs one operation of a library: in a fresh worker, in one that is kept for a plugin
//! whose workers may be reused, or (for debugging) in this process.

use crate::client::{End, Job, Observed, Stop, Worker, start_error};
use crate::judge::judge;
use crate::loader::{self, Facts, Refused, bridge::Bridge};
use crate::worker::messages::{DESCRIBE, Loaded};
use crate::{CallParts, CancelToken, Event, EventSink, Isolation, Policy, SkipKind, sys, usage};
use dsperse_plugin_api::abi::RawReply;
use dsperse_plugin_api::context::Level;
use dsperse_plugin_api::{Error, ErrorKind};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Starts workers and keeps the idle ones.
#[derive(Debug)]
pub(crate) struct Engine {
    isolation: Isolation,
    program: PathBuf,
    policy: Policy,
    /// By the digest of the library.
    idle: Mutex<HashMap<String, Vec<Worker>>>,
    /// Libraries loaded into this process, by path (`Isolation::None`).
    loaded: Mutex<HashMap<PathBuf, (loader::Loaded, Facts)>>,
}

/// One operation of one library.
pub(crate) struct Task<'a> {
    pub(crate) library: &'a Path,
    pub(crate) digest: &'a str,
    pub(crate) op: &'a str,
    pub(crate) request: &'a [u8],
    pub(crate) dir: Option<&'a Path>,
    pub(crate) memory: Option<u64>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) cancel: &'a CancelToken,
    pub(crate) events: Option<&'a EventSink>,
    /// The worker may be one that served before, and may serve again.
    pub(crate) reuse: bool,
}

/// What came of it.
pub(crate) struct Ran {
    pub(crate) result: Result<RawReply, Error>,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_bytes: u64,
    pub(crate) parts: CallParts,
    pub(crate) tail: String,
    /// Processes that the call left behind, which were ended.
    pub(crate) left_behind: usize,
}

/// Why a library could not describe itself.
pub(crate) enum DescribeError {
    /// It is no plugin, or not one for this host.
    Refused(Refused),
    /// It crashed, hung or hoarded: quarantine.
    Crashed(Error),
    /// Anything else.
    Failed(Error),
}

impl Engine {
    pub(crate) fn new(isolation: Isolation, program: Option<&Path>, policy: &Policy) -> Self {
        Self {
            isolation,
            program: program.map_or_else(own_program, Path::to_path_buf),
            policy: policy.clone(),
            idle: Mutex::default(),
            loaded: Mutex::default(),
        }
    }

    /// Loads a library and asks it to describe itself; also returns the name of its door.
    pub(crate) fn describe(&self, library: &Path) -> Result<(RawReply, String), DescribeError> {
        if self.isolation == Isolation::None {
            let (loaded, facts) = self.load(library).map_err(DescribeError::Refused)?;
            return match loaded.describe(self.policy.max_reply_bytes) {
                Ok(raw) => Ok((raw, facts.door.to_owned())),
                Err(e) => Err(DescribeError::Failed(Error::internal(e.to_string()))),
            };
        }
        let mut worker = Worker::start(&self.program, library, &self.policy)
            .map_err(|e| DescribeError::Failed(start_error(&self.program, &e)))?;
        let seen = worker.run(&Job {
            op: DESCRIBE,
            request: b"",
            dir: None,
            memory: Some(self.policy.describe_memory),
            timeout: Some(self.policy.describe_timeout),
            cancel: &CancelToken::new(),
            events: None,
            last: true,
        });
        match &seen.loaded {
            Some(Loaded::Refused { kind, reason }) => {
                return Err(DescribeError::Refused(Refused {
                    kind: *kind,
                    reason: reason.clone(),
                }));
            }
            Some(Loaded::Ready { door, .. }) => {
                let door = door.clone();
                judge(DESCRIBE, &seen).map(|raw| (raw, door))
            }
            None => judge(DESCRIBE, &seen).map(|raw| (raw, String::new())),
        }
        .map_err(|error| match error.kind {
            // A library that hangs would make every later command hang.
            ErrorKind::Crash | ErrorKind::Panic | ErrorKind::Resource => {
                DescribeError::Crashed(error)
            }
            _ => DescribeError::Failed(error),
        })
    }

    /// Runs an operation.
    pub(crate) fn run(&self, task: &Task<'_>) -> Ran {
        match self.isolation {
            Isolation::None => self.run_here(task),
            Isolation::Process => self.run_in_worker(task),
        }
    }

    fn run_in_worker(&self, task: &Task<'_>) -> Ran {
        if task.reuse
            && let Some(worker) = self.take_idle(task.digest)
        {
            let (seen, worker) = Self::run_with(worker, task);
            // It may have died of anything between two calls; that is not this call's end.
            if seen.begun || seen.stop.is_some() {
                return self.conclude(task, seen, worker);
            }
        }
        match Worker::start(&self.program, task.library, &self.policy) {
            Ok(worker) => {
                let (seen, worker) = Self::run_with(worker, task);
                self.conclude(task, seen, worker)
            }
            Err(e) => Ran {
                result: Err(start_error(&self.program, &e)),
                cpu_seconds: 0.0,
                peak_bytes: 0,
                parts: CallParts::default(),
                tail: String::new(),
                left_behind: 0,
            },
        }
    }

    fn run_with(mut worker: Worker, task: &Task<'_>) -> (Observed, Worker) {
        let seen = worker.run(&Job {
            op: task.op,
            request: task.request,
            dir: task.dir,
            memory: task.memory,
            timeout: task.timeout,
            cancel: task.cancel,
            events: task.events,
            last: !task.reuse,
        });
        (seen, worker)
    }

    /// Judges what was seen; keeps the worker for another call, or ends it.
    fn conclude(&self, task: &Task<'_>, seen: Observed, worker: Worker) -> Ran {
        let result = judge(task.op, &seen);
        let left_behind = left_behind(&seen);
        report_left_behind(task, left_behind);
        if task.reuse && behaved(&seen, &result) {
            self.put_idle(task.digest, worker);
        }
        Ran {
            result,
            cpu_seconds: Duration::from_micros(seen.cpu_micros).as_secs_f64(),
            peak_bytes: seen.peak,
            parts: seen.parts,
            tail: seen.tail,
            left_behind,
        }
    }

    fn take_idle(&self, digest: &str) -> Option<Worker> {
        let mut dead = Vec::new();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let found = idle.get_mut(digest).and_then(|workers| {
            while let Some(worker) = workers.pop() {
                if worker.is_quiet() {
                    return Some(worker);
                }
                dead.push(worker);
            }
            None
        });
        drop(idle);
        // Their ends are waited for without the lock.
        drop(dead);
        found
    }

    fn put_idle(&self, digest: &str, worker: Worker) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let workers = idle.entry(digest.to_owned()).or_default();
        let surplus = if workers.len() < self.policy.idle_workers {
            workers.push(worker);
            None
        } else {
            Some(worker)
        };
        drop(idle);
        drop(surplus);
    }

    fn load(&self, library: &Path) -> Result<(loader::Loaded, Facts), Refused> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = loaded.get(library) {
            return Ok(found.clone());
        }
        let found = loader::load(library)?;
        loaded.insert(library.to_path_buf(), found.clone());
        Ok(found)
    }

    /// In this process: no limits but the cancel flag, and a crash is ours.
    fn run_here(&self, task: &Task<'_>) -> Ran {
        let (cpu, _) = sys::own_usage();
        let result = match self.load(task.library) {
            Ok((loaded, _)) => {
                let sink = task.events.cloned();
                let bridge = Bridge::leak(Box::new(move |event: Event| {
                    if let Some(sink) = &sink {
                        sink(&event);
                    }
                }));
                let done = std::sync::atomic::AtomicBool::new(false);
                std::thread::scope(|scope| {
                    let watch = scope.spawn(|| {
                        let start = std::time::Instant::now();
                        while !done.load(std::sync::atomic::Ordering::Acquire) {
                            let late = task.timeout.is_some_and(|limit| start.elapsed() > limit);
                            bridge.set_cancelled(late || task.cancel.is_cancelled());
                            std::thread::park_timeout(Duration::from_millis(20));
                        }
                    });
                    let raw =
                        bridge.call(&loaded, task.op, task.request, self.policy.max_reply_bytes);
                    done.store(true, std::sync::atomic::Ordering::Release);
                    watch.thread().unpark();
                    raw.map_err(|e| Error::internal(e.to_string()))
                })
            }
            Err(refused) => Err(Error::internal(refused.reason)),
        };
        Ran {
            result,
            cpu_seconds: sys::own_usage().0.saturating_sub(cpu).as_secs_f64(),
            peak_bytes: usage::high_water(0).unwrap_or_else(|| sys::own_usage().1),
            parts: CallParts::default(),
            tail: String::new(),
            left_behind: 0,
        }
    }
}

/// Whether a worker may serve again: it waits, left nothing behind and told no tales.
fn behaved(seen: &Observed, result: &Result<RawReply, Error>) -> bool {
    let waits = matches!(&seen.end, End::Idle(idle) if idle.left_behind == 0);
    waits && seen.stop.is_none() && seen.panics.is_empty() && result.is_ok()
}

/// How many processes a call that went its own way to the end left behind.
fn left_behind(seen: &Observed) -> usize {
    if matches!(seen.stop, Some(Stop::Cancelled | Stop::Timeout(_))) {
        return 0;
    }
    match &seen.end {
        End::Idle(idle) => idle.left_behind,
        End::Exit(exit) => exit.left_behind,
        End::Lost(_) => 0,
    }
}

fn report_left_behind(task: &Task<'_>, count: usize) {
    if count > 0
        && let Some(sink) = task.events
    {
        sink(&Event::Log {
            level: Level::Warn,
            message: format!(
                "\"{}\" left {count} {} behind, which the host has ended",
                task.op,
                if count == 1 { "process" } else { "processes" }
            ),
        });
    }
}

/// This program; by way of `/proc` when its file was replaced while it runs.
fn own_program() -> PathBuf {
    match std::env::current_exe() {
        Ok(path) if path.exists() => path,
        _ => PathBuf::from("/proc/self/exe"),
    }
}

/// The kind under which `plugin list` shows a library that could not describe itself.
pub(crate) fn skip_kind(error: &DescribeError) -> SkipKind {
    match error {
        DescribeError::Refused(refused) => refused.kind,
        DescribeError::Crashed(_) | DescribeError::Failed(_) => SkipKind::LoadFailed,
    }
}
