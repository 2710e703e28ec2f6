//! `slice` and `convert`.

use std::path::PathBuf;

/// Arguments of `slice`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Example:\n  dsperse slice -m models/lenet --output-type dirs --save"
)]
pub struct Slice {
    #[command(subcommand)]
    pub nested: Option<SliceCommand>,
    #[command(flatten)]
    pub slice: SliceArgs,
}

/// Commands below `slice`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum SliceCommand {
    /// Convert slices between the formats dirs, dslice and dsperse
    Convert(Convert),
}

/// What `slice` itself takes.
#[derive(Debug, Clone, clap::Args)]
pub struct SliceArgs {
    /// Directory that holds model.onnx, or an .onnx file
    #[arg(short, long = "model-dir", visible_aliases = ["mp", "model-path"], value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Where the slices go [default: <model_dir>/slices]
    #[arg(short, long, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
    /// Model input (JSON, .npy or .npz) whose shapes fix the sizes that the model leaves open
    #[arg(short, long = "input-file", visible_aliases = ["if", "input"], value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Also write the node-by-node analysis [default: <model_dir>/analysis/model_metadata.json]
    #[arg(
        short = 'S',
        long = "save-file",
        visible_alias = "save",
        value_name = "PATH",
        num_args = 0..=1
    )]
    pub save: Option<Option<PathBuf>>,
    /// Shape of the result on disk
    #[arg(long, value_enum, default_value = "dsperse")]
    pub output_type: Shape,
    #[command(flatten)]
    pub cutting: Cutting,
    /// Backends that are to prove the slices, such as "sumcheck|onnx", with --strategy auto
    /// and capability [default: the default chain; for capability, everything that is loaded]
    #[arg(short, long, value_name = "SPEC")]
    pub backend: Option<String>,
    #[command(flatten)]
    pub limits: super::common::Limits,
    #[command(flatten)]
    pub dims: super::common::Dims,
}

/// Where to cut.
#[derive(Debug, Clone, clap::Args)]
pub struct Cutting {
    /// Where to cut [default: auto; layer where -b or -l name slices by number]
    #[arg(long, value_enum)]
    pub strategy: Option<Strategy>,
    /// Nodes (names or indices) at which slices start, with --strategy points
    #[arg(
        long,
        value_name = "NODE",
        value_delimiter = ',',
        required_if_eq("strategy", "points")
    )]
    pub at: Vec<String>,
}

/// Shapes of slices on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// One file that holds everything
    Dsperse,
    /// One file per slice
    Dslice,
    /// Plain directories
    Dirs,
}

/// Where to cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Strategy {
    /// As few slices as the memory of a job allows, cut around what the chain's backends decline
    Auto,
    /// A slice starts at each node that carries weights
    Layer,
    /// Each operator is a slice
    Op,
    /// One slice
    Whole,
    /// Longest runs of operators that some loaded backend says it can prove
    Capability,
    /// At the nodes that --at names
    Points,
}

/// Arguments of `convert`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  dsperse convert -i models/lenet/slices --to dsperse -o lenet.dsperse\n  dsperse convert -i lenet.dsperse --to dirs --expand-slices --no-cleanup"
)]
pub struct Convert {
    /// What to convert: slices directory, .dsperse, .dslice or slice_* directory
    #[arg(short, long, value_name = "PATH")]
    pub input: Option<PathBuf>,
    /// Shape of the result
    #[arg(long, value_enum, value_name = "SHAPE")]
    pub to: Option<Shape>,
    /// Where the result goes [default: beside the input]
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Also make a slice_* directory of each .dslice, beside it; commands then use the directories
    #[arg(long)]
    pub expand_slices: bool,
    /// Remove the input after the result is complete [default for .dsperse inputs]
    #[arg(long, overrides_with = "no_cleanup")]
    pub cleanup: bool,
    /// Keep the input
    #[arg(long)]
    pub no_cleanup: bool,
    /// Pack for a purpose: "verify" leaves out every proving artefact, and the weights
    /// where the backend does not need them
    #[arg(long = "for", value_enum, value_name = "PURPOSE")]
    pub purpose: Option<Purpose>,
}

/// What a converted bundle is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Purpose {
    /// Only what a verifier needs
    Verify,
}
