//! The two ways to JSTprove: its programs, or the `jst` command. All work in a scratch
//! directory with the same file names.

use crate::command::Jst;
use crate::explicit;
use crate::network::Network;
use crate::programs::{LICENCE_NOTE, Programs, VERSION};
use dsperse_plugin_api::{Cx, Error, Result, ToolStatus};
use serde_json::{Map, Value, json};
use std::path::Path;

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub enum Tools {
    /// The programs inside the package.
    Programs(Programs),
    /// The command line.
    Command(Jst),
}

impl Tools {
    /// The programs where they are found, else the command. The option `jst` asks for the
    /// command.
    ///
    /// # Errors
    /// `tool_missing` that says where the programs were looked for.
    pub fn find(options: &Map<String, Value>) -> Result<Self> {
        if options.contains_key("jst") {
            return Jst::find(options).map(Self::Command);
        }
        Programs::find(options).map(Self::Programs).or_else(|e| {
            // Where the user named a directory, nothing else is meant.
            if options.contains_key("programs") {
                return Err(e);
            }
            Jst::find(options).map(Self::Command).map_err(|_| e)
        })
    }

    /// Starts what was found, which shows whether its libraries are there.
    ///
    /// # Errors
    /// `tool_missing` with what to type.
    pub fn check(&self, cx: &Cx) -> Result<()> {
        match self {
            Self::Programs(p) => p.check(cx),
            Self::Command(c) => c.check(cx),
        }
    }

    /// The state for `probe`.
    pub fn status(&self, problem: Option<&Error>) -> ToolStatus {
        let (found, path) = match self {
            Self::Programs(p) => (Some(p.version.clone()), p.builder()),
            // It tells its version only when it compiles.
            Self::Command(c) => (None, c.program()),
        };
        ToolStatus {
            name: "jstprove".into(),
            wanted: VERSION.into(),
            found,
            path: Some(path.display().to_string()),
            ok: problem.is_none(),
            hint: Some(match problem {
                Some(e) => e.hint.clone().unwrap_or_else(|| e.message.clone()),
                None => LICENCE_NOTE.to_owned(),
            }),
        }
    }

    /// Builds `circuit.txt` and `circuit_witness_solver.txt`.
    ///
    /// # Errors
    /// Missing library, killed, no memory or disk, or a fault in the tool.
    pub fn compile(&self, network: &Network, dir: &Path, cx: &Cx) -> Result<()> {
        match self {
            Self::Programs(p) => {
                write_json(&dir.join("arch.json"), &network.architecture())?;
                write_json(&dir.join("wandb.json"), &network.weights()?)?;
                write_json(&dir.join("meta.json"), &network.meta())?;
                p.compile(dir, cx)
            }
            Self::Command(c) => {
                let model = explicit::model(network)?.to_bytes();
                std::fs::write(dir.join("model.onnx"), model)?;
                c.compile(dir, cx)
            }
        }
    }

    /// Makes `witness.bin` from inputs and the outputs that are expected.
    ///
    /// # Errors
    /// Missing library, killed, no memory or disk, or a fault in the tool.
    pub fn witness(
        &self,
        network: &Network,
        inputs: &[i64],
        outputs: &[i64],
        dir: &Path,
        cx: &Cx,
    ) -> Result<()> {
        write_json(&dir.join("meta.json"), &network.meta())?;
        write_claim(dir, inputs, outputs)?;
        match self {
            Self::Programs(p) => p.witness(dir, cx),
            Self::Command(c) => c.witness(dir, cx),
        }
    }

    /// Makes `proof` from `circuit.txt` and `witness.bin`. Nobody looks whether the witness
    /// satisfies the circuit.
    ///
    /// # Errors
    /// Missing library, killed, no memory or disk, or a fault in the tool.
    pub fn prove(&self, dir: &Path, proof: &Path, cx: &Cx) -> Result<()> {
        match self {
            Self::Programs(p) => p.prove(dir, proof, cx),
            Self::Command(c) => c.prove(dir, proof, cx),
        }
    }

    /// Lets the tool judge a proof of these values; `Ok(Err(reason))` when it rejects. This
    /// is not the whole verdict: see [`crate::files::check_proof`].
    ///
    /// # Errors
    /// When the tool could not judge: missing library, killed, no memory or disk.
    pub fn verify(
        &self,
        inputs: &[i64],
        outputs: &[i64],
        dir: &Path,
        proof: &Path,
        cx: &Cx,
    ) -> Result<std::result::Result<(), String>> {
        match self {
            Self::Programs(p) => p.verify(dir, proof, cx),
            Self::Command(c) => {
                write_claim(dir, inputs, outputs)?;
                c.verify(dir, proof, cx)
            }
        }
    }
}

/// Inputs and outputs as the tools read them.
fn write_claim(dir: &Path, inputs: &[i64], outputs: &[i64]) -> Result<()> {
    write_json(&dir.join("ints.json"), &json!({"input": inputs}))?;
    write_json(&dir.join("output.json"), &json!({"output": outputs}))
}

/// Writes a document.
///
/// # Errors
/// Those of the file system.
pub fn write_json(path: &Path, value: &Value) -> Result<()> {
    Ok(std::fs::write(path, value.to_string())?)
}
