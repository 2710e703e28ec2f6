//! What the tests of this crate share: a host with the crate's own worker program, jobs,
//! and proof that nothing is left behind.
#![allow(dead_code)] // each test program uses its own part

use dsperse_plugin_api::job::Options;
use dsperse_plugin_api::{CompileJob, Encoding, SliceInfo, TensorInfo, WitnessJob};
use dsperse_plugin_host::{CallEvent, CallOutcome, Control, HostOptions, PluginHost, Request};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Tests that count processes or descriptors run one after the other.
pub fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Options for the given places, with this crate's worker program.
pub fn options<P: AsRef<Path>>(paths: &[P]) -> HostOptions {
    let mut options = HostOptions::with_paths(paths);
    options.worker_program = Some(PathBuf::from(env!("CARGO_BIN_EXE_dsperse-plugin-worker")));
    options.policy.cancel_grace = Duration::from_millis(300);
    options.policy.crashes_to_quarantine = u32::MAX;
    options
}

/// A host with the faulty backend.
pub fn faulty() -> PluginHost {
    let host = PluginHost::discover(options(&[dsperse_test_support::cdylib("faulty")]));
    assert!(host.get("faulty").is_some(), "{:?}", host.skipped());
    host
}

/// One of this crate's two plugins behind the abi_stable door.
pub fn stable(which: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let path = profile.join(format!("examples/libstable_{which}.so"));
    assert!(
        path.is_file(),
        "{path:?} is not built: cargo test without --test does"
    );
    path
}

pub fn fault(name: &str, at: &str, more: &[(&str, serde_json::Value)]) -> Options {
    let mut options = Options::new();
    options.insert("fault".into(), name.into());
    options.insert("at".into(), at.into());
    for (key, value) in more {
        options.insert((*key).into(), value.clone());
    }
    options
}

pub fn slice() -> SliceInfo {
    let tensor = |name: &str| TensorInfo {
        name: name.into(),
        encoding: Encoding::F32,
        shape: vec![1, 3],
    };
    SliceInfo {
        index: 0,
        model: None,
        sha256: "00".repeat(32),
        model_sha256: "11".repeat(32),
        inputs: vec![tensor("x")],
        outputs: vec![tensor("y")],
    }
}

pub fn compile(options: Options) -> Request {
    Request::Compile(CompileJob {
        slice: slice(),
        calibration: Vec::new(),
        calibration_outputs: Vec::new(),
        options,
    })
}

pub fn witness(options: Options) -> Request {
    Request::Witness(WitnessJob {
        slice: slice(),
        circuit: Vec::new(),
        inputs: Vec::new(),
        options,
    })
}

/// A call in a directory of its own, with the events it sent.
pub struct Called {
    pub outcome: CallOutcome,
    pub events: Vec<CallEvent>,
    pub dir: tempfile::TempDir,
}

pub fn call(
    host: &PluginHost,
    name: &str,
    request: Request,
    change: impl FnOnce(&mut Control),
) -> Called {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Control::new(dir.path());
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    options.events = Some(Arc::new(move |event: &CallEvent| {
        sink.lock().unwrap().push(event.clone());
    }));
    change(&mut options);
    let outcome = host.call(name, request, options);
    let events = events.lock().unwrap().clone();
    Called {
        outcome,
        events,
        dir,
    }
}

/// Open descriptors of this process.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Workers (their supervisors, or zombies of them) of this process.
pub fn workers() -> Vec<u32> {
    children(std::process::id())
        .into_iter()
        .filter(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|comm| comm.starts_with("dsperse"))
        })
        .collect()
}

pub fn children(of: u32) -> Vec<u32> {
    processes().filter(|pid| parent(*pid) == Some(of)).collect()
}

/// Whether a process is there and not a zombie.
pub fn is_running(pid: u32) -> bool {
    stat_field(pid, 0).is_some_and(|state| state != "Z")
}

/// Processes that carry `DSPERSE_TEST_MARKER=<marker>` in their environment.
pub fn marked(marker: &str) -> usize {
    let entry = format!("DSPERSE_TEST_MARKER={marker}");
    processes()
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|env| env.split(|b| *b == 0).any(|e| e == entry.as_bytes()))
        })
        .count()
}

fn processes() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent(pid: u32) -> Option<u32> {
    stat_field(pid, 1)?.parse().ok()
}

fn stat_field(pid: u32, index: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(index).map(str::to_owned)
}

/// Waits until something holds, at most ten seconds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} does not come true");
        std::thread::sleep(Duration::from_millis(5));
    }
}
