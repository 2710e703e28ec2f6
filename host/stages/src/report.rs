//! What a stage tells about each slice when it is over: the rows of the closing table.

use dsperse_documents::{Artefact, Fallback, Fidelity, Usage};
use serde::{Deserialize, Serialize};

/// What became of a slice in a stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done now.
    #[default]
    Done,
    /// An earlier result still holds.
    UpToDate,
    /// There is nothing to do for it (an executor makes no proofs).
    Nothing,
    /// It failed.
    Failed,
    /// Not started, because the command was interrupted or an earlier slice failed.
    Skipped,
}

impl Outcome {
    /// The word for tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::UpToDate => "up to date",
            Self::Nothing => "nothing to do",
            Self::Failed => "failed",
            Self::Skipped => "not started",
        }
    }
}

/// One row of the closing table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SliceLine {
    /// Slice index.
    pub index: usize,
    /// Its operators, as words.
    pub operators: String,
    /// The backend that did it.
    pub backend: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// What it cost; of an earlier command when it was up to date.
    #[serde(flatten)]
    pub usage: Usage,
    /// Bytes of its artefacts.
    pub artefact_bytes: u64,
    /// Backends that were tried before, and why they fell through.
    pub fallbacks: Vec<Fallback>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the user can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Sentences for the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl SliceLine {
    /// What became of the slice, what that cost, and what it left.
    pub(crate) fn fill(&mut self, outcome: Outcome, usage: Usage, files: &[Artefact]) {
        self.outcome = outcome;
        self.usage = usage;
        self.artefact_bytes = files.iter().map(|a| a.size).sum();
    }
}

/// A finished stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    /// `compile`, `run` or `prove`.
    pub stage: String,
    /// Slices that the stage worked on, ascending.
    pub slices: Vec<SliceLine>,
    /// Wall seconds of the whole stage.
    pub seconds: f64,
    /// Of `compile`: digest of the keys under which the slices will be proven, which
    /// verifiers pin with `--expect-keys`. `None` when no slice's backend makes proofs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_sha256: Option<String>,
    /// Of `compile`: the whole chain with these circuits against the float model, on the
    /// calibration samples. `None` without samples, or when nothing was compiled anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<Fidelity>,
}

impl StageReport {
    /// The slices that failed.
    pub fn failed(&self) -> impl Iterator<Item = &SliceLine> {
        self.slices.iter().filter(|s| s.outcome == Outcome::Failed)
    }
    /// Whether no slice failed and none was left out.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.slices
            .iter()
            .all(|s| !matches!(s.outcome, Outcome::Failed | Outcome::Skipped))
    }
}
