//! What can be typed: one file per verb, no logic. Help texts are the doc comments.

pub mod common;
pub mod inspect;
pub mod job;
pub mod plugin;
pub mod slicing;
pub mod stages;
pub mod units;

use clap::{Parser, Subcommand};
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    a slice failed, a proof is invalid or a policy was not met
  2    usage error
  3    bad input (model, tensor file, bundle)
  4    a backend or plugin could not be loaded
  130  interrupted

Example:
  dsperse full-run -m models/digits-mlp";

/// Cuts a neural network into slices, proves each slice with the backend that fits it,
/// and judges the whole: this model, on this input, gave this output.
#[derive(Debug, Parser)]
#[command(name = "dsperse", version, after_help = EXIT_CODES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Directory to look for backends in; replaces the default places. Repeatable
    /// [env: DSPERSE_PLUGINS]
    #[arg(long, global = true, value_name = "DIR")]
    pub plugins: Vec<PathBuf>,
    /// Configuration file [default: ./dsperse.toml, then the user's config directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub backend_config: Option<PathBuf>,
    /// More log output on stderr (-v, -vv)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Less output on stderr
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log filter, such as "debug" or "dsperse_stages=trace" (RUST_LOG works too)
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// One JSON document on stdout instead of the summary
    #[arg(long, global = true)]
    pub json: bool,
    /// Never ask; a missing argument is a usage error
    #[arg(long, global = true)]
    pub no_input: bool,
    /// How progress is shown on stderr: bars on a terminal and lines elsewhere, or one JSON
    /// object per event for programs
    #[arg(long, global = true, value_name = "HOW", default_value = "auto")]
    pub progress: ProgressHow,
    /// Colours in messages
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorWhen,
    /// How plugins are run: each call in a process of its own, or inside this process
    /// (for debugging only)
    #[arg(
        long,
        global = true,
        value_name = "MODE",
        default_value = "process",
        hide_short_help = true
    )]
    pub isolation: Isolation,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ProgressHow {
    /// Bars on a terminal, lines elsewhere
    Auto,
    /// One plain line per event
    Plain,
    /// One JSON object per event
    Json,
    /// Warnings and failures only
    None,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorWhen {
    Auto,
    Always,
    Never,
}

/// Where plugin code runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Isolation {
    Process,
    None,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Cut a model into slices
    #[command(visible_alias = "s")]
    Slice(slicing::Slice),
    /// Convert slices between the formats dirs, dslice and dsperse
    Convert(slicing::Convert),
    /// Compile slices to circuits, through the fallback chain
    #[command(visible_alias = "c")]
    Compile(stages::Compile),
    /// Run the slices on an input and make witnesses
    #[command(visible_alias = "r")]
    Run(stages::Run),
    /// Make proofs for a run
    #[command(visible_alias = "p")]
    Prove(stages::Prove),
    /// Judge a run: is this the model's output on this input
    #[command(visible_alias = "v")]
    Verify(stages::Verify),
    /// Pack what a verifier needs of a run into one file
    Export(stages::Export),
    /// Make a key that signs what you verified
    Keygen(stages::Keygen),
    /// Slice, compile, run, prove and verify
    #[command(visible_alias = "fr")]
    FullRun(stages::FullRun),
    /// Show what is in a model and what each backend could prove of it
    #[command(visible_alias = "a")]
    Analyze(inspect::Analyze),
    /// Write one self-contained HTML page of a model or a run
    Report(inspect::Report),
    /// List, inspect, check, test and create backends
    Plugin(plugin::Plugin),
    /// What coordinators of other machines start here
    #[command(hide = true)]
    Job(job::Job),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, CommandFactory};
    use dsperse_documents::setting;

    /// Hints name settings, and what they name must be there to type.
    #[test]
    fn every_setting_is_a_flag() {
        fn flags(command: &Command, all: &mut Vec<String>) {
            let longs = command.get_arguments().filter_map(|a| a.get_long());
            all.extend(longs.map(str::to_owned));
            for command in command.get_subcommands() {
                flags(command, all);
            }
        }
        let mut all = Vec::new();
        flags(&Cli::command(), &mut all);
        for setting in setting::ALL {
            assert!(all.iter().any(|f| f == setting.name()), "{setting}");
        }
    }
}
