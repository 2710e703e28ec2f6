//! From a file to a model in memory, with its external data and its digests.

use crate::error::{Result, SliceError};
use bytes::Bytes;
use dsperse_documents::{ExternalFile, ModelFile};
use dsperse_onnx::{Dim, ModelProto, ValueInfoProto, external, tensor};
use sha2::{Digest, Sha256};
use std::path::Path;

/// A model in memory: all weights inlined as `raw_data`, everything else as in the file.
#[derive(Debug, Clone)]
pub struct LoadedModel {
    /// The model.
    pub model: ModelProto,
    /// Name, size and SHA-256 of the original file, and of its external data files.
    pub file: ModelFile,
}

impl LoadedModel {
    /// The names of the inputs, in order, when a size of one of them is open; else nothing.
    #[must_use]
    pub fn open_inputs(&self) -> Option<Vec<String>> {
        let inputs = self.model.graph.as_ref()?.real_inputs();
        let known = |d: &Dim| matches!(d, Dim::Known(_));
        let open = |v: &&ValueInfoProto| !v.dims().is_some_and(|dims| dims.iter().all(known));
        inputs.iter().any(open).then(|| {
            let names = inputs.iter().map(|v| v.name().to_owned());
            names.collect()
        })
    }
}

/// Reads a model file and the external data that it names (only below the file's folder).
///
/// # Errors
/// [`SliceError::Read`] when the file can't be read, [`SliceError::Onnx`] when it is not a
/// model or its weights don't fit their sizes.
pub fn load(path: &Path) -> Result<LoadedModel> {
    let bytes = std::fs::read(path).map_err(|source| SliceError::Read {
        path: path.to_owned(),
        source,
    })?;
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let base = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    load_bytes(&name, Bytes::from(bytes), Some(base))
}

/// Reads a model from memory. External data is refused without a `base` folder.
///
/// # Errors
/// As [`load`].
pub fn load_bytes(name: &str, bytes: Bytes, base: Option<&Path>) -> Result<LoadedModel> {
    let digest = |b: &[u8]| hex::encode(Sha256::digest(b));
    let mut file = ModelFile {
        name: name.to_owned(),
        size: bytes.len() as u64,
        sha256: digest(&bytes),
        ..ModelFile::default()
    };
    let mut model = ModelProto::parse(bytes)?;
    if let Some(base) = base {
        file.external_data = external::load(&mut model, base)?
            .into_iter()
            .map(|f| ExternalFile {
                size: f.bytes.len() as u64,
                sha256: digest(&f.bytes),
                name: f.location,
                ..ExternalFile::default()
            })
            .collect();
    }
    // One form for all weights; a tensor that contradicts itself is found here.
    model.try_for_each_tensor_mut(&mut tensor::normalise)?;
    Ok(LoadedModel { model, file })
}
