//! New slices: what `slice` writes.
//!
//! Everything is prepared under a temporary name beside the target and swapped in when
//! it is complete, so a target that holds slices keeps them until the new ones are there.

use crate::files::atomic::{clean_prefixed, parent_of, tmp_prefix, write_document};
use crate::files::digest::{compare, file_digest};
use crate::files::error::{BundleError, IoContext, Result};
use crate::files::lock::{Access, Lock, canonical};
use crate::files::{paths, transaction};
use crate::slices::export::{put_directory, staging, write_target};
use crate::slices::location::{Kind, Location, Shape, replacement_tag, resolve, staging_prefix};
use crate::slices::store::SliceStore;
use dsperse_archive::Limits;
use dsperse_documents::{ModelMetadata, SliceMetadata};
use std::fs;
use std::path::{Path, PathBuf};

/// Slices in the making.
#[derive(Debug)]
pub struct NewSlices {
    target: PathBuf,
    shape: Shape,
    staged: tempfile::TempDir,
    lock: Lock,
}

/// What [`NewSlices::finish`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The slices directory or `.dsperse`.
    pub path: PathBuf,
    /// The same slices were there already; they and what was compiled from them were
    /// left alone.
    pub unchanged: bool,
}

impl NewSlices {
    /// Starts slices at `target` (see [`crate::output_path`]), which may exist when it
    /// holds slices or is an empty directory.
    ///
    /// # Errors
    /// When the place can't be written to, is used by another command, or holds
    /// something else.
    pub fn create(target: &Path, shape: Shape) -> Result<Self> {
        let parent = parent_of(target);
        fs::create_dir_all(&parent).at("create", &parent)?;
        let target = canonical(target)?;
        let lock = Lock::acquire(&target, Access::Edit)?;
        prepare_target(&target, shape)?;
        let staged = staging(&target)?;
        Ok(Self {
            target,
            shape,
            staged,
            lock,
        })
    }

    /// Where the ONNX file of slice `i` is to be written.
    ///
    /// # Errors
    /// When the directory can't be made.
    pub fn payload_path(&self, i: usize) -> Result<PathBuf> {
        let dir = self.staged.path().join(format!("slice_{i}/payload"));
        fs::create_dir_all(&dir).at("create", &dir)?;
        Ok(dir.join(format!("slice_{i}.onnx")))
    }

    /// Completes the slices: checks the written files against `model`, which must be
    /// sealed, writes the metadata, and puts the result in place in one step.
    ///
    /// # Errors
    /// When a file is missing or differs from the metadata, or the disk is full; what was
    /// at the target stays.
    pub fn finish(self, model: &ModelMetadata) -> Result<Created> {
        model.validate().map_err(|e| BundleError::Model {
            path: self.target.join("metadata.json"),
            source: Box::new(e),
        })?;
        for s in &model.slices {
            let path = self.payload_path(s.index)?;
            let what = format!("the ONNX file of slice {}", s.index);
            if !path.is_file() {
                return Err(BundleError::Missing { what, path });
            }
            let recorded = (s.payload_size, s.payload_sha256.as_str());
            compare(&what, &path, recorded, &file_digest(&path)?)?;
        }
        let Self {
            target,
            shape,
            staged,
            lock,
        } = self;
        let unchanged = already_there(&target, shape, model);
        if unchanged {
            return Ok(Created {
                path: target,
                unchanged,
            });
        }
        let root = staged.path();
        for s in &model.slices {
            let payload = format!("payload/slice_{}.onnx", s.index);
            let metadata = SliceMetadata::from_summary(s, &model.identity, &payload);
            let path = root.join(format!("slice_{}/metadata.json", s.index));
            write_document(&path, &metadata)?;
        }
        write_document(&root.join("metadata.json"), model)?;
        if shape == Shape::Dirs {
            put_directory(&target, &staged.keep())?;
        } else {
            // The staged directory is a store of shape `dirs` that only we know of.
            let location = Location {
                path: root.to_owned(),
                kind: Kind::Model(Shape::Dirs),
                only: None,
                also: Vec::new(),
            };
            let limits = Limits::default();
            let store = SliceStore::open_locked(location, Access::Read, limits, None)?;
            write_target(&store, &target, &[shape], false)?;
        }
        drop(lock);
        Ok(Created {
            path: target,
            unchanged,
        })
    }
}

/// Whether the target holds these very slices, intact and in this shape. The caller has
/// the lock.
fn already_there(target: &Path, shape: Shape, model: &ModelMetadata) -> bool {
    let Ok(location) = resolve(target) else {
        return false;
    };
    if location.path != target || location.kind != Kind::Model(shape) {
        return false;
    }
    SliceStore::open_locked(location, Access::Read, Limits::default(), None).is_ok_and(|store| {
        store.model() == Some(model)
            && store
                .indices()
                .into_iter()
                .all(|i| store.payload(i).is_ok_and(|p| p.is_some()))
    })
}

/// Removes what a dead command left beside `target`, and refuses to replace what isn't
/// ours. Needs the lock of `target`.
pub(crate) fn prepare_target(target: &Path, shape: Shape) -> Result<()> {
    let parent = parent_of(target);
    transaction::recover(&parent, &replacement_tag(target))?;
    clean_prefixed(&parent, &staging_prefix(target));
    clean_prefixed(&parent, &tmp_prefix(target));
    let Ok(meta) = fs::symlink_metadata(target) else {
        return Ok(());
    };
    let refuse = |reason: &str| {
        Err(BundleError::Usage(format!(
            "\"{}\" {reason}; choose another output",
            target.display()
        )))
    };
    if shape == Shape::Dsperse {
        return if meta.is_dir() {
            refuse("is a directory, expected a place for a .dsperse file")
        } else {
            Ok(())
        };
    }
    if !meta.is_dir() {
        return refuse("exists and is not a directory");
    }
    let foreign = foreign_entries(target)?;
    match foreign.first() {
        Some(name) => refuse(&format!(
            "holds \"{name}\", which is no part of slices and would be lost"
        )),
        None => Ok(()),
    }
}

/// Entries of a slices directory that are not slices.
pub(crate) fn foreign_entries(dir: &Path) -> Result<Vec<String>> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).at("read", dir)? {
        let name = entry.at("read", dir)?.file_name();
        let name = name.to_string_lossy();
        let ours = name == "metadata.json"
            || name == "payload"
            || name.starts_with(paths::RESERVED)
            || paths::slice_index(&name, "").is_some()
            || paths::slice_index(&name, ".dslice").is_some();
        if !ours {
            out.push(name.into_owned());
        }
    }
    out.sort();
    Ok(out)
}
