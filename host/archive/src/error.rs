//! Why an archive can't be read.

use std::io;
use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T, E = ArchiveError> = std::result::Result<T, E>;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The operating system refused.
    #[error("can't {action} \"{}\": {source}", path.display())]
    Io {
        /// What was tried (`read`, `open`, …).
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is damaged or hostile.
    #[error("archive \"{}\" is refused: {reason}", path.display())]
    Refused {
        /// Which archive.
        path: PathBuf,
        /// Which entry, and why.
        reason: String,
    },
}

impl ArchiveError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
    pub(crate) fn refused(path: &Path, reason: impl Into<String>) -> Self {
        Self::Refused {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}
