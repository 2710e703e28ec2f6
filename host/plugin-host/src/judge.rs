//! What came of a call, from what was seen of it. Every fault has its sentence here.

use crate::client::{End, Observed, Stop};
use crate::worker::messages::{Ended, Killed, LOST, Loaded};
use dsperse_plugin_api::abi::RawReply;
use dsperse_plugin_api::{Error, ErrorKind};
use std::time::Duration;

/// The plugin's answer when it counts, or a typed error that says what happened.
///
/// An answer counts when it is the only one and the worker then either ended with exit
/// status 0 or, when it stays for further calls, reported back after the plugin's
/// function had returned.
pub(crate) fn judge(op: &str, seen: &Observed) -> Result<RawReply, Error> {
    if let End::Lost(why) = &seen.end {
        return Err(stopped(op, seen).unwrap_or_else(|| Error::internal(why.clone())));
    }
    let killed = match &seen.end {
        End::Exit(exit) => exit.killed.as_ref(),
        _ => None,
    };
    if let Some(Killed::Memory { limit, found }) = killed {
        return Err(Error::resource(format!(
            "\"{op}\" used {} of memory, more than its limit of {}, and was ended",
            bytes(*found),
            bytes(*limit)
        ))
        .with_hint("raise the memory limit or use fewer threads"));
    }
    let clean = match &seen.end {
        End::Idle(_) => true,
        End::Exit(exit) => exit.ended == Ended::Code(0) && exit.killed.is_none(),
        End::Lost(_) => false,
    };
    if let (Some(error), false) = (stopped(op, seen), clean && succeeded(seen)) {
        return Err(error);
    }
    if let Some(Killed::Protocol(detail)) = killed {
        return Err(Error::internal(format!(
            "the backend disturbed its worker's connection during \"{op}\": {detail}"
        )));
    }
    if let Some(Loaded::Refused { reason, .. }) = &seen.loaded {
        return Err(Error::internal(format!(
            "the backend can't be used any more: {reason}"
        )));
    }
    match (seen.replies.as_slice(), clean) {
        ([(head, body)], true) => match &head.status {
            Ok(status) => Ok(RawReply {
                status: *status,
                bytes: body.clone(),
            }),
            Err(error) => Err(error.clone()),
        },
        ([_, _, ..], _) => Err(Error::internal(format!(
            "the backend disturbed its worker's connection during \"{op}\": it answered {} times",
            seen.replies.len()
        ))),
        (replies, _) => Err(crash(op, seen, !replies.is_empty())),
    }
}

fn succeeded(seen: &Observed) -> bool {
    matches!(seen.replies.as_slice(), [(head, _)] if head.status == Ok(0))
}

/// The error when it was the host that stopped the call.
fn stopped(op: &str, seen: &Observed) -> Option<Error> {
    Some(match seen.stop? {
        Stop::Cancelled => Error::new(ErrorKind::Cancelled, format!("\"{op}\" was cancelled")),
        Stop::Timeout(limit) => took_too_long(op, limit),
        Stop::Load(limit) => Error::resource(format!(
            "the library took longer than {} to load and was ended",
            seconds(limit)
        )),
        Stop::Lingering => Error::new(
            ErrorKind::Crash,
            format!("the worker answered \"{op}\" but did not end, and was killed"),
        ),
    })
}

/// The error for a call whose time was up.
pub(crate) fn took_too_long(op: &str, limit: Duration) -> Error {
    Error::resource(format!(
        "\"{op}\" took longer than its limit of {} and was ended",
        seconds(limit)
    ))
    .with_hint("raise the time limit")
}

/// The error for a worker that died.
fn crash(op: &str, seen: &Observed, answered: bool) -> Error {
    let End::Exit(exit) = &seen.end else {
        return Error::new(
            ErrorKind::Crash,
            format!("the worker went on without an answer to \"{op}\""),
        );
    };
    let loading = seen.loaded.is_none();
    let during = if loading {
        "while its library was loaded".to_owned()
    } else if answered {
        format!("after it had answered \"{op}\"; the answer is not used")
    } else {
        format!("during \"{op}\"")
    };
    let how = match exit.ended {
        Ended::Code(LOST) => format!("the worker lost its connection {during}"),
        Ended::Code(code) if answered => {
            format!("the backend ended its process with exit code {code} {during}")
        }
        Ended::Code(code) => format!(
            "the backend ended its process with exit code {code} {during}, before it answered"
        ),
        Ended::Signal(signal) => {
            format!(
                "the backend's process died of {} {during}",
                signal_name(signal)
            )
        }
    };
    let overflow = seen.tail.contains("has overflowed its stack");
    let mut message = if overflow {
        format!("{how} (stack overflow)")
    } else {
        how
    };
    let kind = match exit.ended {
        _ if !seen.panics.is_empty() => {
            message = format!("panic: {}; {message}", seen.panics.join("; "));
            ErrorKind::Panic
        }
        // Nobody of ours sent it: as a rule the kernel, for lack of memory.
        Ended::Signal(libc::SIGKILL | libc::SIGXCPU | libc::SIGXFSZ) => ErrorKind::Resource,
        _ => ErrorKind::Crash,
    };
    if let Some(last) = last_lines(&seen.tail) {
        message = format!("{message}. It last printed: {last}");
    }
    let mut error = Error::new(kind, message);
    if exit.ended == Ended::Signal(libc::SIGKILL) && kind == ErrorKind::Resource {
        error = error.with_hint("perhaps the system ran out of memory");
    }
    error
}

/// The last few lines of the output, shortened, in one.
fn last_lines(tail: &str) -> Option<String> {
    let lines: Vec<&str> = tail
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let last = lines.get(lines.len().saturating_sub(3)..)?;
    if last.is_empty() {
        return None;
    }
    let text: Vec<String> = last
        .iter()
        .map(|line| line.chars().take(200).collect())
        .collect();
    Some(format!("\"{}\"", text.join(" / ")))
}

fn signal_name(signal: i32) -> String {
    let (name, meaning) = match signal {
        libc::SIGABRT => ("SIGABRT", "abort"),
        libc::SIGSEGV => ("SIGSEGV", "invalid memory access"),
        libc::SIGBUS => ("SIGBUS", "invalid memory access"),
        libc::SIGILL => ("SIGILL", "invalid instruction"),
        libc::SIGFPE => ("SIGFPE", "arithmetic error"),
        libc::SIGTRAP => ("SIGTRAP", "trap"),
        libc::SIGSYS => ("SIGSYS", "forbidden system call"),
        libc::SIGKILL => ("SIGKILL", "killed from outside"),
        libc::SIGTERM => ("SIGTERM", "ended from outside"),
        libc::SIGINT => ("SIGINT", "interrupted"),
        libc::SIGHUP => ("SIGHUP", "hangup"),
        libc::SIGPIPE => ("SIGPIPE", "broken pipe"),
        libc::SIGALRM => ("SIGALRM", "alarm"),
        libc::SIGXCPU => ("SIGXCPU", "CPU limit"),
        libc::SIGXFSZ => ("SIGXFSZ", "file size limit"),
        _ => return format!("signal {signal}"),
    };
    format!("{name} ({meaning})")
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

/// A number of bytes as sentences have it.
#[must_use]
#[allow(clippy::cast_precision_loss)] // for people
pub fn bytes(n: u64) -> String {
    const MIB: u64 = 1 << 20;
    if n < 10 * MIB {
        format!("{n} bytes")
    } else {
        format!("{:.0} MiB", n as f64 / MIB as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::messages::{Exit, Idle, ReplyHead};

    fn ready() -> Option<Loaded> {
        Some(Loaded::Ready {
            api: semver::Version::new(1, 0, 0),
            door: "C".into(),
            micros: 1,
        })
    }

    fn exit(ended: Ended, killed: Option<Killed>) -> End {
        End::Exit(Exit {
            ended,
            killed,
            cpu_micros: 0,
            peak: 0,
            children_peak: 0,
            left_behind: 0,
            tail: String::new(),
        })
    }

    fn seen(replies: usize, end: End) -> Observed {
        let head = ReplyHead {
            status: Ok(0),
            peak: 0,
            micros: 0,
        };
        Observed {
            loaded: ready(),
            begun: true,
            replies: vec![(head, b"{}".to_vec()); replies],
            panics: Vec::new(),
            stop: None,
            end,
            cpu_micros: 0,
            peak: 0,
            parts: crate::CallParts::default(),
            tail: String::new(),
        }
    }

    #[test]
    fn an_answer_counts_only_with_a_clean_end() {
        assert!(judge("prove", &seen(1, exit(Ended::Code(0), None))).is_ok());
        assert!(judge("prove", &seen(1, End::Idle(Idle::default()))).is_ok());
        for (replies, end, kind) in [
            (1, exit(Ended::Code(1), None), ErrorKind::Crash),
            (
                1,
                exit(Ended::Signal(libc::SIGSEGV), None),
                ErrorKind::Crash,
            ),
            (0, exit(Ended::Code(0), None), ErrorKind::Crash),
            (0, End::Idle(Idle::default()), ErrorKind::Crash),
            (2, exit(Ended::Code(0), None), ErrorKind::Internal),
            (2, End::Idle(Idle::default()), ErrorKind::Internal),
            (1, End::Lost("gone".into()), ErrorKind::Internal),
            (
                1,
                exit(Ended::Code(0), Some(Killed::Protocol("junk".into()))),
                ErrorKind::Internal,
            ),
        ] {
            let text = format!("{end:?}");
            let error = judge("prove", &seen(replies, end)).unwrap_err();
            assert_eq!(error.kind, kind, "{replies} {text}: {error}");
        }
    }

    #[test]
    fn a_crash_says_how_and_when() {
        let mut s = seen(0, exit(Ended::Signal(libc::SIGSEGV), None));
        s.tail = "loading\nat step 3\n\n".into();
        let message = judge("prove", &s).unwrap_err().message;
        assert_eq!(
            message,
            "the backend's process died of SIGSEGV (invalid memory access) during \"prove\". \
             It last printed: \"loading / at step 3\""
        );
        s.loaded = None;
        assert!(
            judge("prove", &s)
                .unwrap_err()
                .message
                .contains("while its library was loaded")
        );
    }

    #[test]
    fn a_panic_that_ends_the_process_is_a_panic() {
        let mut s = seen(0, exit(Ended::Signal(libc::SIGABRT), None));
        s.panics.push("boom (at a.rs:1:2)".into());
        let error = judge("prove", &s).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Panic);
        assert!(error.message.contains("boom (at a.rs:1:2)"));
    }

    #[test]
    fn a_stopped_call_keeps_a_whole_answer_and_nothing_else() {
        let mut s = seen(1, exit(Ended::Code(0), None));
        s.stop = Some(Stop::Cancelled);
        assert!(judge("prove", &s).is_ok());
        s.replies[0].0.status = Ok(1);
        assert_eq!(judge("prove", &s).unwrap_err().kind, ErrorKind::Cancelled);
        s.stop = Some(Stop::Timeout(Duration::from_millis(1500)));
        let error = judge("prove", &s).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Resource);
        assert!(error.message.contains("1.5 s"), "{error}");
    }

    #[test]
    fn memory_has_both_figures() {
        let killed = Killed::Memory {
            limit: 100 << 20,
            found: 130 << 20,
        };
        let s = seen(0, exit(Ended::Signal(libc::SIGKILL), Some(killed)));
        let error = judge("prove", &s).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Resource);
        assert!(error.message.contains("130 MiB") && error.message.contains("100 MiB"));
    }
}
