//! What the plugin makes of tools that are missing, broken or dying. Shell scripts stand
//! for JSTprove's programs, so none of it is needed.
#![cfg(unix)]

use dsperse_backend_jstprove::Jstprove;
use dsperse_backend_jstprove::tools::Tools;
use dsperse_onnx::NodeProto;
use dsperse_plugin_api::job::Options;
use dsperse_plugin_api::{Backend, Cx, Error, ErrorKind, ProbeJob, Result};
use dsperse_test_support::program;
use dsperse_test_support::stages::{Quiet, compile_job, model};
use serde_json::json;
use std::path::Path;

const BUILDER: &str = "onnx_generic_circuit_2-1-0";

/// Both programs do what `text` says.
fn programs(dir: &Path, text: &str) -> Options {
    for name in [BUILDER, "expander-exec"] {
        program(&dir.join(name), text);
    }
    let value = json!({ "programs": dir });
    value.as_object().cloned().unwrap()
}

fn in_dir<T>(f: impl FnOnce(&Path, &Cx) -> T) -> T {
    let dir = tempfile::tempdir().unwrap();
    let cx = Cx::new(dir.path().join("job"), 1, None, &Quiet);
    std::fs::create_dir_all(cx.dir()).unwrap();
    f(dir.path(), &cx)
}

/// The error with which `compile` ends.
fn failure(options: impl FnOnce(&Path) -> Options) -> Error {
    in_dir(|dir, cx| {
        let model = model(
            &[("x", &[1, 4])],
            &[("y", &[1, 4])],
            vec![],
            vec![NodeProto::new("Relu", &["x"], &["y"])],
        );
        let job = compile_job(dir, &model, options(dir), &[]);
        let e = Jstprove::open(cx).unwrap().compile(&job, cx).unwrap_err();
        let left: Vec<_> = std::fs::read_dir(cx.dir()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        e
    })
}

const LOADER: &str = "echo \"$0: error while loading shared libraries: libmpi.so.40: cannot open shared object file: No such file or directory\" >&2; exit 127";

#[test]
fn a_missing_library_is_a_missing_tool() {
    let e = failure(|dir| programs(dir, LOADER));
    assert_eq!(e.kind, ErrorKind::ToolMissing);
    assert_eq!(e.tool.unwrap().name, "libmpi");
    assert!(e.hint.unwrap().contains("apt install libopenmpi3"));
    // probe finds the same before any work.
    in_dir(|dir, cx| {
        let options = programs(dir, LOADER);
        let job = ProbeJob { options };
        let probe = Jstprove::open(cx).unwrap().probe(&job, cx).unwrap();
        assert!(!probe.ready && !probe.can_verify);
        assert!(
            probe.tools[0]
                .hint
                .as_ref()
                .unwrap()
                .contains("apt install")
        );
        assert_eq!(probe.tools[0].found.as_deref(), Some("2.1.0"));
        assert!(probe.notes.iter().any(|n| n.contains("licence")));
    });
}

#[test]
fn a_crash_is_internal_and_a_shortage_is_not() {
    let panic = "echo \"thread 'main' panicked at src/main.rs\" >&2; exit 101";
    let e = failure(|dir| programs(dir, panic));
    assert_eq!(e.kind, ErrorKind::Internal);
    assert!(e.message.contains("exit code 101") && e.message.contains("panicked"));
    for shortage in [
        "kill -9 $$",
        "echo 'memory allocation of 8589934592 bytes failed' >&2; kill -6 $$",
        "echo 'Os { code: 28, kind: StorageFull, message: \"No space left on device\" }' >&2; exit 101",
    ] {
        let e = failure(|dir| programs(dir, shortage));
        assert_eq!(e.kind, ErrorKind::Resource, "{shortage}");
    }
}

/// A program that ends well and makes no files has not done its work.
#[test]
fn silence_is_no_success() {
    let e = failure(|dir| programs(dir, "exit 0"));
    assert_eq!(e.kind, ErrorKind::Internal);
}

fn verdict(text: &str) -> Result<std::result::Result<(), String>> {
    in_dir(|dir, cx| {
        let tools = Tools::find(&programs(dir, text)).unwrap();
        tools.verify(&[1], &[2], cx.dir(), &dir.join("proof"), cx)
    })
}

#[test]
fn only_success_in_status_and_text_is_a_good_verdict() {
    assert_eq!(
        verdict("echo verifying proof; echo success").unwrap(),
        Ok(())
    );
    for bad in [
        "exit 0",
        "echo no success",
        "echo success; exit 1",
        "echo 'assertion failed' >&2; exit 101",
        "kill -11 $$",
    ] {
        assert!(verdict(bad).unwrap().is_err(), "{bad}");
    }
    // Who could not judge has no verdict.
    assert_eq!(verdict(LOADER).unwrap_err().kind, ErrorKind::ToolMissing);
    assert_eq!(verdict("kill -9 $$").unwrap_err().kind, ErrorKind::Resource);
}

fn jst(dir: &Path, text: &str) -> Options {
    let path = dir.join("jst");
    program(&path, text);
    let value = json!({ "jst": path });
    value.as_object().cloned().unwrap()
}

#[test]
fn a_broken_command_is_a_missing_tool() {
    let text = "echo \"ModuleNotFoundError: No module named 'torch'\" >&2; exit 1";
    let e = failure(|dir| jst(dir, text));
    assert_eq!(e.kind, ErrorKind::ToolMissing);
    assert!(e.hint.unwrap().contains("pip install"));
    let e = failure(|_| {
        json!({"jst": "/nonexistent/jst"})
            .as_object()
            .cloned()
            .unwrap()
    });
    assert_eq!(e.kind, ErrorKind::ToolMissing);
    assert!(e.message.contains("/nonexistent/jst"), "{e}");
}

/// The command tells its version in what it makes: `jst --no-banner compile -m M -c C`.
#[test]
fn a_command_of_another_version_is_a_missing_tool() {
    let text =
        "dir=$(dirname \"$6\"); echo '{\"version\": \"3.0.0\"}' > \"$dir/circuit_metadata.json\"";
    let e = failure(|dir| jst(dir, text));
    assert_eq!(e.kind, ErrorKind::ToolMissing);
    assert!(e.message.contains("JSTprove 3.0.0, expected 2.1.0"), "{e}");
    assert_eq!(e.tool.unwrap().found.as_deref(), Some("3.0.0"));
}

/// The user's directory is meant, and no other.
#[test]
fn a_configured_directory_is_not_replaced_by_another_place() {
    let e = failure(|_| {
        json!({"programs": "/nonexistent"})
            .as_object()
            .cloned()
            .unwrap()
    });
    assert_eq!(e.kind, ErrorKind::ToolMissing);
    assert!(e.message.contains("\"/nonexistent\""), "{e}");
}
