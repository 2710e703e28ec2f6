//! Several inputs for the same slices: a batch is a directory of runs, one for each input, with
//! a list of where the inputs come from. Slices are compiled once, and every run is a claim of
//! its own, which is proven and judged like any other.

use crate::error::{Error, Result};
use crate::run::{self, Ran, RunOptions};
use crate::session::Session;
use dsperse_documents::Batch;
use dsperse_store::{Access, RunDir, Sample, SliceStore, atomic, find_runs};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A run of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where the input comes from.
    pub source: String,
    /// The run's directory.
    pub run: PathBuf,
}

/// What `run` made of several inputs.
#[derive(Debug, Clone)]
pub struct BatchRan {
    /// The directory of the batch.
    pub path: PathBuf,
    /// Where each input comes from, and its run.
    pub runs: Vec<(String, Ran)>,
    /// Wall-clock time of all.
    pub seconds: f64,
}

impl BatchRan {
    /// Its runs, for what comes after.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let member = |(source, ran): &(String, Ran)| Member {
            source: source.clone(),
            run: ran.path.clone(),
        };
        self.runs.iter().map(member).collect()
    }
}

/// The runs of a batch, in the order of its inputs.
///
/// # Errors
/// When the list of inputs can't be read.
pub fn members(dir: &Path) -> Result<Vec<Member>> {
    let batch: Batch = atomic::read_document(&dir.join(Batch::FILE))?;
    let member = |(at, source)| Member {
        source,
        run: dir.join(format!("run_{}", Batch::stamp(at))),
    };
    Ok(batch.sources.into_iter().enumerate().map(member).collect())
}

/// Runs the slices on each input, one after the other. A batch that was interrupted is
/// continued by the next with the same slices, inputs and backends.
///
/// # Errors
/// As [`run::run`].
pub fn run(
    session: &Session<'_>,
    store: &SliceStore,
    options: &RunOptions,
    samples: &[Sample],
) -> Result<BatchRan> {
    let began = Instant::now();
    let path = open(session, store, options, samples)?;
    let mut runs = Vec::new();
    for (at, sample) in samples.iter().enumerate() {
        let options = RunOptions {
            runs: path.clone(),
            name: Some(Batch::stamp(at)),
            ..options.clone()
        };
        let ran = run::run(session, store, &options, &sample.tensors)?;
        session.check_cancelled()?;
        runs.push((sample.source.clone(), ran));
    }
    Ok(BatchRan {
        path,
        runs,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// The directory of the newest batch, when it is the same and was interrupted, or a new one.
fn open(
    session: &Session<'_>,
    store: &SliceStore,
    options: &RunOptions,
    samples: &[Sample],
) -> Result<PathBuf> {
    let key = run::batch_key(session, store, options, samples)?;
    if let Some(dir) = newest(&options.runs)? {
        let same =
            atomic::read_document::<Batch>(&dir.join(Batch::FILE)).is_ok_and(|b| b.key == key);
        if same && !complete(&dir)? {
            return Ok(dir);
        }
    }
    let stamp = run::stamp(&jiff::Zoned::now());
    let batch = Batch {
        key,
        sources: samples.iter().map(|s| s.source.clone()).collect(),
        ..Batch::default()
    };
    std::fs::create_dir_all(&options.runs).map_err(|e| Error::io("create", &options.runs, &e))?;
    let mut dir = options.runs.join(format!("{PREFIX}{stamp}"));
    for attempt in 2..10_000 {
        match std::fs::create_dir(&dir) {
            Ok(()) => {
                atomic::write_document(&dir.join(Batch::FILE), &batch)?;
                return Ok(dir);
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                dir = options.runs.join(format!("{PREFIX}{stamp}_{attempt}"));
            }
            Err(e) => return Err(Error::io("create", &dir, &e)),
        }
    }
    Err(Error::failed(format!(
        "no name is free for a batch in \"{}\"",
        options.runs.display()
    )))
}

/// How the directories of batches begin.
const PREFIX: &str = "batch_";

/// The batch that a path means: its directory, or the newest in a directory of runs, or of a
/// model, that holds no single run.
///
/// # Errors
/// When a directory can't be read.
pub fn find(path: &Path) -> Result<Option<PathBuf>> {
    if path.join(Batch::FILE).is_file() {
        return Ok(Some(path.to_owned()));
    }
    if !find_runs(path)?.is_empty() {
        return Ok(None);
    }
    Ok(match newest(path)? {
        None => newest(&path.join("run"))?,
        found => found,
    })
}

/// The newest batch in a directory of runs.
fn newest(runs: &Path) -> Result<Option<PathBuf>> {
    if !runs.is_dir() {
        return Ok(None);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(runs).map_err(|e| Error::io("read", runs, &e))? {
        let entry = entry.map_err(|e| Error::io("read", runs, &e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(stamp) = name.strip_prefix(PREFIX)
            && entry.path().join(Batch::FILE).is_file()
        {
            // `…_2` and `…_10` of the same second come in that order.
            let second: String = stamp.chars().take("20260131_120000".len()).collect();
            found.push((second, name.len(), entry.path()));
        }
    }
    Ok(found.into_iter().max().map(|(_, _, path)| path))
}

/// Whether every input of a batch has its output.
fn complete(dir: &Path) -> Result<bool> {
    let members = members(dir)?;
    Ok(members.iter().all(|m| {
        let opened = RunDir::open(&m.run, Access::Read);
        opened.is_ok_and(|run| run.results().output_sha256.is_some())
    }))
}
