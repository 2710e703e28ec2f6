//! The checks of a verification by name.
//!
//! Tests leave one out at a time and show that something false is accepted then, which is
//! how we know that each of them is needed and tested. Nothing on the command line or in
//! a configuration leads here: [`super::verify`] makes all of them.

/// A check that the pipeline makes itself. Digests of files are compared one level lower
/// (`dsperse-store`, and again before a backend sees a file), and public values inside the
/// backends; both have tests of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The run names the identity of the sliced model.
    RunIdentity,
    /// The run has every slice once and no other.
    RunSlices,
    /// The run's own record names the input and output that its tensors are.
    RunRecord,
    /// The slice's ONNX file, where there is one, is that of the model.
    Payload,
    /// The backend finds the proof valid.
    Proof,
    /// What was computed again is what is claimed.
    Recomputation,
    /// The verifier's output is what the run computed.
    ClaimedOutput,
    /// The model is the expected one.
    ExpectModel,
    /// The keys are the expected ones.
    ExpectKeys,
    /// Compiled again, the keys are the same.
    Recompile,
    /// The receipt says nothing else.
    ExpectReceipt,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::RunIdentity,
        Self::RunSlices,
        Self::RunRecord,
        Self::Payload,
        Self::Proof,
        Self::Recomputation,
        Self::ClaimedOutput,
        Self::ExpectModel,
        Self::ExpectKeys,
        Self::Recompile,
        Self::ExpectReceipt,
    ];
}
