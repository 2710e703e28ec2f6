//! The stages: slice, compile, run, prove, verify.
