//! The user's packages as the command line works with them: where they are, how a library is
//! tried out, and changes of the project's lock file.

use crate::app::App;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use dsperse_packages::{LockFile, Manifest, Root};
use dsperse_plugin_api::conformance::{self, Caller as _, Outcome, WithOptions, samples};
use dsperse_plugin_api::job::Options;
use dsperse_plugin_host::{Isolation, WorkerCaller, user_data_dir};
use std::path::{Path, PathBuf};

impl App {
    /// Where packages are installed.
    ///
    /// # Errors
    /// When this user has no data directory.
    pub fn packages(&self) -> Result<Root> {
        let data = user_data_dir().ok_or_else(|| UserError {
            exit: Exit::Failed,
            message: "there is no place for packages: neither HOME nor XDG_DATA_HOME says where this user's data are".to_owned(),
            hint: Some("set HOME, or put libraries into a directory and name it with --plugins".to_owned()),
        })?;
        Ok(Root::below(&data))
    }

    /// Whether the working directory is a project, whose lock file commands keep.
    fn is_project(&self) -> bool {
        self.global.backend_config.is_some()
            || Path::new("dsperse.toml").is_file()
            || self.lock_file().is_file()
    }

    /// Enters a change into the project's lock file, if this is a project. Returns the file.
    ///
    /// # Errors
    /// When it can't be read or written.
    pub fn enter(&self, change: impl FnOnce(&mut LockFile)) -> Result<Option<PathBuf>> {
        if !self.is_project() {
            return Ok(None);
        }
        let path = self.lock_file();
        let mut lock = LockFile::read(&path)?.unwrap_or_default();
        change(&mut lock);
        lock.write(&path)?;
        Ok(Some(path))
    }

    /// Tries a library out in workers: it must be what its package says, and pass the
    /// conformance checks.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn smoke(&self, library: &Path, manifest: &Manifest) -> Result<(), String> {
        let mut options = self.host_options();
        options.isolation = Isolation::Process;
        let caller = WorkerCaller::new(library, &options);
        let descriptor = caller
            .describe()
            .and_then(|raw| raw.descriptor())
            .map_err(|e| e.message)?;
        if (&descriptor.name, &descriptor.version) != (&manifest.name, &manifest.version) {
            return Err(format!(
                "it calls itself {} {}, its package says {} {}",
                descriptor.name, descriptor.version, manifest.name, manifest.version
            ));
        }
        let config = self.config().map_err(|e| e.message)?;
        // Options of a project may be for another version.
        let options = config
            .options(&descriptor)
            .unwrap_or_else(|_| Options::new());
        let caller = WithOptions {
            inner: caller,
            options,
        };
        let report = conformance::run(&caller, &samples::all());
        // The first complaint of each check; "plugin test" shows all.
        let failed: Vec<String> = report
            .results
            .iter()
            .filter_map(|r| match &r.outcome {
                Outcome::Failed(lines) => {
                    let first = lines.first().map_or("", String::as_str);
                    Some(format!(
                        "check {} ({}): {first}",
                        r.check.number, r.check.name
                    ))
                }
                _ => None,
            })
            .collect();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(failed.join("\n"))
        }
    }
}
