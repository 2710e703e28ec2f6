//! A package: one ZIP archive for one platform, `NAME-VERSION-PLATFORM.dsplugin`.
//!
//! ```text
//! package.json                    the manifest
//! libdsperse_backend_NAME.so      the library
//! LICENSE…                        its licence
//! ```

use crate::error::{At, PackageError, Result};
use dsperse_archive::{Archive, Limits};
use dsperse_store::{atomic::AtomicFile, file_digest};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// Version of the package format.
pub const FORMAT: u32 = 1;
/// What a package's name ends with.
pub const EXTENSION: &str = "dsplugin";
/// Name of the manifest in a package.
pub const MANIFEST: &str = "package.json";
/// Largest package, and largest content of one, in bytes.
pub const MAX_BYTES: u64 = 2 << 30;
/// Most files in a package.
const MAX_FILES: usize = 64;

/// The platform of this program, as packages name it: system and processor.
#[must_use]
pub fn platform() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// What a package says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the package format.
    pub format: u32,
    /// The backend's name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// The version of the plugin API that it speaks.
    pub api: Version,
    /// For which platform it was built, as [`platform`] names it.
    pub platform: String,
    /// File name of the library.
    pub library: String,
    /// SHA-256 of the library, lower-case hex.
    pub library_sha256: String,
    /// Licence of the backend.
    #[serde(default)]
    pub licence: String,
    /// One sentence.
    #[serde(default)]
    pub summary: String,
    /// Further files, with their SHA-256.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

impl Manifest {
    /// File name of the package.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!(
            "{}-{}-{}.{EXTENSION}",
            self.name, self.version, self.platform
        )
    }

    /// What makes no sense in it, if anything does.
    fn objection(&self) -> Option<String> {
        if self.format != FORMAT {
            return Some(format!(
                "its format is {}, this program reads {FORMAT}",
                self.format
            ));
        }
        if !is_name(&self.name) {
            return Some(format!(
                "\"{}\" is no name: expected 1 to 64 lower-case letters, digits, \"-\" and \"_\"",
                self.name
            ));
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if self.platform.is_empty() || !self.platform.chars().all(plain) {
            return Some(format!("\"{}\" is no platform", self.platform));
        }
        let names = self.files.keys().chain([&self.library]);
        let nested = names
            .into_iter()
            .find(|n| n.contains('/') || *n == MANIFEST);
        nested.map(|n| format!("\"{n}\" can't be the name of a file in it"))
    }
}

/// Whether a text can name a backend.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// A package that was written.
#[derive(Debug, Clone)]
pub struct Packed {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: String,
    /// What it says of itself.
    pub manifest: Manifest,
}

/// Writes the package of a library into a directory. `manifest` needs neither digests nor
/// files: they are taken from the library and from `files`.
///
/// # Errors
/// When a file can't be read or the package not be written.
pub fn pack(
    library: &Path,
    files: &[PathBuf],
    mut manifest: Manifest,
    dir: &Path,
) -> Result<Packed> {
    let name_of = |path: &Path| -> Result<String> {
        let name = path.file_name().and_then(|n| n.to_str());
        name.map(str::to_owned).ok_or_else(|| {
            PackageError::usage(
                format!("\"{}\" can't be in a package", path.display()),
                "give files with plain names",
            )
        })
    };
    manifest.library = name_of(library)?;
    manifest.library_sha256 = file_digest(library)?.1;
    for file in files {
        let name = name_of(file)?;
        let digest = file_digest(file)?.1;
        if manifest.files.insert(name.clone(), digest).is_some() || name == manifest.library {
            return Err(PackageError::usage(
                format!("two files are called \"{name}\""),
                "rename one of them",
            ));
        }
    }
    if let Some(why) = manifest.objection() {
        return Err(PackageError::usage(
            format!("this can't be packed: {why}"),
            "correct what the backend says of itself",
        ));
    }
    let path = dir.join(manifest.file_name());
    let mut out = AtomicFile::create(&path)?;
    let mut zip = ZipWriter::new(out.file());
    // The same content gives the same bytes.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    add(&mut zip, options, &path, MANIFEST, &mut text.as_slice())?;
    for file in [library]
        .into_iter()
        .chain(files.iter().map(PathBuf::as_path))
    {
        let mut content = File::open(file).at("read", file)?;
        add(&mut zip, options, &path, &name_of(file)?, &mut content)?;
    }
    zip.finish().map_err(|e| zip_error(&path, e))?;
    out.commit()?;
    let (size, sha256) = file_digest(&path)?;
    Ok(Packed {
        path,
        size,
        sha256,
        manifest,
    })
}

fn add(
    zip: &mut ZipWriter<&mut File>,
    options: SimpleFileOptions,
    path: &Path,
    name: &str,
    content: &mut dyn io::Read,
) -> Result<()> {
    zip.start_file(name, options)
        .map_err(|e| zip_error(path, e))?;
    io::copy(content, zip).at("write", path).map(|_| ())
}

fn zip_error(path: &Path, e: zip::result::ZipError) -> PackageError {
    PackageError::Io {
        action: "write",
        path: path.to_owned(),
        source: e.into(),
    }
}

/// An opened package, checked as far as it can be without unpacking it.
pub struct Opened {
    archive: Archive,
    /// What it says of itself.
    pub manifest: Manifest,
}

/// Opens a package.
///
/// # Errors
/// When it is no package, is damaged, or of a format that this program does not know.
pub fn open(path: &Path) -> Result<Opened> {
    let refused = |why: String| {
        let hint = "get the package again, from where its author publishes it";
        PackageError::refused(format!("the package \"{}\"", shown(path)), why, hint)
    };
    let limits = Limits {
        entries: MAX_FILES,
        total_bytes: MAX_BYTES,
        document_bytes: 1 << 20,
        ..Limits::default()
    };
    let mut archive = Archive::open(path, limits).map_err(|e| refused(e.to_string()))?;
    let text = archive
        .read_document(MANIFEST)
        .map_err(|e| refused(format!("its manifest can't be read: {e}")))?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|e| refused(format!("its manifest is wrong: {e}")))?;
    if let Some(why) = manifest.objection() {
        return Err(refused(why));
    }
    let mut expected: Vec<&str> = manifest.files.keys().map(String::as_str).collect();
    expected.extend([MANIFEST, &manifest.library]);
    expected.sort_unstable();
    let mut found: Vec<&str> = archive.names().collect();
    found.sort_unstable();
    if expected != found {
        return Err(refused(format!(
            "it holds {}, its manifest says {}",
            found.join(", "),
            expected.join(", ")
        )));
    }
    Ok(Opened { archive, manifest })
}

impl Opened {
    /// Unpacks everything into an empty directory, and waits for the disk. Returns the
    /// library's path.
    ///
    /// # Errors
    /// When a file is not the one that the manifest names, or can't be written.
    pub fn unpack(&mut self, dir: &Path) -> Result<PathBuf> {
        let files = self.manifest.files.clone();
        let library = self.manifest.library.clone();
        let of_library = (library.clone(), self.manifest.library_sha256.clone());
        for (name, sha256) in files.into_iter().chain([of_library]) {
            let path = dir.join(&name);
            let mut file = File::create_new(&path).at("create", &path)?;
            let (_, found) = self
                .archive
                .extract(&name, &mut file)
                .map_err(|e| self.refused(e.to_string()))?;
            if found != sha256 {
                return Err(self.refused(format!(
                    "\"{name}\" in it has the SHA-256 {found}, its manifest says {sha256}"
                )));
            }
            file.flush()
                .and_then(|()| file.sync_all())
                .at("write", &path)?;
        }
        let path = dir.join(MANIFEST);
        let text = serde_json::to_vec_pretty(&self.manifest).unwrap_or_default();
        fs::write(&path, text).at("write", &path)?;
        Ok(dir.join(library))
    }

    fn refused(&self, why: String) -> PackageError {
        let hint = "get the package again, from where its author publishes it";
        PackageError::refused(
            format!("the package \"{}\"", shown(self.archive.label())),
            why,
            hint,
        )
    }
}

/// The file's name: the rest of the path is often a temporary one.
fn shown(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
