//! Times and memory.

use crate::graph;
use crate::jobs::{self, Job, JobStage};
use crate::plots::{self, Timeline};
use crate::subject::Subject;
use crate::text;
use serde::Serialize;

/// Times and memory.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cost {
    /// One row per stage.
    pub totals: Vec<Total>,
    /// Who ran what when.
    pub timelines: Vec<Timeline>,
    /// Stages whose jobs have no recorded start.
    pub without_start: Vec<&'static str>,
    /// The slices that cost most.
    pub expensive: Vec<Expensive>,
    /// How many slices there are.
    pub of: usize,
}

/// One stage.
#[derive(Debug, Clone, Serialize)]
pub struct Total {
    /// Stage.
    pub stage: &'static str,
    /// Jobs.
    pub jobs: String,
    /// Seconds of all jobs.
    pub seconds: String,
    /// CPU seconds of all jobs.
    pub cpu: String,
    /// Largest peak.
    pub peak: String,
    /// Files.
    pub bytes: String,
}

/// An expensive slice.
#[derive(Debug, Clone, Serialize)]
pub struct Expensive {
    /// Slice.
    pub slice: usize,
    /// Its operators.
    pub operators: String,
    /// CPU seconds, in words.
    pub cpu: String,
    /// Of all CPU seconds.
    pub share: String,
    /// Largest peak.
    pub peak: String,
    /// Parts of the bar by stage: class, left edge, width, from 0 to 100.
    pub parts: Vec<(&'static str, f64, f64)>,
    /// The same in words.
    pub tip: String,
}

/// As many expensive slices are listed.
const LISTED: usize = 10;

/// Times and memory of a subject.
#[must_use]
pub fn cost(subject: &Subject) -> Cost {
    let jobs = jobs::all(subject);
    let schedules = jobs::schedules(&jobs);
    let has = |stage| jobs.iter().any(|j| j.stage == stage);
    let without_start = JobStage::ALL
        .into_iter()
        .filter(|s| has(*s) && !schedules.iter().any(|x| x.stage == *s))
        .map(JobStage::word)
        .collect();
    Cost {
        totals: JobStage::ALL
            .into_iter()
            .filter_map(|s| total(&jobs, s))
            .collect(),
        timelines: schedules
            .iter()
            .map(|s| plots::timeline(s, &jobs))
            .collect(),
        without_start,
        expensive: expensive(subject, &jobs),
        of: subject.slices.len(),
    }
}

fn total(jobs: &[Job], stage: JobStage) -> Option<Total> {
    let mine = || jobs.iter().filter(|j| j.stage == stage);
    let n = mine().count();
    (n > 0).then(|| Total {
        stage: stage.word(),
        jobs: text::grouped(n as u64),
        seconds: text::seconds(mine().map(|j| j.usage.seconds).sum()),
        cpu: text::seconds(mine().map(|j| j.usage.cpu_seconds).sum()),
        peak: text::bytes(mine().map(|j| j.usage.peak_bytes).max().unwrap_or(0)),
        bytes: match mine().fold(0u64, |sum, j| sum.saturating_add(j.bytes)) {
            0 => "–".to_owned(),
            n => text::bytes(n),
        },
    })
}

fn expensive(subject: &Subject, jobs: &[Job]) -> Vec<Expensive> {
    let cpu = |slice: usize, stage: JobStage| -> f64 {
        jobs.iter()
            .filter(|j| j.slice == slice && j.stage == stage)
            .map(|j| j.usage.cpu_seconds)
            .sum()
    };
    let whole: f64 = jobs.iter().map(|j| j.usage.cpu_seconds).sum();
    let mut all: Vec<(usize, f64)> = subject
        .slices
        .iter()
        .map(|s| {
            (
                s.index,
                JobStage::ALL.into_iter().map(|g| cpu(s.index, g)).sum(),
            )
        })
        .filter(|(_, cpu)| *cpu > 0.0)
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    let most = all.first().map_or(1.0, |(_, cpu)| *cpu);
    all.into_iter()
        .take(LISTED)
        .map(|(slice, sum)| {
            let mut x = 0.0;
            let mut parts = Vec::new();
            let mut words = Vec::new();
            for stage in JobStage::ALL {
                let part = cpu(slice, stage);
                if part <= 0.0 {
                    continue;
                }
                let width = part / most * 100.0;
                parts.push((stage.word(), round(x), round(width)));
                x += width;
                words.push(format!("{} {}", stage.word(), text::seconds(part)));
            }
            let mine = jobs.iter().filter(|j| j.slice == slice);
            Expensive {
                slice,
                operators: subject
                    .slices
                    .iter()
                    .find(|s| s.index == slice)
                    .map(graph::operators)
                    .unwrap_or_default(),
                cpu: text::seconds(sum),
                share: text::percent(if whole > 0.0 { sum / whole } else { 0.0 }),
                peak: text::bytes(mine.map(|j| j.usage.peak_bytes).max().unwrap_or(0)),
                parts,
                tip: words.join(", "),
            }
        })
        .collect()
}

fn round(v: f64) -> f64 {
    (v * 10.0).round() / 10.0
}
