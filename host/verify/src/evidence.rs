//! Where documents, artefacts and tensors come from.

use dsperse_documents::{ModelMetadata, ReceiptFile, RunResults, SliceMetadata};
use dsperse_plugin_api::{Artefact, Role};
use dsperse_tensor::{Tensor, TensorInfo};

/// What a verifier was handed: slices and a run.
///
/// Whatever is handed out was measured: a file whose size or SHA-256 is not the one that
/// the documents record is [`Defect::Wrong`], never a file.
pub trait Evidence: Sync {
    /// A file, as the checker can open it.
    type File: Clone + Send + Sync;

    /// The sliced model. It does not contradict itself
    /// ([`ModelMetadata::validate`]).
    fn model(&self) -> &ModelMetadata;

    /// The record of the run.
    fn results(&self) -> &RunResults;

    /// A slice's document, which does not contradict the model's
    /// ([`SliceMetadata::contradiction`]).
    ///
    /// # Errors
    /// When it is missing or wrong.
    fn slice(&self, index: usize) -> Result<SliceMetadata, Defect>;

    /// A slice's ONNX file; `None` when it was left out.
    ///
    /// # Errors
    /// When it is not the file that the slice's document records.
    fn payload(&self, slice: &SliceMetadata) -> Result<Option<Self::File>, Defect>;

    /// A file that a backend compiled from a slice.
    ///
    /// # Errors
    /// When it is missing, or not the file that the slice's document records.
    fn compiled(&self, slice: &SliceMetadata, artefact: &Artefact) -> Result<Self::File, Defect>;

    /// A file of a proof, as the run records it.
    ///
    /// # Errors
    /// When it is missing, or not the file that the run records.
    fn proof(&self, artefact: &Artefact) -> Result<Self::File, Defect>;

    /// A tensor of the run by its name in the model's graph.
    ///
    /// # Errors
    /// When it is missing, or not the tensor that the run's index records.
    fn tensor(&self, name: &str) -> Result<Held<Self::File>, Defect>;

    /// A tensor with its elements.
    ///
    /// # Errors
    /// When it can't be read.
    fn read(&self, held: &Held<Self::File>) -> Result<Tensor, Defect>;
}

/// Why something is not handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Defect {
    /// It is not here; nothing contradicts the claim.
    Missing(String),
    /// It is not what the documents say.
    Wrong(String),
}

impl Defect {
    /// The sentence.
    #[must_use]
    pub fn reason(self) -> String {
        match self {
            Self::Missing(reason) | Self::Wrong(reason) => reason,
        }
    }
}

/// A tensor whose elements lie in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held<F> {
    /// Name, encoding and shape.
    pub info: TensorInfo,
    /// SHA-256 of the elements, lower-case hex.
    pub sha256: String,
    /// Where the elements are.
    pub file: F,
}

/// An artefact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File<F> {
    /// The name under which its backend declared it.
    pub name: String,
    /// Who needs it.
    pub role: Role,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// Where it is.
    pub file: F,
}

impl<F> File<F> {
    pub(crate) fn new(artefact: &Artefact, file: F) -> Self {
        Self {
            name: artefact.name.clone(),
            role: artefact.role,
            sha256: artefact.sha256.clone(),
            file,
        }
    }

    pub(crate) fn receipt(&self) -> ReceiptFile {
        ReceiptFile {
            name: self.name.clone(),
            sha256: self.sha256.clone(),
        }
    }
}

/// The verifier's own values, in place of those of the run.
#[derive(Debug, Clone)]
pub struct Given<F> {
    /// The model's inputs.
    pub input: Option<Vec<Held<F>>>,
    /// The claimed outputs of the model.
    pub output: Option<Vec<Held<F>>>,
}

impl<F> Default for Given<F> {
    fn default() -> Self {
        Self {
            input: None,
            output: None,
        }
    }
}
