//! Digests of files.

use crate::error::{IoContext, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Size and SHA-256 (lower-case hex) of a file, in constant memory.
///
/// # Errors
/// When the file can't be read.
pub fn file_digest(path: &Path) -> Result<(u64, String)> {
    let mut file = File::open(path).at("read", path)?;
    let mut hash = Sha256::new();
    let mut buf = vec![0u8; crate::archive::CHUNK];
    let mut size = 0u64;
    loop {
        let n = file.read(&mut buf).at("read", path)?;
        if n == 0 {
            break;
        }
        size += n as u64;
        hash.update(buf.get(..n).unwrap_or_default());
    }
    Ok((size, hex::encode(hash.finalize())))
}
