//! Running an external program within a call: a clean environment is the caller's to set,
//! cancellation, bounded capture of what it prints, and an outcome that keeps "could not
//! start", "exited with a code" and "killed by a signal" apart. And where Python packages
//! with such programs may lie.

use crate::{Cx, Error, ErrorKind, Level, Result};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How much of each stream is kept for messages, in bytes.
const TAIL: usize = 16 * 1024;

/// What a program did.
#[derive(Debug)]
pub struct Output {
    /// Its exit status.
    pub status: ExitStatus,
    /// The end of its standard output.
    pub stdout: String,
    /// The end of its standard error.
    pub stderr: String,
}

impl Output {
    /// How the program ended, for messages: `exit code 101`, `signal 9`.
    #[must_use]
    pub fn ending(&self) -> String {
        #[cfg(unix)]
        if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&self.status) {
            return format!("signal {signal}");
        }
        match self.status.code() {
            Some(code) => format!("exit code {code}"),
            None => "no exit code".to_owned(),
        }
    }

    /// The last lines that the program printed, standard error first choice.
    #[must_use]
    pub fn last_words(&self) -> &str {
        let text = if self.stderr.trim().is_empty() {
            &self.stdout
        } else {
            &self.stderr
        };
        let text = text.trim();
        let start = text
            .char_indices()
            .rev()
            .filter(|(_, c)| *c == '\n')
            .nth(5)
            .map_or(0, |(i, _)| i + 1);
        &text[start..]
    }
}

/// Runs a program to its end. Its standard input is empty; each line that it prints
/// becomes a log event of level `debug`.
///
/// # Errors
/// `tool_missing` when it can't be started, `cancelled` when the host wants the call to
/// stop (the program is killed), `resource` when it was killed by the system for memory.
pub fn run(command: &mut Command, cx: &Cx) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| {
            let kind = match e.kind() {
                std::io::ErrorKind::OutOfMemory => ErrorKind::Resource,
                _ => ErrorKind::ToolMissing,
            };
            Error::new(kind, format!("\"{program}\" can't be started: {e}"))
        })?;
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    let (status, stdout, stderr) = std::thread::scope(|scope| {
        let out = scope.spawn(move || tail(stdout));
        let err = scope.spawn(move || tail(stderr));
        let status = wait(&mut child, cx);
        (
            status,
            out.join().unwrap_or_default(),
            err.join().unwrap_or_default(),
        )
    });
    for line in stdout.lines().chain(stderr.lines()) {
        cx.log(Level::Debug, line);
    }
    Ok(Output {
        status: status?,
        stdout,
        stderr,
    })
}

/// Waits while looking at the wish to stop; sleeps grow from 1 to 20 ms, so that short
/// programs cost no delay and long ones no CPU time.
fn wait(child: &mut Child, cx: &Cx) -> Result<ExitStatus> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if cx.cancelled() {
            // The program may just have ended; either way it is reaped.
            let _ = child.kill();
            child.wait()?;
            return Err(Error::cancelled());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Reads a stream to its end and keeps the last [`TAIL`] bytes or so.
fn tail(stream: Option<impl Read>) -> String {
    let Some(stream) = stream else {
        return String::new();
    };
    let mut reader = BufReader::new(stream);
    let mut kept: Vec<u8> = Vec::new();
    loop {
        let n = match reader.fill_buf() {
            Ok([]) | Err(_) => break,
            Ok(bytes) => {
                kept.extend_from_slice(bytes);
                bytes.len()
            }
        };
        reader.consume(n);
        if kept.len() > 2 * TAIL {
            kept.drain(..kept.len() - TAIL);
        }
    }
    let start = kept.len().saturating_sub(TAIL);
    String::from_utf8_lossy(kept.get(start..).unwrap_or_default()).into_owned()
}

/// The environment variable in which a host passes the directory that the user works in; a
/// call itself works in its job's directory.
pub const WORKING_DIR: &str = "DSPERSE_WORKING_DIR";

/// Python environments in which a tool may be installed, best first: the active one
/// (`VIRTUAL_ENV`), a `.venv` in the directory that the user works in or above it, and
/// those that the named program on `PATH` belongs to (also behind a link).
#[must_use]
pub fn python_environments(program: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    found.extend(std::env::var_os("VIRTUAL_ENV").map(PathBuf::from));
    let here = match std::env::var_os(WORKING_DIR) {
        Some(dir) => Some(PathBuf::from(dir)).filter(|d| d.is_absolute()),
        None => std::env::current_dir().ok(),
    };
    if let Some(here) = here {
        found.extend(here.ancestors().map(|d| d.join(".venv")));
    }
    for dir in search_path() {
        // Programs lie in `bin` of their environment.
        if dir.join(program).is_file() {
            found.extend(dir.parent().map(Path::to_owned));
        }
        if let Ok(real) = dir.join(program).canonicalize() {
            found.extend(real.parent().and_then(Path::parent).map(Path::to_owned));
        }
    }
    found
}

/// The directories of `PATH`.
#[must_use]
pub fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH")
        .map(|p| std::env::split_paths(&p).collect())
        .unwrap_or_default()
}

/// The package directories of a Python environment (`lib/python3.x/site-packages`).
#[must_use]
pub fn site_packages(environment: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(environment.join("lib")) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|e| Some(e.ok()?.path().join("site-packages")))
        .filter(|dir| dir.is_dir())
        .collect();
    found.sort();
    found
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::context::Host;
    use std::time::Instant;

    struct Quiet(bool);
    impl Host for Quiet {
        fn log(&self, _: Level, _: &str) {}
        fn progress(&self, _: f64, _: &str) {}
        fn cancelled(&self) -> bool {
            self.0
        }
    }

    fn sh(script: &str, cancelled: bool) -> Result<Output> {
        let host = Quiet(cancelled);
        let cx = Cx::new(std::env::temp_dir(), 1, None, &host);
        run(Command::new("sh").args(["-c", script]), &cx)
    }

    #[test]
    fn output_and_ending_are_reported() {
        let out = sh("echo one; echo two >&2; exit 7", false).unwrap();
        assert_eq!(out.stdout, "one\n");
        assert_eq!(out.last_words(), "two");
        assert_eq!(out.ending(), "exit code 7");
        assert_eq!(sh("kill -9 $$", false).unwrap().ending(), "signal 9");
    }

    #[test]
    fn only_the_end_of_long_output_is_kept() {
        let out = sh("yes 0123456789 | head -n 20000; echo end", false).unwrap();
        assert!(out.stdout.len() <= TAIL);
        assert!(out.stdout.ends_with("0123456789\nend\n"));
    }

    #[test]
    fn cancelling_kills_the_program() {
        let start = Instant::now();
        let e = sh("exec sleep 30", true).unwrap_err();
        assert_eq!(e.kind, ErrorKind::Cancelled);
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_missing_program_is_a_missing_tool() {
        let host = Quiet(false);
        let cx = Cx::new(std::env::temp_dir(), 1, None, &host);
        let e = run(&mut Command::new("dsperse-no-such-program"), &cx).unwrap_err();
        assert_eq!(e.kind, ErrorKind::ToolMissing);
    }
}
