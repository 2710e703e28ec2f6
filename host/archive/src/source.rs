//! Where the bytes of an archive are.

use crate::error::{ArchiveError, Result};
use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// Bytes that are read at a position.
pub trait ReadAt: Debug + Send + Sync {
    /// Reads from a position on; 0 at the end.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;
}

impl ReadAt for Arc<[u8]> {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let mut rest = self.get(start..).unwrap_or_default();
        rest.read(buf)
    }
}

#[cfg(unix)]
impl ReadAt for File {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buf, at)
    }
}

#[cfg(windows)]
impl ReadAt for File {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(self, buf, at)
    }
}

/// Where files can't be read at a position there are none.
#[cfg(not(any(unix, windows)))]
impl ReadAt for File {
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A range of bytes, read at positions of its own: several sections of one archive can be
/// read at the same time.
#[derive(Debug, Clone)]
pub struct Section {
    source: Arc<dyn ReadAt>,
    start: u64,
    len: u64,
    at: u64,
}

impl Section {
    /// All of a file.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn whole(path: &Path) -> Result<Self> {
        let at = |action| move |e| ArchiveError::io(action, path, e);
        let file = File::open(path).map_err(at("open"))?;
        let len = file.metadata().map_err(at("read"))?.len();
        Ok(Self::over(Arc::new(file), len))
    }

    /// All of what is in memory.
    #[must_use]
    pub fn bytes(bytes: Arc<[u8]>) -> Self {
        let len = bytes.len() as u64;
        Self::over(Arc::new(bytes), len)
    }

    fn over(source: Arc<dyn ReadAt>, len: u64) -> Self {
        Self {
            source,
            start: 0,
            len,
            at: 0,
        }
    }

    /// A part of it. The caller has seen that it does not reach over the end.
    pub(crate) fn part(&self, start: u64, len: u64) -> Self {
        Self {
            source: Arc::clone(&self.source),
            start: self.start + start,
            len,
            at: 0,
        }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.len
    }
}

impl Read for Section {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.len.saturating_sub(self.at);
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let buf = buf.get_mut(..want).unwrap_or_default();
        let n = self.source.read_at(buf, self.start + self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Section {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::End(d) => self.len.checked_add_signed(d),
            SeekFrom::Current(d) => self.at.checked_add_signed(d),
        };
        // Far positions come from hostile headers; a plain bound keeps sums in range.
        match target {
            Some(n) if n <= i64::MAX as u64 / 2 => {
                self.at = n;
                Ok(n)
            }
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "position outside of the archive",
            )),
        }
    }
}
