//! How far a slice has come, and what was found of it: the colours of the page.

use crate::subject::Subject;
use dsperse_documents::{SliceMetadata, Verdict};
use serde::Serialize;

/// The state of a slice. The first four are verdicts; the rest says how far it got before
/// anybody judged it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Verdict: proven.
    Proven,
    /// Verdict: recomputed.
    Recomputed,
    /// Verdict: unchecked.
    Unchecked,
    /// Verdict: failed; or a stage failed.
    Failed,
    /// There is a proof that nobody checked yet.
    HasProof,
    /// It ran; there is no proof.
    Ran,
    /// It was to run and did not.
    NotRun,
    /// Compiled by a backend that makes proofs.
    Provable,
    /// Only to be executed: no backend that makes proofs took it.
    Executable,
    /// Nothing was done with it yet.
    Sliced,
}

impl State {
    /// All of them, in the order of legends.
    pub const ALL: [Self; 10] = [
        Self::Proven,
        Self::Recomputed,
        Self::Unchecked,
        Self::Failed,
        Self::HasProof,
        Self::Ran,
        Self::NotRun,
        Self::Provable,
        Self::Executable,
        Self::Sliced,
    ];

    /// The word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Recomputed => "recomputed",
            Self::Unchecked => "unchecked",
            Self::Failed => "failed",
            Self::HasProof => "proof not checked yet",
            Self::Ran => "ran, no proof",
            Self::NotRun => "did not run",
            Self::Provable => "can be proven",
            Self::Executable => "can only be run",
            Self::Sliced => "not compiled",
        }
    }

    /// What the word means, in one sentence.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Proven => {
                "A proof was checked, and its own public values are the claimed tensors."
            }
            Self::Recomputed => "The verifier ran the slice itself and got the claimed output.",
            Self::Unchecked => "Neither was possible; nothing is known of it.",
            Self::Failed => {
                "A proof, a binding, a digest or a recomputation was wrong, or a stage ended with an error."
            }
            Self::HasProof => "The prover left a proof that no verifier has looked at.",
            Self::Ran => "The prover ran it and left no proof; a verifier could run it again.",
            Self::NotRun => "The run has no result of it.",
            Self::Provable => "A backend that makes proofs compiled it.",
            Self::Executable => "No backend that makes proofs took it.",
            Self::Sliced => "It was cut out of the model and no more.",
        }
    }

    /// The class in the style sheet; several states share the neutral colours.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Recomputed => "recomputed",
            Self::Unchecked => "unchecked",
            Self::Failed => "failed",
            Self::HasProof | Self::Provable => "waiting",
            Self::Ran | Self::Executable => "plain",
            Self::NotRun | Self::Sliced => "none",
        }
    }

    /// A sign, since colour alone says nothing to many.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Proven => "✓",
            Self::Recomputed => "↻",
            Self::Unchecked => "?",
            Self::Failed => "✕",
            Self::HasProof | Self::Provable => "◇",
            Self::Ran | Self::Executable => "▸",
            Self::NotRun | Self::Sliced => "·",
        }
    }

    /// Whether this is a verdict.
    #[must_use]
    pub fn is_verdict(self) -> bool {
        matches!(
            self,
            Self::Proven | Self::Recomputed | Self::Unchecked | Self::Failed
        )
    }
}

impl From<Verdict> for State {
    fn from(v: Verdict) -> Self {
        match v {
            Verdict::Proven => Self::Proven,
            Verdict::Recomputed => Self::Recomputed,
            Verdict::Unchecked => Self::Unchecked,
            Verdict::Failed => Self::Failed,
        }
    }
}

/// The state of one slice.
#[must_use]
pub fn of(subject: &Subject, slice: &SliceMetadata) -> State {
    if let Some(v) = subject.slice_verdict(slice.index) {
        return v.verdict.into();
    }
    let compiled = || match subject.compilation(slice) {
        Some(c) if c.proof.is_some() => State::Provable,
        Some(_) => State::Executable,
        None if slice.backend.is_some() => State::Executable,
        None => State::Sliced,
    };
    if subject.run.is_none() {
        return compiled();
    }
    let Some(run) = subject.slice_run(slice.index) else {
        return State::NotRun;
    };
    let noted = run.verification_execution.as_ref().and_then(|v| v.verdict);
    // A verdict of whole reports counts; without a report the run's own note must do.
    if let (Some(v), None) = (noted, &subject.verification) {
        return v.into();
    }
    match (&run.witness_execution, &run.proof_execution) {
        (_, Some(p)) if p.success => State::HasProof,
        (_, Some(_)) => State::Failed,
        (Some(w), None) if w.success => State::Ran,
        (Some(_), None) => State::Failed,
        (None, None) => State::NotRun,
    }
}
