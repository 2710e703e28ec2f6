//! Which files a command works on when the user did not say.

use crate::app::{App, shown};
use crate::args::common::Dims;
use crate::args::slicing;
use crate::args::stages::RunOf;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use dsperse_slicer::DimOptions;
use dsperse_store::Shape;
use std::path::{Path, PathBuf};

/// The model's input file: as given, or `input.json` in the model's directory.
pub fn model_input(app: &App, given: Option<&Path>, model_dir: &Path) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_path_buf());
    }
    let usual = model_dir.join("input.json");
    if usual.is_file() {
        return Ok(usual);
    }
    app.prompt
        .path(None, "the model's input file", "-i FILE")
        .map_err(|e| UserError {
            message: format!(
                "the model's input is missing: there is no \"{}\"",
                shown(&usual)
            ),
            ..e
        })
}

/// The same, when it is welcome but not needed.
pub fn usual_input(model_dir: &Path) -> Option<PathBuf> {
    Some(model_dir.join("input.json")).filter(|p| p.is_file())
}

/// The slices that a flag means. In a terminal a model without slices is sliced when the
/// user says so.
pub fn slices(app: &App, given: Option<PathBuf>) -> Result<PathBuf> {
    let path = app
        .prompt
        .path(given, "the path of the slices", "-s PATH")?;
    let missing = match dsperse_store::resolve(&path) {
        Ok(_) => return Ok(path),
        Err(e) => dsperse_stages::Error::from(e),
    };
    let question = format!(
        "There are no slices at \"{}\". Slice the model now?",
        path.display()
    );
    if dsperse_stages::slice::model_file(&path).is_ok()
        && app.prompt.confirm(&question) == Some(true)
    {
        super::slice::with_defaults(app, &path)?;
        return Ok(dsperse_stages::slice::model_dir(&path));
    }
    Err(missing.into())
}

/// The directory beside the slices that a path means.
pub fn model_dir_of(path: &Path) -> Result<PathBuf> {
    let location = dsperse_store::resolve(path).map_err(dsperse_stages::Error::from)?;
    Ok(location.parent())
}

/// The newest run that a path means, if any.
pub fn newest_run(path: &Path) -> Result<Option<PathBuf>> {
    let runs = dsperse_store::find_runs(path).map_err(dsperse_stages::Error::from)?;
    Ok(runs.into_iter().next())
}

/// The run and its slices. A directory of runs means its newest, or the one that the user
/// chooses; slices that are not given are those that the run was made with.
pub fn run_and_slices(app: &App, args: &RunOf) -> Result<(PathBuf, PathBuf)> {
    let (given, data) = match (&args.run_dir, &args.run, &args.data) {
        (Some(run), data, None) => (Some(run), data),
        (None, run, data) => (run.as_ref(), data),
        (Some(_), _, Some(extra)) => {
            return Err(UserError::usage(
                format!("\"{}\" is one path too many", extra.display()),
                "give the run with --run-dir or as the first path, not both",
            ));
        }
    };
    let given = given.cloned();
    let path = app
        .prompt
        .path(given, "the run", "RUN_DIR or --run-dir DIR")?;
    let runs = dsperse_store::find_runs(&path).map_err(dsperse_stages::Error::from)?;
    if runs.is_empty() {
        let swapped = data
            .as_deref()
            .is_some_and(|d| matches!(newest_run(d), Ok(Some(_))));
        return Err(UserError {
            exit: Exit::BadInput,
            message: if path.exists() {
                format!("no run at \"{}\"", path.display())
            } else {
                format!("there is nothing at \"{}\"", path.display())
            },
            hint: Some(
                if !path.exists() {
                    "check the path: a run directory, or a directory of runs"
                } else if swapped {
                    "these are the slices: name the run first, then the slices"
                } else {
                    "run the slices first: \"dsperse run -s PATH\""
                }
                .to_owned(),
            ),
        });
    }
    let names: Vec<String> = runs.iter().map(|r| shown(r)).collect();
    let run = runs[app.prompt.choose("Which run?", &names)].clone();
    let data = match data {
        Some(data) => data.clone(),
        None => dsperse_stages::run::slices_of(&run)?,
    };
    Ok((run, data))
}

/// Sizes of open dimensions.
pub fn dims(args: &Dims) -> DimOptions {
    DimOptions {
        batch: args.batch,
        dims: args.dims.iter().cloned().collect(),
        shapes: args.input_shape.iter().cloned().collect(),
    }
}

/// The bundle's word for a shape.
pub fn shape(shape: slicing::Shape) -> Shape {
    match shape {
        slicing::Shape::Dsperse => Shape::Dsperse,
        slicing::Shape::Dslice => Shape::Dslice,
        slicing::Shape::Dirs => Shape::Dirs,
    }
}
