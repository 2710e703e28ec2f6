//! Who checks one proof, and who can do over what a prover did.

use crate::evidence::{File, Held};
use dsperse_documents::{BackendError, Compilation, ReceiptFile, SliceMetadata, Usage};
use dsperse_plugin_api::{Descriptor, Stage, Verdict};
use dsperse_tensor::Tensor;

/// A backend that can be asked.
#[derive(Debug, Clone, Copy)]
pub struct Backend<'a> {
    /// What it says of itself.
    pub descriptor: &'a Descriptor,
    /// SHA-256 of the library or program that carries it.
    pub digest: &'a str,
}

impl<'a> Backend<'a> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        &self.descriptor.name
    }
    /// Whether it has a stage.
    #[must_use]
    pub fn can(&self, stage: Stage) -> bool {
        self.descriptor.capabilities.stages.contains(&stage)
    }
}

/// Is this claim true? Everything that the answer may rest on is here.
#[derive(Debug, Clone)]
pub struct Question<'a, F> {
    /// The backend that is asked.
    pub backend: Backend<'a>,
    /// The slice.
    pub slice: &'a SliceMetadata,
    /// Its ONNX file, where the backend needs it.
    pub payload: Option<F>,
    /// Verifying artefacts. Empty for a recomputation.
    pub circuit: Vec<File<F>>,
    /// The proof. Empty for a recomputation.
    pub proof: Vec<File<F>>,
    /// Claimed inputs, in the slice's order.
    pub inputs: &'a [Held<F>],
    /// Claimed outputs, in the slice's order.
    pub outputs: &'a [Held<F>],
    /// Relative tolerance of a recomputation; 0 is bit for bit.
    pub tolerance: f64,
}

/// The answer, and what it cost.
#[derive(Debug, Clone)]
pub struct Checked {
    /// What the backend found, or why it could not tell.
    pub answer: Result<Verdict, BackendError>,
    /// What that cost.
    pub usage: Usage,
}

/// Who checks one proof.
pub trait Checker<F>: Sync {
    /// What ends the whole verification, such as an interruption by the user.
    type Stop;

    /// The backend of that name, where there is one.
    fn backend(&self, name: &str) -> Option<Backend<'_>>;

    /// Asks a backend.
    ///
    /// # Errors
    /// Only what ends the whole verification.
    fn check(&self, question: Question<'_, F>) -> Result<Checked, Self::Stop>;

    /// What the user can do about something that is missing, in words of the user's own
    /// tool.
    fn advice(&self, need: Need) -> Option<String>;
}

/// What would have let a proof count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A backend that is not here.
    Backend,
    /// The version of a backend that the proof was made with.
    Version,
    /// That the verifier allows clamped inputs.
    Saturation,
    /// That the verifier allows a recomputation to differ.
    Tolerance,
    /// The keys' digest from somebody who knows.
    Keys,
    /// The input that the keys were calibrated with, or the keys' digest.
    Calibration,
}

/// What can be done over where the model itself is at hand. Everything has a default: that
/// it can't.
pub trait Again<F>: Checker<F> {
    /// The backend that computes slices again.
    fn executor(&self) -> Option<Backend<'_>> {
        None
    }

    /// Why the executor may not judge this slice, if so.
    ///
    /// # Errors
    /// Only what ends the whole verification.
    fn declines(&self, _: &Backend<'_>, _: &SliceMetadata) -> Result<Option<String>, Self::Stop> {
        Ok(None)
    }

    /// Compiles a slice again, as it was compiled. `claimed` are the claimed inputs of the
    /// model, or why they can't be used.
    ///
    /// # Errors
    /// Only what ends the whole verification.
    fn compile(
        &self,
        _: &Backend<'_>,
        _: &SliceMetadata,
        _: &Compilation,
        _claimed: Result<Vec<Held<F>>, String>,
    ) -> Result<CompiledAgain, Self::Stop> {
        Ok(CompiledAgain::No("it can't be compiled here".to_owned()))
    }

    /// The float model's outputs on these inputs; `None` when they can't be computed.
    ///
    /// # Errors
    /// Only what ends the whole verification.
    fn float_outputs(&self, _inputs: &[Held<F>]) -> Result<Option<Vec<Tensor>>, Self::Stop> {
        Ok(None)
    }
}

/// What came of compiling a slice again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompiledAgain {
    /// Why it could not be done.
    No(String),
    /// Verifying artefacts.
    Made {
        /// Names and digests.
        files: Vec<ReceiptFile>,
        /// Whether the calibration data were those of the first time.
        same_calibration: bool,
    },
}
