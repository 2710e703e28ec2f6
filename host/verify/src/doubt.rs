//! Why a slice is not proven.

use crate::evidence::Defect;

/// Why a slice did not become `proven`.
pub(crate) enum NotProven {
    /// Something is wrong: the verdict is `failed`.
    Wrong(String),
    /// The proof could not be judged: the slice may still be computed again.
    Undecided {
        reason: String,
        hint: Option<String>,
    },
}

impl NotProven {
    pub(crate) fn undecided(reason: impl Into<String>) -> Self {
        Self::Undecided {
            reason: reason.into(),
            hint: None,
        }
    }
    pub(crate) fn hint(self, text: Option<String>) -> Self {
        match self {
            Self::Undecided { reason, .. } => Self::Undecided { reason, hint: text },
            wrong @ Self::Wrong(_) => wrong,
        }
    }
}

/// A file that is not there can't be judged; any other contradiction is wrong.
impl From<Defect> for NotProven {
    fn from(defect: Defect) -> Self {
        match defect {
            Defect::Missing(reason) => Self::undecided(reason),
            Defect::Wrong(reason) => Self::Wrong(reason),
        }
    }
}
