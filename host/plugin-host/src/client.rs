//! The host's end of a worker: starts it, sends one call at a time, and keeps the time.
//!
//! What happened is collected in [`Observed`]; what it means is decided in `judge`.

use crate::call::Call;
use crate::worker::frames::{Decoder, Frame, Kind, encode};
use crate::worker::messages::{
    CallHead, Exit, FRAME_SLACK, Hello, Idle, Loaded, PROTOCOL, ReplyHead, Started, from_bytes,
    join, split, to_bytes,
};
use crate::{CallEvent, CallParts, Control, Policy, WORKER_SUBCOMMAND};
use dsperse_plugin_api::Error;
use dsperse_plugin_api::tool::WORKING_DIR;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a waiting call looks at its cancel token.
const TICK: Duration = Duration::from_millis(20);
/// How long a supervisor may take to end everything after it was told to: giving back a
/// hundred gigabytes takes the kernel its time.
const FAREWELL: Duration = Duration::from_secs(60);
/// How long a worker may take to end after it has answered.
const AFTER_REPLY: Duration = Duration::from_secs(60);

/// Why the host stopped a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Its cancel token was used.
    Cancelled,
    /// It took longer than this.
    Timeout(Duration),
    /// The library took longer than this to load.
    Load(Duration),
    /// It answered, but its process did not end.
    Lingering,
}

/// How the call ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The worker waits for another call.
    Idle(Idle),
    /// The worker is gone, and everything below it.
    Exit(Exit),
    /// The supervisor itself is gone or does not answer.
    Lost(String),
}

/// Everything that was seen of a call.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) loaded: Option<Loaded>,
    /// The plugin's function was called.
    pub(crate) begun: bool,
    /// Every reply; more than one is a fault.
    pub(crate) replies: Vec<(ReplyHead, Vec<u8>)>,
    pub(crate) panics: Vec<String>,
    pub(crate) stop: Option<Stop>,
    pub(crate) end: End,
    pub(crate) cpu_micros: u64,
    pub(crate) peak: u64,
    pub(crate) parts: CallParts,
    pub(crate) tail: String,
}

/// A running worker with its library.
#[derive(Debug)]
pub(crate) struct Worker {
    supervisor: Child,
    socket: UnixStream,
    token: u64,
    decoder: Decoder,
    /// Process group of the worker, once known.
    group: Option<i32>,
    loaded: Option<Loaded>,
    started: Instant,
    load_timeout: Duration,
    grace: Duration,
    /// CPU that earlier calls used up.
    cpu_before: u64,
    /// Where tools of the plugin put temporary files. The supervisor removes it too, for
    /// when this process can't.
    _temp: tempfile::TempDir,
}

impl Worker {
    /// Starts a worker, which begins to load the library at once.
    pub(crate) fn start(program: &Path, library: &Path, policy: &Policy) -> io::Result<Self> {
        let started = Instant::now();
        let temp = tempfile::Builder::new().prefix("dsperse-").tempdir()?;
        let temp_path = temp.path().as_os_str().as_bytes().to_vec();
        let (ours, theirs) = UnixStream::pair()?;
        let supervisor = Command::new(program)
            .arg(WORKER_SUBCOMMAND)
            .arg(PROTOCOL.to_string())
            .env("TMPDIR", temp.path())
            // A call works in its job's directory; tools are looked for where the user is.
            .env(WORKING_DIR, std::env::current_dir().unwrap_or_default())
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        let token = new_token();
        let mut worker = Self {
            supervisor,
            socket: ours,
            token,
            decoder: Decoder::new(Some(token), policy.max_reply_bytes + FRAME_SLACK),
            group: None,
            loaded: None,
            started,
            load_timeout: policy.load_timeout,
            grace: policy.cancel_grace,
            cpu_before: 0,
            _temp: temp,
        };
        worker.socket.set_write_timeout(Some(FAREWELL))?;
        let hello = Hello {
            protocol: PROTOCOL,
            library: library.as_os_str().as_bytes().to_vec(),
            temp: temp_path,
            max_reply: policy.max_reply_bytes,
            tail: policy.log_tail_bytes,
            max_output: policy.max_output_bytes,
        };
        // A program that is gone already is noticed when its answer is waited for.
        let _ = worker.send(Kind::Hello, &to_bytes(&hello));
        Ok(worker)
    }

    fn send(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        self.socket.write_all(&encode(self.token, kind, payload))
    }

    /// Whether an idle worker is still there. It has nothing to say between calls, so any
    /// word from it (its end, most likely) is one too many.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut fds, Some(&now)) == Ok(0) && !self.decoder.has_rest()
    }

    /// Runs one call and waits for its end.
    pub(crate) fn run(&mut self, call: &Call<'_>) -> Observed {
        let mut watch = Watch::new(call, self.loaded.clone());
        let head = CallHead {
            op: call.op.to_owned(),
            dir: (!call.control.dir.as_os_str().is_empty()).then(|| call.control.dir.clone()),
            memory: call.control.memory,
            last: !call.reuse,
        };
        if call.control.cancel.is_cancelled() {
            // Ahead of the call, so that its flag is set when it starts.
            self.stop(&mut watch, Stop::Cancelled);
        }
        // A worker that is gone already, and so can't be written to, may have said why.
        let _ = self.send(Kind::Call, &join(&head, call.request));
        let end = self.wait(&mut watch);
        self.loaded.clone_from(&watch.loaded);
        if let Some(answered) = watch.answered {
            watch.parts.end = answered.elapsed().as_secs_f64();
        }
        let reply_peak = watch.replies.first().map_or(0, |(head, _)| head.peak);
        let (cpu, own, children, tail) = match &end {
            End::Idle(idle) => (
                idle.cpu_micros,
                reply_peak,
                idle.children_peak,
                idle.tail.clone(),
            ),
            End::Exit(exit) => (
                exit.cpu_micros,
                exit.peak.max(reply_peak),
                exit.children_peak,
                exit.tail.clone(),
            ),
            End::Lost(_) => (self.cpu_before, reply_peak, 0, String::new()),
        };
        let cpu_micros = cpu.saturating_sub(self.cpu_before);
        self.cpu_before = cpu;
        Observed {
            loaded: watch.loaded,
            begun: watch.begun,
            replies: watch.replies,
            panics: watch.panics,
            stop: watch.stop,
            end,
            cpu_micros,
            peak: own.saturating_add(children),
            parts: watch.parts,
            tail,
        }
    }

    fn wait(&mut self, watch: &mut Watch<'_>) -> End {
        let mut buffer = vec![0; 64 << 10];
        loop {
            loop {
                match self.decoder.next() {
                    Ok(Some(frame)) => {
                        if let Some(end) = self.handle(frame, watch) {
                            return end;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        return self.lose(format!("the worker program sent {error}"));
                    }
                }
            }
            if let Some(end) = self.keep_time(watch) {
                return end;
            }
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
            let tick = Timespec::try_from(TICK).ok();
            match poll(&mut fds, tick.as_ref()) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(e) => return self.lose(format!("waiting for the worker failed: {e}")),
            }
            let read = match self.socket.read(&mut buffer) {
                // Gone with something unread: gone all the same.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Ok(0),
                read => read,
            };
            match read {
                Ok(0) => {
                    let hint = if self.group.is_none() {
                        " before its handshake: it must be a program that calls worker_main()"
                    } else {
                        ""
                    };
                    return self.lose(format!("the worker program ended{hint}"));
                }
                Ok(n) => self.decoder.push(buffer.get(..n).unwrap_or_default()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return self.lose(format!("the worker's socket failed: {e}")),
            }
        }
    }

    fn handle(&mut self, frame: Frame, watch: &mut Watch<'_>) -> Option<End> {
        let payload = &frame.payload;
        let result = match frame.kind {
            Kind::Started => from_bytes::<Started>(payload).and_then(|started| {
                self.group = Some(started.worker);
                watch.parts.start = self.started.elapsed().as_secs_f64();
                if started.protocol == PROTOCOL {
                    Ok(None)
                } else {
                    Err(format!(
                        "worker protocol {}, expected {PROTOCOL}",
                        started.protocol
                    ))
                }
            }),
            Kind::Loaded => from_bytes(payload).map(|loaded| {
                if let Loaded::Ready { micros, .. } = &loaded {
                    watch.parts.load = Duration::from_micros(*micros).as_secs_f64();
                }
                watch.loaded = Some(loaded);
                None
            }),
            Kind::Begun => {
                watch.begun = true;
                Ok(None)
            }
            Kind::Event => from_bytes(payload).map(|event| {
                watch.event(&event);
                None
            }),
            Kind::Reply => split::<ReplyHead>(payload).map(|(head, body)| {
                watch.parts.call = Duration::from_micros(head.micros).as_secs_f64();
                watch.replies.push((head, body.to_vec()));
                watch.answered = Some(Instant::now());
                None
            }),
            Kind::Idle => from_bytes(payload).map(|idle| Some(End::Idle(idle))),
            Kind::Exit => from_bytes(payload).map(|exit| {
                // Nothing of it is left but the entry in the process table.
                let _ = self.supervisor.wait();
                Some(End::Exit(exit))
            }),
            other => Err(format!("a frame of the kind {other:?}")),
        };
        match result {
            Ok(end) => end,
            Err(error) => Some(self.lose(format!("the worker program sent {error}"))),
        }
    }

    /// Stops what takes too long; gently first.
    fn keep_time(&mut self, watch: &mut Watch<'_>) -> Option<End> {
        let now = Instant::now();
        if watch.stop.is_none() {
            let stop = if watch.control.cancel.is_cancelled() {
                Some(Stop::Cancelled)
            } else if let Some(limit) = watch.control.timeout
                && now.duration_since(watch.start) > limit
            {
                Some(Stop::Timeout(limit))
            } else if watch.loaded.is_none() && now.duration_since(self.started) > self.load_timeout
            {
                Some(Stop::Load(self.load_timeout))
            } else if watch
                .answered
                .is_some_and(|since| now.duration_since(since) > AFTER_REPLY)
            {
                Some(Stop::Lingering)
            } else {
                None
            };
            if let Some(stop) = stop {
                self.stop(watch, stop);
            }
        }
        if watch.kill_at.is_some_and(|at| now >= at) {
            watch.kill_at = None;
            watch.give_up_at = Some(now + FAREWELL);
            let _ = self.send(Kind::Kill, b"");
        }
        if watch.give_up_at.is_some_and(|at| now >= at) {
            return Some(self.lose("the worker could not be ended in time".into()));
        }
        None
    }

    /// Asks a call to stop, or marks it for killing when asking is of no use.
    fn stop(&mut self, watch: &mut Watch<'_>, stop: Stop) {
        let gentle = matches!(stop, Stop::Cancelled | Stop::Timeout(_));
        let grace = if gentle { self.grace } else { Duration::ZERO };
        watch.stop = Some(stop);
        watch.kill_at = Some(Instant::now() + grace);
        if gentle {
            let _ = self.send(Kind::Cancel, b"");
        }
    }

    /// The supervisor can't be relied upon any more: ends what can be reached.
    fn lose(&mut self, why: String) -> End {
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
        // The worker dies with its supervisor; its group may hold more.
        if let Some(group) = self.group.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        End::Lost(why)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The supervisor takes the closed socket as the order to end everything.
        let _ = self.socket.shutdown(Shutdown::Both);
        let deadline = Instant::now() + FAREWELL;
        let mut nap = Duration::from_micros(200);
        while let Ok(None) = self.supervisor.try_wait() {
            if Instant::now() > deadline {
                self.lose(String::new());
                return;
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(5));
        }
    }
}

/// State of one call in the host.
struct Watch<'a> {
    control: &'a Control,
    start: Instant,
    loaded: Option<Loaded>,
    begun: bool,
    replies: Vec<(ReplyHead, Vec<u8>)>,
    panics: Vec<String>,
    stop: Option<Stop>,
    answered: Option<Instant>,
    parts: CallParts,
    kill_at: Option<Instant>,
    give_up_at: Option<Instant>,
}

impl<'a> Watch<'a> {
    fn new(call: &Call<'a>, loaded: Option<Loaded>) -> Self {
        Self {
            control: call.control,
            start: Instant::now(),
            loaded,
            begun: false,
            replies: Vec::new(),
            panics: Vec::new(),
            stop: None,
            answered: None,
            parts: CallParts::default(),
            kill_at: None,
            give_up_at: None,
        }
    }

    fn event(&mut self, event: &CallEvent) {
        if let CallEvent::Panic { message } = event
            && self.panics.len() < 8
        {
            self.panics.push(message.clone());
        }
        if let Some(sink) = &self.control.events {
            sink(event);
        }
    }
}

/// A number that no byte stream contains by accident.
fn new_token() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}

/// The error for a worker that could not be started.
pub(crate) fn start_error(program: &Path, error: &io::Error) -> Error {
    Error::resource(format!(
        "the worker \"{}\" can't be started: {error}",
        program.display()
    ))
}
