//! Convolutions, pools and products.

pub(super) mod einsum;
pub(super) mod gemm;
pub(super) mod global_pool;
pub(super) mod groups;
pub(super) mod pools;
pub(super) mod spatial;
pub(super) mod transposed;
