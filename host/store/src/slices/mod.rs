//! Slices in their three shapes: found, made, opened, changed and converted.

pub(crate) mod convert;
pub(crate) mod create;
pub(crate) mod export;
pub(crate) mod location;
mod recovery;
pub(crate) mod store;

#[cfg(test)]
mod archive_tests;
#[cfg(test)]
mod store_tests;
