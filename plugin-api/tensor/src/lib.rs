//! Tensors as they travel between the host and its backends: raw little-endian elements in
//! row-major order, described by a small record.
//!
//! Every backend and the host read, round and write elements with this crate, so that two
//! slices that meet at a tensor see the same numbers. Nothing else in the program converts
//! between plain and fixed point.
//!
//! - [`encoding`]: what the bytes mean, and a tensor's name and shape;
//! - [`round`]: the one rounding, with its edge cases;
//! - [`number`]: one element, read and written;
//! - [`tensor`]: a whole tensor in memory, converted from one encoding to another;
//! - [`values`]: the elements of a tensor in bulk, for arithmetic;
//! - [`file`](mod@file): a tensor in a file;
//! - [`npy`]: NumPy's file format.

pub mod encoding;
pub mod error;
pub mod file;
pub mod npy;
pub mod number;
pub mod round;
pub mod tensor;
pub mod values;

pub use encoding::{Encoding, TensorInfo};
pub use error::{Result, TensorError};
pub use file::TensorFile;
pub use number::Number;
pub use tensor::Tensor;
pub use values::Values;
