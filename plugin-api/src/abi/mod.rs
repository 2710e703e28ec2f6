//! The binary interface between a host and a plugin: two functions, frozen for the life
//! of ABI major 1. Authors in Rust never need this module (`export_backend!` fills it
//! in); hosts and authors in other languages do.
//!
//! ```text
//! describe(out) -> status                    pure: no files, tools, network
//! call(op, request, host, out) -> status     op: probe | supports | compile | witness | prove | verify
//! ```
//!
//! Everything that will ever grow travels as JSON in `request` and `out`, where a new
//! field or a new operation breaks nobody. There are two doors to the same two functions:
//!
//! - a plain C symbol, [`C_SYMBOL`], that returns a [`BackendV1`] (module [`c`] opens it);
//! - an `abi_stable` root module of exactly these two functions, whose layout is checked
//!   at load time (module [`stable`]; the only place that knows `abi_stable`).
//!
//! [`Functions`] is what a host holds after either door: it makes calls, bounds the size
//! of replies and gives every buffer back to its owner. [`envelope`] has the JSON around
//! each operation, [`status`] the status codes, [`version`] the negotiation.

#[cfg(feature = "abi")]
pub mod c;
#[cfg(feature = "abi")]
pub mod envelope;
#[cfg(feature = "abi")]
pub mod functions;
#[cfg(feature = "abi")]
pub mod manifest;
#[cfg(feature = "abi")]
pub mod stable;
#[cfg(feature = "abi")]
pub mod types;
pub mod version;

#[cfg(feature = "abi")]
pub use c::C_SYMBOL;
#[cfg(feature = "abi")]
pub use envelope::{CallRequest, EventKind, LogEvent, Op, PanicEvent, ProgressEvent};
#[cfg(feature = "abi")]
pub use functions::{Functions, RawReply, ReplyError};
#[cfg(feature = "abi")]
pub use manifest::{MANIFEST_SECTION, Manifest};
#[cfg(feature = "abi")]
pub use stable::STABLE_SYMBOL;
#[cfg(feature = "abi")]
pub use types::{BackendV1, ByteView, CallFn, DescribeFn, EventFn, HostV1, OwnedBuffer};
pub use version::{ABI_MAJOR, ABI_MINOR, negotiate};

/// What the two functions return. Any other number is a fault of the plugin, and a host
/// reports it as an internal error with the number.
pub mod status {
    /// The buffer holds the reply of the operation.
    pub const OK: i32 = 0;
    /// The buffer holds an [`Error`](crate::Error) document.
    pub const ERROR: i32 = 1;
    /// The call broke down so far that there is no document; the buffer is empty.
    pub const FAULT: i32 = 2;
}
