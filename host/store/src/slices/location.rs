//! Where slices are, given what the user typed.
//!
//! Any path argument is resolved the same way by every command: the path itself;
//! `PATH/slices`; `PATH/slices.dsperse`; `PATH.dsperse`. The path itself may be a slices
//! directory (either shape), a bundle, or a single slice.

use crate::files::atomic::parent_of;
use crate::files::error::{BundleError, IoContext, Result};
use crate::files::lock::{Lock, canonical};
use crate::files::paths::slice_index;
use crate::files::transaction;
use dsperse_archive::{Archive, Limits};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The three shapes of the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A directory per slice. Where its `.dslice` lies beside it, the directory is what counts;
    /// a slice that has no directory is its `.dslice`.
    Dirs,
    /// An archive per slice.
    Dslice,
    /// One archive for all.
    Dsperse,
}

impl Shape {
    /// The word on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dirs => "dirs",
            Self::Dslice => "dslice",
            Self::Dsperse => "dsperse",
        }
    }
}

impl std::str::FromStr for Shape {
    type Err = BundleError;
    fn from_str(s: &str) -> Result<Self> {
        match s {
            "dirs" => Ok(Self::Dirs),
            "dslice" => Ok(Self::Dslice),
            "dsperse" => Ok(Self::Dsperse),
            other => Err(BundleError::Request(format!(
                "unknown format \"{other}\": expected dirs, dslice or dsperse"
            ))),
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What lies at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All slices of a model.
    Model(Shape),
    /// One slice as a directory, without its model.
    SliceDir,
    /// One slice as a `.dslice`, without its model.
    SliceFile,
}

/// Slices that were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Absolute path of the directory or archive.
    pub path: PathBuf,
    /// What lies there.
    pub kind: Kind,
    /// The user pointed at this one slice of the model.
    pub only: Option<usize>,
    /// Further places that the same argument could have meant; the user may want to know.
    pub also: Vec<PathBuf>,
}

impl Location {
    /// The shape that a command keeps.
    #[must_use]
    pub fn shape(&self) -> Shape {
        match self.kind {
            Kind::Model(shape) => shape,
            Kind::SliceDir => Shape::Dirs,
            Kind::SliceFile => Shape::Dslice,
        }
    }

    /// Whether the slices lie here in just these shapes.
    pub(crate) fn holds_only(&self, shapes: &[Shape]) -> Result<bool> {
        if !self.path.is_dir() || self.kind == Kind::SliceDir {
            return Ok(shapes == [self.shape()]);
        }
        let (dirs, files) = entries(&self.path)?;
        Ok(match shapes {
            [Shape::Dirs] => files.is_empty(),
            [Shape::Dslice] => dirs.is_empty(),
            [Shape::Dslice, Shape::Dirs] => dirs == files,
            _ => false,
        })
    }

    /// Name of the directory or archive.
    pub(crate) fn name(&self) -> String {
        replacement_tag(&self.path)
    }

    /// The directory that holds the slices: what a user would call "model directory" is
    /// its parent.
    #[must_use]
    pub fn parent(&self) -> PathBuf {
        parent_of(&self.path)
    }
}

/// Finds the slices that a path argument means.
///
/// A change of the place itself that a crashed command had promised is completed first.
///
/// # Errors
/// [`BundleError::NoSlices`] with all places that were tried.
pub fn resolve(path: &Path) -> Result<Location> {
    let mut candidates = vec![path.to_owned()];
    if !path.is_file() {
        candidates.push(path.join("slices"));
        candidates.push(path.join("slices.dsperse"));
        // `models/net/` means `models/net.dsperse` as much as `models/net` does.
        let trimmed: PathBuf = path.components().collect();
        if let Some(name) = trimmed.file_name() {
            let mut name = name.to_owned();
            name.push(".dsperse");
            candidates.push(trimmed.with_file_name(name));
        }
    }
    let mut found: Option<Location> = None;
    for candidate in &candidates {
        complete_replacement(candidate)?;
        let Some((path, kind, only)) = identify(candidate)? else {
            continue;
        };
        match &mut found {
            None => {
                found = Some(Location {
                    path,
                    kind,
                    only,
                    also: Vec::new(),
                });
                if candidate == &candidates[0] {
                    break; // what was named itself leaves no doubt
                }
            }
            Some(first) => first.also.push(path),
        }
    }
    found.ok_or_else(|| BundleError::NoSlices {
        path: path.to_owned(),
        looked: candidates,
    })
}

/// Where `slice -o DIR` and `convert -o DIR` put a shape: `DIR` itself, except that
/// `dsperse` is the file `DIR.dsperse` unless `DIR` ends so already.
#[must_use]
pub fn output_path(dir: &Path, shape: Shape) -> PathBuf {
    let trimmed: PathBuf = dir.components().collect();
    if shape != Shape::Dsperse || trimmed.extension().is_some_and(|e| e == "dsperse") {
        return trimmed;
    }
    let mut name = trimmed.file_name().unwrap_or_default().to_owned();
    name.push(".dsperse");
    trimmed.with_file_name(name)
}

/// Prefix of the directories in which what becomes `target` is prepared, or on its way out.
pub(crate) fn staging_prefix(target: &Path) -> String {
    format!(".{}.new-", replacement_tag(target))
}

/// Tag of the transaction that replaces a whole directory or file in its parent.
pub(crate) fn replacement_tag(target: &Path) -> String {
    target
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn complete_replacement(target: &Path) -> Result<()> {
    let parent = parent_of(target);
    let tag = replacement_tag(target);
    if tag.is_empty() || !transaction::promised(&parent, &tag) {
        return Ok(());
    }
    Lock::with(&canonical(target)?, || transaction::recover(&parent, &tag))
}

type Identified = (PathBuf, Kind, Option<usize>);

fn identify(path: &Path) -> Result<Option<Identified>> {
    let Ok(meta) = fs::metadata(path) else {
        return Ok(None);
    };
    let full = path.canonicalize().at("find", path)?;
    if meta.is_dir() {
        return Ok(match peek(&full) {
            Some(Peek::Model) => {
                let shape = model_shape(&full)?;
                Some((full, Kind::Model(shape), None))
            }
            Some(Peek::Slice) => {
                Some(within_model(&full, "")?.unwrap_or((full, Kind::SliceDir, None)))
            }
            None => None,
        });
    }
    match full.extension().and_then(|e| e.to_str()) {
        Some("dsperse") => Ok(Some((full, Kind::Model(Shape::Dsperse), None))),
        Some("dslice") => Ok(Some(match within_model(&full, ".dslice")? {
            Some(found) => found,
            None if holds_slice_of(&full, &full.with_extension("")) => {
                (full.with_extension(""), Kind::SliceDir, None)
            }
            None => (full, Kind::SliceFile, None),
        })),
        _ => Ok(None),
    }
}

/// A slice that lies among its model's slices is opened through the model, so that the
/// same lock and the same digests apply.
fn within_model(path: &Path, suffix: &str) -> Result<Option<Identified>> {
    let parent = parent_of(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match slice_index(&name, suffix) {
        Some(index) if matches!(peek(&parent), Some(Peek::Model)) => {
            let shape = model_shape(&parent)?;
            Ok(Some((parent, Kind::Model(shape), Some(index))))
        }
        _ => Ok(None),
    }
}

/// Whether the `.dslice` and the directory are of the same slice.
pub(crate) fn holds_slice_of(file: &Path, dir: &Path) -> bool {
    let identity =
        |v: &Value| Some([v.get("index")?, v.pointer("/payload/sha256")?].map(Value::clone));
    let parsed = |bytes: Vec<u8>| identity(&serde_json::from_slice(&bytes).ok()?);
    let inside = || {
        let mut archive = Archive::open(file, Limits::default()).ok()?;
        parsed(archive.read_document("metadata.json").ok()?)
    };
    fs::read(dir.join("metadata.json"))
        .ok()
        .and_then(parsed)
        .is_some_and(|slice| file.is_file() && inside() == Some(slice))
}

enum Peek {
    Model,
    Slice,
}

/// Tells a model's `metadata.json` from a slice's. A document that can't be read counts
/// as a model's when slices lie beside it, so that the error comes where it can be told
/// in full.
fn peek(dir: &Path) -> Option<Peek> {
    let path = dir.join("metadata.json");
    if !path.is_file() {
        // A slice directory whose first write was interrupted is nothing yet, but a
        // promised one is completed when it is opened.
        return transaction::promised(dir, "").then_some(Peek::Slice);
    }
    let value: Option<Value> = fs::read(&path)
        .ok()
        .and_then(|b| serde_json::from_slice(&b).ok());
    match value {
        Some(v) if v.get("slices").is_some() && v.get("edges").is_some() => Some(Peek::Model),
        Some(v) if v.get("payload").is_some() => Some(Peek::Slice),
        _ => {
            let (dirs, files) = entries(dir).ok()?;
            if !dirs.is_empty() || !files.is_empty() {
                Some(Peek::Model)
            } else {
                dir.join("payload").is_dir().then_some(Peek::Slice)
            }
        }
    }
}

fn entries(dir: &Path) -> Result<(Vec<usize>, Vec<usize>)> {
    let (mut dirs, mut files) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir).at("read", dir)? {
        let entry = entry.at("read", dir)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if let Some(i) = slice_index(&name, "") {
            dirs.push(i);
        } else if let Some(i) = slice_index(&name, ".dslice") {
            files.push(i);
        }
    }
    dirs.sort_unstable();
    files.sort_unstable();
    Ok((dirs, files))
}

/// Indices of the slices that lie in a slices directory of one of the first two shapes.
pub(crate) fn slices_in(dir: &Path, shape: Shape) -> Result<Vec<usize>> {
    let (dirs, files) = entries(dir)?;
    Ok(if shape == Shape::Dslice { files } else { dirs })
}

/// `dirs` as soon as one slice is a directory: a directory goes before the `.dslice` of its slice.
fn model_shape(dir: &Path) -> Result<Shape> {
    let (dirs, files) = entries(dir)?;
    Ok(if dirs.is_empty() && !files.is_empty() {
        Shape::Dslice
    } else {
        Shape::Dirs
    })
}
