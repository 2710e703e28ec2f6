//! Tensors travel as files in the job's directory: raw little-endian elements in
//! row-major order, described by a small JSON record. Never as floats in JSON.

pub use dsperse_tensor::{Encoding, Number, Tensor, TensorError, TensorFile, TensorInfo};
