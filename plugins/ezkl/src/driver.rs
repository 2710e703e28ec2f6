//! Finding a Python that has the `ezkl` module, and running one operation of it in a
//! process of its own through `driver.py`.

use dsperse_plugin_api::{Cx, Error, Result, tool};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Versions of EZKL whose behaviour this plugin knows.
pub const VERSION: &str = "=23.0.5";

/// What to type when EZKL is missing.
pub const INSTALL_HINT: &str =
    "pip install ezkl==23.0.5 (in any Python environment; or scripts/install-backends.sh ezkl)";

/// What the user must know before using EZKL.
pub const LICENCE_NOTE: &str =
    "EZKL publishes no open licence: check that your use of it is permitted";

const SCRIPT: &str = include_str!("driver.py");

/// A Python with the `ezkl` module.
#[derive(Debug, Clone, PartialEq)]
pub struct Ezkl {
    python: PathBuf,
}

/// What the driver writes: a result, an error of EZKL, or why the module is not there.
#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    result: Value,
    error: Option<String>,
    missing: Option<String>,
}

impl Ezkl {
    /// Looks for a Python with the module: the configured one, the environments that are
    /// known (`VIRTUAL_ENV`, a `.venv` here or above), and those on `PATH`.
    ///
    /// # Errors
    /// `tool_missing` with what to type.
    pub fn find(options: &Map<String, Value>) -> Result<Self> {
        let missing = |message: String| {
            Error::tool_missing("ezkl", message)
                .versions(VERSION, None)
                .with_hint(INSTALL_HINT)
        };
        if let Some(python) = options.get("python").and_then(Value::as_str) {
            let python = PathBuf::from(python);
            return if python.is_file() {
                Ok(Self { python })
            } else {
                Err(missing(format!(
                    "the configured Python \"{}\" does not exist",
                    python.display()
                )))
            };
        }
        tool::python_environments("python3")
            .into_iter()
            .find(|e| {
                tool::site_packages(e)
                    .iter()
                    .any(|p| p.join("ezkl").is_dir())
            })
            .map(|e| Self {
                python: e.join("bin/python3"),
            })
            .ok_or_else(|| missing("no Python with the module \"ezkl\" is found".into()))
    }

    /// The Python's path.
    pub fn python(&self) -> &Path {
        &self.python
    }

    /// The installed version.
    ///
    /// # Errors
    /// `tool_missing` when the module can't be imported.
    pub fn version(&self, cx: &Cx) -> Result<String> {
        match self.run("version", json!({}), cx)? {
            Ok(Value::String(version)) => Ok(version),
            other => Err(Error::internal(format!(
                "EZKL's version can't be read: {other:?}"
            ))),
        }
    }

    /// Checks the installed version.
    ///
    /// # Errors
    /// `tool_missing` with both versions.
    pub fn check(&self, cx: &Cx) -> Result<()> {
        let found = self.version(cx)?;
        if format!("={found}") == VERSION {
            return Ok(());
        }
        Err(Error::tool_missing(
            "ezkl",
            format!(
                "EZKL {found} is at \"{}\", expected {}",
                self.python.display(),
                VERSION.trim_start_matches('=')
            ),
        )
        .versions(VERSION, Some(found))
        .with_hint(INSTALL_HINT))
    }

    /// Runs one operation; `Ok(Err(text))` when EZKL refused or failed inside.
    ///
    /// # Errors
    /// When no answer came: module missing, killed, no memory or disk, cancelled.
    pub fn run(
        &self,
        op: &str,
        mut request: Value,
        cx: &Cx,
    ) -> Result<std::result::Result<Value, String>> {
        let dir = cx.dir().join("driver");
        std::fs::create_dir_all(&dir)?;
        let (script, input, output) = (
            dir.join("driver.py"),
            dir.join("request.json"),
            dir.join("reply.json"),
        );
        if let Some(map) = request.as_object_mut() {
            map.insert("op".into(), op.into());
        }
        std::fs::write(&script, SCRIPT)?;
        std::fs::write(&input, request.to_string())?;
        let mut command = Command::new(&self.python);
        command
            .env_clear()
            // EZKL keeps files below these; nothing of the user's may be touched.
            .env("HOME", &dir)
            .env("EZKL_REPO_PATH", &dir)
            .env("TMPDIR", &dir)
            .env("RAYON_NUM_THREADS", cx.threads().to_string())
            .arg("-I")
            .arg(&script)
            .arg(&input)
            .arg(&output)
            .current_dir(&dir);
        for key in ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"] {
            if let Some(value) = std::env::var_os(key) {
                command.env(key, value);
            }
        }
        let out = tool::run(&mut command, cx)?;
        let reply: Option<Reply> = std::fs::read(&output)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        std::fs::remove_dir_all(&dir)?;
        let Some(reply) = reply.filter(|_| out.status.success()) else {
            let message = format!(
                "EZKL's \"{op}\" ended with {}: {}",
                out.ending(),
                out.last_words()
            );
            return Err(if is_shortage(&message) || out.ending() == "signal 9" {
                Error::resource(message)
            } else {
                Error::internal(message)
            });
        };
        if let Some(why) = reply.missing {
            return Err(Error::tool_missing(
                "ezkl",
                format!(
                    "\"{}\" can't import the module \"ezkl\": {why}",
                    self.python.display()
                ),
            )
            .versions(VERSION, None)
            .with_hint(INSTALL_HINT));
        }
        match reply.error {
            Some(e) if is_shortage(&e) => {
                Err(Error::resource(format!("EZKL's \"{op}\" failed: {e}")))
            }
            Some(e) => Ok(Err(e)),
            None => Ok(Ok(reply.result)),
        }
    }

    /// Runs an operation that must succeed.
    ///
    /// # Errors
    /// As [`Ezkl::run`]; a refusal of EZKL is `internal`.
    pub fn must(&self, op: &str, request: Value, cx: &Cx) -> Result<()> {
        match self.run(op, request, cx)? {
            Ok(Value::Bool(false)) => {
                Err(Error::internal(format!("EZKL's \"{op}\" reports failure")))
            }
            Ok(_) => Ok(()),
            Err(e) => Err(Error::internal(format!("EZKL's \"{op}\" failed: {e}"))),
        }
    }
}

fn is_shortage(text: &str) -> bool {
    [
        "No space left",
        "memory allocation of",
        "Cannot allocate memory",
        "MemoryError",
        "os error 28",
        "os error 12",
    ]
    .iter()
    .any(|s| text.contains(s))
}
