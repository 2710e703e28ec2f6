//! Quantised arithmetic.

pub(super) mod linear;
