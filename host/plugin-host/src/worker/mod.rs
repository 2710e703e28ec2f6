//! The other end of a call: the process that loads one plugin.

/// The hidden subcommand with which the host starts itself as a worker.
pub const WORKER_SUBCOMMAND: &str = "__worker";

/// Whether this process was started as a worker: ask first thing in `main`.
#[must_use]
pub fn is_worker() -> bool {
    std::env::args_os()
        .nth(1)
        .is_some_and(|arg| arg == WORKER_SUBCOMMAND)
}

/// Serves as a worker and ends the process. Call it before anything starts a thread.
pub fn worker_main() -> ! {
    std::process::exit(2)
}
