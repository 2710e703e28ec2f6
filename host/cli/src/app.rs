//! What all commands share: parsing, logging, plugins, configuration, interruption.

use crate::args::{Cli, ColorWhen, Global, Isolation, ProgressHow, common, units};
use crate::commands;
use crate::console::progress::{Mode, Progress};
use crate::error::{Result, UserError};
use crate::executor;
use crate::exit::Exit;
use crate::output;
use crate::packages::LockedPlugin;
use crate::prompt::{self, Prompt};
use clap::{CommandFactory, FromArgMatches};
use dsperse_plugin_host::{CancelToken, HostOptions, PluginHost};
use dsperse_stages::job::Executor;
use dsperse_stages::local::LocalExecutor;
use dsperse_stages::{Config, Limits, Session};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Everything that a command needs beside its own arguments.
pub struct App {
    /// Flags that every command takes.
    pub global: Global,
    /// Questions.
    pub prompt: Prompt,
    cancel: CancelToken,
    progress: Progress,
}

/// Parses, runs and reports.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    start_logging(&cli.global);
    let colour = colour(cli.global.color);
    let mode = match cli.global.progress {
        ProgressHow::Json => Mode::Json,
        ProgressHow::None => Mode::Quiet,
        _ if cli.global.quiet => Mode::Quiet,
        ProgressHow::Plain => Mode::Plain,
        ProgressHow::Auto if std::io::stderr().is_terminal() => Mode::Terminal,
        ProgressHow::Auto => Mode::Plain,
    };
    let app = App {
        prompt: Prompt::new(cli.global.no_input),
        cancel: CancelToken::new(),
        progress: Progress::new(mode, colour),
        global: cli.global,
    };
    if let Err(e) = app.listen_for_interrupt() {
        tracing::warn!("interrupts can't be handled: {e}");
    }
    let result = commands::execute(&app, cli.command);
    app.progress.finish();
    match result {
        Ok(_) if app.cancel.is_cancelled() => Exit::Interrupted.into(),
        Ok(exit) => exit,
        Err(e) => {
            app.report(&e, colour);
            e.exit.into()
        }
    }
}

fn parse() -> std::result::Result<Cli, Exit> {
    // Colours of help and usage errors are decided before anything is parsed.
    let choice = std::env::args()
        .skip_while(|a| a != "--color")
        .nth(1)
        .or_else(|| std::env::args().find_map(|a| Some(a.strip_prefix("--color=")?.to_owned())));
    let choice = match choice.as_deref() {
        Some("always") => clap::ColorChoice::Always,
        Some("never") => clap::ColorChoice::Never,
        _ => clap::ColorChoice::Auto,
    };
    let parsed = Cli::command()
        .color(choice)
        .try_get_matches()
        .and_then(|m| Cli::from_arg_matches(&m));
    parsed.map_err(|e| {
        // Help and version are no errors; clap knows where each of them goes.
        let exit = if e.use_stderr() {
            Exit::Usage
        } else {
            Exit::Done
        };
        if exit == Exit::Usage && std::env::args().any(|a| a == "--json") {
            // The message is the first paragraph; usage and advice follow.
            let said = e.to_string();
            let paragraph = said.split("\n\n").next().unwrap_or_default();
            let message = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
            let error = UserError::usage(
                message.strip_prefix("error: ").unwrap_or(&message),
                "--help of the command tells what it takes",
            );
            output::json(&error.to_json());
        }
        let _ = e.print();
        exit
    })
}

fn colour(when: ColorWhen) -> bool {
    match when {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto => {
            std::io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        }
    }
}

fn start_logging(global: &Global) {
    use tracing_subscriber::EnvFilter;
    let default = match (global.quiet, global.verbose) {
        (true, _) => "error",
        // The engine warns of every operator set that its authors have not tested yet.
        (_, 0) => "warn,tract_onnx=error",
        (_, 1) => "info",
        (_, 2) => "debug",
        _ => "trace",
    };
    let filter = match &global.log_level {
        Some(level) => EnvFilter::try_new(level),
        None if global.verbose == 0 && !global.quiet => {
            EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(default))
        }
        None => EnvFilter::try_new(default),
    };
    let filter = filter.unwrap_or_else(|e| {
        eprintln!("warning: the log filter is not valid and is ignored: {e}");
        EnvFilter::new(default)
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour(global.color))
        .without_time()
        .init();
}

impl App {
    /// The first interrupt asks everything to stop; the second, or one at a question, ends
    /// the process.
    fn listen_for_interrupt(&self) -> std::result::Result<(), ctrlc::Error> {
        let cancel = self.cancel.clone();
        let second = Arc::new(AtomicBool::new(false));
        ctrlc::set_handler(move || {
            if prompt::is_asking() {
                eprintln!("\nerror: interrupted");
                std::process::exit(Exit::Interrupted as i32);
            }
            if second.swap(true, Ordering::SeqCst) {
                std::process::exit(Exit::Interrupted as i32);
            }
            cancel.cancel();
        })
    }

    fn report(&self, e: &UserError, colour: bool) {
        if self.global.json {
            output::json(&e.to_json());
        }
        let text = e.render();
        if colour {
            eprintln!("{}", text.replacen("error:", "\x1b[31merror:\x1b[0m", 1));
        } else {
            eprintln!("{text}");
        }
    }

    /// Finds the plugins.
    ///
    /// # Errors
    /// When the configuration, which may say which versions it wants, can't be read.
    pub fn plugins(&self) -> Result<PluginHost> {
        Ok(self.discover()?.0)
    }

    /// The plugins, and those that the project's lock file names.
    fn discover(&self) -> Result<(PluginHost, Vec<LockedPlugin>)> {
        let mut options = self.host_options();
        options.requirements = self.config()?.require;
        let locked = self.add_packages(&mut options)?;
        Ok((PluginHost::discover(options), locked))
    }

    /// How plugins are found and run.
    #[must_use]
    pub fn host_options(&self) -> HostOptions {
        let mut options = HostOptions::from_environment(&self.global.plugins);
        options.isolation = match self.global.isolation {
            Isolation::Process => dsperse_plugin_host::Isolation::Process,
            Isolation::None => dsperse_plugin_host::Isolation::None,
        };
        options
    }

    /// The configuration: `--backend-config`, `./dsperse.toml`, or the user's.
    ///
    /// # Errors
    /// When it can't be read or has a key that means nothing.
    pub fn config(&self) -> Result<Config> {
        if let Some(path) = &self.global.backend_config {
            return Ok(Config::read(path)?);
        }
        let here = PathBuf::from("dsperse.toml");
        let users = user_config_dir().map(|d| d.join("dsperse").join("dsperse.toml"));
        match [Some(here), users]
            .into_iter()
            .flatten()
            .find(|p| p.is_file())
        {
            Some(path) => Ok(Config::read(&path)?),
            None => Ok(Config::default()),
        }
    }

    /// Calls `work` with plugins, configuration and limits.
    ///
    /// # Errors
    /// What `work` returns, or a wrong configuration.
    pub fn with_session<T>(
        &self,
        limits: Option<&common::Limits>,
        work: impl FnOnce(&Session<'_>) -> Result<T>,
    ) -> Result<T> {
        self.session(limits, None, true, work)
    }

    /// As [`App::with_session`], with jobs carried out by whom the user names.
    ///
    /// # Errors
    /// What `work` returns, a wrong configuration, or an engine that can't be reached.
    pub fn with_executor<T>(
        &self,
        limits: &common::Limits,
        engine: &common::Engine,
        work: impl FnOnce(&Session<'_>) -> Result<T>,
    ) -> Result<T> {
        self.session(Some(limits), Some(engine), true, work)
    }

    /// Asks everything to stop.
    pub fn cancel(&self) -> &CancelToken {
        &self.cancel
    }

    /// As [`App::with_session`], for work that can do without any backend.
    ///
    /// # Errors
    /// What `work` returns, or a wrong configuration.
    pub fn with_bare_session<T>(
        &self,
        limits: Option<&common::Limits>,
        work: impl FnOnce(&Session<'_>) -> Result<T>,
    ) -> Result<T> {
        self.session(limits, None, false, work)
    }

    fn session<T>(
        &self,
        limits: Option<&common::Limits>,
        engine: Option<&common::Engine>,
        needs_backend: bool,
        work: impl FnOnce(&Session<'_>) -> Result<T>,
    ) -> Result<T> {
        let config = self.config()?;
        let (host, locked) = self.discover()?;
        self.check_locked(&locked, &host)?;
        required(&host, &config)?;
        let limits = merged(limits, &config)?;
        let remote = match engine {
            Some(engine) => executor::remote(engine, &config, limits.parallel, &host)?,
            None => None,
        };
        let local = LocalExecutor::new(&host);
        let progress = self.progress.clone();
        let session = Session::new(
            &host,
            remote.as_ref().map_or(&local as &dyn Executor, |r| r),
            &config,
            limits,
            self.cancel.clone(),
            Arc::new(move |e| progress.handle(e)),
        )?;
        if needs_backend && host.plugins().is_empty() {
            return Err(crate::nothing::loaded(&host));
        }
        let result = work(&session);
        self.progress.finish();
        result
    }

    /// Tells what was chosen where the user left a choice open.
    pub fn tell(&self, message: String) {
        self.progress
            .handle(&dsperse_stages::Event::Note { message });
    }

    /// Prints a part of the summary ahead of the rest.
    pub fn note(&self, summary: &str) {
        self.progress.finish();
        output::text(summary);
    }

    /// Prints the result of a command: the summary, or the document under `--json`.
    pub fn print(&self, summary: &str, document: &impl serde::Serialize) {
        self.progress.finish();
        if self.global.json {
            output::json(document);
        } else if !summary.is_empty() {
            output::text(summary);
        }
    }
}

/// Compares what the configuration requires with what is loaded.
fn required(host: &PluginHost, config: &Config) -> Result<()> {
    for (name, range) in &config.require {
        let found = host.get(name).map(|p| &p.descriptor.version);
        if found.is_some_and(|v| range.matches(v)) {
            continue;
        }
        let file = config.file.as_deref().unwrap_or(Path::new("dsperse.toml"));
        let versions: Vec<String> = found
            .into_iter()
            .chain(
                host.other_versions()
                    .iter()
                    .map(|p| &p.descriptor)
                    .filter(|d| d.name == *name)
                    .map(|d| &d.version),
            )
            .map(ToString::to_string)
            .collect();
        return Err(UserError {
            exit: Exit::Backend,
            message: format!(
                "\"{}\" requires backend \"{name}\" {range}, found {}",
                shown(file),
                match versions.is_empty() {
                    true => "none".to_owned(),
                    false => versions.join(", "),
                }
            ),
            hint: Some(format!("type: dsperse plugin add \"{name}@{range}\"")),
        });
    }
    Ok(())
}

/// Limits of the command line over those of the configuration.
fn merged(flags: Option<&common::Limits>, config: &Config) -> Result<Limits> {
    let wrong = |e: String| UserError::usage(format!("dsperse.toml: {e}"), "correct [limits]");
    let timeout = config.timeout.as_deref().map(units::duration).transpose();
    let memory = config.memory.as_deref().map(units::size).transpose();
    let artefacts = config.artefacts.as_deref().map(units::size).transpose();
    let parallel = config.parallel.and_then(|n| usize::try_from(n).ok());
    Ok(Limits {
        parallel: flags.and_then(|f| f.parallel).or(parallel),
        timeout: flags.and_then(|f| f.timeout).or(timeout.map_err(wrong)?),
        memory: flags.and_then(|f| f.memory).or(memory.map_err(wrong)?),
        artefacts: artefacts.map_err(wrong)?,
        max_error: flags.and_then(|f| f.max_error),
    })
}

fn user_config_dir() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))
}

/// A path as it is shown: relative to the current directory when it lies below it.
#[must_use]
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().and_then(|d| d.canonicalize()).ok();
    let relative = here.and_then(|h| path.strip_prefix(h).ok().map(Path::to_path_buf));
    relative
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or_else(|| path.to_path_buf())
        .display()
        .to_string()
}
