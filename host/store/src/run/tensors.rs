//! The tensor store of a run: `tensors/index.json` and one raw file per tensor.
//!
//! Each tensor is stored once, under its name in the model's graph, so the output of one
//! slice and the input of the next are the same bytes. File names are made of what is
//! harmless in the tensor's name and a digest over name and content: no name can collide,
//! climb out, or be overwritten by other content. The index is replaced in one step after
//! the files are there.

use crate::files::atomic::{AtomicFile, clean_leftovers, read_document, sync_dir, write_document};
use crate::files::digest::{compare, file_digest, known_digest};
use crate::files::error::{BundleError, IoContext, Result};
use crate::files::mutex::lock;
use crate::files::paths;
use dsperse_documents::digest::sha256_hex;
use dsperse_documents::{TensorIndex, TensorOrigin, TensorRecord};
use dsperse_tensor::{Tensor, TensorFile, TensorInfo};
use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A tensor that goes into the store.
#[derive(Debug, Clone)]
pub struct NewTensor {
    /// Name, encoding and shape.
    pub info: TensorInfo,
    /// Its elements.
    pub data: TensorData,
    /// Where it comes from.
    pub origin: TensorOrigin,
}

/// Elements of a tensor.
#[derive(Debug, Clone)]
pub enum TensorData {
    /// In memory.
    Bytes(Vec<u8>),
    /// In a file, which is copied, with its digest where it was measured already. Whoever
    /// uses the tensor compares it anyway.
    File(PathBuf, Option<String>),
}

impl NewTensor {
    /// A tensor in memory.
    #[must_use]
    pub fn new(tensor: Tensor, origin: TensorOrigin) -> Self {
        Self {
            info: tensor.info,
            data: TensorData::Bytes(tensor.data),
            origin,
        }
    }

    /// A tensor that a job wrote, with the path relative to the job's directory and the
    /// digest that the plugin host measured.
    ///
    /// # Errors
    /// When the path leads out of the directory or is no regular file.
    pub fn from_job(file: &TensorFile, job_dir: &Path, origin: TensorOrigin) -> Result<Self> {
        let what = format!("tensor \"{}\"", file.info.name);
        Ok(Self {
            info: file.info.clone(),
            data: TensorData::File(
                paths::regular_file(job_dir, &file.path, job_dir, &what)?,
                Some(file.sha256.clone()).filter(|s| !s.is_empty()),
            ),
            origin,
        })
    }
}

/// The tensors of a run.
#[derive(Debug)]
pub struct TensorStore {
    dir: PathBuf,
    index: Mutex<TensorIndex>,
    /// Digests of files that were already compared.
    checked: Mutex<HashSet<String>>,
}

impl TensorStore {
    /// Opens the store in `dir`; without an index it is empty.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("index.json");
        let index: TensorIndex = if path.exists() {
            read_document(&path)?
        } else {
            TensorIndex::default()
        };
        index
            .validate()
            .map_err(|e| BundleError::inconsistent(&path, e))?;
        Ok(Self {
            dir: dir.to_owned(),
            index: Mutex::new(index),
            checked: Mutex::default(),
        })
    }

    /// Removes files that no record names, which a crashed command left. Call it under
    /// the run's exclusive lock.
    pub(crate) fn clean(&self) {
        clean_leftovers(&self.dir);
        let index = lock(&self.index);
        let known: HashSet<&str> = index.tensors.iter().map(|t| t.path.as_str()).collect();
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(".bin") && !known.contains(name.as_ref()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// All records.
    #[must_use]
    pub fn records(&self) -> Vec<TensorRecord> {
        lock(&self.index).tensors.clone()
    }

    /// The record of a tensor.
    ///
    /// # Errors
    /// When there is no such tensor.
    pub fn record(&self, name: &str) -> Result<TensorRecord> {
        lock(&self.index)
            .get(name)
            .cloned()
            .ok_or_else(|| BundleError::Missing {
                what: format!("tensor \"{name}\" of the run"),
                path: self.dir.join("index.json"),
            })
    }

    /// Whether the tensor is there.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        lock(&self.index).get(name).is_some()
    }

    /// Stores tensors: all of them or none. The same tensor again changes nothing. Other
    /// content under the same name is accepted only from the same origin (a slice that is
    /// run again), because everything else would change a value behind someone's back.
    ///
    /// # Errors
    /// When a tensor is there already with other content, or can't be written.
    pub fn put(&self, tensors: Vec<NewTensor>) -> Result<Vec<TensorRecord>> {
        if tensors.is_empty() {
            return Ok(Vec::new());
        }
        fs::create_dir_all(&self.dir).at("create", &self.dir)?;
        let mut index = lock(&self.index);
        let mut next = index.clone();
        let mut out = Vec::with_capacity(tensors.len());
        let mut replaced = Vec::new();
        for t in tensors {
            let record = self.write(&t, &next)?;
            match next.tensors.iter_mut().find(|r| r.name == record.name) {
                None => next.tensors.push(record.clone()),
                Some(old) if old.info() == record.info() && old.sha256 == record.sha256 => {}
                Some(old) if old.origin == record.origin => {
                    replaced.push(std::mem::replace(old, record.clone()).path);
                }
                Some(old) => {
                    return Err(BundleError::inconsistent(
                        &self.dir.join("index.json"),
                        format!(
                            "tensor \"{}\" is there already with other content (SHA-256 {}), which {:?} wrote",
                            record.name, old.sha256, old.origin
                        ),
                    ));
                }
            }
            out.push(record);
        }
        if next != *index {
            write_document(&self.dir.join("index.json"), &next)?;
            *index = next;
        } else {
            // A file that had gone may have been written again.
            sync_dir(&self.dir)?;
        }
        for path in replaced {
            if !index.tensors.iter().any(|t| t.path == path) {
                // A file that stays is removed at the next open.
                let _ = fs::remove_file(self.dir.join(path));
            }
        }
        Ok(out)
    }

    fn write(&self, t: &NewTensor, index: &TensorIndex) -> Result<TensorRecord> {
        let (size, sha256) = match &t.data {
            TensorData::Bytes(b) => (b.len() as u64, sha256_hex(b)),
            TensorData::File(path, None) => file_digest(path)?,
            TensorData::File(path, Some(sha256)) => {
                let size = fs::metadata(path).at("read", path)?.len();
                (size, sha256.clone())
            }
        };
        t.info.check_len(size)?;
        let path = file_name(&t.info.name, &sha256);
        let record = TensorRecord {
            name: t.info.name.clone(),
            encoding: t.info.encoding,
            shape: t.info.shape.clone(),
            path: path.clone(),
            size,
            sha256: sha256.clone(),
            origin: t.origin,
            extra: dsperse_documents::Extra::new(),
        };
        let target = self.dir.join(&path);
        let known = index.get(&t.info.name).is_some_and(|r| r.path == path);
        // Compared, so that a tensor that was damaged is mended by computing it again.
        if known && self.checked_path(&record).is_ok() {
            return Ok(record);
        }
        let mut out = AtomicFile::create(&target)?;
        match &t.data {
            TensorData::Bytes(b) => out.write_all(b).at("write", &target)?,
            TensorData::File(from, _) => {
                let mut file = fs::File::open(from).at("read", from)?;
                std::io::copy(&mut file, out.file()).at("copy", from)?;
            }
        }
        // The index, which is written next to it, is what makes it count.
        out.put_in_place()?;
        Ok(record)
    }

    /// A tensor's file for a job: absolute path, size and digest checked.
    ///
    /// # Errors
    /// When it is missing, or its size or digest is not that of the index.
    pub fn file(&self, name: &str) -> Result<TensorFile> {
        let r = self.record(name)?;
        let path = self.checked_path(&r)?;
        Ok(TensorFile {
            info: r.info(),
            path: path.to_string_lossy().into_owned(),
            sha256: r.sha256,
        })
    }

    /// Reads every tensor again that was touched since this process last read it, and
    /// compares.
    ///
    /// # Errors
    /// The first that is not what the index says any more.
    pub fn check_unchanged(&self) -> Result<()> {
        for r in self.records() {
            let path = self.path_of(&r)?;
            check(&r, &path, &known_digest(&path)?)?;
        }
        Ok(())
    }

    /// A tensor's values, size and digest checked.
    ///
    /// # Errors
    /// As [`TensorStore::file`].
    pub fn read(&self, name: &str) -> Result<Tensor> {
        let r = self.record(name)?;
        let path = self.path_of(&r)?;
        let size = fs::metadata(&path).at("read", &path)?.len();
        if size != r.size {
            // Not read: it may be of any size.
            check(&r, &path, &(size, String::new()))?;
        }
        let data = fs::read(&path).at("read", &path)?;
        check(&r, &path, &(data.len() as u64, sha256_hex(&data)))?;
        lock(&self.checked).insert(checked_key(&r));
        Ok(Tensor::new(r.info(), data)?)
    }

    fn path_of(&self, r: &TensorRecord) -> Result<PathBuf> {
        let what = format!("tensor \"{}\"", r.name);
        paths::regular_file(&self.dir, &r.path, &self.dir.join("index.json"), &what)
    }

    fn checked_path(&self, r: &TensorRecord) -> Result<PathBuf> {
        let path = self.path_of(r)?;
        let path = path.canonicalize().at("find", &path)?;
        let key = checked_key(r);
        if !lock(&self.checked).contains(&key) {
            check(r, &path, &file_digest(&path)?)?;
            lock(&self.checked).insert(key);
        }
        Ok(path)
    }
}

fn check(r: &TensorRecord, path: &Path, found: &(u64, String)) -> Result<()> {
    let what = format!("tensor \"{}\"", r.name);
    compare(&what, path, (r.size, &r.sha256), found)
}

fn checked_key(r: &TensorRecord) -> String {
    format!("{} {}", r.path, r.sha256)
}

/// A file name for a tensor: the harmless part of its name for people, then a digest over
/// name and content that makes it unique.
fn file_name(name: &str, sha256: &str) -> String {
    let harmless: String = name
        .chars()
        .take(48)
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let digest = sha256_hex(format!("{}\n{name}\n{sha256}", name.len()).as_bytes());
    let digest = digest.get(..24).unwrap_or_default();
    format!("{harmless}-{digest}.bin")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_plugin_api::Encoding;

    fn tensor(name: &str, values: &[f32], origin: TensorOrigin) -> NewTensor {
        let info = TensorInfo {
            name: name.into(),
            encoding: Encoding::F32,
            shape: vec![values.len() as u64],
        };
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        NewTensor::new(Tensor { info, data }, origin)
    }

    #[test]
    fn tensors_come_back_as_they_went_in() {
        let dir = tempfile::tempdir().unwrap();
        let store = TensorStore::open(dir.path()).unwrap();
        let names = [
            "x",
            "a/b",
            "../../etc",
            "X",
            "x:0",
            "",
            "ü ∞",
            &"n".repeat(500),
        ];
        for (i, name) in names.iter().enumerate() {
            store
                .put(vec![tensor(name, &[i as f32, 1.0], TensorOrigin::Slice(i))])
                .unwrap();
        }
        let again = TensorStore::open(dir.path()).unwrap();
        for (i, name) in names.iter().enumerate() {
            assert_eq!(again.read(name).unwrap().to_f64(), [i as f64, 1.0]);
            let f = again.file(name).unwrap();
            assert_eq!(fs::read(&f.path).unwrap().len(), 8);
            assert_eq!(again.record(name).unwrap().origin, TensorOrigin::Slice(i));
        }
        for entry in fs::read_dir(dir.path()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(
                name.len() < 90 && paths::objection(&name).is_none(),
                "{name}"
            );
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), names.len() + 1);
    }

    #[test]
    fn a_tensor_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = TensorStore::open(dir.path()).unwrap();
        let first = store
            .put(vec![tensor("x", &[1.0], TensorOrigin::Input)])
            .unwrap();
        let same = store
            .put(vec![tensor("x", &[1.0], TensorOrigin::Slice(0))])
            .unwrap();
        assert_eq!(first[0].sha256, same[0].sha256);
        let e = store
            .put(vec![
                tensor("y", &[3.0], TensorOrigin::Slice(0)),
                tensor("x", &[2.0], TensorOrigin::Slice(0)),
            ])
            .unwrap_err();
        assert!(e.to_string().contains("already with other content"), "{e}");
        assert!(!store.contains("y"), "all or none");
        // The origin itself may write it again; the old file goes away.
        store
            .put(vec![tensor("x", &[2.0], TensorOrigin::Input)])
            .unwrap();
        let again = TensorStore::open(dir.path()).unwrap();
        assert_eq!(again.read("x").unwrap().to_f64(), [2.0]);
        assert_eq!(again.records().len(), 1);
        again.clean();
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            2,
            "index and one file"
        );
    }

    #[test]
    fn changed_files_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let store = TensorStore::open(dir.path()).unwrap();
        let r = store
            .put(vec![tensor("x", &[1.0, 2.0], TensorOrigin::Input)])
            .unwrap();
        let path = dir.path().join(&r[0].path);
        let good = fs::read(&path).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bad).unwrap();
            assert!(matches!(
                store.read("x"),
                Err(BundleError::Changed {
                    field: "SHA-256",
                    ..
                })
            ));
            assert!(matches!(store.file("x"), Err(BundleError::Changed { .. })));
        }
        fs::write(&path, &good[..7]).unwrap();
        assert!(matches!(
            store.read("x"),
            Err(BundleError::Changed { field: "size", .. })
        ));
        fs::remove_file(&path).unwrap();
        assert!(matches!(store.read("x"), Err(BundleError::Missing { .. })));
        fs::write(&path, &good).unwrap();
        assert!(store.file("x").is_ok());
    }

    #[test]
    fn a_damaged_tensor_is_mended_by_putting_it_again() {
        let dir = tempfile::tempdir().unwrap();
        let x = || vec![tensor("x", &[1.0, 2.0], TensorOrigin::Slice(0))];
        let r = TensorStore::open(dir.path()).unwrap().put(x()).unwrap();
        fs::write(dir.path().join(&r[0].path), [0; 8]).unwrap();
        let store = TensorStore::open(dir.path()).unwrap();
        assert!(matches!(store.read("x"), Err(BundleError::Changed { .. })));
        store.put(x()).unwrap();
        assert_eq!(store.read("x").unwrap().to_f64(), [1.0, 2.0]);
        assert_eq!(store.records().len(), 1);
    }

    #[test]
    fn a_hostile_index_reads_nothing_outside() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), [0u8; 4]).unwrap();
        let tensors = dir.path().join("tensors");
        fs::create_dir(&tensors).unwrap();
        let index = |path: &str, size: u64, shape: &str| {
            format!(
                r#"{{"schema":"1.0.0","tensors":[{{"name":"x","dtype":"f32","shape":{shape},"path":"{path}","size":{size},"sha256":"{}","origin":"input"}}]}}"#,
                sha256_hex(&[0; 4])
            )
        };
        fs::write(tensors.join("index.json"), index("../secret", 4, "[1]")).unwrap();
        let store = TensorStore::open(&tensors).unwrap();
        assert!(matches!(
            store.read("x"),
            Err(BundleError::UnsafePath { .. })
        ));
        assert!(matches!(
            store.file("x"),
            Err(BundleError::UnsafePath { .. })
        ));
        for (size, shape) in [(8, "[1]"), (4, "[4294967296,4294967296,4]")] {
            fs::write(tensors.join("index.json"), index("x", size, shape)).unwrap();
            assert!(TensorStore::open(&tensors).is_err());
        }
    }
}
