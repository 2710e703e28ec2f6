//! `plugin list/inspect/doctor/test/new`.

mod doctor;
mod inspect;
mod list;
mod new;
mod test;

use crate::app::App;
use crate::args::plugin::PluginCommand;
use crate::error::Result;
use crate::exit::Exit;

/// Runs a command below `plugin`.
pub fn execute(app: &App, command: &PluginCommand) -> Result<Exit> {
    match command {
        PluginCommand::List => list::execute(app),
        PluginCommand::Inspect { name } => inspect::execute(app, name),
        PluginCommand::Doctor { reset } => doctor::execute(app, *reset),
        PluginCommand::Test { library } => test::execute(app, library),
        PluginCommand::New { name, output, api } => {
            new::execute(app, name, output.as_deref(), api.as_deref())
        }
    }
}
