//! System calls that no safe crate offers. With `loader`, the only unsafe code here.

/// Whether the kernel started this program with more rights than its user has.
#[cfg(target_os = "linux")]
pub(crate) fn secure_execution() -> bool {
    // SAFETY: getauxval reads a table of the process and has no preconditions.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Elsewhere the comparison of user and group IDs has to do.
#[cfg(not(target_os = "linux"))]
pub(crate) fn secure_execution() -> bool {
    false
}
