//! What lies in the places that were searched, for the user to whom nothing was loaded.

use super::Skipped;
use super::scan::{PREFIX, is_candidate_name, libraries_in};
use crate::options::{SearchPath, SearchSource};
use std::path::{Path, PathBuf};

/// A place that was searched, and what gave no backend there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The directory or library.
    pub path: PathBuf,
    /// Why it was searched.
    pub source: SearchSource,
    /// Why it could not be read.
    pub unreadable: Option<String>,
    /// Each entry that gave no backend, with the reason.
    pub passed_over: Vec<(String, String)>,
}

pub(crate) fn look(search: &SearchPath, skipped: &[Skipped]) -> Place {
    let mut place = Place {
        path: search.path.clone(),
        source: search.source,
        unreadable: None,
        passed_over: Vec::new(),
    };
    if search.path.is_file() {
        let real = search
            .path
            .canonicalize()
            .unwrap_or_else(|_| search.path.clone());
        let reason = skipped.iter().find(|s| s.path == real);
        place.unreadable = reason.map(|s| s.reason.clone());
        return place;
    }
    let entries = match std::fs::read_dir(&search.path) {
        Ok(entries) => entries,
        Err(e) => {
            place.unreadable = Some(if e.kind() == std::io::ErrorKind::NotFound {
                "there is no such directory".to_owned()
            } else {
                format!("it can't be read: {e}")
            });
            return place;
        }
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // A place that nobody named holds much else.
        if !search.source.explicit() && !is_candidate_name(&name) {
            continue;
        }
        let reason = if entry.path().is_dir() {
            match holds_libraries(&entry.path()) {
                true => "a directory; it holds libraries, but only the named directory itself is searched".to_owned(),
                false => "a directory, which is not searched".to_owned(),
            }
        } else if !is_candidate_name(&name) {
            let suffix = std::env::consts::DLL_SUFFIX;
            format!("its name is not {PREFIX}NAME{suffix}")
        } else {
            // Skipped files of a directory carry its canonical path.
            let real = entry.path().canonicalize().unwrap_or_else(|_| entry.path());
            match skipped
                .iter()
                .find(|s| s.path == real || s.path == entry.path())
            {
                Some(skipped) => skipped.reason.clone(),
                None => continue,
            }
        };
        place.passed_over.push((name, reason));
    }
    // Libraries first: they are what the user put there.
    place
        .passed_over
        .sort_by_key(|(name, _)| (!is_candidate_name(name), name.clone()));
    place
}

/// Whether a directory holds files that are named like backends of this system.
#[must_use]
pub fn holds_libraries(dir: &Path) -> bool {
    libraries_in(dir).is_ok_and(|files| !files.is_empty())
}
