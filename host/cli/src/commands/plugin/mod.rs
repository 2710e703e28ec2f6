//! `plugin` and the commands below it.

mod add;
mod doctor;
mod inspect;
mod list;
mod manage;
mod new;
mod publish;
mod test;

use crate::app::App;
use crate::args::plugin::PluginCommand as C;
use crate::error::Result;
use crate::exit::Exit;

/// Runs a command below `plugin`.
pub fn execute(app: &App, command: &C) -> Result<Exit> {
    match command {
        C::List { outdated: false } => list::execute(app),
        C::List { outdated: true } => add::outdated(app),
        C::Inspect { name } => inspect::execute(app, name),
        C::Doctor { reset } => doctor::execute(app, *reset),
        C::Add {
            what,
            index,
            sha256,
            allow_downgrade,
            no_activate,
        } => {
            let flags = add::Flags {
                index: index.as_deref(),
                sha256: sha256.as_deref(),
                allow_downgrade: *allow_downgrade,
                activate: !no_activate,
            };
            add::add(app, what, &flags)
        }
        C::Update { names, index } => add::update(app, names, index.as_deref()),
        C::Install { from } => add::install(app, from.as_deref()),
        C::Remove { what } => manage::remove(app, what),
        C::Rollback { name } => manage::rollback(app, name),
        C::Trust {
            source,
            key,
            remove,
        } => manage::trust(app, source.as_deref(), key.as_deref(), *remove),
        C::Lock => manage::lock(app),
        C::Pack {
            library,
            output,
            sign,
            include,
        } => publish::pack(app, library, output, sign.as_deref(), include),
        C::Index { dir } => publish::index(app, dir),
        C::Keygen { output } => publish::keygen(app, output),
        C::Test { library } => test::execute(app, library),
        C::New { name, output, api } => new::execute(app, name, output.as_deref(), api.as_deref()),
    }
}
