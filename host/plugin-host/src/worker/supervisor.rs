//! The supervisor: one thread, one poll loop, none of the plugin's code.

use super::frames::{Decoder, Frame, Kind, encode};
use super::messages::{
    CallHead, Ended, Exit, FRAME_SLACK, Hello, Idle, Killed, LOST, PROTOCOL, Started, from_bytes,
    split, to_bytes,
};
use super::output::Output;
use crate::call::OutputStream;
use crate::sys::{self, Wait};
use crate::usage::{self, Sampler};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long a worker may live on after it closed its socket: on a busy machine the end
/// of a process takes its time between closing descriptors and being gone.
const AFTER_CLOSE: Duration = Duration::from_secs(10);
/// How long the last frames may take to reach the host, and the killed to disappear.
const FAREWELL: Duration = Duration::from_secs(45);
/// Reads from one source in one turn of the loop.
const READS: usize = 16;
/// Events are dropped while more than this waits for the host.
const EVENT_BACKLOG: usize = 4 << 20;
/// Time between two looks at the memory: at first, and at most.
const SAMPLE_FIRST: Duration = Duration::from_millis(4);
const SAMPLE_LAST: Duration = Duration::from_millis(100);
/// The same when there is a limit to keep.
const SAMPLE_LIMIT: Duration = Duration::from_millis(20);
/// Growth of the memory that is worth telling the host, in bytes.
const TELL: u64 = 1 << 20;
/// How often to look for an end that nothing announces.
const TICK: Duration = Duration::from_millis(20);

/// A call that the worker is busy with.
struct Running {
    memory: Option<u64>,
    next_sample: Instant,
    interval: Duration,
}

/// The state of the loop.
pub(crate) struct Supervisor {
    token: u64,
    host: UnixStream,
    /// The worker's socket, until it closes.
    link: Option<UnixStream>,
    outputs: [(OutputStream, Option<OwnedFd>); 2],
    pidfd: Option<OwnedFd>,
    worker: i32,
    from_host: Decoder,
    from_worker: Decoder,
    to_host: Pending,
    to_worker: Pending,
    output: Output,
    ended: Option<Ended>,
    killed: Option<Killed>,
    closed_at: Option<Instant>,
    cpu: Duration,
    max_rss: u64,
    call: Option<Running>,
    peak: u64,
    children_peak: u64,
    /// What the host knows of the two peaks' sum.
    told: u64,
    children_seen: bool,
    left_behind: usize,
    sampler: Sampler,
    buffer: Vec<u8>,
}

/// What a supervisor begins with.
pub(crate) struct Parts<'a> {
    pub(crate) token: u64,
    pub(crate) host: UnixStream,
    pub(crate) link: UnixStream,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    /// Becomes readable when the worker ends, where the system has such a thing.
    pub(crate) pidfd: Option<OwnedFd>,
    pub(crate) worker: i32,
    /// May hold frames that came right behind the hello.
    pub(crate) from_host: Decoder,
    pub(crate) hello: &'a Hello,
}

/// The host is gone: nobody is left to report to.
struct HostGone;

impl Supervisor {
    pub(crate) fn new(parts: Parts<'_>) -> Self {
        let hello = parts.hello;
        Self {
            token: parts.token,
            host: parts.host,
            link: Some(parts.link),
            outputs: [
                (OutputStream::Stdout, Some(parts.stdout)),
                (OutputStream::Stderr, Some(parts.stderr)),
            ],
            pidfd: parts.pidfd,
            worker: parts.worker,
            from_host: parts.from_host,
            from_worker: Decoder::new(Some(parts.token), hello.max_reply + FRAME_SLACK),
            to_host: Pending::default(),
            to_worker: Pending::default(),
            output: Output::new(hello.tail, hello.max_output),
            ended: None,
            killed: None,
            closed_at: None,
            cpu: Duration::ZERO,
            max_rss: 0,
            call: None,
            peak: 0,
            children_peak: 0,
            told: 0,
            children_seen: false,
            left_behind: 0,
            sampler: Sampler::default(),
            buffer: vec![0; 64 << 10],
        }
    }

    /// Tells the host which process the worker is.
    pub(crate) fn announce(&mut self) {
        let started = Started {
            protocol: PROTOCOL,
            worker: self.worker,
        };
        self.send(Kind::Started, &to_bytes(&started));
    }

    /// Runs until the worker and everything below it is gone.
    pub(crate) fn run(&mut self) {
        let host_is_there = self.serve().is_ok();
        self.end_everything();
        if host_is_there {
            self.drain();
        }
    }

    /// Relays until the worker has ended.
    fn serve(&mut self) -> Result<(), HostGone> {
        while self.ended.is_none() {
            self.read_host()?;
            self.write_worker();
            self.read_outputs();
            self.read_worker();
            if !self.reap() && self.ended.is_none() {
                // No child and no word of its end: somebody else collected it.
                self.ended = Some(Ended::Code(LOST));
            }
            self.sample();
            if self
                .closed_at
                .is_some_and(|since| since.elapsed() > AFTER_CLOSE)
            {
                self.kill(Killed::Protocol("it closed its connection".into()));
            }
            self.write_host()?;
            if self.ended.is_none() {
                self.wait_for_something();
            }
        }
        Ok(())
    }

    fn wait_for_something(&mut self) {
        let mut wait = if self.pidfd.is_none() || self.closed_at.is_some() {
            Some(TICK)
        } else {
            None
        };
        if let Some(call) = &self.call {
            let until = call.next_sample.saturating_duration_since(Instant::now());
            wait = Some(wait.map_or(until, |w| w.min(until)));
        }
        let write = |pending: &Pending| {
            if pending.rest().is_empty() {
                PollFlags::IN
            } else {
                PollFlags::IN | PollFlags::OUT
            }
        };
        let mut fds = vec![PollFd::new(&self.host, write(&self.to_host))];
        if let Some(link) = &self.link {
            fds.push(PollFd::new(link, write(&self.to_worker)));
        }
        for (_, fd) in &self.outputs {
            fds.extend(fd.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        }
        fds.extend(self.pidfd.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let timeout = wait.and_then(|w| Timespec::try_from(w).ok());
        // An interrupted poll is a look at everything, which does no harm.
        let _ = poll(&mut fds, timeout.as_ref());
    }

    fn read_host(&mut self) -> Result<(), HostGone> {
        loop {
            match (&self.host).read(&mut self.buffer) {
                Ok(0) => return Err(HostGone),
                Ok(n) => self
                    .from_host
                    .push(self.buffer.get(..n).unwrap_or_default()),
                Err(e) if again(&e) => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(HostGone),
            }
        }
        // The host is this very program: bytes that are no frame mean that it is not there.
        while let Some(frame) = self.from_host.next().map_err(|_| HostGone)? {
            self.host_says(frame)?;
        }
        Ok(())
    }

    fn host_says(&mut self, frame: Frame) -> Result<(), HostGone> {
        match frame.kind {
            Kind::Kill => self.kill(Killed::Host),
            Kind::Call => {
                let (head, _) = split::<CallHead>(&frame.payload).map_err(|_| HostGone)?;
                self.peak = 0;
                self.children_peak = 0;
                self.told = 0;
                self.left_behind = 0;
                self.call = Some(Running {
                    memory: head.memory,
                    next_sample: Instant::now() + SAMPLE_FIRST,
                    interval: SAMPLE_FIRST,
                });
                self.forward(&frame);
            }
            _ => self.forward(&frame),
        }
        Ok(())
    }

    fn forward(&mut self, frame: &Frame) {
        self.to_worker
            .push(&encode(self.token, frame.kind, &frame.payload));
    }

    /// Reads what the worker sent; returns whether there may be more.
    fn read_worker(&mut self) -> bool {
        // A flood of events must not keep the loop from its other duties.
        for _ in 0..READS {
            let Some(mut link) = self.link.as_ref() else {
                return false;
            };
            match link.read(&mut self.buffer) {
                Ok(0) => self.close_link(),
                Ok(n) => {
                    self.from_worker
                        .push(self.buffer.get(..n).unwrap_or_default());
                    self.worker_frames();
                }
                Err(e) if again(&e) => return false,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.close_link(),
            }
        }
        true
    }

    fn close_link(&mut self) {
        self.link = None;
        self.closed_at.get_or_insert_with(Instant::now);
        if self.from_worker.has_rest() {
            self.kill(Killed::Protocol("it ended in the middle of a frame".into()));
        }
    }

    fn worker_frames(&mut self) {
        loop {
            match self.from_worker.next() {
                Ok(None) => return,
                Ok(Some(frame)) => self.worker_says(&frame),
                Err(error) => {
                    self.link = None;
                    self.kill(Killed::Protocol(format!("it sent {error}")));
                    return;
                }
            }
        }
    }

    fn worker_says(&mut self, frame: &Frame) {
        match frame.kind {
            // A host that does not keep up loses events, never replies.
            Kind::Event if self.to_host.rest().len() > EVENT_BACKLOG => {}
            Kind::Event | Kind::Loaded | Kind::Begun => self.send(frame.kind, &frame.payload),
            Kind::Reply => {
                // What was started and not waited for is seen here at the latest.
                self.look();
                self.send(Kind::Reply, &frame.payload);
            }
            Kind::Idle => self.worker_is_idle(&frame.payload),
            _ => {
                self.link = None;
                self.kill(Killed::Protocol(format!(
                    "it sent a frame of the kind {:?}",
                    frame.kind
                )));
            }
        }
    }

    fn worker_is_idle(&mut self, payload: &[u8]) {
        let mut idle: Idle = match from_bytes(payload) {
            Ok(idle) => idle,
            Err(error) => {
                self.kill(Killed::Protocol(format!("it sent {error}")));
                return;
            }
        };
        let left: Vec<i32> = usage::descendants(own_pid())
            .into_iter()
            .filter(|pid| *pid != self.worker && usage::is_alive(*pid))
            .collect();
        for pid in &left {
            kill_one(*pid);
        }
        self.call = None;
        self.read_outputs();
        let (events, tail) = self.output.finish();
        self.send_events(&events);
        idle.left_behind = left.len();
        idle.children_peak = self.children_peak;
        idle.tail = tail;
        self.send(Kind::Idle, &to_bytes(&idle));
    }

    fn read_outputs(&mut self) {
        for index in 0..self.outputs.len() {
            // The same for noise.
            for _ in 0..READS {
                let Some((stream, Some(fd))) = self.outputs.get(index) else {
                    break;
                };
                let stream = *stream;
                match rustix::io::read(fd, &mut self.buffer[..]) {
                    Ok(0) => self.close_output(index),
                    Ok(n) => {
                        let bytes = self.buffer.get(..n).unwrap_or_default();
                        let events = self.output.push(stream, bytes);
                        self.send_events(&events);
                    }
                    Err(rustix::io::Errno::AGAIN) => break,
                    Err(rustix::io::Errno::INTR) => {}
                    Err(_) => self.close_output(index),
                }
            }
        }
    }

    fn close_output(&mut self, index: usize) {
        if let Some((_, fd)) = self.outputs.get_mut(index) {
            *fd = None;
        }
    }

    fn send_events(&mut self, events: &[crate::CallEvent]) {
        for event in events {
            if self.to_host.rest().len() <= EVENT_BACKLOG {
                self.send(Kind::Event, &to_bytes(event));
            }
        }
    }

    fn send(&mut self, kind: Kind, payload: &[u8]) {
        self.to_host.push(&encode(self.token, kind, payload));
    }

    fn write_host(&mut self) -> Result<(), HostGone> {
        self.to_host.write(&self.host).map_err(|_| HostGone)
    }

    fn write_worker(&mut self) {
        if let Some(link) = &self.link {
            // A worker that reads no more has ended or is about to be killed.
            let _ = self.to_worker.write(link);
        }
    }

    /// Collects everything that ended; returns whether anything still runs.
    fn reap(&mut self) -> bool {
        loop {
            let dead = match sys::wait_any() {
                Ok(Wait::Reaped(dead)) => dead,
                Ok(Wait::Running) => return true,
                Ok(Wait::NoChildren) | Err(_) => return false,
            };
            self.cpu += dead.cpu;
            if dead.pid == self.worker {
                self.max_rss = dead.max_rss;
                self.ended = Some(match dead.ended {
                    Ok(code) => Ended::Code(code),
                    Err(signal) => Ended::Signal(signal),
                });
            }
        }
    }

    fn sample(&mut self) {
        let now = Instant::now();
        let Some(call) = &mut self.call else { return };
        if now < call.next_sample || self.ended.is_some() {
            return;
        }
        let longest = if call.memory.is_some() {
            SAMPLE_LIMIT
        } else {
            SAMPLE_LAST
        };
        call.interval = (call.interval * 2).min(longest);
        call.next_sample = now + call.interval;
        self.look();
    }

    /// Looks at the memory of the worker and everything below it.
    fn look(&mut self) {
        let Some(limit) = self.call.as_ref().map(|call| call.memory) else {
            return;
        };
        let children: Vec<i32> = usage::descendants(own_pid())
            .into_iter()
            .filter(|pid| *pid != self.worker)
            .collect();
        self.children_seen |= !children.is_empty();
        let children = self.sampler.sum(self.worker, &children);
        self.children_peak = self.children_peak.max(children);
        if let Some(peak) = usage::high_water(self.worker) {
            self.peak = peak;
        }
        let peak_bytes = self.peak.saturating_add(self.children_peak);
        if peak_bytes >= self.told.saturating_add(TELL) {
            self.told = peak_bytes;
            self.send_events(&[crate::CallEvent::Memory { peak_bytes }]);
        }
        if let Some(limit) = limit {
            let found = usage::rss(self.worker)
                .unwrap_or(0)
                .saturating_add(children);
            if found > limit {
                self.kill(Killed::Memory { limit, found });
            }
        }
    }

    /// Kills the worker's group; the first reason stands.
    fn kill(&mut self, why: Killed) {
        if self.ended.is_none() {
            // Not yet collected, so the number is still the worker's.
            if let Some(pid) = Pid::from_raw(self.worker) {
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        self.killed.get_or_insert(why);
    }

    /// Leaves no process behind: kills and collects until there is no child.
    fn end_everything(&mut self) {
        if self.ended.is_none() {
            self.kill(Killed::Host);
        }
        // Without lists of children the group is all that can be reached.
        #[cfg(not(target_os = "linux"))]
        let _ = Pid::from_raw(self.worker)
            .map(|group| rustix::process::kill_process_group(group, Signal::KILL));
        let deadline = Instant::now() + FAREWELL;
        let mut first = true;
        let mut nap = Duration::from_micros(100);
        while Instant::now() < deadline {
            let rest: Vec<i32> = usage::descendants(own_pid())
                .into_iter()
                .filter(|pid| *pid != self.worker || self.ended.is_none())
                .collect();
            if first && self.killed.is_none() {
                self.left_behind = rest.iter().filter(|pid| usage::is_alive(**pid)).count();
            }
            first = false;
            for pid in rest {
                kill_one(pid);
            }
            if !self.reap() {
                break;
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(10));
        }
    }

    /// Reads what is left in the pipes and in the worker's socket.
    fn drain(&mut self) {
        let deadline = Instant::now() + FAREWELL;
        while self.read_worker() && Instant::now() < deadline {}
        // Every writer is dead, so each pipe ends; the deadline is for what should not be.
        while Instant::now() < deadline {
            self.read_outputs();
            let mut fds: Vec<PollFd<'_>> = self
                .outputs
                .iter()
                .filter_map(|(_, fd)| fd.as_ref())
                .map(|fd| PollFd::new(fd, PollFlags::IN))
                .collect();
            if fds.is_empty() {
                break;
            }
            let timeout = Timespec::try_from(TICK).ok();
            let _ = poll(&mut fds, timeout.as_ref());
        }
    }

    /// Tells the host how it ended, if there is a host.
    pub(crate) fn say_goodbye(&mut self) {
        let (events, tail) = self.output.finish();
        self.send_events(&events);
        // Without children the kernel's figure is the worker's own, and it is final.
        let peak = if self.children_seen {
            self.peak
        } else {
            self.peak.max(self.max_rss)
        };
        let exit = Exit {
            ended: self.ended.unwrap_or(Ended::Signal(libc::SIGKILL)),
            killed: self.killed.clone(),
            cpu_micros: u64::try_from(self.cpu.as_micros()).unwrap_or(u64::MAX),
            peak,
            children_peak: self.children_peak,
            left_behind: self.left_behind,
            tail,
        };
        self.send(Kind::Exit, &to_bytes(&exit));
        let _ = rustix::io::ioctl_fionbio(&self.host, false);
        let _ = self.host.set_write_timeout(Some(FAREWELL));
        let _ = (&self.host).write_all(self.to_host.rest());
    }
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

fn kill_one(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

fn again(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Bytes that wait to be written.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    written: usize,
}

impl Pending {
    fn push(&mut self, bytes: &[u8]) {
        // The front is given up now and then, not at every write: replies can be large.
        if self.written * 2 >= self.bytes.len() {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// Writes as much as the socket takes.
    fn write(&mut self, mut socket: &UnixStream) -> io::Result<()> {
        while !self.rest().is_empty() {
            match socket.write(self.rest()) {
                Ok(n) => self.written += n,
                Err(e) if again(&e) => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
