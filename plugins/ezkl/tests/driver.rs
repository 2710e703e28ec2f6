//! What the driver makes of a Python that is missing, wrong, killed or out of space. Shell
//! scripts stand for Python, so no EZKL is needed.
#![cfg(unix)]

use dsperse_backend_ezkl::EzklBackend;
use dsperse_backend_ezkl::driver::Ezkl;
use dsperse_plugin_api::job::Options;
use dsperse_plugin_api::{Backend, Cx, Error, ErrorKind, ProbeJob};
use dsperse_test_support::program;
use dsperse_test_support::stages::Quiet;
use serde_json::json;
use std::path::Path;

fn options(python: &Path) -> Options {
    let value = json!({ "python": python });
    value.as_object().cloned().unwrap()
}

/// A program in place of Python; it is called as `python -I driver.py request reply`.
fn python(dir: &Path, script: &str) -> Options {
    let path = dir.join("python");
    program(&path, script);
    options(&path)
}

fn failure(script: &str) -> Error {
    let dir = tempfile::tempdir().unwrap();
    let options = python(dir.path(), script);
    let cx = Cx::new(dir.path().join("job"), 1, None, &Quiet);
    std::fs::create_dir_all(cx.dir()).unwrap();
    let e = Ezkl::find(&options).unwrap().check(&cx).unwrap_err();
    let left: Vec<_> = std::fs::read_dir(cx.dir()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    e
}

#[test]
fn a_missing_python_is_a_missing_tool() {
    let e = Ezkl::find(&options(Path::new("/nonexistent/python"))).unwrap_err();
    assert_eq!(e.kind, ErrorKind::ToolMissing);
    assert!(e.message.contains("/nonexistent/python"), "{e}");
    assert!(e.hint.unwrap().contains("pip install ezkl=="));
}

#[test]
fn another_version_is_named_with_the_wanted_one() {
    let e = failure(r#"echo '{"result": "22.1.0"}' > "$4""#);
    assert_eq!(e.kind, ErrorKind::ToolMissing);
    assert!(e.message.contains("EZKL 22.1.0 is at"), "{e}");
    let tool = e.tool.unwrap();
    assert_eq!(tool.found.as_deref(), Some("22.1.0"));
    assert_eq!(tool.wanted, "=23.0.5");
}

#[test]
fn a_python_without_the_module_is_a_missing_tool() {
    let e = failure(r#"echo '{"missing": "ModuleNotFoundError: ezkl"}' > "$4""#);
    assert_eq!(e.kind, ErrorKind::ToolMissing);
    assert!(e.message.contains("can't import"), "{e}");
}

#[test]
fn a_shortage_is_a_resource_error() {
    for script in [
        "kill -9 $$",
        "echo 'memory allocation of 8589934592 bytes failed' >&2; kill -6 $$",
        "echo 'OSError: [Errno 28] No space left on device' >&2; exit 1",
        r#"echo '{"error": "RuntimeError: No space left on device (os error 28)"}' > "$4""#,
    ] {
        assert_eq!(failure(script).kind, ErrorKind::Resource, "{script}");
    }
}

#[test]
fn a_crash_is_told_from_a_refusal() {
    // A reply counts only together with a good ending.
    for script in [
        "echo 'thread panicked' >&2; exit 101",
        r#"echo '{"result": "23.0.5"}' > "$4"; exit 1"#,
        "exit 0",
        r#"echo 'no JSON' > "$4""#,
        "kill -11 $$",
    ] {
        let e = failure(script);
        assert_eq!(e.kind, ErrorKind::Internal, "{script}");
        assert!(e.message.contains("EZKL's \"version\""), "{e}");
    }
}

#[test]
fn probe_reports_what_it_found() {
    let dir = tempfile::tempdir().unwrap();
    let cx = Cx::new(dir.path().join("job"), 1, None, &Quiet);
    std::fs::create_dir_all(cx.dir()).unwrap();
    let probe = |options| {
        let backend = EzklBackend::open(&cx).unwrap();
        backend.probe(&ProbeJob { options }, &cx).unwrap()
    };
    let found = probe(python(dir.path(), r#"echo '{"result": "22.1.0"}' > "$4""#));
    assert!(!found.ready && !found.can_verify);
    assert_eq!(found.tools[0].found.as_deref(), Some("22.1.0"));
    assert!(found.notes.iter().any(|n| n.contains("licence")));
    let none = probe(options(Path::new("/nonexistent/python")));
    assert!(!none.can_verify);
    assert!(none.tools[0].hint.as_ref().unwrap().contains("pip install"));
}
