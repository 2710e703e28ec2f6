//! Slices of a store written in another shape, in one step.

use crate::files::atomic::{
    self, AtomicFile, crash_point, document_bytes, parent_of, remove, staged_dir, sync_tree,
};
use crate::files::digest::copy_hashing;
use crate::files::error::{BundleError, IoContext, Result};
use crate::files::mutex::lock;
use crate::files::pack::Packer;
use crate::files::paths;
use crate::files::transaction::Transaction;
use crate::slices::location::{Shape, replacement_tag, staging_prefix};
use crate::slices::store::{SliceStore, Source};
use dsperse_documents::SliceMetadata;
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// A temporary directory beside `target`.
pub(crate) fn staging(target: &Path) -> Result<tempfile::TempDir> {
    staged_dir(&parent_of(target), &staging_prefix(target))
}

/// Swaps a complete directory into place.
pub(crate) fn put_directory(target: &Path, staged: &Path) -> Result<()> {
    let tag = replacement_tag(target);
    sync_tree(staged)?;
    crash_point();
    let mut txn = Transaction::begin(&parent_of(target), &tag)?;
    txn.put_path(&tag, staged)?;
    crash_point();
    txn.commit()
}

/// Writes all slices of `store` to `target` in one step, in a shape or in several beside each
/// other.
pub(crate) fn write_target(
    store: &SliceStore,
    target: &Path,
    shapes: &[Shape],
    for_verify: bool,
) -> Result<()> {
    let exports = |shape| -> Result<Vec<Export>> {
        let each = |i| Export::plan(store, i, shape, for_verify);
        store.indices().into_iter().map(each).collect()
    };
    let single = store.model().is_none() || store.location.only.is_some();
    if let [shape] = shapes
        && (*shape == Shape::Dsperse || (*shape == Shape::Dslice && single))
    {
        let exports = exports(*shape)?;
        let mut out = AtomicFile::create(target)?;
        let tmp = staging(target)?;
        write_shape(
            store,
            &exports,
            *shape,
            Some(out.file()),
            tmp.path(),
            target,
        )?;
        return out.commit();
    }
    let staged = staging(target)?;
    for shape in shapes {
        write_shape(
            store,
            &exports(*shape)?,
            *shape,
            None,
            staged.path(),
            target,
        )?;
    }
    put_directory(target, &staged.keep())
}

/// What becomes of one slice: its new metadata, and for each file its old name, its
/// recorded digest where it has one, and its size.
pub(crate) struct Export {
    index: usize,
    metadata: Vec<u8>,
    files: BTreeMap<String, ExportFile>,
}

struct ExportFile {
    from: String,
    sha256: Option<String>,
}

impl Export {
    pub(crate) fn plan(
        store: &SliceStore,
        i: usize,
        shape: Shape,
        for_verify: bool,
    ) -> Result<Self> {
        let mut metadata = store.slice(i)?;
        let document = store.document_path(i);
        let mut gone: HashSet<String> = HashSet::new();
        if for_verify {
            gone.extend(metadata.strip_for_verify());
        }
        let declared = declared(&metadata);
        let old_payload = metadata.payload.path.clone();
        let new_payload = match shape {
            Shape::Dirs => format!("payload/slice_{i}.onnx"),
            Shape::Dslice | Shape::Dsperse => "payload/model.onnx".to_owned(),
        };
        let mut files = BTreeMap::new();
        for from in slice_files(store, i)? {
            if from == "metadata.json" || gone.contains(&from) {
                continue;
            }
            let sha256 = declared.get(from.as_str()).map(|s| (*s).to_owned());
            if for_verify && sha256.is_none() {
                // Nothing is known of this file, so it may be a prover's secret.
                continue;
            }
            let to = if old_payload.as_deref() == Some(from.as_str()) {
                new_payload.clone()
            } else {
                from.clone()
            };
            if files
                .insert(to.clone(), ExportFile { from, sha256 })
                .is_some()
            {
                return Err(BundleError::inconsistent(
                    &document,
                    format!("two files would get the name \"{to}\""),
                ));
            }
        }
        let present: HashSet<&str> = files.values().map(|f| f.from.as_str()).collect();
        for path in declared.keys() {
            if !present.contains(path) {
                return Err(BundleError::Missing {
                    what: format!("a file of slice {i}"),
                    path: parent_of(&document).join(path),
                });
            }
        }
        if metadata.payload.path.is_some() {
            metadata.payload.path = Some(new_payload);
        }
        Ok(Self {
            index: i,
            metadata: document_bytes(&document, &metadata)?,
            files,
        })
    }

    /// Names and contents in order, `metadata.json` among them.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.files.keys().map(String::as_str).collect();
        names.push("metadata.json");
        names.sort_unstable();
        names
    }

    pub(crate) fn pack(&self, store: &SliceStore, out: &mut File, label: &Path) -> Result<()> {
        let mut zip = Packer::new(out, label);
        for name in self.names() {
            match self.files.get(name) {
                None => zip.bytes(name, &self.metadata)?,
                Some(f) => {
                    let size = file_size(store, self.index, &f.from)?;
                    zip.entry(name, size, |w| copy_checked(store, self.index, f, w))?;
                }
            }
        }
        zip.finish()?;
        Ok(())
    }

    pub(crate) fn write_dir(&self, store: &SliceStore, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).at("create", dir)?;
        for (name, f) in &self.files {
            let to = paths::join(dir, name, dir)?;
            let parent = parent_of(&to);
            fs::create_dir_all(&parent).at("create", &parent)?;
            let mut out = File::create(&to).at("create", &to)?;
            copy_checked(store, self.index, f, &mut out)?;
        }
        atomic::write_file(&dir.join("metadata.json"), &self.metadata)
    }
}

/// Declared files with their digests.
fn declared(m: &SliceMetadata) -> BTreeMap<&str, &str> {
    let artefacts = m.compilations.values().flat_map(|c| &c.artefacts);
    let mut out: BTreeMap<&str, &str> = artefacts
        .map(|a| (a.path.as_str(), a.sha256.as_str()))
        .collect();
    if let Some(path) = &m.payload.path {
        out.insert(path, &m.payload.sha256);
    }
    out
}

fn slice_files(store: &SliceStore, i: usize) -> Result<Vec<String>> {
    let slot = store.slot(i)?;
    let state = lock(&slot.state);
    match (&slot.source, &state.unpacked) {
        (Source::Dir(dir), _) | (_, Some(dir)) => paths::files_below(dir),
        (Source::Packed(a), None) => Ok(lock(a).names().map(str::to_owned).collect()),
    }
}

fn file_size(store: &SliceStore, i: usize, name: &str) -> Result<u64> {
    let slot = store.slot(i)?;
    let state = lock(&slot.state);
    match (&slot.source, &state.unpacked) {
        (Source::Dir(dir), _) | (_, Some(dir)) => {
            let path = dir.join(name);
            Ok(fs::metadata(&path).at("read", &path)?.len())
        }
        (Source::Packed(a), None) => Ok(lock(a).size(name)?),
    }
}

/// Copies a file and compares its digest on the way.
fn copy_checked(store: &SliceStore, i: usize, f: &ExportFile, out: &mut dyn Write) -> Result<()> {
    let slot = store.slot(i)?;
    let state = lock(&slot.state);
    let (at, found) = match (&slot.source, &state.unpacked) {
        (Source::Dir(dir), _) | (_, Some(dir)) => {
            let what = format!("a file of slice {i}");
            let path = paths::regular_file(dir, &f.from, dir, &what)?;
            let (_, found) = copy_hashing(&path, out)?;
            (path, found)
        }
        (Source::Packed(archive), None) => {
            let mut archive = lock(archive);
            let (_, found) = archive.extract(&f.from, out)?;
            (archive.label().join(&f.from), found)
        }
    };
    match &f.sha256 {
        Some(expected) if *expected != found => Err(BundleError::Changed {
            what: format!("a file of slice {i}"),
            path: at,
            field: "SHA-256",
            expected: expected.clone(),
            found,
        }),
        _ => Ok(()),
    }
}

/// Writes slices in a shape: archives of one file to `file`, directories to `dir` (which
/// also serves for temporary files). `label` is the target's path, for messages.
pub(crate) fn write_shape(
    store: &SliceStore,
    exports: &[Export],
    shape: Shape,
    file: Option<&mut File>,
    dir: &Path,
    label: &Path,
) -> Result<()> {
    let model = store
        .model_bytes()
        .filter(|_| store.location.only.is_none());
    match (shape, file, model) {
        (Shape::Dsperse, Some(file), Some(model)) => {
            let mut zip = Packer::new(file, label);
            zip.bytes("metadata.json", model)?;
            let mut order: Vec<(String, &Export)> = exports
                .iter()
                .map(|e| (format!("slice_{}.dslice", e.index), e))
                .collect();
            order.sort_by(|a, b| a.0.cmp(&b.0));
            for (name, export) in order {
                let tmp = dir.join(&name);
                let mut out = File::create(&tmp).at("create", &tmp)?;
                export.pack(store, &mut out, &tmp)?;
                drop(out);
                zip.file(&name, &tmp)?;
                remove(&tmp)?;
            }
            zip.finish()?;
            Ok(())
        }
        (Shape::Dslice, None, Some(model)) => {
            for export in exports {
                let path = dir.join(format!("slice_{}.dslice", export.index));
                let mut out = File::create(&path).at("create", &path)?;
                export.pack(store, &mut out, &path)?;
            }
            atomic::write_file(&dir.join("metadata.json"), model)
        }
        (Shape::Dirs, None, Some(model)) => {
            for export in exports {
                export.write_dir(store, &dir.join(format!("slice_{}", export.index)))?;
            }
            atomic::write_file(&dir.join("metadata.json"), model)
        }
        // A single slice, without its model.
        (Shape::Dslice, Some(file), None) => match exports {
            [export] => export.pack(store, file, label),
            _ => Err(not_single(label)),
        },
        (Shape::Dirs, None, None) => match exports {
            [export] => export.write_dir(store, dir),
            _ => Err(not_single(label)),
        },
        _ => Err(not_single(label)),
    }
}

fn not_single(label: &Path) -> BundleError {
    BundleError::inconsistent(label, "this shape can't hold these slices")
}
