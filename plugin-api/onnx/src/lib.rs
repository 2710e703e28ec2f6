//! The full ONNX schema as prost types, and helpers that read and edit models.
