//! `prove`: proofs for the slices of a run.
//!
//! A slice is proven by the backend that ran it: its witness and its tensors are of that
//! backend's quantisation. Slices that an executor ran have nothing to prove; `verify`
//! computes them again.

use crate::backend::Loaded;
use crate::chain::attach;
use crate::driver::{Driver, intact, record, success};
use crate::error::{Error, Result};
use crate::job::{Files, Job, Work};
use crate::memory::expected;
use crate::opened;
use crate::report::{Outcome, SliceLine, StageReport};
use crate::run::{held, untouched};
use crate::schedule::Task;
use crate::session::Session;
use dsperse_documents::{BackendError, SliceMetadata, SliceRun, StageOutcome};
use dsperse_plugin_api::Stage as BackendStage;
use dsperse_store::{RunDir, SliceStore, StageFiles};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Once;

/// What to prove.
#[derive(Debug, Clone, Default)]
pub struct ProveOptions {
    /// Slices; `None` is all.
    pub layers: Option<String>,
    /// Prove again what is up to date.
    pub force: bool,
    /// Also copy the proofs here, as `slice_<i>/<backend>/…`.
    pub proof_output: Option<PathBuf>,
}

/// Proves a run.
///
/// # Errors
/// Before any work: a run of other slices, a wrong layer list. A slice that failed is no
/// error of this function: see [`StageReport::failed`].
pub fn prove(
    session: &Session<'_>,
    store: &SliceStore,
    run: &RunDir,
    options: &ProveOptions,
) -> Result<StageReport> {
    let results = run.results();
    belongs(store, &results.model_identity)?;
    let selected: BTreeSet<usize> = opened::select(store, options.layers.as_deref())?
        .into_iter()
        .collect();
    warn_of_left_out(session, &results.slices, &selected);
    let work: Vec<SliceRun> = results
        .slices
        .into_iter()
        .filter(|s| selected.contains(&s.index))
        .collect();
    let stage = Stage {
        driver: Driver::new(session, store, "prove", work.len(), run.scratch()?),
        run,
        options,
        other_library: Once::new(),
    };
    stage.driver.begin();
    let tasks: Vec<Task> = work
        .iter()
        .map(|s| Task {
            after: Vec::new(),
            memory: stage.estimate(s),
        })
        .collect();
    let indices: Vec<usize> = work.iter().map(|s| s.index).collect();
    let turn = |at: usize, line: &mut SliceLine| stage.prove(&work[at], line);
    let mut lines = stage.driver.turns(&indices, &tasks, turn);
    for (line, s) in lines.iter_mut().zip(&work) {
        line.backend.clone_from(&s.backend);
    }
    untouched(run)?;
    run.update(dsperse_documents::RunResults::update_totals)?;
    if let Some(to) = &options.proof_output {
        copy_proofs(run, to)?;
    }
    Ok(stage.driver.report(lines))
}

/// Whether the slices are those that the run was made with.
pub(crate) fn belongs(store: &SliceStore, run_identity: &str) -> Result<()> {
    let here = match store.model() {
        Some(model) => model.identity.clone(),
        None => match store.indices().first() {
            Some(i) => store.slice(*i)?.model_identity,
            None => return Ok(()),
        },
    };
    if here == run_identity {
        return Ok(());
    }
    Err(Error::bad_input(format!(
        "the run is of another sliced model: its identity is {run_identity}, that of \"{}\" is {here}",
        store.location().path.display()
    ))
    .with_hint("give the slices that the run was made with, or run these slices first"))
}

/// What a circuit computed and nobody proves can't be checked by computing it again: a
/// circuit's values are not the executor's.
fn warn_of_left_out(session: &Session<'_>, slices: &[SliceRun], selected: &BTreeSet<usize>) {
    let proves = |name: &str| {
        session
            .loaded(name)
            .is_some_and(|b| b.can(BackendStage::Prove))
    };
    let left_out: Vec<String> = slices
        .iter()
        .filter(|s| !selected.contains(&s.index))
        .filter(|s| s.proof_execution.as_ref().is_none_or(|p| !p.success))
        .filter(|s| s.backend.as_deref().is_some_and(proves))
        .map(|s| s.index.to_string())
        .collect();
    if left_out.is_empty() {
        return;
    }
    session.warn(
        format!(
            "left out, so \"verify\" will find it unchecked: slice {}, which a circuit computed",
            left_out.join(", ")
        ),
        Some("run again with the same -l: then the slices that are left out are computed plainly, and \"verify\" can do that too".to_owned()),
    );
}

struct Stage<'a> {
    driver: Driver<'a>,
    run: &'a RunDir,
    options: &'a ProveOptions,
    /// Every slice would tell the same of a library that was replaced.
    other_library: Once,
}

impl Stage<'_> {
    fn estimate(&self, s: &SliceRun) -> u64 {
        let Ok(slice) = self.driver.store.slice(s.index) else {
            return 0;
        };
        let name = s.backend.as_deref().unwrap_or_default();
        let compiled = slice.compilations.get(name);
        compiled.map_or(0, |c| expected(c, BackendStage::Prove))
    }

    fn prove(&self, s: &SliceRun, line: &mut SliceLine) -> Result<()> {
        let Some(name) = s.backend.as_deref() else {
            return Err(Error::failed(format!("slice {} did not run", s.index))
                .with_hint("run it first: \"dsperse run\""));
        };
        let backend = self.driver.session.loaded(name).ok_or_else(|| {
            Error::backend(format!(
                "slice {} was run with backend \"{name}\", which is not loaded",
                s.index
            ))
            .with_hint("see \"dsperse plugin list\" for what was skipped and why")
        })?;
        if !backend.can(BackendStage::Prove) {
            line.outcome = Outcome::Nothing;
            return Ok(());
        }
        let slice = self.driver.store.slice(s.index)?;
        self.check_build(&slice, &backend)?;
        let (job, files) = self.job(&slice, s, &backend)?;
        let key = job.key();
        if !self.options.force && self.up_to_date(s, &key, line) {
            self.driver.up_to_date(s.index, name);
            return Ok(());
        }
        if let Some(c) = slice.compilations.get(name)
            && let Err(e) = self.driver.session.fits_proof(&c.facts)
        {
            return self.failed(s, name, e, dsperse_documents::Usage::default());
        }
        let attempt = self.driver.attempt(&job, &files, self.estimate(s))?;
        let usage = attempt.usage;
        line.usage = usage;
        match attempt.done() {
            Ok((done, dir)) => {
                let installed = self.run.install_stage(
                    StageFiles {
                        slice: s.index,
                        backend: name,
                        stage: "proof",
                        job_dir: dir.path(),
                        artefacts: &done.artefacts,
                        tensors: Vec::new(),
                    },
                    |results, files| {
                        record(results, s.index, |r| {
                            r.verification_execution = None;
                            r.proof_execution = Some(success(usage, files, key, &done));
                        });
                    },
                )?;
                line.fill(Outcome::Done, usage, &installed);
                line.warnings = done.warnings;
                self.driver.finished(s.index, name, usage, "done");
                Ok(())
            }
            Err(e) => self.failed(s, name, e, usage),
        }
    }

    /// A proof under a circuit of another version would be refused by `verify`, after all the
    /// work. Another library of the same version may do, and is told once.
    fn check_build(&self, slice: &SliceMetadata, backend: &Loaded<'_>) -> Result<()> {
        let (index, name) = (slice.index, backend.name());
        let Some(c) = slice.compilations.get(name) else {
            return Ok(());
        };
        if let Some(how) = opened::other_version(slice, backend) {
            return Err(Error::backend(format!("slice {index} was {how}")).with_hint(
                "type \"dsperse compile\" and \"dsperse run\" again, or install that version of the backend",
            ));
        }
        if !backend.would_compile_as(&c.backend_version, &c.plugin_sha256) {
            self.other_library.call_once(|| {
                self.driver.session.warn(
                    format!(
                        "slice {index} was compiled by another library of backend \"{name}\" {}: its SHA-256 was {}, that of the loaded one is {}",
                        c.backend_version, c.plugin_sha256, backend.digest
                    ),
                    Some("if you did not replace it yourself, see \"dsperse plugin list\" for where it is loaded from".to_owned()),
                );
            });
        }
        Ok(())
    }

    /// Keeps the failure in the record, unless a proof is there: what was proven stays proven,
    /// whatever came of another try.
    fn failed(
        &self,
        s: &SliceRun,
        name: &str,
        e: BackendError,
        usage: dsperse_documents::Usage,
    ) -> Result<()> {
        let mut error = crate::chain::backend_error(&e, s.index, name);
        if self.has_proof(s) {
            error.message += "; the earlier proof is kept";
            return Err(error);
        }
        self.run.update(|results| {
            record(results, s.index, |r| {
                r.proof_execution = Some(StageOutcome {
                    success: false,
                    usage,
                    error: Some(e),
                    ..StageOutcome::default()
                });
            });
        })?;
        Err(error)
    }

    fn job(
        &self,
        slice: &SliceMetadata,
        s: &SliceRun,
        backend: &Loaded<'_>,
    ) -> Result<(Job, Files)> {
        let mut files = Files::default();
        let circuit = opened::circuit(self.driver.store, slice, backend.name(), &mut files)?;
        let mut witness = Vec::new();
        for a in s.witness_execution.iter().flat_map(|w| &w.files) {
            witness.push(files.attach(self.run.artefact(a)?));
        }
        let work = Work::Prove {
            circuit,
            witness,
            inputs: attach(&held(self.run, &s.claim.inputs)?, &mut files),
            outputs: attach(&held(self.run, &s.claim.outputs)?, &mut files),
        };
        opened::job(self.driver.store, slice, backend, work, files)
    }

    /// Whether there is a proof with all its files.
    fn has_proof(&self, s: &SliceRun) -> bool {
        let proof = s.proof_execution.as_ref();
        proof.is_some_and(|p| intact(self.run, p))
    }

    fn up_to_date(&self, s: &SliceRun, key: &str, line: &mut SliceLine) -> bool {
        let Some(p) = &s.proof_execution else {
            return false;
        };
        let same = p.key.as_deref() == Some(key) && intact(self.run, p);
        if same {
            line.fill(Outcome::UpToDate, p.usage, &p.files);
        }
        same
    }
}

fn copy_proofs(run: &RunDir, to: &Path) -> Result<()> {
    for s in run.results().slices {
        for a in s.proof_execution.iter().flat_map(|p| &p.files) {
            let from = run.artefact(a)?;
            let target = to.join(&a.path);
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, &e))?;
            }
            std::fs::copy(&from.path, &target).map_err(|e| Error::io("write", &target, &e))?;
        }
    }
    Ok(())
}
