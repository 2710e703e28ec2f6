//! `run`: chained inference and witnesses.
//!
//! Slices run in the order of the graph. What a slice computes goes into the run's tensor
//! store, and the next slice takes it from there in exactly that form: fixed point where
//! a quantised backend computed it, so that proofs of neighbours speak of the same bytes.
//! A run that was interrupted is continued by the next `run` with the same slices, input
//! and backends.

mod choice;
mod reference;
mod witness;

use crate::chain::{Held, dependencies};
use crate::driver::Driver;
use crate::error::{Error, Result};
use crate::job::TensorRef;
use crate::opened;
use crate::report::{Outcome, SliceLine, StageReport};
use crate::schedule::{Task, lock};
use crate::session::{DEFAULT_MAX_ERROR, Session};
use choice::Choice;
use dsperse_documents::digest::{FieldHasher, sha256_hex};
use dsperse_documents::tensors::digest_of;
use dsperse_documents::{
    Claim, ComparedTensor, ModelMetadata, RunComparison, RunMetadata, RunResults, RunSlice,
    SliceRun, TensorOrigin, TensorRecord,
};
use dsperse_store::{
    Access, Direction, NewTensor, RunDir, Sample, SliceStore, Tensor, atomic, find_runs, write_json,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What to run and where to.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Directory that holds the runs.
    pub runs: PathBuf,
    /// What the run is called there, after `run_`; by default the time.
    pub name: Option<String>,
    /// Backend spec; `None` takes what `compile` settled on.
    pub backend: Option<String>,
    /// Slices to run with what compiled them; the executor carries all others, so that
    /// `verify` can compute them again. `None` is all.
    pub layers: Option<String>,
    /// Also write the model's output here.
    pub output_file: Option<PathBuf>,
    /// Write every slice's tensors as JSON, however large they are.
    pub views: bool,
}

/// A finished run.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The run's directory.
    pub path: PathBuf,
    /// Rows of the table.
    pub report: StageReport,
    /// What was recorded.
    pub results: RunResults,
    /// The model's output tensors, when the chain is complete.
    pub outputs: Vec<Tensor>,
}

/// Runs the slices on the model's inputs.
///
/// # Errors
/// Before any work: a wrong spec, or payloads that are missing. A slice that failed is no
/// error of this function: see [`StageReport::failed`].
pub fn run(
    session: &Session<'_>,
    store: &SliceStore,
    options: &RunOptions,
    inputs: &[Tensor],
) -> Result<Ran> {
    let model = store.require_model()?;
    if let Some(file) = &options.output_file {
        check_output_file(file)?;
    }
    opened::check_payloads(store, &store.indices())?;
    let selected = selected(store, options)?;
    let choices = choice::choose(session, store, options.backend.as_deref(), &selected)?;
    if options.backend.is_none() {
        warn_of_uncompiled(session, store, &selected)?;
    }
    let run = open(model, inputs, &choices, options)?;
    write_run_metadata(store, model, &choices, &options.runs)?;
    let stage = Stage {
        driver: Driver::new(session, store, "run", model.slices.len(), run.scratch()?),
        model,
        run: &run,
        choices: &choices,
        views: options.views,
        engine: Mutex::new(None),
    };
    stage.driver.begin();
    stage.warn_of_range(inputs)?;
    let lines = stage.chain();
    let complete = lines
        .iter()
        .all(|l| matches!(l.outcome, Outcome::Done | Outcome::UpToDate));
    let mut outputs = Vec::new();
    if complete {
        untouched(&run)?;
        outputs = stage.conclude()?;
        if let Some(file) = &options.output_file {
            write_json(file, Direction::Output, &outputs)?;
        }
    }
    Ok(Ran {
        path: run.path().to_path_buf(),
        report: stage.driver.report(lines),
        results: run.results(),
        outputs,
    })
}

/// The slices that circuits run.
fn selected(store: &SliceStore, options: &RunOptions) -> Result<BTreeSet<usize>> {
    let indices = opened::select(store, options.layers.as_deref())?;
    Ok(indices.into_iter().collect())
}

/// Finds out before the work whether the output can be written where it was asked for.
///
/// # Errors
/// When the name promises another format than JSON, or there is no such directory.
pub fn check_output_file(file: &Path) -> Result<()> {
    let extension = file.extension().map(|e| e.to_ascii_lowercase());
    if extension.is_some_and(|e| e == "npy" || e == "npz") {
        return Err(
            Error::usage(format!("the output \"{}\" would be JSON", file.display()))
                .with_hint("give a name that ends in .json"),
        );
    }
    let parent = file.parent().filter(|p| !p.as_os_str().is_empty());
    match parent {
        Some(dir) if !dir.is_dir() => Err(Error::usage(format!(
            "there is no directory \"{}\" for the output",
            dir.display()
        ))
        .with_hint("create it first")),
        _ => Ok(()),
    }
}

/// Slices that were never compiled, or by a version of the backend whose circuits the loaded
/// one does not take, run without circuits, and nothing of them is proven.
fn warn_of_uncompiled(
    session: &Session<'_>,
    store: &SliceStore,
    selected: &BTreeSet<usize>,
) -> Result<()> {
    let (mut uncompiled, mut other) = (Vec::new(), Vec::new());
    for &i in selected {
        let slice = store.slice(i)?;
        let used = slice.backend.as_deref().and_then(|n| session.loaded(n));
        if slice.compilations.is_empty() {
            uncompiled.push(i.to_string());
        } else if used.is_some_and(|b| opened::other_version(&slice, &b).is_some()) {
            other.push(i.to_string());
        }
    }
    for (how, which) in [
        ("not compiled", uncompiled),
        ("compiled by another version of the backend", other),
    ] {
        if !which.is_empty() {
            session.warn(
                format!(
                    "{how}, so nothing of it will be proven: slice {}",
                    which.join(", ")
                ),
                Some("for proofs, type \"dsperse compile\" first".to_owned()),
            );
        }
    }
    Ok(())
}

pub(crate) struct Stage<'a> {
    pub driver: Driver<'a>,
    pub model: &'a ModelMetadata,
    pub run: &'a RunDir,
    pub choices: &'a [Choice],
    /// Whether large tensors are written as JSON too.
    pub views: bool,
    pub engine: Mutex<Option<serde_json::Value>>,
}

impl Stage<'_> {
    fn chain(&self) -> Vec<SliceLine> {
        let tasks: Vec<Task> = dependencies(self.model)
            .into_iter()
            .enumerate()
            .map(|(index, after)| Task {
                after,
                memory: self.choices.get(index).map_or(0, |c| c.memory),
            })
            .collect();
        let indices: Vec<usize> = (0..tasks.len()).collect();
        self.driver.turns(&indices, &tasks, |index, line| {
            let ran = self.witness(index, line);
            ran.inspect_err(|e| {
                if !self.driver.session.cancel.is_cancelled() {
                    self.record_failure(index, &line.fallbacks, e);
                }
            })
        })
    }

    /// The error that is allowed: what the user says now, or what the slices were compiled
    /// for, or the default.
    fn target(&self) -> Result<f64> {
        let mut compiled = None;
        for index in self.driver.store.indices() {
            let slice = self.driver.store.slice(index)?;
            for c in slice.compilations.values() {
                compiled = compiled.or(c.fidelity.as_ref().map(|f| f.max_error));
            }
        }
        let limit = self.driver.session.limits.max_error.or(compiled);
        Ok(limit.unwrap_or(DEFAULT_MAX_ERROR))
    }

    /// Warns of model inputs that are beyond what calibration saw: their circuits were made
    /// for other values.
    fn warn_of_range(&self, inputs: &[Tensor]) -> Result<()> {
        for tensor in inputs {
            let values = tensor.to_f64();
            let mut seen: Option<(f64, f64)> = None;
            for index in self.driver.store.indices() {
                let slice = self.driver.store.slice(index)?;
                for c in slice.compilations.values() {
                    let ranges = c.calibrated.iter().filter(|r| r.name == tensor.info.name);
                    for r in ranges {
                        let (least, greatest) = seen.unwrap_or((r.least, r.greatest));
                        seen = Some((least.min(r.least), greatest.max(r.greatest)));
                    }
                }
            }
            let Some((least, greatest)) = seen else {
                continue;
            };
            let beyond = values.iter().filter(|v| **v < least || **v > greatest);
            let beyond = beyond.count();
            if beyond > 0 {
                let (low, high) = values
                    .iter()
                    .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
                        (l.min(*v), h.max(*v))
                    });
                self.driver.session.warn(
                    format!(
                        "{beyond} of {} values of input \"{}\" are beyond what the slices were \
                         calibrated with: they reach from {low} to {high}, calibration saw {least} \
                         to {greatest}",
                        values.len(),
                        tensor.info.name
                    ),
                    Some("compile with -i and inputs like this one".to_owned()),
                );
            }
        }
        Ok(())
    }

    /// Tensors of the store in the form that jobs want.
    pub(crate) fn held(&self, names: &[String]) -> Result<Vec<Held>> {
        held(self.run, names)
    }

    /// Output, digests, fidelity and totals of a complete chain.
    fn conclude(&self) -> Result<Vec<Tensor>> {
        let names: Vec<String> = self.model.outputs.iter().map(|t| t.name.clone()).collect();
        let tensors = self.run.tensors();
        let records = names
            .iter()
            .map(|n| tensors.record(n))
            .collect::<Result<Vec<_>, _>>()?;
        let outputs = names
            .iter()
            .map(|n| tensors.read(n))
            .collect::<Result<Vec<_>, _>>()?;
        let fidelity = match self.measure_fidelity(&outputs) {
            Ok(f) => f,
            Err(e) if self.driver.session.cancel.is_cancelled() => return Err(e),
            Err(e) => {
                // The values stand; only the comparison with the float model is missing.
                self.driver.session.warn(
                    format!("the fidelity of this run could not be measured: {e}"),
                    e.hint.clone(),
                );
                reference::Measured::default()
            }
        };
        let mut fidelity = fidelity;
        if let Some(f) = &mut fidelity.model {
            f.target = Some(self.target()?);
        }
        self.keep_comparison(std::mem::take(&mut fidelity.tensors));
        let engine = lock(&self.engine).clone();
        self.run.update(|r| {
            r.output = names;
            r.output_sha256 = Some(digest_of(&records));
            r.fidelity = fidelity.model;
            for (index, f) in fidelity.slices {
                if let Some(s) = r.slices.iter_mut().find(|s| s.index == index) {
                    s.fidelity = Some(f);
                }
            }
            if let Some(engine) = engine.and_then(|e| serde_json::from_value(e).ok()) {
                r.engine = engine;
            }
            r.update_totals();
        })?;
        Ok(outputs)
    }
}

impl Stage<'_> {
    /// Writes what the plots of `report` show. The run is whole without it.
    fn keep_comparison(&self, tensors: Vec<ComparedTensor>) {
        if tensors.is_empty() {
            return;
        }
        let comparison = RunComparison {
            model_identity: self.model.identity.clone(),
            input_sha256: self.run.results().input_sha256,
            tensors,
            ..RunComparison::default()
        };
        let path = self.run.path().join(RunComparison::FILE);
        if let Err(e) = atomic::write_document(&path, &comparison) {
            self.driver.session.warn(
                format!("the values for the plots of \"dsperse report\" are not kept: {e}"),
                None,
            );
        }
    }
}

/// Whether no job wrote over what others computed: a run must not end well with values that
/// `verify` will refuse.
///
/// # Errors
/// Names the tensor.
pub(crate) fn untouched(run: &RunDir) -> Result<()> {
    let found = run.tensors().check_unchanged();
    found.map_err(|e| {
        Error::from(e).with_hint(
            "something wrote over the run while this command worked: a backend must not, see \"dsperse plugin list\"; then run again",
        )
    })
}

/// Tensors of a run in the form that jobs want.
pub(crate) fn held(run: &RunDir, names: &[String]) -> Result<Vec<Held>> {
    names
        .iter()
        .map(|name| {
            let file = run.tensors().file(name)?;
            Ok(Held {
                tensor: TensorRef {
                    info: file.info,
                    sha256: file.sha256,
                },
                path: PathBuf::from(file.path),
            })
        })
        .collect()
}

/// Continues the newest run when it is this one and was interrupted, else begins one.
fn open(
    model: &ModelMetadata,
    inputs: &[Tensor],
    choices: &[Choice],
    options: &RunOptions,
) -> Result<RunDir> {
    let runs = options.runs.as_path();
    let input_sha256 = digest_of(&records(inputs));
    let key = key(model, &input_sha256, choices);
    let earlier = match &options.name {
        Some(name) => Some(runs.join(format!("run_{name}"))),
        None if runs.is_dir() => find_runs(runs)?.into_iter().next(),
        None => None,
    };
    if let Some(path) = earlier.filter(|p| *p != runs) {
        // A run that another command works on, or that is damaged, is left alone.
        if let Ok(run) = RunDir::open(&path, Access::Edit) {
            let results = run.results();
            let same = results.key.as_ref() == Some(&key);
            if same && results.output_sha256.is_none() {
                store_inputs(&run, inputs)?;
                return Ok(run);
            }
        }
    }
    let now = jiff::Zoned::now();
    let results = RunResults {
        key: Some(key),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        started: now.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        model_identity: model.identity.clone(),
        model_sha256: model.model.sha256.clone(),
        input_sha256,
        slices: model
            .slices
            .iter()
            .map(|s| SliceRun {
                index: s.index,
                claim: Claim {
                    inputs: s.inputs.iter().map(|t| t.name.clone()).collect(),
                    outputs: s.outputs.iter().map(|t| t.name.clone()).collect(),
                },
                ..SliceRun::default()
            })
            .collect(),
        ..RunResults::default()
    };
    let stamp = options.name.clone().unwrap_or_else(|| stamp(&now));
    let run = RunDir::create(runs, &stamp, &results)?;
    store_inputs(&run, inputs)?;
    Ok(run)
}

/// What a run or a batch that begins now is called.
pub(crate) fn stamp(now: &jiff::Zoned) -> String {
    now.strftime("%Y%m%d_%H%M%S").to_string()
}

/// Tells which run this is, so that an interrupted one is found again.
fn key(model: &ModelMetadata, input_sha256: &str, choices: &[Choice]) -> String {
    let mut hasher = FieldHasher::new("dsperse/run/1");
    hasher.text(&model.identity).text(input_sha256);
    for choice in choices {
        hasher.text(&choice.identity());
    }
    hasher.finish()
}

/// Tells which batch runs on these samples are, so that an interrupted one is found again.
///
/// # Errors
/// A wrong backend spec.
pub(crate) fn batch_key(
    session: &Session<'_>,
    store: &SliceStore,
    options: &RunOptions,
    samples: &[Sample],
) -> Result<String> {
    let model = store.require_model()?;
    let selected = selected(store, options)?;
    let choices = choice::choose(session, store, options.backend.as_deref(), &selected)?;
    let mut hasher = FieldHasher::new("dsperse/batch/1");
    for sample in samples {
        let input_sha256 = digest_of(&records(&sample.tensors));
        hasher.text(&key(model, &input_sha256, &choices));
    }
    Ok(hasher.finish())
}

fn store_inputs(run: &RunDir, inputs: &[Tensor]) -> Result<()> {
    let tensors = inputs
        .iter()
        .map(|t| NewTensor::new(t.clone(), TensorOrigin::Input))
        .collect();
    run.tensors().put(tensors)?;
    Ok(())
}

/// What the store's records of these tensors will be, as far as their digest goes.
pub(crate) fn records(tensors: &[Tensor]) -> Vec<TensorRecord> {
    tensors
        .iter()
        .map(|t| TensorRecord {
            name: t.info.name.clone(),
            encoding: t.info.encoding,
            shape: t.info.shape.clone(),
            path: String::new(),
            size: t.data.len() as u64,
            sha256: sha256_hex(&t.data),
            origin: TensorOrigin::Input,
            extra: dsperse_documents::Extra::new(),
        })
        .collect()
}

/// `run/metadata.json`: which slices, which backends are ready.
fn write_run_metadata(
    store: &SliceStore,
    model: &ModelMetadata,
    choices: &[Choice],
    runs: &Path,
) -> Result<()> {
    let mut metadata = RunMetadata {
        model_identity: model.identity.clone(),
        slices_path: relative(&store.location().path, runs),
        ..RunMetadata::default()
    };
    for choice in choices {
        let slice = store.slice(choice.index)?;
        metadata.slices.push(RunSlice {
            index: choice.index,
            payload_sha256: slice.payload.sha256.clone(),
            ready: slice.compilations.keys().cloned().collect(),
            backend: choice.backends.first().cloned(),
            ..RunSlice::default()
        });
    }
    let path = runs.join("metadata.json");
    // An older document may hold fields of a later version.
    if let Ok(old) = atomic::read_document::<RunMetadata>(&path) {
        metadata.schema = old.schema;
        metadata.extra = old.extra;
    }
    Ok(atomic::write_document(&path, &metadata)?)
}

/// `path` as seen from the directory `from`, with `/`; `None` when the two have nothing in
/// common but the root, since such a path would tie the files to this machine.
fn relative(path: &Path, from: &Path) -> Option<String> {
    let from = from.canonicalize().ok()?;
    let path = path.canonicalize().ok()?;
    let common = from
        .components()
        .zip(path.components())
        .take_while(|(a, b)| a == b)
        .count();
    if common < 2 {
        return None;
    }
    let up = from.components().count() - common;
    // Further away than a neighbour's neighbour is another place, not "beside".
    if up > 3 {
        return None;
    }
    let mut parts: Vec<String> = vec!["..".to_owned(); up];
    for part in path.components().skip(common) {
        parts.push(part.as_os_str().to_str()?.to_owned());
    }
    Some(parts.join("/"))
}

/// The slices of a run, as `run/metadata.json` says.
///
/// # Errors
/// When it does not say so, or they are not there any more.
pub fn slices_of(run: &Path) -> Result<PathBuf> {
    let missing = |message: String| {
        Error::usage(message).with_hint("give the slices as second argument: RUN_DIR DATA_PATH")
    };
    let runs = run.parent().unwrap_or(Path::new("."));
    let path = runs.join("metadata.json");
    let metadata: RunMetadata = atomic::read_document(&path).map_err(|_| {
        missing(format!(
            "\"{}\" does not say which slices the run is of",
            path.display()
        ))
    })?;
    let slices = metadata.slices_path.map(|p| runs.join(p));
    match slices {
        Some(slices) if slices.exists() => Ok(slices),
        Some(slices) => Err(missing(format!(
            "the slices of the run are not at \"{}\" any more",
            slices.display()
        ))),
        None => Err(missing("the slices of the run are elsewhere".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_named_relative_to_the_runs() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let runs = dir.path().join("net/run");
        let slices = dir.path().join("net/slices");
        std::fs::create_dir_all(&runs)?;
        std::fs::create_dir_all(&slices)?;
        assert_eq!(relative(&slices, &runs).as_deref(), Some("../slices"));
        assert_eq!(relative(Path::new("/"), &runs), None);
        Ok(())
    }
}
