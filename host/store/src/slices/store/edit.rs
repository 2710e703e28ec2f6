//! Changing slices: new compilations, and packing archives again.
//!
//! Each slice is changed by a transaction of its own directory, so several slices can be
//! changed at the same time by several threads. For archives that directory is below
//! `.<name>.work` beside the archive. When a command dies, the work directory stays, and
//! the next command goes on from it if the archive is still the same.

use super::{SliceStore, Slot, Source, State};
use crate::files::atomic::{
    AtomicFile, clean_leftovers, clean_prefixed, crash_point, document_bytes, parent_of, remove,
    scratch_in, sync_tree, write_file,
};
use crate::files::error::{BundleError, IoContext, Result};
use crate::files::lock::Access;
use crate::files::mutex::lock;
use crate::files::pack::Packer;
use crate::files::paths;
use crate::files::transaction::{self, Transaction};
use crate::slices::location::{Kind, Shape, holds_slice_of};
use dsperse_documents::{Compilation, SliceMetadata};
use std::fs;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

impl SliceStore {
    /// Puts what a backend compiled in place, in one step with the metadata that says so.
    ///
    /// `job_dir` is the job's directory; the artefacts of `compilation` name files in it.
    /// Only those are kept (moved, not copied), under `<backend>/`; sizes and digests are
    /// measured. An earlier compilation of the backend is replaced. `also` may change the
    /// rest of the metadata (chosen backend, fallbacks). Returns the new metadata.
    ///
    /// # Errors
    /// When a declared file is missing or the disk is full; the old state stays.
    pub fn install_compilation(
        &self,
        i: usize,
        backend: &str,
        job_dir: &Path,
        mut compilation: Compilation,
        also: impl FnOnce(&mut SliceMetadata),
    ) -> Result<SliceMetadata> {
        check_backend_name(backend)?;
        self.change(i, |txn, metadata| {
            compilation.artefacts = txn.put_artefacts(backend, job_dir, &compilation.artefacts)?;
            metadata
                .compilations
                .insert(backend.to_owned(), compilation);
            also(metadata);
            Ok(())
        })
    }

    /// Changes a slice's metadata only.
    ///
    /// # Errors
    /// When the slice can't be written.
    pub fn update_slice(
        &self,
        i: usize,
        f: impl FnOnce(&mut SliceMetadata),
    ) -> Result<SliceMetadata> {
        self.change(i, |_, metadata| {
            f(metadata);
            Ok(())
        })
    }

    fn change(
        &self,
        i: usize,
        f: impl FnOnce(&mut Transaction, &mut SliceMetadata) -> Result<()>,
    ) -> Result<SliceMetadata> {
        self.access.check_editable(&self.location.path)?;
        let slot = self.slot(i)?;
        let mut state = lock(&slot.state);
        let dir = self.slice_dir(i, slot, &mut state)?;
        let mut metadata = self.slice_locked(i, slot, &mut state)?;
        self.remove_twin(i, slot)?;
        let mut txn = Transaction::begin(&dir, "")?;
        f(&mut txn, &mut metadata)?;
        let bytes = document_bytes(&dir.join("metadata.json"), &metadata)?;
        // Last, so that what it declares is in place when it appears.
        txn.put_bytes("metadata.json", &bytes)?;
        txn.commit()?;
        state.metadata = Some(metadata.clone());
        Ok(metadata)
    }

    /// Takes away the `.dslice` beside a slice's directory, which tells of what was.
    fn remove_twin(&self, i: usize, slot: &Slot) -> Result<()> {
        match (&slot.source, self.location.kind) {
            (Source::Dir(_), Kind::Model(_)) => remove(&self.container(i)),
            (Source::Dir(dir), _) => {
                let mut name = dir.file_name().unwrap_or_default().to_owned();
                name.push(".dslice");
                let file = dir.with_file_name(name);
                if holds_slice_of(&file, dir) {
                    remove(&file)?;
                }
                Ok(())
            }
            (Source::Packed(_), _) => Ok(()),
        }
    }

    /// The directory in which slice `i` can be changed.
    fn slice_dir(&self, i: usize, slot: &Slot, state: &mut State) -> Result<PathBuf> {
        match (&slot.source, &state.unpacked) {
            (Source::Dir(dir), _) | (_, Some(dir)) => Ok(dir.clone()),
            (Source::Packed(archive), None) => {
                let work = self.work_dir();
                fs::create_dir_all(&work).at("create", &work)?;
                let dir = work.join(format!("slice_{i}"));
                let base = work.join(format!("slice_{i}.base"));
                remove(&base)?;
                remove(&dir)?;
                fs::create_dir(&dir).at("create", &dir)?;
                let mut archive = lock(archive);
                let names: Vec<String> = archive.names().map(str::to_owned).collect();
                for name in names {
                    let to = paths::join(&dir, &name, archive.label())?;
                    let parent = parent_of(&to);
                    fs::create_dir_all(&parent).at("create", &parent)?;
                    let mut out = fs::File::create(&to).at("create", &to)?;
                    archive.extract(&name, &mut out)?;
                }
                sync_tree(&dir)?;
                // The mark that the directory is complete, and of which archive.
                write_file(&base, fingerprint(&self.container(i))?.as_bytes())?;
                state.unpacked = Some(dir.clone());
                Ok(dir)
            }
        }
    }

    /// The archive file that holds slice `i`.
    fn container(&self, i: usize) -> PathBuf {
        match self.location.kind {
            Kind::Model(Shape::Dslice | Shape::Dirs) => {
                self.location.path.join(format!("slice_{i}.dslice"))
            }
            _ => self.location.path.clone(),
        }
    }

    fn work_dir(&self) -> PathBuf {
        self.location
            .parent()
            .join(format!(".{}.work", self.location.name()))
    }

    fn scratch_prefix(&self) -> String {
        format!(".{}.job-", self.location.name())
    }

    /// A directory for jobs, on the same file system as the slices, so that results are
    /// moved and not copied. It and what is left in it go away with the returned value.
    ///
    /// # Errors
    /// When the place can't be written to.
    pub fn scratch(&self) -> Result<tempfile::TempDir> {
        scratch_in(&self.location.parent(), &self.scratch_prefix())
    }

    /// Goes on from the work directory of a command that died, where it still fits.
    pub(super) fn resume(&self) -> Result<()> {
        clean_prefixed(&self.location.parent(), &self.scratch_prefix());
        let work = self.work_dir();
        if !work.is_dir() {
            return Ok(());
        }
        clean_leftovers(&work);
        for (i, slot) in &self.slots {
            let dir = work.join(format!("slice_{i}"));
            let base = work.join(format!("slice_{i}.base"));
            let fits = fs::read_to_string(&base)
                .is_ok_and(|b| fingerprint(&self.container(*i)).is_ok_and(|f| f == b));
            if fits && dir.is_dir() && matches!(slot.source, Source::Packed(_)) {
                transaction::recover(&dir, "")?;
                clean_leftovers(&dir);
                tracing::debug!(slice = i, "going on from an interrupted command");
                lock(&slot.state).unpacked = Some(dir);
            } else {
                remove(&base)?;
                remove(&dir)?;
            }
        }
        Ok(())
    }

    /// Ends editing: packs changed slices again and replaces their archives. Directories
    /// are already up to date. Without this call the changes stay in the work directory
    /// and the next command that edits goes on from there.
    ///
    /// # Errors
    /// When the disk is full; the old archive stays.
    pub fn commit(self) -> Result<()> {
        if self.access != Access::Edit {
            return Ok(());
        }
        let changed: Vec<(usize, PathBuf)> = self
            .slots
            .iter()
            .filter_map(|(i, s)| Some((*i, lock(&s.state).unpacked.clone()?)))
            .collect();
        match self.location.kind {
            // Only what lies in archives was unpacked.
            Kind::Model(Shape::Dirs | Shape::Dslice) | Kind::SliceFile | Kind::SliceDir => {
                for (i, dir) in &changed {
                    let target = self.container(*i);
                    let mut out = AtomicFile::create(&target)?;
                    pack_dir(dir, out.file(), &target)?;
                    out.commit()?;
                    crash_point();
                }
            }
            Kind::Model(Shape::Dsperse) if !changed.is_empty() => self.repack()?,
            Kind::Model(Shape::Dsperse) => {}
        }
        crash_point();
        remove(&self.work_dir())
    }

    fn repack(&self) -> Result<()> {
        let target = &self.location.path;
        let mut out = AtomicFile::create(target)?;
        {
            let mut zip = Packer::new(out.file(), target);
            zip.bytes("metadata.json", self.model_bytes().unwrap_or_default())?;
            for (i, slot) in self.in_name_order() {
                let name = format!("slice_{i}.dslice");
                let state = lock(&slot.state);
                match (&slot.source, &state.unpacked) {
                    (Source::Packed(archive), None) => {
                        let mut whole = lock(archive).section().clone();
                        whole.rewind().at("read", target)?;
                        zip.stream(&name, whole.size(), whole, target)?;
                    }
                    (Source::Dir(dir), None) | (_, Some(dir)) => {
                        let tmp = self.work_dir().join(format!("slice_{i}.packed"));
                        let mut file = fs::File::create(&tmp).at("create", &tmp)?;
                        pack_dir(dir, &mut file, &tmp)?;
                        zip.file(&name, &tmp)?;
                        remove(&tmp)?;
                    }
                }
            }
            zip.finish()?;
        }
        out.commit()
    }

    /// Slots in the order of their archive names (`slice_10` before `slice_2`).
    pub(crate) fn in_name_order(&self) -> Vec<(usize, &Slot)> {
        let mut all: Vec<_> = self.slots.iter().map(|(i, s)| (*i, s)).collect();
        all.sort_by_key(|(i, _)| format!("slice_{i}.dslice"));
        all
    }
}

/// What tells one state of an archive from another without reading all of it.
fn fingerprint(path: &Path) -> Result<String> {
    let meta = fs::metadata(path).at("read", path)?;
    let modified = meta
        .modified()
        .ok()
        .and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok())
        .unwrap_or_default();
    Ok(format!("{} {}", meta.len(), modified.as_nanos()))
}

fn check_backend_name(backend: &str) -> Result<()> {
    // `name`, or `name@version` where several versions are loaded.
    let (name, version) = match backend.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (backend, None),
    };
    let bad = name == "payload"
        || name.is_empty()
        || !name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        || version.is_some_and(|v| semver::Version::parse(v).is_err());
    if bad {
        return Err(BundleError::Request(format!(
            "\"{backend}\" can't name a backend: expected lower-case letters, digits, \"-\" and \"_\""
        )));
    }
    Ok(())
}

/// Packs a slice's directory as a `.dslice`.
fn pack_dir<W: Write + Seek>(dir: &Path, out: W, label: &Path) -> Result<()> {
    let mut zip = Packer::new(out, label);
    for name in paths::files_below(dir)? {
        zip.file(&name, &dir.join(&name))?;
    }
    zip.finish()?;
    Ok(())
}
