//! Names that come from documents and archives.
//!
//! They are data of whoever made the file, so they are checked before they touch the
//! file system: relative, `/` only, no way out, nothing that another system reads
//! differently.

use crate::files::error::{BundleError, IoContext, Result};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use dsperse_archive::Names;
pub use dsperse_documents::paths::{RESERVED, objection};

/// Joins a path of a document to the directory that holds the document.
///
/// # Errors
/// When the path is refused, see [`objection`].
pub fn join(dir: &Path, path: &str, document: &Path) -> Result<PathBuf> {
    match objection(path) {
        None => Ok(dir.join(path)),
        Some(reason) => Err(BundleError::UnsafePath {
            document: document.to_owned(),
            found: path.chars().take(200).collect(),
            reason,
        }),
    }
}

/// Checks that `dir/path` is a regular file and that no component of `path` is a link,
/// so that nothing outside `dir` is read.
pub(crate) fn regular_file(dir: &Path, path: &str, document: &Path, what: &str) -> Result<PathBuf> {
    let full = join(dir, path, document)?;
    let mut at = dir.to_owned();
    for part in path.split('/') {
        at.push(part);
        let meta = match fs::symlink_metadata(&at) {
            Ok(m) => m,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(BundleError::Missing {
                    what: what.to_owned(),
                    path: full,
                });
            }
            Err(e) => return Err(BundleError::io("read", &at, e)),
        };
        let refuse = |reason| {
            Err(BundleError::UnsafePath {
                document: document.to_owned(),
                found: path.to_owned(),
                reason,
            })
        };
        if meta.is_symlink() {
            return refuse("it is, or leads through, a link");
        }
        if at == full && !meta.is_file() {
            return refuse("it is not a regular file");
        }
    }
    Ok(full)
}

/// Regular files below `dir`, as sorted relative paths with `/`, without the program's
/// own temporary files.
pub(crate) fn files_below(dir: &Path) -> Result<Vec<String>> {
    fn walk(dir: &Path, prefix: &str, out: &mut Vec<String>) -> Result<()> {
        for entry in fs::read_dir(dir).at("read", dir)? {
            let entry = entry.at("read", dir)?;
            let path = entry.path();
            let Ok(name) = entry.file_name().into_string() else {
                return Err(BundleError::inconsistent(
                    &path,
                    "the file name is not UTF-8",
                ));
            };
            if name.starts_with(RESERVED) {
                continue;
            }
            let relative = format!("{prefix}{name}");
            let kind = entry.file_type().at("read", &path)?;
            if kind.is_dir() {
                walk(&path, &format!("{relative}/"), out)?;
            } else if kind.is_file() {
                if let Some(reason) = objection(&relative) {
                    return Err(BundleError::UnsafePath {
                        document: dir.to_owned(),
                        found: relative,
                        reason,
                    });
                }
                out.push(relative);
            } else {
                return Err(BundleError::inconsistent(
                    &path,
                    "links and special files can't be part of a slice; replace it by the file itself",
                ));
            }
        }
        Ok(())
    }
    let mut out = Vec::new();
    walk(dir, "", &mut out)?;
    out.sort();
    Ok(out)
}

/// Index of a slice's directory or file name: `slice_3` with the suffix `""`,
/// `slice_3.dslice` with `".dslice"`.
pub(crate) fn slice_index(name: &str, suffix: &str) -> Option<usize> {
    let digits = name.strip_prefix("slice_")?.strip_suffix(suffix)?;
    if digits.is_empty()
        || !digits.bytes().all(|b| b.is_ascii_digit())
        || (digits.len() > 1 && digits.starts_with('0'))
    {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a/./b",
            "a//b",
            "a/",
            "C:x",
            "a\\b",
            "a\nb",
            "a.",
            "a /b",
            "..",
            "x/.dsperse-txn",
        ] {
            assert!(objection(bad).is_some(), "{bad:?} must be refused");
        }
        assert!(objection(&"a".repeat(256)).is_some());
        for good in [
            "a",
            "payload/slice_0.onnx",
            "jstprove/.hidden",
            "a b/c:d",
            "ü/…x",
        ] {
            assert_eq!(objection(good), None, "{good:?}");
        }
    }

    #[test]
    fn slice_names_have_one_spelling() {
        assert_eq!(slice_index("slice_12", ""), Some(12));
        assert_eq!(slice_index("slice_0.dslice", ".dslice"), Some(0));
        for bad in [
            "slice_",
            "slice_01",
            "slice_+1",
            "slice_1x",
            "Slice_1",
            "slice_1.dslice",
        ] {
            assert_eq!(slice_index(bad, ""), None, "{bad}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let doc = dir.path().join("metadata.json");
        fs::create_dir(dir.path().join("real")).unwrap();
        fs::write(dir.path().join("real/f"), b"x").unwrap();
        std::os::unix::fs::symlink(dir.path().join("real"), dir.path().join("link")).unwrap();
        assert!(regular_file(dir.path(), "real/f", &doc, "file").is_ok());
        for path in ["link/f", "link", "real"] {
            assert!(
                matches!(
                    regular_file(dir.path(), path, &doc, "file"),
                    Err(BundleError::UnsafePath { .. })
                ),
                "{path}"
            );
        }
        assert!(matches!(
            regular_file(dir.path(), "real/none", &doc, "file"),
            Err(BundleError::Missing { .. })
        ));
    }
}
