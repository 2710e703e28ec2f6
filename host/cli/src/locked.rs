//! What is installed among the places that are searched for backends, and what the project's
//! lock file wants of it.

use crate::console::shown;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use dsperse_packages::{LockFile, Package, PackageError, Root, platform};
use dsperse_plugin_host::{HostOptions, PluginHost, SearchPath, SearchSource, user_data_dir};
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

/// Adds installed packages to the places that are searched, those that the lock file
/// names first. Returns what the lock file names.
///
/// # Errors
/// When what is installed, or the lock file, can't be read.
pub fn add(lock_file: &Path, options: &mut HostOptions) -> Result<Vec<LockedPlugin>> {
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
        let (mut first, rest): (Vec<_>, Vec<_>) = installed.versions.keys().rev().partition(active);
        first.extend(rest);
        packages.extend(
            first
                .into_iter()
                .map(|v| place(&installed.versions[v], SearchSource::Package)),
        );
    }
    options.search.splice(at..at, packages);
    let mut locked = Vec::new();
    let lock = LockFile::read(lock_file)?.unwrap_or_default();
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
pub fn check(lock_file: &Path, locked: &[LockedPlugin], host: &PluginHost) -> Result<()> {
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
                shown(lock_file),
                plugin.name,
                plugin.version
            ),
            hint: Some("type: dsperse plugin install".to_owned()),
        });
    }
    Ok(())
}
