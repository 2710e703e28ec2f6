//! Classical machine learning: `ai.onnx.ml`.

pub(super) mod encoder;
pub(super) mod linear;
pub(super) mod simple;
pub(super) mod svm;
pub(super) mod trees;
