//! The conformance kit through real workers.

mod common;

use common::{alone, options, workers};
use dsperse_plugin_api::abi::ABI_MINOR;
use dsperse_plugin_api::conformance::{Outcome, WithOptions, run, samples};
use dsperse_plugin_host::WorkerCaller;
use dsperse_test_support::{Fault, build_cident, cdylib};
use std::path::Path;

#[test]
fn the_backend_in_c_passes_whatever_minor_it_was_built_for() {
    let _alone = alone();
    let temp = tempfile::tempdir().unwrap();
    for (name, minor) in [("cident_old", 0), ("cident", ABI_MINOR), ("cident_new", 9)] {
        let library = build_cident(temp.path(), name, minor);
        let caller = WorkerCaller::new(library, &options::<&Path>(&[]));
        let report = run(&caller, &samples::all());
        assert!(report.passed(), "{report}");
        assert_eq!(report.claimed, ["identity", "relu"]);
    }
    assert_eq!(workers(), Vec::<u32>::new());
}

#[test]
fn the_faulty_backend_fails_only_because_it_computes_nothing() {
    let _alone = alone();
    let caller = WorkerCaller::new(cdylib("faulty"), &options::<&Path>(&[]));
    let report = run(&caller, &[samples::identity(), samples::relu()]);
    let failed = |o: &Outcome| matches!(o, Outcome::Failed(_));
    let failed: Vec<_> = report
        .results
        .iter()
        .filter(|r| failed(&r.outcome))
        .collect();
    assert_eq!(failed.len(), 1, "{report}");
    assert_eq!(failed[0].check.number, 12, "{report}");
}

#[test]
fn what_only_workers_see_is_checked() {
    let _alone = alone();
    let temp = tempfile::tempdir().unwrap();
    let library = build_cident(temp.path(), "cident", 0);
    let caller = || WorkerCaller::new(&library, &options::<&Path>(&[]));
    let report = run(&caller(), &samples::all());
    assert_eq!(report.outcome(18), Some(&Outcome::Passed), "{report}");
    assert_eq!(report.outcome(19), Some(&Outcome::Passed), "{report}");
    // Another manifest beside the library.
    let manifest = temp.path().join("libdsperse_backend_cident.so.json");
    std::fs::write(
        &manifest,
        r#"{"name":"cident","version":"0.2.0","api":"1.0.0"}"#,
    )
    .unwrap();
    let report = run(&caller(), &[]);
    let Some(Outcome::Failed(lines)) = report.outcome(18) else {
        panic!("{report}")
    };
    assert!(
        lines[0].contains("version in the manifest is \"0.2.0\""),
        "{report}"
    );
    // A child that leaves the process group of its parent.
    let fault = [("fault", "child-setsid"), ("at", "probe")];
    let leaky = WithOptions {
        inner: WorkerCaller::new(cdylib("faulty"), &options::<&Path>(&[])),
        options: fault
            .map(|(k, v)| (k.to_owned(), v.into()))
            .into_iter()
            .collect(),
    };
    let report = run(&leaky, &[]);
    let found = Outcome::Failed(vec!["\"probe\" left a process behind".to_owned()]);
    assert_eq!(report.outcome(19), Some(&found), "{report}");
    assert_eq!(workers(), Vec::<u32>::new());
}

#[test]
fn a_library_that_aborts_fails_the_first_check_and_nothing_else_is_tried() {
    let _alone = alone();
    let temp = tempfile::tempdir().unwrap();
    let library = Fault::AbortInConstructor.build(temp.path(), "bad");
    let report = run(
        &WorkerCaller::new(library, &options::<&Path>(&[])),
        &samples::all(),
    );
    assert!(!report.passed());
    assert_eq!(report.descriptor, None);
    let skipped = |o: &Outcome| matches!(o, Outcome::Skipped(_));
    assert!(
        report.results[1..].iter().all(|r| skipped(&r.outcome)),
        "{report}"
    );
}
