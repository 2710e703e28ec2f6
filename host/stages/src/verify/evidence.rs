//! Slices and a run on disk, as the trust kernel wants them. Sizes and digests are compared
//! by the stores when they hand out a file.

use crate::chain;
use crate::job::TensorRef;
use dsperse_documents::{Artefact, ModelMetadata, RunResults, SliceMetadata};
use dsperse_plugin_api::ArtefactRef;
use dsperse_store::{BundleError, RunDir, SliceStore, Tensor};
use dsperse_verify::{Defect, Evidence, Held};
use std::path::PathBuf;

pub(super) struct OnDisk<'a> {
    store: &'a SliceStore,
    run: &'a RunDir,
    model: &'a ModelMetadata,
    results: RunResults,
}

impl<'a> OnDisk<'a> {
    pub(super) fn new(store: &'a SliceStore, run: &'a RunDir, model: &'a ModelMetadata) -> Self {
        Self {
            store,
            run,
            model,
            results: run.results(),
        }
    }
}

impl Evidence for OnDisk<'_> {
    type File = PathBuf;

    fn model(&self) -> &ModelMetadata {
        self.model
    }

    fn results(&self) -> &RunResults {
        &self.results
    }

    fn slice(&self, index: usize) -> Result<SliceMetadata, Defect> {
        self.store.slice(index).map_err(defect)
    }

    fn payload(&self, slice: &SliceMetadata) -> Result<Option<PathBuf>, Defect> {
        self.store.payload(slice.index).map_err(defect)
    }

    fn compiled(&self, slice: &SliceMetadata, artefact: &Artefact) -> Result<PathBuf, Defect> {
        self.store.artefact(slice.index, artefact).map_err(defect)
    }

    fn proof(&self, artefact: &Artefact) -> Result<PathBuf, Defect> {
        let found: ArtefactRef = self.run.artefact(artefact).map_err(defect)?;
        Ok(found.path.into())
    }

    fn tensor(&self, name: &str) -> Result<Held<PathBuf>, Defect> {
        let file = self.run.tensors().file(name).map_err(defect)?;
        Ok(Held {
            info: file.info,
            sha256: file.sha256,
            file: file.path.into(),
        })
    }

    fn read(&self, held: &Held<PathBuf>) -> Result<Tensor, Defect> {
        let read = of_kernel(held).read();
        read.map_err(|e| Defect::Wrong(e.message))
    }
}

/// A file that is not there contradicts nothing; everything else does.
fn defect(e: BundleError) -> Defect {
    match e {
        BundleError::Missing { .. } | BundleError::Request(_) => Defect::Missing(e.to_string()),
        e => Defect::Wrong(e.to_string()),
    }
}

pub(super) fn to_kernel(held: chain::Held) -> Held<PathBuf> {
    Held {
        info: held.tensor.info,
        sha256: held.tensor.sha256,
        file: held.path,
    }
}

pub(super) fn of_kernel(held: &Held<PathBuf>) -> chain::Held {
    chain::Held {
        tensor: TensorRef {
            info: held.info.clone(),
            sha256: held.sha256.clone(),
        },
        path: held.file.clone(),
    }
}
