//! What all commands share: plugins, configuration, interruption.

use crate::args::{Global, Isolation, common, units};
use crate::console::progress::Progress;
use crate::console::shown;
use crate::error::{Result, UserError};
use crate::executor;
use crate::exit::Exit;
use crate::locked::{self, LockedPlugin};
use crate::nothing;
use crate::output;
use crate::prompt::{self, Prompt};
use dsperse_packages::LOCK_FILE;
use dsperse_plugin_host::{CancelToken, HostOptions, PluginHost};
use dsperse_stages::job::Executor;
use dsperse_stages::local::LocalExecutor;
use dsperse_stages::{Config, Limits, Session};
use std::path::{Path, PathBuf};
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

impl App {
    /// An app for these flags, which listens for interrupts.
    #[must_use]
    pub fn new(global: Global, progress: Progress) -> Self {
        let app = Self {
            prompt: Prompt::new(global.no_input),
            cancel: CancelToken::new(),
            progress,
            global,
        };
        if let Err(e) = app.listen_for_interrupt() {
            tracing::warn!("interrupts can't be handled: {e}");
        }
        app
    }

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
        let locked = locked::add(&self.lock_file(), &mut options)?;
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

    /// The project's lock file, which need not be there: beside the configuration that was
    /// named, or in the working directory.
    pub fn lock_file(&self) -> PathBuf {
        let config = self.global.backend_config.as_deref();
        config
            .and_then(Path::parent)
            .unwrap_or(Path::new(""))
            .join(LOCK_FILE)
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
        locked::check(&self.lock_file(), &locked, &host)?;
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
            return Err(nothing::loaded(&host));
        }
        let result = work(&session);
        self.progress.finish();
        result
    }

    /// Takes the progress off the screen.
    pub fn finish(&self) {
        self.progress.finish();
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
