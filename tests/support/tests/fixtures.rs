//! The fixtures are what they claim to be: checked here in the test's own process where
//! that is safe, and by the plugin host's tests where it is not.

use dsperse_plugin_api::abi::{CallRequest, Functions, RawReply, ReplyError};
use dsperse_plugin_api::{Done, Error, ErrorKind, Level, Probe, ProbeJob};
use dsperse_test_support::{self as support, Fault, load};

const LIMIT: usize = 1 << 20;

fn probe(functions: Functions, fault: &str) -> Result<RawReply, ReplyError> {
    let dir = tempfile::tempdir().expect("a directory");
    let mut job = ProbeJob::default();
    job.options.insert("fault".into(), fault.into());
    job.options.insert("at".into(), "probe".into());
    let request = CallRequest {
        job,
        dir: dir.path().to_str().expect("UTF-8").into(),
        threads: 1,
        memory: None,
        log_level: Level::Info,
    };
    let request = serde_json::to_vec(&request).expect("JSON");
    // SAFETY: the functions are those of a loaded fixture; no host is lent.
    unsafe { functions.call("probe", &request, std::ptr::null(), LIMIT) }
}

fn error(functions: Functions, fault: &str) -> Error {
    let reply = probe(functions, fault).expect("readable");
    reply.decode::<Probe>("probe").expect_err("a fault")
}

#[test]
fn the_rust_fixture_answers_without_a_fault_and_names_an_unknown_one() {
    let functions = load::open(&support::cdylib("faulty")).expect("opens");
    let reply = probe(functions, "none").expect("readable");
    assert_eq!(reply.decode::<Probe>("probe"), Ok(Probe::ready()));
    let error = error(functions, "gremlins");
    assert_eq!(error.kind, ErrorKind::InvalidInput);
    assert!(error.message.contains("gremlins"), "{error}");
}

#[test]
fn each_reply_that_is_no_reply_is_told_apart() {
    let functions = load::open(&support::cdylib("faulty")).expect("opens");
    for (fault, words) in [
        ("bad-json", "can't be read: EOF"),
        ("wrong-document", "can't be read"),
        ("not-utf8", "is not UTF-8 (byte 14)"),
        ("unknown-status", "unknown status 77"),
        ("no-document", "can't be read: EOF"),
    ] {
        let reply = probe(functions, fault).expect("readable");
        let error = reply.decode::<Done>("probe").expect_err("a fault");
        assert_eq!(error.kind, ErrorKind::Internal, "{fault}");
        assert!(error.message.contains(words), "{fault}: {error}");
    }
    assert_eq!(
        probe(functions, "null-reply"),
        Err(ReplyError::NoAddress { len: 4096 })
    );
    assert_eq!(
        probe(functions, "huge-reply"),
        Err(ReplyError::TooLarge {
            found: 1 << 30,
            limit: LIMIT
        })
    );
}

#[test]
fn panics_of_the_fixture_are_caught_and_honest_errors_keep_their_kind() {
    let functions = load::open(&support::cdylib("faulty")).expect("opens");
    for (fault, kind) in [
        ("panic", ErrorKind::Panic),
        ("panic-drop", ErrorKind::Panic),
        ("panic-thread", ErrorKind::Internal),
        ("error-unsupported", ErrorKind::Unsupported),
        ("error-tool-missing", ErrorKind::ToolMissing),
        ("error-resource", ErrorKind::Resource),
    ] {
        assert_eq!(error(functions, fault).kind, kind, "{fault}");
    }
}

#[test]
fn libraries_that_are_no_plugins_have_a_reason_each() {
    let dir = tempfile::tempdir().expect("a directory");
    for (fault, words) in [
        (Fault::NoSymbol, "exports no door"),
        (Fault::AbiMajor2, "ABI major 2"),
        (Fault::NullTable, "returned no table"),
        (Fault::NoFunctions, "lacks a function"),
        (Fault::UndefinedSymbol, "function_that_no_library_has"),
    ] {
        let library = fault.build(dir.path(), &format!("{fault:?}").to_lowercase());
        let reason = load::open(&library).expect_err("a reason");
        assert!(reason.contains(words), "{fault:?}: {reason}");
    }
    let good = support::build_cident(dir.path(), "good", 0);
    for broken in [
        support::junk(dir.path(), "junk"),
        support::wrong_architecture(dir.path(), "elsewhere", &good),
    ] {
        load::open(&broken).expect_err("a reason");
    }
}

#[test]
fn every_load_fault_compiles() {
    let dir = tempfile::tempdir().expect("a directory");
    for fault in Fault::ALL {
        assert!(fault.build(dir.path(), "fault").is_file());
    }
}
