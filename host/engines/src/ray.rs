//! Ray, through a driver in Python (`bindings/python/src/dsperse/ray_driver.py`): JSON lines
//! on its standard streams. When this process is gone the driver's input ends, and with the
//! driver go its tasks.

use crate::document::VERSION;
use crate::engine::{Command, Ended, Engine, Order, State, program};
use dsperse_jobs::schedule::lock;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the driver may take to connect.
const CONNECTS: Duration = Duration::from_secs(60);
/// How long it may take to end what runs.
const PATIENCE: Duration = Duration::from_secs(20);

/// The engine.
pub struct Ray {
    command: Command,
    driver: Child,
    /// `None` only while this is dropped.
    input: Mutex<Option<ChildStdin>>,
    next: AtomicUsize,
    jobs: Arc<Mutex<Jobs>>,
    reader: Option<JoinHandle<()>>,
}

/// What the driver said of each job.
#[derive(Default)]
struct Jobs {
    states: HashMap<String, State>,
    gone: bool,
}

/// A line of the driver's.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    ready: Option<u64>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    state: Option<String>,
    /// There when the job ended; null when it has no exit code.
    #[serde(default, deserialize_with = "there")]
    ended: Option<Value>,
    #[serde(default)]
    refused: Option<String>,
    #[serde(default)]
    node: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

/// A field that may be null, apart from one that is not there.
fn there<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(d).map(Some)
}

impl Ray {
    /// An engine over the Ray cluster at an address, with the Python that has Ray.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(command: Command, python: &str, address: &str) -> Result<Self, String> {
        let mut driver = program(python)
            .args(["-m", "dsperse.ray_driver", address, VERSION])
            .args(command.describe())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("\"{python}\" can't be started: {e}"))?;
        let (input, output) = (driver.stdin.take(), driver.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err("the driver has no streams".to_owned());
        };
        let lines = match ready(&mut driver, BufReader::new(output)) {
            Ok(lines) => lines,
            Err(e) => {
                let _ = driver.kill();
                let _ = driver.wait();
                return Err(e);
            }
        };
        // What Ray prints there must not fill the pipe.
        if let Some(mut errors) = driver.stderr.take() {
            std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        }
        let jobs: Arc<Mutex<Jobs>> = Arc::default();
        let told = jobs.clone();
        Ok(Self {
            command,
            driver,
            input: Mutex::new(Some(input)),
            next: AtomicUsize::new(0),
            jobs,
            reader: Some(std::thread::spawn(move || listen(lines, &told))),
        })
    }

    fn say(&self, message: &Value) -> Result<(), String> {
        let mut input = lock(&self.input);
        let input = input.as_mut().ok_or("the driver is gone")?;
        writeln!(input, "{message}")
            .and_then(|()| input.flush())
            .map_err(|e| format!("the driver of Ray is gone: {e}"))
    }
}

/// Waits for the driver's first word. It ends by itself when it can't connect.
fn ready(
    driver: &mut Child,
    mut lines: BufReader<ChildStdout>,
) -> Result<BufReader<ChildStdout>, String> {
    let (sender, answer) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = lines.read_line(&mut line);
        let _ = sender.send((lines, line));
    });
    let (lines, line) = answer
        .recv_timeout(CONNECTS)
        .map_err(|_| format!("the driver does not answer within {} s", CONNECTS.as_secs()))?;
    match serde_json::from_str::<Said>(&line) {
        Ok(Said { ready: Some(_), .. }) => Ok(lines),
        Ok(Said { error: Some(e), .. }) => Err(e),
        _ => {
            let errors = driver.stderr.take().map(BufReader::new);
            let errors = errors.into_iter().flat_map(BufRead::lines);
            let last = errors.map_while(Result::ok).last().unwrap_or_default();
            Err(format!(
                "the driver ended: {last} (python in [executor] names one that has dsperse[ray])"
            ))
        }
    }
}

fn listen(lines: BufReader<ChildStdout>, jobs: &Mutex<Jobs>) {
    for line in lines.lines().map_while(Result::ok) {
        let Ok(said) = serde_json::from_str::<Said>(&line) else {
            continue;
        };
        let Some(id) = said.id else { continue };
        let reason = said.reason.unwrap_or_default();
        let state = if let Some(code) = said.ended {
            let code = code.as_i64().and_then(|c| i32::try_from(c).ok());
            State::Ended(Ended {
                node: said.node,
                // Python tells signals by negative codes.
                code: code.filter(|c| *c >= 0),
                memory: code == Some(-9) || reason.contains("OutOfMemory"),
                reason: match code {
                    Some(c) if c < 0 => format!("signal {}", -c),
                    _ => reason,
                },
            })
        } else if let Some(why) = said.refused {
            State::Refused(why)
        } else if said.state.as_deref() == Some("running") {
            State::Running(said.node.unwrap_or_default())
        } else {
            State::Pending(reason)
        };
        lock(jobs).states.insert(id, state);
    }
    lock(jobs).gone = true;
}

impl Engine for Ray {
    fn name(&self) -> &'static str {
        "ray"
    }

    fn submit(&self, order: &Order) -> Result<String, String> {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        order.record(self.name(), &ticket)?;
        let mut words = self.command.words();
        words.push("--leash".to_owned());
        words.push(order.dir.path().display().to_string());
        let waits = State::Pending("it was not taken yet".to_owned());
        lock(&self.jobs).states.insert(ticket.clone(), waits);
        self.say(&json!({
            "submit": ticket,
            "argv": words,
            "cpus": order.cpus,
            "memory": order.memory,
            "plugin": order.backend.1,
            "exclude": order.exclude,
        }))?;
        Ok(ticket)
    }

    fn state(&self, ticket: &str) -> State {
        let jobs = lock(&self.jobs);
        match jobs.states.get(ticket) {
            Some(state @ (State::Ended(_) | State::Refused(_))) => state.clone(),
            _ if jobs.gone => State::Refused("the driver of Ray is gone".to_owned()),
            Some(state) => state.clone(),
            None => State::Unknown,
        }
    }

    fn cancel(&self, ticket: &str) {
        let _ = self.say(&json!({"cancel": ticket}));
    }
}

impl Drop for Ray {
    fn drop(&mut self) {
        // The driver cancels what runs, and ends.
        *lock(&self.input) = None;
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.driver.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
