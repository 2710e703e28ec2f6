//! Where the strategies `auto` and `capability` cut, by what backends say they can prove.
//!
//! `auto` ([`auto`]) begins with the whole model and cuts as little as it must: around the
//! nodes that the chain's backends name when they decline, and where a slice would need
//! more memory than there is. `capability` ([`plan`]) begins with single nodes.
//!
//! A backend's list of operators knows nothing of attributes, sizes and weights, so the
//! backends are asked, in three rounds. First about every node as a slice of its own
//! (identical nodes once). Then about the longest runs in which there are nodes that a
//! backend refused alone: it may know a pattern, such as a normalisation that is spelled
//! out, of which no part means anything to it. The longest runs of nodes that one backend
//! can prove become slices, and what none can prove stands apart. At last about each of
//! these slices, because a backend may take every node and still refuse them together: such
//! a slice is halved until its parts are taken. The same answers give the same slices.
//!
//! A backend counts when it makes proofs and is ready: one whose external tool is missing
//! can't prove anything here and now. A backend that fails when it is asked can't prove
//! that part; one that crashes at several single nodes is not asked again and does not
//! count, before the plugin host puts it into quarantine for all commands. All of this is
//! told as warnings.

use crate::ask;
use crate::backend::Loaded;
use crate::cut::{Wanted, slice_error};
use crate::driver;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::opened;
use crate::schedule::{self, Task, lock};
use crate::session::Session;
use dsperse_documents::setting::STRATEGY;
use dsperse_documents::{BackendError, ErrorKind};
use dsperse_plugin_api::{SliceInfo, Stage, Support};
use dsperse_router::{Chain, Policy, Spec};
use dsperse_slicer::{CapabilityClass, Plan, PlanNode, Prepared, Slice, Strategy, WeightDigests};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Crashes at single nodes after which a backend is not asked any more.
const CRASHES: usize = 3;

/// How often `auto` takes out nodes that backends decline, before it asks about every node
/// alone. Each round costs about as much as writing once what is not settled yet.
const MOST_CUTS: usize = 48;

/// A set of backends; bit `i` is the `i`-th prover.
type Provers = u64;

/// How often a backend is asked about what it declined alone. Each round costs about as much
/// as writing the model once.
const MOST_ROUNDS: usize = 32;

/// What was answered about a slice.
#[derive(Debug, Clone, Default)]
struct Answer {
    /// Who was asked.
    asked: Provers,
    /// Who could prove it.
    can: Provers,
    /// Who declined it, and at which of its nodes, where the backend said so.
    declined: BTreeMap<usize, Option<usize>>,
    /// Estimated peak memory in bytes, by prover; 0 when not known.
    memory: BTreeMap<usize, u64>,
}

/// Distributes the nodes of a model.
///
/// # Errors
/// When a slice can't be made, the disk is full, or the user interrupts.
pub(crate) fn plan(
    session: &Session<'_>,
    prepared: &Prepared,
    file: &Path,
    wanted: &Wanted,
) -> Result<Plan> {
    let asker = Asker::new(session, prepared, file, wanted, false)?;
    let units = Units::new(prepared, file)?;
    let everybody = asker.everybody();
    let all = (0..units.plan.slices.len()).map(|u| (u, everybody));
    let alone = asker.ask(&units.plan, all.collect())?;
    let mut classes: Vec<Provers> = alone.values().map(|a| a.can).collect();
    for p in 0..asker.provers.len() {
        let declined = |u: &usize| alone[u].declined.contains_key(&p);
        let doubtful = alone.keys().copied().filter(declined).collect();
        asker.ask_in_context(p, &units, &mut classes, doubtful)?;
    }
    let plan = units.runs(&classes, prepared, file)?;
    let settled = units.plan.slices.iter().cloned().collect();
    let plan = asker.settle(&units, &classes, plan, settled)?;
    asker.report();
    Ok(plan)
}

/// Distributes the nodes of a model over as few slices as the backends of the chain and the
/// memory allow. The same answers and the same memory give the same slices.
///
/// # Errors
/// As [`plan`].
pub(crate) fn auto(
    session: &Session<'_>,
    prepared: &Prepared,
    file: &Path,
    wanted: &Wanted,
) -> Result<Plan> {
    let asker = Asker::new(session, prepared, file, wanted, true)?;
    let units = Units::new(prepared, file)?;
    let mut classes = asker.listed_units(&units.plan);
    let mut plan = units.runs(&classes, prepared, file)?;
    let mut settled = HashSet::new();
    for cuts in 0.. {
        let questions: Vec<(usize, Provers)> = (0..plan.slices.len())
            .filter(|s| !settled.contains(&plan.slices[*s]))
            .map(|s| (s, units.common(&plan.slices[s], &classes)))
            .filter(|(_, provers)| *provers != 0)
            .collect();
        if questions.is_empty() {
            break;
        }
        if cuts == MOST_CUTS {
            // Too many nodes are declined to take them out one after the other.
            let open = questions.iter().flat_map(|(s, _)| &plan.slices[*s]);
            let open: BTreeSet<usize> = open.map(|n| units.of[*n]).collect();
            let alone = open.into_iter().map(|u| (u, classes[u])).collect();
            for (u, answer) in asker.ask(&units.plan, alone)? {
                classes[u] &= answer.can;
            }
            plan = units.runs(&classes, prepared, file)?;
            break;
        }
        let mut cut = false;
        for (s, answer) in asker.ask(&plan, questions)? {
            if answer.can != 0 {
                settled.insert(plan.slices[s].clone());
                continue;
            }
            for (p, at) in answer.declined {
                if let Some(unit) = at.map(|at| units.of[plan.slices[s][at]]) {
                    cut |= classes[unit] & 1 << p != 0;
                    classes[unit] &= !(1 << p);
                }
            }
        }
        if !cut {
            break;
        }
        plan = units.runs(&classes, prepared, file)?;
    }
    let plan = asker.settle(&units, &classes, plan, HashSet::new())?;
    let mut plan = asker.join(&units, &classes, plan)?;
    plan.strategy.name = "auto".to_owned();
    asker.report();
    Ok(plan)
}

impl Asker<'_> {
    /// Asks about the runs of a plan that are not settled, until each is taken as it is or
    /// can't be cut any more: what is declined as a whole is halved, or cut around the node
    /// that the backend names, and what needs too much memory is cut where little passes.
    fn settle(
        &self,
        units: &Units,
        classes: &[Provers],
        mut plan: Plan,
        mut settled: HashSet<Vec<usize>>,
    ) -> Result<Plan> {
        loop {
            let questions: Vec<(usize, Provers)> = (0..plan.slices.len())
                .filter(|s| !settled.contains(&plan.slices[*s]))
                .map(|s| (s, units.common(&plan.slices[s], classes)))
                .filter(|(_, provers)| *provers != 0)
                .collect();
            if questions.is_empty() {
                break;
            }
            let answers = self.ask(&plan, questions)?;
            let mut runs = Vec::new();
            for (s, run) in plan.slices.iter().enumerate() {
                match answers.get(&s) {
                    // Where all who could be asked have dropped out, cutting helps nobody.
                    Some(answer) if answer.can == 0 && answer.asked != 0 => {
                        runs.extend(self.around(answer, run, units));
                    }
                    Some(answer) if self.needs_too_much(answer) => {
                        let is_softmax = |n: usize| self.prepared.nodes[n].op_type == "Softmax";
                        runs.extend(parts(run, &units.of, &units.before, is_softmax));
                    }
                    _ => runs.push(run.clone()),
                }
            }
            // What was taken, and what stays as it is although it was halved.
            let next = self.prepared.rearranged(&plan, runs);
            let asked = answers.keys().map(|s| plan.slices[*s].clone());
            settled.extend(asked.filter(|run| next.slices.contains(run)));
            plan = next;
        }
        Ok(plan)
    }

    /// Joins neighbours that one backend takes together, which halving may have parted for
    /// the sake of a node that is neither's, and neighbours that nobody takes.
    fn join(&self, units: &Units, classes: &[Provers], mut plan: Plan) -> Result<Plan> {
        let mut at = 0;
        while at + 1 < plan.slices.len() {
            let (a, b) = (
                self.takers(units, classes, &plan, at)?,
                self.takers(units, classes, &plan, at + 1)?,
            );
            let mut runs = plan.slices.clone();
            let second = runs.remove(at + 1);
            runs[at].extend(second);
            let joined = self.prepared.rearranged(&plan, runs.clone());
            // Where no cut can be made, more may have been joined than was meant.
            let mut fits = joined.slices == runs;
            let common = units.common(&runs[at], classes);
            if fits && (common != 0 || a | b != 0) {
                // What was declined alone may be taken with its neighbour, as part of a
                // pattern that halving cut through.
                let answers = self.ask(&joined, vec![(at, common)])?;
                let taken = |answer: &Answer| answer.can & common != 0;
                fits = answers
                    .get(&at)
                    .is_some_and(|answer| taken(answer) && !self.needs_too_much(answer))
                    || a | b == 0;
            }
            if fits {
                plan = joined;
            } else {
                at += 1;
            }
        }
        Ok(plan)
    }

    /// Who takes a run of a plan as it is.
    fn takers(
        &self,
        units: &Units,
        classes: &[Provers],
        plan: &Plan,
        at: usize,
    ) -> Result<Provers> {
        let common = units.common(&plan.slices[at], classes);
        if common == 0 {
            return Ok(0);
        }
        let answers = self.ask(plan, vec![(at, common)])?;
        Ok(answers.get(&at).map_or(0, |answer| answer.can & common))
    }

    /// The parts of a run that was declined: around the unit that a backend named in the
    /// first place, else two halves.
    fn around(&self, answer: &Answer, run: &[usize], units: &Units) -> Vec<Vec<usize>> {
        let named = answer.declined.values().find_map(|at| *at);
        let Some(at) = named.filter(|_| self.memory.is_some()) else {
            return halves(run, &units.of);
        };
        let unit = units.of[run[at]];
        let of_unit = |n: &usize| units.of[*n] == unit;
        let first = run.iter().position(of_unit).unwrap_or(at);
        let last = run.iter().rposition(of_unit).unwrap_or(at);
        [&run[..first], &run[first..=last], &run[last + 1..]]
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(<[usize]>::to_vec)
            .collect()
    }

    /// Whether the backend that would be taken, the first of the chain that can, needs more
    /// memory than there is.
    fn needs_too_much(&self, answer: &Answer) -> bool {
        let first = (0..self.provers.len()).find(|p| answer.can & 1 << p != 0);
        let needed = first.and_then(|p| answer.memory.get(&p));
        self.memory.zip(needed).is_some_and(|(most, n)| *n > most)
    }

    /// For each unit, who has its operators in the list.
    fn listed_units(&self, plan: &Plan) -> Vec<Provers> {
        let mut known: HashMap<BTreeMap<String, u64>, Provers> = HashMap::new();
        let units = plan.slices.iter().map(|unit| {
            let mut operators = BTreeMap::new();
            for n in unit {
                let node = &self.prepared.nodes[*n];
                let key = if node.domain.is_empty() {
                    node.op_type.clone()
                } else {
                    format!("{}.{}", node.domain, node.op_type)
                };
                *operators.entry(key).or_default() += 1;
            }
            match known.get(&operators) {
                Some(provers) => *provers,
                None => {
                    let provers = self.listed(&operators);
                    known.insert(operators, provers);
                    provers
                }
            }
        });
        units.collect()
    }
}

/// Two parts of a run between which few tensors pass, cut in its middle third. What a Softmax
/// reads passes no cut where that can be helped: the numbers of a mask mean something within
/// one slice, where they only have to vanish, and are too great to be handed on.
fn parts(
    run: &[usize],
    unit_of: &[usize],
    before: &[BTreeSet<usize>],
    is_softmax: impl Fn(usize) -> bool,
) -> Vec<Vec<usize>> {
    let units = |part: &[usize]| part.iter().map(|n| unit_of[*n]).collect::<HashSet<_>>();
    let whole = |cut: &usize| units(&run[..*cut]).is_disjoint(&units(&run[*cut..]));
    // For each node, where it is read for the last time, and by a Softmax.
    let place: HashMap<usize, usize> = run.iter().enumerate().map(|(i, n)| (*n, i)).collect();
    let (mut last, mut softmax) = (vec![0; run.len()], vec![0; run.len()]);
    for (i, n) in run.iter().enumerate() {
        for from in before[*n].iter().filter_map(|b| place.get(b)) {
            last[*from] = last[*from].max(i);
            if is_softmax(*n) {
                softmax[*from] = i;
            }
        }
    }
    let third = run.len() / 3;
    let over = |reads: &[usize], cut: usize| (0..cut).filter(|i| reads[*i] >= cut).count();
    let cut = (third.max(1)..=(run.len() - third).min(run.len().saturating_sub(1)))
        .filter(whole)
        .min_by_key(|cut| {
            let middle = (2 * cut).abs_diff(run.len());
            (over(&softmax, *cut), over(&last, *cut), middle)
        });
    match cut {
        Some(cut) => vec![run[..cut].to_vec(), run[cut..].to_vec()],
        None => halves(run, unit_of),
    }
}

/// The smallest parts: a node, or some between which no cut can be made.
struct Units {
    plan: Plan,
    /// The unit of each node.
    of: Vec<usize>,
    /// The nodes that each node reads from.
    before: Vec<BTreeSet<usize>>,
}

impl Units {
    fn new(prepared: &Prepared, file: &Path) -> Result<Self> {
        let plan = prepared
            .plan(&Strategy::Op)
            .map_err(|e| slice_error(&e, file))?;
        let mut of = vec![0; prepared.nodes.len()];
        for (u, unit) in plan.slices.iter().enumerate() {
            for node in unit {
                of[*node] = u;
            }
        }
        let before = prepared.dependencies();
        Ok(Self { plan, of, before })
    }

    /// The longest runs of units that have a prover in common.
    fn runs(&self, classes: &[Provers], prepared: &Prepared, file: &Path) -> Result<Plan> {
        let class = |node: usize, _: &PlanNode| CapabilityClass(classes[self.of[node]]);
        prepared
            .plan(&Strategy::Capability(&class))
            .map_err(|e| slice_error(&e, file))
    }

    /// The provers that the units of a run have in common.
    fn common(&self, run: &[usize], classes: &[Provers]) -> Provers {
        run.iter()
            .fold(Provers::MAX, |set, n| set & classes[self.of[*n]])
    }
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
    prepared: &'a Prepared,
    /// The model's file, for messages.
    file: &'a Path,
    provers: Vec<Loaded<'a>>,
    chain: Chain,
    policy: Policy,
    /// Most memory of a slice, for `auto`.
    memory: Option<u64>,
    /// Whether a backend that is not ready is worth a warning: the user named it, or asked
    /// for what every loaded backend can do.
    tells_missing: bool,
    opsets: BTreeMap<String, i64>,
    scratch: tempfile::TempDir,
    /// What fingerprints are made of.
    weights: WeightDigests,
    /// By fingerprint of a slice.
    known: Mutex<HashMap<String, Answer>>,
    /// Backends that are not ready, or keep crashing.
    out: AtomicU64,
    /// By prover: why it is not ready, or what went wrong.
    failures: Mutex<BTreeMap<usize, Vec<Failure>>>,
}

/// A question that a backend did not answer.
struct Failure {
    /// How many nodes the slice has.
    nodes: usize,
    /// Its operators.
    operators: String,
    error: BackendError,
}

impl<'a> Asker<'a> {
    fn new(
        session: &'a Session<'a>,
        prepared: &'a Prepared,
        file: &'a Path,
        wanted: &Wanted,
        auto: bool,
    ) -> Result<Self> {
        let names: Vec<String> = match &wanted.backend {
            Some(text) => {
                let spec = Spec::parse(text)?;
                session.check_names(&spec)?;
                spec.backends().map(str::to_owned).collect()
            }
            None if auto => session.defaults.chain.clone(),
            None => session.names().map(str::to_owned).collect(),
        };
        let provers: Vec<Loaded<'_>> = names
            .iter()
            .filter_map(|n| session.loaded(n))
            .filter(|b| b.can(Stage::Prove) && b.can(Stage::Verify))
            .take(Provers::BITS as usize)
            .collect();
        if provers.is_empty() && !auto {
            session.warn(
                "no loaded backend makes proofs, so there is nothing to cut at".to_owned(),
                Some(format!(
                    "see \"dsperse plugin list\", or take another {STRATEGY}"
                )),
            );
        }
        let scratch = driver::scratch("slice")?;
        Ok(Self {
            session,
            prepared,
            file,
            chain: Chain {
                backends: provers.iter().map(|p| p.name().to_owned()).collect(),
                explicit: true,
            },
            provers,
            policy: wanted.policy.clone(),
            memory: auto.then(|| session.limits.memory.unwrap_or_else(schedule::usual_memory)),
            tells_missing: !auto || wanted.backend.is_some(),
            opsets: prepared.opset_imports(),
            scratch,
            weights: WeightDigests::default(),
            known: Mutex::default(),
            out: AtomicU64::new(0),
            failures: Mutex::default(),
        })
    }

    fn everybody(&self) -> Provers {
        (0..self.provers.len()).fold(0, |set, p| set | 1 << p)
    }

    /// Asks one backend about units that it declined alone, each in the longest run of what
    /// it takes or may take; as long as it declines the run because of one of them, without
    /// that one. `classes` learns what it takes.
    fn ask_in_context(
        &self,
        p: usize,
        units: &Units,
        classes: &mut [Provers],
        mut doubtful: BTreeSet<usize>,
    ) -> Result<()> {
        let bit = 1 << p;
        for _ in 0..MOST_ROUNDS {
            if doubtful.is_empty() {
                break;
            }
            let hoped: Vec<Provers> = (0..classes.len())
                .map(|u| classes[u] & bit | if doubtful.contains(&u) { bit } else { 0 })
                .collect();
            let plan = units.runs(&hoped, self.prepared, self.file)?;
            let of_run = |s: usize| plan.slices[s].iter().map(|n| units.of[*n]);
            let questions: Vec<(usize, Provers)> = (0..plan.slices.len())
                .filter(|s| of_run(*s).any(|u| doubtful.contains(&u)))
                .map(|s| (s, units.common(&plan.slices[s], &hoped)))
                .collect();
            for (s, answer) in self.ask(&plan, questions)? {
                let blamed = answer.declined.get(&p).copied().flatten();
                let blamed = blamed.and_then(|at| of_run(s).nth(at));
                if answer.can & bit != 0 {
                    of_run(s).for_each(|u| classes[u] |= bit);
                } else if let Some(unit) = blamed.filter(|u| doubtful.contains(u)) {
                    doubtful.remove(&unit);
                    continue;
                }
                of_run(s).for_each(|u| {
                    doubtful.remove(&u);
                });
            }
        }
        Ok(())
    }

    /// Asks about slices of a plan, each with the backends that come into question.
    fn ask(
        &self,
        plan: &Plan,
        questions: Vec<(usize, Provers)>,
    ) -> Result<BTreeMap<usize, Answer>> {
        // The slices share the weights of the model, so holding all of them is cheap.
        let mut prints: Vec<(usize, String)> = Vec::new();
        let mut distinct: BTreeMap<String, (Slice, Provers)> = BTreeMap::new();
        let mut order: Vec<String> = Vec::new();
        let indices: Vec<usize> = questions.iter().map(|(s, _)| *s).collect();
        for (slice, (s, provers)) in self.prepared.slices_at(plan, indices).zip(&questions) {
            self.session.check_cancelled()?;
            let slice = slice.map_err(|e| slice_error(&e, self.file))?;
            let print = slice.fingerprint(&self.weights);
            prints.push((*s, print.clone()));
            let asked = lock(&self.known).get(&print).map_or(0, |a| a.asked);
            let open = provers & self.listed(&slice.operators) & !asked;
            if open != 0 {
                let entry = distinct.entry(print.clone()).or_insert_with(|| {
                    order.push(print);
                    (slice, 0)
                });
                entry.1 |= open;
            }
        }
        let of = order.len();
        if of > 0 {
            self.session.emit(&Event::Asking { done: 0, of });
        }
        let done = Mutex::new(0);
        let tasks = vec![Task::default(); of];
        driver::all(self.session, &tasks, |at| {
            let (slice, provers) = &distinct[&order[at]];
            let new = self.ask_about(slice, *provers)?;
            let mut known = lock(&self.known);
            let answer = known.entry(order[at].clone()).or_default();
            answer.asked |= new.asked;
            answer.can |= new.can;
            answer.declined.extend(new.declined);
            answer.memory.extend(new.memory);
            drop(known);
            // Counted and told in one step, so that the last number is the highest.
            let mut done = lock(&done);
            *done += 1;
            self.session.emit(&Event::Asking { done: *done, of });
            Ok(())
        })?;
        let counted = !self.out.load(Ordering::Relaxed);
        let known = lock(&self.known);
        let answer = |print: &String| {
            let mut answer = known.get(print).cloned().unwrap_or_default();
            answer.can &= counted;
            answer.asked &= counted;
            answer
        };
        Ok(prints.iter().map(|(s, p)| (*s, answer(p))).collect())
    }

    /// Who has a slice's operators in its list, and makes proofs such as are demanded.
    fn listed(&self, operators: &BTreeMap<String, u64>) -> Provers {
        let uses = opened::uses(&self.opsets, operators);
        let descriptor = |name: &str| self.session.loaded(name).map(|l| l.descriptor);
        let plan = dsperse_router::plan(&self.chain, descriptor, &uses, &self.policy);
        let candidates =
            (0..self.provers.len()).filter(|p| plan.candidates.contains(&self.chain.backends[*p]));
        candidates.fold(0, |set, p| set | 1 << p)
    }

    fn ask_about(&self, slice: &Slice, provers: Provers) -> Result<Answer> {
        let dir = tempfile::tempdir_in(self.scratch.path())
            .map_err(|e| Error::io("create a directory in", self.scratch.path(), &e))?;
        let payload = dir.path().join("slice.onnx");
        let bytes = slice.to_bytes();
        std::fs::write(&payload, &bytes).map_err(|e| Error::io("write", &payload, &e))?;
        let summary = slice.summary(&bytes);
        drop(bytes);
        let mut answer = Answer {
            asked: provers,
            ..Answer::default()
        };
        for (p, prover) in self.provers.iter().enumerate() {
            let bit = 1 << p;
            if provers & bit == 0 || self.out.load(Ordering::Relaxed) & bit != 0 {
                continue;
            }
            self.session.check_cancelled()?;
            let info = SliceInfo {
                index: slice.index,
                model: None,
                sha256: summary.payload_sha256.clone(),
                model_sha256: self.prepared.file.sha256.clone(),
                inputs: slice.inputs.clone(),
                outputs: slice.outputs.clone(),
            };
            match ask::supports(self.session, prover, info, &payload, dir.path())? {
                Ok(Support::Yes { cost }) => {
                    answer.can |= bit;
                    answer.memory.insert(p, cost.peak_bytes);
                }
                Ok(Support::No { node, .. })
                | Err(BackendError {
                    kind: ErrorKind::Unsupported,
                    node,
                    ..
                }) => {
                    let at = |n: String| slice.nodes.iter().position(|own| *own == n);
                    answer.declined.insert(p, node.and_then(at));
                }
                Err(error) => {
                    let operators: Vec<&str> = slice.operators.keys().map(String::as_str).collect();
                    let mut failures = lock(&self.failures);
                    let failures = failures.entry(p).or_default();
                    failures.push(Failure {
                        nodes: slice.nodes.len(),
                        operators: operators.join(", "),
                        error,
                    });
                    if is_out(failures) {
                        self.out.fetch_or(bit, Ordering::Relaxed);
                    }
                }
            }
        }
        Ok(answer)
    }

    /// Says which backends were not ready, and which failed.
    fn report(&self) {
        for (p, failures) in lock(&self.failures).iter() {
            let name = self.provers[*p].name();
            let missing = failures.iter().find(|f| f.is_missing());
            if let Some(Failure { error, .. }) = missing {
                if !self.tells_missing {
                    continue;
                }
                self.session.warn(
                    format!(
                        "backend \"{name}\" is not ready, so what only it could prove stands \
                         apart: {}",
                        error.message
                    ),
                    error.hint.clone(),
                );
                continue;
            }
            // Which of several failures comes first depends on the order of the workers.
            let first = failures
                .iter()
                .min_by_key(|f| (&f.operators, &f.error.message));
            if let Some(first) = first {
                self.session.warn(
                    format!(
                        "backend \"{name}\" failed when it was asked about {} of the model, \
                         {}; about {}: {}",
                        match failures.len() {
                            1 => "a part".to_owned(),
                            n => format!("{n} parts"),
                        },
                        if is_out(failures) {
                            "and was not asked again, so what only it could prove stands apart"
                        } else {
                            "which counts as a no"
                        },
                        first.operators,
                        first.error.message
                    ),
                    first.error.hint.clone(),
                );
            }
        }
    }
}

impl Failure {
    fn is_missing(&self) -> bool {
        self.error.kind == ErrorKind::ToolMissing
    }

    /// Crashing on a long run is a no to that run; at single nodes something else is wrong.
    fn is_crash_at_node(&self) -> bool {
        matches!(self.error.kind, ErrorKind::Crash | ErrorKind::Panic) && self.nodes == 1
    }
}

/// Whether a backend that failed so is not worth asking again.
fn is_out(failures: &[Failure]) -> bool {
    let crashes = failures.iter().filter(|f| f.is_crash_at_node()).count();
    crashes >= CRASHES || failures.iter().any(Failure::is_missing)
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

    #[test]
    fn what_a_softmax_reads_stays_with_it() {
        // A chain: one tensor passes every cut.
        let before: Vec<BTreeSet<usize>> = [vec![], vec![0], vec![1], vec![2], vec![3], vec![4]]
            .into_iter()
            .map(BTreeSet::from_iter)
            .collect();
        let run = [0, 1, 2, 3, 4, 5];
        let cut = |softmax: usize| parts(&run, &run, &before, |n| n == softmax);
        assert_eq!(cut(9), [[0, 1, 2], [3, 4, 5]]);
        assert_eq!(cut(3), [vec![0, 1], vec![2, 3, 4, 5]]);
        // Where every cut of the middle third does so, one is made all the same.
        let pair: Vec<BTreeSet<usize>> = vec![BTreeSet::new(), [0].into()];
        assert_eq!(parts(&[0, 1], &[0, 1], &pair, |n| n == 1), [[0], [1]]);
    }
}
