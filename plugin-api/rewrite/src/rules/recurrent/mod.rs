//! Recurrent layers.

pub(super) mod layers;
