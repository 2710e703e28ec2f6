//! Slices in any of their shapes, behind one door.
//!
//! [`SliceStore::open`] takes whatever path the user gave. Reading: metadata, payloads
//! and artefacts come out as real files whose size and digest were checked; what lies in
//! an archive is unpacked, when it is asked for, to a temporary directory. Editing (see
//! [`edit`]): new artefacts go into a slice's directory in one step; a slice that
//! lies in an archive is unpacked to a work directory beside the archive first, and
//! [`SliceStore::commit`] packs it again and replaces the archive in one step.

mod edit;

use crate::files::atomic::{parent_of, parse_document, read_document, scratch_in};
use crate::files::digest::{compare, known_digest};
use crate::files::error::{BundleError, IoContext, Result};
use crate::files::lock::{Access, Lock};
use crate::files::mutex::lock;
use crate::files::paths;
use crate::slices::location::{Kind, Location, Shape, resolve, slices_in};
use crate::slices::recovery::{interrupted, recover};
use dsperse_archive::{Archive, Limits};
use dsperse_documents::{ModelMetadata, SliceMetadata};
use dsperse_plugin_api::{Artefact, ArtefactRef, Role};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The slices of a model, or one slice.
#[derive(Debug)]
pub struct SliceStore {
    pub(crate) location: Location,
    pub(crate) access: Access,
    model: Option<ModelMetadata>,
    model_bytes: Option<Vec<u8>>,
    pub(crate) slots: BTreeMap<usize, Slot>,
    /// Where archives are unpacked to for reading; `None` for directories.
    cache: Option<tempfile::TempDir>,
    /// Files whose digest was already compared.
    checked: Mutex<HashSet<(PathBuf, String)>>,
    pub(crate) limits: Limits,
    _lock: Option<Lock>,
}

#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) source: Source,
    /// What was read or written last. Held while the slice is changed.
    pub(crate) state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) metadata: Option<SliceMetadata>,
    /// Editing an archive: the directory that the slice was unpacked to.
    pub(crate) unpacked: Option<PathBuf>,
}

#[derive(Debug)]
pub(crate) enum Source {
    Dir(PathBuf),
    Packed(Mutex<Archive>),
}

impl SliceStore {
    /// Opens the slices that `path` means, with default limits on archives.
    ///
    /// # Errors
    /// When there are none, another command uses them, or they are damaged.
    pub fn open(path: &Path, access: Access) -> Result<Self> {
        Self::open_with(path, access, Limits::default())
    }

    /// Opens the slices that `path` means.
    ///
    /// # Errors
    /// As [`SliceStore::open`].
    pub fn open_with(path: &Path, access: Access, limits: Limits) -> Result<Self> {
        let location = resolve(path)?;
        for other in &location.also {
            tracing::warn!(
                "\"{}\" is used; \"{}\" is there too and is not looked at unless it is named itself",
                location.path.display(),
                other.display()
            );
        }
        if access == Access::Read && interrupted(&location)? {
            Lock::with(&location.path, || recover(&location))?;
        }
        let lock = Lock::acquire(&location.path, access)?;
        Self::open_locked(location, access, limits, Some(lock))
    }

    /// Opens slices; without `lock`, the caller sees to it that nobody else uses them.
    pub(crate) fn open_locked(
        location: Location,
        access: Access,
        limits: Limits,
        lock: Option<Lock>,
    ) -> Result<Self> {
        if access == Access::Edit {
            recover(&location)?;
        }
        let mut store = Self {
            location,
            access,
            model: None,
            model_bytes: None,
            slots: BTreeMap::new(),
            cache: None,
            checked: Mutex::new(HashSet::new()),
            limits,
            _lock: lock,
        };
        store.load()?;
        let packed = |s: &Slot| matches!(s.source, Source::Packed(_));
        if store.slots.values().any(packed) {
            store.cache = Some(scratch_in(&std::env::temp_dir(), "dsperse-read-")?);
        }
        if access == Access::Edit {
            store.resume()?;
        }
        Ok(store)
    }

    fn load(&mut self) -> Result<()> {
        let root = self.location.path.clone();
        match self.location.kind {
            Kind::Model(Shape::Dirs | Shape::Dslice) => {
                self.load_model_file()?;
                for i in slices_in(&root, Shape::Dirs)? {
                    self.add(i, Source::Dir(root.join(format!("slice_{i}"))));
                }
                for i in slices_in(&root, Shape::Dslice)? {
                    if !self.slots.contains_key(&i) {
                        let path = root.join(format!("slice_{i}.dslice"));
                        let archive = Archive::open(&path, self.limits)?;
                        self.add(i, Source::Packed(Mutex::new(archive)));
                    }
                }
            }
            Kind::Model(Shape::Dsperse) => {
                let mut archive = Archive::open(&root, self.limits)?;
                let bytes = archive.read_document("metadata.json")?;
                self.set_model(parse_document(&root.join("metadata.json"), &bytes)?, bytes)?;
                let names: Vec<String> = archive.names().map(str::to_owned).collect();
                for name in names {
                    if let Some(i) = paths::slice_index(&name, ".dslice") {
                        let nested = archive.nested(&name)?;
                        self.add(i, Source::Packed(Mutex::new(nested)));
                    } else if name != "metadata.json" {
                        return Err(BundleError::archive(
                            &root,
                            format!(
                                "entry \"{}\" does not belong into a .dsperse (expected metadata.json and slice_<i>.dslice)",
                                name.escape_debug()
                            ),
                        ));
                    }
                }
            }
            Kind::SliceDir => {
                let path = root.join("metadata.json");
                let metadata: SliceMetadata = read_document(&path)?;
                self.add(metadata.index, Source::Dir(root));
            }
            Kind::SliceFile => {
                let mut archive = Archive::open(&root, self.limits)?;
                let bytes = archive.read_document("metadata.json")?;
                let metadata: SliceMetadata = parse_document(&root.join("metadata.json"), &bytes)?;
                self.add(metadata.index, Source::Packed(Mutex::new(archive)));
            }
        }
        self.check_indices()
    }

    fn add(&mut self, index: usize, source: Source) {
        let slot = Slot {
            source,
            state: Mutex::default(),
        };
        self.slots.insert(index, slot);
    }

    fn load_model_file(&mut self) -> Result<()> {
        let path = self.location.path.join("metadata.json");
        let model = read_document(&path)?;
        let bytes = fs::read(&path).at("read", &path)?;
        self.set_model(model, bytes)
    }

    fn set_model(&mut self, model: ModelMetadata, bytes: Vec<u8>) -> Result<()> {
        model.validate().map_err(|e| BundleError::Model {
            path: self.location.path.join("metadata.json"),
            source: Box::new(e),
        })?;
        self.model = Some(model);
        self.model_bytes = Some(bytes);
        Ok(())
    }

    /// Every slice of the model is here, and no other.
    fn check_indices(&self) -> Result<()> {
        let Some(model) = &self.model else {
            return Ok(());
        };
        for s in &model.slices {
            if !self.slots.contains_key(&s.index) {
                return Err(BundleError::Missing {
                    what: format!("slice {} of the model", s.index),
                    path: self.location.path.join(self.slice_name(s.index)),
                });
            }
        }
        for i in self.slots.keys() {
            if *i >= model.slices.len() {
                return Err(BundleError::inconsistent(
                    &self.location.path,
                    format!(
                        "it holds {}, but the model's metadata lists {} slices",
                        self.slice_name(*i),
                        model.slices.len()
                    ),
                ));
            }
        }
        Ok(())
    }

    fn slice_name(&self, i: usize) -> String {
        match self.location.shape() {
            Shape::Dirs => format!("slice_{i}"),
            Shape::Dslice | Shape::Dsperse => format!("slice_{i}.dslice"),
        }
    }

    /// Where the slices were found.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The shape, which a command keeps.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.location.shape()
    }

    /// The model's metadata, already checked against itself; `None` for a single slice
    /// without its model.
    #[must_use]
    pub fn model(&self) -> Option<&ModelMetadata> {
        self.model.as_ref()
    }

    pub(crate) fn model_bytes(&self) -> Option<&[u8]> {
        self.model_bytes.as_deref()
    }

    /// The model's metadata.
    ///
    /// # Errors
    /// When only a single slice was opened.
    pub fn require_model(&self) -> Result<&ModelMetadata> {
        self.model.as_ref().ok_or_else(|| {
            BundleError::Usage(format!(
                "\"{}\" is a single slice without its model; give the directory or .dsperse that holds all slices",
                self.location.path.display()
            ))
        })
    }

    /// Indices of the slices that the user pointed at: all of them, or the one.
    #[must_use]
    pub fn indices(&self) -> Vec<usize> {
        match self.location.only {
            Some(i) => vec![i],
            None => self.slots.keys().copied().collect(),
        }
    }

    pub(crate) fn slot(&self, i: usize) -> Result<&Slot> {
        self.slots.get(&i).ok_or_else(|| {
            BundleError::Request(format!(
                "there is no slice {i} at \"{}\"; its slices are {:?}",
                self.location.path.display(),
                self.slots.keys().collect::<Vec<_>>()
            ))
        })
    }

    /// Path for messages about a slice's document.
    pub(crate) fn document_path(&self, i: usize) -> PathBuf {
        match self.slots.get(&i).map(|s| &s.source) {
            Some(Source::Dir(d)) => d.join("metadata.json"),
            Some(Source::Packed(a)) => lock(a).label().join("metadata.json"),
            None => self.location.path.clone(),
        }
    }

    /// A slice's metadata.
    ///
    /// # Errors
    /// When it can't be read, or contradicts the model's metadata.
    pub fn slice(&self, i: usize) -> Result<SliceMetadata> {
        let slot = self.slot(i)?;
        let mut state = lock(&slot.state);
        self.slice_locked(i, slot, &mut state)
    }

    pub(crate) fn slice_locked(
        &self,
        i: usize,
        slot: &Slot,
        state: &mut State,
    ) -> Result<SliceMetadata> {
        if let Some(m) = &state.metadata {
            return Ok(m.clone());
        }
        let metadata: SliceMetadata = match (&slot.source, &state.unpacked) {
            (Source::Dir(dir), _) | (_, Some(dir)) => read_document(&dir.join("metadata.json"))?,
            (Source::Packed(archive), None) => {
                let mut archive = lock(archive);
                let bytes = archive.read_document("metadata.json")?;
                parse_document(&archive.label().join("metadata.json"), &bytes)?
            }
        };
        let at = self.document_path(i);
        if metadata.index != i {
            return Err(BundleError::inconsistent(
                &at,
                format!("this is slice {}, expected slice {i}", metadata.index),
            ));
        }
        if let Some(model) = &self.model
            && let Some(summary) = model.slices.get(i)
            && let Some(field) = metadata.contradiction(summary, &model.identity)
        {
            return Err(BundleError::inconsistent(
                &at,
                format!("\"{field}\" differs from what the model's metadata says of slice {i}"),
            ));
        }
        state.metadata = Some(metadata.clone());
        Ok(metadata)
    }

    /// The slice's ONNX file, checked; `None` when the bundle was made without it.
    ///
    /// # Errors
    /// When it is missing, or its size or digest is not the recorded one.
    pub fn payload(&self, i: usize) -> Result<Option<PathBuf>> {
        let m = self.slice(i)?;
        match &m.payload.path {
            None => Ok(None),
            Some(path) => {
                let what = format!("the ONNX file of slice {i}");
                self.file(i, path, m.payload.size, &m.payload.sha256, &what)
                    .map(Some)
            }
        }
    }

    /// An artefact that the slice's metadata declares, checked.
    ///
    /// # Errors
    /// When it is missing, or its size or digest is not the recorded one.
    pub fn artefact(&self, i: usize, a: &Artefact) -> Result<PathBuf> {
        let what = format!("artefact \"{}\" of slice {i}", a.name);
        self.file(i, &a.path, a.size, &a.sha256, &what)
    }

    /// What `backend` compiled from slice `i`, as jobs want it: absolute paths, checked,
    /// only the given roles.
    ///
    /// # Errors
    /// When the backend compiled nothing, or as [`SliceStore::artefact`].
    pub fn circuit(&self, i: usize, backend: &str, roles: &[Role]) -> Result<Vec<ArtefactRef>> {
        let m = self.slice(i)?;
        let Some(compilation) = m.compilations.get(backend) else {
            return Err(BundleError::Request(format!(
                "slice {i} is not compiled with \"{backend}\": run \"dsperse compile\" first"
            )));
        };
        compilation
            .artefacts
            .iter()
            .filter(|a| roles.contains(&a.role))
            .map(|a| {
                let path = self.artefact(i, a)?;
                Ok(ArtefactRef {
                    name: a.name.clone(),
                    role: a.role,
                    path: path.to_string_lossy().into_owned(),
                    sha256: a.sha256.clone(),
                })
            })
            .collect()
    }

    fn file(&self, i: usize, path: &str, size: u64, sha256: &str, what: &str) -> Result<PathBuf> {
        let slot = self.slot(i)?;
        let document = self.document_path(i);
        // One thread at a time unpacks from a slice, so none sees half a file.
        let state = lock(&slot.state);
        let (full, measured) = match (&slot.source, &state.unpacked) {
            (Source::Dir(dir), _) | (_, Some(dir)) => {
                (paths::regular_file(dir, path, &document, what)?, None)
            }
            (Source::Packed(archive), None) => self.unpack(i, &mut lock(archive), path)?,
        };
        drop(state);
        let key = (full.clone(), sha256.to_owned());
        if measured.is_none() && lock(&self.checked).contains(&key) {
            return Ok(full);
        }
        let found = match measured {
            Some(m) => m,
            None => known_digest(&full)?,
        };
        compare(what, &full, (size, sha256), &found)?;
        lock(&self.checked).insert(key);
        Ok(full)
    }

    /// Unpacks one file for reading; the second part is its size and digest when it was
    /// unpacked just now.
    #[allow(clippy::type_complexity)]
    fn unpack(
        &self,
        i: usize,
        archive: &mut Archive,
        path: &str,
    ) -> Result<(PathBuf, Option<(u64, String)>)> {
        if !archive.contains(path) {
            return Err(BundleError::archive(
                archive.label(),
                format!(
                    "entry \"{}\", which the metadata declares, is missing",
                    path.escape_debug()
                ),
            ));
        }
        let Some(cache) = &self.cache else {
            return Err(BundleError::Request("this shape is not unpacked".into()));
        };
        let dir = cache.path().join(format!("slice_{i}"));
        let to = paths::join(&dir, path, archive.label())?;
        if to.is_file() {
            return Ok((to, None));
        }
        let parent = parent_of(&to);
        fs::create_dir_all(&parent).at("create", &parent)?;
        let part = cache.path().join(format!("slice_{i}.part"));
        let mut out = fs::File::create(&part).at("create", &part)?;
        let measured = archive.extract(path, &mut out)?;
        drop(out);
        fs::rename(&part, &to).at("write", &to)?;
        Ok((to, Some(measured)))
    }
}
