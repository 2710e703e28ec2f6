//! What every stage works with: plugins, options, limits, cancellation, and a listener.

use crate::backend::{FIDELITY_TARGET, Loaded, takes_target};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::event::{Event, Events};
use crate::job::{Executor, Job, Work};
use crate::schedule::{self, Bounds};
use dsperse_plugin_api::{Descriptor, job::Options};
use dsperse_plugin_host::{CancelToken, Control, DEFAULT_ARTEFACTS, EventSink, PluginHost};
use dsperse_router::{Defaults, Spec};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use dsperse_documents::DEFAULT_MAX_ERROR;

/// Bounds that the user sets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Slices at the same time.
    pub parallel: Option<usize>,
    /// Longest wall time of a job; without it, [`default_timeout`].
    pub timeout: Option<Duration>,
    /// Most memory of a job; without it, [`schedule::most_memory`].
    pub memory: Option<u64>,
    /// Most bytes of files that a job may hand back; without it, [`DEFAULT_ARTEFACTS`].
    pub artefacts: Option<u64>,
    /// Largest error of the model's outputs against the float model.
    pub max_error: Option<f64>,
}

/// Longest wall time of a job when the user says nothing: questions and verdicts are quick,
/// compiling and proving may take a day. A hostile or stuck backend ends there.
#[must_use]
pub fn default_timeout(work: &Work) -> Duration {
    const HOUR: u64 = 3600;
    Duration::from_secs(match work {
        Work::Supports => HOUR / 6,
        Work::Verify { .. } => HOUR,
        Work::Compile { .. } | Work::Witness { .. } | Work::Prove { .. } => 24 * HOUR,
    })
}

/// A backend with its options, as the session keeps it.
#[derive(Clone)]
struct Backend {
    /// `name@version`.
    exact: String,
    /// Whether the name alone means another version.
    beside: bool,
    descriptor: Descriptor,
    digest: String,
    options: Options,
}

/// What every stage works with. Stages know backends by what they say of themselves, and
/// reach them through the [`Executor`] only.
pub struct Session<'a> {
    executor: &'a dyn Executor,
    backends: Vec<Backend>,
    /// Default chain and fallback.
    pub defaults: Defaults,
    /// Bounds.
    pub limits: Limits,
    /// Asks everything to stop.
    pub cancel: CancelToken,
    events: Events,
}

impl<'a> Session<'a> {
    /// Compares the configuration with the loaded plugins.
    ///
    /// # Errors
    /// When an option is unknown or has the wrong type.
    pub fn new(
        host: &PluginHost,
        executor: &'a dyn Executor,
        config: &Config,
        limits: Limits,
        cancel: CancelToken,
        events: Events,
    ) -> Result<Self> {
        let loaded = host.plugins().iter().chain(host.other_versions());
        Self::with_backends(
            loaded.map(|p| (p.descriptor.clone(), p.digest.clone())),
            executor,
            config,
            limits,
            cancel,
            events,
        )
    }

    /// The same for backends of which only descriptors and the digests of their libraries
    /// are known here. Of several versions of one name, the name means the first.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn with_backends(
        backends: impl IntoIterator<Item = (Descriptor, String)>,
        executor: &'a dyn Executor,
        config: &Config,
        limits: Limits,
        cancel: CancelToken,
        events: Events,
    ) -> Result<Self> {
        let mut known: Vec<Backend> = Vec::new();
        for (descriptor, digest) in backends {
            let beside = known.iter().any(|b| b.descriptor.name == descriptor.name);
            let mut options = match config.options(&descriptor) {
                Ok(options) => options,
                // The options are for the version that the name means.
                Err(e) if beside => {
                    tracing::info!(
                        "{} {} is left out: {e}",
                        descriptor.name,
                        descriptor.version
                    );
                    continue;
                }
                Err(e) => return Err(e),
            };
            if let Some(error) = limits.max_error.filter(|_| takes_target(&descriptor)) {
                options.insert(FIDELITY_TARGET.to_owned(), error.into());
            }
            known.push(Backend {
                exact: format!("{}@{}", descriptor.name, descriptor.version),
                beside,
                options,
                descriptor,
                digest,
            });
        }
        let backends = known;
        let session = Self {
            executor,
            backends,
            defaults: config.defaults.clone(),
            limits,
            cancel,
            events,
        };
        // The default chain may name what is not installed; a chain of the user's own
        // may be misspelt.
        let usual = Defaults::default().chain;
        let (chain, last) = (&session.defaults.chain, &session.defaults.fallback);
        let chosen = chain.iter().chain([last]).filter(|n| !usual.contains(n));
        let chosen = chosen.map(|name| (name.as_str(), "the chain has"));
        let set = config
            .backends()
            .map(|name| (name, "there are options for"));
        for (name, how) in chosen.chain(set) {
            if session.loaded(name).is_none() {
                session.warn(
                    format!("in the configuration, {how} backend \"{name}\", which is not loaded"),
                    Some("see \"dsperse plugin list\"".to_owned()),
                );
            }
        }
        Ok(session)
    }

    /// The same session, with jobs carried out on this machine only: for what must not rest
    /// on the word of another.
    #[must_use]
    pub fn here(&self) -> Session<'a> {
        Session {
            executor: self.executor.here().unwrap_or(self.executor),
            backends: self.backends.clone(),
            defaults: self.defaults.clone(),
            limits: self.limits,
            cancel: self.cancel.clone(),
            events: self.events.clone(),
        }
    }

    /// The executor of jobs.
    #[must_use]
    pub fn executor(&self) -> &'a dyn Executor {
        self.executor
    }

    /// A backend by name, or by `name@version`.
    #[must_use]
    pub fn loaded(&self, name: &str) -> Option<Loaded<'_>> {
        let exact = name.contains('@');
        let meant = |b: &&Backend| match exact {
            true => b.exact == name,
            false => b.descriptor.name == name && !b.beside,
        };
        let backend = self.backends.iter().find(meant)?;
        Some(Loaded {
            key: match exact {
                true => &backend.exact,
                false => &backend.descriptor.name,
            },
            descriptor: &backend.descriptor,
            digest: &backend.digest,
            options: &backend.options,
        })
    }

    /// Names of all backends, each once.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let meant = self.backends.iter().filter(|b| !b.beside);
        meant.map(|b| b.descriptor.name.as_str())
    }

    /// Compares the names of a backend spec with what is loaded.
    ///
    /// # Errors
    /// Points at the first that is not loaded.
    pub fn check_names(&self, spec: &Spec) -> Result<()> {
        let loaded = self.backends.iter();
        Ok(spec.check_names(loaded.map(|b| (b.descriptor.name.as_str(), &b.descriptor.version)))?)
    }

    /// The backend that computes slices in floats: the configured fallback, or the first
    /// executor that is loaded.
    ///
    /// # Errors
    /// When none is loaded.
    pub fn float_executor(&self) -> Result<Loaded<'_>> {
        let configured = self.loaded(&self.defaults.fallback);
        configured
            .filter(Loaded::is_executor)
            .or_else(|| {
                self.names()
                    .filter_map(|n| self.loaded(n))
                    .find(Loaded::is_executor)
            })
            .ok_or_else(|| {
                Error::backend("no backend that executes slices is loaded")
                    .with_hint("see \"dsperse plugin list\" for what was skipped and why")
            })
    }

    /// Reports an event.
    pub fn emit(&self, event: &Event) {
        (self.events)(event);
    }

    /// Reports something the user should know.
    pub fn warn(&self, message: String, hint: Option<String>) {
        self.emit(&Event::Warning { message, hint });
    }

    /// Largest error of the model's outputs.
    #[must_use]
    pub fn max_error(&self) -> f64 {
        self.limits.max_error.unwrap_or(DEFAULT_MAX_ERROR)
    }

    /// Slices at the same time.
    #[must_use]
    pub fn parallel(&self) -> usize {
        self.limits.parallel.unwrap_or_else(processors)
    }

    /// Bounds of the pool.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        match self.executor.at_once() {
            // What is elsewhere takes no memory here.
            Some(parallel) => Bounds {
                parallel,
                memory: u64::MAX,
            },
            None => Bounds {
                parallel: self.parallel(),
                memory: schedule::available_memory(),
            },
        }
    }

    /// Bounds and companions of a job on one of `jobs` slices.
    #[must_use]
    pub fn control(&self, dir: &Path, job: &Job, jobs: usize) -> Control {
        let events = self.events.clone();
        let (slice, backend) = (job.slice.index, job.backend.clone());
        let forward: EventSink = Arc::new(move |event| {
            events(&Event::Call {
                slice,
                backend: backend.clone(),
                event: event.clone(),
            });
        });
        Control {
            dir: dir.to_path_buf(),
            threads: (processors() / self.parallel().min(jobs.max(1))).max(1),
            timeout: Some(
                self.limits
                    .timeout
                    .unwrap_or_else(|| default_timeout(&job.work)),
            ),
            memory: Some(self.limits.memory.unwrap_or_else(schedule::most_memory)),
            artefacts: self.limits.artefacts.unwrap_or(DEFAULT_ARTEFACTS),
            cancel: self.cancel.clone(),
            events: Some(forward),
        }
    }

    /// Fails when the user interrupted.
    ///
    /// # Errors
    /// The interruption.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            Err(Error::interrupted())
        } else {
            Ok(())
        }
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
