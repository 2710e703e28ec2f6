//! SIGKILL at random moments: the next command completes, its result equals that of an
//! undisturbed command, and no file is half-written.
//!
//! Each test measures how long its command takes, kills it at moments drawn uniformly from
//! that length, looks at the files, and types the same command again. Only the command's
//! own process is killed, as `kill -9` does; its workers have to end by themselves.
//!
//! A failure names its seed: `DSPERSE_KILL_SEED=<seed>` draws the same moments again, as
//! fractions of the length.

use dsperse_e2e::{Place, Random, copy};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Kills of `compile` on directories and on a bundle, of `run`, and of `prove`.
const COMPILE_DIRS: usize = 9;
const COMPILE_BUNDLE: usize = 8;
const RUN: usize = 17;
const PROVE: usize = 17;
const _: () = assert!(COMPILE_DIRS + COMPILE_BUNDLE + RUN + PROVE >= 50);
/// What the three don't do: slicing, and going from one stage to the next.
const FULL_RUN: usize = 5;

#[test]
fn compile_is_killed() {
    let place = place();
    place
        .call("slice -m before --strategy layer --output-type dirs")
        .exits(0);
    Killing::new(&place, "compile -s model").at(COMPILE_DIRS, |_| {});
}

#[test]
fn compile_of_a_bundle_is_killed() {
    let place = place();
    place
        .call("slice -m before --strategy layer --output-type dsperse")
        .exits(0);
    Killing::new(&place, "compile -s model").at(COMPILE_BUNDLE, |_| {});
}

#[test]
fn run_is_killed() {
    let place = place();
    place
        .call("slice -m before --strategy layer --output-type dirs")
        .exits(0);
    place.call("compile -s before").exits(0);
    Killing::new(&place, "run -s model -o model/output.json").at(RUN, |_| {});
}

#[test]
fn prove_is_killed() {
    let place = place();
    place
        .call("slice -m before --strategy layer --output-type dirs")
        .exits(0);
    place.call("compile -s before").exits(0);
    place.call("run -s before").exits(0);
    Killing::new(&place, "prove --run-dir model/run").at(PROVE, |context| {
        all_proven(&place, context);
    });
}

#[test]
fn full_run_is_killed() {
    let place = place();
    Killing::new(&place, "full-run -m model --strategy layer").at(FULL_RUN, |context| {
        all_proven(&place, context);
    });
}

/// A model in `before`, which becomes the state before the command.
fn place() -> Place {
    let place = Place::new();
    place.add_model("lenet", "before");
    place
}

fn all_proven(place: &Place, context: &str) {
    let ran = place.call("verify --run-dir model/run --require proven --json");
    assert_eq!(ran.code, 0, "{context}\n{ran:#?}");
    assert_eq!(
        ran.json()["counts"]["proven"],
        5,
        "{context}\n{}",
        ran.stdout
    );
}

/// A command and what it makes of `before`.
struct Killing<'a> {
    place: &'a Place,
    command: &'a str,
    before: Tree,
    expected: Tree,
    length: Duration,
    seed: u64,
}

impl<'a> Killing<'a> {
    /// Lets the command run undisturbed.
    fn new(place: &'a Place, command: &'a str) -> Self {
        let seed = match std::env::var("DSPERSE_KILL_SEED") {
            Ok(text) => text.parse().expect("DSPERSE_KILL_SEED is a number"),
            Err(_) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                now.expect("a clock after 1970").as_micros() as u64
            }
        };
        reset(place);
        let began = Instant::now();
        place.call(command).exits(0);
        let length = began.elapsed();
        let [expected] = <[Tree; 1]>::try_from(trees(place)).expect("one run at most");
        reset(place);
        let before = trees(place).remove(0);
        Self {
            place,
            command,
            before,
            expected,
            length,
            seed,
        }
    }

    /// Kills the command `kills` times; `then` looks at each result.
    fn at(mut self, kills: usize, then: impl Fn(&str)) {
        let mut random = Random(self.seed);
        for kill in 1..=kills {
            let fraction = random.fraction();
            let moment = self.kill(fraction);
            let context = format!(
                "\"{}\", kill {kill} of {kills}, after {moment:?} of {:?}; DSPERSE_KILL_SEED={}",
                self.command, self.length, self.seed
            );
            self.nothing_is_half_written(&context);
            let again = self.place.call(self.command);
            assert_eq!(again.code, 0, "{context}\n{again:#?}");
            self.nobody_is_left(&context);
            let mut trees = trees(self.place);
            let newest = trees.pop().expect("a tree");
            // A run whose chain was complete when its command died stays beside the next one,
            // with or without its proofs.
            for mut earlier in trees {
                earlier.retain(|_, content| !matches!(content, Content::Json(_)));
                nothing_else(&earlier, &self.expected, &context);
            }
            nothing_else(&newest, &self.expected, &context);
            nothing_else(&self.expected, &newest, &context);
            then(&context);
        }
    }

    /// Starts from `before` and kills at this fraction of the command's length. When the
    /// command was quicker this time, once more and earlier: what ended was not killed.
    fn kill(&mut self, fraction: f64) -> Duration {
        for miss in 0..100 {
            reset(self.place);
            let moment = self.length.mul_f64(fraction * 0.97f64.powi(miss));
            let began = Instant::now();
            let mut child = self
                .place
                .command()
                .args(self.command.split(' '))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the binary can be started");
            while began.elapsed() < moment && matches!(child.try_wait(), Ok(None)) {
                let left = moment.saturating_sub(began.elapsed());
                std::thread::sleep(left.min(Duration::from_millis(2)));
            }
            // A process that has ended is not waited for yet, so the number is still its own.
            let _ = child.kill();
            let status = child.wait().expect("it ends");
            if status.signal() == Some(9) {
                return moment;
            }
            assert!(status.success(), "undisturbed it ends with {status}");
            self.length = began.elapsed();
        }
        panic!("\"{}\" is over before it can be killed", self.command);
    }

    /// Whatever has its final name is old or new as a whole; what is on its way there has a
    /// name that begins with a dot.
    fn nothing_is_half_written(&self, context: &str) {
        for (name, path) in files(self.place) {
            if name.split('/').any(|part| part.starts_with('.')) {
                continue;
            }
            if let Some(content) = Content::read(&path, &name) {
                let known = [&self.before, &self.expected].map(|tree| tree.get(&run_free(&name)));
                // Documents grow from step to step; that they are whole is that they parse.
                let whole = matches!(content, Content::Json(_))
                    || known.contains(&Some(&content))
                    || name.ends_with(".dsperse") && self.opens(&name);
                assert!(whole, "{context}: \"{name}\" is neither old nor new");
            } else {
                panic!("{context}: \"{name}\" is half a document");
            }
        }
    }

    fn opens(&self, bundle: &str) -> bool {
        dsperse_store::SliceStore::open(
            &self.place.path("model").join(bundle),
            dsperse_store::Access::Read,
        )
        .is_ok_and(|store| store.indices() == [0, 1, 2, 3, 4])
    }

    /// Waits until no process works in the place any more: the killed command's workers end
    /// without being asked to.
    fn nobody_is_left(&self, context: &str) {
        let place = self.place.path("home");
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let left = processes_of(&place);
            if left.is_empty() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{context}: processes are left: {left:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Processes that were started for the place, which their environment names, where the
/// system tells (Linux).
fn processes_of(place: &Path) -> Vec<String> {
    let place = place.to_str().expect("a path in UTF-8").as_bytes();
    let Ok(all) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    all.flatten()
        .filter(|p| {
            fs::read(p.path().join("environ"))
                .is_ok_and(|environ| environ.windows(place.len()).any(|w| w == place))
        })
        .map(|p| p.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Makes `model` what `before` is.
fn reset(place: &Place) {
    let (from, to) = (place.path("before"), place.path("model"));
    if to.exists() {
        fs::remove_dir_all(&to).expect("the last result can be removed");
    }
    copy(&from, &to);
}

/// Files by name, times and figures left out.
type Tree = BTreeMap<String, Content>;

#[derive(Debug, Clone, PartialEq)]
enum Content {
    /// Lock files name their last holder.
    Lock,
    Json(Value),
    Bytes(Vec<u8>),
}

impl Content {
    /// `None` when a document does not parse.
    fn read(path: &Path, name: &str) -> Option<Self> {
        if name.ends_with(".lock") {
            return Some(Self::Lock);
        }
        let bytes = fs::read(path).expect("a file that is there can be read");
        if name.ends_with(".json") {
            let mut value = serde_json::from_slice(&bytes).ok()?;
            unmeasured(&mut value);
            return Some(Self::Json(value));
        }
        Some(Self::Bytes(bytes))
    }
}

/// Takes out what differs from one undisturbed command to the next.
fn unmeasured(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for key in [
                "seconds",
                "cpu_seconds",
                "peak_bytes",
                "started",
                "started_at",
            ] {
                map.remove(key);
            }
            map.values_mut().for_each(unmeasured);
        }
        Value::Array(items) => items.iter_mut().for_each(unmeasured),
        _ => {}
    }
}

/// Files below `model`, by name.
fn files(place: &Place) -> Vec<(String, std::path::PathBuf)> {
    let root = place.path("model");
    let names = place.files("model").into_iter();
    names.map(|n| (n.clone(), root.join(n))).collect()
}

/// The run that a file is of.
fn run_of(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("run/")?;
    let entry = rest.split('/').next()?;
    let entry = entry.strip_prefix('.').unwrap_or(entry);
    let run = entry.strip_suffix(".lock").unwrap_or(entry);
    run.strip_prefix("run_").map(|_| run)
}

/// The name without the time in the name of its run.
fn run_free(name: &str) -> String {
    run_of(name).map_or_else(|| name.to_owned(), |run| name.replace(run, "run_X"))
}

/// What is in `model`: one tree for each run, with all that belongs to no run.
fn trees(place: &Place) -> Vec<Tree> {
    let mut common = Tree::new();
    let mut runs: BTreeMap<String, Tree> = BTreeMap::new();
    for (name, path) in files(place) {
        let tree = match run_of(&name) {
            Some(run) => runs.entry(run.to_owned()).or_default(),
            None => &mut common,
        };
        if name.ends_with(".dsperse") {
            tree.extend(unpacked(place, &path));
        } else {
            let content = Content::read(&path, &name);
            tree.insert(run_free(&name), content.expect("a document that parses"));
        }
    }
    if runs.is_empty() {
        runs.insert(String::new(), Tree::new());
    }
    let with_common = |mut tree: Tree| {
        tree.extend(common.clone());
        tree
    };
    runs.into_values().map(with_common).collect()
}

/// The files of a bundle, whose own bytes hold measured times.
fn unpacked(place: &Place, bundle: &Path) -> Tree {
    let to = place.path("unpacked");
    let options = dsperse_store::ConvertOptions {
        expand_slices: true,
        output: Some(to.clone()),
        cleanup: Some(false),
        ..Default::default()
    };
    dsperse_store::convert(bundle, &options, dsperse_store::Limits::default())
        .expect("the bundle is whole");
    let read = |name: String| {
        let content = Content::read(&to.join(&name), &name).expect("a document that parses");
        (format!("slices.dsperse/{name}"), content)
    };
    let files = place.files("unpacked").into_iter();
    let tree = files
        .filter(|f| !f.ends_with(".dslice"))
        .map(read)
        .collect();
    fs::remove_dir_all(&to).expect("it can be removed");
    tree
}

/// Whether everything in one tree is the same in the other.
fn nothing_else(tree: &Tree, other: &Tree, context: &str) {
    for (name, content) in tree {
        match (content, other.get(name)) {
            (_, None) => panic!("{context}: \"{name}\" is in one tree only"),
            (Content::Json(a), Some(Content::Json(b))) => {
                assert_eq!(a, b, "{context}: \"{name}\"");
            }
            (a, Some(b)) => assert!(a == b, "{context}: \"{name}\" differs"),
        }
    }
}
