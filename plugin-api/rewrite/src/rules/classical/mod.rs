//! Classical machine learning: `ai.onnx.ml`.

pub(super) mod linear;
pub(super) mod simple;
pub(super) mod trees;
