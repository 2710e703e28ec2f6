//! `job`: the node's side of a job that was sent here. Hidden: engines type it.

use std::path::PathBuf;

/// Arguments of `job`.
#[derive(Debug, Clone, clap::Args)]
pub struct Job {
    #[command(subcommand)]
    pub command: JobCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
pub enum JobCommand {
    /// Carry out the job in a directory
    Run(Run),
    /// Tell what this node has, as JSON
    Node,
}

/// Arguments of `job run`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Exit codes:
  0    there is a result
  10   there is a result: the job failed, and would again
  11   it needs more memory than it may take
  12   it needs more time
  13   this node has another dsperse or plugin than the job names
  14   an input is missing or damaged
  15   the node or the store is at fault
  130  somebody asked it to stop")]
pub struct Run {
    /// The job's directory
    #[arg(value_name = "JOB_DIR")]
    pub dir: PathBuf,
    /// The store [default: the one that JOB_DIR lies in]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Where to work [default: JOB_DIR]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Stop when standard input ends
    #[arg(long)]
    pub leash: bool,
}
