//! What a page is about: the documents of a model or a run, read and matched.

use crate::{Error, Result};
use dsperse_documents::{
    Compilation, ModelMetadata, RunComparison, RunResults, SliceMetadata, SliceRun, SliceVerdict,
    TensorIndex, VerificationReport,
};
use dsperse_store::{RunDir, SliceStore, atomic};
use std::path::Path;

/// A sliced model, and one of its runs when there is one.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// What it is called: the run's directory, or the model's file.
    pub name: String,
    /// The model; of a lone slice as much as can be said.
    pub model: ModelMetadata,
    /// The slices, by index.
    pub slices: Vec<SliceMetadata>,
    /// The run.
    pub run: Option<RunResults>,
    /// The tensors of the run.
    pub tensors: TensorIndex,
    /// What the newest verification of this run said.
    pub verification: Option<VerificationReport>,
    /// The run's values beside the float model's.
    pub comparison: Option<RunComparison>,
    /// The model's outputs in few words, with the run's values.
    pub outputs: Vec<OutputValues>,
    /// What the reader must know of the documents, such as a verification of something else.
    pub remarks: Vec<String>,
}

/// A model output with the values that the run computed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutputValues {
    /// The tensor.
    pub name: String,
    /// Its shape.
    pub shape: Vec<u64>,
    /// Position and value of the largest element; `None` without finite values.
    pub largest: Option<(usize, f64)>,
}

/// Outputs with more elements than this are not read for the summary.
const MOST_ELEMENTS: u64 = 1 << 20;

impl Subject {
    /// Reads the slices.
    ///
    /// # Errors
    /// When their metadata can't be read.
    pub fn of_slices(store: &SliceStore) -> Result<Self> {
        let slices = store
            .indices()
            .into_iter()
            .map(|i| store.slice(i))
            .collect::<Result<Vec<_>, _>>()?;
        let model = store.require_model()?.clone();
        Ok(Self {
            name: model.model.name.clone(),
            model,
            slices,
            ..Self::default()
        })
    }

    /// Reads a run and its slices. `verification` is the report to show in place of the one
    /// that lies in the run's directory.
    ///
    /// # Errors
    /// When metadata can't be read, the run is of other slices, or the report that the user
    /// named is none or of another run.
    pub fn of_run(store: &SliceStore, run: &RunDir, verification: Option<&Path>) -> Result<Self> {
        let mut subject = Self::of_slices(store)?;
        let results = run.results();
        if results.model_identity != subject.model.identity {
            return Err(Error::OtherModel {
                run: run.path().to_owned(),
                found: results.model_identity,
                slices: store.location().path.clone(),
                expected: subject.model.identity,
            });
        }
        subject.name = run
            .path()
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        subject.tensors.tensors = run.tensors().records();
        subject.outputs = outputs(run, &results);
        let kept = run.path().join(VerificationReport::FILE);
        match verification {
            Some(file) => {
                let report: VerificationReport = atomic::read_document(file)?;
                if let Some(difference) = difference(&report, &results) {
                    return Err(Error::OtherRun {
                        file: file.to_owned(),
                        difference,
                    });
                }
                subject.verification = Some(report);
            }
            None if kept.exists() => match atomic::read_document(&kept) {
                Ok(report) => subject.take_verification(report, &results),
                Err(e) => subject.remarks.push(format!(
                    "The report of the last verification can't be read: {e}"
                )),
            },
            None => {}
        }
        let comparison = run.path().join(RunComparison::FILE);
        if comparison.exists() {
            match read_comparison(&comparison, &results) {
                Ok(found) => subject.comparison = found,
                Err(e) => subject
                    .remarks
                    .push(format!("The values of the float model can't be read: {e}")),
            }
        }
        subject.run = Some(results);
        Ok(subject)
    }

    fn take_verification(&mut self, report: VerificationReport, results: &RunResults) {
        match difference(&report, results) {
            None => self.verification = Some(report),
            Some(difference) => self.remarks.push(format!(
                "The verification report beside this run is not shown, because {difference}."
            )),
        }
    }

    /// What the run says of a slice.
    #[must_use]
    pub fn slice_run(&self, index: usize) -> Option<&SliceRun> {
        self.run.as_ref()?.slices.iter().find(|s| s.index == index)
    }

    /// What the verification says of a slice.
    #[must_use]
    pub fn slice_verdict(&self, index: usize) -> Option<&SliceVerdict> {
        let report = self.verification.as_ref()?;
        report.slices.iter().find(|s| s.index == index)
    }

    /// The backend of a slice: that of the run, or the one that `compile` settled on.
    #[must_use]
    pub fn backend<'a>(&'a self, slice: &'a SliceMetadata) -> Option<&'a str> {
        self.slice_run(slice.index)
            .and_then(|r| r.backend.as_deref())
            .or(slice.backend.as_deref())
    }

    /// What that backend compiled.
    #[must_use]
    pub fn compilation<'a>(&'a self, slice: &'a SliceMetadata) -> Option<&'a Compilation> {
        slice.compilations.get(self.backend(slice)?)
    }
}

/// Why a report is not of this run as it is now, if so.
fn difference(report: &VerificationReport, results: &RunResults) -> Option<String> {
    if report.model_identity != results.model_identity {
        return Some("it is of another sliced model".to_owned());
    }
    if report.input_sha256 != results.input_sha256 {
        return Some("it is of another input".to_owned());
    }
    // A verifier may judge an output of its own against the run; then it says so by failing.
    if report.accepted && results.output_sha256.as_ref() != Some(&report.output_sha256) {
        return Some("it is of another output".to_owned());
    }
    for verdict in &report.slices {
        let Some(slice) = results.slices.iter().find(|s| s.index == verdict.index) else {
            continue;
        };
        let files = slice.proof_execution.iter().flat_map(|p| &p.files);
        let now: Vec<&str> = files.map(|f| f.sha256.as_str()).collect();
        let seen = |f: &dsperse_documents::ReceiptFile| now.contains(&f.sha256.as_str());
        if !verdict.proof_files.iter().all(seen) {
            return Some(format!(
                "the proof of slice {} was made anew after it",
                verdict.index
            ));
        }
    }
    None
}

fn read_comparison(path: &Path, results: &RunResults) -> Result<Option<RunComparison>> {
    let comparison: RunComparison = atomic::read_document(path)?;
    let same = comparison.model_identity == results.model_identity
        && comparison.input_sha256 == results.input_sha256;
    Ok(same.then_some(comparison))
}

/// The model's outputs, as far as they are small and can be read.
fn outputs(run: &RunDir, results: &RunResults) -> Vec<OutputValues> {
    let mut found = Vec::new();
    for name in &results.output {
        let Ok(record) = run.tensors().record(name) else {
            continue;
        };
        let small = record.info().len().is_some_and(|n| n <= MOST_ELEMENTS);
        let Some(tensor) = small.then(|| run.tensors().read(name).ok()).flatten() else {
            continue;
        };
        let values = tensor.to_f64();
        let largest = values
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, v)| v.is_finite())
            .reduce(|a, b| if b.1 > a.1 { b } else { a });
        found.push(OutputValues {
            name: name.clone(),
            shape: record.shape,
            largest,
        });
    }
    found
}

/// The documents of a subject as they lie on disk and in `--json`, for programs that read
/// the page.
#[must_use]
pub fn documents(subject: &Subject) -> serde_json::Value {
    let value = |d: Result<serde_json::Value, serde_json::Error>| d.unwrap_or_default();
    serde_json::json!({
        "name": subject.name,
        "model": value(serde_json::to_value(&subject.model)),
        "slices": value(serde_json::to_value(&subject.slices)),
        "run_results": value(serde_json::to_value(&subject.run)),
        "verification": value(serde_json::to_value(&subject.verification)),
        "fidelity": value(serde_json::to_value(&subject.comparison)),
    })
}
