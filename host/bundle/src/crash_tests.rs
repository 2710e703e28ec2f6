//! Crash safety.
pub(crate) fn crash_point() {}
