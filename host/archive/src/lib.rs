//! Reading archives as hostile input.
//!
//! Before anything is extracted, the whole directory of the archive is checked: names
//! (see [`dsperse_documents::paths::objection`]), links and special files, duplicates, names that
//! collide when case is folded or that are a file and a directory at once, entries that
//! share bytes, methods and encryption. Sizes are counted while inflating; what the
//! headers promise is only ever an upper bound.
//!
//! An archive is read from a file, or from memory: the same rules hold where there are no
//! files, in a browser.

mod error;
mod names;
mod source;

pub use error::{ArchiveError, Result};
pub use names::Names;
pub use source::{ReadAt, Section};

use dsperse_documents::paths::objection;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

/// Limits on archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of one archive.
    pub entries: usize,
    /// Bytes that one archive, with those inside it, may inflate to.
    pub total_bytes: u64,
    /// Inflated bytes per compressed byte of an entry, once it is larger than 1 MiB.
    pub ratio: u64,
    /// Bytes of one JSON document.
    pub document_bytes: u64,
}

impl Default for Limits {
    /// Generous for real models: 65,536 entries, 256 GiB, ratio 200, documents of 32 MiB.
    fn default() -> Self {
        Self {
            entries: 65_536,
            total_bytes: 256 << 30,
            ratio: 200,
            document_bytes: 32 << 20,
        }
    }
}

const RATIO_FLOOR: u64 = 1 << 20;
/// Bytes that are read at a time.
pub const CHUNK: usize = 256 << 10;

/// An archive whose directory was checked.
#[derive(Debug)]
pub struct Archive {
    zip: ZipArchive<Section>,
    section: Section,
    entries: BTreeMap<String, usize>,
    label: PathBuf,
    limits: Limits,
    inflated: Arc<AtomicU64>,
}

impl Archive {
    /// Opens an archive file.
    ///
    /// # Errors
    /// When it can't be read, is damaged, or is refused.
    pub fn open(path: &Path, limits: Limits) -> Result<Self> {
        Self::of(Section::whole(path)?, path, limits)
    }

    /// Opens an archive; `label` is what it is called in messages.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn of(section: Section, label: &Path, limits: Limits) -> Result<Self> {
        let inflated = Arc::new(AtomicU64::new(0));
        Self::over(section, label.to_owned(), limits, inflated)
    }

    fn over(
        mut section: Section,
        label: PathBuf,
        limits: Limits,
        inflated: Arc<AtomicU64>,
    ) -> Result<Self> {
        let refuse = |reason: String| ArchiveError::refused(&label, reason);
        let damaged = |e: &dyn std::fmt::Display| {
            refuse(format!(
                "it is not a complete ZIP archive ({e}); copy or download it again"
            ))
        };
        let count = entry_count(&mut section).map_err(|e| damaged(&e))?;
        if count > limits.entries as u64 {
            return Err(refuse(format!(
                "it has {count} entries, the limit is {}",
                limits.entries
            )));
        }
        section.seek(SeekFrom::Start(0)).map_err(|e| damaged(&e))?;
        // A fixed start: an archive that was cut inside a nested one must not be taken
        // for the nested one.
        let config = Config {
            archive_offset: ArchiveOffset::Known(0),
        };
        let mut zip = ZipArchive::with_config(config, section.clone()).map_err(|e| damaged(&e))?;
        if zip.has_duplicate_names() {
            return Err(refuse("two entries have the same name".into()));
        }
        let mut entries = BTreeMap::new();
        let mut folded = Names::default();
        for index in 0..zip.len() {
            let e = zip.by_index_data(index).map_err(|e| damaged(&e))?;
            let Ok(name) = std::str::from_utf8(e.name_raw()) else {
                return Err(refuse("an entry's name is not UTF-8".into()));
            };
            let name = name.to_owned();
            let no = |why: &str| refuse(format!("entry \"{}\": {why}", printable(&name)));
            let is_dir = name.ends_with('/');
            let path = name.strip_suffix('/').unwrap_or(&name);
            if let Some(why) = objection(path) {
                return Err(no(why));
            }
            if e.is_symlink() || !plain_mode(e.unix_mode(), is_dir) {
                return Err(no("it is a link or a special file"));
            }
            if e.encrypted() {
                return Err(no("it is encrypted"));
            }
            if !matches!(
                e.compression(),
                CompressionMethod::Stored | CompressionMethod::Deflated
            ) {
                return Err(no(
                    "its compression method is not supported (stored and deflate are)",
                ));
            }
            if is_dir && e.size() != 0 {
                return Err(no("it is a directory with content"));
            }
            folded.add(path, is_dir).map_err(|other| {
                no(&format!(
                    "it collides with \"{}\" on systems that ignore case, or is file and directory at once",
                    printable(&other)
                ))
            })?;
            if !is_dir {
                entries.insert(name, index);
            }
        }
        if zip.has_overlapping_entries().map_err(|e| damaged(&e))? {
            return Err(refuse("entries share bytes".into()));
        }
        Ok(Self {
            zip,
            section,
            entries,
            label,
            limits,
            inflated,
        })
    }

    /// Names of the files, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether there is such an entry.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The archive's own bytes.
    #[must_use]
    pub fn section(&self) -> &Section {
        &self.section
    }

    /// The size that an entry promises.
    ///
    /// # Errors
    /// When there is no such entry.
    pub fn size(&self, name: &str) -> Result<u64> {
        let entry = self.zip.by_index_data(self.index(name)?);
        let entry = entry.map_err(|e| ArchiveError::refused(&self.label, e.to_string()))?;
        Ok(entry.size())
    }

    /// What it is called in messages.
    #[must_use]
    pub fn label(&self) -> &Path {
        &self.label
    }

    fn index(&self, name: &str) -> Result<usize> {
        self.entries.get(name).copied().ok_or_else(|| {
            ArchiveError::refused(
                &self.label,
                format!("entry \"{}\" is missing", printable(name)),
            )
        })
    }

    /// Writes an entry's content to `out`; returns its size and SHA-256.
    ///
    /// # Errors
    /// When it is damaged, or beyond the limits.
    pub fn extract(&mut self, name: &str, out: &mut dyn Write) -> Result<(u64, String)> {
        self.extract_limited(name, out, u64::MAX)
    }

    /// An entry's content in memory, for documents.
    ///
    /// # Errors
    /// As [`Archive::extract`].
    pub fn read_document(&mut self, name: &str) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.extract_limited(name, &mut out, self.limits.document_bytes)?;
        Ok(out)
    }

    fn extract_limited(
        &mut self,
        name: &str,
        out: &mut dyn Write,
        most: u64,
    ) -> Result<(u64, String)> {
        let index = self.index(name)?;
        let label = self.label.clone();
        let no = |why: String| {
            ArchiveError::refused(&label, format!("entry \"{}\": {why}", printable(name)))
        };
        let mut entry = self
            .zip
            .by_index(index)
            .map_err(|e| no(format!("it can't be read ({e})")))?;
        let (promised, packed) = (entry.size(), entry.compressed_size());
        let mut hash = Sha256::new();
        let mut size = 0u64;
        let mut buf = vec![0u8; CHUNK];
        loop {
            let n = match entry.read(&mut buf) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(no(format!("it is damaged ({e})"))),
            };
            size += n as u64;
            let total = self.inflated.fetch_add(n as u64, Ordering::Relaxed) + n as u64;
            if size > promised {
                return Err(no(format!(
                    "it holds more than the {promised} bytes it promises"
                )));
            }
            if size > most {
                return Err(no(format!("it holds more than {most} bytes")));
            }
            if size > RATIO_FLOOR && size / packed.max(1) > self.limits.ratio {
                return Err(no(format!(
                    "it inflates to more than {} times its size",
                    self.limits.ratio
                )));
            }
            if total > self.limits.total_bytes {
                return Err(no(format!(
                    "the archive inflates to more than {} bytes",
                    self.limits.total_bytes
                )));
            }
            let chunk = buf.get(..n).unwrap_or_default();
            hash.update(chunk);
            out.write_all(chunk)
                .map_err(|e| ArchiveError::io("write what is unpacked from", &label, e))?;
        }
        if size != promised {
            return Err(no(format!(
                "it holds {size} bytes, its header promises {promised}"
            )));
        }
        Ok((size, hex::encode(hash.finalize())))
    }

    /// Opens an archive inside this one, in place. It must be stored without compression,
    /// as all our own are, and nothing is opened inside it in turn.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn nested(&mut self, name: &str) -> Result<Self> {
        let section = self.stored(name)?;
        Self::over(
            section,
            self.label.join(name),
            self.limits,
            Arc::clone(&self.inflated),
        )
    }

    /// The bytes of an entry that is stored without compression.
    ///
    /// # Errors
    /// When it is compressed, or reaches over the end.
    pub fn stored(&mut self, name: &str) -> Result<Section> {
        let index = self.index(name)?;
        let label = self.label.clone();
        let no = |why: String| {
            ArchiveError::refused(&label, format!("entry \"{}\": {why}", printable(name)))
        };
        let entry = self
            .zip
            .by_index_raw(index)
            .map_err(|e| no(format!("it can't be read ({e})")))?;
        if entry.compression() != CompressionMethod::Stored {
            return Err(no(
                "it is compressed; a .dslice inside a .dsperse must be stored without compression"
                    .into(),
            ));
        }
        let (start, len) = (entry.data_start(), entry.compressed_size());
        if len != entry.size() {
            return Err(no("its two sizes differ although it is stored".into()));
        }
        match start {
            Some(start)
                if start
                    .checked_add(len)
                    .is_some_and(|end| end <= self.section.size()) =>
            {
                Ok(self.section.part(start, len))
            }
            _ => Err(no("it reaches over the end of the archive".into())),
        }
    }
}

/// The number of entries that the end records promise, before anything is read for each.
///
/// The end record must be the last thing in the file, without a comment: bytes after it
/// mean that the file was cut or glued, and a comment could hold another end record.
fn entry_count(section: &mut Section) -> Result<u64, String> {
    const END: u64 = 22;
    const LOCATOR: u64 = 20;
    let missing = || "its end record is not at its end".to_owned();
    let end: [u8; 22] = read_at(section, section.size().checked_sub(END)).ok_or_else(missing)?;
    if !end.starts_with(b"PK\x05\x06") || !end.ends_with(&[0, 0]) {
        return Err(missing());
    }
    let [.., low, high, _, _, _, _, _, _, _, _, _, _] = end;
    let count = u64::from(u16::from_le_bytes([low, high]));
    // ZIP64 has a locator before the end record, which points to a larger one.
    let before = section.size().checked_sub(END + LOCATOR);
    let Some(locator) = read_at::<20>(section, before).filter(|l| l.starts_with(b"PK\x06\x07"))
    else {
        return Ok(count);
    };
    let [_, _, _, _, _, _, _, _, at @ .., _, _, _, _] = locator;
    let record: [u8; 40] =
        read_at(section, Some(u64::from_le_bytes(at))).ok_or("its ZIP64 end record is missing")?;
    let [.., a, b, c, d, e, f, g, h] = record;
    Ok(count.max(u64::from_le_bytes([a, b, c, d, e, f, g, h])))
}

fn read_at<const N: usize>(section: &mut Section, at: Option<u64>) -> Option<[u8; N]> {
    let mut buf = [0; N];
    section.seek(SeekFrom::Start(at?)).ok()?;
    section.read_exact(&mut buf).ok()?;
    Some(buf)
}

fn plain_mode(mode: Option<u32>, is_dir: bool) -> bool {
    match mode.map(|m| m & 0o170_000) {
        None | Some(0) => true,
        Some(0o100_000) => !is_dir,
        Some(0o040_000) => is_dir,
        Some(_) => false,
    }
}

fn printable(name: &str) -> String {
    name.chars()
        .take(100)
        .flat_map(char::escape_debug)
        .collect()
}
