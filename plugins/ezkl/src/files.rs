//! Files of a call: the directory in which EZKL writes, and JSON in one stable form.

use dsperse_plugin_api::{Cx, Error, Result, SliceInfo};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// A directory for files that EZKL makes; what is worth keeping is moved out at the end.
pub struct Work {
    dir: PathBuf,
    out: PathBuf,
}

impl Work {
    /// Makes the directory.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn new(cx: &Cx) -> Result<Self> {
        let dir = cx.dir().join("work");
        std::fs::create_dir_all(&dir)?;
        Ok(Self {
            dir: dir.canonicalize()?,
            out: cx.dir().to_owned(),
        })
    }

    /// A path in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Moves files out, into the job's directory.
    ///
    /// # Errors
    /// When one is not there.
    pub fn keep(&self, names: &[&str]) -> Result<()> {
        for name in names {
            std::fs::rename(self.file(name), self.out.join(name))?;
        }
        Ok(())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // The host throws the job's directory away in any case.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// The slice's ONNX file.
///
/// # Errors
/// `invalid_input` when it is not there.
pub fn payload(slice: &SliceInfo) -> Result<Vec<u8>> {
    let path = slice
        .model
        .as_ref()
        .ok_or_else(|| Error::invalid_input("the slice's ONNX file is needed and not there"))?;
    std::fs::read(path).map_err(|e| Error::invalid_input(format!("\"{path}\" can't be read: {e}")))
}

/// Reads a document.
///
/// # Errors
/// `invalid_input` when it is not JSON.
pub fn read_json(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path)?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Error::invalid_input(format!("\"{}\" is corrupt: {e}", path.display())))
}

/// Writes a document.
///
/// # Errors
/// Those of the file system.
pub fn write_json(path: &Path, value: &Value) -> Result<()> {
    Ok(std::fs::write(path, value.to_string())?)
}

/// Sorts the keys of an object and of all objects in it.
pub fn sort_maps(map: &mut Map<String, Value>) {
    map.sort_keys();
    for value in map.values_mut() {
        sort_value(value);
    }
}

fn sort_value(value: &mut Value) {
    match value {
        Value::Object(map) => sort_maps(map),
        Value::Array(list) => list.iter_mut().for_each(sort_value),
        _ => {}
    }
}
