//! Calibration tensors: what each slice receives when the float model runs on the
//! calibration input.

use crate::chain::{self, Tensors};
use crate::driver::Driver;
use crate::error::{Error, Result};
use crate::job::{Files, Work};
use crate::session::Session;
use dsperse_documents::{ModelMetadata, SliceMetadata, digest::FieldHasher};
use dsperse_plugin_api::TensorInfo;
use dsperse_router::Routes;
use dsperse_store::{Sample, SliceStore, Tensor, read_samples};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where calibration data comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Calibration {
    /// There is none.
    #[default]
    None,
    /// Used for what must be compiled anyway. What is compiled stays up to date, so that
    /// the same keys serve many inputs.
    Offered(Vec<PathBuf>),
    /// The user asked for exactly this data: what was compiled with other data is stale.
    /// Each path is a file with one input or a batch of them, or a directory of files.
    Given(Vec<PathBuf>),
}

impl Calibration {
    fn paths(&self) -> &[PathBuf] {
        match self {
            Self::None => &[],
            Self::Offered(p) | Self::Given(p) => p,
        }
    }
}

/// Calibration tensors of every slice that may need them.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    /// For each sample, every tensor of the float chain.
    pub(super) tensors: Vec<Tensors>,
    digests: BTreeMap<usize, String>,
}

impl Samples {
    /// Digest of a slice's calibration tensors.
    pub(super) fn digest(&self, index: usize) -> Option<String> {
        self.digests.get(&index).cloned()
    }

    /// A slice's compilation on the samples.
    pub(super) fn work(&self, slice: &SliceMetadata, files: &mut Files) -> Result<Work> {
        let none = !self.digests.contains_key(&slice.index);
        compilation(if none { &[] } else { &self.tensors }, slice, files)
    }
}

/// A slice's compilation with its calibration tensors, taken from the float chain on each
/// sample.
///
/// # Errors
/// When a chain did not compute them.
pub(crate) fn compilation(
    samples: &[Tensors],
    slice: &SliceMetadata,
    files: &mut Files,
) -> Result<Work> {
    let mut of_samples = |wanted: &[TensorInfo]| -> Result<Vec<_>> {
        let sample = |t: &Tensors| Ok(chain::attach(&chain::pick(t, wanted)?, files));
        samples.iter().map(sample).collect()
    };
    Ok(Work::Compile {
        calibration: of_samples(&slice.inputs)?,
        calibration_outputs: of_samples(&slice.outputs)?,
    })
}

/// Digest of a slice's calibration tensors, by which a later command knows whether it has
/// the same.
///
/// # Errors
/// When a chain did not compute them.
pub(crate) fn samples_digest(samples: &[Tensors], slice: &SliceMetadata) -> Result<String> {
    let mut hasher = FieldHasher::new("dsperse/calibration/1");
    for tensors in samples {
        for held in chain::pick(tensors, &slice.inputs)? {
            hasher.tensor(&held.tensor.info).text(&held.tensor.sha256);
        }
    }
    Ok(hasher.finish())
}

/// Runs the float chain on every sample, each in a directory of its own below `scratch`.
///
/// # Errors
/// The first slice that the executor can't run.
pub(crate) fn float_chains(
    session: &Session<'_>,
    store: &SliceStore,
    samples: &[Vec<Tensor>],
    wanted: &[usize],
    scratch: &Path,
) -> Result<Vec<Tensors>> {
    let chain = |(at, inputs): (usize, &Vec<Tensor>)| {
        let dir = scratch.join(format!("sample-{at}"));
        std::fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, &e))?;
        let held = chain::hold(&dir, inputs)?;
        chain::run(session, store, held, wanted, &dir)
    };
    samples.iter().enumerate().map(chain).collect()
}

/// The samples in files and directories, in order.
///
/// # Errors
/// When one can't be read as the model's inputs, or there is none; when one gives another value
/// to an input that slicing made constant.
pub fn read_all(paths: &[PathBuf], model: &ModelMetadata) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for path in paths {
        samples.extend(read_samples(path, &model.inputs, &model.fixed)?);
    }
    Ok(samples)
}

/// Their tensors alone.
///
/// # Errors
/// As [`read_all`].
pub(crate) fn read_tensors(paths: &[PathBuf], model: &ModelMetadata) -> Result<Vec<Vec<Tensor>>> {
    let samples = read_all(paths, model)?;
    Ok(samples.into_iter().map(|s| s.tensors).collect())
}

/// Calibration tensors that are computed when the first slice needs them: a compile that
/// finds everything up to date runs nothing.
pub(crate) struct Lazy<'a> {
    pub driver: &'a Driver<'a>,
    pub calibration: &'a Calibration,
    /// What is in the file, where it was read already.
    pub given: Option<Vec<Vec<Tensor>>>,
    pub routes: &'a Routes,
    pub selected: &'a [usize],
    pub cell: OnceLock<Result<Samples>>,
}

impl Lazy<'_> {
    /// The tensors.
    ///
    /// # Errors
    /// When data that the user asked for is wrong or the float chain can't run on it.
    pub(super) fn get(&self) -> Result<&Samples> {
        let made = self.cell.get_or_init(|| match self.prepare() {
            Err(e) if matches!(self.calibration, Calibration::Offered(_)) => {
                self.driver.session.check_cancelled()?;
                self.driver.session.warn(
                    format!("compiling goes on without calibration data: {e}"),
                    e.hint,
                );
                Ok(Samples::default())
            }
            other => other,
        });
        made.as_ref().map_err(Clone::clone)
    }

    /// Whether a compilation made with this calibration is still the right one.
    pub(super) fn still_fits(&self, index: usize, made_with: Option<&str>) -> Result<bool> {
        match self.calibration {
            Calibration::Given(_) => Ok(self.get()?.digest(index).as_deref() == made_with),
            _ => Ok(true),
        }
    }

    /// Runs the float chain on the calibration input, up to the slices that have a backend
    /// in their chain which may want the tensors.
    fn prepare(&self) -> Result<Samples> {
        let paths = self.calibration.paths();
        if paths.is_empty() {
            return Ok(Samples::default());
        }
        let model = self.driver.store.require_model()?;
        let inputs = match &self.given {
            Some(samples) => Cow::Borrowed(samples.as_slice()),
            None => Cow::Owned(read_tensors(paths, model)?),
        };
        // An executor computes in floats and has nothing to calibrate.
        let calibrates = |index: usize| {
            self.routes.chain(index).is_some_and(|c| {
                c.backends
                    .iter()
                    .filter_map(|b| self.driver.session.loaded(b))
                    .any(|b| !b.is_executor())
            })
        };
        let wanted: Vec<usize> = self
            .selected
            .iter()
            .copied()
            .filter(|i| calibrates(*i))
            .collect();
        if wanted.is_empty() {
            return Ok(Samples::default());
        }
        let tensors = float_chains(
            self.driver.session,
            self.driver.store,
            &inputs,
            &wanted,
            self.driver.scratch(),
        )?;
        let mut digests = BTreeMap::new();
        for index in wanted {
            let slice = self.driver.store.slice(index)?;
            digests.insert(index, samples_digest(&tensors, &slice)?);
        }
        Ok(Samples { tensors, digests })
    }
}
