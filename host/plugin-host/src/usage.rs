//! Memory of a process and of everything below it, sampled from `/proc`.
//!
//! The resident set in `getrusage` starts at the parent's peak after `exec` and so lies;
//! a worker's peak is therefore its own `VmHWM`, and its children's is sampled.

use std::path::Path;

/// Resident bytes of a process; `None` when it is gone.
pub(crate) fn rss(pid: i32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Largest resident set of a process so far, in bytes; `pid` 0 is this process.
pub(crate) fn high_water(pid: i32) -> Option<u64> {
    let path = if pid == 0 {
        "/proc/self/status".to_owned()
    } else {
        format!("/proc/{pid}/status")
    };
    field_kib(&path, "VmHWM:")
}

/// Starts the count of [`high_water`] anew for this process. Where the kernel can't,
/// the figure stays that of the process's whole life.
pub(crate) fn reset_high_water() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Share of the physical memory that a process really uses, in bytes: a child that was
/// forked without `exec` shares its pages with its parent.
fn proportional(pid: i32) -> Option<u64> {
    field_kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

fn field_kib(path: &str, field: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kib * 1024)
}

/// Every process below `root`, without `root`.
pub(crate) fn descendants(root: i32) -> Vec<i32> {
    let mut all = Vec::new();
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        for child in children(pid) {
            // A number can be seen twice when processes move while we look.
            if child != root && !all.contains(&child) {
                all.push(child);
                open.push(child);
            }
        }
    }
    all
}

/// The children of a process, from all of its threads.
fn children(pid: i32) -> Vec<i32> {
    if !Path::new("/proc/thread-self/children").exists() {
        return children_by_parent(pid);
    }
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| {
            list.split_ascii_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<i32>>()
        })
        .collect()
}

/// The same for kernels without lists of children: by asking every process.
fn children_by_parent(parent: i32) -> Vec<i32> {
    let Ok(all) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    all.flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| parent_of(*pid) == Some(parent))
        .collect()
}

fn parent_of(pid: i32) -> Option<i32> {
    stat_field(pid, 1)?.parse().ok()
}

/// Whether a process runs: it is there, and not merely waiting to be collected.
pub(crate) fn is_alive(pid: i32) -> bool {
    stat_field(pid, 0).is_some_and(|state| !matches!(state.as_str(), "Z" | "X"))
}

/// A field of `/proc/<pid>/stat` after the name: 0 is the state, 1 the parent.
fn stat_field(pid: i32, index: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(index).map(str::to_owned)
}

/// Sums the memory of a worker's children over time.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    /// Children that still ran the worker's own program at the last look.
    forked: Vec<i32>,
}

impl Sampler {
    /// Memory of `pids`, which are below `worker`, right now.
    ///
    /// Between `vfork` and `exec` a child shows its parent's memory as its own, so one
    /// that still runs the worker's program is counted only when it does so twice in a
    /// row, and then by its share.
    pub(crate) fn sum(&mut self, worker: i32, pids: &[i32]) -> u64 {
        let program = link(worker);
        let mut sum = 0u64;
        let mut forked = Vec::new();
        for &pid in pids {
            let size = if program.is_some() && link(pid) == program {
                forked.push(pid);
                if self.forked.contains(&pid) {
                    proportional(pid).or_else(|| rss(pid))
                } else {
                    None
                }
            } else {
                rss(pid)
            };
            sum = sum.saturating_add(size.unwrap_or(0));
        }
        self.forked = forked;
        sum
    }
}

fn link(pid: i32) -> Option<std::path::PathBuf> {
    std::fs::read_link(Path::new("/proc").join(pid.to_string()).join("exe")).ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_child_is_a_descendant_with_memory() {
        let own = i32::try_from(std::process::id()).unwrap();
        let mut child = Command::new("sleep")
            .arg("30")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(descendants(own).contains(&pid));
        assert!(children_by_parent(own).contains(&pid));
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let mut size = 0;
        // A program that has just begun has next to no memory yet.
        while size < 100_000 && std::time::Instant::now() < deadline {
            size = Sampler::default().sum(own, &[pid]);
        }
        assert!((100_000..100_000_000).contains(&size), "{size}");
        assert!(is_alive(pid));
        child.kill().unwrap();
        while is_alive(pid) && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        // Dead, though nobody has collected it.
        assert!(!is_alive(pid) && descendants(own).contains(&pid));
        child.wait().unwrap();
        assert!(!descendants(own).contains(&pid));
    }

    #[test]
    fn the_high_water_mark_can_be_reset() {
        let block = vec![1u8; 64 << 20];
        let with = high_water(0).unwrap();
        assert!(with > 64 << 20);
        drop(std::hint::black_box(block));
        reset_high_water();
        assert!(high_water(0).unwrap() + (32 << 20) < with);
    }
}
