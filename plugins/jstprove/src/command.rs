//! The `jst` command as second choice, where the programs inside the package are not found
//! but the command is: a wrapper or a container. Each call costs the start of its Python.
//!
//! It is given the slice as ONNX in explicit form and the inputs as integers, which it
//! takes as they are; what it makes are the same circuit, witness and proof files as those
//! of the programs, and the plugin checks them in the same way.

use crate::programs::{
    CIRCUIT, INSTALL_HINT, VERSION, WITNESS, environment, failure, succeed, with_files,
};
use dsperse_plugin_api::{Cx, Error, ErrorKind, Result, tool};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file that `jst` makes besides the programs' and wants again for a witness.
pub const QUANTISED: &str = "circuit_quantized_model.onnx";

/// The `jst` command.
#[derive(Debug, Clone, PartialEq)]
pub struct Jst {
    program: PathBuf,
}

impl Jst {
    /// Looks where the option `jst` says, or on `PATH`.
    ///
    /// # Errors
    /// `tool_missing` with what to type.
    pub fn find(options: &Map<String, Value>) -> Result<Self> {
        let configured = options
            .get("jst")
            .and_then(Value::as_str)
            .map(PathBuf::from);
        let candidates = match configured {
            Some(program) => vec![program],
            None => tool::search_path().iter().map(|d| d.join("jst")).collect(),
        };
        let found = candidates.iter().find(|p| p.is_file());
        found.map(|p| Self { program: p.clone() }).ok_or_else(|| {
            let place = match candidates.as_slice() {
                [one] => format!("\"{}\" is not there", one.display()),
                _ => "the command \"jst\" is not on PATH".to_owned(),
            };
            Error::tool_missing("jstprove", place)
                .versions(VERSION, None)
                .with_hint(INSTALL_HINT)
        })
    }

    /// The command's path.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Starts the command once. It does not tell its version: the circuits' metadata do.
    ///
    /// # Errors
    /// `tool_missing` with what to type.
    pub fn check(&self, cx: &Cx) -> Result<()> {
        let out = tool::run(self.command("--help", cx).current_dir(cx.dir()), cx)?;
        if out.status.success() {
            Ok(())
        } else {
            Err(self.failure(&out))
        }
    }

    /// Makes `circuit.txt`, `circuit_witness_solver.txt` and [`QUANTISED`] from
    /// `model.onnx`, all in `dir`.
    ///
    /// # Errors
    /// As those of [`crate::tools::Tools`]; `tool_missing` for another version than the plugin knows.
    pub fn compile(&self, dir: &Path, cx: &Cx) -> Result<()> {
        let mut command = self.command("compile", cx);
        with_files(&mut command, dir, &[("-m", "model.onnx"), CIRCUIT]);
        self.succeed(&mut command, cx)?;
        let metadata = std::fs::read(dir.join("circuit_metadata.json"))?;
        let version = serde_json::from_slice::<Value>(&metadata)
            .ok()
            .and_then(|m| m.get("version")?.as_str().map(str::to_owned));
        if version.as_deref() == Some(VERSION) {
            return Ok(());
        }
        let found = version.unwrap_or_else(|| "of unknown version".to_owned());
        Err(Error::tool_missing(
            "jstprove",
            format!(
                "\"{}\" is JSTprove {found}, expected {VERSION}",
                self.program.display()
            ),
        )
        .versions(VERSION, Some(found))
        .with_hint(INSTALL_HINT))
    }

    /// Makes `witness.bin` from `ints.json`.
    ///
    /// # Errors
    /// As those of [`crate::tools::Tools`].
    pub fn witness(&self, dir: &Path, cx: &Cx) -> Result<()> {
        // The command knows this file by another name than the programs.
        std::fs::copy(dir.join("meta.json"), dir.join("circuit_metadata.json"))?;
        let mut command = self.command("witness", cx);
        let files = [
            CIRCUIT,
            ("-i", "ints.json"),
            ("-o", "jst_output.json"),
            WITNESS,
        ];
        self.succeed(with_files(&mut command, dir, &files), cx)
    }

    /// Makes `proof` from `circuit.txt` and `witness.bin`.
    ///
    /// # Errors
    /// As those of [`crate::tools::Tools`].
    pub fn prove(&self, dir: &Path, proof: &Path, cx: &Cx) -> Result<()> {
        let mut command = self.command("prove", cx);
        with_files(&mut command, dir, &[CIRCUIT, WITNESS]);
        self.succeed(command.arg("-p").arg(proof), cx)
    }

    /// As [`crate::programs::Programs::verify`]; wants `ints.json` and `output.json` too.
    ///
    /// # Errors
    /// When the command could not judge.
    pub fn verify(
        &self,
        dir: &Path,
        proof: &Path,
        cx: &Cx,
    ) -> Result<std::result::Result<(), String>> {
        let mut command = self.command("verify", cx);
        let files = [CIRCUIT, ("-i", "ints.json"), ("-o", "output.json"), WITNESS];
        with_files(&mut command, dir, &files);
        let out = tool::run(command.arg("-p").arg(proof), cx)?;
        crate::programs::judged(&out, || self.failure(&out))
    }

    fn command(&self, verb: &str, cx: &Cx) -> Command {
        let mut command = Command::new(&self.program);
        environment(&mut command, cx);
        if verb != "--help" {
            command.arg("--no-banner");
        }
        command.arg(verb);
        command
    }

    fn succeed(&self, command: &mut Command, cx: &Cx) -> Result<()> {
        succeed(command, cx, |out| self.failure(out))
    }

    /// As for the programs; a Python that lacks a package is a missing tool.
    fn failure(&self, out: &tool::Output) -> Error {
        let e = failure(&self.program, out);
        let lacks = [
            "ModuleNotFoundError",
            "ImportError",
            "No such file or directory: 'mpi",
        ];
        if e.kind == ErrorKind::Internal
            && lacks
                .iter()
                .any(|l| out.stderr.contains(l) || out.stdout.contains(l))
        {
            return Error::tool_missing("jstprove", e.message).with_hint(INSTALL_HINT);
        }
        e
    }
}
