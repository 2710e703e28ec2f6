//! The onnx backend of DSperse.
