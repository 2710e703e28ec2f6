//! Calibration tensors: what each slice receives when the float model runs on the
//! calibration input.

use super::CompileOptions;
use crate::chain::{self, Tensors};
use crate::error::Result;
use crate::job::{Files, Job, TensorRef};
use crate::session::Session;
use dsperse_bundle::{SliceStore, read_inputs};
use dsperse_plugin_api::TensorInfo;
use dsperse_router::Routes;
use dsperse_types::{SliceMetadata, digest::FieldHasher};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where calibration data comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Calibration {
    /// There is none.
    #[default]
    None,
    /// Used for what must be compiled anyway. What is compiled stays up to date, so that
    /// the same keys serve many inputs.
    Offered(PathBuf),
    /// The user asked for exactly this data: what was compiled with other data is stale.
    Given(PathBuf),
}

impl Calibration {
    fn path(&self) -> Option<&Path> {
        match self {
            Self::None => None,
            Self::Offered(p) | Self::Given(p) => Some(p),
        }
    }
}

/// Calibration tensors of every slice that may need them.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    tensors: Tensors,
    digests: BTreeMap<usize, String>,
    strict: bool,
}

impl Samples {
    /// Digest of a slice's calibration tensors.
    pub(super) fn digest(&self, index: usize) -> Option<String> {
        self.digests.get(&index).cloned()
    }

    /// Whether a compilation made with this calibration is still the right one.
    pub(super) fn still_fits(&self, index: usize, calibration: Option<&str>) -> bool {
        !self.strict || self.digests.get(&index).map(String::as_str) == calibration
    }

    /// Adds the slice's sample to a job.
    pub(super) fn add(
        &self,
        slice: &SliceMetadata,
        job: &mut Job,
        files: &mut Files,
    ) -> Result<()> {
        if !self.digests.contains_key(&slice.index) {
            return Ok(());
        }
        let mut sample = |wanted: &[TensorInfo]| -> Result<Vec<TensorRef>> {
            let held = chain::pick(&self.tensors, wanted)?;
            for h in &held {
                files.insert(&h.tensor.info.name, &h.tensor.sha256, &h.path);
            }
            Ok(held.into_iter().map(|h| h.tensor).collect())
        };
        job.calibration = vec![sample(&slice.inputs)?];
        job.calibration_outputs = vec![sample(&slice.outputs)?];
        Ok(())
    }
}

/// Runs the float chain on the calibration input, when some slice has a backend in its
/// chain that may want the tensors.
pub(super) fn prepare(
    session: &Session<'_>,
    store: &SliceStore,
    options: &CompileOptions,
    routes: &Routes,
    selected: &[usize],
    scratch: &Path,
) -> Result<Samples> {
    let Some(path) = options.calibration.path() else {
        return Ok(Samples::default());
    };
    let model = store.require_model()?;
    let inputs = read_inputs(path, &model.inputs)?;
    // An executor computes in floats and has nothing to calibrate.
    let wanted: Vec<usize> = selected
        .iter()
        .copied()
        .filter(|i| {
            routes.chain(*i).is_some_and(|c| {
                c.backends
                    .iter()
                    .filter_map(|b| session.loaded(b))
                    .any(|b| !b.is_executor())
            })
        })
        .collect();
    if wanted.is_empty() {
        return Ok(Samples::default());
    }
    let held = chain::hold(scratch, &inputs)?;
    let tensors = chain::run(session, store, held, &wanted, scratch)?;
    let mut digests = BTreeMap::new();
    for index in wanted {
        let slice = store.slice(index)?;
        let refs: Vec<TensorRef> = chain::pick(&tensors, &slice.inputs)?
            .into_iter()
            .map(|h| h.tensor)
            .collect();
        let mut hasher = FieldHasher::new("dsperse/calibration/1");
        for t in &refs {
            hasher.tensor(&t.info).text(&t.sha256);
        }
        digests.insert(index, hasher.finish());
    }
    Ok(Samples {
        tensors,
        digests,
        strict: matches!(options.calibration, Calibration::Given(_)),
    })
}
