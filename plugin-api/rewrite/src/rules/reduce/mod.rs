//! Over axes.

pub(super) mod composed;
