//! The conformance kit on the fixtures: the backend in plain C passes, also when it is an
//! older or newer minor of the API, and the kit finds what is wrong with others.

use dsperse_plugin_api::Role;
use dsperse_plugin_api::abi::{ABI_MINOR, RawReply};
use dsperse_plugin_api::conformance::{CHECKS, Caller, InProcess, Outcome, Report, run, samples};
use dsperse_test_support::{self as support, Fault, load};
use std::time::Duration;

fn report(library: &std::path::Path) -> Report {
    let functions = load::open(library).expect("opens");
    // SAFETY: the library is a fixture of this repository and stays loaded.
    run(&unsafe { InProcess::new(functions) }, &samples::all())
}

fn failed(report: &Report) -> Vec<u32> {
    let failed = |o: &Outcome| matches!(o, Outcome::Failed(_));
    let results = report.results.iter().filter(|r| failed(&r.outcome));
    results.map(|r| r.check.number).collect()
}

#[test]
fn the_backend_in_c_passes_whatever_minor_it_was_built_for() {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, minor) in [("cident_old", 0), ("cident", ABI_MINOR), ("cident_new", 9)] {
        let report = report(&support::build_cident(dir.path(), name, minor));
        assert!(report.passed(), "{report}");
        assert_eq!(report.claimed, ["identity", "relu"]);
        let api = &report
            .descriptor
            .as_ref()
            .expect("a descriptor")
            .api_version;
        assert_eq!(api.minor, u64::from(minor), "{name}");
        let numbers: Vec<u32> = report.results.iter().map(|r| r.check.number).collect();
        assert_eq!(numbers, CHECKS.iter().map(|c| c.number).collect::<Vec<_>>());
        assert_eq!(
            report.outcome(14),
            Some(&Outcome::Skipped("the backend makes no proofs".into()))
        );
    }
}

#[test]
fn the_faulty_fixture_fails_only_because_it_computes_nothing() {
    let report = report(&support::cdylib("faulty"));
    assert_eq!(failed(&report), [12], "{report}");
    assert_eq!(report.claimed.len(), samples::all().len());
    assert_eq!(report.outcome(14), Some(&Outcome::Passed), "{report}");
    assert_eq!(report.outcome(16), Some(&Outcome::Passed), "{report}");
}

#[test]
fn changing_and_broken_descriptors_are_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let build = |fault: Fault| report(&fault.build(dir.path(), &format!("{fault:?}")));
    assert!(failed(&build(Fault::DescribeChanges)).contains(&1));
    let broken = build(Fault::DescribeBadJson);
    assert_eq!(failed(&broken), [1], "{broken}");
    assert_eq!(broken.results.len(), CHECKS.len());
    let named = build(Fault::DescribeBadName);
    let Some(Outcome::Failed(lines)) = named.outcome(2) else {
        panic!("{named}")
    };
    assert!(lines[0].contains("Two Words"), "{lines:?}");
}

/// A caller that changes requests or replies on the way.
struct Between<F>(InProcess, F);

impl<F: Fn(&str, String) -> String> Caller for Between<F> {
    fn describe(&self) -> dsperse_plugin_api::Result<RawReply> {
        self.0.describe()
    }
    fn call(
        &self,
        op: &str,
        request: &[u8],
        cancel_after: Option<Duration>,
    ) -> dsperse_plugin_api::Result<RawReply> {
        let mut reply = self.0.call(op, request, cancel_after)?;
        reply.bytes = self.1(op, String::from_utf8_lossy(&reply.bytes).into_owned()).into_bytes();
        Ok(reply)
    }
}

/// The checks that fail when the replies of the C backend are edited.
fn edited(edit: impl Fn(&str, String) -> String) -> (Vec<u32>, Report) {
    let dir = tempfile::tempdir().expect("a directory");
    let functions = load::open(&support::build_cident(dir.path(), "edited", 0)).expect("opens");
    // SAFETY: the library is a fixture of this repository and stays loaded.
    let caller = Between(unsafe { InProcess::new(functions) }, edit);
    let report = run(&caller, &samples::all());
    (failed(&report), report)
}

#[test]
fn each_kind_of_cheating_is_found_by_its_check() {
    let cases: [(&str, &str, &str, &[u32]); 7] = [
        (
            "verify",
            "\"verdict\":\"invalid\"",
            "\"verdict\":\"valid\",\"was\":\"invalid\"",
            &[15, 16],
        ),
        (
            "verify",
            "\"verdict\":\"valid\"",
            "\"verdict\":\"invalid\",\"reason\":\"no\"",
            &[9],
        ),
        ("compile", "plan.txt", "../plan.txt", &[10]),
        ("compile", "plan.txt", "plan.md", &[10]),
        ("witness", "\"shape\":[1,4]", "\"shape\":[4,1]", &[9, 10]),
        ("probe", "\"ready\":true", "\"ready\":false", &[6]),
        (
            "supports",
            "\"kind\":\"invalid_input\"",
            "\"kind\":\"internal\"",
            &[4],
        ),
    ];
    for (in_op, from, to, expected) in cases {
        let (found, report) = edited(|op, reply| match op == in_op {
            true => reply.replace(from, to),
            false => reply,
        });
        for number in expected {
            assert!(found.contains(number), "{in_op} {from} {to}\n{report}");
        }
    }
}

#[test]
fn a_backend_that_touches_earlier_files_is_found() {
    let (found, report) = edited(|op, reply| {
        // What a careless backend might do: clean up after itself one level too high.
        if op == "verify" {
            for entry in std::fs::read_dir(std::env::temp_dir())
                .expect("a list")
                .flatten()
            {
                let own = format!("dsperse-conformance-{}-", std::process::id());
                if entry.file_name().to_string_lossy().starts_with(&own) {
                    let _ = std::fs::write(entry.path().join("stray"), &reply);
                }
            }
        }
        reply
    });
    assert!(found.contains(&11), "{report}");
}

#[test]
fn proofs_must_have_the_role_of_a_verifiers_file() {
    let functions = load::open(&support::cdylib("faulty")).expect("opens");
    // SAFETY: as above.
    let caller = Between(
        unsafe { InProcess::new(functions) },
        |op: &str, reply: String| {
            let role = |r: Role| serde_json::to_string(&r).expect("JSON");
            match op {
                "prove" => reply.replace(&role(Role::Verifying), &role(Role::Secret)),
                _ => reply,
            }
        },
    );
    let report = run(&caller, &[samples::identity()]);
    assert!(failed(&report).contains(&10), "{report}");
}
