//! Packages of backends: how a backend gets from its author's machine to a user's, and how a
//! team gets the same ones everywhere.
//!
//! What is believed: a package counts when its SHA-256 is the one that the user or a lock
//! file states, or when it carries a minisign signature by a key that the user pinned for the
//! place it comes from. Nothing else is installed, and nothing that was refused leaves a
//! trace. Where is what decided?
//!
//! - [`package`]: one archive for one platform: library, manifest, licence;
//! - [`keys`]: minisign signatures, and keys pinned for sources ([`Trust`]);
//! - [`source`]: folders and web servers, with every bound on what they may send;
//! - [`index`]: what a source offers, a static file;
//! - [`installed`]: what is installed: versions side by side, and one file that says which
//!   of them is active;
//! - [`add`]: from a source to an active version, in one step that can be killed anywhere;
//! - [`lock`]: the lock file of a project.

pub mod add;
mod error;
pub mod index;
pub mod installed;
pub mod keys;
pub mod lock;
pub mod package;
pub mod source;

pub use add::{Added, How, Removed, Smoke, Wanted, find};
pub use error::{PackageError, Result};
pub use index::{Index, Offer, Release};
pub use installed::{Installed, Package, Root, State};
pub use keys::{Key, Trust};
pub use lock::{Entry, LOCK_FILE, LockFile};
pub use package::{Manifest, Packed, platform};
pub use source::Source;
