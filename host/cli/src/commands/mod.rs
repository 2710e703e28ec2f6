//! One file per verb: arguments in, pipeline call, summary out.

mod analyze;
mod attestation;
mod batch;
mod compile;
mod convert;
mod export;
mod full_run;
mod job;
mod keygen;
mod paths;
mod plugin;
mod policy;
mod prove;
mod report;
mod run;
mod slice;
mod summary;
mod verdict;
mod verify;

use crate::app::App;
use crate::args::{Command, slicing::SliceCommand};
use crate::error::Result;
use crate::exit::Exit;
use std::process::ExitCode;

/// Runs a command.
pub fn execute(app: &App, command: Command) -> Result<ExitCode> {
    let exit: Result<Exit> = match command {
        Command::Slice(args) => match args.nested {
            Some(SliceCommand::Convert(convert)) => convert::execute(app, &convert),
            None => slice::execute(app, &args.slice),
        },
        Command::Convert(args) => convert::execute(app, &args),
        Command::Compile(args) => compile::execute(app, &args),
        Command::Run(args) => run::execute(app, &args),
        Command::Prove(args) => prove::execute(app, &args),
        Command::Verify(args) => verify::execute(app, &args),
        Command::Export(args) => export::execute(app, &args),
        Command::Keygen(args) => keygen::execute(app, &args),
        Command::FullRun(args) => full_run::execute(app, &args),
        Command::Analyze(args) => analyze::execute(app, &args),
        Command::Report(args) => report::execute(app, &args),
        Command::Plugin(args) => plugin::execute(app, &args.command),
        Command::Job(args) => return job::execute(app, &args),
    };
    exit.map(ExitCode::from)
}
