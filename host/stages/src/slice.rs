//! `slice`: a model file to slices on disk, and the node-by-node analysis.

use crate::capability;
use crate::cut::{Cut, Wanted, slice_error};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::session::Session;
use dsperse_documents::ModelMetadata;
use dsperse_slicer::{DimOptions, ModelAnalysis, Plan, Prepared, Strategy};
use dsperse_store::{Access, NewSlices, Shape, SliceStore, atomic, input_shapes};
use std::path::{Path, PathBuf};

/// What to slice and how.
#[derive(Debug, Clone)]
pub struct SliceOptions {
    /// Where to cut.
    pub cut: Cut,
    /// For whom.
    pub wanted: Wanted,
    /// Sizes of open dimensions.
    pub dims: DimOptions,
    /// A model input, for the sizes that nobody gave.
    pub sample: Option<PathBuf>,
    /// Shape on disk.
    pub shape: Shape,
    /// Where the slices go (see [`dsperse_store::output_path`]).
    pub output: PathBuf,
    /// Where the analysis goes.
    pub analysis: Option<PathBuf>,
}

/// What `slice` made.
#[derive(Debug, Clone)]
pub struct Sliced {
    /// The slices directory or `.dsperse`.
    pub path: PathBuf,
    /// These very slices were there already.
    pub unchanged: bool,
    /// The metadata that was written.
    pub model: ModelMetadata,
    /// Sentences about what was decided.
    pub warnings: Vec<String>,
}

/// The ONNX file that a `--model-dir` argument means.
///
/// # Errors
/// When there is none.
pub fn model_file(path: &Path) -> Result<PathBuf> {
    let inside = path.join("model.onnx");
    if inside.is_file() {
        return Ok(inside);
    }
    if path.is_file() {
        return Ok(path.to_path_buf());
    }
    Err(if path.is_dir() {
        Error::bad_input(format!("no \"model.onnx\" in \"{}\"", path.display()))
            .with_hint("give the .onnx file itself: -m DIR/NAME.onnx")
    } else {
        Error::bad_input(format!("there is no model at \"{}\"", path.display()))
            .with_hint("give a directory that holds model.onnx, or an .onnx file")
    })
}

/// The directory beside which slices and runs of a model go.
#[must_use]
pub fn model_dir(path: &Path) -> PathBuf {
    if path.is_dir() {
        return path.to_path_buf();
    }
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Reads a model, fixes its open sizes and infers its shapes. Sizes that are in no option are
/// taken from `sample`, a model input, where there is one.
///
/// # Errors
/// When it is missing, no ONNX model, or has sizes that must be given; when the sample can't
/// be read.
pub fn prepare(path: &Path, dims: &DimOptions, sample: Option<&Path>) -> Result<Prepared> {
    let file = model_file(path)?;
    let loaded = dsperse_slicer::load(&file).map_err(|e| slice_error(&e, &file))?;
    let mut dims = dims.clone();
    if let (Some(sample), Some(names)) = (sample, loaded.open_inputs()) {
        let names: Vec<String> = names
            .into_iter()
            .filter(|n| !dims.fixed.contains_key(n))
            .collect();
        dims.given = input_shapes(sample, &names)?;
    }
    dsperse_slicer::prepare(loaded, &dims).map_err(|e| slice_error(&e, &file))
}

/// Applies a strategy.
///
/// # Errors
/// When a named point is no place to cut, or asking the backends is interrupted.
pub fn plan(
    session: &Session<'_>,
    prepared: &Prepared,
    cut: &Cut,
    wanted: &Wanted,
    file: &Path,
) -> Result<Plan> {
    let strategy = match cut {
        Cut::Layer => Strategy::Layer,
        Cut::Op => Strategy::Op,
        Cut::Whole => Strategy::Whole,
        Cut::Points(points) => Strategy::Points(points.clone()),
        Cut::Auto => return capability::auto(session, prepared, file, wanted),
        Cut::Capability => return capability::plan(session, prepared, file, wanted),
    };
    prepared.plan(&strategy).map_err(|e| slice_error(&e, file))
}

/// The metadata of a sliced model, from its slices one after the other. `keep` receives
/// each slice's index and ONNX bytes.
///
/// # Errors
/// When a slice can't be made, or `keep` fails.
pub fn metadata(
    prepared: &Prepared,
    plan: &Plan,
    file: &Path,
    mut keep: impl FnMut(usize, &[u8]) -> Result<()>,
) -> Result<ModelMetadata> {
    let mut model = ModelMetadata {
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        model: prepared.file.clone(),
        ir_version: prepared.model.ir_version.unwrap_or_default(),
        opset_imports: prepared.opset_imports(),
        strategy: plan.strategy.clone(),
        rewritten: prepared.rewritten.clone(),
        fixed: prepared.fixed.clone(),
        inputs: prepared.inputs.clone(),
        outputs: prepared.outputs.clone(),
        nodes: prepared.original_nodes(),
        parameters: prepared.parameters(),
        macs: prepared.macs(),
        ..ModelMetadata::default()
    };
    for slice in prepared.slices(plan) {
        let slice = slice.map_err(|e| slice_error(&e, file))?;
        let bytes = slice.to_bytes();
        keep(slice.index, &bytes)?;
        model.slices.push(slice.summary(&bytes));
    }
    model
        .seal()
        .map_err(|e| Error::bad_input(e.to_string()).at(format!("\"{}\"", file.display())))?;
    Ok(model)
}

/// Slices a model.
///
/// # Errors
/// When the model can't be read or cut, or the disk refuses.
pub fn slice(session: &Session<'_>, path: &Path, options: &SliceOptions) -> Result<Sliced> {
    let file = model_file(path)?;
    let prepared = prepare(path, &options.dims, options.sample.as_deref())?;
    let plan = plan(session, &prepared, &options.cut, &options.wanted, &file)?;
    session.emit(&Event::StageStarted {
        stage: "slice",
        slices: plan.slices.len(),
    });
    session.check_cancelled()?;
    let target = dsperse_store::output_path(&options.output, options.shape);
    let new = NewSlices::create(&target, options.shape)?;
    let model = metadata(&prepared, &plan, &file, |index, bytes| {
        session.check_cancelled()?;
        let path = new.payload_path(index)?;
        std::fs::write(&path, bytes).map_err(|e| Error::io("write", &path, &e))
    })?;
    if let Some(to) = &options.analysis {
        write_analysis(&prepared.analyse(&plan), to)?;
    }
    let created = new.finish(&model)?;
    let mut warnings = [prepared.warnings, plan.warnings].concat();
    if options.output == model_dir(path).join("slices") {
        warnings.extend(replace_others(&options.output, &created.path, &model)?);
    }
    Ok(Sliced {
        path: created.path,
        unchanged: created.unchanged,
        model,
        warnings,
    })
}

/// Removes what a model directory holds of an earlier model's slices in another shape, so
/// that the directory means the slices that were just made. The same slices in another
/// shape stay: they may hold circuits that took long to compile.
fn replace_others(output: &Path, made: &Path, model: &ModelMetadata) -> Result<Option<String>> {
    let shapes = [Shape::Dirs, Shape::Dsperse];
    for other in shapes.map(|shape| dsperse_store::output_path(output, shape)) {
        let Ok(found) = other.canonicalize() else {
            continue;
        };
        if made.canonicalize().is_ok_and(|made| made == found) {
            continue;
        }
        let old = match SliceStore::open(&other, Access::Read) {
            Ok(store) => store.model().is_some_and(|m| m.identity != model.identity),
            // Not slices, or damaged: not ours to remove.
            Err(_) => false,
        };
        if old {
            dsperse_store::remove_slices(&other)?;
            return Ok(Some(format!(
                "the slices of an earlier model at \"{}\" were removed",
                other.display()
            )));
        }
    }
    Ok(None)
}

/// Writes the node-by-node analysis.
///
/// # Errors
/// When the disk refuses.
pub fn write_analysis(analysis: &ModelAnalysis, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, &e))?;
    }
    let mut bytes = serde_json::to_vec_pretty(analysis)
        .map_err(|e| Error::failed(format!("can't write the analysis as JSON: {e}")))?;
    bytes.push(b'\n');
    Ok(atomic::write_file(to, &bytes)?)
}
