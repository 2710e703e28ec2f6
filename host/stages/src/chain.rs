//! The float chain: every slice run in floats by the executor backend. It gives the
//! calibration tensors of `compile` and the reference of a run's fidelity.

use crate::attempt::Attempt;
use crate::backend::Loaded;
use crate::driver;
use crate::error::{Error, Result};
use crate::job::{FileRef, Files, TensorRef, Work};
use crate::opened;
use crate::schedule::{Task, lock};
use crate::session::Session;
use dsperse_documents::{
    BackendError, ErrorKind, ModelMetadata, SliceMetadata, digest::sha256_hex,
};
use dsperse_plugin_api::{TensorFile, TensorInfo, job::Done};
use dsperse_store::{SliceStore, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A tensor in a file of this command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Name, encoding, shape and digest.
    pub tensor: TensorRef,
    /// Where the bytes are.
    pub path: PathBuf,
}

impl Held {
    /// The tensor with its bytes.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn read(&self) -> Result<Tensor> {
        let file = TensorFile {
            info: self.tensor.info.clone(),
            path: self.path.to_string_lossy().into_owned(),
            sha256: String::new(),
        };
        Ok(file.read().map_err(dsperse_store::BundleError::from)?)
    }
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, Held>;

/// Writes tensors into files of a directory.
///
/// # Errors
/// When the disk is full.
pub fn hold(dir: &Path, tensors: &[Tensor]) -> Result<Tensors> {
    let mut held = Tensors::new();
    for (k, t) in tensors.iter().enumerate() {
        let path = dir.join(format!("input-{k}.bin"));
        std::fs::write(&path, &t.data)
            .map_err(|e| Error::io("write the tensor file", &path, &e))?;
        let tensor = TensorRef {
            info: t.info.clone(),
            sha256: sha256_hex(&t.data),
        };
        held.insert(t.info.name.clone(), Held { tensor, path });
    }
    Ok(held)
}

/// Picks tensors in the order that a slice wants them.
///
/// # Errors
/// When one is missing, which means that an earlier slice did not run.
pub fn pick(tensors: &Tensors, wanted: &[TensorInfo]) -> Result<Vec<Held>> {
    wanted
        .iter()
        .map(|w| {
            tensors
                .get(&w.name)
                .cloned()
                .ok_or_else(|| Error::failed(format!("tensor \"{}\" was not computed", w.name)))
        })
        .collect()
}

/// Takes tensors along with a job.
pub(crate) fn attach(held: &[Held], files: &mut Files) -> Vec<TensorRef> {
    let attach = |h: &Held| files.attach_tensor(&h.tensor, &h.path);
    held.iter().map(attach).collect()
}

/// The outputs of a finished witness job as files in its directory.
pub(crate) fn outputs(done: &Done, dir: &Path) -> Vec<Held> {
    let held = |file: &TensorFile| Held {
        tensor: TensorRef {
            info: file.info.clone(),
            sha256: file.sha256.clone(),
        },
        path: dir.join(&file.path),
    };
    done.outputs.iter().map(held).collect()
}

/// Which slices come before which: the producers of each slice's inputs.
#[must_use]
pub fn dependencies(model: &ModelMetadata) -> Vec<Vec<usize>> {
    model
        .slices
        .iter()
        .map(|s| {
            let mut after: Vec<usize> = model
                .edges
                .iter()
                .filter(|e| e.consumers.contains(&s.index))
                .filter_map(|e| e.producer)
                .collect();
            after.sort_unstable();
            after.dedup();
            after
        })
        .collect()
}

/// Tensors with their bytes.
///
/// # Errors
/// When a file can't be read.
pub fn read(held: &[Held]) -> Result<Vec<Tensor>> {
    held.iter().map(Held::read).collect()
}

/// Runs one slice in floats on the given inputs.
///
/// # Errors
/// What the executor says, with the slice's index.
pub fn run_slice(
    session: &Session<'_>,
    store: &SliceStore,
    executor: &Loaded<'_>,
    index: usize,
    inputs: &[Held],
    scratch: &Path,
) -> Result<Vec<Held>> {
    let slice = store.slice(index)?;
    let nothing = (Vec::new(), Files::default());
    run_circuit(session, store, executor, &slice, inputs, scratch, nothing)?
        .map_err(|e| backend_error(&e, index, executor.name()))
}

/// Runs one slice with a backend; `circuit` is what the backend compiled. The inner error is
/// the backend's.
///
/// # Errors
/// When the job can't be made.
pub(crate) fn run_circuit(
    session: &Session<'_>,
    store: &SliceStore,
    backend: &Loaded<'_>,
    slice: &SliceMetadata,
    inputs: &[Held],
    scratch: &Path,
    (circuit, mut files): (Vec<FileRef>, Files),
) -> Result<Result<Vec<Held>, BackendError>> {
    let inputs = attach(inputs, &mut files);
    let work = Work::Witness { circuit, inputs };
    let (job, files) = opened::job(store, slice, backend, work, files)?;
    let how = Attempt::quiet(scratch, opened::count(store));
    let attempt = session.attempt(&job, &files, how)?;
    session.check_cancelled()?;
    // Its files stay as long as `scratch`.
    Ok(attempt
        .done()
        .map(|(done, dir)| outputs(&done, &dir.keep())))
}

/// The model's outputs when the slices in `circuits` run with what their backends compiled,
/// and all others in floats. `float` are the tensors of the float chain on the same input:
/// what comes before the first circuit is taken from there. A circuit that fails is replaced
/// by the float slice, as `run` does.
///
/// # Errors
/// The first slice that nobody can run.
pub(crate) fn outputs_with(
    session: &Session<'_>,
    store: &SliceStore,
    float: &Tensors,
    circuits: &BTreeSet<usize>,
    scratch: &Path,
) -> Result<Vec<Tensor>> {
    let model = store.require_model()?;
    let executor = session.float_executor()?;
    // Tensors that differ from those of the float chain.
    let mut changed = Tensors::new();
    for s in &model.slices {
        session.check_cancelled()?;
        let touched = s.inputs.iter().any(|t| changed.contains_key(&t.name));
        if !touched && !circuits.contains(&s.index) {
            continue;
        }
        let inputs = s
            .inputs
            .iter()
            .map(|t| match changed.get(&t.name) {
                Some(held) => Ok(held.clone()),
                None => Ok(pick(float, std::slice::from_ref(t))?.remove(0)),
            })
            .collect::<Result<Vec<_>>>()?;
        let slice = store.slice(s.index)?;
        let backend = slice
            .backend
            .as_deref()
            .filter(|_| circuits.contains(&s.index));
        let mut made = None;
        if let Some(backend) = backend.and_then(|name| session.loaded(name)) {
            let mut files = Files::default();
            let circuit = opened::circuit(store, &slice, backend.name(), &mut files)?;
            let circuit = (circuit, files);
            made = run_circuit(session, store, &backend, &slice, &inputs, scratch, circuit)?.ok();
        }
        let made = match made {
            Some(made) => made,
            None => run_slice(session, store, &executor, s.index, &inputs, scratch)?,
        };
        changed.extend(made.into_iter().map(|h| (h.tensor.info.name.clone(), h)));
    }
    let outputs = model.outputs.iter().map(|t| match changed.get(&t.name) {
        Some(held) => held.read(),
        None => pick(float, std::slice::from_ref(t))?.remove(0).read(),
    });
    outputs.collect()
}

/// A backend's error as the command's own.
#[must_use]
pub fn backend_error(e: &dsperse_documents::BackendError, slice: usize, backend: &str) -> Error {
    let message = format!("slice {slice}, backend \"{backend}\": {}", e.message);
    let mut error = match e.kind {
        ErrorKind::InvalidInput => Error::bad_input(message),
        ErrorKind::Cancelled => return Error::interrupted(),
        ErrorKind::ToolMissing => Error::backend(message),
        _ => Error::failed(message),
    };
    error.hint.clone_from(&e.hint);
    error
}

/// Runs the float chain up to the slices in `wanted` and returns every tensor of it, the
/// model's inputs included.
///
/// # Errors
/// The first slice that the executor can't run.
pub fn run(
    session: &Session<'_>,
    store: &SliceStore,
    inputs: Tensors,
    wanted: &[usize],
    scratch: &Path,
) -> Result<Tensors> {
    let model = store.require_model()?;
    let executor = session.float_executor()?;
    let before = dependencies(model);
    let needed = closure(&before, wanted);
    let position: BTreeMap<usize, usize> =
        needed.iter().enumerate().map(|(at, i)| (*i, at)).collect();
    let tasks: Vec<Task> = needed
        .iter()
        .map(|i| Task {
            after: before[*i]
                .iter()
                .filter_map(|p| position.get(p).copied())
                .collect(),
            memory: 0,
        })
        .collect();
    let tensors = Mutex::new(inputs);
    driver::all(session, &tasks, |at| {
        let index = needed[at];
        let inputs = pick(&lock(&tensors), &model.slices[index].inputs)?;
        let outputs = run_slice(session, store, &executor, index, &inputs, scratch)?;
        lock(&tensors).extend(outputs.into_iter().map(|h| (h.tensor.info.name.clone(), h)));
        Ok(())
    })?;
    Ok(tensors.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The wanted slices and everything before them, ascending.
fn closure(before: &[Vec<usize>], wanted: &[usize]) -> Vec<usize> {
    let mut needed = BTreeSet::new();
    let mut stack = wanted.to_vec();
    while let Some(i) = stack.pop() {
        if needed.insert(i) {
            stack.extend(before.get(i).into_iter().flatten());
        }
    }
    needed.into_iter().collect()
}
