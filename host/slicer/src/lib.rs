//! Cuts a model into slices: shape inference, strategies, extraction, analysis.
