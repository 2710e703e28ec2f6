//! `export`.

use super::paths;
use crate::app::App;
use crate::args::stages::Export;
use crate::console::numbers;
use crate::console::shown;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_stages::opened;
use dsperse_store::{Access, RunDir, packed};
use serde_json::json;

pub fn execute(app: &App, args: &Export) -> Result<Exit> {
    let (run, data) = paths::run_and_slices(app, &args.of)?;
    let output = app
        .prompt
        .path(args.output.clone(), "the file to write", "-o FILE.dsproof")?;
    if output.extension().is_none_or(|e| e != "dsproof") {
        return Err(UserError::usage(
            format!("\"{}\" does not end in .dsproof", shown(&output)),
            "name the file like \"model.dsproof\": verify knows it by that",
        ));
    }
    let store = opened::open(&data, Access::Read)?;
    let opened = RunDir::open(&run, Access::Read)?;
    packed::pack(&store, &opened, &output)?;
    let size = std::fs::metadata(&output).map_or(0, |m| m.len());
    app.print(
        &format!(
            "{} ({}): verify it with \"dsperse verify\", or in a browser",
            shown(&output),
            numbers::bytes(size)
        ),
        &json!({
            "schema": SCHEMA,
            "command": "export",
            "path": shown(&output),
            "size": size,
        }),
    );
    Ok(Exit::Done)
}
