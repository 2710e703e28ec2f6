//! `convert` and `slice convert`.

use super::paths;
use crate::app::App;
use crate::args::slicing::{Convert, Purpose};
use crate::console::shown;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_store::{BundleError, ConvertOptions, ConvertRefusal, Limits, Shape};
use serde_json::json;

pub fn execute(app: &App, args: &Convert) -> Result<Exit> {
    let input = app
        .prompt
        .path(args.input.clone(), "what to convert", "-i PATH")?;
    let for_verify = args.purpose == Some(Purpose::Verify);
    if args.to.is_none() && !args.expand_slices && !for_verify {
        return Err(UserError::usage(
            "the shape to convert to is missing",
            "give it with --to dirs, --to dslice or --to dsperse",
        ));
    }
    let options = ConvertOptions {
        to: args.to.map(paths::shape),
        output: args.output.clone(),
        expand_slices: args.expand_slices,
        cleanup: match (args.cleanup, args.no_cleanup) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        for_verify,
    };
    let converted = dsperse_store::convert(&input, &options, Limits::default()).map_err(refused)?;
    let mut text = format!("{} at {}", converted.shape, shown(&converted.path));
    if converted.unchanged {
        text += " already";
    }
    if let Some(source) = &converted.removed {
        text += &format!("; {} was removed", shown(source));
    }
    if args.to == Some(crate::args::slicing::Shape::Dirs) && converted.shape == Shape::Dslice {
        text += "\nwith --expand-slices, each slice also becomes a directory";
    }
    app.print(
        &text,
        &json!({
            "schema": SCHEMA,
            "command": "convert",
            "path": shown(&converted.path),
            "shape": converted.shape.as_str(),
            "unchanged": converted.unchanged,
            "removed_source": converted.removed.is_some(),
        }),
    );
    Ok(Exit::Done)
}

/// Adds the flag that helps.
fn refused(error: BundleError) -> UserError {
    let hint = match &error {
        BundleError::Convert(why) => match why {
            ConvertRefusal::ReplacesSource(_) => "give --output, or --cleanup to allow it",
            ConvertRefusal::ExpandsBundle => "give --to dsperse or --expand-slices, not both",
            ConvertRefusal::SingleSlice(_) => "give --to dirs or --to dslice",
            ConvertRefusal::VerifierCleanup => "leave --cleanup out",
            ConvertRefusal::TakesOneAway => "leave --cleanup out, or leave --output out",
            ConvertRefusal::AmongOthers => "give --output",
            _ => "see \"dsperse convert --help\"",
        },
        _ => return dsperse_stages::Error::from(error).into(),
    };
    UserError::usage(error.to_string(), hint)
}
