//! Each slice in full.

use super::{Cell, Fact, Work};
use crate::graph;
use crate::jobs::{self, JobStage};
use crate::plots;
use crate::reasons::Group;
use crate::subject::Subject;
use crate::text;
use dsperse_documents::{KeyOrigin, SliceMetadata, TensorInfo};
use serde::Serialize;

/// A slice.
#[derive(Debug, Clone, Serialize)]
pub struct SliceView {
    /// Index and state.
    pub cell: Cell,
    /// Operators.
    pub operators: String,
    /// Backend with its version.
    pub backend: String,
    /// Parameters.
    pub parameters: String,
    /// Parameters, for sorting.
    pub parameters_n: u64,
    /// Share of the work.
    pub share: String,
    /// Multiply-accumulates, for sorting.
    pub macs_n: u64,
    /// Multiply-accumulates.
    pub macs: String,
    /// CPU seconds of proving (of compiling, in a model).
    pub cpu: String,
    /// The same, for sorting.
    pub cpu_n: f64,
    /// Largest peak.
    pub peak: String,
    /// The same, for sorting.
    pub peak_n: u64,
    /// Bytes of the proof (of the circuit, in a model).
    pub bytes: String,
    /// The same, for sorting.
    pub bytes_n: u64,
    /// Own error.
    pub error: String,
    /// The same, for sorting.
    pub error_n: f64,
    /// Facts.
    pub facts: Vec<Fact>,
    /// Why it is not proven, or was passed over.
    pub reasons: Vec<ReasonLink>,
    /// Inputs.
    pub inputs: Vec<Port>,
    /// Outputs.
    pub outputs: Vec<Port>,
    /// Costs by stage.
    pub stages: Vec<StageRow>,
    /// Scatters of its outputs.
    pub sparks: Vec<Spark>,
}

/// A reason that is told in full elsewhere on the page.
#[derive(Debug, Clone, Serialize)]
pub struct ReasonLink {
    /// Its number.
    pub number: usize,
    /// Its beginning.
    pub text: String,
}

/// An input or output.
#[derive(Debug, Clone, Serialize)]
pub struct Port {
    /// Tensor.
    pub name: String,
    /// Element type in the run, or in the model.
    pub dtype: String,
    /// Shape.
    pub shape: String,
}

/// A stage of a slice.
#[derive(Debug, Clone, Serialize)]
pub struct StageRow {
    /// Stage.
    pub stage: &'static str,
    /// Backend.
    pub backend: String,
    /// Seconds.
    pub seconds: String,
    /// CPU seconds.
    pub cpu: String,
    /// Peak.
    pub peak: String,
    /// Files.
    pub bytes: String,
    /// When it began.
    pub started: String,
    /// Whether it failed.
    pub failed: bool,
}

/// A small scatter of a tensor.
#[derive(Debug, Clone, Serialize)]
pub struct Spark {
    /// Tensor.
    pub tensor: String,
    /// The points as one path.
    pub path: String,
    /// What it says, in words.
    pub words: String,
}

/// Side of a small scatter, in pixels.
pub const SPARK: f64 = 120.0;

/// Each slice in full.
#[must_use]
pub fn slices(subject: &Subject, groups: &[Group]) -> Vec<SliceView> {
    let jobs = jobs::all(subject);
    let work = Work::of(subject);
    subject
        .slices
        .iter()
        .map(|s| slice(subject, s, &jobs, &work, groups))
        .collect()
}

fn slice(
    subject: &Subject,
    s: &SliceMetadata,
    jobs: &[jobs::Job],
    work: &Work,
    groups: &[Group],
) -> SliceView {
    let run = subject.slice_run(s.index);
    let mine: Vec<&jobs::Job> = jobs.iter().filter(|j| j.slice == s.index).collect();
    let main_stage = if subject.run.is_some() {
        JobStage::Prove
    } else {
        JobStage::Compile
    };
    let main = mine.iter().find(|j| j.stage == main_stage);
    let cpu_n = main.map_or(-1.0, |j| j.usage.cpu_seconds);
    let peak_n = mine.iter().map(|j| j.usage.peak_bytes).max().unwrap_or(0);
    let bytes_n = main.map_or(0, |j| j.bytes);
    let fidelity = run.and_then(|r| r.fidelity.as_ref());
    let dash = || "–".to_owned();
    SliceView {
        cell: Cell::of(subject, s),
        operators: graph::operators(s),
        backend: backend(subject, s),
        parameters: text::count(s.parameters),
        parameters_n: s.parameters,
        share: text::percent(work.share([s])),
        macs_n: s.macs,
        macs: text::count(s.macs),
        cpu: main.map_or_else(dash, |j| text::seconds(j.usage.cpu_seconds)),
        cpu_n,
        peak: if peak_n > 0 {
            text::bytes(peak_n)
        } else {
            dash()
        },
        peak_n,
        bytes: if bytes_n > 0 {
            text::bytes(bytes_n)
        } else {
            dash()
        },
        bytes_n,
        error: fidelity.map_or_else(dash, |f| text::error(f.error.or(f.max_rel))),
        error_n: fidelity.map_or(-1.0, |f| f.error.unwrap_or(f64::MAX)),
        facts: facts(subject, s),
        reasons: told(s, groups),
        inputs: ports(subject, &s.inputs),
        outputs: ports(subject, &s.outputs),
        stages: mine
            .iter()
            .map(|j| StageRow {
                stage: j.stage.word(),
                backend: j.backend.clone(),
                seconds: text::seconds(j.usage.seconds),
                cpu: text::seconds(j.usage.cpu_seconds),
                peak: text::bytes(j.usage.peak_bytes),
                bytes: if j.bytes > 0 {
                    text::bytes(j.bytes)
                } else {
                    dash()
                },
                started: j
                    .usage
                    .started_at
                    .and_then(text::moment)
                    .unwrap_or_else(dash),
                failed: !j.success,
            })
            .collect(),
        sparks: sparks(subject, s.index),
    }
}

fn backend(subject: &Subject, s: &SliceMetadata) -> String {
    let Some(name) = subject.backend(s) else {
        return "–".to_owned();
    };
    let run = subject.slice_run(s.index);
    let version = run
        .and_then(|r| r.backend_version.as_deref())
        .or_else(|| Some(subject.compilation(s)?.backend_version.as_str()));
    match version {
        Some(v) if !v.is_empty() => format!("{name} {v}"),
        _ => name.to_owned(),
    }
}

fn facts(subject: &Subject, s: &SliceMetadata) -> Vec<Fact> {
    let mut facts = vec![
        Fact::new("Multiply-accumulates", text::grouped(s.macs)),
        Fact::new("Parameters", text::grouped(s.parameters)),
        Fact::code("ONNX file, SHA-256", &s.payload.sha256),
    ];
    if let Some(v) = subject.slice_verdict(s.index) {
        if let Some(keys) = v.keys {
            facts.push(Fact::new(
                "Verifying key",
                match keys {
                    KeyOrigin::AsGiven => "as it lay beside the slice",
                    KeyOrigin::Recompiled => "confirmed by compiling again",
                    KeyOrigin::Pinned => "pinned by the verifier",
                },
            ));
        }
        for f in v.circuit.iter().chain(&v.proof_files).take(8) {
            facts.push(Fact::code(&format!("{}, SHA-256", f.name), &f.sha256));
        }
        if let Some(t) = v.tolerance {
            facts.push(Fact::new(
                "Recomputed",
                if t > 0.0 {
                    format!("within a relative tolerance of {t}")
                } else {
                    "bit for bit".to_owned()
                },
            ));
        }
    }
    let run = subject.slice_run(s.index);
    if let Some(f) = run.and_then(|r| r.fidelity.as_ref()) {
        facts.push(Fact::new(
            "Own error",
            format!(
                "{}, largest difference {}",
                text::error(f.error.or(f.max_rel)),
                text::value(f.max_abs)
            ),
        ));
        if let Some(w) = &f.worst {
            facts.push(Fact::new(
                "Worst element",
                format!(
                    "{} of {}: {} where the float slice has {}",
                    text::grouped(w.element),
                    w.output,
                    text::value(w.found),
                    text::value(w.expected)
                ),
            ));
        }
    }
    facts
}

/// The reasons that it shares with others, by their numbers on the page.
fn told(s: &SliceMetadata, groups: &[Group]) -> Vec<ReasonLink> {
    groups
        .iter()
        .enumerate()
        .filter(|(_, g)| g.slices.contains(&s.index))
        .map(|(k, g)| {
            let who = g.backend.as_ref();
            let who = who.map_or_else(String::new, |b| format!("{b}: "));
            ReasonLink {
                number: k + 1,
                text: text::short(&format!("{who}{}", g.reason), 90),
            }
        })
        .collect()
}

fn ports(subject: &Subject, list: &[TensorInfo]) -> Vec<Port> {
    list.iter()
        .map(|t| {
            let held = subject.tensors.get(&t.name);
            let encoding = held.map_or(&t.encoding, |h| &h.encoding);
            let dtype = match encoding {
                dsperse_documents::Encoding::Fixed { exponent } => format!("fixed, 2^{exponent}"),
                e => e.name().to_owned(),
            };
            Port {
                name: t.name.clone(),
                dtype,
                shape: text::shape(&t.shape),
            }
        })
        .collect()
}

fn sparks(subject: &Subject, index: usize) -> Vec<Spark> {
    let tensors = subject.comparison.iter().flat_map(|c| &c.tensors);
    tensors
        .filter(|t| t.slice == index)
        .take(3)
        .filter_map(|t| {
            Some(Spark {
                tensor: t.tensor.clone(),
                path: plots::spark(&t.sample, SPARK)?,
                words: match &t.worst {
                    Some(w) => format!(
                        "error {} up to here; worst element {}: {} where the float model has {}",
                        text::error(t.error),
                        text::grouped(w.element),
                        text::value(w.found),
                        text::value(w.expected)
                    ),
                    None => "no difference".to_owned(),
                },
            })
        })
        .collect()
}
