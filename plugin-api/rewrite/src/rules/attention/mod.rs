//! Parts of transformers.

pub(super) mod rotary;
pub(super) mod scaled;
