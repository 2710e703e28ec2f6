//! Whether a verdict can be trusted. One table of cheats ([`rows`]) over every backend that
//! is here, and bit flips over everything that `verify` reads ([`flips`]). That each check is
//! needed is shown by mutating the trust kernel, see `scripts/mutate-checks.py`.

mod documents;
mod flips;
mod forge;
mod rows;
mod verifier;
mod world;

use dsperse_documents::{KeyOrigin, Require};
use dsperse_stages::verify::VerifyOptions;
use rows::{Expect, OF_TOOLS, table};
use std::process::Command;
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

#[test]
fn sumcheck() {
    every_row("sumcheck");
}

#[test]
fn onnx() {
    every_row("onnx");
}

#[test]
fn jstprove() {
    every_row("jstprove");
}

#[test]
fn ezkl() {
    every_row("ezkl");
}

/// Carries out every row for a backend and tells all that went wrong at once.
fn every_row(backend: &'static str) {
    let Some(untouched) = World::of(backend) else {
        return;
    };
    let lab = Lab::of(backend);
    let usual = lab.verify(&untouched, &VerifyOptions::default());
    assert!(usual.accepted(), "{}", usual.words());
    let mut wrong = Vec::new();
    let mut rows = 0;
    let embedded = matches!(backend, "sumcheck" | "onnx");
    let all = embedded || std::env::var_os("DSPERSE_TRUST_ALL").is_some();
    for row in table()
        .iter()
        .filter(|r| r.backends.contains(&backend) && (all || OF_TOOLS.contains(&r.name)))
    {
        rows += 1;
        let world = untouched.again();
        (row.tamper)(&world, &lab);
        let options = (row.options)(&world);
        let outcome = lab.verify(&world, &options);
        let mut judge = |problem: String| {
            wrong.push(format!(
                "\"{}\", expected {:?}: {problem}\n{}",
                row.name,
                row.expect,
                outcome.words()
            ));
        };
        let words = outcome.words();
        let said = |list: &[&str]| list.iter().any(|w| words.contains(w));
        match row.expect {
            Expect::Failed(list) if !outcome.failed() => judge(format!("not failed: {list:?}")),
            Expect::NotEnough(_) if outcome.accepted() => judge("accepted".into()),
            Expect::Failed(list) | Expect::NotEnough(list) if !said(list) => {
                judge(format!("nobody says {list:?}"));
            }
            Expect::Same | Expect::KeysAsGiven if !outcome.accepted() => {
                judge("not accepted".into());
            }
            Expect::Same if outcome.verdicts() != usual.verdicts() => {
                judge("other verdicts".into());
            }
            Expect::KeysAsGiven if !as_given(&outcome) => judge("keys are over-claimed".into()),
            _ => {}
        }
        // The command line says the same, where calling it costs little.
        if embedded {
            let code = command_line(&world, &options);
            if code != outcome.exit()
                || !matches!(
                    (row.expect, code),
                    (Expect::Same | Expect::KeysAsGiven, 0)
                        | (Expect::Failed(_), 1 | 3)
                        | (Expect::NotEnough(_), 1)
                )
            {
                judge(format!("exit code {code}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {rows} rows:\n\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
    println!("{backend}: {rows} rows");
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
