//! `report`.

use super::paths;
use crate::app::{App, shown};
use crate::args::inspect::Report;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_stages::{page, slices};
use dsperse_store::{Access, RunDir, atomic};
use serde_json::json;

pub fn execute(app: &App, args: &Report) -> Result<Exit> {
    let path = app
        .prompt
        .path(args.path.clone(), "the run, model or slices", "PATH")?;
    let (html, usual) = if let Some(run) = paths::newest_run(&path)? {
        let store = slices::open(&dsperse_stages::run::slices_of(&run)?, Access::Read)?;
        let opened = RunDir::open(&run, Access::Read).map_err(dsperse_stages::Error::from)?;
        let name = run
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let html = page::page(&store, Some((&name, &opened.results())))?;
        (html, run.join("report.html"))
    } else {
        let store = slices::open(&path, Access::Read)?;
        let usual = store.location().parent().join("report.html");
        (page::page(&store, None)?, usual)
    };
    let file = args.output_file.clone().unwrap_or(usual);
    atomic::write_file(&file, html.as_bytes()).map_err(dsperse_stages::Error::from)?;
    app.print(
        &format!("report at {}", shown(&file)),
        &json!({"schema": SCHEMA, "command": "report", "path": shown(&file)}),
    );
    Ok(Exit::Done)
}
