//! Who carries jobs out: `--executor` and `[executor]`.

use crate::args::common::{Engine as Flag, ExecutorKind};
use crate::args::units;
use crate::error::{Result, UserError};
use dsperse_engines::process::Process;
use dsperse_engines::ray::Ray;
use dsperse_engines::settings::Units;
use dsperse_engines::slurm::Slurm;
use dsperse_engines::store::Store;
use dsperse_engines::{Engine, Kind, RemoteExecutor, Settings};
use dsperse_plugin_host::PluginHost;
use dsperse_stages::Config;
use std::path::Path;

/// `[executor]`, with what the command line puts in its place.
pub fn settings(flag: &Flag, config: &Config, parallel: Option<usize>) -> Result<Settings> {
    let units = Units {
        size: units::size,
        duration: units::duration,
    };
    let base = config.file.as_deref().and_then(Path::parent);
    let mut settings = Settings::read(&config.executor, base.unwrap_or(Path::new("")), &units)?;
    if let Some(kind) = flag.executor {
        settings.kind = match kind {
            ExecutorKind::Local => Kind::Local,
            ExecutorKind::Process => Kind::Process,
            ExecutorKind::Slurm => Kind::Slurm,
            ExecutorKind::Ray => Kind::Ray,
        };
    }
    settings.in_flight = parallel.unwrap_or(settings.in_flight);
    Ok(settings)
}

/// The executor that sends jobs away; `None` when they stay here.
pub fn remote<'h>(
    flag: &Flag,
    config: &Config,
    parallel: Option<usize>,
    host: &'h PluginHost,
) -> Result<Option<RemoteExecutor<'h>>> {
    let mut settings = settings(flag, config, parallel)?;
    if settings.kind == Kind::Local {
        return Ok(None);
    }
    let Some(place) = &settings.store else {
        return Err(UserError::usage(
            "jobs for other machines need a directory that all of them see, and dsperse.toml names none",
            "add to dsperse.toml:\n[executor]\nstore = \"/a/shared/directory\"",
        ));
    };
    let store = Store::create(place)?;
    let command = &mut settings.command;
    if command.program.is_empty() {
        // Nodes see this program and its plugins under the same paths.
        let own = std::env::current_exe().map_err(|e| {
            UserError::usage(
                format!("this program does not know its own path: {e}"),
                "name the one that nodes have: program in [executor]",
            )
        })?;
        command.program = own.to_string_lossy().into_owned();
        if command.plugins.is_empty() {
            let all = host.plugins().iter().chain(host.other_versions());
            command.plugins = all.map(|p| p.path.clone()).collect();
        }
    }
    let engine: Box<dyn Engine> = match settings.kind {
        Kind::Local => return Ok(None),
        Kind::Process => Box::new(Process::new(
            settings.command.clone(),
            settings.nodes.clone(),
        )),
        Kind::Slurm => Box::new(
            Slurm::new(
                settings.command.clone(),
                settings.options.clone(),
                store.clone(),
            )
            .map_err(|e| unreachable("Slurm", &e))?,
        ),
        Kind::Ray => Box::new(
            Ray::new(
                settings.command.clone(),
                &settings.python,
                &settings.address,
            )
            .map_err(|e| unreachable("Ray", &e))?,
        ),
    };
    Ok(Some(RemoteExecutor::new(host, engine, store, settings)))
}

fn unreachable(engine: &str, e: &str) -> UserError {
    dsperse_stages::Error::failed(format!("{engine} can't be used: {e}"))
        .with_hint("see docs/engines.md, or leave --executor out")
        .into()
}
