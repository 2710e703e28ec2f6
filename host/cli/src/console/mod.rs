//! What people see while they wait, and the tables at the end.
//!
//! - [`foreign`]: text from outside, made harmless before it is shown (of `dsperse-documents`);
//! - [`progress`]: events of a stage as [`bars`] on a terminal, as [`lines`] elsewhere, or as
//!   JSON for programs ([`events`]);
//! - [`table`], [`numbers`]: the summary.

mod bars;
mod events;
mod lines;
pub mod numbers;
pub mod progress;
pub mod table;

pub use dsperse_documents::foreign;

use std::path::Path;

/// A path as it is shown: relative to the current directory when it lies below it.
#[must_use]
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().and_then(|d| d.canonicalize()).ok();
    let relative = here.and_then(|h| path.strip_prefix(h).ok().map(Path::to_path_buf));
    relative
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or_else(|| path.to_path_buf())
        .display()
        .to_string()
}
