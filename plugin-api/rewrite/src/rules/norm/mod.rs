//! Normalisations.

pub(super) mod batch;
pub(super) mod group;
pub(super) mod layer;
pub(super) mod lp;
pub(super) mod rms;
