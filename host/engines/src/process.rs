//! Processes of this machine as nodes: the seam without an engine, to try a store with, and
//! to test what happens when nodes fail.

use crate::engine::{Command, Ended, Engine, Order, State};
use dsperse_jobs::schedule::lock;
use std::collections::HashMap;
use std::fs::File;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a process may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(10);

/// The engine.
pub struct Process {
    command: Command,
    nodes: Vec<String>,
    next: AtomicUsize,
    running: Mutex<HashMap<String, Running>>,
}

struct Running {
    child: Child,
    node: String,
    log: std::path::PathBuf,
}

impl Process {
    /// An engine whose nodes are processes, which know their names by `DSPERSE_NODE`.
    #[must_use]
    pub fn new(command: Command, nodes: Vec<String>) -> Self {
        Self {
            command,
            nodes,
            next: AtomicUsize::new(0),
            running: Mutex::default(),
        }
    }
}

impl Engine for Process {
    fn name(&self) -> &'static str {
        "process"
    }

    fn submit(&self, order: &Order) -> Result<String, String> {
        let free: Vec<&String> = self
            .nodes
            .iter()
            .filter(|n| !order.exclude.contains(n))
            .collect();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let node = free
            .get(turn % free.len().max(1))
            .ok_or("no node is left that it may run on")?;
        let ticket = turn.to_string();
        order.record(self.name(), &ticket)?;
        let log = order.dir.path().join(format!("log-{ticket}"));
        let file = File::create(&log).map_err(|e| format!("can't write a log: {e}"))?;
        let words = self.command.words();
        let (program, arguments) = words.split_first().ok_or("there is no program")?;
        let child = std::process::Command::new(program)
            .args(arguments)
            .arg("--leash")
            .arg(order.dir.path())
            .env("DSPERSE_NODE", node)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|e| format!("\"{program}\" can't be started: {e}"))?;
        let running = Running {
            child,
            node: (*node).clone(),
            log,
        };
        lock(&self.running).insert(ticket.clone(), running);
        Ok(ticket)
    }

    fn state(&self, ticket: &str) -> State {
        let mut running = lock(&self.running);
        let Some(process) = running.get_mut(ticket) else {
            return State::Ended(Ended {
                reason: "it is not known".to_owned(),
                ..Ended::default()
            });
        };
        match process.child.try_wait() {
            Ok(None) => State::Running(process.node.clone()),
            Ok(Some(status)) => State::Ended(ended(process, status)),
            Err(_) => State::Unknown,
        }
    }

    fn cancel(&self, ticket: &str) {
        if let Some(process) = lock(&self.running).get_mut(ticket) {
            end(&mut process.child);
        }
    }
}

fn ended(process: &Running, status: ExitStatus) -> Ended {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal: Option<i32> = None;
    let log = std::fs::read_to_string(&process.log).unwrap_or_default();
    let said = log.lines().rfind(|l| !l.trim().is_empty());
    Ended {
        node: Some(process.node.clone()),
        code: status.code(),
        reason: said.map_or_else(|| status.to_string(), str::to_owned),
        // Perhaps the kernel's, which ends what takes too much.
        memory: signal == Some(9),
    }
}

/// The leash is let go, which a node takes for a request to end.
fn end(child: &mut Child) {
    drop(child.stdin.take());
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
}

impl Drop for Process {
    fn drop(&mut self) {
        for process in lock(&self.running).values_mut() {
            end(&mut process.child);
        }
    }
}
