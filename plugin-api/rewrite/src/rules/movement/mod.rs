//! What moves elements or makes them of indices.

pub(super) mod as_product;
pub(super) mod computed;
pub(super) mod constants;
pub(super) mod cumsum;
pub(super) mod depth_space;
pub(super) mod indexing;
pub(super) mod one_hot;
pub(super) mod pad;
pub(super) mod reshaping;
pub(super) mod resize;
pub(super) mod scatter;
pub(super) mod sequence;
pub(super) mod split;
pub(super) mod tile;
pub(super) mod top_k;
pub(super) mod trilu;
