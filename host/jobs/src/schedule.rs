//! A bounded pool: jobs run in parallel as long as their number and their estimated
//! memory stay within bounds, and each waits for those that it depends on.

use dsperse_plugin_host::CancelToken;
pub use dsperse_store::lock;
use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};

/// One piece of work.
#[derive(Debug, Clone, Default)]
pub struct Task {
    /// Tasks (by position) that must be finished before.
    pub after: Vec<usize>,
    /// Estimated peak memory in bytes; 0 when nothing is known.
    pub memory: u64,
}

/// Bounds of the pool.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Tasks at the same time.
    pub parallel: usize,
    /// Memory that running tasks may use together, by their estimates. A task that alone
    /// exceeds it runs alone.
    pub memory: u64,
}

struct State<R> {
    waiting: BTreeSet<usize>,
    running: usize,
    memory: u64,
    results: Vec<Option<R>>,
}

/// Runs `work(position)` for every task and returns the results by position. `None` means
/// that the task was never started, because `cancel` was set or a task it depends on was
/// not started.
pub fn run_all<R: Send>(
    tasks: &[Task],
    bounds: Bounds,
    cancel: &CancelToken,
    work: impl Fn(usize) -> R + Sync,
) -> Vec<Option<R>> {
    let state = Mutex::new(State {
        waiting: (0..tasks.len()).collect(),
        running: 0,
        memory: 0,
        results: (0..tasks.len()).map(|_| None).collect::<Vec<Option<R>>>(),
    });
    let changed = Condvar::new();
    let workers = bounds.parallel.max(1).min(tasks.len());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| serve(tasks, bounds, cancel, &work, &state, &changed));
        }
    });
    state
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .results
}

fn serve<R: Send>(
    tasks: &[Task],
    bounds: Bounds,
    cancel: &CancelToken,
    work: &(impl Fn(usize) -> R + Sync),
    state: &Mutex<State<R>>,
    changed: &Condvar,
) {
    let mut guard = lock(state);
    loop {
        if guard.waiting.is_empty() || cancel.is_cancelled() {
            changed.notify_all();
            return;
        }
        let finished = |t: &usize| guard.results.get(*t).is_some_and(Option::is_some);
        let fits = |m: u64| guard.running == 0 || guard.memory.saturating_add(m) <= bounds.memory;
        let next = guard
            .waiting
            .iter()
            .copied()
            .find(|t| tasks[*t].after.iter().all(finished) && fits(tasks[*t].memory));
        let Some(next) = next else {
            if guard.running == 0 {
                // Nothing runs and nothing can start: what is left waits for a task that
                // was not started, or for itself.
                changed.notify_all();
                return;
            }
            guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        guard.waiting.remove(&next);
        guard.running += 1;
        guard.memory = guard.memory.saturating_add(tasks[next].memory);
        drop(guard);
        let mut slot = Slot {
            position: next,
            memory: tasks[next].memory,
            result: None,
            state,
            changed,
        };
        slot.result = Some(work(next));
        drop(slot);
        guard = lock(state);
    }
}

/// A running task. Dropping it gives its place free, also when the task panics, so that
/// the others don't wait for ever.
struct Slot<'s, R> {
    position: usize,
    memory: u64,
    result: Option<R>,
    state: &'s Mutex<State<R>>,
    changed: &'s Condvar,
}

impl<R> Drop for Slot<'_, R> {
    fn drop(&mut self) {
        let mut state = lock(self.state);
        if let Some(place) = state.results.get_mut(self.position) {
            *place = self.result.take();
        }
        state.running -= 1;
        state.memory = state.memory.saturating_sub(self.memory);
        self.changed.notify_all();
    }
}

/// Memory that this machine can spare, in bytes: four fifths of what is available now.
#[must_use]
pub fn available_memory() -> u64 {
    meminfo("MemAvailable:").unwrap_or(4 << 30) / 5 * 4
}

/// Memory that one slice may need on this machine when the user says nothing, in bytes: half
/// of what is installed, or of what this process's group may use. Unlike
/// [`available_memory`] it is the same whatever else runs, because it decides where a model
/// is cut.
#[must_use]
pub fn usual_memory() -> u64 {
    memory() / 2
}

/// Memory above which a job is ended on this machine when the user says nothing, in bytes:
/// nine tenths of what is installed, or of what this process's group may use. The machine
/// stays usable, and the job fails by name instead of whatever the kernel picks.
#[must_use]
pub fn most_memory() -> u64 {
    memory() / 10 * 9
}

/// Memory of this machine, or of this process's group, in bytes.
fn memory() -> u64 {
    let number = |text: String| text.trim().parse::<u64>().ok();
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max");
    let group = group.ok().and_then(number);
    let installed = meminfo("MemTotal:").unwrap_or(8 << 30);
    group.map_or(installed, |g| g.min(installed))
}

/// A line of `/proc/meminfo`, in bytes.
fn meminfo(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|l| l.starts_with(name))?;
    let kib = line.split_whitespace().nth(1)?.parse::<u64>().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::time::Duration;

    fn task(after: &[usize], memory: u64) -> Task {
        Task {
            after: after.to_vec(),
            memory,
        }
    }

    fn bounds(parallel: usize, memory: u64) -> Bounds {
        Bounds { parallel, memory }
    }

    #[test]
    fn dependencies_come_first() {
        let tasks = [task(&[1, 2], 0), task(&[2], 0), task(&[], 0)];
        let clock = AtomicUsize::new(0);
        let order = run_all(&tasks, bounds(3, 0), &CancelToken::new(), |_| {
            clock.fetch_add(1, Ordering::SeqCst)
        });
        assert_eq!(order, [Some(2), Some(1), Some(0)]);
    }

    #[test]
    fn memory_and_number_stay_within_bounds() {
        let tasks: Vec<Task> = (0..20).map(|i| task(&[], 10 + i % 3)).collect();
        let (now, peak, memory, most) = (
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicU64::new(0),
            AtomicU64::new(0),
        );
        run_all(&tasks, bounds(4, 29), &CancelToken::new(), |i| {
            let running = now.fetch_add(1, Ordering::SeqCst) + 1;
            peak.fetch_max(running, Ordering::SeqCst);
            let used = memory.fetch_add(tasks[i].memory, Ordering::SeqCst) + tasks[i].memory;
            most.fetch_max(used, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(2));
            memory.fetch_sub(tasks[i].memory, Ordering::SeqCst);
            now.fetch_sub(1, Ordering::SeqCst);
        });
        assert!(peak.load(Ordering::SeqCst) <= 2);
        assert!(most.load(Ordering::SeqCst) <= 29);
    }

    #[test]
    fn a_task_above_the_budget_runs_alone() {
        let tasks = [task(&[], 100), task(&[], 100)];
        let done = run_all(&tasks, bounds(2, 10), &CancelToken::new(), |i| i);
        assert_eq!(done, [Some(0), Some(1)]);
    }

    #[test]
    fn cancelling_starts_nothing_more() {
        let tasks = vec![task(&[], 0); 5];
        let cancel = CancelToken::new();
        let done = run_all(&tasks, bounds(1, 0), &cancel, |i| {
            if i == 1 {
                cancel.cancel();
            }
            i
        });
        assert_eq!(done, [Some(0), Some(1), None, None, None]);
    }

    #[test]
    fn circles_end_instead_of_waiting_for_ever() {
        let tasks = [task(&[1], 0), task(&[0], 0), task(&[], 0)];
        let done = run_all(&tasks, bounds(2, 0), &CancelToken::new(), |i| i);
        assert_eq!(done, [None, None, Some(2)]);
    }
}
