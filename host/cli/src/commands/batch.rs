//! Several inputs at once: what `run`, `prove`, `verify` and `full-run` do with a batch, and say
//! of it.

use super::{paths, summary, verdict};
use crate::app::App;
use crate::args::stages::RunOf;
use crate::console::foreign::field;
use crate::console::numbers;
use crate::console::shown;
use crate::console::table::Table;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::output::SCHEMA;
use dsperse_documents::VerificationReport;
use dsperse_stages::batch::{self, BatchRan, Member};
use dsperse_stages::report::{Outcome, StageReport};
use dsperse_stages::run::Ran;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A batch that a command was given, and the slices of its runs.
pub struct Given {
    /// The directory of the batch.
    pub path: PathBuf,
    /// Its runs.
    pub members: Vec<Member>,
    /// The slices that they are of.
    pub slices: PathBuf,
}

/// The batch that the paths mean; `None` when they mean a single run.
pub fn given(app: &App, of: &RunOf) -> Result<Option<Given>> {
    let (run, data) = paths::split(of)?;
    let Some(path) = batch::find(run.unwrap_or(Path::new(paths::HERE)))? else {
        return Ok(None);
    };
    if run.is_none() {
        app.tell(format!(
            "no path given, taking the batch \"{}\"",
            shown(path.strip_prefix(paths::HERE).unwrap_or(&path))
        ));
    }
    let members = batch::members(&path)?;
    let Some(first) = members.first() else {
        return Ok(None);
    };
    if let Some(lost) = members.iter().find(|m| !m.run.is_dir()) {
        return Err(UserError {
            exit: Exit::BadInput,
            message: format!(
                "the batch \"{}\" is not complete: there is no run for {}",
                shown(&path),
                lost.source
            ),
            hint: Some("type the same \"dsperse run\" again: it goes on where it ended".to_owned()),
        });
    }
    let slices = match data {
        Some(data) => data.to_owned(),
        None => dsperse_stages::run::slices_of(&first.run)?,
    };
    Ok(Some(Given {
        path,
        members,
        slices,
    }))
}

/// What became of each run of a batch.
pub struct Each<R> {
    path: PathBuf,
    seconds: f64,
    reports: Vec<(Member, R)>,
}

/// Does the same with each run; stops at the first where it can't even begin.
pub fn each<R>(
    path: &Path,
    members: &[Member],
    mut work: impl FnMut(&Member) -> Result<R>,
) -> Result<Each<R>> {
    let began = Instant::now();
    let reports = members.iter().map(|m| Ok((m.clone(), work(m)?)));
    Ok(Each {
        path: path.to_owned(),
        reports: reports.collect::<Result<_>>()?,
        seconds: began.elapsed().as_secs_f64(),
    })
}

impl Each<StageReport> {
    /// Whether every slice of every run is done.
    pub fn complete(&self) -> bool {
        self.reports.iter().all(|(_, r)| r.complete())
    }

    /// The document for programs.
    pub fn document(&self, command: &str) -> Value {
        let runs = self.reports.iter().map(|(member, report)| {
            let mut document = summary::document(report, command);
            document["source"] = json!(member.source);
            document["path"] = json!(shown(&member.run));
            document
        });
        json!({
            "schema": SCHEMA,
            "command": command,
            "complete": self.complete(),
            "path": shown(&self.path),
            "seconds": self.seconds,
            "runs": runs.collect::<Vec<_>>(),
        })
    }

    /// A row for each run, what failed, and the throughput.
    pub fn text(&self, command: &str) -> String {
        let heading = ["input", "run", "result", "time", "CPU time", "files"];
        let mut table = Table::new(&heading, &[3, 4, 5]);
        let mut failures = String::new();
        for (member, report) in &self.reports {
            let bytes: u64 = report.slices.iter().map(|l| l.artefact_bytes).sum();
            table.row(vec![
                member.source.clone(),
                name(&member.run),
                result(report).to_owned(),
                numbers::seconds(report.seconds),
                numbers::seconds(cpu_seconds(report)),
                numbers::bytes(bytes),
            ]);
            failed(&mut failures, &member.source, report);
        }
        let cpu = self.reports.iter().map(|(_, r)| cpu_seconds(r)).sum();
        let rate = throughput(self.reports.len(), self.seconds, cpu);
        format!("{}{failures}{command}: {rate}\n", table.render())
    }
}

impl Each<VerificationReport> {
    /// Whether every claim is accepted.
    pub fn accepted(&self) -> bool {
        self.reports.iter().all(|(_, r)| r.accepted)
    }

    /// The document for programs.
    pub fn document(&self) -> Value {
        let runs = self.reports.iter().map(|(member, report)| {
            json!({"source": member.source, "path": shown(&member.run), "verification": report})
        });
        json!({
            "schema": SCHEMA,
            "command": "verify",
            "accepted": self.accepted(),
            "path": shown(&self.path),
            "seconds": self.seconds,
            "runs": runs.collect::<Vec<_>>(),
        })
    }

    /// The first claim that is not accepted in full, or else the first; a row for each; and the
    /// whole.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let refused = self.reports.iter().find(|(_, r)| !r.accepted);
        if let Some((member, report)) = refused.or(self.reports.first()) {
            let _ = writeln!(out, "{}:\n{}", field(&member.source), verdict::text(report));
        }
        let heading = ["input", "run", "verdict", "proven", "CPU time"];
        let mut table = Table::new(&heading, &[3, 4]);
        let mut cpu = 0.0;
        for (member, report) in &self.reports {
            let own: f64 = report.slices.iter().map(|s| s.usage.cpu_seconds).sum();
            cpu += own;
            table.row(vec![
                member.source.clone(),
                name(&member.run),
                verdict::verdict(report.accepted).to_owned(),
                report
                    .proven_by_macs
                    .map_or_else(String::new, numbers::percent),
                numbers::seconds(own),
            ]);
        }
        out += &table.render();
        let rate = throughput(self.reports.len(), self.seconds, cpu);
        let _ = writeln!(out, "verify: {rate}");
        let accepted = self.reports.iter().filter(|(_, r)| r.accepted).count();
        let verdict = verdict::verdict(self.accepted());
        let _ = writeln!(
            out,
            "verdict: {verdict}, {accepted} of {} claims",
            self.reports.len()
        );
        out
    }
}

/// Whether every run is complete and near enough to the float model.
pub fn faithful(ran: &BatchRan) -> bool {
    let good = |ran: &Ran| ran.report.complete() && summary::missed(ran).is_none();
    ran.runs.iter().all(|(_, ran)| good(ran))
}

/// What a batch of runs is as a document for programs.
pub fn ran_document(ran: &BatchRan) -> Value {
    let runs = ran.runs.iter().map(|(source, ran)| {
        json!({
            "source": source,
            "complete": ran.report.complete(),
            "path": shown(&ran.path),
            "slices": ran.report.slices,
            "results": ran.results,
        })
    });
    json!({
        "schema": SCHEMA,
        "command": "run",
        "complete": ran.runs.iter().all(|(_, r)| r.report.complete()),
        "path": shown(&ran.path),
        "seconds": ran.seconds,
        "runs": runs.collect::<Vec<_>>(),
    })
}

/// A row for each run, what failed, and the place.
pub fn ran_text(ran: &BatchRan) -> String {
    let heading = ["input", "run", "result", "time", "relative error"];
    let mut table = Table::new(&heading, &[3, 4]);
    let mut failures = String::new();
    for (source, one) in &ran.runs {
        let fidelity = one.results.fidelity.as_ref();
        let error = fidelity.and_then(|f| f.error.or(f.max_rel));
        let missed = summary::missed(one);
        table.row(vec![
            source.clone(),
            name(&one.path),
            match &missed {
                Some(_) => "too far off",
                None => result(&one.report),
            }
            .to_owned(),
            numbers::seconds(one.report.seconds),
            error.map_or_else(String::new, numbers::short),
        ]);
        failed(&mut failures, source, &one.report);
        if let Some(sentence) = missed {
            let _ = writeln!(
                failures,
                "failed: {}: {}\nhint: {}",
                field(source),
                field(&sentence),
                summary::MISSED_HINT
            );
        }
    }
    let cpu = ran.runs.iter().map(|(_, r)| cpu_seconds(&r.report)).sum();
    let rate = throughput(ran.runs.len(), ran.seconds, cpu);
    format!(
        "{}{failures}run: {rate}\nbatch at {}\n",
        table.render(),
        shown(&ran.path)
    )
}

/// Says that a flag is about one claim.
///
/// # Errors
/// When it was given.
pub fn refuse(flags: &[(&str, bool)], path: &Path) -> Result<()> {
    match flags.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((flag, _)) => Err(UserError::usage(
            format!(
                "{flag} is about one claim, and \"{}\" is a batch of them",
                shown(path)
            ),
            "give one run of the batch",
        )),
    }
}

/// Writes the outputs of a batch, a JSON document on each line.
///
/// # Errors
/// When the file's name promises something else, or the disk refuses.
pub fn write_outputs(file: &Path, ran: &BatchRan) -> Result<()> {
    let mut lines = Vec::new();
    for (_, one) in &ran.runs {
        dsperse_store::write_json_line(&mut lines, dsperse_store::Direction::Output, &one.outputs)?;
    }
    dsperse_store::atomic::write_file(file, &lines)?;
    Ok(())
}

/// Refuses, before the work, a file that outputs of a batch can't go to.
///
/// # Errors
/// When its name does not promise JSON lines.
pub fn check_outputs(file: &Path) -> Result<()> {
    let extension = file.extension().map(|e| e.to_ascii_lowercase());
    if extension.is_some_and(|e| e == "jsonl" || e == "ndjson") {
        return Ok(());
    }
    Err(UserError::usage(
        format!(
            "the outputs of several inputs would be JSON lines, not \"{}\"",
            shown(file)
        ),
        "give a name that ends in .jsonl",
    ))
}

fn name(run: &Path) -> String {
    run.file_name()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

fn result(report: &StageReport) -> &'static str {
    if report.complete() { "done" } else { "failed" }
}

/// CPU time of what was done now, and not found done.
fn cpu_seconds(report: &StageReport) -> f64 {
    let done = report.slices.iter().filter(|l| l.outcome == Outcome::Done);
    done.map(|l| l.usage.cpu_seconds).sum()
}

fn failed(out: &mut String, source: &str, report: &StageReport) {
    for line in report.failed() {
        let reason = line.error.as_deref().unwrap_or("no reason was given");
        let (source, reason) = (field(source), field(reason));
        let _ = writeln!(out, "failed: {source}, slice {}: {reason}", line.index);
        if let Some(hint) = &line.hint {
            let _ = writeln!(out, "hint: {}", field(hint));
        }
    }
}

/// `12 inputs in 3.4 s, 3.5 a second, 42 for each minute of CPU time`.
fn throughput(inputs: usize, seconds: f64, cpu: f64) -> String {
    let number = f64::from(u32::try_from(inputs).unwrap_or(u32::MAX));
    let mut out = format!("{inputs} inputs in {}", numbers::seconds(seconds));
    if seconds > 0.0 {
        let _ = write!(out, ", {:.1} a second", number / seconds);
    }
    if cpu > 0.0 {
        let minute = 60.0 * number / cpu;
        let _ = write!(out, ", {minute:.0} for each minute of CPU time");
    }
    out
}
