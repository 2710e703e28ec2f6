//! Runs one operation of a library: in a fresh worker, in one that is kept for a plugin
//! whose workers may be reused, or (for debugging) in this process.

use crate::call::Call;
use crate::client::{End, Observed, Stop, Worker, start_error};
use crate::judge::judge;
use crate::loader::{self, Facts, Refused, bridge::Bridge};
use crate::worker::messages::{DESCRIBE, Loaded};
use crate::{CallEvent, CallOutcome, Control, Isolation, Policy, SkipKind, sys, usage};
use dsperse_documents::Usage;
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
        let mut control = Control::new("");
        control.memory = Some(self.policy.describe_memory);
        control.timeout = Some(self.policy.describe_timeout);
        let seen = worker.run(&Call {
            op: DESCRIBE,
            request: b"",
            control: &control,
            reuse: false,
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

    /// Runs an operation of a library, which has the digest `digest`.
    pub(crate) fn run(
        &self,
        library: &Path,
        digest: &str,
        call: &Call<'_>,
    ) -> CallOutcome<RawReply> {
        match self.isolation {
            Isolation::None => self.run_here(library, call),
            Isolation::Process => self.run_in_worker(library, digest, call),
        }
    }

    fn run_in_worker(
        &self,
        library: &Path,
        digest: &str,
        call: &Call<'_>,
    ) -> CallOutcome<RawReply> {
        if call.reuse
            && let Some(mut worker) = self.take_idle(digest)
        {
            let seen = worker.run(call);
            // It may have died of anything between two calls; that is not this call's end.
            if seen.begun || seen.stop.is_some() {
                return self.conclude(digest, call, seen, worker);
            }
        }
        match Worker::start(&self.program, library, &self.policy) {
            Ok(mut worker) => {
                let seen = worker.run(call);
                self.conclude(digest, call, seen, worker)
            }
            Err(e) => CallOutcome::without_worker(Err(start_error(&self.program, &e))),
        }
    }

    /// Judges what was seen; keeps the worker for another call, or ends it.
    fn conclude(
        &self,
        digest: &str,
        call: &Call<'_>,
        seen: Observed,
        worker: Worker,
    ) -> CallOutcome<RawReply> {
        let result = judge(call.op, &seen);
        let left_behind = left_behind(&seen);
        report_left_behind(call, left_behind);
        if call.reuse && behaved(&seen, &result) {
            self.put_idle(digest, worker);
        }
        CallOutcome {
            usage: Usage {
                cpu_seconds: Duration::from_micros(seen.cpu_micros).as_secs_f64(),
                peak_bytes: seen.peak,
                ..Usage::default()
            },
            parts: seen.parts,
            log_tail: seen.tail,
            left_behind,
            ..CallOutcome::without_worker(result)
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
    fn run_here(&self, library: &Path, call: &Call<'_>) -> CallOutcome<RawReply> {
        let (cpu, _) = sys::own_usage();
        let result = match self.load(library) {
            Ok((loaded, _)) => {
                let sink = call.control.events.clone();
                let bridge = Bridge::leak(Box::new(move |event: CallEvent| {
                    if let Some(sink) = &sink {
                        sink(&event);
                    }
                }));
                let done = std::sync::atomic::AtomicBool::new(false);
                std::thread::scope(|scope| {
                    let watch = scope.spawn(|| {
                        let start = std::time::Instant::now();
                        while !done.load(std::sync::atomic::Ordering::Acquire) {
                            let late = call
                                .control
                                .timeout
                                .is_some_and(|limit| start.elapsed() > limit);
                            bridge.set_cancelled(late || call.control.cancel.is_cancelled());
                            std::thread::park_timeout(Duration::from_millis(20));
                        }
                    });
                    let raw =
                        bridge.call(&loaded, call.op, call.request, self.policy.max_reply_bytes);
                    done.store(true, std::sync::atomic::Ordering::Release);
                    watch.thread().unpark();
                    raw.map_err(|e| Error::internal(e.to_string()))
                })
            }
            Err(refused) => Err(Error::internal(refused.reason)),
        };
        CallOutcome {
            usage: Usage {
                cpu_seconds: sys::own_usage().0.saturating_sub(cpu).as_secs_f64(),
                peak_bytes: usage::high_water(0).unwrap_or_else(|| sys::own_usage().1),
                ..Usage::default()
            },
            ..CallOutcome::without_worker(result)
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

fn report_left_behind(call: &Call<'_>, count: usize) {
    if count > 0
        && let Some(sink) = &call.control.events
    {
        sink(&CallEvent::Log {
            level: Level::Warn,
            message: format!(
                "\"{}\" left {count} {} behind, which the host has ended",
                call.op,
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
