//! Finding and driving the two programs inside the JSTprove package: the circuit builder
//! (`onnx_generic_circuit_2-1-0`) and the prover (`expander-exec`). They run without
//! Python, in a clean environment in which OpenMPI starts no helper process.

use dsperse_plugin_api::{Cx, Error, ErrorKind, Result, tool};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version of JSTprove whose files and programs this plugin knows.
pub const VERSION: &str = "2.1.0";

/// What to type when the programs are missing.
pub const INSTALL_HINT: &str = "pip install --no-deps jstprove==2.1.0 (in any Python environment; or scripts/install-backends.sh jstprove)";

/// What to type when OpenMPI is missing.
const MPI_HINT: &str = "install OpenMPI's library, on Debian: apt install libopenmpi3";

/// What the user must know before using JSTprove.
pub const LICENCE_NOTE: &str = "JSTprove is source-available and its licence grants no rights of use: check that you have the owner's permission";

/// The prefix of the circuit builder's file name; the version follows with `-`.
const BUILDER_PREFIX: &str = "onnx_generic_circuit_";
const PROVER: &str = "expander-exec";

/// The two programs.
#[derive(Debug, Clone, PartialEq)]
pub struct Programs {
    builder: PathBuf,
    prover: PathBuf,
    /// The version in the builder's file name.
    pub version: String,
}

impl Programs {
    /// Looks in the configured directory, in the Python environments that are known
    /// (`VIRTUAL_ENV`, a `.venv` here or above, the one that `jst` on `PATH` belongs to)
    /// and on `PATH`.
    ///
    /// # Errors
    /// `tool_missing` with what to type.
    pub fn find(options: &Map<String, Value>) -> Result<Self> {
        let configured = options.get("programs").and_then(Value::as_str);
        let places = match configured {
            Some(dir) => vec![PathBuf::from(dir)],
            None => places(),
        };
        let found = places.iter().find_map(|dir| Self::in_directory(dir));
        let Some(programs) = found else {
            let place = configured.map_or_else(
                || "in VIRTUAL_ENV, a .venv directory or on PATH".to_owned(),
                |dir| format!("in \"{dir}\""),
            );
            return Err(Error::tool_missing(
                "jstprove",
                format!("the programs of JSTprove {VERSION} are not {place}"),
            )
            .versions(VERSION, None)
            .with_hint(INSTALL_HINT));
        };
        if programs.version != VERSION {
            return Err(Error::tool_missing(
                "jstprove",
                format!(
                    "JSTprove {} is at \"{}\", expected {VERSION}",
                    programs.version,
                    programs.builder.display()
                ),
            )
            .versions(VERSION, Some(programs.version))
            .with_hint(INSTALL_HINT));
        }
        Ok(programs)
    }

    /// The programs of a directory: they lie there side by side.
    fn in_directory(dir: &Path) -> Option<Self> {
        let prover = dir.join(PROVER);
        if !prover.is_file() {
            return None;
        }
        let mut builders: Vec<(String, PathBuf)> = std::fs::read_dir(dir)
            .ok()?
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let version = path.file_name()?.to_str()?.strip_prefix(BUILDER_PREFIX)?;
                Some((version.replace('-', "."), path))
            })
            .collect();
        // The wanted version first, should several lie there.
        builders.sort_by_key(|(version, _)| version != VERSION);
        let (version, builder) = builders.into_iter().next()?;
        Some(Self {
            builder,
            prover,
            version,
        })
    }

    /// Starts both programs once, which shows whether their libraries are there.
    ///
    /// # Errors
    /// `tool_missing` with what to type.
    pub fn check(&self, cx: &Cx) -> Result<()> {
        for program in [&self.builder, &self.prover] {
            let out = tool::run(self.command(program, cx).arg("--help"), cx)?;
            if !out.status.success() {
                return Err(failure(program, &out));
            }
        }
        Ok(())
    }

    /// The circuit builder's path.
    pub fn builder(&self) -> &Path {
        &self.builder
    }

    /// The prover's path.
    pub fn prover(&self) -> &Path {
        &self.prover
    }

    /// Builds a circuit: `circuit.txt` and `circuit_witness_solver.txt` from `meta.json`,
    /// `arch.json` and `wandb.json`, all in `dir`.
    ///
    /// # Errors
    /// As those of [`crate::tools::Tools`].
    pub fn compile(&self, dir: &Path, cx: &Cx) -> Result<()> {
        let mut command = self.command(&self.builder, cx);
        let files = [
            CIRCUIT,
            ("-m", "meta.json"),
            ("-a", "arch.json"),
            ("-b", "wandb.json"),
        ];
        let command = with_files(command.arg("run_compile_circuit"), dir, &files);
        succeed(command, cx, |out| failure(&self.builder, out))
    }

    /// Makes `witness.bin` from `ints.json` and the expected `output.json`.
    ///
    /// # Errors
    /// As those of [`crate::tools::Tools`].
    pub fn witness(&self, dir: &Path, cx: &Cx) -> Result<()> {
        let mut command = self.command(&self.builder, cx);
        let files = [
            CIRCUIT,
            ("-i", "ints.json"),
            ("-o", "output.json"),
            WITNESS,
            ("-m", "meta.json"),
        ];
        let command = with_files(command.arg("run_gen_witness"), dir, &files);
        succeed(command, cx, |out| failure(&self.builder, out))
    }

    /// Makes `proof` from `circuit.txt` and `witness.bin`. The program does not look
    /// whether the witness satisfies the circuit.
    ///
    /// # Errors
    /// As those of [`crate::tools::Tools`].
    pub fn prove(&self, dir: &Path, proof: &Path, cx: &Cx) -> Result<()> {
        let mut command = self.command(&self.prover, cx);
        command.args(["-p", "Hyrax", "prove"]);
        with_files(&mut command, dir, &[CIRCUIT, WITNESS]);
        succeed(command.arg("-o").arg(proof), cx, |out| {
            failure(&self.prover, out)
        })
    }

    /// Lets the program judge a proof; `Ok(Err(reason))` when it rejects. This is not the
    /// whole verdict: see [`crate::files::check_proof`].
    ///
    /// # Errors
    /// When the program could not judge: missing library, killed, no memory or disk.
    pub fn verify(
        &self,
        dir: &Path,
        proof: &Path,
        cx: &Cx,
    ) -> Result<std::result::Result<(), String>> {
        let mut command = self.command(&self.prover, cx);
        command.args(["-p", "Hyrax", "verify"]);
        with_files(&mut command, dir, &[CIRCUIT, WITNESS]);
        let out = tool::run(command.arg("-i").arg(proof), cx)?;
        judged(&out, || failure(&self.prover, &out))
    }

    fn command(&self, program: &Path, cx: &Cx) -> Command {
        let mut command = Command::new(program);
        environment(&mut command, cx);
        command
    }
}

/// The circuit's file and its flag, the same for every tool.
pub(crate) const CIRCUIT: (&str, &str) = ("-c", "circuit.txt");
/// The witness's.
pub(crate) const WITNESS: (&str, &str) = ("-w", "witness.bin");

/// Adds files of the directory, each behind its flag.
pub(crate) fn with_files<'a>(
    command: &'a mut Command,
    dir: &Path,
    files: &[(&str, &str)],
) -> &'a mut Command {
    for (flag, name) in files {
        command.arg(flag).arg(dir.join(name));
    }
    command
}

/// A clean environment, in which OpenMPI starts no helper process and nothing is written
/// outside the job's directory.
pub(crate) fn environment(command: &mut Command, cx: &Cx) {
    command
        .env_clear()
        .env("OMPI_MCA_ess_singleton_isolated", "1")
        .env("OMPI_MCA_btl", "self")
        .env("OMPI_MCA_pml", "ob1")
        .env("RAYON_NUM_THREADS", cx.threads().to_string())
        .env("HOME", cx.dir())
        .env("TMPDIR", cx.dir())
        .current_dir(cx.dir());
    for key in ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"] {
        if let Some(value) = std::env::var_os(key) {
            command.env(key, value);
        }
    }
}

/// Runs a command that must succeed.
pub(crate) fn succeed(
    command: &mut Command,
    cx: &Cx,
    failure: impl FnOnce(&tool::Output) -> Error,
) -> Result<()> {
    let out = tool::run(command, cx)?;
    if out.status.success() {
        Ok(())
    } else {
        Err(failure(&out))
    }
}

/// What a verifying program said: exit status and text must both be good.
pub(crate) fn judged(
    out: &tool::Output,
    failure: impl FnOnce() -> Error,
) -> Result<std::result::Result<(), String>> {
    if out.status.success() {
        return Ok(if out.stdout.lines().any(|l| l.trim() == "success") {
            Ok(())
        } else {
            Err("the verifying program did not say \"success\"".into())
        });
    }
    match failure() {
        e if e.kind == ErrorKind::Internal => Ok(Err(format!(
            "the verifying program rejects the proof ({}): {}",
            out.ending(),
            out.last_words()
        ))),
        e => Err(e),
    }
}

/// What a failed program means for the host: a missing library is a missing tool, a kill
/// or a full disk is a lack of resources, and everything else (it panics with exit code
/// 101) is a fault inside the tool, for which the next backend is tried.
pub(crate) fn failure(program: &Path, out: &tool::Output) -> Error {
    let text = format!("{}\n{}", out.stdout, out.stderr);
    let message = format!(
        "\"{}\" ended with {}: {}",
        program.file_name().unwrap_or_default().to_string_lossy(),
        out.ending(),
        out.last_words()
    );
    if text.contains("error while loading shared libraries") {
        return Error::tool_missing("libmpi", message).with_hint(MPI_HINT);
    }
    let lacking = [
        "No space left",
        "memory allocation of",
        "Cannot allocate memory",
        "os error 28",
        "os error 12",
    ];
    if out.ending() == "signal 9" || lacking.iter().any(|l| text.contains(l)) {
        return Error::resource(message);
    }
    Error::internal(message)
}

/// Directories in which the programs may lie.
fn places() -> Vec<PathBuf> {
    let packages = tool::python_environments("jst")
        .into_iter()
        .flat_map(|e| tool::site_packages(&e))
        .map(|p| p.join("python/core/binaries"));
    packages.chain(tool::search_path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_file_name() {
        let dir = tempfile::tempdir().unwrap();
        let touch = |name: &str| std::fs::write(dir.path().join(name), "").unwrap();
        let options = Map::from_iter([("programs".to_owned(), dir.path().to_str().into())]);
        let e = Programs::find(&options).unwrap_err();
        assert!(e.hint.unwrap().contains("pip install"), "{}", e.message);
        touch(PROVER);
        touch("onnx_generic_circuit_1-9-0");
        let e = Programs::find(&options).unwrap_err();
        assert_eq!(e.tool.unwrap().found.as_deref(), Some("1.9.0"));
        touch("onnx_generic_circuit_2-1-0");
        assert_eq!(Programs::find(&options).unwrap().version, "2.1.0");
    }
}
