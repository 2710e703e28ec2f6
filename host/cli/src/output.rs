//! What goes to stdout: the human summary, or one JSON document.

use crate::console::foreign;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use serde::Serialize;
use std::io::Write;
use std::path::Path;

/// Version of the documents that `--json` prints (those that have no schema of their own).
pub const SCHEMA: &str = "1.0.0";

/// Writes a summary to stdout. A closed pipe (`dsperse … | head`) is no error.
pub fn text(text: &str) {
    write(&foreign::block(text));
}

fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out
        .write_all(text.as_bytes())
        .and_then(|()| {
            if text.ends_with('\n') {
                Ok(())
            } else {
                out.write_all(b"\n")
            }
        })
        .and_then(|()| out.flush());
}

/// Writes one JSON document to stdout.
pub fn json(document: &impl Serialize) {
    match serde_json::to_string_pretty(document) {
        Ok(json) => write(&foreign::json(&json)),
        Err(e) => tracing::error!("can't write the result as JSON: {e}"),
    }
}

/// Writes an error to stdout, as `--json` has it.
pub fn error(e: &UserError) {
    json(&serde_json::json!({
        "schema": SCHEMA,
        "error": {
            "exit_code": e.exit as u8,
            "message": e.message,
            "hint": e.hint,
        },
    }));
}

/// Writes one JSON document to a file, in one step.
///
/// # Errors
/// When the disk refuses.
pub fn file(path: &Path, document: &impl Serialize) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(document).map_err(|e| UserError {
        exit: Exit::Failed,
        message: format!("can't write the result as JSON: {e}"),
        hint: None,
    })?;
    bytes.push(b'\n');
    dsperse_store::atomic::write_file(path, &bytes)?;
    Ok(())
}
