//! `compile`: slices to circuits, each through its chain of backends.
//!
//! For every slice: the chain from the spec, static capabilities and policy (router),
//! then `supports`, then the compilation itself; the first backend that gets through wins.
//! What turned the others down is kept in the slice's metadata. A compilation whose
//! payload, options, calibration and backend are the same as before is not repeated, and
//! a backend that turned a slice down is not asked again with the same job. A compilation
//! that is too far from the float slice on the calibration samples counts as turned down
//! (`gate`), and so do those that lead the whole chain too far (`budget`).

mod attempt;
mod budget;
pub(crate) mod calibration;
mod gate;

pub use calibration::Calibration;

use crate::driver::{Driver, reasons};
use crate::error::{Error, Result};
use crate::opened;
use crate::report::{Outcome, SliceLine, StageReport};
use crate::schedule::{self, Task, lock};
use crate::session::Session;
pub(crate) use attempt::falls_through;
use attempt::{Decision, Work};
pub use calibration::read_all;
pub(crate) use calibration::read_tensors;
pub(crate) use calibration::{compilation, float_chains, samples_digest};
use dsperse_documents::setting::{BACKEND, REQUIRE, STRICT};
use dsperse_documents::{Fallback, ReceiptFile, SliceMetadata, keys_digest};
use dsperse_plugin_api::Role;
use dsperse_router::policy::verdict_counts_as_proof;
use dsperse_router::{Policy, Routes};
use dsperse_store::SliceStore;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What to compile and how.
#[derive(Debug, Clone, Default)]
pub struct CompileOptions {
    /// Backend spec; `None` is the default chain.
    pub backend: Option<String>,
    /// No silent fallback to execution.
    pub strict: bool,
    /// Demands on proofs.
    pub policy: Policy,
    /// Slices; `None` is all.
    pub layers: Option<String>,
    /// Calibration input.
    pub calibration: Calibration,
    /// Compile again what is up to date.
    pub force: bool,
}

/// Compiles slices. What is finished stays when a slice fails or the user interrupts; the
/// caller commits the store in any case.
///
/// # Errors
/// Before any work: a wrong spec, wrong layers, a wrong calibration input. A slice that
/// failed is no error of this function: see [`StageReport::failed`].
pub fn compile(
    session: &Session<'_>,
    store: &SliceStore,
    options: &CompileOptions,
) -> Result<StageReport> {
    // A wrong file would fail every slice in turn.
    let given = match (&options.calibration, store.model()) {
        (Calibration::Given(paths), Some(model)) => Some(calibration::read_tensors(paths, model)?),
        _ => None,
    };
    let routes = opened::routes(
        session,
        options.backend.as_deref(),
        options.strict,
        opened::count(store),
    )?;
    let selected = opened::select(store, options.layers.as_deref())?;
    opened::check_payloads(store, &selected)?;
    let driver = Driver::new(session, store, "compile", selected.len(), store.scratch()?);
    driver.begin();
    let samples = calibration::Lazy {
        driver: &driver,
        calibration: &options.calibration,
        given,
        routes: &routes,
        selected: &selected,
        cell: std::sync::OnceLock::new(),
    };
    let stage = Stage {
        driver: &driver,
        options,
        routes: &routes,
        samples: &samples,
        targets: Mutex::default(),
    };
    let mut lines = stage.run(&selected);
    let fidelity = stage.keep_to_target(&mut lines)?;
    Ok(StageReport {
        fidelity,
        keys_sha256: keys(session, store)?,
        ..driver.report(lines)
    })
}

/// Digest of the verifying artefacts of all slices whose settled backend makes proofs that
/// count: the same that `verify` finds when it proves exactly these. `None` until every
/// slice is compiled, because then it is not yet the model's.
fn keys(session: &Session<'_>, store: &SliceStore) -> Result<Option<String>> {
    // A bundle of one slice has only part of the keys.
    if store.model().is_none() {
        return Ok(None);
    }
    let slices: Vec<SliceMetadata> = store
        .indices()
        .into_iter()
        .map(|index| store.slice(index))
        .collect::<Result<_, _>>()?;
    if slices.iter().any(|s| s.backend.is_none()) {
        return Ok(None);
    }
    Ok(keys_digest(slices.iter().filter_map(|slice| {
        let name = slice.backend.as_deref()?;
        let capabilities = &session.loaded(name)?.descriptor.capabilities;
        let artefacts = &slice.compilations.get(name)?.artefacts;
        let files = artefacts
            .iter()
            .filter(|a| a.role == Role::Verifying)
            .map(|a| ReceiptFile {
                name: a.name.clone(),
                sha256: a.sha256.clone(),
            })
            .collect();
        verdict_counts_as_proof(capabilities).then_some((slice.index, name, files))
    })))
}

pub(crate) struct Stage<'a> {
    pub driver: &'a Driver<'a>,
    pub options: &'a CompileOptions,
    pub routes: &'a Routes,
    pub samples: &'a calibration::Lazy<'a>,
    /// Slices that have to come closer to the float slice than the whole model.
    pub targets: Mutex<BTreeMap<usize, f64>>,
}

impl Stage<'_> {
    fn run(&self, selected: &[usize]) -> Vec<SliceLine> {
        let session = self.driver.session;
        let free = vec![Task::default(); selected.len()];
        // First ask, which is quick and gives an estimate of memory; then compile.
        let decide = |at: usize| self.decide(selected[at]);
        let decided = schedule::run_all(&free, session.bounds(), &session.cancel, decide);
        let task = |decided: &Option<Result<Work>>| Task {
            after: Vec::new(),
            memory: match decided {
                Some(Ok(work)) => work.memory(),
                _ => 0,
            },
        };
        let tasks: Vec<Task> = decided.iter().map(task).collect();
        let decided: Vec<_> = decided.into_iter().map(Mutex::new).collect();
        // Compiles with the decided backend, and with the next ones when it falls through.
        self.driver.turns(selected, &tasks, |at, line| {
            match lock(&decided[at]).take() {
                Some(work) => self.carry_out(line.index, work?, line),
                None => Ok(()),
            }
        })
    }

    fn carry_out(&self, index: usize, mut work: Work, line: &mut SliceLine) -> Result<()> {
        loop {
            self.in_chain_order(index, &mut work.fallbacks);
            match work.decision {
                Decision::UpToDate(ref backend) => {
                    let backend = backend.clone();
                    let before = self.before(index, &backend, &work.fallbacks);
                    let slice = self.settle(index, &backend, &before)?;
                    self.driver.up_to_date(index, &backend);
                    self.fill(line, &slice, &backend, &before, Outcome::UpToDate);
                    return Ok(());
                }
                Decision::Compile { position, memory } => {
                    let name = work.candidates[position].clone();
                    let before = self.before(index, &name, &work.fallbacks);
                    match self.compile_with(index, &name, &before, memory)? {
                        Ok(slice) => {
                            self.fill(line, &slice, &name, &before, Outcome::Done);
                            return Ok(());
                        }
                        Err(fallback) => {
                            self.driver.fell_through(index, &fallback);
                            work.fallbacks.push(fallback);
                            work = self.ask_from(index, work, position + 1)?;
                        }
                    }
                }
                Decision::Nobody => {
                    line.fallbacks.clone_from(&work.fallbacks);
                    self.driver.store.update_slice(index, |m| {
                        m.backend = None;
                        m.fallbacks.clone_from(&work.fallbacks);
                    })?;
                    return Err(nobody(index, &work.fallbacks));
                }
            }
        }
    }

    /// Refusals are found in several steps; people read them in the order of the chain.
    fn in_chain_order(&self, index: usize, fallbacks: &mut [Fallback]) {
        if let Some(chain) = self.routes.chain(index) {
            fallbacks.sort_by_key(|f| chain.backends.iter().position(|b| *b == f.backend));
        }
    }

    /// What stands before the chosen backend: nothing fell through to what comes after it.
    fn before(&self, index: usize, chosen: &str, fallbacks: &[Fallback]) -> Vec<Fallback> {
        let position = |name: &str| {
            let chain = self.routes.chain(index)?;
            chain.backends.iter().position(|b| b == name)
        };
        let end = position(chosen);
        let mut before = fallbacks.to_vec();
        before.retain(|f| position(&f.backend) < end);
        before
    }

    fn fill(
        &self,
        line: &mut SliceLine,
        slice: &SliceMetadata,
        backend: &str,
        fallbacks: &[Fallback],
        outcome: Outcome,
    ) {
        line.backend = Some(backend.to_owned());
        line.fallbacks = fallbacks.to_vec();
        if let Some(c) = slice.compilations.get(backend) {
            line.fill(outcome, c.usage, &c.artefacts);
            line.warnings.clone_from(&c.warnings);
        }
    }

    /// Notes the chosen backend when the metadata does not say so yet.
    fn settle(&self, index: usize, backend: &str, fallbacks: &[Fallback]) -> Result<SliceMetadata> {
        let slice = self.driver.store.slice(index)?;
        if slice.backend.as_deref() == Some(backend) && slice.fallbacks == fallbacks {
            return Ok(slice);
        }
        Ok(self.driver.store.update_slice(index, |m| {
            m.backend = Some(backend.to_owned());
            m.fallbacks = fallbacks.to_vec();
        })?)
    }
}

fn nobody(index: usize, fallbacks: &[Fallback]) -> Error {
    let hint = fallbacks
        .iter()
        .find_map(|f| f.hint.clone())
        .unwrap_or_else(|| {
            format!(
                "leave {STRICT} and the {REQUIRE} flags out, or name another backend with {BACKEND}"
            )
        });
    Error::failed(if fallbacks.is_empty() {
        format!("slice {index}: the chain of backends is empty")
    } else {
        format!(
            "slice {index}: no backend of its chain can do it ({})",
            reasons(fallbacks)
        )
    })
    .with_hint(hint)
}
