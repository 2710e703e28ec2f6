//! A tensor in a file.

use crate::error::{Result, TensorError};
use crate::{Tensor, TensorInfo, Values};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};

/// A tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorFile {
    /// What the file holds.
    #[serde(flatten)]
    pub info: TensorInfo,
    /// Path. In requests: absolute, chosen by the host. In replies: relative to the job's directory.
    pub path: String,
    /// SHA-256 of the bytes, lower-case hex. Backends may leave it empty; hosts compute it.
    #[serde(default)]
    pub sha256: String,
}

impl TensorFile {
    /// Reads the file's bytes. Their number is checked against encoding and shape before
    /// anything is read, so a file of the wrong size costs nothing.
    ///
    /// # Errors
    /// When the file can't be read, is no regular file, or has another size.
    pub fn read_bytes(&self) -> Result<Vec<u8>> {
        let unread = |source| TensorError::Read {
            name: self.info.name.clone(),
            path: self.path.clone().into(),
            source,
        };
        let about = std::fs::metadata(&self.path).map_err(unread)?;
        if !about.is_file() {
            return Err(unread(io::Error::other("it is no regular file")));
        }
        self.info.check_len(about.len())?;
        let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0));
        File::open(&self.path)
            // One byte more, so that a file that has grown since is noticed.
            .and_then(|f| {
                f.take(about.len().saturating_add(1))
                    .read_to_end(&mut bytes)
            })
            .map_err(unread)?;
        self.info.check_len(bytes.len() as u64)?;
        Ok(bytes)
    }

    /// Reads the tensor.
    ///
    /// # Errors
    /// As [`TensorFile::read_bytes`].
    pub fn read(&self) -> Result<Tensor> {
        Tensor::new(self.info.clone(), self.read_bytes()?)
    }

    /// Reads the file's elements for arithmetic.
    ///
    /// # Errors
    /// As [`TensorFile::read_bytes`]; also for `u64` values beyond `i64`.
    pub fn read_values(&self) -> Result<Values> {
        let bytes = self.read_bytes()?;
        let beyond = |c: &[u8; 8]| i64::try_from(u64::from_le_bytes(*c)).is_err();
        Values::from_bytes(&bytes, self.info.encoding).ok_or_else(|| TensorError::Element {
            name: Some(self.info.name.clone()),
            at: bytes.as_chunks().0.iter().position(beyond).unwrap_or(0),
            found: "an unsigned integer beyond 2^63".into(),
            expected: "one that fits an i64".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Encoding;

    fn file(path: &std::path::Path, encoding: Encoding, shape: &[u64]) -> TensorFile {
        TensorFile {
            info: TensorInfo {
                name: "x".into(),
                encoding,
                shape: shape.to_vec(),
            },
            path: path.to_string_lossy().into_owned(),
            sha256: String::new(),
        }
    }

    #[test]
    fn the_size_is_checked_before_anything_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.bin");
        // Sparse: 1 TiB that nobody could read into memory.
        let sparse = File::create(&path).unwrap();
        sparse.set_len(1 << 40).unwrap();
        let e = file(&path, Encoding::F32, &[2]).read_bytes().unwrap_err();
        assert_eq!(
            e.to_string(),
            "tensor \"x\" (f32, shape [2]) has 1099511627776 bytes, expected 8"
        );
        let e = file(dir.path(), Encoding::F32, &[2]).read_bytes();
        assert!(matches!(e, Err(TensorError::Read { .. })), "a directory");
        let e = file(&dir.path().join("none"), Encoding::F32, &[2]).read_bytes();
        assert!(matches!(e, Err(TensorError::Read { .. })));
    }

    #[test]
    fn elements_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.bin");
        std::fs::write(&path, [0, 0, 128, 63]).unwrap();
        let f = file(&path, Encoding::F32, &[1]);
        assert_eq!(f.read_values().unwrap(), Values::Float(vec![1.0]));
        assert_eq!(f.read().unwrap().to_f64(), [1.0]);
        std::fs::write(&path, [[0; 8], [0xff; 8]].concat()).unwrap();
        let e = file(&path, Encoding::U64, &[2]).read_values().unwrap_err();
        assert_eq!(
            e.to_string(),
            "tensor \"x\": element 1 is an unsigned integer beyond 2^63, expected one that fits an i64"
        );
    }
}
