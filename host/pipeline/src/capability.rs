//! Where `--strategy capability` cuts.
//!
//! A backend's list of operators knows nothing of attributes, sizes and weights, so the
//! backends are asked. First about every node as a slice of its own (identical nodes once);
//! the longest runs of nodes that one backend can prove become slices, and what none can
//! prove stands apart. Then about each of these slices as a whole, because a backend may
//! take every node and still refuse them together: such a slice is halved until its parts
//! are taken. The same answers give the same slices.
//!
//! A backend counts when it makes proofs and is ready: one whose external tool is missing
//! can't prove anything here and now. A backend that fails when it is asked can't prove
//! that part. Both are told as warnings.

use crate::ask;
use crate::chain::lock;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::schedule::{self, Task};
use crate::session::{Loaded, Session};
use crate::slice::slice_error;
use crate::slices;
use dsperse_plugin_api::{SliceInfo, Stage, Support};
use dsperse_router::{Chain, Policy};
use dsperse_slicer::{CapabilityClass, Plan, PlanNode, Prepared, Slice, Strategy};
use dsperse_types::{BackendError, ErrorKind};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A set of backends; bit `i` is the `i`-th prover.
type Provers = u64;

/// Distributes the nodes of a model.
///
/// # Errors
/// When a slice can't be made, the disk is full, or the user interrupts.
pub(crate) fn plan(session: &Session<'_>, prepared: &Prepared, file: &Path) -> Result<Plan> {
    let asker = Asker::new(session, prepared)?;
    let units = prepared
        .plan(&Strategy::Op)
        .map_err(|e| slice_error(&e, file))?;
    // A unit is a node, or some between which no cut can be made.
    let mut unit_of = vec![0; prepared.nodes.len()];
    for (u, unit) in units.slices.iter().enumerate() {
        for node in unit {
            unit_of[*node] = u;
        }
    }
    let all = (0..units.slices.len()).map(|u| (u, asker.everybody()));
    let classes = asker.ask(prepared, &units, all.collect(), file)?;
    let class = |node: usize, _: &PlanNode| CapabilityClass(classes[&unit_of[node]]);
    let mut plan = prepared
        .plan(&Strategy::Capability(&class))
        .map_err(|e| slice_error(&e, file))?;
    let mut settled: HashSet<Vec<usize>> = units.slices.iter().cloned().collect();
    loop {
        let common = |run: &[usize]| {
            run.iter()
                .fold(Provers::MAX, |c, n| c & classes[&unit_of[*n]])
        };
        let doubtful: Vec<(usize, Provers)> = (0..plan.slices.len())
            .filter(|s| !settled.contains(&plan.slices[*s]))
            .map(|s| (s, common(&plan.slices[s])))
            .filter(|(_, provers)| *provers != 0)
            .collect();
        if doubtful.is_empty() {
            break;
        }
        let answers = asker.ask(prepared, &plan, doubtful, file)?;
        let mut runs = Vec::new();
        for (s, run) in plan.slices.iter().enumerate() {
            match answers.get(&s) {
                Some(0) => runs.extend(halves(run, &unit_of)),
                _ => runs.push(run.clone()),
            }
        }
        // What was taken, and what stays as it is although it was halved.
        let next = prepared.rearranged(&plan, runs);
        settled.extend(
            answers
                .keys()
                .map(|s| plan.slices[*s].clone())
                .filter(|r| next.slices.contains(r)),
        );
        plan = next;
    }
    asker.report();
    Ok(plan)
}

/// Two parts of a run, cut where a unit ends and as near to the middle as can be.
fn halves(run: &[usize], unit_of: &[usize]) -> Vec<Vec<usize>> {
    let units = |part: &[usize]| part.iter().map(|n| unit_of[*n]).collect::<HashSet<_>>();
    let mut cuts: Vec<usize> = (1..run.len()).collect();
    cuts.sort_by_key(|cut| (2 * cut).abs_diff(run.len()));
    let whole = |cut: &usize| units(&run[..*cut]).is_disjoint(&units(&run[*cut..]));
    match cuts.into_iter().find(whole) {
        Some(cut) => vec![run[..cut].to_vec(), run[cut..].to_vec()],
        None => vec![run.to_vec()],
    }
}

struct Asker<'a> {
    session: &'a Session<'a>,
    provers: Vec<Loaded<'a>>,
    chain: Chain,
    opsets: BTreeMap<String, i64>,
    model_sha256: String,
    scratch: tempfile::TempDir,
    /// By fingerprint of a slice: who could prove it.
    known: Mutex<HashMap<String, Provers>>,
    /// Backends that are not ready.
    unready: AtomicU64,
    /// By prover: why it is not ready, or what went wrong, with the operators of the slice.
    failures: Mutex<BTreeMap<usize, Vec<(String, BackendError)>>>,
}

impl<'a> Asker<'a> {
    fn new(session: &'a Session<'a>, prepared: &Prepared) -> Result<Self> {
        let provers: Vec<Loaded<'_>> = session
            .names()
            .filter_map(|n| session.loaded(n))
            .filter(|b| b.can(Stage::Prove) && b.can(Stage::Verify))
            .take(Provers::BITS as usize)
            .collect();
        if provers.is_empty() {
            session.warn(
                "no loaded backend makes proofs, so there is nothing to cut at".to_owned(),
                Some("see \"dsperse plugin list\", or take another --strategy".to_owned()),
            );
        }
        let scratch = tempfile::Builder::new()
            .prefix("dsperse-slice-")
            .tempdir()
            .map_err(|e| Error::failed(format!("can't create a temporary directory: {e}")))?;
        Ok(Self {
            session,
            chain: Chain {
                backends: provers.iter().map(|p| p.name().to_owned()).collect(),
                explicit: true,
            },
            provers,
            opsets: prepared.opset_imports(),
            model_sha256: prepared.file.sha256.clone(),
            scratch,
            known: Mutex::default(),
            unready: AtomicU64::new(0),
            failures: Mutex::default(),
        })
    }

    fn everybody(&self) -> Provers {
        (0..self.provers.len()).fold(0, |set, p| set | 1 << p)
    }

    /// Asks about slices of a plan, each with the backends that come into question, and
    /// returns by slice who can prove it.
    fn ask(
        &self,
        prepared: &Prepared,
        plan: &Plan,
        questions: Vec<(usize, Provers)>,
        file: &Path,
    ) -> Result<BTreeMap<usize, Provers>> {
        // The slices share the weights of the model, so holding all of them is cheap.
        let mut prints: Vec<(usize, String)> = Vec::new();
        let mut distinct: Vec<(String, Slice, Provers)> = Vec::new();
        let indices: Vec<usize> = questions.iter().map(|(s, _)| *s).collect();
        for (slice, (s, provers)) in prepared.slices_at(plan, indices).zip(&questions) {
            self.session.check_cancelled()?;
            let slice = slice.map_err(|e| slice_error(&e, file))?;
            let print = slice.fingerprint();
            prints.push((*s, print.clone()));
            let new = !lock(&self.known).contains_key(&print)
                && !distinct.iter().any(|(p, _, _)| *p == print);
            if new {
                let listed = provers & self.listed(&slice);
                distinct.push((print, slice, listed));
            }
        }
        let of = distinct.len();
        self.session.emit(&Event::Asking { done: 0, of });
        let done = Mutex::new(0);
        let tasks = vec![Task::default(); of];
        let bounds = self.session.bounds();
        let cancel = &self.session.cancel;
        let answers = schedule::run_all(&tasks, bounds, cancel, |at| {
            let (print, slice, provers) = &distinct[at];
            let answer = self.ask_about(slice, *provers)?;
            lock(&self.known).insert(print.clone(), answer);
            // Counted and told in one step, so that the last number is the highest.
            let mut done = lock(&done);
            *done += 1;
            self.session.emit(&Event::Asking { done: *done, of });
            Ok(())
        });
        self.session.check_cancelled()?;
        answers.into_iter().flatten().collect::<Result<()>>()?;
        let ready = !self.unready.load(Ordering::Relaxed);
        let known = lock(&self.known);
        let answer = |print: &String| known.get(print).copied().unwrap_or_default() & ready;
        Ok(prints.iter().map(|(s, p)| (*s, answer(p))).collect())
    }

    /// Who has the slice's operators in its list.
    fn listed(&self, slice: &Slice) -> Provers {
        let uses = slices::uses(&self.opsets, &slice.operators);
        let descriptor = |name: &str| self.session.loaded(name).map(|l| l.descriptor);
        let plan = dsperse_router::plan(&self.chain, descriptor, &uses, &Policy::default());
        let candidates =
            (0..self.provers.len()).filter(|p| plan.candidates.contains(&self.chain.backends[*p]));
        candidates.fold(0, |set, p| set | 1 << p)
    }

    fn ask_about(&self, slice: &Slice, provers: Provers) -> Result<Provers> {
        if provers == 0 {
            return Ok(0);
        }
        let dir = tempfile::tempdir_in(self.scratch.path())
            .map_err(|e| Error::io("create a directory in", self.scratch.path(), &e))?;
        let payload = dir.path().join("slice.onnx");
        let bytes = slice.to_bytes();
        std::fs::write(&payload, &bytes).map_err(|e| Error::io("write", &payload, &e))?;
        let summary = slice.summary(&bytes);
        drop(bytes);
        let mut can = 0;
        for (p, prover) in self.provers.iter().enumerate() {
            let bit = 1 << p;
            if provers & bit == 0 || self.unready.load(Ordering::Relaxed) & bit != 0 {
                continue;
            }
            self.session.check_cancelled()?;
            let info = SliceInfo {
                index: slice.index,
                model: None,
                sha256: summary.payload_sha256.clone(),
                model_sha256: self.model_sha256.clone(),
                inputs: slice.inputs.clone(),
                outputs: slice.outputs.clone(),
            };
            match ask::supports(self.session, prover, info, &payload, dir.path())? {
                Ok(Support::Yes { .. }) => can |= bit,
                Ok(Support::No { .. }) => {}
                Err(e) if e.kind == ErrorKind::Unsupported => {}
                Err(e) if e.kind == ErrorKind::Cancelled => return Err(Error::interrupted()),
                Err(e) => {
                    if e.kind == ErrorKind::ToolMissing {
                        self.unready.fetch_or(bit, Ordering::Relaxed);
                    }
                    let operators: Vec<&str> = slice.operators.keys().map(String::as_str).collect();
                    let mut failures = lock(&self.failures);
                    failures
                        .entry(p)
                        .or_default()
                        .push((operators.join(", "), e));
                }
            }
        }
        Ok(can)
    }

    /// Says which backends were not ready, and which failed.
    fn report(&self) {
        for (p, failures) in lock(&self.failures).iter() {
            let name = self.provers[*p].name();
            let missing = failures
                .iter()
                .find(|(_, e)| e.kind == ErrorKind::ToolMissing);
            if let Some((_, e)) = missing {
                self.session.warn(
                    format!(
                        "backend \"{name}\" is not ready, so what only it could prove stands \
                         apart: {}",
                        e.message
                    ),
                    e.hint.clone(),
                );
                continue;
            }
            // Which of several failures comes first depends on the order of the workers.
            let first = failures
                .iter()
                .min_by_key(|(o, e)| (o.clone(), e.message.clone()));
            if let Some((operators, e)) = first {
                self.session.warn(
                    format!(
                        "backend \"{name}\" failed when it was asked about {} of the model, \
                         which counts as a no; about {operators}: {}",
                        match failures.len() {
                            1 => "a part".to_owned(),
                            n => format!("{n} parts"),
                        },
                        e.message
                    ),
                    e.hint.clone(),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_keep_units_together() {
        let unit_of = [0, 1, 1, 1, 2, 3];
        let cut = |run: &[usize]| halves(run, &unit_of);
        assert_eq!(cut(&[0, 1, 2, 3, 4, 5]), [vec![0, 1, 2, 3], vec![4, 5]]);
        assert_eq!(cut(&[4, 5]), [[4], [5]]);
        assert_eq!(cut(&[0, 1, 2, 3]), [vec![0], vec![1, 2, 3]]);
        assert_eq!(cut(&[1, 2, 3]), [[1, 2, 3]]);
        // A node of another branch inside the unit goes with it.
        assert_eq!(cut(&[1, 0, 2, 3]), [[1, 0, 2, 3]]);
    }
}
