//! The elements of a tensor for arithmetic, and the one rounding between plain and
//! fixed-point values. Every backend and the host use these functions, so that two slices
//! that meet at a tensor read the same numbers from it.

pub use dsperse_tensor::Number;
pub use dsperse_tensor::round;
pub use dsperse_tensor::values::{Values, shift_round};
