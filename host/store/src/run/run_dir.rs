//! A run on disk: `run/run_<time>/` with its results, tensors, witnesses and proofs.
//!
//! `run_results.json` is what counts: a stage happened when it says so. The files of a
//! stage and the results that name them are put in place by one transaction, after the
//! stage's tensors.

use crate::files::atomic::{
    clean_leftovers, clean_prefixed, document_bytes, parent_of, read_document, remove, scratch_in,
    staged_dir, sync_dir, write_document,
};
use crate::files::digest::{compare, file_digest};
use crate::files::error::{BundleError, IoContext, Result};
use crate::files::lock::{Access, Lock, canonical, is_alive};
use crate::files::mutex::lock;
use crate::files::paths;
use crate::files::transaction::{self, Transaction};
use crate::run::output::{Direction, TensorText, write_texts};
use crate::run::tensors::{NewTensor, TensorStore};
use dsperse_documents::{Claim, RunResults};
use dsperse_plugin_api::{Artefact, ArtefactRef, TensorInfo};
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const RESULTS: &str = "run_results.json";

/// Most bytes of JSON text that are kept for the next slice's view.
const KEPT_TEXTS: usize = 64 << 20;

/// Runs that are being made; the process id follows.
const NEW_PREFIX: &str = ".run.new-";

/// One run.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    access: Access,
    results: Mutex<RunResults>,
    tensors: TensorStore,
    /// JSON texts of the newest tensors with the digests of their bytes, oldest first: what
    /// one slice gives, the next one takes.
    texts: Mutex<VecDeque<(TensorInfo, String, Arc<TensorText>)>>,
    _lock: Lock,
}

/// What a stage of one slice left behind.
#[derive(Debug)]
pub struct StageFiles<'a> {
    /// Slice index.
    pub slice: usize,
    /// The backend.
    pub backend: &'a str,
    /// `witness` or `proof`: the name of the directory.
    pub stage: &'a str,
    /// The job's directory.
    pub job_dir: &'a Path,
    /// The declared files in it.
    pub artefacts: &'a [Artefact],
    /// Tensors that the stage computed.
    pub tensors: Vec<NewTensor>,
}

impl RunDir {
    /// Makes a new run `run_<stamp>` below `runs` (with a suffix when that name is taken)
    /// and opens it.
    ///
    /// # Errors
    /// When the place can't be written to.
    pub fn create(runs: &Path, stamp: &str, results: &RunResults) -> Result<Self> {
        fs::create_dir_all(runs).at("create", runs)?;
        // Made under another name, so that there is never a run without results.
        clean_dead(runs);
        let prefix = format!("{NEW_PREFIX}{}-", std::process::id());
        let staged = staged_dir(runs, &prefix)?;
        write_document(&staged.path().join(RESULTS), results)?;
        for attempt in 1..10_000 {
            let name = match attempt {
                1 => format!("run_{stamp}"),
                n => format!("run_{stamp}_{n}"),
            };
            let path = runs.join(name);
            if path.exists() {
                continue;
            }
            match fs::rename(staged.path(), &path) {
                Ok(()) => {
                    let _ = staged.keep();
                    sync_dir(runs)?;
                    return Self::open(&path, Access::Edit);
                }
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty
                    ) => {}
                Err(e) => return Err(BundleError::io("create", &path, e)),
            }
        }
        Err(BundleError::Request(format!(
            "\"{}\" has too many runs of the same second",
            runs.display()
        )))
    }

    /// Opens a run.
    ///
    /// # Errors
    /// When it isn't one, another command uses it, or it is damaged.
    pub fn open(path: &Path, access: Access) -> Result<Self> {
        let path = canonical(path)?;
        if access == Access::Read && transaction::promised(&path, "") {
            Lock::with(&path, || transaction::recover(&path, ""))?;
        }
        let lock = Lock::acquire(&path, access)?;
        if access == Access::Edit {
            transaction::recover(&path, "")?;
            clean_leftovers(&path);
            clean_prefixed(&parent_of(&path), &scratch_prefix(&path));
        }
        let file = path.join(RESULTS);
        if !file.is_file() {
            return Err(BundleError::Missing {
                what: "the record of the run".into(),
                path: file,
            });
        }
        let results: RunResults = read_document(&file)?;
        let tensors = TensorStore::open(&path.join("tensors"))?;
        if access == Access::Edit {
            tensors.clean();
            for slice in &results.slices {
                clean_leftovers(&slice_dir(&path, slice.index));
            }
        }
        Ok(Self {
            path,
            access,
            results: Mutex::new(results),
            tensors,
            texts: Mutex::default(),
            _lock: lock,
        })
    }

    /// The run's directory, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is recorded now.
    #[must_use]
    pub fn results(&self) -> RunResults {
        lock(&self.results).clone()
    }

    /// The run's tensors.
    #[must_use]
    pub fn tensors(&self) -> &TensorStore {
        &self.tensors
    }

    /// Changes the record.
    ///
    /// # Errors
    /// When it can't be written; the old one stays.
    pub fn update(&self, f: impl FnOnce(&mut RunResults)) -> Result<()> {
        self.access.check_editable(&self.path)?;
        let mut results = lock(&self.results);
        let mut next = results.clone();
        f(&mut next);
        write_document(&self.path.join(RESULTS), &next)?;
        *results = next;
        Ok(())
    }

    /// Puts the files of a stage in place (`slice_<i>/<backend>/<stage>/…`), its tensors
    /// into the store, and records it: all of it or nothing. `record` gets the files with
    /// their paths relative to the run, sizes and digests.
    ///
    /// # Errors
    /// When a declared file is missing or the disk is full.
    pub fn install_stage(
        &self,
        files: StageFiles<'_>,
        record: impl FnOnce(&mut RunResults, &[Artefact]),
    ) -> Result<Vec<Artefact>> {
        self.access.check_editable(&self.path)?;
        let mut results = lock(&self.results);
        // Tensors first: until the record says so, nobody takes the stage for done.
        self.tensors.put(files.tensors)?;
        let to = format!("slice_{}/{}/{}", files.slice, files.backend, files.stage);
        let mut next = results.clone();
        if files.artefacts.is_empty() && self.path.join(&to).symlink_metadata().is_err() {
            // Only the record changes, and one file needs no journal.
            transaction::recover(&self.path, "")?;
            record(&mut next, &[]);
            write_document(&self.path.join(RESULTS), &next)?;
            *results = next;
            return Ok(Vec::new());
        }
        let mut txn = Transaction::begin(&self.path, "")?;
        let artefacts = txn.put_artefacts(&to, files.job_dir, files.artefacts)?;
        record(&mut next, &artefacts);
        let bytes = document_bytes(&self.path.join(RESULTS), &next)?;
        txn.put_bytes(RESULTS, &bytes)?;
        txn.commit()?;
        *results = next;
        Ok(artefacts)
    }

    /// A file of a stage, its size and digest checked.
    ///
    /// # Errors
    /// When it is missing, leads outside, or was changed.
    pub fn artefact(&self, a: &Artefact) -> Result<ArtefactRef> {
        let what = format!("file \"{}\" of the run", a.name);
        let path = paths::regular_file(&self.path, &a.path, &self.path.join(RESULTS), &what)?;
        compare(&what, &path, (a.size, &a.sha256), &file_digest(&path)?)?;
        Ok(ArtefactRef {
            name: a.name.clone(),
            role: a.role,
            path: path.to_string_lossy().into_owned(),
            sha256: a.sha256.clone(),
        })
    }

    /// Writes `slice_<i>/input.json` and `output.json` from the tensor store, each when its
    /// tensors have at most `most` elements together. They are for people and say nothing
    /// that the store does not, so nobody waits for the disk here.
    ///
    /// # Errors
    /// When a tensor is missing or damaged, or the files can't be written.
    pub fn write_views(&self, slice: usize, claim: &Claim, most: u64) -> Result<()> {
        self.access.check_editable(&self.path)?;
        let dir = slice_dir(&self.path, slice);
        fs::create_dir_all(&dir).at("create", &dir)?;
        let view = |name: &str, direction, tensors: &[String]| {
            let mut elements = 0u64;
            for t in tensors {
                let len = self.tensors.record(t)?.info().len();
                elements = elements.saturating_add(len.unwrap_or(u64::MAX));
            }
            if elements > most {
                return Ok(None);
            }
            let texts = tensors
                .iter()
                .map(|t| self.text(t))
                .collect::<Result<Vec<_>>>()?;
            write_texts(&dir.join(name), direction, texts.iter().map(AsRef::as_ref)).map(Some)
        };
        let views = [
            view("input.json", Direction::Input, &claim.inputs)?,
            view("output.json", Direction::Output, &claim.outputs)?,
        ];
        for view in views.into_iter().flatten() {
            view.put_in_place_unsynced()?;
        }
        Ok(())
    }

    fn text(&self, tensor: &str) -> Result<Arc<TensorText>> {
        let record = self.tensors.record(tensor)?;
        let (info, sha256) = (record.info(), record.sha256);
        let kept = lock(&self.texts);
        if let Some((_, _, text)) = kept.iter().find(|(i, s, _)| *s == sha256 && *i == info) {
            return Ok(Arc::clone(text));
        }
        drop(kept);
        let text = Arc::new(TensorText::new(&self.tensors.read(tensor)?)?);
        let mut texts = lock(&self.texts);
        texts.push_back((info, sha256, Arc::clone(&text)));
        while texts.iter().map(|(_, _, t)| t.size()).sum::<usize>() > KEPT_TEXTS {
            texts.pop_front();
        }
        Ok(text)
    }

    /// A directory for jobs on the same file system as the run.
    ///
    /// # Errors
    /// When the run's directory can't be written to.
    pub fn scratch(&self) -> Result<tempfile::TempDir> {
        scratch_in(&parent_of(&self.path), &scratch_prefix(&self.path))
    }
}

/// Where the files of one slice are.
fn slice_dir(run: &Path, slice: usize) -> PathBuf {
    run.join(format!("slice_{slice}"))
}

fn scratch_prefix(run: &Path) -> String {
    let name = run.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.job-")
}

/// Removes runs that a process which has ended began to make.
fn clean_dead(runs: &Path) {
    let Ok(entries) = fs::read_dir(runs) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix(NEW_PREFIX)
            .and_then(|rest| rest.split('-').next())
            .and_then(|pid| pid.parse().ok());
        if pid.is_some_and(|pid| !is_alive(pid)) {
            let _ = remove(&entry.path());
        }
    }
}

/// Runs that a path means, newest first: the path itself when it is a run, else the runs
/// in it, else those in its `run` directory.
///
/// # Errors
/// When a directory can't be read.
pub fn find_runs(path: &Path) -> Result<Vec<PathBuf>> {
    if path.join(RESULTS).is_file() || transaction::promised(path, "") {
        return Ok(vec![path.to_owned()]);
    }
    for dir in [path.to_owned(), path.join("run")] {
        if !dir.is_dir() {
            continue;
        }
        let mut runs = Vec::new();
        for entry in fs::read_dir(&dir).at("read", &dir)? {
            let entry = entry.at("read", &dir)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(stamp) = name.strip_prefix("run_")
                && entry.path().join(RESULTS).is_file()
            {
                // `…_2` and `…_10` of the same second come in that order.
                let mut parts: Vec<(usize, String)> =
                    stamp.split('_').map(|p| (p.len(), p.to_owned())).collect();
                parts.resize(3, (0, String::new()));
                runs.push((parts, entry.path()));
            }
        }
        runs.sort();
        if !runs.is_empty() {
            return Ok(runs.into_iter().rev().map(|(_, p)| p).collect());
        }
    }
    Ok(Vec::new())
}
