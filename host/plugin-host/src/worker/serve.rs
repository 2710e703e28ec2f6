//! The worker proper: loads one library and runs its operations.
//!
//! The first thread reads what the host sends and sets the cancellation flag; a second
//! one, with a large stack, loads the library and calls it. The process ends by `_exit`,
//! so that no destructor of a plugin can spoil an answer that was given already.

use super::frames::{Decoder, Frame, Kind, encode};
use super::messages::{
    CallHead, DESCRIBE, FRAME_SLACK, Hello, Idle, LOST, Loaded, MAX_REQUEST, ReplyHead, join,
    split, to_bytes,
};
use crate::loader::{self, bridge::Bridge};
use crate::{sys, usage};
use dsperse_plugin_api::Error;
use dsperse_plugin_api::abi::{RawReply, ReplyError};
use rustix::process::{Pid, Signal};
use std::ffi::OsStr;
use std::io::{PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// Stack of the calling thread in bytes; only what is touched costs memory.
const STACK: usize = 256 << 20;
/// Descriptors below this are what a confused plugin is likely to write to or close.
const LINK_FD: i32 = 200;

/// Becomes the worker, in the child of the supervisor's fork.
pub(crate) fn run(
    hello: &Hello,
    token: u64,
    supervisor: Pid,
    link: &UnixStream,
    stdout: &PipeWriter,
    stderr: &PipeWriter,
) -> ! {
    match prepare(supervisor, link, stdout, stderr) {
        Ok(link) => serve(hello, token, link),
        Err(error) => {
            eprintln!("dsperse worker: can't start: {error}");
            sys::exit_now(LOST)
        }
    }
}

/// Leaves the worker with its streams, one private socket, and nothing else.
fn prepare(
    supervisor: Pid,
    link: &UnixStream,
    stdout: &PipeWriter,
    stderr: &PipeWriter,
) -> rustix::io::Result<UnixStream> {
    rustix::process::setpgid(None, None)?;
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(supervisor) {
        sys::exit_now(LOST);
    }
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Writing gigabytes of core dump for a crash that is expected helps nobody.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    let null = std::fs::File::open("/dev/null")
        .map_err(|e| rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::IO))?;
    rustix::stdio::dup2_stdin(&null)?;
    drop(null);
    rustix::stdio::dup2_stdout(stdout)?;
    rustix::stdio::dup2_stderr(stderr)?;
    sys::line_buffered_stdout();
    let high = rustix::io::fcntl_dupfd_cloexec(link.as_fd(), LINK_FD)?;
    let keep = high.as_raw_fd();
    sys::close_between(3, keep - 1);
    sys::close_between(keep + 1, i32::MAX);
    Ok(UnixStream::from(high))
}

/// Sends frames; threads of the plugin share it.
#[derive(Clone)]
struct Sender {
    token: u64,
    link: Arc<Mutex<UnixStream>>,
}

impl Sender {
    fn send(&self, kind: Kind, payload: &[u8]) {
        let frame = encode(self.token, kind, payload);
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if (&*link).write_all(&frame).is_err() {
            // Without a connection nothing that this process does can matter.
            sys::exit_now(LOST);
        }
    }
}

fn serve(hello: &Hello, token: u64, link: UnixStream) -> ! {
    let Ok(writer) = link.try_clone() else {
        sys::exit_now(LOST);
    };
    let sender = Sender {
        token,
        link: Arc::new(Mutex::new(writer)),
    };
    let events = sender.clone();
    let bridge = Bridge::leak(Box::new(move |event| {
        events.send(Kind::Event, &to_bytes(&event));
    }));
    let (calls, queue) = mpsc::channel::<Frame>();
    let hello = hello.clone();
    let caller = std::thread::Builder::new()
        .name("plugin".into())
        .stack_size(STACK)
        .spawn(move || call_loop(&hello, &sender, bridge, &queue));
    if caller.is_err() {
        sys::exit_now(LOST);
    }

    let mut decoder = Decoder::new(Some(token), MAX_REQUEST + FRAME_SLACK);
    let mut buffer = vec![0; 64 << 10];
    let mut link = link;
    loop {
        match link.read(&mut buffer) {
            // The supervisor is gone.
            Ok(0) => break,
            Ok(n) => decoder.push(buffer.get(..n).unwrap_or_default()),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        }
        loop {
            match decoder.next() {
                Ok(Some(frame)) if frame.kind == Kind::Cancel => bridge.set_cancelled(true),
                Ok(Some(frame)) => {
                    if calls.send(frame).is_err() {
                        sys::exit_now(LOST);
                    }
                }
                Ok(None) => break,
                Err(_) => sys::exit_now(LOST),
            }
        }
    }
    let _ = rustix::process::kill_current_process_group(Signal::KILL);
    sys::exit_now(LOST)
}

/// Loads the library, then runs one call after the other.
fn call_loop(
    hello: &Hello,
    sender: &Sender,
    bridge: &'static Bridge,
    queue: &mpsc::Receiver<Frame>,
) {
    let start = Instant::now();
    let (library, facts) = match loader::load(Path::new(OsStr::from_bytes(&hello.library))) {
        Ok(found) => found,
        Err(refused) => {
            let message = Loaded::Refused {
                kind: refused.kind,
                reason: refused.reason,
            };
            sender.send(Kind::Loaded, &to_bytes(&message));
            sys::exit_now(0);
        }
    };
    let ready = Loaded::Ready {
        api: facts.api,
        door: facts.door.into(),
        micros: micros(start.elapsed()),
    };
    sender.send(Kind::Loaded, &to_bytes(&ready));
    let mut first = true;
    while let Ok(frame) = queue.recv() {
        let Ok((head, request)) = split::<CallHead>(&frame.payload) else {
            sys::exit_now(LOST);
        };
        if !std::mem::take(&mut first) {
            usage::reset_high_water();
        }
        sender.send(Kind::Begun, b"");
        let start = Instant::now();
        let reply = match enter(&head) {
            Err(error) => Err(error),
            Ok(()) if head.op == DESCRIBE => {
                library.describe(hello.max_reply).map_err(|e| refuse(&e))
            }
            Ok(()) => bridge
                .call(&library, &head.op, request, hello.max_reply)
                .map_err(|e| refuse(&e)),
        };
        answer(sender, reply, start.elapsed());
        if head.last {
            sys::exit_now(0);
        }
        // An idle worker holds no directory that somebody may want to remove.
        let _ = std::env::set_current_dir("/");
        // A flag that was set for this call must not stop the next.
        bridge.set_cancelled(false);
        let idle = Idle {
            cpu_micros: micros(sys::own_usage().0),
            ..Idle::default()
        };
        sender.send(Kind::Idle, &to_bytes(&idle));
    }
}

fn enter(head: &CallHead) -> Result<(), Error> {
    match &head.dir {
        None => Ok(()),
        Some(dir) => std::env::set_current_dir(dir).map_err(|e| {
            Error::invalid_input(format!(
                "the job's directory \"{}\" can't be entered: {e}",
                dir.display()
            ))
        }),
    }
}

fn refuse(error: &ReplyError) -> Error {
    Error::internal(error.to_string())
}

fn answer(sender: &Sender, reply: Result<RawReply, Error>, time: Duration) {
    let peak = usage::high_water(0).unwrap_or_else(|| sys::own_usage().1);
    let (status, bytes) = match reply {
        Ok(raw) => (Ok(raw.status), raw.bytes),
        Err(error) => (Err(error), Vec::new()),
    };
    let head = ReplyHead {
        status,
        peak,
        micros: micros(time),
    };
    sender.send(Kind::Reply, &join(&head, &bytes));
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
