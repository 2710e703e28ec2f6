//! Lists candidate libraries in search order.

use super::{SkipKind, Skipped};
use crate::options::SearchPath;
use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// File names start with this.
pub(crate) const PREFIX: &str = "libdsperse_backend_";
/// File names end with one of these.
pub(crate) const SUFFIXES: [&str; 3] = [".so", ".dylib", ".dll"];

/// Candidates in search order, and places that could not be searched.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Each with the SHA-256 that it must have, if one is known.
    pub(crate) candidates: Vec<(PathBuf, Option<String>)>,
    pub(crate) skipped: Vec<Skipped>,
}

/// Walks the search path. Files of one directory are taken in the order of their names.
pub(crate) fn scan(search: &[SearchPath]) -> Found {
    let mut found = Found::default();
    let mut seen = HashSet::new();
    for place in search {
        // One file reached over two entries is one candidate.
        let path = std::fs::canonicalize(&place.path).unwrap_or_else(|_| place.path.clone());
        if path.is_file() {
            if seen.insert(path.clone()) {
                found.candidates.push((path, place.sha256.clone()));
            }
            continue;
        }
        match libraries_in(&path) {
            Ok(files) => {
                for file in files {
                    let real = std::fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
                    if seen.insert(real) {
                        found.candidates.push((file, None));
                    }
                }
            }
            // The built-in places need not exist.
            Err(e) if e.kind() == ErrorKind::NotFound && !place.source.explicit() => {}
            Err(e) => found.skipped.push(Skipped {
                path: place.path.clone(),
                kind: SkipKind::Unreadable,
                reason: format!(
                    "the plugin directory of {} can't be read: {e}",
                    place.source.words()
                ),
            }),
        }
    }
    found
}

pub(crate) fn libraries_in(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_candidate_name) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// `libdsperse_backend_<name>.so`, `.dylib` or `.dll`, with a name.
pub(crate) fn is_candidate_name(name: &str) -> bool {
    let name = match name.strip_prefix(PREFIX) {
        Some(rest) => rest,
        // Windows libraries carry no `lib`.
        None => match name.strip_prefix(&PREFIX[3..]) {
            Some(rest) if rest.ends_with(".dll") => rest,
            _ => return false,
        },
    };
    SUFFIXES
        .iter()
        .any(|suffix| name.strip_suffix(suffix).is_some_and(|n| !n.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::SearchSource;

    #[test]
    fn only_backend_libraries_are_candidates() {
        for name in [
            "libdsperse_backend_onnx.so",
            "libdsperse_backend_a.dylib",
            "libdsperse_backend_a.dll",
            "dsperse_backend_a.dll",
        ] {
            assert!(is_candidate_name(name), "{name}");
        }
        for name in [
            "libdsperse_backend_.so",
            "libdsperse_backend_onnx.so.json",
            "libdsperse_backend_onnx.d",
            "dsperse_backend_a.so",
            "libother.so",
        ] {
            assert!(!is_candidate_name(name), "{name}");
        }
    }

    #[test]
    fn a_missing_directory_is_reported_only_when_somebody_named_it() {
        let place = |source| SearchPath {
            path: "/nonexistent/plugins".into(),
            source,
            sha256: None,
        };
        assert!(scan(&[place(SearchSource::UserData)]).skipped.is_empty());
        let found = scan(&[place(SearchSource::Environment)]);
        assert_eq!(found.skipped.len(), 1);
        assert!(found.skipped[0].reason.contains("DSPERSE_PLUGINS"));
    }

    #[test]
    fn files_come_in_order_and_once() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["libdsperse_backend_b.so", "libdsperse_backend_a.so", "x.so"] {
            std::fs::write(dir.path().join(name), b"").unwrap();
        }
        let place = SearchPath {
            path: dir.path().into(),
            source: SearchSource::Flag,
            sha256: None,
        };
        let found = scan(&[place.clone(), place]);
        let names: Vec<_> = found
            .candidates
            .iter()
            .filter_map(|(p, _)| p.file_name()?.to_str())
            .collect();
        assert_eq!(
            names,
            ["libdsperse_backend_a.so", "libdsperse_backend_b.so"]
        );
    }
}
