//! An allocator that keeps the pages of large buffers for the next ones.
//!
//! A proof works through hundreds of buffers of many megabytes, one after the other. The
//! system's allocator hands each of them back when it is done, and the kernel clears its pages
//! once more for the next: that was 30 to 47 % of the time of compilations and proofs. Here the
//! pages of a buffer stay with the process and become the next buffer's.
//!
//! What is kept never makes the process larger than it would have been without: before new pages
//! are asked for, as many are handed back as would carry it beyond the most that it had in use at
//! once (`Kept::make_room`). [`release`] hands back the rest, for when a job is done.
//!
//! Set as a library's `#[global_allocator]`. Buffers under a mebibyte are the system
//! allocator's, as is everything on systems other than Linux.

#[cfg(target_os = "linux")]
mod kept;
#[cfg(all(test, target_os = "linux"))]
mod tests;

#[cfg(target_os = "linux")]
pub use kept::{LARGE, Reuse, release};
#[cfg(not(target_os = "linux"))]
pub use std::alloc::System as Reuse;

/// Nothing is kept on this system.
#[cfg(not(target_os = "linux"))]
pub fn release() {}
