//! System calls that no safe crate offers. With `loader`, the only unsafe code here.

use std::io;
use std::time::Duration;

/// Whether the kernel started this program with more rights than its user has.
#[cfg(target_os = "linux")]
pub(crate) fn secure_execution() -> bool {
    // SAFETY: getauxval reads a table of the process and has no preconditions.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Elsewhere the comparison of user and group IDs has to do.
#[cfg(not(target_os = "linux"))]
pub(crate) fn secure_execution() -> bool {
    false
}

/// Which side of a fork this is.
pub(crate) enum Fork {
    /// The old process; the number is the new one's.
    Parent(i32),
    /// The new process.
    Child,
}

/// Splits the process in two. Only while a single thread runs: a second one could hold a
/// lock (of the allocator, say) that the child would wait for in vain.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: the callers are single-threaded (see above), so that the child may go on
    // with all of its memory in order.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// A child that ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reaped {
    pub(crate) pid: i32,
    /// Exit code, or the signal that killed it.
    pub(crate) ended: Result<i32, i32>,
    /// CPU of it and of everything it waited for.
    pub(crate) cpu: Duration,
    /// Largest resident set of it or of a child it waited for, in bytes.
    pub(crate) max_rss: u64,
}

/// Answer of [`wait_any`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wait {
    /// There are children and none has ended.
    Running,
    /// There are no children.
    NoChildren,
    /// One ended.
    Reaped(Reaped),
}

/// Collects one ended child without waiting.
pub(crate) fn wait_any() -> io::Result<Wait> {
    let mut status = 0;
    let mut usage = empty_usage();
    loop {
        // SAFETY: both pointers are to live values of the right types.
        let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, &raw mut usage) };
        if pid > 0 {
            let ended = if libc::WIFSIGNALED(status) {
                Err(libc::WTERMSIG(status))
            } else {
                Ok(libc::WEXITSTATUS(status))
            };
            return Ok(Wait::Reaped(Reaped {
                pid,
                ended,
                cpu: cpu_of(&usage),
                max_rss: rss_of(&usage),
            }));
        }
        if pid == 0 {
            return Ok(Wait::Running);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ECHILD) => return Ok(Wait::NoChildren),
            Some(libc::EINTR) => {}
            _ => return Err(error),
        }
    }
}

/// CPU of this process and of the children it waited for, and this process's largest
/// resident set in bytes.
pub(crate) fn own_usage() -> (Duration, u64) {
    let mut own = empty_usage();
    let mut children = empty_usage();
    // SAFETY: both pointers are to live values; the calls can't fail with these flags.
    unsafe {
        libc::getrusage(libc::RUSAGE_SELF, &raw mut own);
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut children);
    }
    (cpu_of(&own) + cpu_of(&children), rss_of(&own))
}

fn empty_usage() -> libc::rusage {
    // SAFETY: rusage is a struct of integers, for which all zeroes is a value.
    unsafe { std::mem::zeroed() }
}

fn cpu_of(usage: &libc::rusage) -> Duration {
    let time = |t: libc::timeval| {
        Duration::from_secs(u64::try_from(t.tv_sec).unwrap_or(0))
            + Duration::from_micros(u64::try_from(t.tv_usec).unwrap_or(0))
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

fn rss_of(usage: &libc::rusage) -> u64 {
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    u64::try_from(usage.ru_maxrss).unwrap_or(0) * unit
}

/// Makes ended children wait to be collected, which is the default of the system.
pub(crate) fn notice_children() {
    // SAFETY: the default action is no function of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Ends the process at once: no destructors, no `atexit` handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Closes the descriptors `first ..= last`. For a fresh child only, which owns none of
/// them in Rust's sense.
pub(crate) fn close_between(first: i32, last: i32) {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: closing descriptors touches no memory; the caller owns none of them.
        let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if done == 0 {
            return;
        }
    }
    for fd in first..=last.min(4096) {
        // SAFETY: as above; closing a number that is not open only returns an error.
        unsafe { libc::close(fd) };
    }
}

/// Lets C code in this process print line by line even though standard output is a pipe:
/// what stands in a buffer is lost when the worker ends by [`exit_now`].
pub(crate) fn line_buffered_stdout() {
    #[cfg(target_os = "linux")]
    {
        unsafe extern "C" {
            #[link_name = "stdout"]
            static C_STDOUT: *mut libc::FILE;
        }
        // SAFETY: the C library's own stream, before anything has used it.
        unsafe { libc::setvbuf(C_STDOUT, std::ptr::null_mut(), libc::_IOLBF, 0) };
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn own_usage_grows() {
        let (before, peak) = super::own_usage();
        let mut x = 1u64;
        for i in 0..3_000_000u64 {
            x = std::hint::black_box(x.wrapping_mul(i | 1));
        }
        let (after, _) = super::own_usage();
        assert!(after > before, "{x}");
        assert!(peak > 1 << 20);
    }
}
