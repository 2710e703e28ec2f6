//! Which libraries are found, and the one reason for each that is not used.

mod common;

use common::{alone, call, descriptors, options, workers};
use dsperse_plugin_api::{ErrorKind, Probe, ProbeJob};
use dsperse_plugin_host::{
    HostOptions, Isolation, PluginHost, Reply, Request, SearchPath, SearchSource, SkipKind,
};
use dsperse_test_support::{self as support, Fault};
use std::path::Path;
use std::time::Duration;

fn skipped<'a>(host: &'a PluginHost, name: &str) -> (SkipKind, &'a str) {
    let file = support::library_name(name);
    let found: Vec<_> = host
        .skipped()
        .iter()
        .filter(|s| s.path.ends_with(&file))
        .collect();
    assert_eq!(found.len(), 1, "{name}: {:?}", host.skipped());
    (found[0].kind, &found[0].reason)
}

fn probe(host: &PluginHost, name: &str) -> Probe {
    match call(host, name, Request::Probe(ProbeJob::default()), |_| {})
        .outcome
        .result
    {
        Ok(Reply::Probe(probe)) => probe,
        other => panic!("{name}: {other:?}"),
    }
}

fn quick(dir: &Path) -> HostOptions {
    let mut options = options(&[dir]);
    options.policy.load_timeout = Duration::from_millis(2500);
    options.policy.describe_timeout = Duration::from_millis(2500);
    options
}

#[test]
fn good_libraries_are_listed_beside_broken_ones_with_one_reason_each() {
    let _alone = alone();
    let before = descriptors();
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let good = support::build_cident(dir, "cident", 0);
    support::build_cident(dir, "older", 0);
    support::build_cident(dir, "newer", 9);
    support::install("faulty", dir);
    support::junk(dir, "junk");
    support::truncated(dir, "truncated", &good);
    support::wrong_architecture(dir, "foreign", &good);
    std::fs::create_dir(dir.join(support::library_name("directory"))).unwrap();
    std::os::unix::fs::symlink("/nonexistent", dir.join(support::library_name("dangling")))
        .unwrap();
    for fault in Fault::ALL {
        fault.build(dir, &format!("{fault:?}").to_lowercase());
    }
    let host = PluginHost::discover(quick(dir));

    let names: Vec<&str> = host
        .plugins()
        .iter()
        .map(|p| p.descriptor.name.as_str())
        .collect();
    for name in ["cident", "older", "newer", "faulty"] {
        assert!(names.contains(&name), "{names:?} {:?}", host.skipped());
        assert!(probe(&host, name).ready);
    }
    assert_eq!(host.get("cident").unwrap().door, "C");
    assert_eq!(host.get("newer").unwrap().descriptor.api_version.minor, 9);

    for (name, kind, words) in [
        ("junk", SkipKind::NotALibrary, "not a shared library"),
        ("truncated", SkipKind::NotALibrary, "damaged"),
        ("foreign", SkipKind::WrongArchitecture, "this program for"),
        ("directory", SkipKind::NotALibrary, "not a regular file"),
        ("dangling", SkipKind::Unreadable, "can't be read"),
        ("abortinconstructor", SkipKind::LoadFailed, "SIGABRT"),
        ("exitinconstructor", SkipKind::LoadFailed, "exit code 0"),
        ("loopinconstructor", SkipKind::LoadFailed, "took longer"),
        ("nosymbol", SkipKind::NotAPlugin, "exports neither"),
        ("abimajor2", SkipKind::IncompatibleVersion, "2"),
        ("undefinedsymbol", SkipKind::LoadFailed, "undefined symbol"),
        ("nulltable", SkipKind::IncompatibleVersion, "no table"),
        (
            "nofunctions",
            SkipKind::IncompatibleVersion,
            "lacks a function",
        ),
        ("describeaborts", SkipKind::LoadFailed, "SIGABRT"),
        ("describebadjson", SkipKind::LoadFailed, "can't be read"),
        ("describeloops", SkipKind::LoadFailed, "took longer"),
        ("describebadname", SkipKind::LoadFailed, "calls itself"),
    ] {
        let (found, reason) = skipped(&host, name);
        assert_eq!(found, kind, "{name}: {reason}");
        assert!(reason.contains(words), "{name}: {reason}");
        assert!(!reason.contains('\n'), "{name}: {reason}");
    }
    drop(host);
    assert_eq!(workers(), Vec::<u32>::new());
    assert_eq!(descriptors(), before);
}

#[test]
fn versions_of_both_sides_stand_in_the_reason() {
    let _alone = alone();
    let temp = tempfile::tempdir().unwrap();
    Fault::AbiMajor2.build(temp.path(), "two");
    let host = PluginHost::discover(quick(temp.path()));
    let (_, reason) = skipped(&host, "two");
    assert!(reason.contains('2') && reason.contains('1'), "{reason}");
}

#[test]
fn a_manifest_beside_the_library_can_refuse_it_before_its_code_runs() {
    let _alone = alone();
    let temp = tempfile::tempdir().unwrap();
    // It would abort: the reason shows that it never ran.
    let library = Fault::AbortInConstructor.build(temp.path(), "later");
    let manifest = format!("{}.json", library.display());
    std::fs::write(
        &manifest,
        r#"{"name":"later","version":"3.1.0","api":"2.0.0"}"#,
    )
    .unwrap();
    let host = PluginHost::discover(quick(temp.path()));
    let (kind, reason) = skipped(&host, "later");
    assert_eq!(kind, SkipKind::IncompatibleVersion);
    assert!(
        reason.contains("2.0.0") && reason.contains(&dsperse_plugin_api::API_VERSION.to_string()),
        "{reason}"
    );

    std::fs::write(&manifest, "{").unwrap();
    let host = PluginHost::discover(quick(temp.path()));
    assert!(skipped(&host, "later").1.contains("manifest can't be read"));
}

#[test]
fn a_library_that_crashes_on_load_is_quarantined_until_it_changes() {
    let _alone = alone();
    let temp = tempfile::tempdir().unwrap();
    let library = Fault::AbortInConstructor.build(temp.path(), "bad");
    let mut options = quick(temp.path());
    options.cache_dir = Some(temp.path().join("cache"));
    let host = PluginHost::discover(options.clone());
    assert_eq!(skipped(&host, "bad").0, SkipKind::LoadFailed);
    let host = PluginHost::discover(options.clone());
    let (kind, reason) = skipped(&host, "bad");
    assert_eq!(kind, SkipKind::Quarantined);
    assert!(
        reason.contains("SIGABRT") && reason.contains("doctor reset"),
        "{reason}"
    );

    // Reset: it is tried, and fails, again.
    assert_eq!(host.reset_quarantine().unwrap(), 1);
    let host = PluginHost::discover(options.clone());
    assert_eq!(skipped(&host, "bad").0, SkipKind::LoadFailed);

    // Another file in its place: it is loaded.
    std::fs::remove_file(&library).unwrap();
    support::build_cident(temp.path(), "bad", 0);
    let host = PluginHost::discover(options);
    assert!(host.get("bad").is_some(), "{:?}", host.skipped());
}

#[test]
fn the_first_of_one_name_wins_and_the_other_is_reported() {
    let _alone = alone();
    let first = tempfile::tempdir().unwrap();
    let second = tempfile::tempdir().unwrap();
    let winner = support::build_cident(first.path(), "twin", 0);
    support::build_cident(second.path(), "twin", 1);
    let host = PluginHost::discover(options(&[first.path(), second.path()]));
    assert_eq!(host.plugins().len(), 1);
    assert!(
        host.plugins()[0]
            .path
            .ends_with(winner.file_name().unwrap())
    );
    let (kind, reason) = skipped(&host, "twin");
    assert_eq!(kind, SkipKind::Shadowed);
    assert!(
        reason.contains(&first.path().display().to_string()),
        "{reason}"
    );
}

#[test]
fn descriptions_are_remembered_by_digest() {
    let _alone = alone();
    let temp = tempfile::tempdir().unwrap();
    support::build_cident(temp.path(), "cident", 0);
    let mut options = options(&[temp.path()]);
    options.cache_dir = Some(temp.path().join("cache"));
    let host = PluginHost::discover(options.clone());
    assert!(host.get("cident").is_some(), "{:?}", host.skipped());
    // With a worker program that can't run, only the memory can answer.
    options.worker_program = Some("/nonexistent/worker".into());
    let host = PluginHost::discover(options);
    assert!(host.get("cident").is_some(), "{:?}", host.skipped());
    let called = call(&host, "cident", Request::Probe(ProbeJob::default()), |_| {});
    let error = called.outcome.result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Resource);
    assert!(error.message.contains("/nonexistent/worker"), "{error}");
}

#[test]
fn a_program_that_is_no_worker_is_an_error_and_not_a_hang() {
    let _alone = alone();
    let temp = tempfile::tempdir().unwrap();
    support::build_cident(temp.path(), "cident", 0);
    let mut options = options(&[temp.path()]);
    options.worker_program = Some("/bin/true".into());
    let host = PluginHost::discover(options);
    let (_, reason) = skipped(&host, "cident");
    assert!(reason.contains("before its handshake"), "{reason}");
}

#[test]
fn places_that_cannot_be_searched_are_reported() {
    let _alone = alone();
    let temp = tempfile::tempdir().unwrap();
    let mut options = options::<&Path>(&[]);
    for (path, source) in [
        (temp.path().join("absent"), SearchSource::Environment),
        (temp.path().join("built-in"), SearchSource::UserData),
        (temp.path().to_path_buf(), SearchSource::Flag),
    ] {
        options.search.push(SearchPath {
            path,
            source,
            sha256: None,
        });
    }
    let host = PluginHost::discover(options);
    assert!(host.plugins().is_empty());
    assert_eq!(host.skipped().len(), 1, "{:?}", host.skipped());
    assert!(host.skipped()[0].reason.contains("DSPERSE_PLUGINS"));
    let called = call(&host, "x", Request::Probe(ProbeJob::default()), |_| {});
    let error = called.outcome.result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidInput);
    assert!(error.message.contains("no backend \"x\""), "{error}");
}

#[test]
fn without_isolation_a_plugin_runs_in_this_process() {
    let _alone = alone();
    let temp = tempfile::tempdir().unwrap();
    support::build_cident(temp.path(), "cident", 0);
    let mut options = options(&[temp.path()]);
    options.isolation = Isolation::None;
    options.worker_program = Some("/nonexistent/worker".into());
    let host = PluginHost::discover(options);
    assert!(probe(&host, "cident").ready);
}

/// abi_stable's own loader would answer the second load with the first library.
#[test]
fn two_root_modules_in_one_process_stay_apart() {
    let _alone = alone();
    for isolation in [Isolation::Process, Isolation::None] {
        let mut options = options(&[common::stable("a"), common::stable("b")]);
        options.isolation = isolation;
        let host = PluginHost::discover(options);
        for name in ["stable_a", "stable_b"] {
            let plugin = host.get(name).expect(name);
            assert_eq!(plugin.door, "abi_stable");
            assert!(probe(&host, name).ready);
        }
    }
}
