//! Two models or runs side by side.

use super::fidelity::{depth_rows, points};
use super::{Cell, Download, Share, answers, shares};
use crate::graph;
use crate::jobs::{self, JobStage};
use crate::plots::{self, Point};
use crate::state::State;
use crate::subject::Subject;
use crate::text;
use serde::Serialize;

/// Everything that the template of two subjects shows.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Version of dsperse.
    pub tool: &'static str,
    /// The two.
    pub sides: [Side; 2],
    /// What the reader must know before comparing.
    pub remarks: Vec<String>,
    /// Figures beside each other.
    pub figures: Vec<Figure>,
    /// Errors along the depth.
    pub depth: Option<String>,
    /// CPU seconds of proving along the depth.
    pub cost: Option<String>,
    /// Slices beside each other; empty for models that were cut differently.
    pub slices: Vec<Pair>,
}

/// One of the two.
#[derive(Debug, Serialize)]
pub struct Side {
    /// `A` or `B`.
    pub letter: &'static str,
    /// Model.
    pub model: String,
    /// Run; empty for a model.
    pub run: String,
    /// Verdict.
    pub verdict: answers::Sentence,
    /// Bars.
    pub shares: Vec<Share>,
    /// The six questions.
    pub answers: Vec<answers::Answer>,
    /// Data to take along.
    pub downloads: Vec<Download>,
}

/// A figure of both.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What.
    pub name: &'static str,
    /// Of A.
    pub a: String,
    /// Of B.
    pub b: String,
    /// How B compares with A.
    pub change: String,
}

/// A slice of both.
#[derive(Debug, Clone, Serialize)]
pub struct Pair {
    /// Index.
    pub slice: usize,
    /// Operators.
    pub operators: String,
    /// State in both.
    pub states: [Cell; 2],
    /// Backends.
    pub backends: [String; 2],
    /// CPU seconds of proving.
    pub cpu: [String; 2],
    /// Own errors.
    pub errors: [String; 2],
}

/// Two subjects side by side.
pub fn compare(a: &Subject, b: &Subject) -> Comparison {
    let mut remarks = Vec::new();
    let same_model = a.model.model.sha256 == b.model.model.sha256;
    let same_slices = a.model.identity == b.model.identity;
    if !same_model {
        remarks.push("A and B are of different ONNX files.".to_owned());
    } else if !same_slices {
        remarks.push(
            "A and B are of the same ONNX file, cut or rewritten differently: slices are not compared one by one."
                .to_owned(),
        );
    }
    if let (Some(x), Some(y)) = (&a.run, &b.run) {
        if x.input_sha256 != y.input_sha256 {
            remarks.push("A and B ran on different inputs.".to_owned());
        } else if x.output_sha256.is_some() && x.output_sha256 == y.output_sha256 {
            remarks
                .push("A and B have the same input and the same output, bit for bit.".to_owned());
        }
    }
    for (letter, subject) in [("A", a), ("B", b)] {
        remarks.extend(subject.remarks.iter().map(|r| format!("{letter}: {r}")));
    }
    let slices = a.slices.len().max(b.slices.len());
    let (rows_a, rows_b) = (depth_rows(a), depth_rows(b));
    let error = |r: &super::fidelity::DepthRow| r.chain.or(r.own);
    Comparison {
        tool: env!("CARGO_PKG_VERSION"),
        figures: figures(a, b),
        depth: plots::compared(
            &points(&rows_a, error),
            &points(&rows_b, error),
            slices,
            "relative error",
            1e-9,
        ),
        cost: plots::compared(
            &proving(a),
            &proving(b),
            slices,
            "CPU seconds of proving",
            1e-3,
        ),
        slices: if same_slices { pairs(a, b) } else { Vec::new() },
        sides: [side("A", a), side("B", b)],
        remarks,
    }
}

fn side(letter: &'static str, subject: &Subject) -> Side {
    Side {
        letter,
        model: subject.model.model.name.clone(),
        run: subject
            .run
            .as_ref()
            .map(|_| subject.name.clone())
            .unwrap_or_default(),
        verdict: answers::sentence(subject),
        shares: shares(subject),
        answers: answers::answers(subject),
        downloads: super::downloads(subject),
    }
}

fn cpu(jobs: &[jobs::Job], stage: JobStage) -> f64 {
    let mine = jobs.iter().filter(|j| j.stage == stage);
    mine.map(|j| j.usage.cpu_seconds).sum()
}

fn proving(subject: &Subject) -> Vec<Point> {
    jobs::all(subject)
        .into_iter()
        .filter(|j| j.stage == JobStage::Prove)
        .map(|j| Point {
            x: j.slice as f64,
            y: j.usage.cpu_seconds,
        })
        .collect()
}

/// B relative to A: `×0.5`, `same`.
fn change(a: f64, b: f64) -> String {
    if a == b {
        "same".to_owned()
    } else if a == 0.0 || b == 0.0 {
        format!("only {}", if a == 0.0 { "B" } else { "A" })
    } else if a > 0.0 && b.is_finite() && a.is_finite() {
        let ratio = b / a;
        if (0.995..1.005).contains(&ratio) {
            "about the same".to_owned()
        } else if (0.01..100.0).contains(&ratio) {
            format!("×{ratio:.2}")
        } else {
            format!("×{ratio:.0e}")
        }
    } else {
        "–".to_owned()
    }
}

fn figures(a: &Subject, b: &Subject) -> Vec<Figure> {
    let mut all = Vec::new();
    let mut add = |name, x: Option<f64>, y: Option<f64>, show: &dyn Fn(f64) -> String| {
        if x.is_none() && y.is_none() {
            return;
        }
        let said = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), show);
        all.push(Figure {
            name,
            a: said(x),
            b: said(y),
            change: match (x, y) {
                (Some(x), Some(y)) => change(x, y),
                _ => "–".to_owned(),
            },
        });
    };
    let both = |f: &dyn Fn(&Subject) -> Option<f64>| (f(a), f(b));
    let whole = |v: f64| text::grouped(v as u64);
    let slices = |s: &Subject| Some(s.slices.len() as f64);
    let (x, y) = both(&slices);
    add("Slices", x, y, &whole);
    let proven = |s: &Subject| {
        s.run.as_ref()?;
        Some(super::in_state(s, |x| x == State::Proven).len() as f64)
    };
    let (x, y) = both(&proven);
    add("Slices proven", x, y, &whole);
    let share = |s: &Subject| {
        s.run.as_ref()?;
        Some(super::Work::of(s).share(super::in_state(s, |x| x == State::Proven)))
    };
    let (x, y) = both(&share);
    add("Share of the work proven", x, y, &|v| text::percent(v));
    let provable = |s: &Subject| {
        s.run
            .is_none()
            .then(|| super::Work::of(s).share(super::in_state(s, |x| x == State::Provable)))
    };
    let (x, y) = both(&provable);
    add("Share of the work that can be proven", x, y, &|v| {
        text::percent(v)
    });
    let (jobs_a, jobs_b) = (jobs::all(a), jobs::all(b));
    for (name, stage) in [
        ("Compiling, CPU", JobStage::Compile),
        ("Running, CPU", JobStage::Run),
        ("Proving, CPU", JobStage::Prove),
        ("Verifying, CPU", JobStage::Verify),
    ] {
        let sum = |jobs: &[jobs::Job]| Some(cpu(jobs, stage)).filter(|v| *v > 0.0);
        add(name, sum(&jobs_a), sum(&jobs_b), &|v| text::seconds(v));
    }
    let peak = |jobs: &[jobs::Job]| {
        let most = jobs.iter().map(|j| j.usage.peak_bytes).max();
        most.filter(|n| *n > 0).map(|n| n as f64)
    };
    add(
        "Largest peak of a job",
        peak(&jobs_a),
        peak(&jobs_b),
        &|v| text::bytes(v as u64),
    );
    let proofs = |s: &Subject| {
        let bytes = s.run.as_ref()?.totals.proof_bytes;
        (bytes > 0).then_some(bytes as f64)
    };
    let (x, y) = both(&proofs);
    add("Proofs together", x, y, &|v| text::bytes(v as u64));
    let error = |s: &Subject| s.run.as_ref()?.fidelity.as_ref()?.error;
    let (x, y) = both(&error);
    add("Error of the output", x, y, &|v| text::error(Some(v)));
    all
}

fn pairs(a: &Subject, b: &Subject) -> Vec<Pair> {
    let (jobs_a, jobs_b) = (jobs::all(a), jobs::all(b));
    let proving = |jobs: &[jobs::Job], slice: usize| {
        let job = jobs
            .iter()
            .find(|j| j.slice == slice && j.stage == JobStage::Prove);
        job.map_or_else(|| "–".to_owned(), |j| text::seconds(j.usage.cpu_seconds))
    };
    let error = |s: &Subject, slice: usize| {
        let run = s.slice_run(slice);
        let f = run.and_then(|r| r.fidelity.as_ref());
        f.map_or_else(|| "–".to_owned(), |f| text::error(f.error.or(f.max_rel)))
    };
    a.slices
        .iter()
        .zip(&b.slices)
        .map(|(x, y)| Pair {
            slice: x.index,
            operators: graph::operators(x),
            states: [Cell::of(a, x), Cell::of(b, y)],
            backends: [
                a.backend(x).unwrap_or("–").to_owned(),
                b.backend(y).unwrap_or("–").to_owned(),
            ],
            cpu: [proving(&jobs_a, x.index), proving(&jobs_b, y.index)],
            errors: [error(a, x.index), error(b, y.index)],
        })
        .collect()
}
