//! Who ran what when: every recorded job of a model and a run, with its start.

use crate::subject::Subject;
use dsperse_documents::{Usage, Verdict};
use serde::Serialize;

/// The stages in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStage {
    /// `compile`.
    Compile,
    /// `run`.
    Run,
    /// `prove`.
    Prove,
    /// `verify`.
    Verify,
}

impl JobStage {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Compile, Self::Run, Self::Prove, Self::Verify];

    /// The command's name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Compile => "compile",
            Self::Run => "run",
            Self::Prove => "prove",
            Self::Verify => "verify",
        }
    }
}

/// One job.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Stage.
    pub stage: JobStage,
    /// Slice.
    pub slice: usize,
    /// Backend.
    pub backend: String,
    /// What it cost, and when it began.
    pub usage: Usage,
    /// Bytes of the files that it made.
    pub bytes: u64,
    /// Whether it did what it should.
    pub success: bool,
}

/// All jobs that left a record, by stage and slice.
#[must_use]
pub fn all(subject: &Subject) -> Vec<Job> {
    let mut jobs = Vec::new();
    for slice in &subject.slices {
        let backend = subject.backend(slice).unwrap_or_default().to_owned();
        if let Some(c) = subject.compilation(slice)
            && c.usage.seconds > 0.0
        {
            jobs.push(Job {
                stage: JobStage::Compile,
                slice: slice.index,
                backend: backend.clone(),
                usage: c.usage,
                bytes: sum(c.artefacts.iter().map(|a| a.size)),
                success: true,
            });
        }
        let run = subject.slice_run(slice.index);
        let stages = run.map(|r| {
            [
                (JobStage::Run, &r.witness_execution),
                (JobStage::Prove, &r.proof_execution),
                (JobStage::Verify, &r.verification_execution),
            ]
        });
        // What the verification says of itself goes before the run's note of it.
        let verdict = subject.slice_verdict(slice.index);
        for (stage, outcome) in stages.into_iter().flatten() {
            let judged = verdict.filter(|_| stage == JobStage::Verify);
            let (usage, success, files) = match (judged, outcome) {
                (Some(v), _) => (v.usage, v.verdict != Verdict::Failed, [].as_slice()),
                (None, Some(o)) => (o.usage, o.success, o.files.as_slice()),
                (None, None) => continue,
            };
            if usage.seconds <= 0.0 {
                continue;
            }
            let by = judged.and_then(|v| v.backend.clone());
            jobs.push(Job {
                stage,
                slice: slice.index,
                backend: by.unwrap_or_else(|| backend.clone()),
                usage,
                bytes: sum(files.iter().map(|f| f.size)),
                success,
            });
        }
    }
    jobs.sort_by_key(|j| (j.stage, j.slice));
    jobs
}

fn sum(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

/// A job in its place on a time axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    /// Position in the list of jobs.
    pub job: usize,
    /// Seconds since the first job of its stage began.
    pub start: f64,
    /// The lane: jobs of one lane do not overlap, so each is a worker at a time.
    pub lane: usize,
}

/// One stage on a time axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Stage.
    pub stage: JobStage,
    /// When the first job began, in seconds since 1970; `None` when the starts were not
    /// recorded and the jobs stand one after another.
    pub began: Option<f64>,
    /// Seconds from the first start to the last end.
    pub span: f64,
    /// Number of lanes.
    pub lanes: usize,
    /// The jobs, by start.
    pub jobs: Vec<Placed>,
}

/// Two ends of neighbouring jobs are measured with clocks that differ by less than this.
const SLACK: f64 = 0.002;

/// The jobs of each stage on axes of their own. Stages are commands; hours may lie between
/// them.
#[must_use]
pub fn schedules(jobs: &[Job]) -> Vec<Schedule> {
    JobStage::ALL
        .into_iter()
        .filter_map(|stage| schedule(jobs, stage))
        .collect()
}

fn schedule(jobs: &[Job], stage: JobStage) -> Option<Schedule> {
    let mut mine: Vec<usize> = (0..jobs.len())
        .filter(|i| jobs[*i].stage == stage)
        .collect();
    let began = mine
        .iter()
        .map(|i| jobs[*i].usage.started_at.filter(|t| t.is_finite()))
        .collect::<Option<Vec<f64>>>()?
        .into_iter()
        .reduce(f64::min);
    if mine.is_empty() {
        return None;
    }
    let start = |i: usize| jobs[i].usage.started_at.unwrap_or_default();
    mine.sort_by(|a, b| start(*a).total_cmp(&start(*b)).then(a.cmp(b)));
    let mut ends: Vec<f64> = Vec::new();
    let mut placed = Vec::new();
    let mut span = 0f64;
    for job in mine {
        let from = start(job) - began.unwrap_or_default();
        let to = from + jobs[job].usage.seconds.max(0.0);
        let lane = match ends.iter().position(|end| *end <= from + SLACK) {
            Some(lane) => lane,
            None => {
                ends.push(0.0);
                ends.len() - 1
            }
        };
        ends[lane] = to;
        span = span.max(to);
        placed.push(Placed {
            job,
            start: from,
            lane,
        });
    }
    Some(Schedule {
        stage,
        began,
        span,
        lanes: ends.len(),
        jobs: placed,
    })
}

/// As [`schedules`], but a stage without recorded starts has its jobs one after another.
#[must_use]
pub fn schedules_or_rows(jobs: &[Job]) -> Vec<Schedule> {
    let mut found = schedules(jobs);
    for stage in JobStage::ALL {
        if found.iter().any(|s| s.stage == stage) {
            continue;
        }
        let mut at = 0.0;
        let mut placed = Vec::new();
        for (job, j) in jobs.iter().enumerate().filter(|(_, j)| j.stage == stage) {
            placed.push(Placed {
                job,
                start: at,
                lane: 0,
            });
            at += j.usage.seconds.max(0.0);
        }
        if !placed.is_empty() {
            found.push(Schedule {
                stage,
                began: None,
                span: at,
                lanes: 1,
                jobs: placed,
            });
        }
    }
    found.sort_by_key(|s| s.stage);
    found
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn job(stage: JobStage, slice: usize, start: Option<f64>, seconds: f64) -> Job {
        Job {
            stage,
            slice,
            backend: "sumcheck".to_owned(),
            usage: Usage {
                seconds,
                cpu_seconds: seconds,
                peak_bytes: 1 << 20,
                started_at: start,
            },
            bytes: 10,
            success: true,
        }
    }

    #[test]
    fn jobs_that_overlap_get_lanes_of_their_own() {
        let jobs = [
            job(JobStage::Prove, 0, Some(100.0), 2.0),
            job(JobStage::Prove, 1, Some(100.5), 1.0),
            job(JobStage::Prove, 2, Some(101.5), 1.0),
            job(JobStage::Verify, 0, Some(500.0), 1.0),
        ];
        let all = schedules(&jobs);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].lanes, 2);
        let lanes: Vec<usize> = all[0].jobs.iter().map(|p| p.lane).collect();
        assert_eq!(lanes, [0, 1, 1]);
        assert_eq!(all[0].span, 2.5);
        assert_eq!(all[1].jobs[0].start, 0.0);
    }

    #[test]
    fn without_starts_jobs_stand_one_after_another() {
        let jobs = [
            job(JobStage::Run, 0, None, 2.0),
            job(JobStage::Run, 1, Some(9.0), 1.0),
        ];
        assert!(schedules(&jobs).is_empty());
        let rows = schedules_or_rows(&jobs);
        assert_eq!(rows[0].began, None);
        assert_eq!(rows[0].jobs[1].start, 2.0);
    }
}
