//! Exit codes, documented in `dsperse --help`.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All that was asked for is done.
    Done = 0,
    /// A slice failed, a proof is invalid or a policy was not met.
    Failed = 1,
    /// The command line is wrong or incomplete.
    Usage = 2,
    /// A model, tensor file or bundle is missing or wrong.
    BadInput = 3,
    /// A backend or plugin could not be loaded.
    Backend = 4,
    /// Interrupted.
    Interrupted = 130,
}

impl Exit {
    /// Of a command that was carried out, by whether all is as it should be.
    pub fn of(good: bool) -> Self {
        if good { Self::Done } else { Self::Failed }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
