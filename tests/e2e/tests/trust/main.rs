//! Whether a verdict can be trusted. One table of cheats ([`rows`]) over every backend, each
//! row a test of its own (`cargo test -p dsperse-e2e --test trust -- "sumcheck::proof of"`;
//! those of external tools are ignored, and run with `--ignored`), and bit flips over everything that `verify` reads ([`flips`]). That each check is
//! needed is shown by mutating the trust kernel, see `scripts/mutate-checks.py`.

mod documents;
mod flips;
mod forge;
mod rows;
mod verifier;
mod world;

use dsperse_documents::{KeyOrigin, Require, Verdict};
use dsperse_stages::verify::VerifyOptions;
use libtest_mimic::{Arguments, Trial};
use rows::{Expect, OF_TOOLS, Row, table};
use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::sync::{Mutex, PoisonError};
use world::{Lab, Outcome, World};

/// The input of the world's first run as users write it.
pub fn input(w: &World, _run: &str) -> serde_json::Value {
    let path = w.run().join("slice_0/input.json");
    serde_json::from_slice(&std::fs::read(path).expect("a view")).expect("JSON")
}

/// The output of the world's first run as users write it.
pub fn output(w: &World) -> serde_json::Value {
    let path = w.run().join("slice_2/output.json");
    serde_json::from_slice(&std::fs::read(path).expect("a view")).expect("JSON")
}

fn main() -> ExitCode {
    // Hints are judged as the command line tells them.
    dsperse_documents::setting::spell(|name| format!("--{name}"));
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for backend in ["sumcheck", "onnx", "jstprove", "ezkl"] {
        let embedded = matches!(backend, "sumcheck" | "onnx");
        let trial = |name: String, test: fn(&'static str)| {
            let run = move || {
                test(backend);
                Ok(())
            };
            // The others need their tools: scripts/install-backends.sh
            Trial::test(name, run).with_ignored_flag(!embedded)
        };
        let all = embedded || std::env::var_os("DSPERSE_TRUST_ALL").is_some();
        for row in table() {
            if row.backends.contains(&backend) && (all || OF_TOOLS.contains(&row.name)) {
                let name = format!("{backend}::{}", row.name);
                let run = move || {
                    carry_out(&row, backend);
                    Ok(())
                };
                trials.push(Trial::test(name, run).with_ignored_flag(!embedded));
            }
        }
        if backend != "onnx" {
            for (name, test) in [
                (
                    "a bundle without weights and one plugin are enough",
                    verifier::a_bundle_without_weights_and_one_plugin_are_enough as fn(_),
                ),
                (
                    "compiled again the keys are the same",
                    verifier::compiled_again_the_keys_are_the_same,
                ),
            ] {
                trials.push(trial(format!("{backend}::{name}"), test));
            }
        }
    }
    for (name, test) in [
        (
            "documents::reports_and_receipts_are_as_described",
            documents::reports_and_receipts_are_as_described as fn(),
        ),
        (
            "documents::the_page_names_the_versions",
            documents::the_page_names_the_versions as fn(),
        ),
        (
            "flips::flips_over_proven_slices",
            flips::flips_over_proven_slices as fn(),
        ),
        (
            "flips::flips_over_a_packed_bundle",
            flips::flips_over_a_packed_bundle as fn(),
        ),
        (
            "flips::flips_over_recomputed_slices",
            flips::flips_over_recomputed_slices as fn(),
        ),
        (
            "verifier::a_missing_plugin_is_named_for_every_slice",
            verifier::a_missing_plugin_is_named_for_every_slice as fn(),
        ),
        (
            "verifier::keys_that_are_missing_give_no_verdict",
            verifier::keys_that_are_missing_give_no_verdict as fn(),
        ),
        (
            "verifier::keys_of_another_input_are_made_again_with_its_calibration",
            verifier::keys_of_another_input_are_made_again_with_its_calibration as fn(),
        ),
        (
            "verifier::a_receipt_is_checked_again_by_somebody_else",
            verifier::a_receipt_is_checked_again_by_somebody_else as fn(),
        ),
        (
            "verifier::a_receipt_that_says_otherwise_is_held_against_the_run",
            verifier::a_receipt_that_says_otherwise_is_held_against_the_run as fn(),
        ),
    ] {
        let run = move || {
            test();
            Ok(())
        };
        trials.push(Trial::test(name, run));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What is said of a backend's run that nobody tampered with.
fn usual(backend: &'static str) -> Vec<Verdict> {
    static KNOWN: Mutex<BTreeMap<&str, Vec<Verdict>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let said = || {
        let usual = Lab::of(backend).verify(&World::of(backend), &VerifyOptions::default());
        assert!(usual.accepted(), "{}", usual.words());
        usual.verdicts()
    };
    known.entry(backend).or_insert_with(said).clone()
}

/// One cheat on one backend.
fn carry_out(row: &Row, backend: &'static str) {
    let usual = usual(backend);
    let lab = Lab::of(backend);
    let world = World::of(backend);
    (row.tamper)(&world, &lab);
    let options = (row.options)(&world);
    let outcome = lab.verify(&world, &options);
    let words = outcome.words();
    let said = |list: &[&str]| list.iter().any(|w| words.contains(w));
    let expected = row.expect;
    match expected {
        Expect::Failed(_) => assert!(outcome.failed(), "expected {expected:?}: {words}"),
        Expect::NotEnough(_) => assert!(!outcome.accepted(), "expected {expected:?}: {words}"),
        Expect::Same | Expect::KeysAsGiven => assert!(outcome.accepted(), "not accepted: {words}"),
    }
    match expected {
        Expect::Failed(list) | Expect::NotEnough(list) => {
            assert!(said(list), "nobody says {list:?}: {words}");
        }
        Expect::Same => assert_eq!(outcome.verdicts(), usual, "{words}"),
        Expect::KeysAsGiven => assert!(as_given(&outcome), "keys are over-claimed: {words}"),
    }
    // The command line says the same, where calling it costs little.
    if matches!(backend, "sumcheck" | "onnx") {
        let code = command_line(&world, &options);
        assert_eq!(
            code,
            outcome.exit(),
            "exit code of the command line; {words}"
        );
        let fits = match expected {
            Expect::Same | Expect::KeysAsGiven => code == 0,
            Expect::Failed(_) => matches!(code, 1 | 3),
            Expect::NotEnough(_) => code == 1,
        };
        assert!(fits, "exit code {code}, expected {expected:?}: {words}");
    }
}

fn as_given(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Judged(r) => r.slices.iter().all(|s| s.keys == Some(KeyOrigin::AsGiven)),
        Outcome::Refused(_) => false,
    }
}

fn command_line(world: &World, options: &VerifyOptions) -> i32 {
    let mut command = Command::new(dsperse_e2e::binary());
    command.current_dir(world.root());
    command.env(
        "XDG_CACHE_HOME",
        std::env::temp_dir().join("dsperse-e2e-cache"),
    );
    command.args(["--quiet", "--no-input"]);
    for b in world::plugins_of(world.backend) {
        command
            .arg("--plugins")
            .arg(dsperse_test_support::cdylib(b));
    }
    command.arg("verify").arg(world.run()).arg(world.slices());
    for (flag, path) in [
        ("--input", &options.input),
        ("--output", &options.output),
        ("--expect-receipt", &options.expect_receipt),
    ] {
        if let Some(path) = path {
            command.arg(flag).arg(path);
        }
    }
    for (flag, digest) in [
        ("--expect-model", &options.demands.expect_model),
        ("--expect-keys", &options.demands.expect_keys),
    ] {
        if let Some(digest) = digest {
            command.arg(flag).arg(digest);
        }
    }
    if let Some(most) = options.demands.max_error {
        command.arg("--max-error").arg(most.to_string());
    }
    if options.demands.recompile {
        command.arg("--recompile");
    }
    if options.demands.require == Require::Proven {
        command.args(["--require", "proven"]);
    }
    let output = command.output().expect("the binary can be started");
    dsperse_e2e::ran(&output).code
}
