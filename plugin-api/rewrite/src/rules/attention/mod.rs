//! Parts of transformers.

pub(super) mod contributed;
pub(super) mod rotary;
pub(super) mod scaled;
