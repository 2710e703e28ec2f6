//! The plugin's operations.

use crate::command::QUANTISED;
use crate::files::{WitnessHeader, check_proof, public_values};
use crate::integer;
use crate::network::{Network, SCALE_BITS};
use crate::normalise::{native, normalise};
use crate::programs::{INSTALL_HINT, LICENCE_NOTE, VERSION};
use crate::tools::{Tools, write_json};
use dsperse_plugin_api::job::artefact;
use dsperse_plugin_api::{
    Artefact, ArtefactRef, Backend, BindsPublicIo, Capabilities, CompileJob, Cost, Cx, Descriptor,
    Done, Encoding, Error, ErrorKind, OperatorSupport, OptionSpec, Probe, ProbeJob,
    ProofProperties, ProveJob, Result, Role, Setup, SliceInfo, Stage, Support, SupportsJob,
    TensorFile, TensorInfo, ToolRequirement, ToolStatus, Verdict, VerifyJob, WitnessJob,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Fixed-point exponent of every tensor that enters or leaves a circuit.
const EXPONENT: i32 = -(SCALE_BITS as i32);

const CIRCUIT: &str = "circuit";
const SOLVER: &str = "witness_solver";
const SETTINGS: &str = "settings";
/// What the `jst` command wants besides, when it makes a witness.
const MODEL: &str = "quantised_model";
const WITNESS: &str = "witness";
const PROOF: &str = "proof";

/// Compression of what stays on disk; circuits shrink about 17 times at the cost of a
/// small part of the time that the program needs to read them.
const LEVEL: i32 = 3;

/// The backend. It keeps nothing between calls.
pub struct Jstprove;

/// What the verifier must know of a circuit besides the circuit.
#[derive(Debug, Serialize, Deserialize)]
struct Settings {
    /// Version of JSTprove that made the circuit.
    jstprove: String,
    /// Private values of a witness.
    private: u64,
    /// Public values of a witness.
    public: u64,
}

impl Backend for Jstprove {
    fn describe() -> Descriptor {
        let mut d = Descriptor::new(
            "jstprove",
            env!("CARGO_PKG_VERSION"),
            "Proofs by an installed JSTprove 2.1.0 (GKR with Hyrax over BN254).",
        );
        d.licence = "MIT OR Apache-2.0 (this plugin); JSTprove has its own licence".into();
        d.capabilities = Capabilities {
            stages: vec![Stage::Compile, Stage::Witness, Stage::Prove, Stage::Verify],
            operators: operators(),
            proof: Some(ProofProperties {
                zero_knowledge: false,
                succinct: true,
                hides_weights: false,
                setup: Setup::None,
                binds_public_io: BindsPublicIo::Weak,
                post_quantum: false,
                reproducible_compile: true,
                security_bits: None,
                caveats: vec![
                    "JSTprove's prover does not absorb the public values into the Fiat-Shamir transcript before its first challenge; proofs that were forged in the known way are rejected, but the binding is weaker than it should be".into(),
                    "Hyrax rows are not blinded: proofs reveal information about weights and activations".into(),
                ],
            }),
            tools: vec![ToolRequirement {
                name: "jstprove".into(),
                version: format!("={VERSION}"),
                install_hint: INSTALL_HINT.into(),
                licence_note: LICENCE_NOTE.into(),
            }],
            reusable_worker: false,
            verify_needs_payload: false,
        };
        let path = |key: &str, affects_compile: bool, help: &str| OptionSpec {
            key: key.into(),
            kind: "path".into(),
            help: help.into(),
            default: None,
            affects_compile,
        };
        d.options = vec![
            path(
                "programs",
                false,
                "Directory that holds onnx_generic_circuit_2-1-0 and expander-exec; the Python environments are searched when it is not set.",
            ),
            path(
                "jst",
                true,
                "The command jst, used in place of the programs: slower, as each call starts its Python.",
            ),
        ];
        d
    }

    fn open(_: &Cx) -> Result<Self> {
        Ok(Self)
    }

    fn probe(&self, job: &ProbeJob, cx: &Cx) -> Result<Probe> {
        let (status, problem) = match Tools::find(&job.options) {
            Ok(tools) => {
                let problem = tools.check(cx).err();
                (tools.status(problem.as_ref()), problem)
            }
            Err(e) => {
                let tool = e.tool.clone().unwrap_or_default();
                let status = ToolStatus {
                    name: tool.name,
                    wanted: tool.wanted,
                    found: tool.found,
                    path: None,
                    ok: false,
                    hint: e.hint.clone(),
                };
                (status, Some(e))
            }
        };
        Ok(Probe {
            ready: status.ok,
            can_verify: status.ok,
            tools: vec![status],
            notes: problem
                .map(|e| e.message)
                .into_iter()
                .chain([LICENCE_NOTE.to_owned()])
                .collect(),
        })
    }

    fn supports(&self, job: &SupportsJob, cx: &Cx) -> Result<Support> {
        let network = match normalise(&payload(&job.slice)?) {
            Ok(network) => network,
            Err(e) if e.kind == ErrorKind::Unsupported => {
                return Ok(Support::No {
                    node: e.node,
                    op: e.op,
                    reason: e.message,
                });
            }
            Err(e) => return Err(e),
        };
        Tools::find(&job.options)?.check(cx)?;
        Ok(Support::Yes {
            cost: cost(&network),
        })
    }

    fn compile(&self, job: &CompileJob, cx: &Cx) -> Result<Done> {
        let network = normalise(&payload(&job.slice)?)?;
        let tools = Tools::find(&job.options)?;
        let scratch = Scratch::new(cx)?;
        cx.progress(0.1, "circuit");
        tools.compile(&network, scratch.path(), cx)?;
        // A first witness shows that circuit and integer computation agree, and tells how
        // many private values a witness has, which the verifier can't take from a prover.
        cx.progress(0.8, "trial witness");
        let inputs = match job.calibration.first() {
            Some(sample) => fixed_inputs(sample)?,
            None => network
                .inputs
                .iter()
                .map(|p| vec![0; p.shape.iter().product()])
                .collect(),
        };
        let (_, header) = make_witness(&tools, &network, inputs, &scratch, cx)?;
        let settings = Settings {
            jstprove: VERSION.into(),
            private: header.private,
            public: header.public,
        };
        write_json(&cx.dir().join("settings.json"), &json!(settings))?;
        compress(&scratch.file("circuit.txt"), &cx.dir().join("circuit.zst"))?;
        compress(
            &scratch.file("circuit_witness_solver.txt"),
            &cx.dir().join("witness_solver.zst"),
        )?;
        let mut artefacts = vec![
            Artefact::new(CIRCUIT, Role::Verifying, "circuit.zst"),
            Artefact::new(SETTINGS, Role::Verifying, "settings.json"),
            Artefact::new(SOLVER, Role::Proving, "witness_solver.zst"),
        ];
        if matches!(tools, Tools::Command(_)) {
            compress(&scratch.file(QUANTISED), &cx.dir().join("quantised.zst"))?;
            artefacts.push(Artefact::new(MODEL, Role::Proving, "quantised.zst"));
        }
        Ok(Done {
            artefacts,
            ..Done::default()
        })
    }

    fn witness(&self, job: &WitnessJob, cx: &Cx) -> Result<Done> {
        let network = normalise(&payload(&job.slice)?)?;
        let tools = Tools::find(&job.options)?;
        let scratch = Scratch::new(cx)?;
        unpack(&job.circuit, CIRCUIT, &scratch.file("circuit.txt"))?;
        unpack(
            &job.circuit,
            SOLVER,
            &scratch.file("circuit_witness_solver.txt"),
        )?;
        if matches!(tools, Tools::Command(_)) {
            if artefact(&job.circuit, MODEL).is_err() {
                return Err(Error::tool_missing(
                    "jstprove",
                    "the slice was compiled with JSTprove's programs, and only the command \"jst\" is here",
                )
                .with_hint("compile the slice again, or install the programs"));
            }
            unpack(&job.circuit, MODEL, &scratch.file(QUANTISED))?;
        }
        let inputs = fixed_inputs(&job.inputs)?;
        let (outputs, _) = make_witness(&tools, &network, inputs, &scratch, cx)?;
        compress(&scratch.file("witness.bin"), &cx.dir().join("witness.zst"))?;
        let mut files = Vec::new();
        for (i, (port, ints)) in network.outputs.iter().zip(outputs).enumerate() {
            let path = format!("output_{i}.bin");
            let bytes: Vec<u8> = ints.data.iter().flat_map(|v| v.to_le_bytes()).collect();
            std::fs::write(cx.dir().join(&path), bytes)?;
            files.push(TensorFile {
                info: TensorInfo {
                    name: port.name.clone(),
                    encoding: Encoding::Fixed { exponent: EXPONENT },
                    shape: port.shape.iter().map(|d| *d as u64).collect(),
                },
                path,
                sha256: String::new(),
            });
        }
        Ok(Done {
            artefacts: vec![Artefact::new(WITNESS, Role::Secret, "witness.zst")],
            outputs: files,
            ..Done::default()
        })
    }

    fn prove(&self, job: &ProveJob, cx: &Cx) -> Result<Done> {
        let tools = Tools::find(&job.options)?;
        let scratch = Scratch::new(cx)?;
        unpack(&job.circuit, CIRCUIT, &scratch.file("circuit.txt"))?;
        unpack(&job.witness, WITNESS, &scratch.file("witness.bin"))?;
        let proof = cx.dir().join("proof.bin");
        tools.prove(scratch.path(), &proof, cx)?;
        // The program proves violated circuits without a word; such a proof is of no use.
        check_proof(&std::fs::read(&proof)?).map_err(|reason| {
            Error::internal(format!("the proof that was made is invalid: {reason}"))
        })?;
        Ok(Done {
            artefacts: vec![Artefact::new(PROOF, Role::Verifying, "proof.bin")],
            ..Done::default()
        })
    }

    fn verify(&self, job: &VerifyJob, cx: &Cx) -> Result<Verdict> {
        let (inputs, outputs) = match public_claim(job) {
            Ok(claim) => claim,
            Err(reason) => return Ok(Verdict::invalid(reason)),
        };
        let values = public_values(&inputs, &outputs);
        let Ok(proof) = artefact(&job.proof, PROOF) else {
            return Ok(Verdict::invalid("there is no proof"));
        };
        if let Err(reason) = check_proof(&std::fs::read(&proof.path)?) {
            return Ok(Verdict::invalid(reason));
        }
        let settings = std::fs::read(&artefact(&job.circuit, SETTINGS)?.path)?;
        let Ok(settings) = serde_json::from_slice::<Settings>(&settings) else {
            return Ok(Verdict::invalid("the circuit's settings can't be read"));
        };
        let header = WitnessHeader {
            private: settings.private,
            public: settings.public,
        };
        if settings.jstprove != VERSION
            || !header.plausible()
            || header.public != values.len() as u64
        {
            return Ok(Verdict::invalid(format!(
                "the circuit was made by JSTprove {} for {} public values, expected {VERSION} and {}",
                settings.jstprove,
                header.public,
                values.len()
            )));
        }
        let tools = Tools::find(&job.options)?;
        let scratch = Scratch::new(cx)?;
        if let Err(e) = unpack(&job.circuit, CIRCUIT, &scratch.file("circuit.txt")) {
            return match e.kind {
                ErrorKind::Resource => Err(e),
                _ => Ok(Verdict::invalid(e.message)),
            };
        }
        let file = File::create(scratch.file("witness.bin"))?;
        header.write_public(&values, &mut BufWriter::new(file))?;
        let proof = Path::new(&proof.path);
        let verdict = tools.verify(
            &inputs.concat(),
            &outputs.concat(),
            scratch.path(),
            proof,
            cx,
        )?;
        Ok(match verdict {
            Ok(()) => Verdict::valid(),
            Err(reason) => Verdict::invalid(reason),
        })
    }
}

/// Integers of several tensors.
type Integers = Vec<Vec<i64>>;

/// The claim: the inputs by the documented rounding, the outputs exactly as the circuit has
/// them.
fn public_claim(job: &VerifyJob) -> std::result::Result<(Integers, Integers), String> {
    for output in &job.outputs {
        if output.info.encoding != (Encoding::Fixed { exponent: EXPONENT }) {
            return Err(format!(
                "output \"{}\" is not in the circuit's fixed-point form (exponent {EXPONENT})",
                output.info.name
            ));
        }
    }
    let inputs = fixed_inputs(&job.inputs).map_err(|e| e.message)?;
    let outputs = fixed_inputs(&job.outputs).map_err(|e| e.message)?;
    Ok((inputs, outputs))
}

/// Reads tensors as integers at scale 2^18.
fn fixed_inputs(files: &[TensorFile]) -> Result<Integers> {
    files
        .iter()
        .map(|f| Ok(f.read_values()?.to_fixed(EXPONENT)?))
        .collect()
}

/// Makes the witness, and returns the outputs and the witness's header.
fn make_witness(
    tools: &Tools,
    network: &Network,
    inputs: Integers,
    scratch: &Scratch,
    cx: &Cx,
) -> Result<(Vec<integer::Ints>, WitnessHeader)> {
    let expected: Vec<usize> = network
        .inputs
        .iter()
        .map(|p| p.shape.iter().product())
        .collect();
    let found: Vec<usize> = inputs.iter().map(Vec::len).collect();
    if expected != found {
        return Err(Error::invalid_input(format!(
            "the slice's inputs have {found:?} elements, expected {expected:?}"
        )));
    }
    let outputs = integer::evaluate(network, inputs.clone())?;
    let flat: Integers = outputs.iter().map(|t| t.data.clone()).collect();
    tools.witness(
        network,
        &inputs.concat(),
        &flat.concat(),
        scratch.path(),
        cx,
    )?;
    let witness = std::fs::read(scratch.file("witness.bin"))?;
    let header = WitnessHeader::of(&witness, &public_values(&inputs, &flat))?;
    Ok((outputs, header))
}

/// A directory for the programs' uncompressed files, gone at the end of the call.
struct Scratch(PathBuf);

impl Scratch {
    fn new(cx: &Cx) -> Result<Self> {
        let dir = cx.dir().join("scratch");
        std::fs::create_dir_all(&dir)?;
        // The programs want absolute paths: they put files beside the circuit.
        Ok(Self(dir.canonicalize()?))
    }
    fn path(&self) -> &Path {
        &self.0
    }
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The host throws the job's directory away in any case.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn payload(slice: &SliceInfo) -> Result<Vec<u8>> {
    let path = slice
        .model
        .as_ref()
        .ok_or_else(|| Error::invalid_input("the slice's ONNX file is needed and not there"))?;
    std::fs::read(path).map_err(|e| Error::invalid_input(format!("\"{path}\" can't be read: {e}")))
}

fn compress(from: &Path, to: &Path) -> Result<()> {
    let reader = BufReader::with_capacity(BUFFER, File::open(from)?);
    Ok(zstd::stream::copy_encode(reader, File::create(to)?, LEVEL)?)
}

/// A circuit has some hundred megabytes: copied in small pieces it would cost more system
/// calls than work.
const BUFFER: usize = 1 << 20;

fn unpack(list: &[ArtefactRef], name: &str, to: &Path) -> Result<()> {
    let from = File::open(&artefact(list, name)?.path)?;
    let mut to = BufWriter::with_capacity(BUFFER, File::create(to)?);
    zstd::stream::Decoder::new(from)
        .and_then(|mut from| std::io::copy(&mut from, &mut to))
        .and_then(|_| to.flush())
        .map_err(|e| match Error::from(e) {
            e if e.kind == ErrorKind::Resource => e,
            e => Error::invalid_input(format!("artefact \"{name}\" is corrupt: {}", e.message))
                .with_hint("compile the slice again"),
        })
}

/// A rough cost from the measured LeNet-5 (416,000 products and 6,500 rescaled values take
/// 2 CPU seconds to prove and 2.3 GB to compile).
fn cost(network: &Network) -> Cost {
    let values: usize = network
        .layers
        .iter()
        .map(|l| l.shape.iter().product::<usize>())
        .sum();
    Cost {
        prove_cpu_seconds: 0.1 + values as f64 * 2.5e-4,
        peak_bytes: 50_000_000 + values as u64 * 200_000,
    }
}

fn operators() -> Vec<OperatorSupport> {
    let list = [
        ("Add", "constants broadcast to the computed operand"),
        ("Sub", "constants broadcast to the computed operand"),
        ("Mul", "constants broadcast to the computed operand"),
        ("Max", "two operands"),
        ("Min", "two operands"),
        ("Clip", ""),
        ("Relu", ""),
        (
            "Conv",
            "2-D, constant weights, no groups or dilations, symmetric pads",
        ),
        ("MaxPool", "2-D, symmetric pads, no dilations or ceil_mode"),
        ("Gemm", "constant weights and bias"),
        ("MatMul", "matrix times constant matrix"),
        ("BatchNormalization", "inference"),
        ("Reshape", "constant target"),
        ("Flatten", ""),
        ("Squeeze", ""),
        ("Unsqueeze", ""),
        ("Identity", ""),
        ("Constant", ""),
    ];
    static GAINED: OnceLock<Vec<dsperse_rewrite::Gained>> = OnceLock::new();
    let gained = GAINED.get_or_init(|| dsperse_rewrite::gained(&native));
    let own = list.iter().map(|(op, limits)| ("", *op, *limits));
    let more = gained
        .iter()
        .filter(|g| !g.domain.is_empty() || list.iter().all(|(op, _)| *op != g.operator))
        .map(|g| (g.domain, g.operator, OperatorSupport::REWRITTEN));
    own.chain(more)
        .map(|(domain, op, limits)| OperatorSupport {
            op: op.into(),
            domain: domain.into(),
            since_opset: if domain.is_empty() { 7 } else { 1 },
            until_opset: None,
            dtypes: vec!["float".into()],
            limits: limits.into(),
        })
        .collect()
}
