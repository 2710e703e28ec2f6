//! Groups of flags that several verbs share.

use super::units;
use std::path::PathBuf;
use std::time::Duration;

/// Where the slices are.
#[derive(Debug, Clone, clap::Args)]
pub struct SlicesPath {
    /// Slices directory, model directory, .dsperse, .dslice or a single slice_* directory
    #[arg(
        id = "slices",
        short = 's',
        visible_short_alias = 'p',
        long = "slices",
        visible_aliases = ["sd", "slices-path", "slices-dir", "slices-directory", "path"],
        value_name = "PATH"
    )]
    pub slices: Option<PathBuf>,
}

/// Bounds of the work.
#[derive(Debug, Clone, clap::Args)]
pub struct Limits {
    /// Slices worked on at the same time [default: number of processors]
    #[arg(long, value_name = "N", value_parser = units::parallel)]
    pub parallel: Option<usize>,
    /// Longest time for one job, such as 90s, 5m or 1h30m [default: 1h for a verdict, 10m for a
    /// question, 24h for everything else]
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub timeout: Option<Duration>,
    /// Most memory for one job, such as 512M or 4G [default: nine tenths of this machine's]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub memory: Option<u64>,
    /// Set by the commands that have the flag (see [`MaxError`]).
    #[arg(skip)]
    pub max_error: Option<f64>,
}

/// Who carries jobs out.
#[derive(Debug, Clone, clap::Args)]
pub struct Engine {
    /// Who carries out compilations, witnesses and proofs; settings are in "executor" of
    /// dsperse.toml [default: what stands there, or local]
    #[arg(long, value_enum, value_name = "WHO")]
    pub executor: Option<ExecutorKind>,
}

/// Who carries jobs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ExecutorKind {
    /// This machine
    Local,
    /// Processes of this machine, over a store: to try one without a cluster
    Process,
    /// The nodes of a Slurm cluster
    Slurm,
    /// The nodes of a Ray cluster
    Ray,
}

/// How far the outputs may be from those of the float model.
#[derive(Debug, Clone, clap::Args)]
pub struct MaxError {
    /// Largest error of the model's outputs against the float model, relative to each output's
    /// range or largest magnitude [default: 0.01, or what the slices were compiled with]
    #[arg(long, value_name = "REL", value_parser = units::error)]
    pub max_error: Option<f64>,
}

impl MaxError {
    /// The bounds with this one among them.
    pub fn within(&self, limits: &Limits) -> Limits {
        Limits {
            max_error: self.max_error,
            ..limits.clone()
        }
    }
}

/// Which backend does which slice, and what its proofs must offer.
#[derive(Debug, Clone, clap::Args)]
pub struct Routing {
    /// Which backend does which slice, such as "ezkl", "jstprove|ezkl" or
    /// "0,2:jstprove;3-4:ezkl" [default: jstprove|ezkl|sumcheck|onnx]
    #[arg(short, long, value_name = "SPEC")]
    pub backend: Option<String>,
    /// Don't fall back to plain execution; a slice that no named backend can do fails
    #[arg(long)]
    pub strict: bool,
    #[command(flatten)]
    pub policy: Policy,
}

/// Demands on proofs, decided by what backends declare.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Policy")]
pub struct Policy {
    /// Every slice must get a proof
    #[arg(long)]
    pub require_proof: bool,
    /// Proofs must be zero-knowledge
    #[arg(long)]
    pub require_zk: bool,
    /// Proofs must be cryptographically bound to inputs and outputs
    #[arg(long)]
    pub require_strong_binding: bool,
    /// Proofs must be small and quick to verify
    #[arg(long)]
    pub require_succinct: bool,
    /// The verifier must not learn the weights
    #[arg(long)]
    pub require_hidden_weights: bool,
    /// Proofs must withstand quantum computers, as far as known
    #[arg(long)]
    pub require_post_quantum: bool,
    /// No trusted setup
    #[arg(long)]
    pub require_transparent: bool,
    /// At least so many bits of soundness
    #[arg(long, value_name = "BITS")]
    pub require_security: Option<u32>,
}

/// Sizes that a model leaves open.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Open sizes")]
pub struct Dims {
    /// Size to fix batch dimensions to [default: that of the input, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub batch: Option<u64>,
    /// Size of a named dimension. Repeatable
    #[arg(long = "dim", value_name = "NAME=N", value_parser = units::named_size)]
    pub dims: Vec<(String, u64)>,
    /// Whole shape of an input, such as "tokens=1,16". Repeatable
    #[arg(long, value_name = "NAME=N,N,…", value_parser = units::named_shape)]
    pub input_shape: Vec<(String, Vec<u64>)>,
    /// Make an input constant, such as "sr=16000": an "If" that depends on it is decided, and
    /// the input is none any more. Repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = units::named_value)]
    pub fix: Vec<(String, String)>,
    /// Split layers with more weights than this, such as 8M, along their outputs: each part is
    /// proven with less memory
    #[arg(long, value_name = "N", value_parser = units::count, help_heading = "Big layers")]
    pub split_above: Option<u64>,
}
