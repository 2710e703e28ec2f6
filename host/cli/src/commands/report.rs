//! `report`.

use super::paths;
use crate::app::App;
use crate::args::inspect::Report;
use crate::console::shown;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use crate::output::{self, SCHEMA};
use dsperse_report::Subject;
use dsperse_stages::opened;
use dsperse_store::{Access, RunDir, atomic};
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The usual name of a page of one.
const PAGE: &str = "report.html";
/// The usual name of a page of two, in the working directory.
const COMPARISON: &str = "comparison.html";

pub fn execute(app: &App, args: &Report) -> Result<Exit> {
    if args.paths.len() < 2 {
        return one(app, args);
    }
    let several = |flag: &str| {
        UserError::usage(
            format!("{flag} is for one run, and two are given"),
            "make the report of one of them",
        )
    };
    if args.trace.is_some() {
        return Err(several("--trace"));
    }
    if args.verification.is_some() {
        return Err(several("--verification"));
    }
    let (a, _) = subject(args, &args.paths[0])?;
    let (b, _) = subject(args, &args.paths[1])?;
    let html = dsperse_report::comparison(&a, &b)?;
    let file = args
        .output_file
        .clone()
        .unwrap_or_else(|| PathBuf::from(COMPARISON));
    write(&file, html.as_bytes())?;
    let mut tables = Vec::new();
    if let Some(dir) = &args.csv {
        for (name, subject) in [("A", &a), ("B", &b)] {
            tables.extend(write_tables(&dir.join(name), subject)?);
        }
    }
    say(app, &file, None, &tables);
    Ok(Exit::Done)
}

fn one(app: &App, args: &Report) -> Result<Exit> {
    let given = args.paths.first().cloned();
    let path = paths::run_or_slices(app, given)?;
    let (subject, usual) = subject(args, &path)?;
    let html = dsperse_report::page(&subject)?;
    let file = args.output_file.clone().unwrap_or(usual);
    write(&file, html.as_bytes())?;
    if let Some(trace) = &args.trace {
        output::file(trace, &dsperse_report::trace(&subject))?;
    }
    let tables = match &args.csv {
        Some(dir) => write_tables(dir, &subject)?,
        None => Vec::new(),
    };
    say(app, &file, args.trace.as_deref(), &tables);
    Ok(Exit::Done)
}

/// What a path is about, and where its page usually goes.
fn subject(args: &Report, path: &Path) -> Result<(Subject, PathBuf)> {
    let Some(run) = paths::newest_run(path)? else {
        if args.verification.is_some() {
            return Err(UserError::usage(
                format!(
                    "--verification is for a run, and there is none at \"{}\"",
                    path.display()
                ),
                "name the run's directory",
            ));
        }
        let store = opened::open(path, Access::Read)?;
        let usual = store.location().parent().join(PAGE);
        return Ok((Subject::of_slices(&store)?, usual));
    };
    let data = match &args.slices {
        Some(slices) => slices.clone(),
        None => dsperse_stages::run::slices_of(&run).map_err(|e| {
            e.with_hint("give the slices that the run was made with: --slices PATH")
        })?,
    };
    let store = opened::open(&data, Access::Read)?;
    let opened = RunDir::open(&run, Access::Read)?;
    let subject = Subject::of_run(&store, &opened, args.verification.as_deref())?;
    Ok((subject, run.join(PAGE)))
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    Ok(atomic::write_file(file, bytes)?)
}

fn write_tables(dir: &Path, subject: &Subject) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(dir).map_err(|e| dsperse_stages::Error::io("create", dir, &e))?;
    let mut files = Vec::new();
    for table in dsperse_report::tables(subject) {
        let file = dir.join(table.name);
        write(&file, table.csv.as_bytes())?;
        files.push(file);
    }
    Ok(files)
}

fn say(app: &App, page: &Path, trace: Option<&Path>, tables: &[PathBuf]) {
    let mut text = format!("report at {}", shown(page));
    if let Some(trace) = trace {
        let _ = write!(text, "\ntrace at {}", shown(trace));
    }
    for table in tables {
        let _ = write!(text, "\ntable at {}", shown(table));
    }
    let tables: Vec<String> = tables.iter().map(|t| shown(t)).collect();
    app.print(
        &text,
        &json!({
            "schema": SCHEMA,
            "command": "report",
            "path": shown(page),
            "trace": trace.map(shown),
            "tables": tables,
        }),
    );
}

impl From<dsperse_report::Error> for UserError {
    fn from(e: dsperse_report::Error) -> Self {
        let message = e.to_string();
        let (exit, hint) = match e {
            dsperse_report::Error::Store(e) => return dsperse_stages::Error::from(e).into(),
            dsperse_report::Error::OtherModel { .. } => (
                Exit::BadInput,
                Some("give the slices that the run was made with: --slices PATH"),
            ),
            dsperse_report::Error::OtherRun { .. } => (
                Exit::BadInput,
                Some("give what \"dsperse verify --output-file FILE\" wrote for this run"),
            ),
            _ => (Exit::Failed, None),
        };
        Self {
            exit,
            message,
            hint: hint.map(str::to_owned),
        }
    }
}
