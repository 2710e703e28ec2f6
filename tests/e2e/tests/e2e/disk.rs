//! Disks that are full, or can't be written to. Each test has a small one of its own, in
//! a mount namespace that nobody else sees; where the system does not allow that, the
//! tests say so and check nothing.

use dsperse_e2e::{Place, Ran};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

/// What to do on the small disk, which is the directory `disk`.
enum Step {
    /// A shell command that must succeed.
    Shell(&'static str),
    /// A call of `dsperse`.
    Call(&'static str),
}
use Step::{Call, Shell};

/// Leaves too little for anything to be written.
const FILL: Step = Shell("dd if=/dev/zero of=disk/filler bs=4096 2>/dev/null; test -s disk/filler");
const FREE: Step = Shell("rm disk/filler");

/// Carries the steps out in one shell, in whose namespace the disk is, and returns what
/// the calls gave.
fn on_small_disk(place: &Place, steps: &[Step]) -> Vec<Ran> {
    fs::create_dir(place.path("disk")).expect("a directory");
    let mut script = String::from(
        "mount -t tmpfs -o size=4m tmpfs disk || exit 1\ncp -r model disk/model || exit 1\n",
    );
    let mut calls = 0;
    for step in steps {
        let _ = match step {
            Shell(command) => writeln!(script, "{command} || exit 1"),
            Call(line) => {
                calls += 1;
                writeln!(
                    script,
                    "\"$@\" {line} >out{calls} 2>err{calls}; echo $? >code{calls}"
                )
            }
        };
    }
    let dsperse = place.command();
    let mut shell = Command::new("unshare");
    shell.args([
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        &script,
        "sh",
    ]);
    shell.arg(dsperse.get_program()).args(dsperse.get_args());
    for (name, value) in dsperse.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.current_dir(place.path("."));
    let ended = shell.output().expect("unshare");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    let text = |name: String| fs::read_to_string(place.path(&name)).expect("the call was made");
    let ran = (1..=calls).map(|n| Ran {
        code: text(format!("code{n}")).trim().parse().expect("a number"),
        stdout: text(format!("out{n}")),
        stderr: text(format!("err{n}")),
    });
    ran.collect()
}

/// The call was refused for this reason, and told the user what to do.
fn refused(ran: &Ran, reason: &str, hint: &str) {
    assert_eq!(ran.code, 1, "{ran:#?}");
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains(reason) && said.contains(hint), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
#[ignore = "needs a mount namespace of its own: unshare --user --map-root-user --mount"]
fn on_a_full_disk_every_stage_fails_with_a_reason_and_loses_nothing() {
    let place = Place::of_model("digits-mlp");
    let steps = [
        FILL,
        Call("slice -m disk/model --strategy layer --output-type dirs"),
        FREE,
        Call("slice -m disk/model --strategy layer --output-type dirs"),
        FILL,
        Call("compile -s disk/model"),
        FREE,
        Call("compile -s disk/model --json"),
        FILL,
        Call("run -s disk/model"),
        FREE,
        Call("run -s disk/model"),
        FILL,
        Call("prove disk/model/run disk/model"),
        FREE,
        Call("prove disk/model/run disk/model"),
        FILL,
        Call("prove disk/model/run disk/model --force"),
        // Reading needs no space, and the earlier proofs are still there.
        Call("verify disk/model/run disk/model --require proven --json"),
        Call("convert -i disk/model/slices --to dsperse"),
        FREE,
        Call("convert -i disk/model/slices --to dsperse"),
    ];
    let ran = on_small_disk(&place, &steps);
    let [
        slice,
        sliced,
        compile,
        compiled,
        run,
        run_done,
        prove,
        proven,
        again,
        verdict,
        convert,
        converted,
    ] = &ran[..]
    else {
        panic!("{} calls", ran.len());
    };
    for full in [slice, compile, run, prove, again, convert] {
        refused(full, "No space left on device", "free some space");
    }
    for done in [sliced, compiled, run_done, proven, verdict, converted] {
        assert_eq!(done.code, 0, "{done:#?}");
    }
    // The failed attempt left nothing that keeps the next from its first choice.
    let slices = compiled.json()["slices"].clone();
    for slice in slices.as_array().expect("slices") {
        assert_eq!(slice["backend"], "sumcheck", "{slice}");
    }
    assert_eq!(verdict.json()["counts"]["proven"], 3);
}

#[test]
#[ignore = "needs a mount namespace of its own: unshare --user --map-root-user --mount"]
fn on_a_read_only_disk_claims_can_be_verified_and_nothing_else() {
    let place = Place::of_model("digits-mlp");
    let steps = [
        Call("full-run -m disk/model --strategy layer"),
        Shell("mount -o remount,ro disk"),
        Call("slice -m disk/model --strategy op --output-type dirs"),
        Call("compile -s disk/model --force"),
        Call("run -s disk/model"),
        Call("prove disk/model/run disk/model --force"),
        Call("verify disk/model/run disk/model --require proven --json"),
    ];
    let ran = on_small_disk(&place, &steps);
    assert_eq!(ran[0].code, 0, "{:#?}", ran[0]);
    for writing in &ran[1..5] {
        refused(writing, "Read-only file system", "choose a place");
    }
    assert_eq!(ran[5].code, 0, "{:#?}", ran[5]);
    assert_eq!(ran[5].json()["counts"]["proven"], 3);
}
