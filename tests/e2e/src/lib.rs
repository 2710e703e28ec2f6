//! End-to-end tests of the real binary: a place to work in, and a way to call `dsperse`.
//!
//! Every test has a [`Place`] of its own: a temporary directory with a copy of a sample
//! model, an empty home, and exactly the plugins that the test names. Nothing of the
//! machine's own configuration, plugins or tools takes part.

#[cfg(unix)]
pub mod nodes;

use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A directory for one test.
pub struct Place {
    dir: tempfile::TempDir,
    plugins: Vec<PathBuf>,
    cache: PathBuf,
}

/// What a call gave.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; 128 + signal when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// The one JSON document on stdout.
    ///
    /// # Panics
    /// When stdout holds something else.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("stdout is no JSON document ({e}):\n{self:#?}"))
    }

    /// Checks the exit code.
    ///
    /// # Panics
    /// When it is another.
    #[allow(clippy::must_use_candidate, clippy::return_self_not_must_use)]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "\nstdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }
}

/// Random numbers from a seed (SplitMix64): small, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// A number from 0 to 1.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The binary under test.
///
/// # Panics
/// When cargo has not built it.
#[must_use]
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let name = format!("dsperse{}", std::env::consts::EXE_SUFFIX);
    test.ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join(&name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!(
                "\"{name}\" is not beside {}: run \"cargo build --workspace\"",
                test.display()
            )
        })
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// An empty place with the onnx and sumcheck backends.
    #[must_use]
    pub fn new() -> Self {
        Self::with_plugins(&["onnx", "sumcheck"])
    }

    /// An empty place with these backends of the workspace.
    ///
    /// # Panics
    /// When cargo has not built one of them.
    #[must_use]
    pub fn with_plugins(backends: &[&str]) -> Self {
        let plugins = backends
            .iter()
            .map(|b| dsperse_test_support::cdylib(b))
            .collect();
        let dir = tempfile::tempdir().expect("a temporary directory");
        for part in ["home", "temporary"] {
            fs::create_dir(dir.path().join(part)).expect("a directory");
        }
        // Descriptions are the same in every test, so they are cached for all of them; but
        // the crashes of a faulty plugin must not quarantine it in other tests.
        let cache = if backends.contains(&"faulty") {
            dir.path().join("home/cache")
        } else {
            std::env::temp_dir().join("dsperse-e2e-cache")
        };
        Self {
            dir,
            plugins,
            cache,
        }
    }

    /// A place with a copy of a sample model in `model/`.
    #[must_use]
    pub fn of_model(sample: &str) -> Self {
        let place = Self::new();
        place.add_model(sample, "model");
        place
    }

    /// A place with the digits model in `model/`, and the backend `faulty` with these options
    /// (lines of TOML) beside `onnx`.
    ///
    /// # Panics
    /// When the configuration can't be written.
    #[must_use]
    pub fn of_faulty(options: &str) -> Self {
        let place = Self::with_plugins(&["onnx", "faulty"]);
        place.add_model("digits-mlp", "model");
        let text = format!("[backend.faulty]\n{options}\n");
        fs::write(place.path("dsperse.toml"), text).expect("a file");
        place
    }

    /// Copies a sample's `model.onnx` and `input.json` into a directory of this place.
    ///
    /// # Panics
    /// When there is no such sample.
    pub fn add_model(&self, sample: &str, to: &str) {
        let from = dsperse_test_support::repository()
            .join("models")
            .join(sample);
        let to = self.path(to);
        fs::create_dir_all(&to).expect("a directory");
        for file in ["model.onnx", "input.json"] {
            fs::copy(from.join(file), to.join(file)).expect("a sample model");
        }
    }

    /// A path below this place.
    #[must_use]
    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// The command, ready for arguments. It works in this place, with its plugins only.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command.current_dir(self.dir.path());
        for name in [
            "DSPERSE_PLUGINS",
            "DSPERSE_ADD_PLUGINS",
            "RUST_LOG",
            "VIRTUAL_ENV",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
        ] {
            command.env_remove(name);
        }
        command.env("HOME", self.path("home"));
        command.env("XDG_CACHE_HOME", &self.cache);
        command.env("TMPDIR", self.path("temporary"));
        command.env("NO_COLOR", "1");
        command.stdin(Stdio::null());
        for plugin in &self.plugins {
            command.arg("--plugins").arg(plugin);
        }
        command
    }

    /// Calls `dsperse` with these arguments.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn run<I, S>(&self, args: I) -> Ran
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let output = self
            .command()
            .args(args)
            .output()
            .expect("the binary can be started");
        ran(&output)
    }

    /// Calls `dsperse` with arguments that hold no spaces.
    pub fn call(&self, line: &str) -> Ran {
        self.run(line.split_whitespace())
    }

    /// Every regular file below a directory, as sorted paths relative to it.
    ///
    /// # Panics
    /// When it can't be read.
    #[must_use]
    pub fn files(&self, below: &str) -> Vec<String> {
        let root = self.path(below);
        let mut out = Vec::new();
        collect(&root, &root, &mut out);
        out.sort();
        out
    }

    /// Reads a JSON file.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self, path: &str) -> Value {
        let bytes = fs::read(self.path(path)).expect("the file is there");
        serde_json::from_slice(&bytes).expect("the file is JSON")
    }

    /// Changes a JSON file.
    ///
    /// # Panics
    /// When it is none.
    pub fn edit_json(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut value = self.json(path);
        change(&mut value);
        let text = serde_json::to_vec_pretty(&value).expect("a value is JSON");
        fs::write(self.path(path), text).expect("the file can be written");
    }

    /// The newest run of `model/`, relative to this place.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn newest_run(&self) -> String {
        let runs = self.path("model/run");
        let mut names: Vec<String> = fs::read_dir(runs)
            .expect("there are runs")
            .filter_map(|e| e.ok()?.file_name().into_string().ok())
            .filter(|n| n.starts_with("run_"))
            .collect();
        names.sort();
        format!("model/run/{}", names.last().expect("there is a run"))
    }

    /// Text with this place's own path and what changes from call to call taken out.
    #[must_use]
    pub fn stable(&self, text: &str) -> String {
        let here = self.dir.path();
        let real = here.canonicalize().unwrap_or_else(|_| here.to_path_buf());
        text.replace(&real.display().to_string(), "[place]")
            .replace(&here.display().to_string(), "[place]")
    }
}

/// Copies a directory with all that is below it.
///
/// # Panics
/// When that can't be done.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory").flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

fn collect(root: &Path, dir: &Path, out: &mut Vec<String>) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, out);
        } else if let Ok(relative) = path.strip_prefix(root) {
            out.push(relative.to_string_lossy().into_owned());
        }
    }
}

/// What a finished process gave.
#[must_use]
pub fn ran(output: &Output) -> Ran {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    #[cfg(not(unix))]
    let signal: Option<i32> = None;
    Ran {
        code: output
            .status
            .code()
            .or(signal.map(|s| 128 + s))
            .unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
