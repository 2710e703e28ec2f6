//! `analyze` and `report`.

use super::common::{Dims, Limits, Routing};
use super::slicing::Cutting;
use std::path::PathBuf;

/// Arguments of `analyze`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:\n  dsperse analyze -m models/lenet")]
pub struct Analyze {
    /// Directory that holds model.onnx, an .onnx file, or slices
    #[arg(short, long = "model-dir", visible_aliases = ["mp", "model-path"], value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Model input (JSON, .npy or .npz) whose shapes fix the sizes that the model leaves open
    #[arg(short, long = "input-file", visible_aliases = ["if", "input"], value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Also write the analysis here
    #[arg(short, long, value_name = "FILE")]
    pub output_file: Option<PathBuf>,
    #[command(flatten)]
    pub cutting: Cutting,
    #[command(flatten)]
    pub routing: Routing,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub dims: Dims,
}

/// Arguments of `report`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  dsperse report models/lenet/run -o lenet.html
  dsperse report models/lenet/run --trace lenet.trace.json --csv lenet-tables
  dsperse report models/lenet/run/run_A models/lenet/run/run_B -o both.html")]
pub struct Report {
    /// Run directory, model directory or slices; two for a page that compares them
    #[arg(value_name = "PATH", num_args = 0..=2)]
    pub paths: Vec<PathBuf>,
    /// Where the page goes [default: report.html in the run or beside the slices,
    /// comparison.html here for two]
    #[arg(short, long, value_name = "FILE")]
    pub output_file: Option<PathBuf>,
    /// The slices of the run, when they are not where the run says
    #[arg(short, long, value_name = "PATH", visible_aliases = ["sd", "slices-path", "slices-dir"])]
    pub slices: Option<PathBuf>,
    /// The verification to show: what "verify --output-file" wrote [default: the newest one
    /// that "verify" left in the run]
    #[arg(long, value_name = "FILE")]
    pub verification: Option<PathBuf>,
    /// Also write who ran what when, for Perfetto or chrome://tracing
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Also write the data of plots and tables as CSV files into this directory
    #[arg(long, value_name = "DIR")]
    pub csv: Option<PathBuf>,
}
