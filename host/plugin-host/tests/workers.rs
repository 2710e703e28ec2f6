//! Workers over many calls: reuse, quarantine, memory of answers, the death of the host,
//! and five hundred mixed calls.

mod common;

use common::{
    alone, call, children, compile, descriptors, eventually, fault, faulty, is_running, marked,
    options, slice, stable, workers,
};
use dsperse_plugin_api::descriptor::API_VERSION_TEXT;
use dsperse_plugin_api::job::Options;
use dsperse_plugin_api::{ErrorKind, ProbeJob, SupportsJob, VerifyJob};
use dsperse_plugin_host::{CallEvent, HostOptions, PluginHost, Reply, Request};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn cached(dir: &Path) -> HostOptions {
    let mut options = options(&[dsperse_test_support::cdylib("faulty")]);
    options.cache_dir = Some(dir.join("cache"));
    options
}

/// The faulty backend with other capabilities: its remembered description is edited.
fn edited(dir: &Path, key: &str, value: serde_json::Value) -> PluginHost {
    let host = PluginHost::discover(cached(dir));
    let digest = &host.get("faulty").unwrap().digest;
    let path = dir.join(format!(
        "cache/v2/api-{API_VERSION_TEXT}/describe/{digest}.json"
    ));
    let text = std::fs::read_to_string(&path).unwrap();
    let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
    document["descriptor"]["capabilities"][key] = value;
    std::fs::write(&path, document.to_string()).unwrap();
    PluginHost::discover(cached(dir))
}

/// The faulty backend, made to say that its workers can serve many calls.
fn reusable(dir: &Path) -> PluginHost {
    let host = edited(dir, "reusable_worker", true.into());
    let capabilities = &host.get("faulty").unwrap().descriptor.capabilities;
    assert!(capabilities.reusable_worker);
    host
}

fn probe() -> Request {
    Request::Probe(ProbeJob::default())
}

fn verify() -> Request {
    Request::Verify(VerifyJob {
        slice: slice(),
        circuit: Vec::new(),
        proof: Vec::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        tolerance: 0.0,
        options: Options::new(),
    })
}

#[test]
fn a_reusable_worker_serves_again_and_ends_with_its_host() {
    let _alone = alone();
    let before = descriptors();
    let dir = tempfile::tempdir().unwrap();
    let host = reusable(dir.path());
    let first = call(&host, "faulty", probe(), |_| {}).outcome;
    assert!(first.result.is_ok(), "{first:?}");
    assert!(first.parts.start > 0.0 && first.parts.load > 0.0);
    assert_eq!(workers().len(), 1);
    for _ in 0..10 {
        let again = call(&host, "faulty", compile(Options::new()), |_| {}).outcome;
        assert!(again.result.is_ok(), "{again:?}");
        assert_eq!((again.parts.start, again.parts.load), (0.0, 0.0));
        assert!(again.usage.peak_bytes > 1 << 20);
    }

    // A verdict comes from a worker of its own.
    let verdict = call(&host, "faulty", verify(), |_| {}).outcome;
    assert!(verdict.parts.start > 0.0);
    assert_eq!(workers().len(), 1);
    drop(host);
    assert_eq!(workers(), Vec::<u32>::new());
    assert_eq!(descriptors(), before);
}

#[test]
fn memory_and_time_are_those_of_the_call_and_not_of_the_worker() {
    let _alone = alone();
    let host = PluginHost::discover(options(&[stable("a")]));
    let ask = |mib: u64| {
        let mut job = ProbeJob::default();
        job.options.insert("mib".into(), mib.into());
        let outcome = call(&host, "stable_a", Request::Probe(job), |_| {}).outcome;
        assert!(outcome.result.is_ok(), "{outcome:?}");
        let usage = outcome.usage;
        assert!(usage.cpu_seconds > 0.0 && usage.cpu_seconds < usage.seconds * 4.0);
        let fresh = outcome.parts.start > 0.0;
        (usage.peak_bytes >> 20, usage.cpu_seconds, fresh)
    };
    let (small, _, fresh) = ask(0);
    assert!(fresh && small < 64, "{small} MiB");
    let (large, long, fresh) = ask(200);
    assert!(!fresh && (200..260).contains(&large), "{large} MiB");
    let (small, short, fresh) = ask(0);
    assert!(!fresh && small < 64, "{small} MiB");
    // Touching 200 MiB takes a hundred times as long as nothing; a total would hold both.
    assert!(short < long, "{short} {long}");
}

#[test]
fn what_tools_use_is_counted_and_limited() {
    let _alone = alone();
    let host = PluginHost::discover(options(&[stable("a")]));
    let ask = |mib: u64, limit: Option<u64>| {
        let mut job = ProbeJob::default();
        job.options.insert("tool_mib".into(), mib.into());
        call(&host, "stable_a", Request::Probe(job), |options| {
            options.memory = limit;
        })
        .outcome
    };
    let small = ask(1, None);
    assert!(small.usage.peak_bytes < 64 << 20, "{:?}", small.usage);
    let large = ask(400, None);
    assert!(large.result.is_ok(), "{large:?}");
    // Sampled while it grows and is written out, so not to the last byte.
    assert!(large.usage.peak_bytes > 250 << 20, "{:?}", large.usage);
    assert!(large.usage.peak_bytes < 900 << 20, "{:?}", large.usage);
    assert!(large.usage.cpu_seconds > small.usage.cpu_seconds + 0.02);

    let error = ask(4000, Some(300 << 20)).result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Resource);
    assert!(error.message.contains("limit of 300 MiB"), "{error}");
    assert_eq!(workers(), Vec::<u32>::new());
}

#[test]
fn a_flood_of_events_does_not_keep_a_call_from_its_time_limit() {
    let _alone = alone();
    let host = PluginHost::discover(options(&[stable("a")]));
    let mut job = ProbeJob::default();
    job.options.insert("flood".into(), 1.into());
    let flooded = call(&host, "stable_a", Request::Probe(job), |options| {
        options.timeout = Some(Duration::from_millis(500));
    });
    let error = flooded.outcome.result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Resource, "{error}");
    assert!(error.message.contains("0.5 s"), "{error}");
    assert!(flooded.events.len() > 100);
}

#[test]
fn a_worker_that_misbehaved_is_not_used_again() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let host = reusable(dir.path());
    for (name, kind) in [
        ("abort", Some(ErrorKind::Crash)),
        ("exit-0", Some(ErrorKind::Crash)),
        ("panic", Some(ErrorKind::Panic)),
        ("panic-thread", Some(ErrorKind::Internal)),
        ("forged-frames", Some(ErrorKind::Internal)),
        ("huge-reply", Some(ErrorKind::Internal)),
        ("child", None),
        ("child-setsid", None),
    ] {
        assert!(
            call(&host, "faulty", probe(), |_| {})
                .outcome
                .result
                .is_ok()
        );
        let marker = format!("{}-reused-{name}", std::process::id());
        let job = fault(name, "compile", &[("marker", marker.clone().into())]);
        let bad = call(&host, "faulty", compile(job), |_| {});
        assert_eq!(
            bad.outcome.parts.start, 0.0,
            "{name} ran in the idle worker"
        );
        assert_eq!(
            bad.outcome.result.as_ref().err().map(|e| e.kind),
            kind,
            "{name}: {:?}",
            bad.outcome.result
        );
        assert_eq!(marked(&marker), 0, "{name}");
        if kind.is_none() {
            let told = bad.events.iter().any(
                |e| matches!(e, CallEvent::Log { message, .. } if message.contains("1 process behind")),
            );
            assert!(told, "{name}: {:?}", bad.events);
        }
        let next = call(&host, "faulty", probe(), |_| {}).outcome;
        assert!(next.result.is_ok());
        assert!(next.parts.start > 0.0, "{name}: its worker served again");
    }
}

#[test]
fn an_idle_worker_that_died_is_replaced() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let host = reusable(dir.path());
    assert!(
        call(&host, "faulty", probe(), |_| {})
            .outcome
            .result
            .is_ok()
    );
    for generation in 0..2 {
        let supervisor = workers()[0];
        let worker = children(supervisor)[0];
        // Once the worker itself, once what watches over it.
        let victim = if generation == 0 { worker } else { supervisor };
        let killed = Command::new("kill")
            .args(["-KILL", &victim.to_string()])
            .status();
        assert!(killed.unwrap().success());
        eventually("the end of the worker", || !is_running(worker));
        let next = call(&host, "faulty", probe(), |_| {}).outcome;
        assert!(next.result.is_ok(), "{next:?}");
        assert!(next.parts.start > 0.0);
    }
}

#[test]
fn crashes_in_a_row_lead_to_quarantine_and_a_good_call_ends_the_row() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut options = cached(dir.path());
    options.policy.crashes_to_quarantine = 3;
    let host = PluginHost::discover(options.clone());
    let crash = || {
        call(
            &host,
            "faulty",
            compile(fault("abort", "compile", &[])),
            |_| {},
        )
        .outcome
    };
    for _ in 0..2 {
        assert!(crash().result.unwrap_err().message.contains("SIGABRT"));
    }
    assert!(
        call(&host, "faulty", probe(), |_| {})
            .outcome
            .result
            .is_ok()
    );
    for _ in 0..3 {
        assert!(crash().result.unwrap_err().message.contains("SIGABRT"));
    }
    let error = call(&host, "faulty", probe(), |_| {})
        .outcome
        .result
        .unwrap_err();
    assert!(
        error
            .message
            .contains("quarantined until it changes: 3 calls"),
        "{error}"
    );
    let later = PluginHost::discover(options);
    assert!(later.plugins().is_empty());
    assert!(
        later.skipped()[0]
            .reason
            .contains("3 calls in a row crashed")
    );
    assert_eq!(later.reset_quarantine().unwrap(), 1);
}

#[test]
fn answers_of_supports_are_remembered_by_content() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let ask = |host: &PluginHost, change: &dyn Fn(&mut SupportsJob)| {
        let mut job = SupportsJob {
            slice: slice(),
            options: Options::new(),
        };
        change(&mut job);
        let outcome = call(host, "faulty", Request::Supports(job), |_| {}).outcome;
        assert!(
            matches!(outcome.result, Ok(Reply::Supports(_))),
            "{outcome:?}"
        );
        outcome.cached
    };
    let host = PluginHost::discover(cached(dir.path()));
    assert!(!ask(&host, &|_| {}));
    assert!(ask(&host, &|_| {}));
    // Where the slice lies is of no matter; what it is and what is asked for are.
    assert!(ask(&host, &|job| job.slice.model = Some("/elsewhere".into())));
    assert!(!ask(&host, &|job| job.slice.sha256 = "22".repeat(32)));
    assert!(!ask(&host, &|job| {
        job.options.insert("fault".into(), "none".into());
    }));
    let later = PluginHost::discover(cached(dir.path()));
    assert!(ask(&later, &|_| {}));

    // What depends on tools is not believed for longer than a run.
    let tool =
        serde_json::json!([{"name": "t", "version": "*", "install_hint": "", "licence_note": ""}]);
    let with_tools = edited(dir.path(), "tools", tool);
    assert!(!ask(&with_tools, &|_| {}));
    assert!(ask(&with_tools, &|_| {}));
    let later = PluginHost::discover(cached(dir.path()));
    assert!(!ask(&later, &|_| {}));
}

#[test]
fn a_cancelled_token_stops_a_call_before_it_starts() {
    let _alone = alone();
    let host = faulty();
    let outcome = call(&host, "faulty", probe(), |options| options.cancel.cancel()).outcome;
    assert_eq!(outcome.result.unwrap_err().kind, ErrorKind::Cancelled);
    assert_eq!(outcome.parts.start, 0.0);
}

#[test]
fn a_stubborn_call_is_killed_after_the_grace_time() {
    let _alone = alone();
    let host = faulty();
    let start = std::time::Instant::now();
    let outcome = call(
        &host,
        "faulty",
        compile(fault("loop", "compile", &[])),
        |options| {
            let token = options.cancel.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(100));
                token.cancel();
            });
        },
    )
    .outcome;
    assert_eq!(outcome.result.unwrap_err().kind, ErrorKind::Cancelled);
    let took = start.elapsed();
    let grace = host.options().policy.cancel_grace;
    assert!(
        took > grace && took < grace + Duration::from_secs(40),
        "{took:?}"
    );
    assert_eq!(workers(), Vec::<u32>::new());
}

/// Not a test of its own: what the next one starts and kills.
#[test]
#[ignore = "is started by the test below"]
fn helper_host_that_will_be_killed() {
    if std::env::var("DSPERSE_TEST_MARKER").is_err() {
        return;
    }
    let host = PluginHost::discover(options(&[stable("a")]));
    let mut job = ProbeJob::default();
    job.options.insert("hang".into(), 1.into());
    let _ = call(&host, "stable_a", Request::Probe(job), |_| {});
}

#[test]
fn everything_dies_with_a_host_that_is_killed() {
    let _alone = alone();
    let marker = format!("host-{}", std::process::id());
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "helper_host_that_will_be_killed"])
        .env("DSPERSE_TEST_MARKER", &marker)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The host, its supervisor, its worker, and the worker's child in another session.
    eventually("a hanging call", || marked(&marker) >= 4);
    host.kill().unwrap();
    host.wait().unwrap();
    eventually("the end of all", || marked(&marker) == 0);
}

#[test]
fn five_hundred_mixed_calls_on_two_threads() {
    let _alone = alone();
    let before = descriptors();
    let dir = tempfile::tempdir().unwrap();
    let fresh = faulty();
    let reused = reusable(dir.path());
    let marker = format!("mixed-{}", std::process::id());
    // What a call does, and the kind of error it must end in.
    let table: &[(&str, Option<ErrorKind>)] = &[
        ("none", None),
        ("panic", Some(ErrorKind::Panic)),
        ("none", None),
        ("abort", Some(ErrorKind::Crash)),
        ("child-setsid", None),
        ("none", None),
        ("segfault", Some(ErrorKind::Crash)),
        ("exit-0", Some(ErrorKind::Crash)),
        ("none", None),
        ("forged-frames", Some(ErrorKind::Internal)),
        ("bad-json", Some(ErrorKind::Internal)),
        ("none", None),
        ("missing-artefact", Some(ErrorKind::Internal)),
        ("climb", Some(ErrorKind::Internal)),
        ("error-unsupported", Some(ErrorKind::Unsupported)),
        ("none", None),
        ("child", None),
        ("close-descriptors", Some(ErrorKind::Crash)),
        ("error-invalid-input", Some(ErrorKind::InvalidInput)),
        ("loop", Some(ErrorKind::Resource)),
    ];
    std::thread::scope(|scope| {
        for thread in 0..2usize {
            let (fresh, reused, marker) = (&fresh, &reused, &marker);
            scope.spawn(move || {
                for n in 0..250usize {
                    let (name, kind) = table[(n * 7 + thread * 3) % table.len()];
                    let host = if (n / 2) % 2 == 0 { fresh } else { reused };
                    let job = fault(name, "compile", &[("marker", marker.clone().into())]);
                    let called = call(host, "faulty", compile(job), |options| {
                        if name == "loop" {
                            options.timeout = Some(Duration::from_millis(50));
                        }
                    });
                    let found = called.outcome.result.as_ref().err().map(|e| e.kind);
                    assert_eq!(
                        found, kind,
                        "call {n} \"{name}\": {:?}",
                        called.outcome.result
                    );
                }
            });
        }
    });
    assert_eq!(marked(&marker), 0);
    drop((fresh, reused));
    assert_eq!(workers(), Vec::<u32>::new());
    assert_eq!(descriptors(), before);
}
