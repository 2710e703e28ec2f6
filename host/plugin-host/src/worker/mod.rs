//! The other end of a call: two small processes per worker.
//!
//! The host starts its own program as `__worker`, which becomes the *supervisor* and
//! splits off the *worker* proper. Only the worker ever loads a plugin. The supervisor
//! runs none of its code, so it can be relied upon to
//!
//! - relay frames, and refuse bytes that are no frames;
//! - collect what the plugin and its tools print;
//! - watch memory, and kill what exceeds its limit;
//! - be the reaper (`PR_SET_CHILD_SUBREAPER`) of everything the plugin starts, also after
//!   `setsid`, and end only when all of it is gone;
//! - do all that too when the host disappears, which it notices because its socket closes.
//!
//! A fork is cheap there (the program is small and has a single thread), and it makes the
//! worker's own peak memory right: see `usage`.

pub(crate) mod frames;
pub(crate) mod messages;
mod output;
mod serve;
mod start;
mod supervisor;

/// The hidden subcommand with which the host starts itself as a worker.
pub const WORKER_SUBCOMMAND: &str = "__worker";

/// Whether this process was started as a worker: ask first thing in `main`.
#[must_use]
pub fn is_worker() -> bool {
    std::env::args_os()
        .nth(1)
        .is_some_and(|arg| arg == WORKER_SUBCOMMAND)
}

/// Serves as a worker and ends the process. Call it first in `main`, before anything
/// starts a thread.
pub fn worker_main() -> ! {
    match start::run() {
        Ok(()) => std::process::exit(0),
        Err(message) => {
            eprintln!("dsperse worker: {message}");
            std::process::exit(2)
        }
    }
}
