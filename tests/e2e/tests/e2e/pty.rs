//! A command in a pseudo-terminal: what a person would see, and what a person types.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait for anything. Nothing is decided by time; this only ends a test that
/// would wait for ever.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Screen {
    text: String,
    /// Nobody has the terminal open any more.
    ended: bool,
}

/// A command that runs in a terminal of its own.
pub(crate) struct Terminal {
    master: File,
    child: Child,
    screen: Arc<(Mutex<Screen>, Condvar)>,
    /// How much of the text was waited for already.
    seen: usize,
}

impl Terminal {
    /// Starts the command as the leader of a session with a new terminal.
    pub(crate) fn start(mut command: Command) -> Self {
        let (master, slave) = open();
        let again = || slave.try_clone().expect("a descriptor");
        command.stdin(again()).stdout(again()).stderr(again());
        // Without a kind of terminal nothing is redrawn, and not every machine sets one.
        command.env("TERM", "xterm");
        // SAFETY: what runs between fork and exec are two system calls; they allocate
        // nothing and take no lock.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
                Ok(())
            });
        }
        let child = command.spawn().expect("the binary can be started");
        // The terminal ends when the last process that has it open ends; not this one.
        drop((command, slave));
        let screen = Arc::new((Mutex::new(Screen::default()), Condvar::new()));
        let reader = master.try_clone().expect("a descriptor");
        std::thread::spawn({
            let screen = screen.clone();
            move || read(reader, &screen)
        });
        Self {
            master,
            child,
            screen,
            seen: 0,
        }
    }

    /// Waits for a text behind what was waited for before.
    pub(crate) fn wait_for(&mut self, wanted: &str) {
        let from = self.seen;
        let found = self.until(|screen| {
            let at = screen.text.get(from..)?.find(wanted)?;
            Some(from + at + wanted.len())
        });
        self.seen = found.unwrap_or_else(|text| {
            panic!("{wanted:?} does not appear in the terminal:\n{text}");
        });
    }

    /// Types a line, with the enter key.
    pub(crate) fn enter(&mut self, line: &str) {
        self.press(&format!("{line}\r"));
    }

    /// Types these keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.master
            .write_all(keys.as_bytes())
            .expect("the terminal takes keys");
    }

    /// Waits for the end: exit code (128 + signal when a signal ended it), and everything
    /// that was shown.
    pub(crate) fn end(mut self) -> (i32, String) {
        let text = self
            .until(|screen| screen.ended.then(|| screen.text.clone()))
            .unwrap_or_else(|text| panic!("the command does not end:\n{text}"));
        let status = self.child.wait().expect("it ended");
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        let code = status.code().or(signal.map(|s| 128 + s));
        (code.expect("a code or a signal"), text)
    }

    /// Waits for something to be seen; the error is what was there instead.
    fn until<T>(&self, look: impl Fn(&Screen) -> Option<T>) -> Result<T, String> {
        let (screen, changed) = &*self.screen;
        let deadline = Instant::now() + PATIENCE;
        let mut screen = screen.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = look(&screen) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if screen.ended || left.is_zero() {
                return Err(screen.text.clone());
            }
            let waited = changed.wait_timeout(screen, left);
            screen = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Terminal {
    /// A test that failed leaves no process behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads until the terminal ends, which Linux tells as an error.
fn read(mut master: File, screen: &(Mutex<Screen>, Condvar)) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = master.read(&mut buffer).unwrap_or(0);
        bytes.extend_from_slice(&buffer[..n]);
        let mut now = screen.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What is seen never changes: a character that is not complete yet waits.
        let whole = match std::str::from_utf8(&bytes) {
            Ok(text) => text.len(),
            Err(e) => e.valid_up_to(),
        };
        now.text.push_str(&String::from_utf8_lossy(&bytes[..whole]));
        bytes.drain(..whole);
        now.ended = n == 0;
        screen.1.notify_all();
        if n == 0 {
            return;
        }
    }
}

/// A new terminal: the person's end and the command's.
fn open() -> (File, File) {
    let end = |path: &str| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open(path)
            .unwrap_or_else(|e| panic!("{path}: {e}"))
    };
    let master = end("/dev/ptmx");
    let fd = master.as_raw_fd();
    let mut name = [0u8; 128];
    // SAFETY: the descriptor is open for the whole block, and `name` has the length that
    // is given with it.
    let made = unsafe {
        libc::grantpt(fd) == 0
            && libc::unlockpt(fd) == 0
            && libc::ptsname_r(fd, name.as_mut_ptr().cast(), name.len()) == 0
    };
    assert!(made, "a terminal: {}", std::io::Error::last_os_error());
    let name = std::ffi::CStr::from_bytes_until_nul(&name).expect("a name that ends");
    let slave = end(name.to_str().expect("a plain name"));
    (master, slave)
}
