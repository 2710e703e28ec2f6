//! The stages over an executor that does what the test says: which jobs they ask for, and
//! what they make of every kind of answer.

use crate::compile::{Calibration, CompileOptions};
use crate::error::ErrorClass;
use crate::event::Event;
use crate::fake::{Answer, Fake, World, invalid, prover, said, yes};
use crate::job::{Job, Work};
use crate::prove::ProveOptions;
use crate::report::Outcome;
use crate::verify::VerifyOptions;
use dsperse_documents::digest::sha256_hex;
use dsperse_documents::{BackendError, ErrorKind, Fallback, KeyOrigin, Verdict};
use dsperse_plugin_api::abi::Op;
use dsperse_plugin_api::job::PEAK_BYTES;
use dsperse_plugin_api::{BindsPublicIo, Done, Stage, Support, TensorFile};
use dsperse_plugin_host::CancelToken;
use dsperse_plugin_host::{Control, Reply};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// Everything goes well.
fn well(_: &Job, _: &Control) -> Answer {
    None
}

fn crash() -> BackendError {
    BackendError::new(ErrorKind::Crash, "the worker died of signal 6")
}

fn kinds(fallbacks: &[Fallback]) -> Vec<(&str, Stage, Option<ErrorKind>)> {
    fallbacks
        .iter()
        .map(|f| (f.backend.as_str(), f.stage, f.kind))
        .collect()
}

#[test]
fn compile_goes_along_the_chain_and_keeps_the_reasons() {
    let world = World::new(&["a", "b", "c", "d", "e"].map(prover));
    let fake = Fake::new(|job, _| match (job.backend.as_str(), job.op()) {
        ("a", Op::Supports) => Some(Ok(Reply::Supports(Support::No {
            node: Some("n1".into()),
            op: Some("Add".into()),
            reason: "no additions".into(),
        }))),
        ("b", Op::Compile) => {
            let error = BackendError::tool_missing("tool", "\"tool\" is missing");
            Some(Err(error.with_hint("install it")))
        }
        ("c", Op::Compile) => Some(Err(crash())),
        // An answer to another question.
        ("d", Op::Compile) => Some(Ok(yes(0))),
        _ => None,
    });
    let report = world.compile(&fake, "a|b|c|d|e");
    assert_eq!(
        fake.calls(0),
        [
            "supports 0 a",
            "supports 0 b",
            "compile 0 b",
            "supports 0 c",
            "compile 0 c",
            "supports 0 d",
            "compile 0 d",
            "supports 0 e",
            "compile 0 e",
        ]
    );
    let slice = world.slice(0);
    assert_eq!(slice.backend.as_deref(), Some("e"));
    let compiled: Vec<&String> = slice.compilations.keys().collect();
    assert_eq!(compiled, ["e"]);
    assert_eq!(
        kinds(&slice.fallbacks),
        [
            ("a", Stage::Compile, Some(ErrorKind::Unsupported)),
            ("b", Stage::Compile, Some(ErrorKind::ToolMissing)),
            ("c", Stage::Compile, Some(ErrorKind::Crash)),
            ("d", Stage::Compile, Some(ErrorKind::Internal)),
        ]
    );
    assert_eq!(slice.fallbacks[0].node.as_deref(), Some("n1"));
    assert_eq!(slice.fallbacks[0].reason, "no additions");
    assert_eq!(slice.fallbacks[1].hint.as_deref(), Some("install it"));
    assert_eq!(report.slices[1].fallbacks, world.slice(1).fallbacks);
    assert_eq!(report.slices[1].usage.cpu_seconds, 1.0);
    assert_eq!(report.slices[1].outcome, Outcome::Done);

    // Again: who may answer otherwise by now is asked, nothing else is repeated.
    let report = world.compile(&fake, "a|b|c|d|e");
    assert_eq!(
        fake.calls(0),
        ["supports 0 a", "supports 0 b", "compile 0 b"]
    );
    assert_eq!(report.slices[0].outcome, Outcome::UpToDate);
    assert_eq!(kinds(&world.slice(0).fallbacks), kinds(&slice.fallbacks));
}

#[test]
fn a_wrong_input_stops_the_chain_of_its_slice_only() {
    let world = World::new(&["a", "b"].map(prover));
    let fake = Fake::new(|job, _| match said(job).as_str() {
        "compile 0 a" => Some(Err(BackendError::invalid_input("no such scale"))),
        _ => None,
    });
    let report = world.compile(&fake, "a|b");
    let failed = &report.slices[0];
    assert_eq!(failed.outcome, Outcome::Failed);
    assert_eq!(
        failed.error.as_deref(),
        Some("slice 0, backend \"a\": no such scale")
    );
    assert_eq!(fake.calls(0), ["supports 0 a", "compile 0 a"]);
    assert!(world.slice(0).compilations.is_empty());
    assert_eq!(world.slice(1).backend.as_deref(), Some("a"));
}

#[test]
fn what_ran_out_of_resources_is_tried_again_under_other_limits() {
    let mut world = World::new(&["a", "b"].map(prover));
    world.limits.memory = Some(1 << 20);
    world.limits.timeout = Some(Duration::from_secs(5));
    let fake = Fake::new(|job, control| {
        assert_eq!(control.timeout, Some(Duration::from_secs(5)));
        let little = control.memory == Some(1 << 20);
        (job.backend == "a" && job.op() == Op::Compile && little)
            .then(|| Err(BackendError::resource("it needs more than 1 MiB")))
    });
    world.compile(&fake, "a|b");
    let slice = world.slice(0);
    assert_eq!(slice.backend.as_deref(), Some("b"));
    assert_eq!(
        kinds(&slice.fallbacks),
        [("a", Stage::Compile, Some(ErrorKind::Resource))]
    );
    fake.jobs();
    world.compile(&fake, "a|b");
    assert_eq!(fake.calls(0), [""; 0]);
    world.limits.memory = Some(1 << 30);
    world.compile(&fake, "a|b");
    assert_eq!(fake.calls(0), ["supports 0 a", "compile 0 a"]);
    let slice = world.slice(0);
    assert_eq!(slice.backend.as_deref(), Some("a"));
    assert!(slice.fallbacks.is_empty());
}

#[test]
fn strict_compiling_fails_when_nobody_can() {
    let world = World::new(&["a", "b"].map(prover));
    let fake = Fake::new(|job, _| match said(job).as_str() {
        "compile 0 a" => Some(Err(BackendError::unsupported("too wide"))),
        "compile 0 b" => Some(Err(BackendError::unsupported("too deep"))),
        _ => None,
    });
    let report = world.compile_with(&fake, "a|b", |o| o.strict = true);
    assert!(!report.complete());
    let failed: Vec<usize> = report.failed().map(|s| s.index).collect();
    assert_eq!(failed, [0]);
    assert_eq!(
        report.slices[0].error.as_deref(),
        Some("slice 0: no backend of its chain can do it (a: too wide; b: too deep)")
    );
    assert_eq!(world.slice(0).backend, None);
    // Without --strict the executor is there.
    let report = world.compile(&fake, "a|b");
    assert_eq!(report.slices[0].backend.as_deref(), Some("onnx"));
}

#[test]
fn a_witness_that_fails_falls_through_and_is_computed_again() {
    let world = World::new(&[prover("a")]);
    let fake = Fake::new(|job, _| match said(job).as_str() {
        "witness 0 a" => Some(Err(crash())),
        _ => None,
    });
    world.compile(&fake, "a");
    let ran = world.run(&fake);
    assert_eq!(ran.outputs[0].to_f64(), [3.0, 4.0, 5.0, 6.0]);
    let [zero, one] = &ran.results.slices[..] else {
        panic!("two slices");
    };
    assert_eq!(zero.backend.as_deref(), Some("onnx"));
    assert_eq!(one.backend.as_deref(), Some("a"));
    let witness = zero.witness_execution.as_ref().unwrap();
    assert_eq!(
        kinds(&witness.fallbacks),
        [("a", Stage::Witness, Some(ErrorKind::Crash))]
    );
    let report = world.prove(&fake, &ran);
    let outcomes: Vec<Outcome> = report.slices.iter().map(|s| s.outcome).collect();
    assert_eq!(outcomes, [Outcome::Nothing, Outcome::Done]);
    let report = world.verify(&fake, &ran, &VerifyOptions::default());
    let report = report.unwrap();
    assert!(report.accepted);
    assert_eq!(report.slices[0].verdict, Verdict::Recomputed);
    assert_eq!(report.slices[1].verdict, Verdict::Proven);
    assert_eq!(report.slices[1].keys, Some(KeyOrigin::AsGiven));
}

#[test]
fn outputs_that_are_not_the_slices_fall_through() {
    let world = World::new(&[prover("a")]);
    let fake = Fake::new(|job, _| {
        (said(job) == "witness 1 a").then(|| Ok(Reply::Done(dsperse_plugin_api::Done::default())))
    });
    world.compile(&fake, "a");
    let ran = world.run(&fake);
    assert_eq!(ran.results.slices[1].backend.as_deref(), Some("onnx"));
    let witness = ran.results.slices[1].witness_execution.as_ref().unwrap();
    assert_eq!(
        witness.fallbacks[0].reason,
        "the backend returned 0 outputs, the slice has 1"
    );
    assert_eq!(ran.outputs[0].to_f64(), [3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn a_proof_that_failed_is_recorded_and_tried_by_the_next_command() {
    let world = World::new(&["a", "b"].map(prover));
    let broken = AtomicBool::new(true);
    let fake = Fake::new(|job, _| {
        (said(job) == "prove 0 a" && broken.load(Ordering::SeqCst)).then(|| {
            let error = BackendError::resource("the time of 5 s is over");
            Err(error.with_hint("give it more with --timeout"))
        })
    });
    world.compile(&fake, "a|b");
    let ran = world.run(&fake);
    fake.jobs();
    let report = world.prove(&fake, &ran);
    let said_of: Vec<String> = fake.jobs().iter().map(said).collect();
    // Nobody else can prove what "a" has computed.
    assert_eq!(said_of, ["prove 0 a", "prove 1 a"]);
    assert_eq!(report.slices[0].outcome, Outcome::Failed);
    assert_eq!(
        report.slices[0].hint.as_deref(),
        Some("give it more with --timeout")
    );
    assert_eq!(report.slices[1].outcome, Outcome::Done);
    let recorded = world.results(&ran).slices[0].proof_execution.clone();
    let recorded = recorded.unwrap();
    assert!(!recorded.success);
    assert_eq!(recorded.error.unwrap().kind, ErrorKind::Resource);
    // The slice can still be computed again.
    let report = world.verify(&fake, &ran, &VerifyOptions::default());
    let report = report.unwrap();
    assert_eq!(report.slices[0].verdict, Verdict::Recomputed);
    assert!(report.accepted);

    broken.store(false, Ordering::SeqCst);
    fake.jobs();
    let report = world.prove(&fake, &ran);
    let said_of: Vec<String> = fake.jobs().iter().map(said).collect();
    assert_eq!(said_of, ["prove 0 a"]);
    let outcomes: Vec<Outcome> = report.slices.iter().map(|s| s.outcome).collect();
    assert_eq!(outcomes, [Outcome::Done, Outcome::UpToDate]);

    // A proof that is there outlives another try that fails.
    let before = world.results(&ran).slices[0].proof_execution.clone();
    broken.store(true, Ordering::SeqCst);
    let force = ProveOptions {
        force: true,
        ..ProveOptions::default()
    };
    let report = world.try_prove(&fake, &ran, &force).unwrap();
    assert_eq!(report.slices[0].outcome, Outcome::Failed);
    assert_eq!(
        report.slices[0].error.as_deref(),
        Some("slice 0, backend \"a\": the time of 5 s is over; the earlier proof is kept")
    );
    assert_eq!(world.results(&ran).slices[0].proof_execution, before);
    let report = world.verify(&fake, &ran, &VerifyOptions::default());
    assert_eq!(report.unwrap().slices[0].verdict, Verdict::Proven);
    // One of which a file is gone does not.
    let artefact = &before.unwrap().files[0].path;
    std::fs::remove_file(ran.path.join(artefact)).unwrap();
    world.try_prove(&fake, &ran, &force).unwrap();
    let recorded = world.results(&ran).slices[0].proof_execution.clone();
    assert!(!recorded.unwrap().success);
}

#[test]
fn slices_that_are_left_out_are_carried_by_the_executor() {
    let world = World::new(&[prover("a")]);
    let fake = Fake::new(well);
    // Both were compiled before.
    world.compile(&fake, "a");
    let all = world.run(&fake);
    assert_eq!(all.results.slices[0].backend.as_deref(), Some("a"));
    fake.jobs();
    let ran = world.run_layers(&fake, Some("1"));
    assert_ne!(ran.path, all.path);
    let by = |i: usize| ran.results.slices[i].backend.clone().unwrap();
    assert_eq!((by(0), by(1)), ("onnx".to_owned(), "a".to_owned()));
    let report = world.prove(&fake, &ran);
    assert_eq!(report.slices[0].outcome, Outcome::Nothing);
    let report = world
        .verify(&fake, &ran, &VerifyOptions::default())
        .unwrap();
    let verdicts: Vec<Verdict> = report.slices.iter().map(|s| s.verdict).collect();
    assert_eq!(verdicts, [Verdict::Recomputed, Verdict::Proven]);
    let left_out = |world: &World| {
        let told =
            |e: &Event| matches!(e, Event::Warning { message, .. } if message.contains("left out"));
        world.events().iter().filter(|e| told(e)).count()
    };
    assert_eq!(left_out(&world), 0);
    // Proving a part of what circuits computed is told.
    world.prove_layers(&fake, &all, Some("1"));
    assert_eq!(left_out(&world), 1);
}

#[test]
fn a_backend_that_writes_over_the_run_is_noticed_at_once() {
    let world = World::new(&[prover("a")]);
    let overwrite = |world: &World, tensor: &str| {
        let runs = dsperse_store::find_runs(&world.path("run")).unwrap();
        let index = runs[0].join("tensors/index.json");
        let index: dsperse_documents::TensorIndex =
            dsperse_store::atomic::read_document(&index).unwrap();
        let record = index.tensors.iter().find(|t| t.name == tensor).unwrap();
        let path = runs[0].join("tensors").join(&record.path);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[0] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    };
    let at = Mutex::new("witness 1 a");
    let fake = Fake::new(|job, _| {
        if said(job) == *at.lock().unwrap() {
            overwrite(&world, "x");
        }
        None
    });
    world.compile(&fake, "a");
    let error = world.try_run(&fake, None).unwrap_err();
    assert!(
        error.message.contains("tensor \"x\" has been changed"),
        "{error}"
    );
    assert!(error.hint.is_some_and(|h| h.contains("plugin list")));

    *at.lock().unwrap() = "prove 0 a";
    let ran = world.try_run(&fake, None).unwrap();
    let error = world
        .try_prove(&fake, &ran, &ProveOptions::default())
        .unwrap_err();
    assert!(
        error.message.contains("tensor \"x\" has been changed"),
        "{error}"
    );
}

#[test]
fn a_backend_that_hands_over_no_proof_has_failed() {
    let world = World::new(&[prover("a")]);
    let fake =
        Fake::new(|job, _| (said(job) == "prove 0 a").then(|| Ok(Reply::Done(Done::default()))));
    world.compile(&fake, "a");
    let ran = world.run(&fake);
    let report = world.prove(&fake, &ran);
    assert_eq!(report.slices[0].outcome, Outcome::Failed);
    let error = report.slices[0].error.as_deref().unwrap();
    assert!(error.contains("hands over no proof"), "{error}");
    assert_eq!(report.slices[1].outcome, Outcome::Done);
}

#[test]
fn proving_notices_another_library_and_another_version_of_the_backend() {
    let mut world = World::new(&[prover("a")]);
    let fake = Fake::new(well);
    world.compile(&fake, "a");
    let ran = world.run(&fake);
    let warned = |world: &World| {
        let told = |e: &Event| matches!(e, Event::Warning { message, .. } if message.contains("another library"));
        world.events().iter().filter(|e| told(e)).count()
    };
    world.prove(&fake, &ran);
    assert_eq!(warned(&world), 0);

    // Another build: the digest of its library is another.
    world.backends[0].summary = "another build".into();
    let report = world.prove(&fake, &ran);
    assert_eq!(warned(&world), 1);
    assert_eq!(report.slices[0].outcome, Outcome::Done);

    world.backends[0].version = "2.0.0".parse().unwrap();
    fake.jobs();
    let report = world.prove(&fake, &ran);
    assert!(fake.jobs().is_empty());
    assert_eq!(report.slices[0].outcome, Outcome::Failed);
    let error = report.slices[0].error.as_deref().unwrap();
    assert!(error.contains("\"a\" 1.0.0, loaded is 2.0.0"), "{error}");
    // A run says it too, and goes on without the circuit.
    let again = world.run(&fake);
    let row = &again.report.slices[0];
    assert_ne!(row.backend.as_deref(), Some("a"));
    let reason = &row.fallbacks[0].reason;
    assert!(reason.contains("\"a\" 1.0.0, loaded is 2.0.0"), "{reason}");
    let told = |e: &Event| matches!(e, Event::Warning { message, hint } if message.contains("another version") && message.ends_with("slice 0, 1") && hint.as_ref().is_some_and(|h| h.contains("dsperse compile")));
    assert!(world.events().iter().any(told));

    // Unless it says that it can use what the other version compiled.
    world.backends[0].compatible_artefacts = Some("1".into());
    let report = world.prove(&fake, &ran);
    assert_eq!(report.slices[0].outcome, Outcome::Done);
    let again = world.run(&fake);
    assert_eq!(again.report.slices[0].backend.as_deref(), Some("a"));
}

#[test]
fn every_answer_of_a_verifier_has_its_verdict() {
    let unbound = {
        let mut d = prover("u");
        if let Some(proof) = &mut d.capabilities.proof {
            proof.binds_public_io = BindsPublicIo::No;
        }
        d
    };
    let world = World::new(&[prover("a"), unbound]);
    world.compile(&Fake::new(well), "0:a;1:u");
    let ran = world.run(&Fake::new(well));
    world.prove(&Fake::new(well), &ran);
    let no = |reason: &str| Some(Ok(Reply::Verdict(invalid(reason))));
    let garbled = BackendError::invalid_input("the proof is cut off");
    let memory = BackendError::resource("no memory");
    let died = "backend \"a\" could not judge its proof: the worker died of signal 6";
    let neither = "the backend answered another question than it was asked";
    let both = format!("{died}; no memory");
    let wrong = format!("no; {died}");
    let neither = format!("backend \"a\" could not judge its proof: {neither}");
    // What "a" says of its proof, what the executor says, the verdict and its reason, and
    // how many were asked.
    let cases: [(Answer, Answer, Verdict, &str, usize); 7] = [
        (None, None, Verdict::Proven, "", 1),
        (no("it differs"), None, Verdict::Failed, "it differs", 1),
        (
            Some(Err(garbled)),
            None,
            Verdict::Failed,
            "the proof is cut off",
            1,
        ),
        (Some(Err(crash())), None, Verdict::Recomputed, died, 2),
        // Compared bit for bit, and within what the slice was compiled for.
        (Some(Err(crash())), no("no"), Verdict::Failed, &wrong, 3),
        (
            Some(Err(crash())),
            Some(Err(memory)),
            Verdict::Unchecked,
            &both,
            2,
        ),
        (Some(Ok(yes(0))), None, Verdict::Recomputed, &neither, 2),
    ];
    for (prover, executor, verdict, reason, asked) in cases {
        let fake = Fake::new(|job, _| match said(job).as_str() {
            "verify 0 a" => prover.clone(),
            "verify 0 onnx" => executor.clone(),
            _ => None,
        });
        let report = world.verify(&fake, &ran, &VerifyOptions::default());
        let report = report.unwrap();
        let slice = &report.slices[0];
        assert_eq!(slice.verdict, verdict, "{slice:?}");
        assert_eq!(slice.reason.as_deref().unwrap_or_default(), reason);
        assert_eq!(slice.proof.is_some(), verdict == Verdict::Proven);
        let accepted = matches!(verdict, Verdict::Proven | Verdict::Recomputed);
        assert_eq!(report.accepted, accepted);
        let calls = fake.calls(0);
        let judges = calls.iter().filter(|c| c.starts_with("verify"));
        assert_eq!(judges.count(), asked);
        // An accepted claim is also held against the float model.
        let floats = calls.iter().any(|c| c == "witness 0 onnx");
        assert_eq!(floats, accepted, "{calls:?}");
        // A proof that binds nothing is no more than a recomputation.
        assert_eq!(report.slices[1].verdict, Verdict::Recomputed);
        assert_eq!(
            report.slices[1].reason.as_deref(),
            Some("a proof of \"u\" is not bound to inputs and outputs")
        );
    }
}

#[test]
fn a_verifier_gets_the_claim_and_what_verifies_it_only() {
    let world = World::new(&[prover("a")]);
    let fake = Fake::new(well);
    world.compile(&fake, "a");
    let ran = world.run(&fake);
    world.prove(&fake, &ran);
    world
        .verify(&fake, &ran, &VerifyOptions::default())
        .unwrap();
    let jobs = fake.jobs();
    let job = jobs.iter().find(|j| said(j) == "verify 1 a").unwrap();
    let names = |list: &[crate::job::FileRef]| -> Vec<String> {
        list.iter().map(|f| f.name.clone()).collect()
    };
    let Work::Verify {
        circuit,
        proof,
        inputs,
        outputs,
        ..
    } = &job.work
    else {
        panic!("{job:?}");
    };
    assert_eq!(names(circuit), ["key"]);
    assert_eq!(names(proof), ["proof"]);
    assert!(!job.payload);
    assert_eq!(inputs[0].info.name, "a");
    assert_eq!(outputs[0].info.name, "y");
    // A job can be sent elsewhere: it names content, and nothing of this machine.
    let here = world.dir.path().to_str().unwrap();
    for job in &jobs {
        let text = serde_json::to_string(job).unwrap();
        assert!(!text.contains(here), "{text}");
        let back: Job = serde_json::from_str(&text).unwrap();
        assert_eq!(&back, job);
        assert_eq!(back.key(), job.key());
    }
}

#[test]
fn slices_that_together_need_too_much_memory_wait_for_each_other() {
    let mut world = World::new(&[prover("a")]);
    world.limits.parallel = Some(2);
    // More than half of any machine, so two at once are too much.
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let fake = Fake::new(|job, _| match job.op() {
        Op::Supports => Some(Ok(yes(u64::MAX / 2))),
        Op::Compile => {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
            now.fetch_sub(1, Ordering::SeqCst);
            None
        }
        _ => None,
    });
    let report = world.compile(&fake, "a");
    assert!(report.complete());
    assert_eq!(most.load(Ordering::SeqCst), 1);

    // Little ones run at the same time: each waits until the other is there.
    let mut world = World::new(&[prover("a")]);
    world.limits.parallel = Some(2);
    let (arrived, changed) = (Mutex::new(0), Condvar::new());
    let fake = Fake::new(|job, _| {
        if job.op() == Op::Compile {
            let mut arrived = arrived.lock().unwrap();
            *arrived += 1;
            changed.notify_all();
            let both = |n: &mut i32| *n < 2;
            let wait = changed.wait_timeout_while(arrived, Duration::from_secs(60), both);
            assert!(!wait.unwrap().1.timed_out(), "the other one does not come");
        }
        None
    });
    assert!(world.compile(&fake, "a").complete());
}

#[test]
fn cancelling_keeps_what_is_done_and_blames_nobody() {
    let world = World::new(&[prover("a")]);
    let cancel = world.cancel.clone();
    let fake = Fake::new(|job, control| {
        assert!(!control.cancel.is_cancelled());
        (said(job) == "compile 1 a").then(|| {
            cancel.cancel();
            Err(BackendError::cancelled())
        })
    });
    let report = world.compile(&fake, "a");
    let outcomes: Vec<Outcome> = report.slices.iter().map(|s| s.outcome).collect();
    assert_eq!(outcomes, [Outcome::Done, Outcome::Skipped]);
    assert_eq!(world.slice(0).backend.as_deref(), Some("a"));
    let left = world.slice(1);
    assert!(left.compilations.is_empty());
    assert!(left.fallbacks.is_empty(), "{:?}", left.fallbacks);
    let failed = |e: &crate::Event| matches!(e, crate::Event::Failed { .. });
    assert!(!world.events().iter().any(failed));

    // A proof that was cancelled did not fail, and a verdict is not half a one.
    let mut world = World::new(&[prover("a")]);
    world.compile(&Fake::new(well), "a");
    let ran = world.run(&Fake::new(well));
    let cancel = world.cancel.clone();
    let fake = Fake::new(move |_, _| {
        cancel.cancel();
        Some(Err(BackendError::cancelled()))
    });
    let report = world.prove(&fake, &ran);
    assert!(report.slices.iter().all(|s| s.outcome == Outcome::Skipped));
    assert_eq!(fake.jobs().len(), 1, "nothing more is started");
    assert!(world.results(&ran).slices[0].proof_execution.is_none());
    world.cancel = CancelToken::new();
    let cancel = world.cancel.clone();
    let fake = Fake::new(move |_, _| {
        cancel.cancel();
        Some(Err(BackendError::cancelled()))
    });
    let verdict = world.verify(&fake, &ran, &VerifyOptions::default());
    assert_eq!(verdict.unwrap_err().class, ErrorClass::Interrupted);
    assert_eq!(fake.jobs().len(), 1);
}

/// A witness job that ends with these values.
fn gives(job: &Job, control: &Control, values: [f32; 4]) -> Answer {
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(control.dir.join("output"), &data).unwrap();
    Some(Ok(Reply::Done(Done {
        outputs: vec![TensorFile {
            info: job.slice.outputs[0].clone(),
            path: "output".into(),
            sha256: sha256_hex(&data),
        }],
        ..Done::default()
    })))
}

fn calibrated(world: &World) -> impl FnOnce(&mut CompileOptions) {
    let input = world.dir.path().join("input.json");
    move |o| o.calibration = Calibration::Given(vec![input])
}

#[test]
fn a_circuit_that_misses_the_target_on_calibration_is_no_candidate() {
    let world = World::new(&["a", "b"].map(prover));
    let fake = Fake::new(|job, control| match (said(job).as_str(), job.slice.index) {
        // One percent of the range of 3 is 0.03.
        ("witness 0 a", _) => gives(job, control, [2.0, 3.0, 4.04, 5.0]),
        ("witness 1 a", _) => gives(job, control, [3.0, 4.0, 5.0, 6.02]),
        _ => None,
    });
    let report = world.compile_with(&fake, "a|b", calibrated(&world));
    let slice = world.slice(0);
    assert_eq!(slice.backend.as_deref(), Some("b"));
    let reason = &slice.fallbacks[0].reason;
    assert!(
        reason.contains("1.33e-2, wanted is at most 1.00e-2: element 2 of output \"a\""),
        "{reason}"
    );
    let slice = world.slice(1);
    let made = &slice.compilations["a"];
    let fidelity = made.fidelity.as_ref().unwrap();
    assert!((fidelity.error - 0.02 / 3.0).abs() < 1e-6, "{fidelity:?}");
    assert_eq!((fidelity.samples, fidelity.max_error), (1, 0.01));
    let range = &made.calibrated[0];
    assert_eq!((range.least, range.greatest), (2.0, 5.0));
    assert!(!report.fidelity.unwrap().misses());
    // The refusal is remembered.
    fake.jobs();
    world.compile_with(&fake, "a|b", calibrated(&world));
    assert!(fake.calls(0).iter().all(|c| !c.ends_with('a')));
}

#[test]
fn circuits_that_together_miss_the_target_are_turned_down() {
    let world = World::new(&[prover("a")]);
    let exact: Vec<u8> = [2f32, 3.0, 4.0, 5.0]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let exact = sha256_hex(&exact);
    let fake = Fake::new(|job, control| match said(job).as_str() {
        "witness 0 a" => gives(job, control, [2.02, 3.0, 4.0, 5.0]),
        "witness 1 a" if job.files().iter().any(|(_, sha256)| *sha256 == exact) => {
            gives(job, control, [3.01, 4.0, 5.0, 6.0])
        }
        "witness 1 a" => gives(job, control, [3.04, 4.0, 5.0, 6.0]),
        _ => None,
    });
    let report = world.compile_with(&fake, "a|onnx", calibrated(&world));
    // The first one does more harm.
    let slice = world.slice(0);
    assert_eq!(slice.backend.as_deref(), Some("onnx"));
    assert!(!slice.compilations.contains_key("a"));
    let reason = &slice.fallbacks[0].reason;
    assert!(
        reason.starts_with("with it the model's outputs miss the fidelity target"),
        "{reason}"
    );
    assert_eq!(world.slice(1).backend.as_deref(), Some("a"));
    assert_eq!(report.slices[0].backend.as_deref(), Some("onnx"));
    let fidelity = report.fidelity.unwrap();
    assert!(
        !fidelity.misses() && fidelity.error > Some(0.0),
        "{fidelity:?}"
    );
}

#[test]
fn a_run_that_misses_the_target_is_told() {
    let world = World::new(&[prover("a")]);
    let off = AtomicBool::new(false);
    let fake = Fake::new(|job, control| match said(job).as_str() {
        "witness 1 a" if off.load(Ordering::Relaxed) => gives(job, control, [3.0, 4.0, 5.0, 6.1]),
        _ => None,
    });
    world.compile_with(&fake, "a", calibrated(&world));
    off.store(true, Ordering::Relaxed);
    let fidelity = world.run(&fake).results.fidelity.unwrap();
    assert_eq!(fidelity.target, Some(0.01));
    assert!(fidelity.misses());
    let worst = fidelity.worst.unwrap();
    assert_eq!((worst.output.as_str(), worst.element), ("y", 3));
}

#[test]
fn inputs_beyond_the_calibrated_ones_are_told() {
    let world = World::new(&[prover("a")]);
    let fake = Fake::new(well);
    world.compile_with(&fake, "a", calibrated(&world));
    world.run(&fake);
    let warned = |world: &World| {
        let events = world.events();
        let warnings = events.iter().filter_map(|e| match e {
            Event::Warning { message, .. } => Some(message.clone()),
            _ => None,
        });
        warnings.collect::<Vec<_>>()
    };
    assert!(warned(&world).is_empty(), "{:?}", warned(&world));
    let input = r#"{"input_data": [[1, 2, 3, 9]]}"#;
    std::fs::write(world.dir.path().join("input.json"), input).unwrap();
    world.run(&fake);
    assert!(
        warned(&world)[0].starts_with("1 of 4 values of input \"x\" are beyond"),
        "{:?}",
        warned(&world)
    );
}

#[test]
fn every_sample_counts() {
    let world = World::new(&[prover("a")]);
    let folder = world.dir.path().join("samples");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("1.json"), r#"{"input_data": [[0, 0, 0, 0]]}"#).unwrap();
    // A batch of two.
    let batch = "[[1, 2, 3, 4], [5, 6, 7, -8]]";
    std::fs::write(folder.join("2.json"), batch).unwrap();
    let fake = Fake::new(well);
    world.compile_with(&fake, "a", |o| {
        o.calibration = Calibration::Given(vec![folder]);
    });
    let compiles: Vec<Job> = fake
        .jobs()
        .into_iter()
        .filter(|j| said(j) == "compile 0 a")
        .collect();
    assert!(
        matches!(&compiles[0].work, Work::Compile { calibration, calibration_outputs }
            if (calibration.len(), calibration_outputs.len()) == (3, 3))
    );
    let made = &world.slice(0).compilations["a"];
    assert_eq!(made.fidelity.as_ref().unwrap().samples, 3);
    let range = &made.calibrated[0];
    assert_eq!((range.least, range.greatest), (-8.0, 7.0));
}

/// Compiles well and says what a proof will need.
fn needing(prove: u64) -> impl Fn(&Job, &Control) -> Answer {
    move |job, control| {
        (job.op() == Op::Compile && job.backend == "a").then(|| {
            std::fs::write(control.dir.join("key"), &job.slice.sha256).unwrap();
            let mut done = Done::default();
            let role = dsperse_plugin_api::Role::Verifying;
            done.artefacts = vec![dsperse_plugin_api::Artefact::new("key", role, "key")];
            let peaks = serde_json::json!({ "witness": 1, "prove": prove });
            done.facts.insert(PEAK_BYTES.into(), peaks);
            Ok(Reply::Done(done))
        })
    }
}

#[test]
fn a_proof_that_can_not_fit_is_declined_before_it_begins() {
    let mut world = World::new(&["a", "b"].map(prover));
    world.limits.memory = Some(1 << 30);
    let fake = Fake::new(needing(3 << 30));
    world.compile(&fake, "a|b");
    // Whoever is next in the chain may need less.
    let slice = world.slice(0);
    assert_eq!(slice.backend.as_deref(), Some("b"));
    let fallback = &slice.fallbacks[0];
    assert_eq!(
        (fallback.kind, fallback.reason.as_str()),
        (
            Some(ErrorKind::Resource),
            "a proof is estimated to need 3072 MiB of memory, more than the 1024 MiB that a job may have"
        )
    );
    let hint = fallback.hint.as_deref().unwrap_or_default();
    assert!(hint.contains("\"memory 3072M\""), "{hint}");

    // Compiled where there was enough, and proven where there is not.
    world.limits.memory = Some(4 << 30);
    world.compile(&fake, "a|b");
    assert_eq!(world.slice(0).backend.as_deref(), Some("a"));
    let ran = world.run(&fake);
    world.limits.memory = Some(1 << 30);
    fake.jobs();
    let report = world.prove(&fake, &ran);
    assert_eq!(report.slices[0].outcome, Outcome::Failed);
    let told = report.slices[0].error.clone().unwrap();
    assert!(told.contains("estimated to need 3072 MiB"), "{told}");
    assert!(fake.jobs().is_empty(), "no job began");
    world.limits.memory = Some(4 << 30);
    let report = world.prove(&fake, &ran);
    assert_eq!(report.slices[0].outcome, Outcome::Done);
}

#[test]
fn proofs_share_the_memory_that_their_backend_says_they_need() {
    let mut world = World::new(&[prover("a")]);
    world.limits.parallel = Some(2);
    let half = crate::schedule::available_memory() / 2;
    for (each, together) in [(half / 2, 2), (half + (half / 2), 1)] {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let compile = needing(each);
        let fake = Fake::new(|job: &Job, control: &Control| {
            if job.op() == Op::Prove {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(200));
                now.fetch_sub(1, Ordering::SeqCst);
            }
            compile(job, control)
        });
        world.compile_with(&fake, "a", |o| o.force = true);
        let ran = world.run(&fake);
        world.prove(&fake, &ran);
        assert_eq!(most.load(Ordering::SeqCst), together, "{each}");
    }
}
