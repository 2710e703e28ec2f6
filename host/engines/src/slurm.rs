//! Slurm: array jobs, asked about with `squeue` and `scontrol`.
//!
//! Jobs that come within a moment of each other and ask for the same go into one array. An
//! array is found again by its name, which is in every job's ticket before `sbatch` is called.
//! No accounting is needed; what Slurm forgets (`MinJobAge`) was looked at long before. What
//! counts is the result in the store: Slurm runs a job twice when it loses a node that lives.

use crate::engine::{Command, Ended, Engine, Order, State, program};
use crate::store::Store;
use dsperse_jobs::schedule::lock;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Jobs that come within this time go into one array.
const MOMENT: Duration = Duration::from_millis(100);
/// How often Slurm is asked.
const ASK: Duration = Duration::from_secs(1);
/// How long after `sbatch` a job may be missing from `squeue`.
const APPEARS: Duration = Duration::from_secs(10);
/// How long a controller that does not answer is waited for.
const RESTART: Duration = Duration::from_secs(300);
/// How long jobs may take to end when they are cancelled.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the program takes beside the job, in bytes: our own limit should strike first.
const BESIDE: u64 = 128 << 20;

/// The engine.
pub struct Slurm {
    /// `None` only while this is dropped.
    orders: Mutex<Option<Sender<Handed>>>,
    submitter: Option<JoinHandle<()>>,
    poller: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

struct Handed {
    order: Order,
    reply: Sender<Result<String, String>>,
}

/// What the engine's threads know.
struct Shared {
    command: Command,
    options: Vec<String>,
    store: Store,
    /// By name.
    batches: Mutex<HashMap<String, Batch>>,
    over: Mutex<bool>,
    ends: Condvar,
}

struct Batch {
    since: Instant,
    /// Whether Slurm was asked about it.
    asked: bool,
    rows: HashMap<String, Row>,
}

/// A line of `squeue`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    /// `<job>_<index>`.
    id: String,
    state: String,
    reason: String,
    node: String,
}

impl Slurm {
    /// An engine over the Slurm that the commands on PATH belong to.
    ///
    /// # Errors
    /// When there is none that answers.
    pub fn new(command: Command, options: Vec<String>, store: Store) -> Result<Self, String> {
        call("sinfo", &["--noheader".to_owned()])?;
        let shared = Arc::new(Shared {
            command,
            options,
            store,
            batches: Mutex::default(),
            over: Mutex::new(false),
            ends: Condvar::new(),
        });
        let (orders, handed) = channel();
        let (submits, polls) = (shared.clone(), shared.clone());
        Ok(Self {
            orders: Mutex::new(Some(orders)),
            submitter: Some(std::thread::spawn(move || submits.submit_all(&handed))),
            poller: Some(std::thread::spawn(move || polls.poll())),
            shared,
        })
    }
}

/// Calls a command of Slurm; its output, or what it says of its failure.
fn call(name: &str, arguments: &[String]) -> Result<String, String> {
    let output = program(name)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|e| format!("\"{name}\" can't be started: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    Err(format!("{name}: {}", lines.join("; ")))
}

/// Whether the controller is away, which it may come back from.
fn is_away(said: &str) -> bool {
    [
        "Unable to contact",
        "Socket timed out",
        "Connection refused",
        "Communication connection",
    ]
    .iter()
    .any(|words| said.contains(words))
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

impl Shared {
    /// Waits, unless the engine ends. Whether it goes on.
    fn pause(&self, time: Duration) -> bool {
        let over = lock(&self.over);
        let (over, _) = self
            .ends
            .wait_timeout_while(over, time, |over| !*over)
            .unwrap_or_else(PoisonError::into_inner);
        !*over
    }

    fn submit_all(&self, handed: &Receiver<Handed>) {
        while let Ok(first) = handed.recv() {
            let mut all = vec![first];
            let until = Instant::now() + MOMENT;
            while let Ok(more) =
                handed.recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                all.push(more);
            }
            let mut arrays: BTreeMap<Vec<String>, Vec<Handed>> = BTreeMap::new();
            for one in all {
                arrays.entry(asks(&one.order)).or_default().push(one);
            }
            for (asks, jobs) in arrays {
                let taken = self.submit(&asks, &jobs);
                for (index, job) in jobs.iter().enumerate() {
                    let ticket = taken.clone().map(|name| format!("{name}_{index}"));
                    let _ = job.reply.send(ticket);
                }
            }
        }
    }

    /// Submits an array; its name.
    fn submit(&self, asks: &[String], jobs: &[Handed]) -> Result<String, String> {
        let dir = tempfile::Builder::new()
            .prefix("dsperse-")
            .rand_bytes(12)
            .tempdir_in(self.store.root().join("batches"))
            .map_err(|e| format!("can't create a directory in the store: {e}"))?;
        let name = dir.path().file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let write = |file: &str, text: String| {
            let path = dir.path().join(file);
            fs::write(&path, text)
                .map_err(|e| format!("can't write \"{}\": {e}", path.display()))?;
            Ok::<PathBuf, String>(path)
        };
        let dirs = jobs
            .iter()
            .map(|j| j.order.dir.path().display().to_string());
        let list = write("jobs", dirs.map(|d| d + "\n").collect())?;
        let words = self.command.words();
        let words: Vec<String> = words.iter().map(|w| quoted(w)).collect();
        let list = quoted(&list.display().to_string());
        let script = write(
            "script",
            format!(
                "#!/bin/sh\njob=$(sed -n \"$((SLURM_ARRAY_TASK_ID + 1))p\" {list}) || exit 15\n\
                 exec {} \"$job\"\n",
                words.join(" ")
            ),
        )?;
        for (index, job) in jobs.iter().enumerate() {
            job.order.record("slurm", &format!("{name}_{index}"))?;
        }
        let mut arguments = vec![
            "--parsable".to_owned(),
            format!("--job-name={name}"),
            format!("--array=0-{}", jobs.len() - 1),
            format!("--output={}", dir.path().join("%a.log").display()),
            "--open-mode=append".to_owned(),
            "--requeue".to_owned(),
        ];
        arguments.extend(asks.iter().cloned());
        arguments.extend(self.options.iter().cloned());
        arguments.push(script.display().to_string());
        let deadline = Instant::now() + RESTART;
        while let Err(e) = call("sbatch", &arguments) {
            let again = is_away(&e) && Instant::now() < deadline && self.pause(ASK);
            // It may have taken the array before it went away.
            if self.knows(&name) {
                break;
            }
            if !again {
                return Err(e);
            }
        }
        let _ = dir.keep();
        lock(&self.batches).insert(name.clone(), Batch::new());
        Ok(name)
    }

    fn knows(&self, name: &str) -> bool {
        self.ask(&[name.to_owned()])
            .is_ok_and(|rows| !rows.is_empty())
    }

    /// What Slurm says of arrays: name, index and row.
    fn ask(&self, names: &[String]) -> Result<Vec<(String, String, Row)>, String> {
        let arguments = [
            "--noheader".to_owned(),
            "--array".to_owned(),
            "--states=all".to_owned(),
            format!("--name={}", names.join(",")),
            "--format=%j|%F|%K|%T|%N|%r".to_owned(),
        ];
        let said = call("squeue", &arguments)?;
        Ok(said.lines().filter_map(row).collect())
    }

    fn poll(&self) {
        while self.pause(ASK) {
            let names: Vec<String> = lock(&self.batches).keys().cloned().collect();
            if !names.is_empty()
                && let Ok(rows) = self.ask(&names)
            {
                self.take(&names, rows);
            }
        }
    }

    fn take(&self, names: &[String], rows: Vec<(String, String, Row)>) {
        let mut batches = lock(&self.batches);
        for name in names {
            if let Some(batch) = batches.get_mut(name) {
                batch.asked = true;
                batch.rows.clear();
            }
        }
        for (name, index, row) in rows {
            if let Some(batch) = batches.get_mut(&name) {
                batch.rows.insert(index, row);
            }
        }
    }

    /// The exit code of a job that has ended.
    fn code(&self, row: &Row) -> (Option<i32>, Option<i32>) {
        let arguments = ["--oneliner", "show", "job", &row.id].map(str::to_owned);
        let said = call("scontrol", &arguments).unwrap_or_default();
        exit_code(&said)
    }

    fn row(&self, ticket: &str) -> Option<Row> {
        let (name, index) = ticket.rsplit_once('_')?;
        lock(&self.batches).get(name)?.rows.get(index).cloned()
    }
}

impl Batch {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            asked: false,
            rows: HashMap::new(),
        }
    }
}

/// What jobs of one array have in common.
fn asks(order: &Order) -> Vec<String> {
    let mib = (order.memory.saturating_add(BESIDE)).div_ceil(1 << 20);
    let mut asks = vec![
        format!("--mem={mib}M"),
        format!("--cpus-per-task={}", order.cpus),
    ];
    if let Some(time) = order.time {
        asks.push(format!("--time={}", time.as_secs().div_ceil(60)));
    }
    if !order.exclude.is_empty() {
        asks.push(format!("--exclude={}", order.exclude.join(",")));
    }
    asks
}

fn row(line: &str) -> Option<(String, String, Row)> {
    let mut fields = line.splitn(6, '|');
    let mut next = || fields.next().map(|f| f.trim().to_owned());
    let (name, job, index) = (next()?, next()?, next()?);
    let row = Row {
        id: format!("{job}_{index}"),
        state: next()?,
        node: next()?,
        reason: next()?,
    };
    Some((name, index, row))
}

/// `ExitCode=<code>:<signal>` of `scontrol show job`.
fn exit_code(said: &str) -> (Option<i32>, Option<i32>) {
    let field = said
        .split_whitespace()
        .find_map(|w| w.strip_prefix("ExitCode="));
    let Some((code, signal)) = field.and_then(|f| f.split_once(':')) else {
        return (None, None);
    };
    let signal = signal.parse().ok().filter(|s| *s != 0);
    let code = code.parse().ok().filter(|_| signal.is_none());
    (code, signal)
}

impl Engine for Slurm {
    fn name(&self) -> &'static str {
        "slurm"
    }

    fn submit(&self, order: &Order) -> Result<String, String> {
        let (reply, answer) = channel();
        let handed = Handed {
            order: order.clone(),
            reply,
        };
        let gone = || "the engine is gone".to_owned();
        let orders = lock(&self.orders).clone().ok_or_else(gone)?;
        orders.send(handed).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }

    fn state(&self, ticket: &str) -> State {
        let Some((name, index)) = ticket.rsplit_once('_') else {
            return State::Unknown;
        };
        let row = {
            let batches = lock(&self.shared.batches);
            let Some(batch) = batches.get(name) else {
                return State::Unknown;
            };
            match batch.rows.get(index) {
                Some(row) => row.clone(),
                None if !batch.asked || batch.since.elapsed() < APPEARS => return State::Unknown,
                None => {
                    return State::Ended(Ended {
                        reason: "Slurm does not know it any more".to_owned(),
                        ..Ended::default()
                    });
                }
            }
        };
        let words = format!("{} ({})", row.state, row.reason);
        let node = Some(row.node.clone()).filter(|n| !n.is_empty());
        match row.state.as_str() {
            // It may have run to its end, or not at all; nobody else takes it up.
            "PENDING" if row.reason.to_lowercase().contains("requeued") => {
                let _ = call("scancel", std::slice::from_ref(&row.id));
                State::Ended(Ended {
                    node,
                    reason: words,
                    ..Ended::default()
                })
            }
            // All nodes that would do are left out, or none ever would.
            _ if row.reason == "BadConstraints" => {
                State::Refused(format!("no node has what it asks for: {words}"))
            }
            "PENDING" | "REQUEUED" | "REQUEUE_HOLD" | "SPECIAL_EXIT" => State::Pending(row.reason),
            "RUNNING" | "COMPLETING" | "CONFIGURING" | "SUSPENDED" | "STOPPED" | "SIGNALING"
            | "STAGE_OUT" | "RESIZING" => State::Running(row.node),
            ended => {
                let (code, signal) = self.shared.code(&row);
                State::Ended(Ended {
                    node,
                    code: match ended {
                        // A node that lives would have ended it before.
                        "TIMEOUT" | "DEADLINE" => None,
                        "OUT_OF_MEMORY" => Some(11),
                        _ => code,
                    },
                    reason: signal.map_or(words.clone(), |s| format!("{words}, signal {s}")),
                    memory: signal == Some(9),
                })
            }
        }
    }

    fn cancel(&self, ticket: &str) {
        let Some((name, index)) = ticket.rsplit_once('_') else {
            return;
        };
        let row = self.shared.row(ticket).or_else(|| {
            let rows = self.shared.ask(&[name.to_owned()]).ok()?;
            rows.into_iter()
                .find_map(|(_, i, row)| (i == index).then_some(row))
        });
        if let Some(row) = row {
            let _ = call("scancel", std::slice::from_ref(&row.id));
        }
    }

    fn adopt(&self, ticket: &str) -> bool {
        let Some((name, _)) = ticket.rsplit_once('_') else {
            return false;
        };
        let mut batches = lock(&self.shared.batches);
        batches.entry(name.to_owned()).or_insert_with(Batch::new);
        true
    }
}

impl Drop for Slurm {
    /// Nothing that this engine handed over outlives it.
    fn drop(&mut self) {
        *lock(&self.orders) = None;
        *lock(&self.shared.over) = true;
        self.shared.ends.notify_all();
        for thread in [self.submitter.take(), self.poller.take()]
            .into_iter()
            .flatten()
        {
            let _ = thread.join();
        }
        let names: Vec<String> = lock(&self.shared.batches).keys().cloned().collect();
        if names.is_empty() {
            return;
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let alive = |row: &Row| {
                [
                    "PENDING",
                    "RUNNING",
                    "COMPLETING",
                    "CONFIGURING",
                    "SUSPENDED",
                    "REQUEUED",
                ]
                .contains(&row.state.as_str())
            };
            let rows = self.shared.ask(&names).unwrap_or_default();
            let left: Vec<String> = rows
                .into_iter()
                .filter(|(_, _, row)| alive(row))
                .map(|(_, _, row)| row.id)
                .collect();
            if left.is_empty() || Instant::now() > deadline {
                break;
            }
            let _ = call("scancel", &left);
            std::thread::sleep(Duration::from_millis(200));
        }
        for name in names {
            let _ = fs::remove_dir_all(self.shared.store.root().join("batches").join(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_squeue_are_read() {
        let (name, index, row) = row("dsperse-ab|17|3|RUNNING|n1|None").unwrap();
        assert_eq!((name.as_str(), index.as_str()), ("dsperse-ab", "3"));
        assert_eq!(row.id, "17_3");
        assert_eq!((row.state.as_str(), row.node.as_str()), ("RUNNING", "n1"));
        assert!(super::row("slurm_load_jobs error").is_none());
    }

    #[test]
    fn exit_codes_and_signals_are_told_apart() {
        assert_eq!(exit_code("JobId=1 ExitCode=15:0 X=y"), (Some(15), None));
        assert_eq!(exit_code("ExitCode=0:9"), (None, Some(9)));
        assert_eq!(exit_code(""), (None, None));
    }

    #[test]
    fn words_reach_the_shell_as_they_are() {
        let word = "a 'b' $c";
        let said = std::process::Command::new("sh")
            .args(["-c", &format!("printf %s {}", quoted(word))])
            .output()
            .unwrap();
        assert_eq!(said.stdout, word.as_bytes());
    }
}
