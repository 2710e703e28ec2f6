//! `compile`, `run`, `prove`, `verify` and `full-run`.

use super::common::{Dims, Engine, Limits, MaxError, Policy, Routing, SlicesPath};
use super::slicing::Cutting;
use std::path::PathBuf;

/// Arguments of `compile`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  dsperse compile -s models/lenet/slices\n  dsperse compile -s models/lenet -b \"0,2:jstprove;3-4:ezkl\" -l 0-4"
)]
pub struct Compile {
    #[command(flatten)]
    pub path: SlicesPath,
    /// Calibration inputs: a file, a file with a batch of them, or a directory. Repeatable
    #[arg(short, long = "input-file", visible_aliases = ["if", "input"], value_name = "PATH")]
    pub input: Vec<PathBuf>,
    /// Slices to compile: "2,3,4", "0-2" or "3, 20-22" [default: all]
    #[arg(short, long, value_name = "SPEC")]
    pub layers: Option<String>,
    #[command(flatten)]
    pub routing: Routing,
    #[command(flatten)]
    pub fidelity: MaxError,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub engine: Engine,
    /// Compile again what is up to date
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `run`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  dsperse run -s models/lenet/slices -i models/lenet/input.json\n  dsperse run -s models/lenet/slices -i inputs/"
)]
pub struct Run {
    #[command(flatten)]
    pub path: SlicesPath,
    /// Model input (JSON, .npy or .npz) [default: <model_dir>/input.json]. Several make a batch of runs: repeat the flag, or give a directory, JSON lines, or arrays of many inputs
    #[arg(short, long = "input-file", visible_aliases = ["if", "input"], value_name = "PATH")]
    pub input: Vec<PathBuf>,
    /// Also write the model's output here; those of a batch as JSON lines (.jsonl)
    #[arg(short, long, value_name = "FILE")]
    pub output_file: Option<PathBuf>,
    /// Choose among the compiled backends; "onnx" skips circuits
    #[arg(short, long, value_name = "SPEC")]
    pub backend: Option<String>,
    /// Slices to run with their circuits; the others are computed plainly, so that "verify" can
    /// compute them again. "2,3,4", "0-2" or "3, 20-22" [default: all]
    #[arg(short, long, value_name = "SPEC")]
    pub layers: Option<String>,
    /// Directory that holds the runs [default: <model_dir>/run]
    #[arg(long, visible_alias = "rd", value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Also write the large tensors of each slice as JSON
    #[arg(long)]
    pub json_tensors: bool,
    #[command(flatten)]
    pub fidelity: MaxError,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub engine: Engine,
}

/// A run and the slices that it is of.
#[derive(Debug, Clone, clap::Args)]
pub struct RunOf {
    /// Run directory, a batch_* directory of runs, or a run/ directory from which the newest run is offered; "verify" also takes a .dsproof file
    #[arg(value_name = "RUN_DIR")]
    pub run: Option<PathBuf>,
    /// Slices directory, slice_* directory, .dslice or .dsperse [default: the slices that the run was made with]
    #[arg(value_name = "DATA_PATH")]
    pub data: Option<PathBuf>,
    /// The same as RUN_DIR; a path beside it is DATA_PATH
    #[arg(long, visible_alias = "rd", value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
}

/// Arguments of `prove`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  dsperse prove models/lenet/run/run_20260131_120000 models/lenet/slices\n  dsperse prove --run-dir models/lenet/run"
)]
pub struct Prove {
    #[command(flatten)]
    pub of: RunOf,
    /// Also copy the proofs here
    #[arg(long, value_name = "DIR")]
    pub proof_output: Option<PathBuf>,
    /// Also write the results here
    #[arg(short, long, value_name = "FILE")]
    pub output_file: Option<PathBuf>,
    /// Slices to prove: "2,3,4", "0-2" or "3, 20-22" [default: all]
    #[arg(short, long, value_name = "SPEC")]
    pub layers: Option<String>,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub engine: Engine,
    /// Prove again what is up to date
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `verify`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  dsperse verify models/lenet/run/run_20260131_120000 models/lenet/slices\n  dsperse verify --run-dir models/lenet/run --require proven --input input.json --output claimed.json\n  dsperse verify lenet.dsproof --require proven"
)]
pub struct Verify {
    #[command(flatten)]
    pub of: RunOf,
    /// The verifier's own model input; replaces what the run says
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// The claimed model output; replaces what the run says
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Also write the verdict here
    #[arg(short, long, value_name = "FILE")]
    pub output_file: Option<PathBuf>,
    /// What every slice must be for exit code 0 [default: checked]
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub require: Option<Require>,
    /// The model identity that the slices must have; proofs then count only under keys that are expected too or can be compiled again
    #[arg(long, value_name = "SHA256")]
    pub expect_model: Option<String>,
    /// The digest that the verifying keys of the proven slices must have
    #[arg(long, value_name = "SHA256")]
    pub expect_keys: Option<String>,
    /// A receipt of somebody you trust: expects its model, keys, input and output, and no weaker verdict
    #[arg(long, value_name = "FILE")]
    pub expect_receipt: Option<PathBuf>,
    /// An attestation of somebody you trust: as --expect-receipt, when it is signed by --public-key
    #[arg(long, value_name = "FILE", requires = "public_key")]
    pub expect_attestation: Option<PathBuf>,
    /// The key that the expected attestation must be signed by (PEM)
    #[arg(long, value_name = "FILE", requires = "expect_attestation")]
    pub public_key: Option<PathBuf>,
    /// Sign the receipt with this private key, when the claim is accepted (PEM, see "dsperse keygen")
    #[arg(long, value_name = "KEY")]
    pub attest: Option<PathBuf>,
    /// Where the attestation goes [default: RUN/attestation.json, or beside the .dsproof file]
    #[arg(long, value_name = "FILE", requires = "attest")]
    pub attestation: Option<PathBuf>,
    /// Relative tolerance of recomputations; 0 compares bit for bit [default: 0]
    #[arg(long, value_name = "REL", allow_negative_numbers = true)]
    pub tolerance: Option<f64>,
    /// A backend whose proofs and recomputations count, with the SHA-256 of its library if
    /// you like. Repeatable [default: every loaded backend]
    #[arg(long = "allow-backend", value_name = "NAME[@SHA256]")]
    pub allow_backend: Vec<String>,
    #[command(flatten)]
    pub fidelity: MaxError,
    /// A file that holds what you demand of a verification; flags add to it
    #[arg(long = "policy", value_name = "FILE")]
    pub policy_file: Option<PathBuf>,
    #[command(flatten)]
    pub policy: Policy,
    /// Count proofs of claims whose input values the circuit saw only clamped to its range
    #[arg(long)]
    pub allow_saturation: bool,
    /// Compile the slices again and compare the verifying artefacts; other proofs don't count
    #[arg(long)]
    pub recompile: bool,
    /// The model input that the slices were compiled with, for compiling them again [default: the input of the claim]
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Where the receipt goes [default: RUN/receipt.json]
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub engine: Engine,
}

/// Arguments of `export`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  dsperse export models/lenet/run/run_20260131_120000 -o lenet.dsproof\n  dsperse verify lenet.dsproof --require proven"
)]
pub struct Export {
    #[command(flatten)]
    pub of: RunOf,
    /// The file to write
    #[arg(short, long, value_name = "FILE.dsproof")]
    pub output: Option<PathBuf>,
}

/// Arguments of `keygen`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Example:\n  dsperse keygen -o verifier.pem\n  dsperse verify lenet.dsproof --attest verifier.pem"
)]
pub struct Keygen {
    /// Where the private key goes; the public key goes beside it, as NAME.pub.pem
    #[arg(short, long, value_name = "FILE", default_value = "dsperse.pem")]
    pub output: PathBuf,
}

/// What every slice must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Require {
    /// Every slice proven
    Proven,
    /// Every slice proven or recomputed
    Checked,
    /// No slice failed
    Any,
}

/// Arguments of `full-run`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  dsperse full-run -m models/digits-mlp\n  dsperse full-run -m models/lenet -i input.json -b \"sumcheck|onnx\" --parallel 2"
)]
pub struct FullRun {
    /// Directory that holds model.onnx, or an .onnx file
    #[arg(short, long = "model-dir", visible_aliases = ["mp", "model-path"], value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Model input (JSON, .npy or .npz) [default: <model_dir>/input.json]. Several make a batch of runs: repeat the flag, or give a directory, JSON lines, or arrays of many inputs
    #[arg(short, long = "input-file", visible_aliases = ["if", "input"], value_name = "PATH")]
    pub input: Vec<PathBuf>,
    /// Use these slices and skip slicing
    #[arg(short, long = "slices-dir", visible_aliases = ["sd", "slices", "slices-path", "slices-directory"], value_name = "PATH")]
    pub slices: Option<PathBuf>,
    /// Slices to compile and prove: "2,3,4", "0-2" or "3, 20-22"; the others are computed plainly,
    /// and again by "verify" [default: all]
    #[arg(short, long, value_name = "SPEC")]
    pub layers: Option<String>,
    #[command(flatten)]
    pub cutting: Cutting,
    #[command(flatten)]
    pub routing: Routing,
    /// Also write the model's output here; those of a batch as JSON lines (.jsonl)
    #[arg(short, long, value_name = "FILE")]
    pub output_file: Option<PathBuf>,
    /// What every slice must be for exit code 0
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "checked")]
    pub require: Require,
    #[command(flatten)]
    pub fidelity: MaxError,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub engine: Engine,
    #[command(flatten)]
    pub dims: Dims,
    /// Do again what is up to date
    #[arg(long)]
    pub force: bool,
}
