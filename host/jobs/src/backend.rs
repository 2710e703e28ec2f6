//! A backend as stages and jobs know it: what it says of itself, and its options.

use dsperse_plugin_api::{Descriptor, Stage, job::Options};

/// The option by which backends that quantise are told how close they have to come.
pub const FIDELITY_TARGET: &str = "fidelity_target";

/// Whether a backend measures its own fidelity and takes a target for it.
#[must_use]
pub fn takes_target(descriptor: &Descriptor) -> bool {
    descriptor.options.iter().any(|o| o.key == FIDELITY_TARGET)
}

/// A backend that can be called, with its options.
#[derive(Debug, Clone, Copy)]
pub struct Loaded<'a> {
    /// What it was asked for as: its name, or `name@version`.
    pub key: &'a str,
    /// What it says of itself.
    pub descriptor: &'a Descriptor,
    /// SHA-256 of its library.
    pub digest: &'a str,
    /// Its options from the configuration.
    pub options: &'a Options,
}

impl<'a> Loaded<'a> {
    /// What it is called, here and in what is recorded.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.key
    }
    /// Whether it has a stage.
    #[must_use]
    pub fn can(&self, stage: Stage) -> bool {
        self.descriptor.capabilities.stages.contains(&stage)
    }
    /// Whether it can use what this version of it compiled: its own, or one of which it says
    /// so.
    #[must_use]
    pub fn takes_artefacts_of(&self, version: &str) -> bool {
        self.descriptor.takes_artefacts_of(version)
    }
    /// Whether what was compiled by a version in a library with this digest is as good as what
    /// it would compile itself.
    #[must_use]
    pub fn would_compile_as(&self, version: &str, plugin_sha256: &str) -> bool {
        let same = self.descriptor.version.to_string() == version && self.digest == plugin_sha256;
        same || self.descriptor.says_it_takes(version)
    }
    /// Whether it is a plain executor: runs slices in floats and proves nothing.
    #[must_use]
    pub fn is_executor(&self) -> bool {
        self.descriptor.capabilities.proof.is_none() && self.can(Stage::Witness)
    }
}
