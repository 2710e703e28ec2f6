//! How a supervisor begins: handshake with the host, then the fork that makes the worker.

use super::frames::{Decoder, Kind};
use super::messages::{FRAME_SLACK, Hello, MAX_REQUEST, PROTOCOL, from_bytes};
use super::serve;
use super::supervisor::{Parts, Supervisor};
use crate::sys::{self, Fork};
use rustix::process::Pid;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long the host may take with its first frame.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs until the worker and everything below it is gone.
pub(crate) fn run() -> Result<(), String> {
    let protocol = std::env::args().nth(2).unwrap_or_default();
    if protocol != PROTOCOL.to_string() {
        return Err("this subcommand is started by dsperse itself and is of no use by hand".into());
    }
    // A host that ignores ended children hands this on, and none could be waited for.
    sys::notice_children();
    // The host passes its socket as standard input: the one descriptor that every way of
    // starting a process can pass. From here on it is like any other.
    let host = rustix::io::fcntl_dupfd_cloexec(io::stdin().as_fd(), 3)
        .map(UnixStream::from)
        .map_err(|e| format!("no socket: {e}"))?;
    let mut decoder = Decoder::new(None, MAX_REQUEST + FRAME_SLACK);
    let hello = read_hello(&host, &mut decoder)?;
    let token = decoder.token().unwrap_or_default();

    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| format!("it can't become a reaper: {e}"))?;

    let describe = |what: &'static str| move |e: io::Error| format!("{what}: {e}");
    let (ours, theirs) = UnixStream::pair().map_err(describe("no socket pair"))?;
    let (out_read, out_write) = io::pipe().map_err(describe("no pipe"))?;
    let (err_read, err_write) = io::pipe().map_err(describe("no pipe"))?;
    let parent = rustix::process::getpid();
    let worker = match sys::fork().map_err(describe("no worker process"))? {
        Fork::Child => serve::run(&hello, token, parent, &theirs, &out_write, &err_write),
        Fork::Parent(pid) => pid,
    };
    drop((theirs, out_write, err_write));
    // Also done by the worker; whoever comes first. It keeps `kill(0, …)` in a plugin, and
    // the host's group kill, away from the supervisor.
    let _ = Pid::from_raw(worker).map(|pid| rustix::process::setpgid(Some(pid), Some(pid)));
    for fd in [
        host.as_fd(),
        ours.as_fd(),
        out_read.as_fd(),
        err_read.as_fd(),
    ] {
        rustix::io::ioctl_fionbio(fd, true).map_err(|e| format!("no asynchronous reads: {e}"))?;
    }
    let mut supervisor = Supervisor::new(Parts {
        token,
        host,
        link: ours,
        stdout: out_read.into(),
        stderr: err_read.into(),
        pidfd: pidfd(worker),
        worker,
        from_host: decoder,
        hello: &hello,
    });
    supervisor.announce();
    supervisor.run();
    let _ = std::fs::remove_dir_all(OsStr::from_bytes(&hello.temp));
    supervisor.say_goodbye();
    Ok(())
}

fn read_hello(host: &UnixStream, decoder: &mut Decoder) -> Result<Hello, String> {
    host.set_read_timeout(Some(HELLO_TIMEOUT))
        .map_err(|e| format!("no socket: {e}"))?;
    let mut buffer = [0; 16 << 10];
    let mut reader = host;
    loop {
        if let Some(frame) = decoder.next().map_err(|e| format!("the host sent {e}"))? {
            if frame.kind != Kind::Hello {
                return Err("the host did not begin with a hello".into());
            }
            let hello: Hello = from_bytes(&frame.payload)?;
            if hello.protocol != PROTOCOL {
                return Err(format!(
                    "the host speaks worker protocol {}, this program {PROTOCOL}",
                    hello.protocol
                ));
            }
            return Ok(hello);
        }
        match reader.read(&mut buffer) {
            Ok(0) => return Err("the host closed its socket".into()),
            Ok(n) => decoder.push(buffer.get(..n).unwrap_or_default()),
            Err(e) => return Err(format!("the host sent nothing: {e}")),
        }
    }
}

/// A descriptor that wakes the loop when the worker ends; elsewhere the tick does.
#[cfg(target_os = "linux")]
fn pidfd(pid: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(pid)?, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn pidfd(_: i32) -> Option<OwnedFd> {
    None
}
