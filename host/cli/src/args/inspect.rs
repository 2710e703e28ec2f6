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
#[command(after_help = "Example:\n  dsperse report models/lenet/run -o lenet.html")]
pub struct Report {
    /// Run directory, model directory or slices
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// Where the page goes [default: report.html beside the run or the slices]
    #[arg(short, long, value_name = "FILE")]
    pub output_file: Option<PathBuf>,
}
