//! Every fault of the faulty backend ends in the expected outcome, and nothing is left
//! behind: no process, no descriptor.

mod common;

use common::{alone, call, compile, descriptors, fault, faulty, marked, witness, workers};
use dsperse_fixture_faulty::FAULTS;
use dsperse_plugin_api::ErrorKind;
use dsperse_plugin_host::{CallEvent, Control, PluginHost, Reply};
use std::time::{Duration, Instant};

/// What must come of a fault, and words that its message must have.
enum Expect {
    Fine,
    Error(ErrorKind, &'static str),
}
use ErrorKind::{
    Cancelled, Crash, Internal, InvalidInput, Panic, Resource, ToolMissing, Unsupported,
};
use Expect::{Error, Fine};

fn expectation(name: &str) -> Option<Expect> {
    Some(match name {
        "panic" => Error(Panic, "the fault \"panic\""),
        "panic-thread" => Error(Internal, "helper thread"),
        "panic-drop" => Error(Panic, "the fault \"panic-drop\""),
        "abort" => Error(Crash, "SIGABRT"),
        "segfault" => Error(Crash, "SIGSEGV"),
        "stack-overflow" => Error(Crash, "stack overflow"),
        "exit-0" | "exit-thread" => Error(Crash, "exit code 0"),
        "loop" => Error(Resource, "longer than its limit of 0.3 s"),
        "loop-polite" => Error(Cancelled, "cancelled"),
        "memory" => Error(Resource, "limit of 200 MiB"),
        // What it wrote over is found by who gave it the files.
        "noise" | "child" | "child-setsid" | "overwrite" => Fine,
        "forged-frames" | "forged-frames-exit" => Error(Internal, "no frame of this worker"),
        "close-descriptors" => Error(Crash, "lost its connection"),
        "bad-json" | "wrong-document" => Error(Internal, "can't be read"),
        "not-utf8" => Error(Internal, "not UTF-8"),
        "unknown-status" => Error(Internal, "77"),
        "no-document" => Error(Internal, "can't be read"),
        "null-reply" => Error(Internal, "no address"),
        "huge-reply" => Error(Internal, "1073741824 bytes"),
        "missing-artefact" => Error(Internal, "can't be found"),
        "wrong-digest" => Error(Internal, "SHA-256"),
        "wrong-size" => Error(Internal, "10 were declared"),
        "climb" | "absolute-path" => Error(Internal, "outside the job's directory"),
        "symlink" | "symlink-dir" => Error(Internal, "symbolic link"),
        "fifo" | "directory" => Error(Internal, "not a regular file"),
        "duplicate" => Error(Internal, "twice"),
        "short-tensor" => Error(Internal, "need 12"),
        "no-outputs" => Error(Internal, "0 output tensors"),
        "huge" => Error(Resource, "handed back 1048576 MiB of files"),
        "error-unsupported" => Error(Unsupported, "the fault"),
        "error-tool-missing" => Error(ToolMissing, "the fault"),
        "error-invalid-input" => Error(InvalidInput, "the fault"),
        "error-resource" => Error(Resource, "the fault"),
        "error-internal" => Error(Internal, "the fault"),
        _ => return None,
    })
}

fn limits(name: &str, options: &mut Control) {
    match name {
        "loop" => options.timeout = Some(Duration::from_millis(300)),
        "memory" => options.memory = Some(200 << 20),
        "loop-polite" => {
            let token = options.cancel.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(100));
                token.cancel();
            });
        }
        _ => {}
    }
}

fn check(host: &PluginHost, name: &str) {
    let marker = format!("{}-{name}", std::process::id());
    let at = match name {
        "short-tensor" | "no-outputs" => "witness",
        _ => "compile",
    };
    let job = fault(name, at, &[("marker", marker.clone().into())]);
    let request = if at == "witness" {
        witness(job)
    } else {
        compile(job)
    };
    let start = Instant::now();
    let called = call(host, "faulty", request, |options| limits(name, options));
    let took = start.elapsed();
    match (expectation(name), &called.outcome.result) {
        (None, _) => panic!("the fault \"{name}\" has no expectation here"),
        (Some(Fine), Ok(Reply::Done(done))) => {
            assert!(!done.artefacts.is_empty());
            assert!(
                done.artefacts
                    .iter()
                    .all(|a| a.sha256.len() == 64 && a.size > 0)
            );
        }
        (Some(Error(kind, words)), Err(error)) => {
            assert_eq!(error.kind, kind, "{name}: {error}");
            assert!(error.message.contains(words), "{name}: {error}");
        }
        (_, result) => panic!("{name}: {result:?}"),
    }
    assert!(took < Duration::from_secs(40), "{name} took {took:?}");
    if name == "memory" {
        // Also a call that was killed has figures.
        let peak = called.outcome.usage.peak_bytes;
        assert!(peak > 200 << 20, "{peak}");
        // And what they grow to is told while it grows.
        let told = called.events.iter().filter_map(|e| match e {
            CallEvent::Memory { peak_bytes } => Some(*peak_bytes),
            _ => None,
        });
        let told: Vec<u64> = told.collect();
        assert!(
            told.is_sorted() && told.last() > Some(&(100 << 20)),
            "{told:?}"
        );
    }
    assert_eq!(workers(), Vec::<u32>::new(), "{name}");
    assert_eq!(marked(&marker), 0, "{name} left a process behind");
}

#[test]
fn every_fault_becomes_its_outcome_and_leaves_nothing() {
    let _alone = alone();
    let host = faulty();
    let before = descriptors();
    for (name, _) in FAULTS {
        check(&host, name);
        assert_eq!(descriptors(), before, "{name} leaks a descriptor");
    }
}

#[test]
fn a_panic_is_reported_with_its_place_while_it_happens() {
    let _alone = alone();
    let host = faulty();
    let called = call(
        &host,
        "faulty",
        compile(fault("panic-thread", "compile", &[])),
        |_| {},
    );
    let places: Vec<&String> = called
        .events
        .iter()
        .filter_map(|event| match event {
            CallEvent::Panic { message } => Some(message),
            _ => None,
        })
        .collect();
    assert_eq!(places.len(), 1, "{:?}", called.events);
    assert!(places[0].contains("crash.rs:") && places[0].contains("helper"));
}

#[test]
fn noise_is_forwarded_within_bounds() {
    let _alone = alone();
    let host = faulty();
    let called = call(
        &host,
        "faulty",
        compile(fault("noise", "compile", &[])),
        |_| {},
    );
    let bytes: usize = called
        .events
        .iter()
        .map(|event| match event {
            CallEvent::Output { line, .. } => line.len(),
            _ => 0,
        })
        .sum();
    let policy = &host.options().policy;
    assert!(bytes > policy.max_output_bytes / 2, "{bytes}");
    assert!(bytes < policy.max_output_bytes + (64 << 10), "{bytes}");
    let tail = &called.outcome.log_tail;
    assert_eq!(tail.len(), policy.log_tail_bytes);
    assert!(tail.bytes().all(|b| b == b'#'));
}

#[test]
fn a_polite_loop_is_cancelled_without_a_kill() {
    let _alone = alone();
    let mut options = common::options(&[dsperse_test_support::cdylib("faulty")]);
    options.policy.cancel_grace = Duration::from_secs(300);
    let host = PluginHost::discover(options);
    // Would not come to an end if it took a kill.
    let called = call(
        &host,
        "faulty",
        compile(fault("loop-polite", "compile", &[])),
        |options| limits("loop-polite", options),
    );
    assert_eq!(called.outcome.result.unwrap_err().kind, Cancelled);
    let progress = called
        .events
        .iter()
        .any(|e| matches!(e, CallEvent::Progress { step, .. } if step == "looping"));
    assert!(progress, "{:?}", called.events);
}
