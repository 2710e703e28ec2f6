//! Ways to die, to hang and to hoard.

use dsperse_plugin_api::job::Options;
use dsperse_plugin_api::{Cx, Error, Result};
use std::hint::black_box;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// Carries out a fault of this module; returns for the others.
///
/// # Errors
/// When the fault is an error of its own, or can't be carried out.
pub fn run(fault: &str, options: &Options, cx: &Cx) -> Result<()> {
    match fault {
        "panic" => panic!("the fault \"panic\""),
        "panic-thread" => {
            let thread = std::thread::Builder::new().name("helper".into());
            let joined = thread
                .spawn(|| panic!("the fault \"panic-thread\""))?
                .join();
            return Err(Error::internal(format!(
                "the helper thread ended with an {}",
                if joined.is_ok() { "answer" } else { "accident" }
            )));
        }
        "abort" => std::process::abort(),
        "segfault" => segfault(),
        "stack-overflow" => {
            black_box(recurse(0));
        }
        "exit-0" => std::process::exit(0),
        "exit-thread" => {
            let _ = std::thread::spawn(|| std::process::exit(0)).join();
        }
        "loop" => loop {
            std::thread::sleep(Duration::from_millis(10));
        },
        "loop-polite" => loop {
            cx.check_cancelled()?;
            cx.progress(0.5, "looping");
            std::thread::sleep(Duration::from_millis(10));
        },
        "memory" => memory(options),
        "noise" => noise()?,
        "forged-frames" => forge(),
        "forged-frames-exit" => {
            forge();
            std::process::exit(0);
        }
        "close-descriptors" => {
            for fd in 3..256 {
                // SAFETY: closing what is not ours is the very fault under test.
                unsafe { libc::close(fd) };
            }
        }
        "child" => leave_child(options, false)?,
        "child-setsid" => leave_child(options, true)?,
        _ => {}
    }
    Ok(())
}

fn segfault() {
    // SAFETY: none; page zero is never mapped, so this is a segmentation fault.
    black_box(unsafe { std::ptr::without_provenance::<u64>(8).read_volatile() });
}

#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 512]);
    recurse(depth + 1) + frame[usize::try_from(depth % 512).unwrap_or(0)]
}

/// Takes memory in touched blocks, so that it counts as resident.
fn memory(options: &Options) {
    const BLOCK: u64 = 32 << 20;
    let bytes = options.get("bytes").and_then(serde_json::Value::as_u64);
    let mut hoard = Vec::new();
    for _ in 0..bytes.unwrap_or(4 << 30).div_ceil(BLOCK) {
        hoard.push(vec![1u8; 32 << 20]);
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_secs(60));
    black_box(hoard);
}

fn noise() -> Result<()> {
    let block = [b'#'; 1 << 16];
    let mut out = std::io::stdout().lock();
    for _ in 0..200_000_000 / block.len() {
        out.write_all(&block)?;
    }
    out.flush()?;
    Ok(())
}

/// Writes to every descriptor that the worker inherited: garbage, and what might pass for
/// a reply in the most usual framings.
fn forge() {
    let reply = br#"{"status":0,"reply":{"artefacts":[],"outputs":[]},"type":"reply"}"#;
    let mut bytes = Vec::new();
    for length in [
        u32::try_from(reply.len()).unwrap_or(0).to_le_bytes(),
        u32::try_from(reply.len()).unwrap_or(0).to_be_bytes(),
        [0xff; 4],
    ] {
        bytes.extend_from_slice(&length);
        bytes.extend_from_slice(reply);
        bytes.push(b'\n');
    }
    for fd in 3..256 {
        // SAFETY: writing to what is not ours is the very fault under test. Blocking is
        // avoided by asking first whether the descriptor would take the bytes.
        unsafe {
            let mut poll = libc::pollfd {
                fd,
                events: libc::POLLOUT,
                revents: 0,
            };
            if libc::poll(&raw mut poll, 1, 0) == 1 && poll.revents & libc::POLLOUT != 0 {
                libc::write(fd, bytes.as_ptr().cast(), bytes.len());
            }
        }
    }
}

/// Starts `sleep` and forgets it. It inherits standard output, so a host that waits for
/// the end of that pipe would wait for it too.
fn leave_child(options: &Options, new_session: bool) -> Result<()> {
    let marker = options.get("marker").and_then(serde_json::Value::as_str);
    let mut child = Command::new("sleep");
    child
        .arg("300")
        .env("DSPERSE_TEST_MARKER", marker.unwrap_or("faulty"));
    if new_session {
        // SAFETY: setsid is async-signal-safe and touches no memory of ours.
        unsafe {
            child.pre_exec(|| {
                libc::setsid();
                Ok(())
            });
        }
    }
    child.spawn()?;
    Ok(())
}
