//! The plugin host: what a program holds for as long as it may call plugins.

use crate::discovery::{Plugin, SkipKind, Skipped, scan};
use crate::{CallOptions, CallOutcome, HostOptions, Request, Usage};
use dsperse_plugin_api::Error;
use std::path::Path;

/// Knows every plugin that can be called, and calls them. Threads may share it.
#[derive(Debug)]
pub struct PluginHost {
    options: HostOptions,
    plugins: Vec<Plugin>,
    skipped: Vec<Skipped>,
}

impl PluginHost {
    /// Looks for plugins and lets each one describe itself (from the cache, or in a
    /// worker when its library is new). Never fails: what can't be used is listed in
    /// [`PluginHost::skipped`] with its reason.
    #[must_use]
    pub fn discover(options: HostOptions) -> Self {
        let found = scan(&options.search);
        let mut skipped = found.skipped;
        for path in found.candidates {
            skipped.push(Skipped {
                path,
                kind: SkipKind::LoadFailed,
                reason: "the host can't load plugins yet".into(),
            });
        }
        Self {
            options,
            plugins: Vec::new(),
            skipped,
        }
    }

    /// What the host was built with.
    #[must_use]
    pub fn options(&self) -> &HostOptions {
        &self.options
    }

    /// Every plugin that can be called, in search order, each name once.
    #[must_use]
    pub fn plugins(&self) -> &[Plugin] {
        &self.plugins
    }

    /// Every library and directory that was passed over, each with one reason.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// The plugin whose backend has this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Plugin> {
        self.plugins.iter().find(|p| p.descriptor.name == name)
    }

    /// Runs one operation of the backend `name` and waits for it. Every fault of the
    /// plugin becomes a typed error in the outcome.
    #[must_use]
    pub fn call(&self, name: &str, request: Request, options: CallOptions) -> CallOutcome {
        let _ = (request, options);
        CallOutcome {
            result: Err(Error::invalid_input(format!(
                "no plugin named \"{name}\" is loaded"
            ))),
            usage: Usage::default(),
            log_tail: String::new(),
            cached: false,
        }
    }

    /// Forgets every quarantined library of a cache directory (`plugin doctor --reset`),
    /// so that the next discovery tries them again. Returns how many there were.
    ///
    /// # Errors
    /// When the quarantine file can't be removed.
    pub fn reset_quarantine(cache_dir: &Path) -> std::io::Result<usize> {
        let _ = cache_dir;
        Ok(0)
    }
}
