//! Helpers over opened slices: jobs and files of a slice, layer selection, routing facts.

use crate::backend::Loaded;
use crate::error::{Error, Result};
use crate::job::{FileRef, Files, Job, Work};
use crate::session::Session;
use dsperse_documents::setting::LAYERS;
use dsperse_documents::{ModelMetadata, SliceMetadata};
use dsperse_plugin_api::{Descriptor, OperatorSupport, Role};
use dsperse_router::{OperatorUse, Routes, Spec, parse_layers, spec};
use dsperse_store::{Access, SliceStore, known_digest};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Opens the slices that a path argument means.
///
/// # Errors
/// As [`SliceStore::open`]; also when a model directory has changed since it was sliced, or
/// holds the slices of two models, because then it is not known which ones are meant.
pub fn open(path: &Path, access: Access) -> Result<SliceStore> {
    let store = SliceStore::open(path, access)?;
    check_meant(path, &store)?;
    Ok(store)
}

/// Whether slices that were found from a model directory are those of its model. Slices
/// that were named themselves leave no doubt.
fn check_meant(path: &Path, store: &SliceStore) -> Result<()> {
    let location = store.location();
    let named = path.canonicalize().is_ok_and(|p| p == location.path);
    let (Some(model), false) = (store.model(), named) else {
        return Ok(());
    };
    let place = location.path.display();
    for other in &location.also {
        let theirs = SliceStore::open(other, Access::Read)?;
        if theirs.model().is_some_and(|m| m.identity != model.identity) {
            return Err(Error::bad_input(format!(
                "\"{}\" holds the slices of two models: \"{place}\" and \"{}\" differ",
                path.display(),
                other.display()
            ))
            .with_hint("name the ones that you mean, or remove the others"));
        }
    }
    // The file that was sliced, by its name alone: the document may be anybody's.
    let name = Path::new(&model.model.name).file_name();
    let original = [name, Some("model.onnx".as_ref())]
        .into_iter()
        .flatten()
        .map(|name| path.join(name))
        .find(|file| file.is_file());
    let Some(file) = original else {
        return Ok(());
    };
    let size = std::fs::metadata(&file)
        .map_err(|e| Error::io("read", &file, &e))?
        .len();
    if size == model.model.size && known_digest(&file)?.1 == model.model.sha256 {
        return Ok(());
    }
    Err(Error::bad_input(format!(
        "\"{}\" is not the model that the slices at \"{place}\" were made from",
        file.display()
    ))
    .with_hint(format!(
        "slice it again: \"dsperse slice -m {}\"; or name the slices themselves: \"{place}\"",
        path.display()
    )))
}

/// Number of slices of the model (for a lone slice: as many as make its index valid).
#[must_use]
pub fn count(store: &SliceStore) -> usize {
    match store.model() {
        Some(model) => model.slices.len(),
        None => store.indices().iter().max().map_or(0, |i| i + 1),
    }
}

/// The slices that a command works on: those the path points at, narrowed by `--layers`.
///
/// # Errors
/// When the list is malformed, outside the model, or leaves nothing.
pub fn select(store: &SliceStore, layers: Option<&str>) -> Result<Vec<usize>> {
    let here = store.indices();
    let Some(text) = layers else {
        return Ok(here);
    };
    let wanted: BTreeSet<usize> = parse_layers(text, count(store))?;
    let chosen: Vec<usize> = here.into_iter().filter(|i| wanted.contains(i)).collect();
    if chosen.is_empty() {
        return Err(Error::usage(format!(
            "{LAYERS} \"{text}\" names no slice of \"{}\"",
            store.location().path.display()
        )));
    }
    Ok(chosen)
}

/// The chain of every slice.
///
/// # Errors
/// Points at the wrong part of the spec.
pub fn routes(
    session: &Session<'_>,
    text: Option<&str>,
    strict: bool,
    slices: usize,
) -> Result<Routes> {
    match text {
        None => Ok(spec::default_routes(slices, &session.defaults, strict)),
        Some(text) => {
            let spec = Spec::parse(text)?;
            session.check_names(&spec)?;
            Ok(spec.resolve(slices, &session.defaults, strict)?)
        }
    }
}

/// The operators of a slice, for the static capability check. Empty when the opset is not
/// known (a lone slice): then only the backend itself is asked.
#[must_use]
pub fn operator_uses(model: Option<&ModelMetadata>, slice: &SliceMetadata) -> Vec<OperatorUse> {
    let Some(model) = model else {
        return Vec::new();
    };
    uses(&model.opset_imports, &slice.operators)
}

/// Operators (with their domains before a `.`) with the versions that the model imports.
pub(crate) fn uses(
    opsets: &BTreeMap<String, i64>,
    operators: &BTreeMap<String, u64>,
) -> Vec<OperatorUse> {
    operators
        .keys()
        .filter_map(|key| {
            let (domain, op) = key.rsplit_once('.').unwrap_or(("", key));
            // "ai.onnx" is another spelling of the default domain.
            let domain = if domain == "ai.onnx" { "" } else { domain };
            let opset = opsets.get(domain)?;
            Some(OperatorUse {
                domain: domain.to_owned(),
                op: op.to_owned(),
                opset: *opset,
            })
        })
        .collect()
}

/// Operators of a slice that a backend says it does by simpler ones.
#[must_use]
pub fn rewritten(backend: &Descriptor, slice: &SliceMetadata) -> Vec<String> {
    let by_others = |key: &str| {
        let (domain, op) = key.rsplit_once('.').unwrap_or(("", key));
        let listed = &backend.capabilities.operators;
        let found = listed.iter().find(|o| o.op == op && o.domain == domain);
        found.is_some_and(|o| o.limits == OperatorSupport::REWRITTEN)
    };
    let keys = slice.operators.keys();
    keys.filter(|key| by_others(key)).cloned().collect()
}

/// Operators for a table: `Gemm, Relu ×2`.
#[must_use]
pub fn operator_words(slice: &SliceMetadata) -> String {
    dsperse_documents::operator_words(&slice.operators)
}

/// What is to be said where a circuit is of a version that its backend does not take.
pub(crate) fn other_version(slice: &SliceMetadata, backend: &Loaded<'_>) -> Option<String> {
    let compilation = slice.compilations.get(backend.name())?;
    let version = &compilation.backend_version;
    (!backend.takes_artefacts_of(version)).then(|| {
        format!(
            "compiled by \"{}\" {version}, loaded is {}",
            backend.name(),
            backend.descriptor.version
        )
    })
}

/// Fails when slices come from a bundle without ONNX files.
///
/// # Errors
/// The first slice without one.
pub fn check_payloads(store: &SliceStore, indices: &[usize]) -> Result<()> {
    for index in indices {
        if store.slice(*index)?.payload.path.is_none() {
            return Err(no_payload(*index));
        }
    }
    Ok(())
}

fn no_payload(index: usize) -> Error {
    Error::bad_input(format!(
        "slice {index} has no ONNX file: this bundle was made for verifying only"
    ))
    .with_hint("use the slices from which the bundle was made")
}

/// A job on a slice, with the slice's ONNX file beside the `files` of its work.
///
/// # Errors
/// When the payload is missing from the bundle, or was changed.
pub fn job(
    store: &SliceStore,
    slice: &SliceMetadata,
    backend: &Loaded<'_>,
    work: Work,
    mut files: Files,
) -> Result<(Job, Files)> {
    let job = Job::new(backend, slice.slice_info(None), work);
    let payload = payload(store, slice.index)?;
    files.insert(Files::PAYLOAD, &slice.payload.sha256, payload);
    Ok((job, files))
}

/// A slice's ONNX file.
///
/// # Errors
/// When it is missing from the bundle, or was changed.
pub fn payload(store: &SliceStore, index: usize) -> Result<PathBuf> {
    store.payload(index)?.ok_or_else(|| no_payload(index))
}

/// A prover's own jobs get everything that was compiled.
const ALL_ROLES: [Role; 4] = [Role::Proving, Role::Verifying, Role::Public, Role::Secret];

/// What a backend compiled, all roles of it, for a job.
///
/// # Errors
/// When an artefact is missing or was changed.
pub fn circuit(
    store: &SliceStore,
    slice: &SliceMetadata,
    backend: &str,
    files: &mut Files,
) -> Result<Vec<FileRef>> {
    let made = store.circuit(slice.index, backend, &ALL_ROLES)?;
    Ok(made.into_iter().map(|a| files.attach(a)).collect())
}
