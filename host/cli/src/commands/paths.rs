//! Which files a command works on when the user did not say.

use crate::app::App;
use crate::args::common::Dims;
use crate::args::slicing;
use crate::args::stages::RunOf;
use crate::console::shown;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use dsperse_slicer::DimOptions;
use dsperse_store::Shape;
use std::path::{Path, PathBuf};

/// The model's input files: as given, or `input.json` in the model's directory.
pub fn model_input(app: &App, given: &[PathBuf], model_dir: &Path) -> Result<Vec<PathBuf>> {
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    let usual = model_dir.join("input.json");
    if usual.is_file() {
        return Ok(vec![usual]);
    }
    app.prompt
        .path(None, "the model's input file", "-i FILE")
        .map(|path| vec![path])
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
    let given = or_here(given, || slices_here(app))?;
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
    let location = dsperse_store::resolve(path)?;
    Ok(location.parent())
}

/// The newest run that a path means, if any.
pub fn newest_run(path: &Path) -> Result<Option<PathBuf>> {
    let runs = dsperse_store::find_runs(path)?;
    Ok(runs.into_iter().next())
}

/// The run and its slices. A directory of runs means its newest, or the one that the user
/// chooses; slices that are not given are those that the run was made with.
pub fn run_and_slices(app: &App, args: &RunOf) -> Result<(PathBuf, PathBuf)> {
    let (given, data) = split(args)?;
    let given = or_here(given.map(Path::to_owned), || run_here(app))?;
    let path = app
        .prompt
        .path(given, "the run", "RUN_DIR or --run-dir DIR")?;
    let runs = dsperse_store::find_runs(&path)?;
    if runs.is_empty() {
        let swapped = data.is_some_and(|d| matches!(newest_run(d), Ok(Some(_))));
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
        Some(data) => data.to_owned(),
        None => dsperse_stages::run::slices_of(&run)?,
    };
    Ok((run, data))
}

/// The paths that were given for the run and for its slices.
pub fn split(args: &RunOf) -> Result<(Option<&Path>, Option<&Path>)> {
    match (&args.run_dir, &args.run, &args.data) {
        (Some(run), data, None) => Ok((Some(run), data.as_deref())),
        (None, run, data) => Ok((run.as_deref(), data.as_deref())),
        (Some(_), _, Some(extra)) => Err(UserError::usage(
            format!("\"{}\" is one path too many", extra.display()),
            "give the run with --run-dir or as the first path, not both",
        )),
    }
}

/// The working directory, as a path.
pub const HERE: &str = ".";

/// What was given, or else what lies in the working directory.
fn or_here(
    given: Option<PathBuf>,
    here: impl FnOnce() -> Result<Option<PathBuf>>,
) -> Result<Option<PathBuf>> {
    given.map_or_else(here, |path| Ok(Some(path)))
}

/// The slices in the working directory: those that the path "." means, or its only bundle.
/// A model without slices counts too, so that the error can say what is missing.
fn slices_here(app: &App) -> Result<Option<PathBuf>> {
    let taken = match dsperse_store::resolve(Path::new(HERE)) {
        Ok(location) => Some((PathBuf::from(HERE), location.path)),
        Err(dsperse_store::BundleError::NoSlices { .. }) => {
            only(&["dsperse", "dslice"], "-s PATH")?.map(|file| (file.clone(), file))
        }
        Err(e) => return Err(dsperse_stages::Error::from(e).into()),
    };
    if let Some((path, what)) = taken {
        app.tell(format!(
            "no path given, taking the slices at \"{}\"",
            shown(&what)
        ));
        return Ok(Some(path));
    }
    let model = dsperse_stages::slice::model_file(Path::new(HERE));
    Ok(model.is_ok().then(|| PathBuf::from(HERE)))
}

/// The model in the working directory: `model.onnx`, or its only .onnx file.
fn model_here(app: &App) -> Result<Option<PathBuf>> {
    let usual = dsperse_stages::slice::model_file(Path::new(HERE)).ok();
    let (path, file) = match usual {
        Some(file) => (PathBuf::from(HERE), file),
        None => match only(&["onnx"], "-m PATH")? {
            Some(file) => (file.clone(), file),
            None => return Ok(None),
        },
    };
    let file = file.strip_prefix(HERE).unwrap_or(&file);
    app.tell(format!(
        "no path given, taking the model \"{}\"",
        shown(file)
    ));
    Ok(Some(path))
}

/// The runs in the working directory.
fn run_here(app: &App) -> Result<Option<PathBuf>> {
    let found = newest_run(Path::new(HERE))?;
    let Some(newest) = found else {
        return Ok(None);
    };
    app.tell(format!(
        "no path given, taking the runs at \"{HERE}\" (newest: \"{}\")",
        shown(newest.strip_prefix(HERE).unwrap_or(&newest))
    ));
    Ok(Some(PathBuf::from(HERE)))
}

/// What `verify` judges when nothing is named: a run, or the only packed proof.
pub fn judged_here(app: &App) -> Result<Option<PathBuf>> {
    if newest_run(Path::new(HERE))?.is_some() {
        return Ok(None);
    }
    let packed = only(&["dsproof"], "RUN_DIR")?;
    if let Some(file) = &packed {
        app.tell(format!("no path given, taking \"{}\"", file.display()));
    }
    Ok(packed)
}

/// The model that a flag means.
pub fn model(app: &App, given: Option<PathBuf>) -> Result<PathBuf> {
    let given = or_here(given, || model_here(app))?;
    app.prompt.path(given, "the model", "-m PATH")
}

/// The model or the slices that a flag means.
pub fn model_or_slices(app: &App, given: Option<PathBuf>) -> Result<PathBuf> {
    let given = or_here(given, || model_here(app))?;
    let given = or_here(given, || slices_here(app))?;
    app.prompt.path(given, "the model", "-m PATH")
}

/// The run, or the slices, that a page is about.
pub fn run_or_slices(app: &App, given: Option<PathBuf>) -> Result<PathBuf> {
    let given = or_here(given, || run_here(app))?;
    let given = or_here(given, || slices_here(app))?;
    app.prompt.path(given, "the run, model or slices", "PATH")
}

/// The only file of the working directory that ends so.
fn only(extensions: &[&str], flag: &str) -> Result<Option<PathBuf>> {
    let entries = std::fs::read_dir(HERE)
        .map_err(|e| dsperse_stages::Error::io("read", Path::new(HERE), &e))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|e| PathBuf::from(e.file_name()))
        .filter(|f| {
            let extension = f.extension().and_then(|e| e.to_str());
            extension.is_some_and(|e| extensions.contains(&e)) && f.is_file()
        })
        .collect();
    files.sort();
    if files.len() < 2 {
        return Ok(files.pop());
    }
    let names: Vec<String> = files
        .iter()
        .map(|f| format!("\"{}\"", f.display()))
        .collect();
    Err(UserError::usage(
        format!("several could be meant here: {}", names.join(", ")),
        format!("say which with {flag}"),
    ))
}

/// Sizes of open dimensions.
pub fn dims(args: &Dims) -> DimOptions {
    DimOptions {
        batch: args.batch,
        dims: args.dims.iter().cloned().collect(),
        shapes: args.input_shape.iter().cloned().collect(),
        fixed: args.fix.iter().cloned().collect(),
        split_above: args.split_above,
        ..DimOptions::default()
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
