//! How far the run is from the float model.

use super::answers::fidelity_line;
use crate::plots::{self, Depth, Point};
use crate::subject::Subject;
use crate::text;
use serde::Serialize;

/// How far the run is from the float model.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FidelityView {
    /// Whether there is anything to show.
    pub any: bool,
    /// The whole model, in words.
    pub summary: Vec<String>,
    /// Float against proven values.
    pub both: Option<String>,
    /// Float values against differences.
    pub apart: Option<String>,
    /// Errors along the depth.
    pub depth: Option<String>,
    /// The worst element of each tensor that differs, the largest error first.
    pub worst: Vec<WorstRow>,
    /// Why plots are missing.
    pub missing: Option<&'static str>,
    /// What was spent of what was allowed.
    pub budget: Vec<BudgetRow>,
}

/// The worst element of a tensor.
#[derive(Debug, Clone, Serialize)]
pub struct WorstRow {
    /// Slice that computes it.
    pub slice: usize,
    /// Tensor.
    pub tensor: String,
    /// Element.
    pub element: String,
    /// Float model's value.
    pub expected: String,
    /// The run's value.
    pub found: String,
    /// The error of the tensor.
    pub error: String,
}

/// What a slice spent of its budget.
#[derive(Debug, Clone, Serialize)]
pub struct BudgetRow {
    /// Slice; `None` for the whole model.
    pub slice: Option<usize>,
    /// Error in words.
    pub spent: String,
    /// Target in words.
    pub budget: String,
    /// Share, in words.
    pub share: String,
    /// Width of the bar, 0 to 100.
    pub bar: f64,
    /// Whether it is over.
    pub over: bool,
}

/// A row of the data behind the plot over the depth.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DepthRow {
    /// Slice.
    pub slice: usize,
    /// Its own error.
    pub own: Option<f64>,
    /// The chain's error behind it.
    pub chain: Option<f64>,
    /// What it was allowed.
    pub budget: Option<f64>,
}

/// Errors along the depth.
#[must_use]
pub fn depth_rows(subject: &Subject) -> Vec<DepthRow> {
    subject
        .slices
        .iter()
        .map(|s| {
            let run = subject.slice_run(s.index);
            let tensors = subject.comparison.iter().flat_map(|c| &c.tensors);
            DepthRow {
                slice: s.index,
                own: run.and_then(|r| r.fidelity.as_ref()?.error),
                chain: tensors
                    .filter(|t| t.slice == s.index)
                    .filter_map(|t| t.error)
                    .reduce(f64::max),
                budget: subject
                    .compilation(s)
                    .and_then(|c| c.fidelity.as_ref())
                    .map(|f| f.target),
            }
        })
        .collect()
}

pub(crate) fn points(rows: &[DepthRow], value: impl Fn(&DepthRow) -> Option<f64>) -> Vec<Point> {
    rows.iter()
        .filter_map(|r| {
            Some(Point {
                x: r.slice as f64,
                y: value(r).filter(|v| v.is_finite())?,
            })
        })
        .collect()
}

/// As many tensors are listed with their worst element, and as many budgets.
const LISTED: usize = 10;

/// The fidelity of a subject.
#[must_use]
pub fn fidelity(subject: &Subject) -> FidelityView {
    let Some(run) = &subject.run else {
        return FidelityView::default();
    };
    let rows = depth_rows(subject);
    let model = subject
        .verification
        .as_ref()
        .and_then(|v| v.fidelity.as_ref())
        .or(run.fidelity.as_ref());
    let depth = plots::depth(
        &Depth {
            own: points(&rows, |r| r.own),
            chain: points(&rows, |r| r.chain),
            budget: points(&rows, |r| r.budget),
            limit: model.and_then(|f| f.target),
        },
        subject.slices.len(),
    );
    let tensors = subject
        .comparison
        .as_ref()
        .map(|c| c.tensors.as_slice())
        .unwrap_or_default();
    let (both, apart) = plots::scatter(tensors).unzip();
    let summary: Vec<String> = model.map(fidelity_line).into_iter().collect();
    let missing = if both.is_some() {
        None
    } else if subject.comparison.is_none() {
        Some(
            "The values of the float model were not kept with this run, so there is nothing to plot them against. Run again with this version of dsperse.",
        )
    } else {
        Some("Every tensor has the same bytes as in the float model.")
    };
    FidelityView {
        any: depth.is_some() || both.is_some() || !summary.is_empty(),
        summary,
        both,
        apart,
        depth,
        worst: worst(subject),
        missing,
        budget: budget(subject, model, &rows),
    }
}

fn worst(subject: &Subject) -> Vec<WorstRow> {
    let tensors = subject.comparison.iter().flat_map(|c| &c.tensors);
    let mut all: Vec<_> = tensors
        .filter_map(|t| Some((t, t.worst.as_ref()?)))
        .collect();
    let key = |e: Option<f64>| e.unwrap_or(f64::INFINITY);
    all.sort_by(|(a, _), (b, _)| key(b.error).total_cmp(&key(a.error)));
    all.into_iter()
        .take(LISTED)
        .map(|(t, w)| WorstRow {
            slice: t.slice,
            tensor: t.tensor.clone(),
            element: text::grouped(w.element),
            expected: text::value(w.expected),
            found: text::value(w.found),
            error: text::error(t.error),
        })
        .collect()
}

fn budget(
    subject: &Subject,
    model: Option<&dsperse_documents::Fidelity>,
    rows: &[DepthRow],
) -> Vec<BudgetRow> {
    let row = |slice: Option<usize>, spent: Option<f64>, budget: f64| {
        let share = spent.map_or(f64::INFINITY, |s| s / budget);
        BudgetRow {
            slice,
            spent: text::error(spent),
            budget: text::error(Some(budget)),
            share: if share.is_finite() {
                text::percent(share)
            } else {
                "all and more".to_owned()
            },
            bar: (share.min(1.0) * 1000.0).round() / 10.0,
            over: share > 1.0,
        }
    };
    let mut all: Vec<(f64, BudgetRow)> = rows
        .iter()
        .filter(|r| r.budget.is_some_and(|b| b > 0.0))
        .filter_map(|r| {
            let ran = subject.slice_run(r.slice)?.fidelity.is_some();
            let budget = r.budget?;
            ran.then(|| {
                let share = r.own.map_or(f64::INFINITY, |o| o / budget);
                (share, row(Some(r.slice), r.own, budget))
            })
        })
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let whole = model
        .and_then(|f| Some((f.error, f.target.filter(|t| *t > 0.0)?)))
        .map(|(error, target)| row(None, error, target));
    whole
        .into_iter()
        .chain(all.into_iter().take(LISTED).map(|(_, r)| r))
        .collect()
}
