//! Who ran what when, in the Trace Event Format of Chrome, which Perfetto reads too.
//!
//! Each stage is a process, each lane a thread, each job a complete event (`X`); a counter
//! follows the peaks of the jobs that run at the time. Idle hours between commands would
//! make the picture useless, so long gaps are cut; `args.started` keeps the true time.

use crate::jobs::{self, Job, Schedule};
use crate::subject::Subject;
use crate::text;
use serde_json::{Value, json};

/// Longer idle times between stages are shown as this many seconds.
const GAP: f64 = 1.0;

/// The trace of a model's compilation and of a run.
#[must_use]
pub fn trace(subject: &Subject) -> Value {
    let all = jobs::all(subject);
    let schedules = jobs::schedules_or_rows(&all);
    let mut events: Vec<Value> = Vec::new();
    let mut at = 0.0;
    let mut recorded = true;
    for (k, s) in schedules.iter().enumerate() {
        let pid = k + 1;
        recorded &= s.began.is_some();
        events.push(named("process_name", pid, 0, s.stage.word()));
        events.push(json!({"ph": "M", "name": "process_sort_index", "pid": pid, "tid": 0, "args": {"sort_index": pid}}));
        for lane in 0..s.lanes {
            events.push(named(
                "thread_name",
                pid,
                lane + 1,
                &format!("worker {}", lane + 1),
            ));
        }
        events.extend(s.jobs.iter().map(|p| {
            let j = &all[p.job];
            json!({
                "ph": "X",
                "name": format!("slice {}", j.slice),
                "cat": s.stage.word(),
                "pid": pid,
                "tid": p.lane + 1,
                "ts": micros(at + p.start),
                "dur": micros(j.usage.seconds),
                "args": {
                    "backend": j.backend,
                    "started": j.usage.started_at.and_then(text::moment),
                    "cpu_seconds": j.usage.cpu_seconds,
                    "peak_bytes": j.usage.peak_bytes,
                    "file_bytes": j.bytes,
                    "success": j.success,
                },
            })
        }));
        events.extend(memory(s, &all, pid, at));
        at += s.span + GAP;
    }
    json!({
        "displayTimeUnit": "ms",
        "otherData": {
            "model": subject.model.model.name,
            "model_identity": subject.model.identity,
            "run": subject.run.as_ref().map(|_| &subject.name),
            "starts_recorded": recorded,
            "gaps": "idle time between stages is shortened to one second",
        },
        "traceEvents": events,
    })
}

fn named(what: &str, pid: usize, tid: usize, name: &str) -> Value {
    json!({"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}})
}

fn micros(seconds: f64) -> f64 {
    (seconds * 1e6).round()
}

/// The sum of the peaks of the jobs that run at a time: an upper bound of the memory.
fn memory(s: &Schedule, all: &[Job], pid: usize, at: f64) -> Vec<Value> {
    let mut changes: Vec<(f64, i128)> = Vec::new();
    for p in &s.jobs {
        let usage = &all[p.job].usage;
        let peak = i128::from(usage.peak_bytes);
        changes.push((p.start, peak));
        changes.push((p.start + usage.seconds, -peak));
    }
    // At the same moment what ends comes first.
    changes.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut now = 0i128;
    changes
        .into_iter()
        .map(|(time, change)| {
            now += change;
            json!({
                "ph": "C",
                "name": "memory (sum of peaks)",
                "pid": pid,
                "tid": 0,
                "ts": micros(at + time),
                "args": {"bytes": u64::try_from(now).unwrap_or_default()},
            })
        })
        .collect()
}
