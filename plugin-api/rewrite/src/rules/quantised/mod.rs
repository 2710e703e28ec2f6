//! Quantised arithmetic.

pub(super) mod between;
pub(super) mod integer;
pub(super) mod linear;
