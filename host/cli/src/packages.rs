//! The user's packages as the command line works with them: where they are, what of them is
//! searched for backends, how a library is tried out, and the project's lock file.

use crate::app::{App, shown};
use crate::error::{Result, UserError};
use crate::exit::Exit;
use dsperse_packages::{LOCK_FILE, LockFile, Manifest, Package, PackageError, Root, platform};
use dsperse_plugin_api::conformance::{self, Caller as _, Outcome, WithOptions, samples};
use dsperse_plugin_api::job::Options;
use dsperse_plugin_host::{
    HostOptions, Isolation, PluginHost, SearchPath, SearchSource, WorkerCaller, user_data_dir,
};
use semver::{Comparator, Op, Version, VersionReq};
use std::path::{Path, PathBuf};

impl From<PackageError> for UserError {
    fn from(e: PackageError) -> Self {
        let hint = e.hint().map(str::to_owned);
        let (exit, message) = match e {
            PackageError::Usage { .. } => (Exit::Usage, e.to_string()),
            PackageError::Fetch { .. } => (Exit::BadInput, e.to_string()),
            PackageError::Refused { .. } => (Exit::Backend, e.to_string()),
            PackageError::Io { .. } => (Exit::Failed, e.to_string()),
            PackageError::Store(e) => return dsperse_stages::Error::from(e).into(),
        };
        Self {
            exit,
            message,
            hint,
        }
    }
}

/// Exactly this version.
pub fn exactly(version: &Version) -> VersionReq {
    VersionReq {
        comparators: vec![Comparator {
            op: Op::Exact,
            major: version.major,
            minor: Some(version.minor),
            patch: Some(version.patch),
            pre: version.pre.clone(),
        }],
    }
}

/// A backend that the project's lock file names.
pub struct LockedPlugin {
    name: String,
    version: Version,
    /// The library, when that package is installed.
    library: Option<(PathBuf, String)>,
}

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

    /// The project's lock file, which need not be there: beside the configuration that was
    /// named, or in the working directory.
    pub fn lock_file(&self) -> PathBuf {
        let config = self.global.backend_config.as_deref();
        config
            .and_then(Path::parent)
            .unwrap_or(Path::new(""))
            .join(LOCK_FILE)
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

    /// Adds installed packages to the places that are searched, those that the lock file
    /// names first. Returns what the lock file names.
    ///
    /// # Errors
    /// When what is installed, or the lock file, can't be read.
    pub fn add_packages(&self, options: &mut HostOptions) -> Result<Vec<LockedPlugin>> {
        let replaced =
            |p: &SearchPath| matches!(p.source, SearchSource::Flag | SearchSource::Environment);
        let Some(data) = user_data_dir().filter(|_| !options.search.iter().any(replaced)) else {
            return Ok(Vec::new());
        };
        let root = Root::below(&data);
        let state = root.state()?;
        let place = |package: &Package, source| SearchPath {
            path: root.library(package),
            source,
            sha256: Some(package.library_sha256.clone()),
        };
        // Before plain files of the user's directory.
        let at = options
            .search
            .iter()
            .position(|p| p.source == SearchSource::UserData)
            .unwrap_or(options.search.len());
        let mut packages = Vec::new();
        for installed in state.plugins.values() {
            let active = |v: &&Version| Some(*v) == installed.active.as_ref();
            let (mut first, rest): (Vec<_>, Vec<_>) =
                installed.versions.keys().rev().partition(active);
            first.extend(rest);
            packages.extend(
                first
                    .into_iter()
                    .map(|v| place(&installed.versions[v], SearchSource::Package)),
            );
        }
        options.search.splice(at..at, packages);
        let mut locked = Vec::new();
        let lock = LockFile::read(&self.lock_file())?.unwrap_or_default();
        for entry in lock.plugins {
            let package = state
                .plugins
                .get(&entry.name)
                .and_then(|p| p.versions.get(&entry.version))
                .filter(|p| {
                    entry
                        .platforms
                        .get(&platform())
                        .is_some_and(|o| o.sha256 == p.sha256)
                });
            let library = package.map(|p| {
                let place = place(p, SearchSource::Locked);
                let found = (place.path.clone(), p.library_sha256.clone());
                options.search.insert(0, place);
                found
            });
            let range = exactly(&entry.version);
            options.requirements.insert(entry.name.clone(), range);
            locked.push(LockedPlugin {
                name: entry.name,
                version: entry.version,
                library,
            });
        }
        Ok(locked)
    }

    /// Compares what the lock file names with what was loaded.
    ///
    /// # Errors
    /// The first that is another, or is not there.
    pub fn check_locked(&self, locked: &[LockedPlugin], host: &PluginHost) -> Result<()> {
        for plugin in locked {
            let why = match &plugin.library {
                None => "that package is not installed here".to_owned(),
                Some((path, digest)) => {
                    if host.get(&plugin.name).is_some_and(|p| p.digest == *digest) {
                        continue;
                    }
                    let skipped = host.skipped().iter().find(|s| s.path == *path);
                    skipped.map_or_else(
                        || format!("\"{}\" was not loaded", path.display()),
                        ToString::to_string,
                    )
                }
            };
            return Err(UserError {
                exit: Exit::Backend,
                message: format!(
                    "\"{}\" names backend \"{}\" {}: {why}",
                    shown(&self.lock_file()),
                    plugin.name,
                    plugin.version
                ),
                hint: Some("type: dsperse plugin install".to_owned()),
            });
        }
        Ok(())
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
