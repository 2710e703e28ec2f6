//! What a caller passes to a plugin call and gets back.

use dsperse_documents::Usage;
use dsperse_plugin_api::abi::Op;
use dsperse_plugin_api::context::Level;
use dsperse_plugin_api::{
    CompileJob, Done, Error, Probe, ProbeJob, ProveJob, Support, SupportsJob, Verdict, VerifyJob,
    WitnessJob,
};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// One operation with its job document.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Can the backend work here? Answered by [`Reply::Probe`].
    Probe(ProbeJob),
    /// Can it take this slice? Answered by [`Reply::Supports`].
    Supports(SupportsJob),
    /// Slice to circuit. Answered by [`Reply::Done`].
    Compile(CompileJob),
    /// Inference and witness. Answered by [`Reply::Done`].
    Witness(WitnessJob),
    /// Witness to proof. Answered by [`Reply::Done`].
    Prove(ProveJob),
    /// Is the claim true? Answered by [`Reply::Verdict`].
    Verify(VerifyJob),
}

impl Request {
    /// The operation in the ABI.
    #[must_use]
    pub fn op(&self) -> Op {
        match self {
            Self::Probe(_) => Op::Probe,
            Self::Supports(_) => Op::Supports,
            Self::Compile(_) => Op::Compile,
            Self::Witness(_) => Op::Witness,
            Self::Prove(_) => Op::Prove,
            Self::Verify(_) => Op::Verify,
        }
    }
}

/// The answer of a successful call; which variant follows from the request.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Answer to [`Request::Probe`].
    Probe(Probe),
    /// Answer to [`Request::Supports`].
    Supports(Support),
    /// Answer to [`Request::Compile`], [`Request::Witness`] and [`Request::Prove`]:
    /// every file checked, every size and digest filled in.
    Done(Done),
    /// Answer to [`Request::Verify`].
    Verdict(Verdict),
}

/// Asks calls to stop; clones share one flag, which never goes back.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that nobody has used yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Asks every call that holds this token to stop. Safe in a signal-handling thread.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }
    /// Whether somebody asked.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Which of a plugin's streams a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Something that a call reports while it runs.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum CallEvent {
    /// A log line of the backend.
    Log {
        /// Severity.
        level: Level,
        /// Text.
        message: String,
    },
    /// Progress from 0 to 1.
    Progress {
        /// Done so far.
        fraction: f64,
        /// A short word for the step.
        step: String,
    },
    /// A line that the plugin, or a tool it started, wrote to a standard stream.
    Output {
        /// Which one.
        stream: OutputStream,
        /// The line without its end.
        line: String,
    },
    /// A panic somewhere in the plugin; the call itself may still succeed.
    Panic {
        /// The panic's message and place.
        message: String,
    },
    /// The call takes more memory than was last told. Only calls in a worker say so.
    Memory {
        /// Peak so far of the worker and everything below it, in bytes.
        peak_bytes: u64,
    },
}

impl CallEvent {
    /// The event as a line of a log, where it is one.
    #[must_use]
    pub fn line(&self) -> Option<(Level, &str)> {
        match self {
            Self::Log { level, message } => Some((*level, message)),
            Self::Output { line, .. } => Some((Level::Debug, line)),
            Self::Panic { message } => Some((Level::Warn, message)),
            Self::Progress { .. } | Self::Memory { .. } => None,
        }
    }
}

/// Receives events, from whichever thread waits for the call.
pub type EventSink = Arc<dyn Fn(&CallEvent) + Send + Sync>;

/// Bytes of files that a call may hand back when nobody says otherwise: the largest proving
/// keys of external tools have a few gigabytes.
pub const DEFAULT_ARTEFACTS: u64 = 16 << 30;

/// Bounds and companions of one call; they don't change its result.
#[derive(Clone)]
pub struct Control {
    /// The throwaway directory of this job: exists, empty, absolute, and on the disk where its
    /// files will stay.
    pub dir: PathBuf,
    /// How many threads the backend should use at most.
    pub threads: usize,
    /// Wall time after which the call is stopped (with grace) as a `resource` error.
    pub timeout: Option<Duration>,
    /// Bytes of memory (worker and all its children) above which the call is killed as a
    /// `resource` error.
    pub memory: Option<u64>,
    /// Bytes of all files together that the call may hand back.
    pub artefacts: u64,
    /// Asks this call to stop.
    pub cancel: CancelToken,
    /// Receives events.
    pub events: Option<EventSink>,
}

impl Control {
    /// One thread, no limits, nobody listening.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            threads: 1,
            timeout: None,
            memory: None,
            artefacts: DEFAULT_ARTEFACTS,
            cancel: CancelToken::new(),
            events: None,
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("dir", &self.dir)
            .field("threads", &self.threads)
            .field("timeout", &self.timeout)
            .field("memory", &self.memory)
            .field("artefacts", &self.artefacts)
            .field("cancelled", &self.cancel.is_cancelled())
            .field("events", &self.events.is_some())
            .finish()
    }
}

/// A call on its way to a worker: what crosses the plugin's boundary, and its bounds.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) op: &'a str,
    pub(crate) request: &'a [u8],
    /// Its directory may be empty here: then the worker stays where it is.
    pub(crate) control: &'a Control,
    /// The worker may be one that served before, and may serve again.
    pub(crate) reuse: bool,
}

/// Where the wall time of a call went, in seconds. A worker that served before has
/// neither start nor load; a call that went wrong has only the parts it came to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CallParts {
    /// Starting the worker's processes.
    pub start: f64,
    /// Loading the library.
    pub load: f64,
    /// In the plugin's function.
    pub call: f64,
    /// From the answer until everything was gone, or the worker ready again.
    pub end: f64,
}

/// What came of a call; the engine's own is the plugin's bare answer.
#[derive(Debug, Clone)]
pub struct CallOutcome<R = Reply> {
    /// The checked answer, or a typed error that says what happened.
    pub result: Result<R, Error>,
    /// What it cost: wall seconds as the caller saw them, the start of the worker included;
    /// CPU seconds of the worker and of the children it waited for; and the worker's own peak
    /// of memory with the sampled peak of its children.
    pub usage: Usage,
    /// Where the time went.
    pub parts: CallParts,
    /// The end of what the plugin wrote to its standard streams.
    pub log_tail: String,
    /// Processes that the call left behind, which were ended.
    pub left_behind: usize,
    /// The answer was remembered from an earlier call (`supports` only).
    pub cached: bool,
}

impl<R> CallOutcome<R> {
    /// What came of a call for which no worker was needed, or none could be had.
    pub(crate) fn without_worker(result: Result<R, Error>) -> Self {
        Self {
            result,
            usage: Usage::default(),
            parts: CallParts::default(),
            log_tail: String::new(),
            left_behind: 0,
            cached: false,
        }
    }

    /// The same with another answer.
    pub(crate) fn map<S>(
        self,
        read: impl FnOnce(Result<R, Error>) -> Result<S, Error>,
    ) -> CallOutcome<S> {
        CallOutcome {
            result: read(self.result),
            usage: self.usage,
            parts: self.parts,
            log_tail: self.log_tail,
            left_behind: self.left_behind,
            cached: self.cached,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_token_is_shared_by_its_clones() {
        let token = CancelToken::new();
        let clone = token.clone();
        assert!(!clone.is_cancelled());
        token.cancel();
        assert!(clone.is_cancelled());
    }
}
