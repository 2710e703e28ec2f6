//! External data: weights in files beside the model.
//!
//! The model file is untrusted, so a location must be a plain relative path, and what it
//! resolves to (through links) must lie in the model's folder. Each file is read once;
//! tensors become slices of it.

use crate::{DataLocation, ModelProto, OnnxError, Result, TensorProto, tensor};
use bytes::Bytes;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

/// A file with external data that was read.
#[derive(Debug, Clone)]
pub struct ExternalFile {
    /// Location as the model gives it.
    pub location: String,
    /// The whole content.
    pub bytes: Bytes,
}

/// Where a tensor's bytes are, as its `external_data` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Path relative to the model's folder.
    pub path: String,
    /// First byte.
    pub offset: u64,
    /// Number of bytes; `None` means what the tensor's sizes need.
    pub length: Option<u64>,
}

/// Whether the tensor's bytes are in another file.
#[must_use]
pub fn is_external(proto: &TensorProto) -> bool {
    proto.data_location() == DataLocation::External
}

/// Reads the `external_data` entries of a tensor.
///
/// # Errors
/// [`OnnxError::External`] when the location is missing or a number can't be read.
pub fn location(proto: &TensorProto) -> Result<Location> {
    let entry = |key: &str| {
        proto
            .external_data
            .iter()
            .find(|e| e.key() == key)
            .map(|e| e.value())
    };
    let number = |key: &str| -> Result<Option<u64>> {
        entry(key)
            .map(|v| {
                v.parse::<u64>()
                    .map_err(|_| err(proto, format!("{key} \"{v}\" is not a number of bytes")))
            })
            .transpose()
    };
    let path = entry("location")
        .filter(|l| !l.is_empty())
        .ok_or_else(|| err(proto, "it gives no location".into()))?;
    Ok(Location {
        path: path.to_owned(),
        offset: number("offset")?.unwrap_or(0),
        length: number("length")?,
    })
}

/// The file that a location means, inside `base`.
fn resolve(proto: &TensorProto, location: &str, base: &Path) -> Result<PathBuf> {
    let relative = Path::new(location);
    let plain = relative
        .components()
        .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if !plain || location.contains('\\') {
        return Err(err(
            proto,
            "expected a relative path inside the model's folder".into(),
        ));
    }
    let io = |e: std::io::Error| err(proto, e.to_string());
    let base = base.canonicalize().map_err(io)?;
    let path = base.join(relative).canonicalize().map_err(io)?;
    if !path.starts_with(&base) {
        return Err(err(proto, "it links to outside the model's folder".into()));
    }
    if !path.metadata().map_err(io)?.is_file() {
        return Err(err(proto, "expected a regular file".into()));
    }
    Ok(path)
}

/// Loads all external data of a model into `raw_data`, and returns the files in the order
/// of their locations (for digests).
///
/// # Errors
/// [`OnnxError::External`] when a location climbs out, a file can't be read or is too
/// short; [`OnnxError::Tensor`] when the bytes don't fit the tensor.
pub fn load(model: &mut ModelProto, base: &Path) -> Result<Vec<ExternalFile>> {
    let mut files: HashMap<PathBuf, ExternalFile> = HashMap::new();
    model.try_for_each_tensor_mut(&mut |t| {
        if !is_external(t) {
            return Ok(());
        }
        let at = location(t)?;
        let path = resolve(t, &at.path, base)?;
        let whole = match files.get(&path) {
            Some(f) => f.bytes.clone(),
            None => {
                let bytes = Bytes::from(std::fs::read(&path).map_err(|e| err(t, e.to_string()))?);
                files.insert(
                    path,
                    ExternalFile {
                        location: at.path.clone(),
                        bytes: bytes.clone(),
                    },
                );
                bytes
            }
        };
        let (_, elements) = tensor::dims(t)?;
        let need = tensor::dtype(t)?.raw_len(elements).map(|n| n as u64);
        let range = at
            .length
            .or(need)
            .and_then(|length| at.offset.checked_add(length))
            .filter(|end| *end <= whole.len() as u64)
            .and_then(|end| Some(usize::try_from(at.offset).ok()?..usize::try_from(end).ok()?))
            .ok_or_else(|| {
                err(
                    t,
                    format!(
                        "expected {} bytes from byte {}, the file has {}",
                        at.length.or(need).unwrap_or(0),
                        at.offset,
                        whole.len()
                    ),
                )
            })?;
        t.raw_data = Some(whole.slice(range));
        t.external_data = Vec::new();
        t.data_location = None;
        tensor::raw(t).map(|_| ())
    })?;
    let mut files: Vec<ExternalFile> = files.into_values().collect();
    files.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(files)
}

fn err(proto: &TensorProto, reason: String) -> OnnxError {
    OnnxError::External {
        tensor: proto.name().to_owned(),
        location: proto
            .external_data
            .iter()
            .find(|e| e.key() == "location")
            .map_or("", |e| e.value())
            .to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataType, GraphProto, StringStringEntryProto, Tensor, Values};

    fn model(location: &str, offset: &str, length: Option<&str>) -> ModelProto {
        let entry = |k: &str, v: &str| StringStringEntryProto {
            key: Some(k.into()),
            value: Some(v.into()),
        };
        let mut external_data = vec![entry("location", location), entry("offset", offset)];
        external_data.extend(length.map(|l| entry("length", l)));
        let tensor = TensorProto {
            name: Some("w".into()),
            dims: vec![2],
            data_type: Some(DataType::F32.number()),
            external_data,
            data_location: Some(DataLocation::External as i32),
            ..TensorProto::default()
        };
        let graph = GraphProto {
            initializer: vec![tensor],
            ..GraphProto::default()
        };
        ModelProto::from_graph(graph, 17)
    }

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        let bytes: Vec<u8> = [0f32, 1.0, 2.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        std::fs::write(dir.path().join("in/w.bin"), &bytes).unwrap();
        std::fs::write(dir.path().join("out.bin"), &bytes).unwrap();
        dir
    }

    #[test]
    fn loads_the_range() {
        let dir = folder();
        for length in [None, Some("8")] {
            let mut m = model("w.bin", "4", length);
            let files = load(&mut m, &dir.path().join("in")).unwrap();
            assert_eq!(files.len(), 1);
            assert_eq!(files[0].bytes.len(), 12);
            let t = Tensor::read(m.graph.unwrap().initializer("w").unwrap()).unwrap();
            assert_eq!(t.values, Values::F32(vec![1.0, 2.0]));
        }
    }

    #[test]
    fn refuses_what_climbs_out_or_is_too_short() {
        let dir = folder();
        let base = dir.path().join("in");
        let absolute = dir.path().join("out.bin");
        let load = |location: &str, offset: &str, length: Option<&str>| {
            load(&mut model(location, offset, length), &base)
                .unwrap_err()
                .to_string()
        };
        for bad in [
            "../out.bin",
            "a/../../out.bin",
            "..\\out.bin",
            absolute.to_str().unwrap(),
        ] {
            assert!(
                load(bad, "0", None).contains("relative path inside"),
                "{bad}"
            );
        }
        assert!(load("", "0", None).contains("no location"));
        assert!(load(".", "0", None).contains("regular file"));
        assert!(
            load("w.bin", "8", None).ends_with("expected 8 bytes from byte 8, the file has 12")
        );
        assert!(load("w.bin", "4", Some("4")).contains("need 8 bytes, found 4"));
        assert!(load("w.bin", "18446744073709551615", Some("8")).contains("the file has 12"));
        assert!(load("w.bin", "-1", None).contains("not a number"));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&absolute, base.join("link.bin")).unwrap();
            assert!(load("link.bin", "0", None).contains("links to outside"));
        }
    }
}
