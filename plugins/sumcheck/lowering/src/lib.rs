//! Turns an ONNX slice into the integer program that the sumcheck backend proves.
