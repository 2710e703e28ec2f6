//! Why a package is not made, fetched or installed.

use dsperse_store::BundleError;
use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T, E = PackageError> = std::result::Result<T, E>;

/// What went wrong. Wherever this is returned, what was installed is as it was.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// What was asked for makes no sense.
    #[error("{message}")]
    Usage {
        /// What is wrong with it.
        message: String,
        /// What to type instead.
        hint: String,
    },
    /// A package, signature, index or lock file that is not accepted.
    #[error("{what} is refused: {why}")]
    Refused {
        /// Which one.
        what: String,
        /// Why.
        why: String,
        /// What to do.
        hint: String,
    },
    /// A file could not be fetched.
    #[error("can't fetch {what}: {why}")]
    Fetch {
        /// Which one.
        what: String,
        /// What the system or the server said.
        why: String,
        /// Whether it is simply not there.
        missing: bool,
    },
    /// The system refused.
    #[error("can't {action} \"{}\": {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Files on disk, and locks.
    #[error(transparent)]
    Store(#[from] BundleError),
}

impl PackageError {
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage {
            message: message.into(),
            hint: hint.into(),
        }
    }

    pub(crate) fn refused(
        what: impl Into<String>,
        why: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::Refused {
            what: what.into(),
            why: why.into(),
            hint: hint.into(),
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Usage { hint, .. } | Self::Refused { hint, .. } => Some(hint),
            Self::Fetch { missing: true, .. } => Some("check the name and the place"),
            Self::Fetch { .. } => Some("check the network, then try again: nothing was changed"),
            Self::Io { .. } | Self::Store(_) => None,
        }
    }
}

/// Adds action and path to a system error.
pub(crate) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| PackageError::Io {
            action,
            path: path.to_owned(),
            source,
        })
    }
}
