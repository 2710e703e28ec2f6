//! `convert` and `slice convert`.

use super::paths;
use crate::app::{App, shown};
use crate::args::slicing::{Convert, Purpose};
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_store::{ConvertOptions, Limits};
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
    // What "PATH" means changes when its source is removed.
    let source = dsperse_store::resolve(&input).map_err(dsperse_stages::Error::from)?;
    let converted = dsperse_store::convert(&input, &options, Limits::default())
        .map_err(dsperse_stages::Error::from)?;
    let gone = converted.removed_source && source.path != converted.path;
    let removed = if gone {
        format!("; {} was removed", shown(&source.path))
    } else {
        String::new()
    };
    app.print(
        &format!("{} at {}{removed}", converted.shape, shown(&converted.path)),
        &json!({
            "schema": SCHEMA,
            "command": "convert",
            "path": shown(&converted.path),
            "shape": converted.shape.as_str(),
            "removed_source": gone,
        }),
    );
    Ok(Exit::Done)
}
