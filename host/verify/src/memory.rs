//! Evidence that lies in memory: what a packed proof holds (`docs/formats.md`), by path.
//!
//! ```text
//! dsproof.json                         says that it is one
//! slices/metadata.json                 the sliced model
//! slices/slice_<i>/metadata.json       each slice, beside it what its documents name
//! run/run_results.json                 the run's record, beside it the proofs that it names
//! run/tensors/index.json               the tensors, beside it their files
//! ```
//!
//! Paths of documents are looked up as they are, and lead nowhere else.

use crate::evidence::{Defect, Evidence, Held};
use dsperse_documents::digest::sha256_hex;
use dsperse_documents::packed::{MARK, PackedProof, belongs};
use dsperse_documents::paths::objection;
use dsperse_documents::{Document, ModelMetadata, RunResults, SliceMetadata, TensorIndex};
use dsperse_plugin_api::Artefact;
use dsperse_tensor::Tensor;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The bytes of a file.
pub type Bytes = Arc<[u8]>;

/// Slices and a run in memory.
#[derive(Debug)]
pub struct Memory {
    files: BTreeMap<String, Bytes>,
    model: ModelMetadata,
    results: RunResults,
    index: TensorIndex,
}

impl Memory {
    /// Reads the documents among the files, which are there by path.
    ///
    /// # Errors
    /// When a document is missing or wrong.
    pub fn new(files: BTreeMap<String, Bytes>) -> Result<Self, Defect> {
        document::<PackedProof>(&files, MARK)?;
        if let Some(odd) = files.keys().find(|name| !belongs(name)) {
            return Err(Defect::Wrong(format!(
                "\"{odd}\" does not belong into a packed proof"
            )));
        }
        let model: ModelMetadata = document(&files, "slices/metadata.json")?;
        model.validate().map_err(|e| Defect::Wrong(e.to_string()))?;
        let index: TensorIndex = document(&files, "run/tensors/index.json")?;
        index.validate().map_err(Defect::Wrong)?;
        let present = slice_documents(&files);
        if let Some(more) = present.iter().find(|i| **i >= model.slices.len()) {
            return Err(Defect::Wrong(format!(
                "there is a slice {more}, but the model's metadata lists {} slices",
                model.slices.len()
            )));
        }
        if let Some(lacks) = model.slices.iter().find(|s| !present.contains(&s.index)) {
            return Err(Defect::Missing(format!("slice {} is missing", lacks.index)));
        }
        Ok(Self {
            results: document(&files, "run/run_results.json")?,
            model,
            index,
            files,
        })
    }

    fn file(&self, path: &str, size: u64, sha256: &str, what: &str) -> Result<Bytes, Defect> {
        if let Some(why) = objection(path) {
            return Err(Defect::Wrong(format!(
                "{what} has the path \"{path}\", which is refused: {why}"
            )));
        }
        let Some(bytes) = self.files.get(path) else {
            return Err(Defect::Missing(format!(
                "{what} is missing: expected \"{path}\""
            )));
        };
        let found = sha256_hex(bytes);
        if bytes.len() as u64 == size && found == sha256 {
            return Ok(Arc::clone(bytes));
        }
        Err(Defect::Wrong(format!(
            "{what} has been changed: \"{path}\" has {} bytes with SHA-256 {found}, recorded are {size} with {sha256}",
            bytes.len()
        )))
    }
}

fn document<D: Document>(files: &BTreeMap<String, Bytes>, path: &str) -> Result<D, Defect> {
    let bytes = files
        .get(path)
        .ok_or_else(|| Defect::Missing(format!("\"{path}\" is missing")))?;
    D::parse(bytes).map_err(|e| Defect::Wrong(format!("\"{path}\": {e}")))
}

/// The indices of the slices that have a document.
fn slice_documents(files: &BTreeMap<String, Bytes>) -> Vec<usize> {
    let index = |path: &String| {
        let rest = path.strip_prefix("slices/slice_")?;
        rest.strip_suffix("/metadata.json")?.parse().ok()
    };
    files.keys().filter_map(index).collect()
}

impl Evidence for Memory {
    type File = Bytes;

    fn model(&self) -> &ModelMetadata {
        &self.model
    }

    fn results(&self) -> &RunResults {
        &self.results
    }

    fn slice(&self, index: usize) -> Result<SliceMetadata, Defect> {
        let path = format!("slices/slice_{index}/metadata.json");
        let slice: SliceMetadata = document(&self.files, &path)?;
        let summary = self.model.slices.get(index);
        let summary =
            summary.ok_or_else(|| Defect::Wrong(format!("the model has no slice {index}")))?;
        match slice.contradiction(summary, &self.model.identity) {
            None => Ok(slice),
            Some(field) => Err(Defect::Wrong(format!(
                "\"{path}\": \"{field}\" differs from what the model's metadata says of slice {index}"
            ))),
        }
    }

    fn payload(&self, slice: &SliceMetadata) -> Result<Option<Bytes>, Defect> {
        let Some(path) = &slice.payload.path else {
            return Ok(None);
        };
        let path = format!("slices/slice_{}/{path}", slice.index);
        let what = format!("the ONNX file of slice {}", slice.index);
        self.file(&path, slice.payload.size, &slice.payload.sha256, &what)
            .map(Some)
    }

    fn compiled(&self, slice: &SliceMetadata, artefact: &Artefact) -> Result<Bytes, Defect> {
        let path = format!("slices/slice_{}/{}", slice.index, artefact.path);
        let what = format!("artefact \"{}\" of slice {}", artefact.name, slice.index);
        self.file(&path, artefact.size, &artefact.sha256, &what)
    }

    fn proof(&self, artefact: &Artefact) -> Result<Bytes, Defect> {
        let path = format!("run/{}", artefact.path);
        let what = format!("file \"{}\" of the run", artefact.name);
        self.file(&path, artefact.size, &artefact.sha256, &what)
    }

    fn tensor(&self, name: &str) -> Result<Held<Bytes>, Defect> {
        let record = self
            .index
            .get(name)
            .ok_or_else(|| Defect::Missing(format!("tensor \"{name}\" of the run is missing")))?;
        let path = format!("run/tensors/{}", record.path);
        let what = format!("tensor \"{name}\"");
        Ok(Held {
            info: record.info(),
            file: self.file(&path, record.size, &record.sha256, &what)?,
            sha256: record.sha256.clone(),
        })
    }

    fn read(&self, held: &Held<Bytes>) -> Result<Tensor, Defect> {
        Tensor::new(held.info.clone(), held.file.to_vec()).map_err(|e| Defect::Wrong(e.to_string()))
    }
}
