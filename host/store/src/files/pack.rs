//! Writing archives.
//!
//! The same content gives the same bytes: entries are sorted, timestamps and permissions
//! fixed, everything is stored without compression (circuits and weights don't shrink,
//! and stored entries can be read in place). Content is streamed, so memory stays flat;
//! ZIP64 is used where sizes need it.

use crate::files::error::{BundleError, IoContext, Result};
use crate::files::paths::{Names, objection};
use dsperse_archive::CHUNK;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// Entries of at least this size get ZIP64 headers.
const LARGE: u64 = 0xFFFF_0000;

/// Writes one archive.
pub(crate) struct Packer<'a, W: Write + Seek> {
    zip: ZipWriter<W>,
    label: &'a Path,
    names: Names,
}

impl<'a, W: Write + Seek> Packer<'a, W> {
    pub(crate) fn new(out: W, label: &'a Path) -> Self {
        Self {
            zip: ZipWriter::new(out),
            label,
            names: Names::default(),
        }
    }

    fn start(&mut self, name: &str, size: u64) -> Result<()> {
        if let Some(reason) = objection(name) {
            return Err(BundleError::UnsafePath {
                document: self.label.to_owned(),
                found: name.to_owned(),
                reason,
            });
        }
        self.names.add(name, false).map_err(|other| {
            BundleError::inconsistent(
                self.label,
                format!("\"{name}\" and \"{other}\" collide on systems that ignore case"),
            )
        })?;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .unix_permissions(0o644)
            .large_file(size >= LARGE);
        self.zip
            .start_file(name, options)
            .map_err(|e| failed(self.label, e))
    }

    /// Adds an entry of a known size; `fill` writes its content.
    pub(crate) fn entry<T>(
        &mut self,
        name: &str,
        size: u64,
        fill: impl FnOnce(&mut dyn Write) -> Result<T>,
    ) -> Result<T> {
        self.start(name, size)?;
        fill(&mut self.zip)
    }

    /// Adds an entry from memory.
    pub(crate) fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.start(name, bytes.len() as u64)?;
        self.zip.write_all(bytes).at("write", self.label)
    }

    /// Adds an entry from a file.
    pub(crate) fn file(&mut self, name: &str, path: &Path) -> Result<()> {
        let file = File::open(path).at("read", path)?;
        let size = file.metadata().at("read", path)?.len();
        self.stream(name, size, file, path)
    }

    /// Adds an entry of a known size from a reader.
    pub(crate) fn stream(
        &mut self,
        name: &str,
        size: u64,
        mut from: impl Read,
        source: &Path,
    ) -> Result<()> {
        self.start(name, size)?;
        let mut buf = vec![0u8; CHUNK];
        let mut done = 0u64;
        loop {
            let n = from.read(&mut buf).at("read", source)?;
            if n == 0 {
                break;
            }
            done += n as u64;
            self.zip
                .write_all(buf.get(..n).unwrap_or_default())
                .at("write", self.label)?;
        }
        if done != size {
            return Err(BundleError::inconsistent(
                source,
                format!("the file changed while it was read: {size} bytes, then {done}"),
            ));
        }
        Ok(())
    }

    /// Ends the archive.
    pub(crate) fn finish(self) -> Result<W> {
        let label = self.label;
        self.zip.finish().map_err(|e| failed(label, e))
    }
}

fn failed(label: &Path, e: ZipError) -> BundleError {
    let source = match e {
        ZipError::Io(e) => e,
        other => std::io::Error::other(other.to_string()),
    };
    BundleError::io("write", label, source)
}
