//! Convolutions and pools.

pub(super) mod global_pool;
pub(super) mod spatial;
pub(super) mod transposed;
