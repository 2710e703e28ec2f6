//! Where to cut: strategies distribute the computed nodes over slices.
//!
//! Every plan is a partition of a topological order into runs, so slices never depend on
//! each other in a circle. A cut is only possible where each tensor that crosses it has a
//! known type and shape; where one hasn't, the two neighbours stay together.

use crate::error::{Result, SliceError};
use crate::prepare::{PlanNode, Prepared};
use dsperse_documents::Strategy as StrategyDocument;
use std::collections::{BTreeSet, HashMap};

/// Which backends could prove an operator: bit `i` stands for backend `i` of the caller's
/// list. Empty means that none could.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapabilityClass(pub u64);

/// How to cut.
pub enum Strategy<'a> {
    /// A slice starts at each node that carries weights; what comes before the first
    /// belongs to it.
    Layer,
    /// Every operator is a slice.
    Op,
    /// One slice.
    Whole,
    /// A slice starts at each of these nodes (names, or indices in the original file).
    Points(Vec<String>),
    /// Longest runs of operators that one backend can prove; what none can prove stands
    /// apart. The function gets a node and its index in [`Prepared::nodes`].
    Capability(&'a dyn Fn(usize, &PlanNode) -> CapabilityClass),
}

impl Strategy<'_> {
    /// The name as on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Op => "op",
            Self::Whole => "whole",
            Self::Points(_) => "points",
            Self::Capability(_) => "capability",
        }
    }
}

/// A distribution of the computed nodes over slices.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// How it was cut, for `slices/metadata.json`.
    pub strategy: StrategyDocument,
    /// For each slice its nodes, as indices into [`Prepared::nodes`], in topological order.
    pub slices: Vec<Vec<usize>>,
    /// Cuts that could not be made.
    pub warnings: Vec<String>,
}

impl Prepared {
    /// Distributes the nodes over slices.
    ///
    /// # Errors
    /// [`SliceError::Point`] when a point names no node at which a slice can start.
    pub fn plan(&self, strategy: &Strategy<'_>) -> Result<Plan> {
        let mut at = Vec::new();
        let groups = match strategy {
            Strategy::Whole => vec![(0..self.nodes.len()).collect()],
            Strategy::Op => (0..self.nodes.len()).map(|i| vec![i]).collect(),
            Strategy::Layer => {
                let mut starts: BTreeSet<usize> = self
                    .nodes
                    .iter()
                    .enumerate()
                    .filter(|(_, n)| n.weighted)
                    .map(|(i, _)| i)
                    .collect();
                // What comes before the first weights goes with them.
                starts.pop_first();
                self.runs(&starts)
            }
            Strategy::Points(points) => {
                at.clone_from(points);
                let starts = points
                    .iter()
                    .map(|p| self.point(p))
                    .collect::<Result<BTreeSet<usize>>>()?;
                self.runs(&starts)
            }
            Strategy::Capability(class) => self.capability_runs(class),
        };
        let (slices, warnings) = self.join_uncuttable(groups);
        Ok(Plan {
            strategy: StrategyDocument {
                name: strategy.name().to_owned(),
                at,
                ..StrategyDocument::default()
            },
            slices,
            warnings,
        })
    }

    /// A plan with other slices, which distribute the same nodes in an order in which they
    /// can run. Slices are joined where no cut can be made.
    #[must_use]
    pub fn rearranged(&self, plan: &Plan, slices: Vec<Vec<usize>>) -> Plan {
        let (slices, new) = self.join_uncuttable(slices);
        let mut warnings = plan.warnings.clone();
        warnings.extend(new.into_iter().filter(|w| !plan.warnings.contains(w)));
        Plan {
            strategy: plan.strategy.clone(),
            slices,
            warnings,
        }
    }

    /// Runs of the node order that start at the given indices.
    fn runs(&self, starts: &BTreeSet<usize>) -> Vec<Vec<usize>> {
        let mut out: Vec<Vec<usize>> = Vec::new();
        for i in 0..self.nodes.len() {
            match out.last_mut() {
                Some(run) if !starts.contains(&i) => run.push(i),
                _ => out.push(vec![i]),
            }
        }
        out
    }

    /// The node that a point of `--at` means.
    fn point(&self, text: &str) -> Result<usize> {
        let wrong = |reason: String| SliceError::Point {
            at: text.to_owned(),
            reason,
        };
        let by_name = |name: &str| self.nodes.iter().position(|n| n.name == name);
        // Names come first: a file may call its nodes "12".
        if let Some(i) = by_name(text) {
            return Ok(i);
        }
        let original = self
            .original
            .iter()
            .position(|n| !n.name.is_empty() && n.name == text)
            .or_else(|| text.parse().ok());
        let Some(original) = original else {
            return Err(wrong(
                "the model has no node of this name; \"dsperse analyze\" lists them".into(),
            ));
        };
        let Some(node) = self.original.get(original) else {
            return Err(wrong(format!(
                "the model has {} nodes, counted from 0",
                self.original.len()
            )));
        };
        self.nodes
            .iter()
            .position(|n| n.origin == Some(original))
            .ok_or_else(|| {
                wrong(format!(
                    "node {original} ({}) is constant or unused, so no slice can start at it",
                    node.op_type
                ))
            })
    }

    /// For each computed node, those that it depends on.
    #[must_use]
    pub fn dependencies(&self) -> Vec<BTreeSet<usize>> {
        let graph = self.graph();
        let mut made: HashMap<&str, usize> = HashMap::new();
        self.nodes
            .iter()
            .enumerate()
            .map(|(i, n)| {
                let node = &graph.node[n.at];
                let from = node
                    .reads()
                    .iter()
                    .filter_map(|r| made.get(r).copied())
                    .collect();
                made.extend(node.output.iter().map(|o| (o.as_str(), i)));
                from
            })
            .collect()
    }

    /// Takes ready nodes as long as one backend can prove all of them, then starts anew:
    /// a node of another kind on a parallel branch does not end a run.
    fn capability_runs(
        &self,
        class: &dyn Fn(usize, &PlanNode) -> CapabilityClass,
    ) -> Vec<Vec<usize>> {
        let classes: Vec<u64> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(i, n)| class(i, n).0)
            .collect();
        let from = self.dependencies();
        let mut waits: Vec<usize> = from.iter().map(BTreeSet::len).collect();
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); from.len()];
        for (i, f) in from.iter().enumerate() {
            for p in f {
                readers[*p].push(i);
            }
        }
        let mut ready: BTreeSet<usize> = (0..waits.len()).filter(|i| waits[*i] == 0).collect();
        let mut out: Vec<(u64, Vec<usize>)> = Vec::new();
        while let Some(first) = ready.first().copied() {
            let fits = |i: &usize| {
                out.last().is_some_and(|(c, _)| {
                    if *c == 0 {
                        classes[*i] == 0
                    } else {
                        classes[*i] & c != 0
                    }
                })
            };
            let next = ready.iter().copied().find(|i| fits(i));
            let i = match (next, out.last_mut()) {
                (Some(i), Some((c, run))) => {
                    *c &= classes[i];
                    run.push(i);
                    i
                }
                _ => {
                    out.push((classes[first], vec![first]));
                    first
                }
            };
            ready.remove(&i);
            for r in &readers[i] {
                waits[*r] -= 1;
                if waits[*r] == 0 {
                    ready.insert(*r);
                }
            }
        }
        out.into_iter().map(|(_, run)| run).collect()
    }

    /// Joins neighbours between which a tensor passes that no file can carry.
    fn join_uncuttable(&self, groups: Vec<Vec<usize>>) -> (Vec<Vec<usize>>, Vec<String>) {
        let graph = self.graph();
        let mut made: HashMap<&str, usize> = HashMap::new();
        for (g, run) in groups.iter().enumerate() {
            for i in run {
                let node = &graph.node[self.nodes[*i].at];
                made.extend(node.output.iter().map(|o| (o.as_str(), g)));
            }
        }
        // blocked[g]: the tensor that forbids a cut before group g.
        let mut blocked: Vec<Option<&str>> = vec![None; groups.len()];
        for (g, run) in groups.iter().enumerate() {
            for i in run {
                for name in graph.node[self.nodes[*i].at].reads() {
                    let Some(from) = made.get(name).copied() else {
                        continue;
                    };
                    let carried = self.facts.get(name).is_some_and(|f| f.info(name).is_some());
                    if !carried && from < g {
                        for b in &mut blocked[from + 1..=g] {
                            b.get_or_insert(name);
                        }
                    }
                }
            }
        }
        let mut out: Vec<Vec<usize>> = Vec::new();
        let mut warned: BTreeSet<&str> = BTreeSet::new();
        let mut warnings = Vec::new();
        for (run, block) in groups.into_iter().zip(blocked) {
            match (block, out.last_mut()) {
                (Some(tensor), Some(last)) => {
                    if warned.insert(tensor) {
                        warnings.push(format!(
                            "no cut where tensor \"{tensor}\" passes: its type or shape isn't known before the model runs"
                        ));
                    }
                    last.extend(run);
                }
                _ => out.push(run),
            }
        }
        (out, warnings)
    }
}
