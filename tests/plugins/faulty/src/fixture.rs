//! The little backend around the faults.

use crate::{FAULTS, crash, lie};
use dsperse_plugin_api::job::{Options, artefact};
use dsperse_plugin_api::{
    Artefact, ArtefactRef, Backend, BindsPublicIo, Capabilities, CompileJob, Cost, Cx, Descriptor,
    Done, Encoding, Error, OptionSpec, Probe, ProbeJob, ProofProperties, ProveJob, Result, Role,
    SliceInfo, Stage, Support, SupportsJob, TensorFile, TensorInfo, Verdict, VerifyJob, WitnessJob,
};
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::path::Path;

/// The backend; public for the C door in [`crate::raw`].
pub struct Faulty {
    panic_in_drop: Cell<bool>,
}

impl Drop for Faulty {
    fn drop(&mut self) {
        assert!(!self.panic_in_drop.get(), "the fault \"panic-drop\"");
    }
}

/// The fault that the options name for this operation, if any.
///
/// # Errors
/// `invalid_input` for a name that is not in [`FAULTS`].
pub fn chosen<'a>(options: &'a Options, op: &str) -> Result<Option<&'a str>> {
    let text = |key: &str| options.get(key).and_then(serde_json::Value::as_str);
    let Some(fault) = text("fault").filter(|f| *f != "none") else {
        return Ok(None);
    };
    if !FAULTS.iter().any(|(name, _)| *name == fault) {
        return Err(Error::invalid_input(format!(
            "there is no fault \"{fault}\""
        )));
    }
    Ok((text("at").unwrap_or("compile") == op).then_some(fault))
}

impl Faulty {
    /// Leaves something half-written behind and then misbehaves, when it is time to.
    fn misbehave<'a>(&self, options: &'a Options, op: &str, cx: &Cx) -> Result<Option<&'a str>> {
        let fault = chosen(options, op)?;
        if let Some(fault) = fault {
            std::fs::write(cx.dir().join("half-written"), fault)?;
            if fault == "panic-drop" {
                self.panic_in_drop.set(true);
            }
            crash::run(fault, options, cx)?;
            honest_error(fault)?;
        }
        Ok(fault)
    }

    fn finish(&self, mut done: Done, fault: Option<&str>, cx: &Cx) -> Result<Done> {
        if let Some(fault) = fault {
            lie::apply(fault, &mut done, cx)?;
        }
        Ok(done)
    }
}

fn honest_error(fault: &str) -> Result<()> {
    let message = format!("the fault \"{fault}\"");
    Err(match fault {
        "error-unsupported" => Error::unsupported(message).at_node("node_0", "Fault"),
        "error-tool-missing" => Error::tool_missing("fault", message)
            .versions("^1", None)
            .with_hint("there is nothing to install"),
        "error-invalid-input" => Error::invalid_input(message),
        "error-resource" => Error::resource(message),
        "error-internal" => Error::internal(message),
        _ => return Ok(()),
    })
}

/// The key of a slice: a hash of what identifies it.
fn key(slice: &SliceInfo) -> String {
    let mut hash = Sha256::new();
    hash.update(&slice.sha256);
    hash.update(&slice.model_sha256);
    hash.update(slice.index.to_le_bytes());
    hex::encode(hash.finalize())
}

/// The "proof": a hash of the key and the claimed tensors.
fn proof(slice: &SliceInfo, inputs: &[TensorFile], outputs: &[TensorFile]) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(key(slice));
    for tensor in inputs.iter().chain(outputs) {
        hash.update(serde_json::to_vec(&tensor.info).map_err(|e| Error::internal(e.to_string()))?);
        hash.update(std::fs::read(&tensor.path)?);
    }
    Ok(hex::encode(hash.finalize()))
}

/// An output: the bytes of the first input, repeated; no computation at all.
fn output(info: &TensorInfo, inputs: &[TensorFile]) -> Result<Vec<u8>> {
    let size = info.encoding.element_size();
    let elements = info.len().and_then(|n| usize::try_from(n).ok());
    let bytes = elements
        .and_then(|n| n.checked_mul(size))
        .ok_or_else(|| Error::invalid_input("an output is too large"))?;
    let input = match inputs.first() {
        Some(tensor) if info.encoding == Encoding::F32 => tensor.read_values()?.to_f32(),
        _ => vec![0.0],
    };
    let input: Vec<u8> = input.iter().flat_map(|v| v.to_le_bytes()).collect();
    Ok(input.into_iter().cycle().take(bytes).collect())
}

fn matches(list: &[ArtefactRef], name: &str, expected: &str) -> Result<bool> {
    Ok(std::fs::read(&artefact(list, name)?.path)? == expected.as_bytes())
}

fn write(dir: &Path, name: &str, role: Role, text: &str) -> Result<Artefact> {
    let file = format!("{name}.txt");
    std::fs::write(dir.join(&file), text)?;
    Ok(Artefact::new(name, role, file))
}

fn option(key: &str, kind: &str, help: &str) -> OptionSpec {
    OptionSpec {
        key: key.into(),
        kind: kind.into(),
        help: help.into(),
        default: None,
        affects_compile: true,
    }
}

impl Backend for Faulty {
    fn describe() -> Descriptor {
        let mut d = Descriptor::new(
            "faulty",
            env!("CARGO_PKG_VERSION"),
            "Test fixture that misbehaves on demand; it proves nothing.",
        );
        d.licence = "MIT OR Apache-2.0".into();
        d.capabilities = Capabilities {
            stages: vec![Stage::Compile, Stage::Witness, Stage::Prove, Stage::Verify],
            proof: Some(ProofProperties {
                binds_public_io: BindsPublicIo::Weak,
                caveats: vec![
                    "This is a test fixture; its proof is a hash that anybody can make.".into(),
                ],
                ..ProofProperties::default()
            }),
            ..Capabilities::default()
        };
        d.options = vec![
            option(
                "fault",
                "string",
                "how to misbehave; \"none\" for not at all",
            ),
            option("at", "string", "the operation in which to misbehave"),
            option(
                "bytes",
                "integer",
                "memory that the fault \"memory\" takes, in bytes",
            ),
            option(
                "marker",
                "string",
                "a word in the environment of processes left behind",
            ),
        ];
        d
    }

    fn open(_: &Cx) -> Result<Self> {
        Ok(Self {
            panic_in_drop: Cell::new(false),
        })
    }

    fn probe(&self, job: &ProbeJob, cx: &Cx) -> Result<Probe> {
        self.misbehave(&job.options, "probe", cx)?;
        Ok(Probe::ready())
    }

    fn supports(&self, job: &SupportsJob, cx: &Cx) -> Result<Support> {
        self.misbehave(&job.options, "supports", cx)?;
        Ok(Support::Yes {
            cost: Cost::default(),
        })
    }

    fn compile(&self, job: &CompileJob, cx: &Cx) -> Result<Done> {
        let fault = self.misbehave(&job.options, "compile", cx)?;
        let done = Done {
            artefacts: vec![write(cx.dir(), "key", Role::Verifying, &key(&job.slice))?],
            ..Done::default()
        };
        self.finish(done, fault, cx)
    }

    fn witness(&self, job: &WitnessJob, cx: &Cx) -> Result<Done> {
        let fault = self.misbehave(&job.options, "witness", cx)?;
        let mut done = Done::default();
        for (i, info) in job.slice.outputs.iter().enumerate() {
            let path = format!("output_{i}.bin");
            std::fs::write(cx.dir().join(&path), output(info, &job.inputs)?)?;
            done.outputs.push(TensorFile {
                info: info.clone(),
                path,
                sha256: String::new(),
            });
        }
        done.artefacts = vec![write(cx.dir(), "witness", Role::Secret, "nothing")?];
        if let (Some("overwrite"), Some(input)) = (fault, job.inputs.first()) {
            std::fs::write(&input.path, "another thing")?;
        }
        self.finish(done, fault, cx)
    }

    fn prove(&self, job: &ProveJob, cx: &Cx) -> Result<Done> {
        let fault = self.misbehave(&job.options, "prove", cx)?;
        let proof = proof(&job.slice, &job.inputs, &job.outputs)?;
        let done = Done {
            artefacts: vec![write(cx.dir(), "proof", Role::Verifying, &proof)?],
            ..Done::default()
        };
        self.finish(done, fault, cx)
    }

    fn verify(&self, job: &VerifyJob, cx: &Cx) -> Result<Verdict> {
        self.misbehave(&job.options, "verify", cx)?;
        if !matches(&job.circuit, "key", &key(&job.slice))? {
            return Ok(Verdict::invalid("the key is not the key of this slice"));
        }
        let expected = proof(&job.slice, &job.inputs, &job.outputs)?;
        if !matches(&job.proof, "proof", &expected)? {
            return Ok(Verdict::invalid("the proof is not the hash of this claim"));
        }
        Ok(Verdict::valid())
    }
}
