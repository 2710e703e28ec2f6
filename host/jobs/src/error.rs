//! The error that a stage hands to its caller: what went wrong, what was expected, what
//! to type next, and a class from which the command line takes its exit code.

use dsperse_router::SpecError;
use dsperse_store::{BundleError, InputError};
use std::fmt;
use std::path::Path;

/// Result of a stage.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Class of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// This error occurs when an argument is wrong or missing.
    Usage,
    /// This error occurs when a model, tensor file, bundle or run is missing or wrong.
    BadInput,
    /// This error occurs when a backend or plugin could not be loaded.
    Backend,
    /// This error occurs when a slice failed or a policy was not met.
    Failed,
    /// This error occurs when the user interrupted the command.
    Interrupted,
}

/// What went wrong and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Class, decides the exit code.
    pub class: ErrorClass,
    /// What went wrong: names the thing, what was expected and what was found.
    pub message: String,
    /// What to do or type next.
    pub hint: Option<String>,
}

impl Error {
    fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            hint: None,
        }
    }
    /// A wrong or missing argument.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Usage, message)
    }
    /// A wrong or missing file.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::BadInput, message)
    }
    /// A backend that could not be loaded.
    pub fn backend(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Backend, message)
    }
    /// A slice that failed, or a policy that was not met.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Failed, message)
    }
    /// The user interrupted.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::new(ErrorClass::Interrupted, "interrupted")
            .with_hint("what was finished is kept; type the same command again to go on from there")
    }
    /// A file operation that failed.
    pub fn io(doing: &str, path: &Path, e: &std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        let message = format!("can't {doing} \"{}\": {e}", path.display());
        match e.kind() {
            Kind::StorageFull | Kind::QuotaExceeded => {
                Self::failed(message).with_hint("free some space and type the same command again")
            }
            Kind::ReadOnlyFilesystem => Self::failed(message).with_hint("choose another place"),
            Kind::PermissionDenied => {
                Self::bad_input(message).with_hint("check the permissions, or choose another place")
            }
            _ => Self::bad_input(message),
        }
    }
    /// The same error as a wrong argument.
    #[must_use]
    pub fn with_class_usage(mut self) -> Self {
        self.class = ErrorClass::Usage;
        self
    }
    /// Adds what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// Puts the place before the message.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<BundleError> for Error {
    fn from(e: BundleError) -> Self {
        let mut error = Self::bad_input(e.to_string());
        if let BundleError::Usage(_) | BundleError::Convert(_) = &e {
            error.class = ErrorClass::Usage;
        } else if !e.is_bad_input() {
            error.class = ErrorClass::Failed;
        }
        if let BundleError::NoSlices { path, .. } = &e {
            if path.exists() {
                error.message = format!("no slices at \"{}\"", path.display());
                error.hint = Some(format!("run \"dsperse slice -m {}\" first", path.display()));
            } else {
                error.message = format!("there is nothing at \"{}\"", path.display());
                error.hint = Some("check the path: a model directory, slices or a bundle".into());
            }
        }
        error
    }
}

impl From<InputError> for Error {
    fn from(e: InputError) -> Self {
        Self::bad_input(e.to_string())
    }
}

impl From<SpecError> for Error {
    fn from(e: SpecError) -> Self {
        let error = Self::usage(e.to_string());
        match e.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}
