//! Which files are candidates, and what can be told of them without running their code.

pub(crate) mod inspect;
mod place;
mod scan;

use crate::state::Stamp;
use dsperse_plugin_api::Descriptor;
use std::fmt;
use std::path::PathBuf;

pub(crate) use inspect::inspect;
pub(crate) use place::look;
pub use place::{Place, holds_libraries};
pub(crate) use scan::scan;

/// A library that was loaded, described itself and can be called.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Plugin {
    /// What it says of itself.
    pub descriptor: Descriptor,
    /// The library.
    pub path: PathBuf,
    /// SHA-256 of the library, lower-case hex.
    pub digest: String,
    /// The door through which it was opened: `abi_stable` or `C`.
    pub door: String,
    /// The file as it was when its digest was taken.
    pub(crate) stamp: Stamp,
}

/// Why a library is not used, for programs; [`Skipped::reason`] is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipKind {
    /// A directory or file could not be read.
    Unreadable,
    /// Not a shared library, or one that is damaged.
    NotALibrary,
    /// A shared library for another machine or system.
    WrongArchitecture,
    /// A shared library without the two doors.
    NotAPlugin,
    /// Another ABI major, or an API version that doesn't go with the host's.
    IncompatibleVersion,
    /// It could not be loaded or could not describe itself.
    LoadFailed,
    /// It crashed earlier and has not changed since.
    Quarantined,
    /// It is not what was installed.
    Changed,
    /// Another plugin of the same name and version was found first.
    Shadowed,
}

/// A library (or directory) that was passed over, with the one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file or directory.
    pub path: PathBuf,
    /// Class of the reason.
    pub kind: SkipKind,
    /// One sentence, with versions on both sides where versions are the reason.
    pub reason: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\": {}", self.path.display(), self.reason)
    }
}
