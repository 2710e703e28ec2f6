//! `slice`.

use super::paths;
use crate::app::App;
use crate::args::slicing::{Cutting, SliceArgs, Strategy};
use crate::console::foreign::field;
use crate::console::numbers;
use crate::console::shown;
use crate::console::table::Table;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_router::Spec;
use dsperse_slicer::DimOptions;
use dsperse_stages::Session;
use dsperse_stages::cut::{Cut, Wanted};
use dsperse_stages::slice::{self, SliceOptions, Sliced};
use dsperse_store::Shape;
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

pub fn execute(app: &App, args: &SliceArgs) -> Result<Exit> {
    let model = paths::model(app, args.model.clone())?;
    let dir = slice::model_dir(&model);
    let options = SliceOptions {
        cut: cut(&args.cutting, args.backend.as_deref(), None)?,
        wanted: Wanted {
            backend: args.backend.clone(),
            ..Wanted::default()
        },
        dims: paths::dims(&args.dims),
        sample: args.input.clone(),
        shape: paths::shape(args.output_type),
        output: args
            .output_dir
            .clone()
            .unwrap_or_else(|| dir.join("slices")),
        analysis: args
            .save
            .clone()
            .map(|path| path.unwrap_or_else(|| dir.join("analysis").join("model_metadata.json"))),
    };
    let work = |session: &Session<'_>| Ok(slice::slice(session, &model, &options)?);
    let mut sliced = match options.cut {
        Cut::Capability => app.with_session(Some(&args.limits), work)?,
        _ => app.with_bare_session(Some(&args.limits), work)?,
    };
    if args.output_dir.is_none() {
        sliced.warnings.extend(hidden(&sliced.path, &dir));
    }
    let summary = summary(&sliced, options.analysis.as_ref());
    app.print(
        &summary,
        &json!({
            "schema": SCHEMA,
            "command": "slice",
            "path": shown(&sliced.path),
            "unchanged": sliced.unchanged,
            "analysis": options.analysis.as_ref().map(|p| shown(p)),
            "warnings": sliced.warnings,
            "model": sliced.model,
        }),
    );
    Ok(Exit::Done)
}

/// Where the flags say to cut. Slices that the backend spec or `--layers` name by number are
/// those of the strategy `layer`, whose numbers do not depend on any backend.
///
/// # Errors
/// When nodes are named for a strategy that does not look at them, or the spec is wrong.
pub fn cut(args: &Cutting, backend: Option<&str>, layers: Option<&str>) -> Result<Cut> {
    let numbered = layers.is_some()
        || match backend {
            Some(text) => Spec::parse(text)?.names_slices(),
            None => false,
        };
    let strategy = args.strategy.unwrap_or(if numbered {
        Strategy::Layer
    } else {
        Strategy::Auto
    });
    if !args.at.is_empty() && strategy != Strategy::Points {
        return Err(UserError::usage(
            "--at has no meaning for this strategy",
            "add --strategy points, or leave --at out",
        ));
    }
    Ok(match strategy {
        Strategy::Auto => Cut::Auto,
        Strategy::Layer => Cut::Layer,
        Strategy::Op => Cut::Op,
        Strategy::Whole => Cut::Whole,
        Strategy::Points => Cut::Points(args.at.clone()),
        Strategy::Capability => Cut::Capability,
    })
}

/// Slices a model as `slice -m PATH` does.
pub fn with_defaults(app: &App, model: &Path) -> Result<()> {
    let options = SliceOptions {
        cut: Cut::default(),
        wanted: Wanted::default(),
        dims: DimOptions::default(),
        sample: None,
        shape: Shape::Dsperse,
        output: slice::model_dir(model).join("slices"),
        analysis: None,
    };
    let sliced = app.with_session(None, |session| Ok(slice::slice(session, model, &options)?))?;
    app.note(&summary(&sliced, None));
    Ok(())
}

/// A model directory with slices of two shapes means one of them only, and that may not
/// be what was just made.
fn hidden(made: &Path, model_dir: &Path) -> Option<String> {
    let meant = dsperse_store::resolve(model_dir).ok()?.path;
    (meant != made.canonicalize().ok()?).then(|| {
        format!(
            "\"{}\" is there too, and a command that is given \"{}\" takes that: name these slices themselves, or remove the others",
            shown(&meant),
            model_dir.display()
        )
    })
}

/// Table and place.
pub fn summary(sliced: &Sliced, analysis: Option<&PathBuf>) -> String {
    let mut table = Table::new(
        &["slice", "operators", "parameters", "MACs", "size"],
        &[0, 2, 3, 4],
    );
    for s in &sliced.model.slices {
        table.row(vec![
            s.index.to_string(),
            dsperse_documents::operator_words(&s.operators),
            numbers::count(s.parameters),
            numbers::count(s.macs),
            numbers::bytes(s.payload_size),
        ]);
    }
    let mut out = table.render();
    for warning in &sliced.warnings {
        let _ = writeln!(out, "note: {}", field(warning));
    }
    let n = sliced.model.slices.len();
    let _ = writeln!(
        out,
        "{n} slice{} at {}{}",
        if n == 1 { "" } else { "s" },
        shown(&sliced.path),
        if sliced.unchanged { " (unchanged)" } else { "" }
    );
    let _ = writeln!(out, "model identity {}", sliced.model.identity);
    if let Some(path) = analysis {
        let _ = writeln!(out, "analysis at {}", shown(path));
    }
    out
}
