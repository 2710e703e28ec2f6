//! Why files can't be read or written.

use dsperse_archive::ArchiveError;
use dsperse_documents::{DocumentError, ModelError};
use dsperse_tensor::TensorError;
use std::io;
use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T, E = BundleError> = std::result::Result<T, E>;

/// What is wrong with files on disk. Each message names the file, what was expected and
/// what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The operating system refused.
    #[error("can't {action} \"{}\": {source}{}", path.display(), io_hint(source))]
    Io {
        /// What was tried (`read`, `write`, …).
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A JSON document is wrong or newer than this program.
    #[error("\"{}\": {source}", path.display())]
    Document {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Box<DocumentError>,
    },
    /// A model's metadata contradicts itself.
    #[error("\"{}\": {source}", path.display())]
    Model {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Box<ModelError>,
    },
    /// No slices where the user pointed.
    #[error("no slices at \"{}\" (looked at {}): run \"dsperse slice\" first", path.display(), list(looked))]
    NoSlices {
        /// What the user gave.
        path: PathBuf,
        /// Every place that was tried.
        looked: Vec<PathBuf>,
    },
    /// Another command works on the same files.
    #[error("\"{}\" is in use by {holder}: wait for it to end, then try again", path.display())]
    Locked {
        /// What is locked.
        path: PathBuf,
        /// Process and command of the holder.
        holder: String,
    },
    /// An archive is damaged or hostile.
    #[error("archive \"{}\" is refused: {reason}", path.display())]
    Archive {
        /// Which archive.
        path: PathBuf,
        /// Which entry, and why.
        reason: String,
    },
    /// A path inside a document leads outside, or is otherwise not acceptable.
    #[error("\"{}\" names the file \"{found}\", which is refused: {reason}", document.display())]
    UnsafePath {
        /// The document.
        document: PathBuf,
        /// The path in it.
        found: String,
        /// Why.
        reason: &'static str,
    },
    /// A file that a document declares is not there.
    #[error("{what} is missing: expected \"{}\"", path.display())]
    Missing {
        /// What it is to the user.
        what: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// Size or digest differ from what is recorded.
    #[error("{what} has been changed: \"{}\" has {field} {found}, recorded is {expected}", path.display())]
    Changed {
        /// What it is to the user.
        what: String,
        /// The file.
        path: PathBuf,
        /// `size` or `SHA-256`.
        field: &'static str,
        /// What is recorded.
        expected: String,
        /// What was found.
        found: String,
    },
    /// Files that don't belong together.
    #[error("\"{}\": {reason}", path.display())]
    Inconsistent {
        /// Where.
        path: PathBuf,
        /// What contradicts what.
        reason: String,
    },
    /// A tensor can't be read, or not be expressed as it is wanted.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The request makes no sense for these files.
    #[error("{0}")]
    Request(String),
    /// Slices can't be converted in the way that was asked for.
    #[error(transparent)]
    Convert(#[from] ConvertRefusal),
    /// The user asks for what can't be: another argument is needed.
    #[error("{0}")]
    Usage(String),
}

/// Why slices can't be converted in the way that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertRefusal {
    /// This error occurs when the result would take the place of a source that is to stay.
    #[error("the result would replace its source \"{}\"", .0.display())]
    ReplacesSource(PathBuf),
    /// This error occurs when slices are to be unpacked into a `.dsperse`.
    #[error("a .dsperse holds packed slices, which can't be unpacked in it")]
    ExpandsBundle,
    /// This error occurs when a `.dsperse` is to be made of one slice.
    #[error("\"{}\" is a single slice; a .dsperse needs the whole model's slices", .0.display())]
    SingleSlice(PathBuf),
    /// This error occurs when the source of a verifier's bundle is to be removed.
    #[error("a verifier's bundle leaves out what proving needs, so its source is never removed")]
    VerifierCleanup,
    /// This error occurs when one slice would go away from the others of its model.
    #[error("one slice of a model can't be removed from the others")]
    TakesOneAway,
    /// This error occurs when a verifier's form of one slice would lie among the others.
    #[error("one slice can't be made smaller among the others of its model")]
    AmongOthers,
}

fn list(paths: &[PathBuf]) -> String {
    let quoted: Vec<String> = paths
        .iter()
        .map(|p| format!("\"{}\"", p.display()))
        .collect();
    quoted.join(", ")
}

fn io_hint(e: &io::Error) -> &'static str {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space, then run the command again: nothing that was there is lost"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "; choose a place that can be written to, or copy the files there"
        }
        _ => "",
    }
}

impl BundleError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
    pub(crate) fn archive(path: &Path, reason: impl Into<String>) -> Self {
        Self::Archive {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
    pub(crate) fn inconsistent(path: &Path, reason: impl Into<String>) -> Self {
        Self::Inconsistent {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
    /// Whether the user's files are at fault (exit code 3), as opposed to the system or a
    /// command running elsewhere.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Locked { .. }
            | Self::Request(_)
            | Self::Usage(_)
            | Self::Convert(_)
            | Self::Tensor(_) => false,
            _ => true,
        }
    }
}

impl From<ArchiveError> for BundleError {
    fn from(e: ArchiveError) -> Self {
        match e {
            ArchiveError::Io {
                action,
                path,
                source,
            } => Self::Io {
                action,
                path,
                source,
            },
            ArchiveError::Refused { path, reason } => Self::Archive { path, reason },
        }
    }
}

/// Adds action and path to a system error.
pub(crate) trait IoContext<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|e| BundleError::io(action, path, e))
    }
}
