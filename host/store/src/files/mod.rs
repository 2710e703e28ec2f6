//! What slices and runs are built on: atomic writes, transactions, locks, digests, archives.

pub mod atomic;
pub(crate) mod digest;
pub(crate) mod error;
pub(crate) mod lock;
pub(crate) mod mutex;
pub(crate) mod pack;
pub mod paths;
pub(crate) mod transaction;
