//! Where plugins are looked for, and every limit of the host in one place.

use dsperse_documents::setting::PLUGINS;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a plugin's code is run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// In a worker process of its own (the default).
    #[default]
    Process,
    /// In the host's own process: for debugging a plugin, with no containment at all.
    None,
}

/// Why a directory is searched; shown by `plugin list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchSource {
    /// `--plugins`, which replaces every other place.
    Flag,
    /// `DSPERSE_PLUGINS`, which replaces the built-in places.
    Environment,
    /// `DSPERSE_ADD_PLUGINS`, which is searched before the rest.
    Added,
    /// The directory of the executable.
    BesideExecutable,
    /// `lib/dsperse/plugins` below the parent of the executable's directory.
    Installed,
    /// What `dsperse plugin add` installed.
    Package,
    /// What the project's lock file names.
    Locked,
    /// The user's data directory.
    UserData,
}

impl SearchSource {
    /// Words for a message.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Flag => return PLUGINS.to_string(),
            Self::Environment => "DSPERSE_PLUGINS",
            Self::Added => "DSPERSE_ADD_PLUGINS",
            Self::BesideExecutable => "beside the executable",
            Self::Installed => "where the executable was installed",
            Self::Package => "installed by \"dsperse plugin add\"",
            Self::Locked => "named by the project's lock file",
            Self::UserData => "the user's data directory",
        }
        .to_owned()
    }

    /// Whether somebody asked for this very place, so that its absence is worth a word.
    #[must_use]
    pub fn explicit(self) -> bool {
        matches!(self, Self::Flag | Self::Environment | Self::Added)
    }
}

/// A directory to search, or one library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPath {
    /// A directory, or a library file (taken whatever it is called).
    pub path: PathBuf,
    /// Why it is searched.
    pub source: SearchSource,
    /// The SHA-256 that this library must have.
    pub sha256: Option<String>,
}

/// Limits and policy numbers.
#[derive(Debug, Clone)]
pub struct Policy {
    /// After this many crashes of one library (by digest) it is quarantined.
    pub crashes_to_quarantine: u32,
    /// How long a call may go on after it was asked to stop, before it is killed.
    pub cancel_grace: Duration,
    /// How long a worker may take to start and to load its library.
    pub load_timeout: Duration,
    /// How long `describe` may take.
    pub describe_timeout: Duration,
    /// Memory for loading a library and describing it, in bytes.
    pub describe_memory: u64,
    /// Largest answer document of a plugin, in bytes.
    pub max_reply_bytes: usize,
    /// How much of a call's output is kept in [`crate::CallOutcome::log_tail`], in bytes.
    pub log_tail_bytes: usize,
    /// How much of a call's output is forwarded as events, in bytes; beyond it only the
    /// tail is kept.
    pub max_output_bytes: usize,
    /// Idle workers kept for each reusable plugin.
    pub idle_workers: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            crashes_to_quarantine: 10,
            cancel_grace: Duration::from_secs(2),
            load_timeout: Duration::from_secs(60),
            describe_timeout: Duration::from_secs(20),
            describe_memory: 4 << 30,
            max_reply_bytes: 64 << 20,
            log_tail_bytes: 16 << 10,
            max_output_bytes: 1 << 20,
            idle_workers: 4,
        }
    }
}

/// How to build a [`crate::PluginHost`].
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Where to look, first match wins.
    pub search: Vec<SearchPath>,
    /// How plugins are run.
    pub isolation: Isolation,
    /// The program that serves `__worker`; `None` is this program itself.
    pub worker_program: Option<PathBuf>,
    /// Where descriptions, `supports` answers and the quarantine are kept; `None` keeps
    /// them in memory only.
    pub cache_dir: Option<PathBuf>,
    /// Which version a backend's name means where several are found.
    pub requirements: BTreeMap<String, semver::VersionReq>,
    /// Limits.
    pub policy: Policy,
}

impl HostOptions {
    /// Options that search exactly the given directories (or libraries), in order.
    #[must_use]
    pub fn with_paths<P: AsRef<Path>>(paths: &[P]) -> Self {
        Self {
            search: paths
                .iter()
                .map(|path| SearchPath {
                    path: path.as_ref().to_path_buf(),
                    source: SearchSource::Flag,
                    sha256: None,
                })
                .collect(),
            isolation: Isolation::default(),
            worker_program: None,
            cache_dir: None,
            requirements: BTreeMap::new(),
            policy: Policy::default(),
        }
    }

    /// What the program uses: the search order of the documentation, and the user's
    /// cache directory. `flag` holds the directories of `--plugins`; when it is not
    /// empty nothing else is searched.
    #[must_use]
    pub fn from_environment(flag: &[PathBuf]) -> Self {
        let env = Environment::of_process();
        let mut options = Self::with_paths::<PathBuf>(&[]);
        options.search = search_order(flag, &env);
        options.cache_dir = env.cache_dir();
        options
    }
}

/// The user's data directory; `None` when there is none, or when this program has more rights
/// than its user and can't trust what the user's environment says.
#[must_use]
pub fn user_data_dir() -> Option<PathBuf> {
    let env = Environment::of_process();
    env.data_home.filter(|_| !env.elevated)
}

/// What the search order depends on; a value so that it can be tested.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    pub(crate) plugins: Option<OsString>,
    pub(crate) add_plugins: Option<OsString>,
    pub(crate) executable: Option<PathBuf>,
    pub(crate) data_home: Option<PathBuf>,
    pub(crate) cache_home: Option<PathBuf>,
    /// Runs with more rights than the user who started it (set-user-ID and the like).
    pub(crate) elevated: bool,
}

impl Environment {
    fn of_process() -> Self {
        let absolute = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|p| p.is_absolute())
        };
        let home = absolute("HOME");
        let (data, cache) = if cfg!(target_os = "macos") {
            ("Library/Application Support", "Library/Caches")
        } else {
            (".local/share", ".cache")
        };
        Self {
            plugins: std::env::var_os("DSPERSE_PLUGINS"),
            add_plugins: std::env::var_os("DSPERSE_ADD_PLUGINS"),
            executable: std::env::current_exe().ok(),
            data_home: absolute("XDG_DATA_HOME").or_else(|| home.as_ref().map(|h| h.join(data))),
            cache_home: absolute("XDG_CACHE_HOME").or_else(|| home.as_ref().map(|h| h.join(cache))),
            elevated: elevated(),
        }
    }

    fn cache_dir(&self) -> Option<PathBuf> {
        // A cache chosen by the caller's environment could vouch for libraries.
        if self.elevated {
            return None;
        }
        self.cache_home
            .as_ref()
            .map(|dir| dir.join("dsperse").join("plugins"))
    }
}

/// The documented search order.
pub(crate) fn search_order(flag: &[PathBuf], env: &Environment) -> Vec<SearchPath> {
    let from = |paths: Vec<PathBuf>, source| {
        paths
            .into_iter()
            .filter(|p| !p.as_os_str().is_empty())
            .map(move |path| SearchPath {
                path,
                source,
                sha256: None,
            })
    };
    if !flag.is_empty() {
        return from(flag.to_vec(), SearchSource::Flag).collect();
    }
    let split = |value: &Option<OsString>| -> Vec<PathBuf> {
        match value {
            Some(value) if !env.elevated => std::env::split_paths(value).collect(),
            _ => Vec::new(),
        }
    };
    let mut search: Vec<SearchPath> = from(split(&env.add_plugins), SearchSource::Added).collect();
    let replaced = split(&env.plugins);
    if replaced.is_empty() {
        let beside = env.executable.as_ref().and_then(|exe| exe.parent());
        search.extend(from(
            beside.map(Path::to_path_buf).into_iter().collect(),
            SearchSource::BesideExecutable,
        ));
        // Where installers put libraries that belong to a program in PREFIX/bin.
        let prefix = beside.and_then(Path::parent);
        search.extend(from(
            prefix
                .map(|dir| dir.join("lib").join("dsperse").join("plugins"))
                .into_iter()
                .collect(),
            SearchSource::Installed,
        ));
        // The data directory comes from HOME, which a set-user-ID program can't trust.
        let data = env.data_home.as_ref().filter(|_| !env.elevated);
        search.extend(from(
            data.map(|dir| dir.join("dsperse").join("plugins"))
                .into_iter()
                .collect(),
            SearchSource::UserData,
        ));
    } else {
        search.extend(from(replaced, SearchSource::Environment));
    }
    search
}

/// Whether the process has more rights than the user who started it.
fn elevated() -> bool {
    rustix::process::getuid() != rustix::process::geteuid()
        || rustix::process::getgid() != rustix::process::getegid()
        || crate::sys::secure_execution()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Environment {
        Environment {
            plugins: None,
            add_plugins: None,
            executable: Some("/opt/bin/dsperse".into()),
            data_home: Some("/home/u/.local/share".into()),
            cache_home: Some("/home/u/.cache".into()),
            elevated: false,
        }
    }

    fn paths(search: &[SearchPath]) -> Vec<&str> {
        search.iter().filter_map(|s| s.path.to_str()).collect()
    }

    #[test]
    fn defaults_are_beside_the_executable_then_the_data_directory() {
        let search = search_order(&[], &env());
        assert_eq!(
            paths(&search),
            [
                "/opt/bin",
                "/opt/lib/dsperse/plugins",
                "/home/u/.local/share/dsperse/plugins"
            ]
        );
    }

    #[test]
    fn the_flag_replaces_everything() {
        let mut env = env();
        env.plugins = Some("/env".into());
        env.add_plugins = Some("/add".into());
        assert_eq!(paths(&search_order(&["/flag".into()], &env)), ["/flag"]);
    }

    #[test]
    fn the_environment_replaces_and_prepends() {
        let mut env = env();
        env.plugins = Some("/a:/b".into());
        env.add_plugins = Some("/first::".into());
        let search = search_order(&[], &env);
        assert_eq!(paths(&search), ["/first", "/a", "/b"]);
        assert_eq!(search[0].source, SearchSource::Added);
        assert_eq!(search[1].source, SearchSource::Environment);
    }

    #[test]
    fn elevated_rights_ignore_the_environment() {
        let mut env = env();
        env.plugins = Some("/evil".into());
        env.add_plugins = Some("/evil".into());
        env.elevated = true;
        assert_eq!(
            paths(&search_order(&[], &env)),
            ["/opt/bin", "/opt/lib/dsperse/plugins"]
        );
        assert_eq!(env.cache_dir(), None);
    }
}
