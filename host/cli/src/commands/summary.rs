//! The table at the end of a stage.

use crate::app::App;
use crate::console::foreign::field;
use crate::console::numbers;
use crate::console::shown;
use crate::console::table::Table;
use crate::output::SCHEMA;
use dsperse_documents::Fidelity;
use dsperse_stages::report::{Outcome, SliceLine, StageReport};
use dsperse_stages::run::Ran;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Prints a stage's table or document.
pub fn stage(app: &App, report: &StageReport, command: &str) {
    app.print(&text(report), &document(report, command));
}

/// A stage as a document for programs.
pub fn document(report: &StageReport, command: &str) -> Value {
    let mut document = json!({
        "schema": SCHEMA,
        "command": command,
        "complete": report.complete(),
        "seconds": report.seconds,
        "slices": report.slices,
    });
    if let Some(fidelity) = &report.fidelity {
        document["fidelity"] = json!(fidelity);
    }
    if let Some(keys) = &report.keys_sha256 {
        document["keys_sha256"] = json!(keys);
    }
    document
}

/// The table and what belongs below it.
pub fn text(report: &StageReport) -> String {
    let mut table = Table::new(
        &[
            "slice",
            "operators",
            "backend",
            "result",
            "time",
            "memory",
            "files",
            "note",
        ],
        &[0, 4, 5, 6],
    );
    // The same few reasons repeat over many slices, so they stand once below the table.
    let mut reasons: Vec<String> = Vec::new();
    for line in &report.slices {
        let ran = matches!(line.outcome, Outcome::Done | Outcome::UpToDate);
        let cell = |text: String| if ran { text } else { String::new() };
        table.row(vec![
            line.index.to_string(),
            line.operators.clone(),
            line.backend.clone().unwrap_or_else(|| "-".to_owned()),
            line.outcome.as_str().to_owned(),
            cell(numbers::seconds(line.usage.seconds)),
            cell(numbers::bytes(line.usage.peak_bytes)),
            cell(if line.artefact_bytes == 0 {
                String::new()
            } else {
                numbers::bytes(line.artefact_bytes)
            }),
            note(line, &mut reasons),
        ]);
    }
    let mut out = table.render();
    for (at, reason) in reasons.iter().enumerate() {
        let _ = writeln!(out, "({}) {}", at + 1, field(reason));
    }
    let mut warnings: Vec<&String> = report.slices.iter().flat_map(|l| &l.warnings).collect();
    warnings.sort_unstable();
    warnings.dedup();
    for warning in warnings {
        let _ = writeln!(out, "note: {}", field(warning));
    }
    for line in report.failed() {
        if let Some(hint) = &line.hint {
            let _ = writeln!(out, "hint for slice {}: {}", line.index, field(hint));
        }
    }
    let done = report
        .slices
        .iter()
        .filter(|l| !matches!(l.outcome, Outcome::Failed | Outcome::Skipped))
        .count();
    let _ = writeln!(
        out,
        "{}: {done} of {} slices in {}",
        report.stage,
        report.slices.len(),
        numbers::seconds(report.seconds)
    );
    if let Some(f) = &report.fidelity {
        let _ = writeln!(
            out,
            "fidelity of the chain on the calibration samples: {}",
            fidelity(f)
        );
    }
    if let Some(keys) = &report.keys_sha256 {
        let _ = writeln!(
            out,
            "verifying keys {keys}: verifiers pin them with --expect-keys"
        );
    }
    out
}

/// Numbers of the reasons why a slice failed, or why the backends before the chosen one
/// fell through.
fn note(line: &SliceLine, reasons: &mut Vec<String>) -> String {
    let all = line.fallbacks.iter().map(|f| match (&f.node, &f.op) {
        (Some(node), Some(op)) => {
            format!(
                "{} fell through: {} (node \"{node}\", {op})",
                f.backend, f.reason
            )
        }
        _ => format!("{} fell through: {}", f.backend, f.reason),
    });
    // The error of a slice that nobody could do repeats what each backend said.
    let error = line
        .error
        .iter()
        .filter(|_| line.fallbacks.is_empty())
        .cloned();
    let numbers: Vec<String> = all
        .chain(error)
        .map(|reason| {
            let known = reasons.iter().position(|r| *r == reason);
            let at = known.unwrap_or_else(|| {
                reasons.push(reason);
                reasons.len() - 1
            });
            format!("({})", at + 1)
        })
        .collect();
    numbers.join(" ")
}

/// What there is to say when the run's outputs are too far from the float model.
pub fn missed(ran: &Ran) -> Option<String> {
    let fidelity = ran.results.fidelity.as_ref()?;
    fidelity.misses().then(|| {
        format!(
            "the run misses the fidelity target: {}",
            dsperse_stages::fidelity::told(fidelity)
        )
    })
}

/// What the user can do about it.
pub const MISSED_HINT: &str =
    "compile with inputs like this one (-i), or allow more with --max-error";

/// Table, fidelity and place.
pub fn run(ran: &Ran) -> String {
    let mut out = text(&ran.report);
    if let Some(f) = &ran.results.fidelity {
        let _ = writeln!(out, "fidelity against the float model: {}", fidelity(f));
    }
    if let Some(sentence) = missed(ran) {
        let _ = writeln!(out, "failed: {}\nhint: {MISSED_HINT}", field(&sentence));
    }
    let _ = writeln!(out, "run at {}", shown(&ran.path));
    out
}

/// `largest difference 2.4e-7 (relative 1.1e-7, allowed 0.01), same largest element`.
pub fn fidelity(f: &Fidelity) -> String {
    let number = |v: Option<f64>| v.map_or_else(|| "not finite".to_owned(), numbers::short);
    let answer = match f.same_argmax {
        Some(true) => ", same largest element",
        Some(false) => ", another largest element",
        None => "",
    };
    let allowed = f
        .target
        .map_or_else(String::new, |t| format!(", allowed {t}"));
    let top = f.top5.filter(|t| *t < 1.0).map_or_else(String::new, |t| {
        format!(", {} of the largest five agree", numbers::percent(t))
    });
    // Results of an earlier version have no error of this kind.
    let relative = f.error.or(f.max_rel);
    format!(
        "largest difference {} (relative {}{allowed}){answer}{top}",
        number(f.max_abs),
        number(relative)
    )
}
