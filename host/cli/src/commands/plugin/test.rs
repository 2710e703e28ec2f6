//! `plugin test`.

use crate::app::App;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_plugin_api::conformance::{self, Caller as _, WithOptions, samples};
use dsperse_plugin_api::job::Options;
use dsperse_plugin_host::WorkerCaller;
use serde_json::json;
use std::path::Path;

/// Runs the conformance checks on a library, each call in a worker and with the options
/// that the configuration has for this backend.
pub fn execute(app: &App, library: &Path) -> Result<Exit> {
    if !library.is_file() {
        return Err(UserError {
            exit: Exit::Backend,
            message: format!("there is no library at \"{}\"", library.display()),
            hint: Some("build it first: \"cargo build\"".to_owned()),
        });
    }
    let caller = WorkerCaller::new(library, &app.host_options());
    let options = match caller.describe().and_then(|raw| raw.descriptor()) {
        Ok(descriptor) => app.config()?.options(&descriptor)?,
        // The first check says what is wrong.
        Err(_) => Options::new(),
    };
    let caller = WithOptions {
        inner: caller,
        options,
    };
    let report = conformance::run(&caller, &samples::all());
    let verdict = if report.passed() { "passed" } else { "FAILED" };
    app.print(
        &format!("{report}{verdict}\n"),
        &json!({
            "schema": SCHEMA,
            "command": "plugin test",
            "passed": report.passed(),
            "report": report,
        }),
    );
    Ok(Exit::of(report.passed()))
}
