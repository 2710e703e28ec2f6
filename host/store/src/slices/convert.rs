//! Conversion between the shapes, and verifier's bundles.
//!
//! The source is read through [`SliceStore`], so every declared file is compared with its
//! digest on the way; the result is prepared beside its target and swapped in when it is
//! complete and synced. Only then is the source removed, where that was asked for.

use crate::files::atomic::{
    AtomicFile, TMP_PREFIX, crash_point, parent_of, remove, scratch_in, sync_dir, sync_tree,
};
use crate::files::error::{BundleError, ConvertRefusal, IoContext, Result};
use crate::files::lock::{Access, Lock, canonical};
use crate::slices::create::{foreign_entries, prepare_target};
use crate::slices::export::{Export, staging, write_target};
use crate::slices::location::{Kind, Location, Shape, output_path, resolve};
use crate::slices::store::{SliceStore, Source};
use dsperse_archive::Limits;
use std::fs;
use std::path::{Path, PathBuf};

/// What to convert to.
#[derive(Debug, Clone, Default)]
pub struct ConvertOptions {
    /// Shape of the result; the source's own when `None` (for `for_verify`), `dirs` with
    /// `expand_slices`. A `.dsperse` that becomes `dirs` is unpacked once: its `.dslice` files
    /// stay what they are.
    pub to: Option<Shape>,
    /// Where the result goes; chosen from the source's name when `None`.
    pub output: Option<PathBuf>,
    /// Also make a directory of each `.dslice`, beside it.
    pub expand_slices: bool,
    /// Remove the source afterwards; by default only a `.dsperse` is removed.
    pub cleanup: Option<bool>,
    /// Leave out what a verifier doesn't need. The source is never removed.
    pub for_verify: bool,
}

/// What a conversion did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The result.
    pub path: PathBuf,
    /// Its shape.
    pub shape: Shape,
    /// The source, when it was removed.
    pub removed: Option<PathBuf>,
    /// The slices had this shape already; nothing was done.
    pub unchanged: bool,
}

/// Converts slices.
///
/// # Errors
/// When the source is damaged, the target holds something else, or the disk is full. The
/// source is untouched then.
pub fn convert(input: &Path, options: &ConvertOptions, limits: Limits) -> Result<Converted> {
    // Decided before the source is locked, because it decides the kind of lock.
    let location = resolve(input)?;
    let shape = match (options.to, options.expand_slices) {
        (Some(Shape::Dsperse), true) => return Err(ConvertRefusal::ExpandsBundle.into()),
        (to, true) => to.unwrap_or(Shape::Dirs),
        (to, false) => to.unwrap_or(location.shape()),
    };
    if let (Some(i), None) = (location.only, &options.output) {
        return convert_one(input, &location, i, shape, options, limits);
    }
    let plan = Plan::new(&location, shape, options)?;
    let in_place = plan.target == location.path;
    let done = |removed, unchanged| Converted {
        path: plan.target.clone(),
        shape: plan.shape(),
        removed,
        unchanged,
    };
    if in_place && plan.there {
        return Ok(done(None, true));
    }
    let access = if plan.cleanup || in_place {
        Access::Edit
    } else {
        Access::Read
    };
    let store = open_same(input, access, limits, &location)?;
    let parent = parent_of(&plan.target);
    fs::create_dir_all(&parent).at("create", &parent)?;
    let _target_lock = if in_place {
        None
    } else {
        Some(Lock::acquire(&plan.target, Access::Edit)?)
    };
    prepare_target(&plan.target, plan.shape())?;
    write_target(&store, &plan.target, plan.shapes, options.for_verify)?;
    let removed = plan.cleanup && !in_place;
    if removed {
        remove_source(&location, &plan.target)?;
    }
    Ok(done(removed.then(|| location.path.clone()), false))
}

/// Opens what was resolved, unless it has become something else.
fn open_same(
    input: &Path,
    access: Access,
    limits: Limits,
    location: &Location,
) -> Result<SliceStore> {
    let store = SliceStore::open_with(input, access, limits)?;
    if store.location.path == location.path && store.location.kind == location.kind {
        return Ok(store);
    }
    Err(BundleError::inconsistent(
        &location.path,
        "the slices were replaced just now; run the command again",
    ))
}

/// Packs or unpacks one slice where it lies, among the others of its model.
fn convert_one(
    input: &Path,
    location: &Location,
    i: usize,
    shape: Shape,
    options: &ConvertOptions,
    limits: Limits,
) -> Result<Converted> {
    if shape == Shape::Dsperse {
        return Err(ConvertRefusal::SingleSlice(input.to_owned()).into());
    }
    if options.for_verify {
        return Err(ConvertRefusal::AmongOthers.into());
    }
    let store = open_same(input, Access::Edit, limits, location)?;
    let root = &location.path;
    let dir = root.join(format!("slice_{i}"));
    let file = root.join(format!("slice_{i}.dslice"));
    let packed = matches!(store.slot(i)?.source, Source::Packed(_));
    let unchanged = packed == (shape == Shape::Dslice);
    let staged = scratch_in(root, TMP_PREFIX)?;
    if !unchanged {
        let export = Export::plan(&store, i, shape, false)?;
        if shape == Shape::Dirs {
            let whole = staged.path().join("slice");
            export.write_dir(&store, &whole)?;
            sync_tree(&whole)?;
            crash_point();
            fs::rename(&whole, &dir).at("write", &dir)?;
            sync_dir(root)?;
        } else {
            let mut out = AtomicFile::create(&file)?;
            export.pack(&store, out.file(), &file)?;
            out.commit()?;
        }
    }
    let (path, other) = if shape == Shape::Dirs {
        (dir, file)
    } else {
        (file, dir)
    };
    let removed = options.cleanup == Some(true) && other.exists();
    if removed {
        crash_point();
        // Out of sight in one step, then deleted.
        fs::rename(&other, staged.path().join("gone")).at("remove", &other)?;
        sync_dir(root)?;
    }
    Ok(Converted {
        path,
        shape,
        removed: removed.then_some(other),
        unchanged: unchanged && !removed,
    })
}

struct Plan {
    /// Shapes that the result has beside each other; the last one is what counts.
    shapes: &'static [Shape],
    /// Whether the source has them already, and no other.
    there: bool,
    target: PathBuf,
    cleanup: bool,
}

impl Plan {
    fn new(location: &Location, shape: Shape, options: &ConvertOptions) -> Result<Self> {
        let single = location.only.is_some() || !matches!(location.kind, Kind::Model(_));
        let bundle = location.kind == Kind::Model(Shape::Dsperse) && !single;
        let shapes: &[Shape] = match shape {
            Shape::Dsperse if single => {
                return Err(ConvertRefusal::SingleSlice(location.path.clone()).into());
            }
            Shape::Dsperse => &[Shape::Dsperse],
            _ if single && shape == Shape::Dirs => &[Shape::Dirs],
            _ if single => &[Shape::Dslice],
            Shape::Dirs | Shape::Dslice if options.expand_slices => &[Shape::Dslice, Shape::Dirs],
            Shape::Dirs if bundle => &[Shape::Dslice],
            Shape::Dirs => &[Shape::Dirs],
            Shape::Dslice => &[Shape::Dslice],
        };
        if options.for_verify && options.cleanup == Some(true) {
            return Err(ConvertRefusal::VerifierCleanup.into());
        }
        let cleanup = !options.for_verify && options.cleanup.unwrap_or(bundle);
        if cleanup && location.only.is_some() {
            return Err(ConvertRefusal::TakesOneAway.into());
        }
        let mut plan = Self {
            shapes,
            there: location.holds_only(shapes)?,
            target: PathBuf::new(),
            cleanup,
        };
        let target = match &options.output {
            Some(path) if single => path.clone(),
            Some(path) => output_path(path, plan.shape()),
            None => plan.default_target(location, options),
        };
        let parent = parent_of(&target);
        plan.target = if parent.is_dir() {
            canonical(&target)?
        } else {
            target
        };
        let keeps = !options.for_verify && (options.expand_slices || plan.there);
        if plan.target == location.path && !cleanup && !keeps {
            return Err(ConvertRefusal::ReplacesSource(plan.target).into());
        }
        Ok(plan)
    }

    fn shape(&self) -> Shape {
        self.shapes.last().copied().unwrap_or(Shape::Dirs)
    }

    fn default_target(&self, location: &Location, options: &ConvertOptions) -> PathBuf {
        let shape = self.shape();
        let stem = match location.kind {
            Kind::Model(Shape::Dsperse) | Kind::SliceFile => location.path.file_stem(),
            _ => location.path.file_name(),
        };
        let stem = stem.unwrap_or_default().to_string_lossy().into_owned();
        let single = !matches!(location.kind, Kind::Model(_));
        let mut name = stem.clone();
        if options.for_verify {
            name.push_str("-verify");
        }
        match shape {
            Shape::Dsperse => name.push_str(".dsperse"),
            Shape::Dslice if single => name.push_str(".dslice"),
            _ => {}
        }
        let target = location.path.with_file_name(&name);
        let stays = self.cleanup || options.expand_slices || self.there;
        if target == location.path && !stays {
            return location.path.with_file_name(format!("{stem}-{shape}"));
        }
        target
    }
}

/// Removes slices: what belongs to them goes, the user's own files beside them stay.
///
/// # Errors
/// When there are none, another command uses them, or the system refuses.
pub fn remove_slices(path: &Path) -> Result<()> {
    let location = resolve(path)?;
    let _lock = Lock::acquire(&location.path, Access::Edit)?;
    remove_source(&location, &location.path)
}

fn remove_source(location: &Location, target: &Path) -> Result<()> {
    crash_point();
    let path = &location.path;
    if !path.is_dir() {
        remove(path)?;
        crash_point();
        return sync_dir(&parent_of(path));
    }
    let foreign = if location.kind == Kind::SliceDir {
        Vec::new()
    } else {
        foreign_entries(path)?
    };
    // Out of sight in one step, then deleted: no half of it is ever found. What a crash
    // leaves of it goes away with the next command on what is still there: the target.
    let heir = if parent_of(target) == parent_of(path) {
        target
    } else {
        path
    };
    let trash = staging(heir)?;
    if foreign.is_empty() {
        let name = path.file_name().unwrap_or_default();
        fs::rename(path, trash.path().join(name)).at("remove", path)?;
    } else {
        // Only what was converted goes away; the user's own files stay. The document
        // goes first, so that what is left is not taken for slices.
        let mut names = vec![std::ffi::OsString::from("metadata.json")];
        for entry in fs::read_dir(path).at("read", path)? {
            let name = entry.at("read", path)?.file_name();
            if name != "metadata.json" && !foreign.iter().any(|f| name == **f) {
                names.push(name);
            }
        }
        for name in names {
            let from = path.join(&name);
            fs::rename(&from, trash.path().join(&name)).at("remove", &from)?;
        }
    }
    crash_point();
    sync_dir(&parent_of(path))
}
