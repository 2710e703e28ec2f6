//! What a crashed command left among slices.

use crate::files::atomic::{clean_leftovers, clean_prefixed, tmp_prefix};
use crate::files::error::Result;
use crate::files::transaction;
use crate::slices::location::{Kind, Location, Shape, replacement_tag, slices_in, staging_prefix};
use std::path::PathBuf;

/// Directories of a location that hold transactions of their own.
fn transaction_dirs(location: &Location) -> Result<Vec<PathBuf>> {
    Ok(match location.kind {
        Kind::Model(Shape::Dirs) => slices_in(&location.path, Shape::Dirs)?
            .into_iter()
            .map(|i| location.path.join(format!("slice_{i}")))
            .collect(),
        Kind::SliceDir => vec![location.path.clone()],
        _ => Vec::new(),
    })
}

/// Whether a crashed command left a change that it had promised.
pub(crate) fn interrupted(location: &Location) -> Result<bool> {
    Ok(transaction_dirs(location)?
        .iter()
        .any(|d| transaction::promised(d, "")))
}

/// Completes or discards what a crashed command left. Needs the exclusive lock.
pub(crate) fn recover(location: &Location) -> Result<()> {
    let parent = location.parent();
    let tag = replacement_tag(&location.path);
    if transaction::pending(&parent, &tag) {
        transaction::recover(&parent, &tag)?;
    }
    clean_prefixed(&parent, &staging_prefix(&location.path));
    for dir in transaction_dirs(location)? {
        transaction::recover(&dir, "")?;
        clean_leftovers(&dir);
    }
    if location.path.is_dir() {
        clean_leftovers(&location.path);
    } else {
        clean_prefixed(&parent, &tmp_prefix(&location.path));
    }
    Ok(())
}
