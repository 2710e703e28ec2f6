//! Over axes.

pub(super) mod arg;
pub(super) mod composed;
