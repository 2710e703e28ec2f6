//! The coordinator's side: jobs go to an engine, and what comes back is looked at.
//!
//! What is sent away is what may be wrong without harm: circuits, witnesses and proofs. What
//! others are measured by stays here: questions, verdicts, and plain execution in floats.

use crate::admit::admit;
use crate::document::{Bounds, End, JobDocument, VERSION};
use crate::engine::{Ended, Engine, Order, State, Ticket};
use crate::policy::{self, History, Next};
use crate::settings::Settings;
use crate::store::{JobDir, Store};
use dsperse_documents::{BackendError, ErrorKind, Usage};
use dsperse_jobs::error::{Error, Result};
use dsperse_jobs::job::{Executor, FileRef, Files, Hint, Job, Outcome, Work};
use dsperse_jobs::local::LocalExecutor;
use dsperse_jobs::schedule::lock;
use dsperse_plugin_api::{Done, Role, Stage, Verdict};
use dsperse_plugin_host::{CallEvent, Control, PluginHost, Reply};
use dsperse_store::atomic;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A node ends its own jobs when their time is over; after so much more it is taken for
/// frozen.
const GRACE: Duration = Duration::from_secs(60);
/// How long a result may be on its way through a network file system, or the store away.
const LATE: Duration = Duration::from_secs(5);
/// Most that is read of a node's events at once.
const EVENTS: u64 = 1 << 20;

/// Sends jobs to other machines.
pub struct RemoteExecutor<'h> {
    host: &'h PluginHost,
    local: LocalExecutor<'h>,
    /// `None` only while this is dropped.
    engine: Option<Box<dyn Engine>>,
    store: Store,
    settings: Settings,
    gate: Gate,
    /// Nodes that have another program or plugin, by the plugin's digest.
    other_build: Mutex<BTreeMap<String, BTreeSet<String>>>,
    used: Mutex<Used>,
}

/// What goes away with the command.
#[derive(Default)]
struct Used {
    keys: BTreeSet<String>,
    digests: BTreeSet<String>,
}

impl<'h> RemoteExecutor<'h> {
    /// An executor over an engine and a store.
    #[must_use]
    pub fn new(
        host: &'h PluginHost,
        engine: Box<dyn Engine>,
        store: Store,
        settings: Settings,
    ) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            host,
            local: LocalExecutor::new(host),
            engine: Some(engine),
            store,
            settings,
            gate: Gate::new(processors),
            other_build: Mutex::default(),
            used: Mutex::default(),
        }
    }

    /// Whether a job is sent away.
    fn goes(&self, job: &Job) -> bool {
        let Some(plugin) = self.host.get(&job.backend) else {
            return false;
        };
        let Some(proof) = &plugin.descriptor.capabilities.proof else {
            return false;
        };
        match job.work {
            Work::Supports | Work::Verify { .. } => false,
            // Keys that can't be made again could never be checked.
            Work::Compile { .. } => proof.reproducible_compile,
            Work::Witness { .. } | Work::Prove { .. } => true,
        }
    }

    fn send(
        &self,
        job: &Job,
        files: &Files,
        control: &Control,
        estimate: Option<u64>,
    ) -> Result<Outcome> {
        let Some(engine) = self.engine.as_deref() else {
            return Err(Error::failed("the executor is gone"));
        };
        let key = job.key();
        let dir = self.store.job(&key);
        {
            let mut used = lock(&self.used);
            used.keys.insert(key.clone());
            let digests = job.files().into_iter().map(|(_, d)| d.to_owned());
            used.digests.extend(digests);
        }
        dir.create(&JobDocument {
            schema: Default::default(),
            dsperse: VERSION.to_owned(),
            key,
            job: job.clone(),
        })?;
        let _ = fs::remove_file(dir.cancelled());
        let most = self
            .settings
            .most_memory
            .min(control.memory.unwrap_or(u64::MAX));
        let memory = policy::memory(estimate, self.settings.memory, most);
        let mut watch = Watch {
            sender: self,
            engine,
            dir,
            job,
            files,
            control,
            history: History::new(memory, most),
            node: None,
            rejected: false,
            away: false,
            seen: HashSet::new(),
            read: HashMap::new(),
        };
        // Ends of tries before this command are nobody's concern.
        watch.ends();
        watch.run()
    }

    /// Checks the proof of a job as `verify` would, before it is taken. `Err` is why it is
    /// refused.
    fn holds(
        &self,
        job: &Job,
        files: &Files,
        control: &Control,
        done: &Done,
    ) -> std::result::Result<(), String> {
        let Work::Prove {
            circuit,
            inputs,
            outputs,
            ..
        } = &job.work
        else {
            return Ok(());
        };
        let Some(plugin) = self.host.get(&job.backend) else {
            return Ok(());
        };
        let capabilities = &plugin.descriptor.capabilities;
        if !capabilities.stages.contains(&Stage::Verify) {
            return Ok(());
        }
        let mut files = files.clone();
        let proof: Vec<FileRef> = done
            .artefacts
            .iter()
            .map(|a| files.attach_made(a, &control.dir))
            .collect();
        let verifying = circuit.iter().filter(|f| f.role == Role::Verifying);
        let question = Job {
            payload: capabilities.verify_needs_payload,
            work: Work::Verify {
                circuit: verifying.cloned().collect(),
                proof,
                inputs: inputs.clone(),
                outputs: outputs.clone(),
                tolerance: 0.0,
            },
            ..job.clone()
        };
        let Ok(scratch) = tempfile::Builder::new()
            .prefix("check-")
            .tempdir_in(control.dir.parent().unwrap_or(&control.dir))
        else {
            return Ok(());
        };
        let control = Control {
            dir: scratch.path().to_path_buf(),
            events: None,
            ..control.clone()
        };
        let _place = self.gate.enter();
        let answer = self
            .local
            .execute(&question, &files, &control, Hint::default());
        match answer.map(|o| o.result) {
            Ok(Ok(Reply::Verdict(Verdict::Invalid { reason }))) => {
                Err(format!("the proof does not hold: {reason}"))
            }
            Ok(Err(e)) if e.kind == ErrorKind::InvalidInput => {
                Err(format!("the proof can't be read: {}", e.message))
            }
            // What can't be judged here and now is left to "verify".
            _ => Ok(()),
        }
    }
}

impl Executor for RemoteExecutor<'_> {
    fn execute(&self, job: &Job, files: &Files, control: &Control, hint: Hint) -> Result<Outcome> {
        if !hint.serves && self.goes(job) {
            return self.send(job, files, control, hint.memory);
        }
        let _place = self.gate.enter();
        self.local.execute(job, files, control, hint)
    }

    fn here(&self) -> Option<&dyn Executor> {
        Some(&self.local)
    }

    fn at_once(&self) -> Option<usize> {
        Some(self.settings.in_flight)
    }
}

impl Drop for RemoteExecutor<'_> {
    /// What a command made in the store goes away with it: results are where they belong, and
    /// what was given up would be tried anew.
    fn drop(&mut self) {
        self.engine = None;
        let used = std::mem::take(&mut *lock(&self.used));
        for key in &used.keys {
            self.store.job(key).remove();
        }
        self.store.forget(&used.digests);
    }
}

/// One job on its way.
struct Watch<'a, 'h> {
    sender: &'a RemoteExecutor<'h>,
    engine: &'a dyn Engine,
    dir: JobDir,
    job: &'a Job,
    files: &'a Files,
    control: &'a Control,
    history: History,
    /// Where the last try was.
    node: Option<String>,
    /// Whether the last try's result was not believed.
    rejected: bool,
    /// Whether the store was away during the last try, which then is no node's fault.
    away: bool,
    /// Attempts whose ends were looked at.
    seen: HashSet<String>,
    /// How far the events of each attempt were read.
    read: HashMap<PathBuf, u64>,
}

impl Watch<'_, '_> {
    fn run(&mut self) -> Result<Outcome> {
        let mut ticket = self.adopted();
        loop {
            if let Some(outcome) = self.taken(ticket.as_deref())? {
                return Ok(outcome);
            }
            // The try whose result was not believed is over, whatever its engine still says.
            if std::mem::take(&mut self.rejected)
                && let Some(over) = ticket.take()
            {
                self.engine.cancel(&over);
            }
            if self.control.cancel.is_cancelled() {
                return Ok(self.cancelled(ticket.as_deref()));
            }
            let current = match ticket.take() {
                Some(ticket) => ticket,
                None => self.submit()?,
            };
            let Some(ended) = self.wait(&current)? else {
                // There is a result, or the user interrupted.
                ticket = Some(current);
                continue;
            };
            let end = self.ends();
            let node = ended.node.or_else(|| self.node.clone());
            let ended = Ended {
                code: ended.code.or(end.as_ref().map(|e| i32::from(e.code))),
                node: node.filter(|_| !self.away),
                ..ended
            };
            let next = self.history.ended(&ended, end.map(|e| e.error));
            if let Some(outcome) = self.follow(next)? {
                return Ok(outcome);
            }
        }
    }

    /// The result, when there is one that is believed.
    fn taken(&mut self, ticket: Option<&str>) -> Result<Option<Outcome>> {
        let found = match self.dir.result() {
            Ok(None) => return Ok(None),
            Ok(Some(found)) => Ok(found),
            Err(e) => Err(e.message),
        };
        self.events();
        let taken = found.and_then(|found| {
            let taken = admit(&found, &self.dir, self.job, self.control)?;
            if let Ok(Reply::Done(done)) = &taken {
                self.sender
                    .holds(self.job, self.files, self.control, done)?;
            }
            Ok((found, taken))
        });
        match taken {
            Ok((found, result)) => Ok(Some(Outcome {
                result,
                usage: found.usage,
                node: Some(self.node.clone().unwrap_or(found.host)),
            })),
            Err(why) => {
                self.clear()?;
                self.dir.reject()?;
                self.rejected = true;
                let node = self.node.clone().or_else(|| self.whose(ticket?));
                let next = self.history.rejected(node.as_deref(), &why);
                self.follow(next)
            }
        }
    }

    /// The node of a try, which may have been quicker than its engine tells.
    fn whose(&self, ticket: &str) -> Option<String> {
        let began = Instant::now();
        loop {
            match self.engine.state(ticket) {
                State::Running(node) => return Some(node),
                State::Ended(ended) => return ended.node,
                State::Refused(_) => return None,
                _ if began.elapsed() > LATE => return None,
                State::Pending(_) | State::Unknown => std::thread::sleep(LATE / 50),
            }
        }
    }

    /// What was copied of a result that is not believed.
    fn clear(&self) -> Result<()> {
        let dir = &self.control.dir;
        fs::remove_dir_all(dir)
            .and_then(|()| fs::create_dir(dir))
            .map_err(|e| Error::io("empty", dir, &e))
    }

    fn follow(&mut self, next: Next) -> Result<Option<Outcome>> {
        match next {
            Next::Again => Ok(None),
            Next::Cancelled if self.control.cancel.is_cancelled() => {
                Ok(Some(Outcome::error(BackendError::cancelled())))
            }
            Next::Cancelled => Err(self.failure("somebody else ended it")),
            Next::Backend(e) => Ok(Some(Outcome {
                result: Err(e),
                usage: Usage::default(),
                node: self.node.clone(),
            })),
            Next::GiveUp(why) => Err(self.failure(&why)),
        }
    }

    fn failure(&self, why: &str) -> Error {
        let (slice, backend) = (self.job.slice.index, &self.job.backend);
        let engine = self.engine.name();
        Error::failed(format!(
            "slice {slice}, backend \"{backend}\", on {engine}: {why}"
        ))
        .with_hint("what was finished is kept; type the same command again to go on from there")
    }

    /// The try of an earlier coordinator, when the engine still knows it.
    fn adopted(&self) -> Option<String> {
        let ticket: Ticket = atomic::read_document(&self.dir.ticket()).ok()?;
        let same = ticket.engine == self.engine.name() && ticket.dsperse == VERSION;
        (same && self.engine.adopt(&ticket.ticket)).then_some(ticket.ticket)
    }

    fn submit(&mut self) -> Result<String> {
        let again = std::mem::take(&mut self.history.put_again);
        self.sender
            .store
            .put_inputs(self.job, self.files, again)
            .map_err(|e| self.failure(&e.message))?;
        let timeout = self.control.timeout;
        let bounds = Bounds {
            schema: Default::default(),
            threads: self.sender.settings.cpus,
            timeout_seconds: timeout.map(|t| t.as_secs_f64()),
            memory: Some(self.history.memory),
        };
        atomic::write_document(&self.dir.bounds(), &bounds)?;
        let exclude = {
            let mut all = lock(&self.sender.other_build);
            let others = all.entry(self.job.plugin_sha256.clone()).or_default();
            others.extend(self.history.other_build.iter().cloned());
            let mut exclude: BTreeSet<String> = others.clone();
            exclude.extend(self.history.exclude.iter().cloned());
            exclude.into_iter().collect()
        };
        let order = Order {
            dir: self.dir.clone(),
            backend: (self.job.backend.clone(), self.job.plugin_sha256.clone()),
            cpus: self.sender.settings.cpus,
            memory: self.history.memory,
            time: timeout.map(|t| t + GRACE),
            exclude,
        };
        self.node = None;
        self.away = false;
        self.engine.submit(&order).map_err(|e| self.refused(&e))
    }

    fn refused(&self, why: &str) -> Error {
        let before = match self.history.reasons.as_slice() {
            [] => String::new(),
            reasons => format!(" (before that: {})", reasons.join("; ")),
        };
        self.failure(&format!("it is not taken: {why}{before}"))
    }

    /// Waits for the end of a try. `None` when there is a result, or the user interrupted.
    fn wait(&mut self, ticket: &str) -> Result<Option<Ended>> {
        let began = Instant::now();
        let mut running: Option<Instant> = None;
        let mut waiting = Instant::now();
        let mut late: Option<Instant> = None;
        let mut gone: Option<Instant> = None;
        loop {
            if self.control.cancel.is_cancelled() || self.dir.result_path().exists() {
                // Whose result it is.
                if let State::Running(node) = self.engine.state(ticket) {
                    self.node = Some(node);
                }
                return Ok(None);
            }
            if !self.dir.document_path().exists() {
                if gone.get_or_insert_with(Instant::now).elapsed() > LATE {
                    self.engine.cancel(ticket);
                    let place = self.sender.store.root().display();
                    return Err(self.failure(&format!("the store \"{place}\" is gone")));
                }
                self.away = true;
                std::thread::sleep(LATE / 20);
                continue;
            }
            gone = None;
            match self.engine.state(ticket) {
                State::Pending(why) => {
                    running = None;
                    if waiting.elapsed() > self.sender.settings.pending {
                        self.engine.cancel(ticket);
                        let most = self.sender.settings.pending.as_secs();
                        return Err(
                            self.failure(&format!("no node took it within {most} s: {why}"))
                        );
                    }
                }
                State::Running(node) => {
                    waiting = Instant::now();
                    self.node = Some(node.clone());
                    let since = *running.get_or_insert_with(Instant::now);
                    let most = self.control.timeout.map(|t| t + 2 * GRACE);
                    if most.is_some_and(|most| since.elapsed() > most) {
                        self.engine.cancel(ticket);
                        return Ok(Some(Ended {
                            node: Some(node),
                            reason: "it did not end when its time was over".to_owned(),
                            ..Ended::default()
                        }));
                    }
                }
                State::Ended(ended) => {
                    if let Some(node) = &ended.node {
                        self.node = Some(node.clone());
                    }
                    let expected = matches!(ended.code, Some(0 | 10));
                    let since = *late.get_or_insert_with(Instant::now);
                    if !expected || since.elapsed() > LATE || self.has_ended() {
                        return Ok(Some(ended));
                    }
                }
                State::Refused(why) => return Err(self.refused(&why)),
                State::Unknown => {
                    if waiting.elapsed() > self.sender.settings.pending {
                        return Err(self.failure("the engine does not answer"));
                    }
                }
            }
            self.events();
            // Short jobs are noticed at once, long ones cost nothing.
            let pause = began.elapsed() / 20;
            std::thread::sleep(pause.clamp(Duration::from_millis(5), Duration::from_millis(500)));
        }
    }

    fn cancelled(&self, ticket: Option<&str>) -> Outcome {
        let _ = File::create(self.dir.cancelled());
        if let Some(ticket) = ticket {
            self.engine.cancel(ticket);
        }
        Outcome::error(BackendError::cancelled())
    }

    fn attempts(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir.attempts()).into_iter().flatten();
        entries.flatten().map(|e| e.path()).collect()
    }

    fn unseen_ends(&self) -> Vec<(String, PathBuf)> {
        let attempts = self.attempts().into_iter();
        let named = attempts.filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            let end = path.join("end.json");
            (!self.seen.contains(&name) && end.is_file()).then_some((name, end))
        });
        named.collect()
    }

    fn has_ended(&self) -> bool {
        !self.unseen_ends().is_empty()
    }

    /// What nodes wrote down of tries that ended since the last look; the last of them.
    fn ends(&mut self) -> Option<End> {
        let mut last = None;
        for (name, path) in self.unseen_ends() {
            self.seen.insert(name);
            last = atomic::read_document::<End>(&path).ok().or(last);
        }
        last
    }

    /// Passes on what nodes report.
    fn events(&mut self) {
        let Some(tell) = &self.control.events else {
            return;
        };
        for attempt in self.attempts() {
            let path = attempt.join("events.jsonl");
            let Ok(mut file) = File::open(&path) else {
                continue;
            };
            let from = self.read.entry(path).or_default();
            let mut text = Vec::new();
            let read = file
                .seek(SeekFrom::Start(*from))
                .and_then(|_| file.take(EVENTS).read_to_end(&mut text));
            if read.is_err() {
                continue;
            }
            // A line that is not whole yet is read later.
            let Some(end) = text.iter().rposition(|b| *b == b'\n') else {
                continue;
            };
            *from += end as u64 + 1;
            for line in text.get(..end).unwrap_or_default().split(|b| *b == b'\n') {
                if let Ok(event) = serde_json::from_slice::<CallEvent>(line) {
                    tell(&event);
                }
            }
        }
    }
}

/// So many at a time.
struct Gate {
    free: Mutex<usize>,
    changed: Condvar,
}

impl Gate {
    fn new(free: usize) -> Self {
        Self {
            free: Mutex::new(free),
            changed: Condvar::new(),
        }
    }

    fn enter(&self) -> Place<'_> {
        let mut free = lock(&self.free);
        while *free == 0 {
            free = self
                .changed
                .wait(free)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Place(self)
    }
}

struct Place<'g>(&'g Gate);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Came, JobResult};
    use dsperse_jobs::backend::Loaded;
    use dsperse_jobs::schedule::{Bounds as Pool, Task, run_all};
    use dsperse_plugin_api::job::Options;
    use dsperse_plugin_api::{Artefact, Descriptor, SliceInfo};
    use dsperse_plugin_host::{CancelToken, HostOptions};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Has done a job as soon as it gets it.
    #[derive(Default)]
    struct AtOnce(AtomicUsize);

    impl Engine for AtOnce {
        fn name(&self) -> &'static str {
            "at once"
        }
        fn submit(&self, order: &Order) -> std::result::Result<String, String> {
            let turn = self.0.fetch_add(1, Ordering::Relaxed);
            order.record(self.name(), &turn.to_string())?;
            let document = order.dir.document().unwrap();
            let out = order.dir.attempts().join("a1/out");
            fs::create_dir_all(&out).unwrap();
            fs::write(out.join("proof"), document.key.as_bytes()).unwrap();
            let mut artefact = Artefact::new("proof", Role::Verifying, "proof");
            artefact.sha256 = dsperse_documents::digest::sha256_hex(document.key.as_bytes());
            let result = JobResult {
                schema: Default::default(),
                key: document.key,
                dsperse: VERSION.into(),
                backend_version: document.job.backend_version,
                plugin_sha256: document.job.plugin_sha256,
                attempt: "a1".into(),
                host: "h".into(),
                usage: Usage::default(),
                outcome: Came::Done(Done {
                    artefacts: vec![artefact],
                    ..Done::default()
                }),
            };
            order.dir.publish(&result).unwrap();
            Ok(turn.to_string())
        }
        fn state(&self, _: &str) -> State {
            State::Running("n".into())
        }
        fn cancel(&self, _: &str) {}
    }

    /// Sends jobs that are done at once; seconds that it took.
    fn admit_all(jobs: usize) -> f64 {
        let place = tempfile::tempdir().unwrap();
        let store = Store::create(&place.path().join("store")).unwrap();
        let host = PluginHost::discover(HostOptions::with_paths::<PathBuf>(&[]));
        let units = crate::settings::Units {
            size: |_| Err(String::new()),
            duration: |_| Err(String::new()),
        };
        let settings = Settings::read(&toml::Table::new(), place.path(), &units).unwrap();
        let parallel = settings.in_flight;
        let root = store.root().to_path_buf();
        let remote = RemoteExecutor::new(&host, Box::new(AtOnce::default()), store, settings);
        let descriptor = Descriptor::new("a", "1.0.0", "a backend");
        let options = Options::new();
        let backend = Loaded {
            key: "a",
            descriptor: &descriptor,
            digest: "d",
            options: &options,
        };
        let payload = place.path().join("payload");
        fs::write(&payload, b"x").unwrap();
        let sha256 = dsperse_documents::digest::sha256_hex(b"x");
        let mut files = Files::default();
        files.insert(Files::PAYLOAD, &sha256, &payload);
        let began = Instant::now();
        let pool = Pool {
            parallel,
            memory: u64::MAX,
        };
        let cancel = CancelToken::new();
        let done = run_all(&vec![Task::default(); jobs], pool, &cancel, |index| {
            let slice = SliceInfo {
                index,
                model: None,
                sha256: sha256.clone(),
                model_sha256: "m".into(),
                inputs: Vec::new(),
                outputs: Vec::new(),
            };
            let job = Job::new(
                &backend,
                slice,
                Work::Prove {
                    circuit: Vec::new(),
                    witness: Vec::new(),
                    inputs: Vec::new(),
                    outputs: Vec::new(),
                },
            );
            let dir = tempfile::tempdir_in(place.path()).unwrap();
            let control = Control::new(dir.path());
            let outcome = remote.send(&job, &files, &control, None).unwrap();
            assert_eq!(
                fs::read_to_string(dir.path().join("proof")).unwrap(),
                job.key()
            );
            matches!(outcome.result, Ok(Reply::Done(_)))
        });
        assert!(done.into_iter().all(|d| d == Some(true)));
        let seconds = began.elapsed().as_secs_f64();
        drop(remote);
        let left: Vec<_> = ["jobs", "sha256"]
            .into_iter()
            .flat_map(|d| fs::read_dir(root.join(d)).unwrap().flatten())
            .collect();
        assert!(left.is_empty(), "{left:?}");
        seconds
    }

    #[test]
    fn jobs_come_back_and_the_store_is_empty() {
        admit_all(8);
    }

    #[test]
    #[ignore = "prints how many jobs a coordinator admits in a second"]
    fn admission() {
        const JOBS: usize = 2000;
        let seconds = admit_all(JOBS);
        println!("{:.0} jobs a second", JOBS as f64 / seconds);
    }
}
