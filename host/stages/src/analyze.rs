//! `analyze`: what is in a model, which backend could prove which slice, why not, and
//! what it would cost.

use crate::ask;
use crate::cut::{Cut, Wanted};
use crate::driver;
use crate::error::{Error, Result};
use crate::opened;
use crate::schedule::Task;
use crate::session::Session;
use crate::slice;
use dsperse_documents::SliceMetadata;
use dsperse_plugin_api::{Stage, Support};
use dsperse_router::{Chain, Policy, plan};
use dsperse_slicer::{DimOptions, ModelAnalysis};
use dsperse_store::{Access, NewSlices, Shape, SliceStore};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What to analyse and under which rules.
#[derive(Debug, Clone, Default)]
pub struct AnalyzeOptions {
    /// Where to cut.
    pub cut: Cut,
    /// Sizes of open dimensions.
    pub dims: DimOptions,
    /// A model input, for the sizes that nobody gave.
    pub sample: Option<PathBuf>,
    /// Backend spec; `None` is the default chain.
    pub backend: Option<String>,
    /// No fallback to execution.
    pub strict: bool,
    /// Demands on proofs.
    pub policy: Policy,
}

/// A backend's answer for one slice.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Answer {
    /// The backend.
    pub backend: String,
    /// Whether it can do the slice.
    pub supported: bool,
    /// Whether it would make a proof.
    pub proves: bool,
    /// Why not.
    pub reason: Option<String>,
    /// The first node that it can't do.
    pub node: Option<String>,
    /// That node's operator.
    pub op: Option<String>,
    /// What the user can do.
    pub hint: Option<String>,
    /// Estimated CPU seconds of a proof; 0 when not known.
    pub prove_cpu_seconds: f64,
    /// Estimated peak memory in bytes; 0 when not known.
    pub peak_bytes: u64,
    /// Operators of the slice that the backend does by simpler ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rewritten: Vec<String>,
}

/// One slice and everybody's answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SliceAnalysis {
    /// Index.
    pub index: usize,
    /// Operators as words.
    pub operators: String,
    /// Number of parameters.
    pub parameters: u64,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Size of its ONNX file.
    pub bytes: u64,
    /// The backend that `compile` would try first.
    pub backend: Option<String>,
    /// Every loaded backend.
    pub answers: Vec<Answer>,
}

/// The whole analysis.
#[derive(Debug, Clone, Serialize)]
pub struct Analysis {
    /// Node by node; `None` when slices were given instead of a model.
    pub model: Option<ModelAnalysis>,
    /// Identity of the sliced model.
    pub identity: String,
    /// Parameters of all slices together.
    pub parameters: u64,
    /// Multiply-accumulates of all slices together.
    pub macs: u64,
    /// Slices.
    pub slices: Vec<SliceAnalysis>,
}

/// Analyses a model (a directory with `model.onnx` or an `.onnx` file) or slices.
///
/// # Errors
/// When there is neither, or the model can't be read.
pub fn analyze(session: &Session<'_>, path: &Path, options: &AnalyzeOptions) -> Result<Analysis> {
    let Ok(file) = slice::model_file(path) else {
        return of_slices(session, &opened::open(path, Access::Read)?, options, None);
    };
    if file
        .extension()
        .is_some_and(|e| e == "dsperse" || e == "dslice")
    {
        return of_slices(session, &opened::open(path, Access::Read)?, options, None);
    }
    let prepared = slice::prepare(path, &options.dims, options.sample.as_deref())?;
    let wanted = Wanted {
        backend: options.backend.clone(),
        policy: options.policy.clone(),
    };
    let plan = slice::plan(session, &prepared, &options.cut, &wanted, &file)?;
    let scratch = driver::scratch("analyze")?;
    let new = NewSlices::create(&scratch.path().join("slices"), Shape::Dirs)?;
    let model = slice::metadata(&prepared, &plan, &file, |index, bytes| {
        let path = new.payload_path(index)?;
        std::fs::write(&path, bytes).map_err(|e| Error::io("write", &path, &e))
    })?;
    let created = new.finish(&model)?;
    let store = opened::open(&created.path, Access::Read)?;
    of_slices(session, &store, options, Some(prepared.analyse(&plan)))
}

fn of_slices(
    session: &Session<'_>,
    store: &SliceStore,
    options: &AnalyzeOptions,
    analysis: Option<ModelAnalysis>,
) -> Result<Analysis> {
    let model = store.require_model()?;
    let routes = opened::routes(
        session,
        options.backend.as_deref(),
        options.strict,
        model.slices.len(),
    )?;
    let scratch = driver::scratch("analyze")?;
    let tasks = vec![Task::default(); model.slices.len()];
    let slices = driver::all(session, &tasks, |index| {
        let slice = store.slice(index)?;
        let answers = ask_everybody(session, store, &slice, options, scratch.path())?;
        let backend = routes.chain(index).and_then(|chain| {
            let mut names = chain.backends.iter();
            names.find(|n| answers.iter().any(|a| a.backend == **n && a.supported))
        });
        Ok(SliceAnalysis {
            index,
            operators: opened::operator_words(&slice),
            parameters: slice.parameters,
            macs: slice.macs,
            bytes: slice.payload.size,
            backend: backend.cloned(),
            answers,
        })
    })?;
    Ok(Analysis {
        identity: model.identity.clone(),
        parameters: slices.iter().map(|s| s.parameters).sum(),
        macs: slices.iter().map(|s| s.macs).sum(),
        model: analysis,
        slices,
    })
}

fn ask_everybody(
    session: &Session<'_>,
    store: &SliceStore,
    slice: &SliceMetadata,
    options: &AnalyzeOptions,
    scratch: &Path,
) -> Result<Vec<Answer>> {
    let chain = Chain {
        backends: session.names().map(str::to_owned).collect(),
        explicit: true,
    };
    let uses = opened::operator_uses(store.model(), slice);
    let plan = plan(
        &chain,
        |name| session.loaded(name).map(|l| l.descriptor),
        &uses,
        &options.policy,
    );
    let mut answers = Vec::new();
    for name in &chain.backends {
        let Some(backend) = session.loaded(name) else {
            continue;
        };
        let mut answer = Answer {
            backend: name.clone(),
            proves: backend.can(Stage::Prove) && backend.can(Stage::Verify),
            ..Answer::default()
        };
        if let Some(rejected) = plan.rejected.iter().find(|r| r.backend == *name) {
            answer.reason = Some(rejected.reason.clone());
            answers.push(answer);
            continue;
        }
        session.check_cancelled()?;
        let payload = opened::payload(store, slice.index)?;
        match ask::supports(session, &backend, slice.slice_info(None), &payload, scratch)? {
            Ok(Support::Yes { cost }) => {
                answer.supported = true;
                answer.prove_cpu_seconds = cost.prove_cpu_seconds;
                answer.peak_bytes = cost.peak_bytes;
                answer.rewritten = opened::rewritten(backend.descriptor, slice);
            }
            Ok(Support::No { node, op, reason }) => {
                answer.reason = Some(reason);
                answer.node = node;
                answer.op = op;
            }
            Err(e) => {
                answer.reason = Some(e.message);
                answer.hint = e.hint;
            }
        }
        answers.push(answer);
    }
    Ok(answers)
}
