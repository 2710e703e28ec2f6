//! Jobs on other machines, over the simplest engine: processes of this one. A node's name is
//! in `DSPERSE_NODE`; a script in its place can be as bad as a node can. For Slurm and Ray see
//! `scripts/test-engines.sh`.

use dsperse_e2e::nodes::{configure, left, place, processes, prove, ready, until};
use dsperse_e2e::{Place, ran};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::process::Stdio;

fn verdicts(d: &Value) -> Vec<String> {
    let slices = d["slices"].as_array().expect("slices");
    slices.iter().map(|s| s["verdict"].to_string()).collect()
}

/// Compiles, runs, proves and verifies; what the verifier found.
fn all(place: &Place) -> Value {
    place.call("compile -s model -b sumcheck --strict").exits(0);
    place.call("run -s model").exits(0);
    place.run(["prove", &place.newest_run()]).exits(0);
    let verdict = place.run([
        "verify",
        &place.newest_run(),
        "--require",
        "proven",
        "--json",
    ]);
    verdict.exits(0).json()
}

#[test]
fn the_verdict_is_the_one_of_this_machine_and_nothing_stays() {
    let here = Place::of_model("digits-mlp");
    here.call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    let mine = all(&here);
    let place = place(&["a", "b"], "exec RUN");
    let theirs = all(&place);
    assert_eq!(verdicts(&theirs), verdicts(&mine));
    assert_eq!(theirs["accepted"], true);
    assert_eq!(theirs["keys_sha256"], mine["keys_sha256"]);
    // The keys came from a node, and were made again here.
    assert_eq!(theirs["slices"][0]["keys"], "recompiled");
    assert_eq!(mine["slices"][0]["keys"], "as_given");
    assert_eq!(left(&place), Vec::<String>::new());
    let slice = place.json("model/slices/slice_0/metadata.json");
    assert!(slice["compilations"]["sumcheck"]["node"].is_string());
}

#[test]
fn a_full_run_is_judged_here() {
    let place = place(&["a"], "exec RUN");
    let d = place.call("full-run -m model -b sumcheck --json").exits(0);
    let d = d.json();
    assert_eq!(d["verification"]["accepted"], true);
    assert_eq!(d["verification"]["slices"][0]["keys"], "recompiled");
    let told = place.run(["verify", &place.newest_run(), "--executor", "process"]);
    let told = told.exits(0).stderr;
    assert!(told.contains("nothing of it is sent to others"), "{told}");
}

/// The first of two nodes is bad: the other does its jobs, and the verdict is that of an
/// undisturbed run.
fn mended(place: &Place, script: &str) {
    proven(place, &format!("{ON_A}{script}"));
}

/// The verdict is that of an undisturbed run, whatever two nodes do.
fn proven(place: &Place, script: &str) {
    prove(place, &["a", "b"], script, "").exits(0);
    let verdict = place.run([
        "verify",
        &place.newest_run(),
        "--require",
        "proven",
        "--json",
    ]);
    assert_eq!(verdict.exits(0).json()["accepted"], true);
    assert_eq!(left(place), Vec::<String>::new());
}

/// All nodes are bad: the command fails and says what.
fn named(place: &Place, script: &str, more: &str, words: &[&str]) {
    let proven = prove(place, &["a", "b", "c", "d"], script, more).exits(1);
    let said = format!("{}{}", proven.stdout, proven.stderr);
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(left(place), Vec::<String>::new());
}

const ON_A: &str = "[ $node = a ] || exec RUN\n";

#[test]
fn a_node_that_dies_is_left_for_another() {
    let place = &ready();
    mended(place, "kill -9 $$");
    named(
        place,
        "kill -9 $$",
        "",
        &["3 tries came to nothing", "node \"a\"", "signal: 9"],
    );
}

/// Carries out a copy of the job, `$k`, in which `$f` is the output and `$r` the result;
/// changes that, and hands it in.
fn changed(change: &str) -> String {
    format!(
        "k=$PWD/w/$$/$(basename $job); mkdir -p $k/attempts; cp $job/*.json $k/; rm -f $k/result.json
        HONEST job run --store store $k; code=$?; f=$(ls $k/attempts/*/out/*); r=$k/result.json
        {change}
        cp -r $k/attempts/* $job/attempts/; cp $r $job/result.json; exit $code"
    )
}

#[test]
fn a_corrupt_output_is_noticed() {
    let place = &ready();
    let corrupt = changed("printf x | dd of=$f conv=notrunc status=none");
    mended(place, &corrupt);
    named(
        place,
        &corrupt,
        "",
        &["is not believed", "is not what was declared", "node \"b\""],
    );
    // A try that handed in a wrong result is one, not one more when its process ends.
    let told = prove(place, &["a", "b", "c", "d"], &corrupt, "")
        .exits(1)
        .stdout;
    assert!(!told.contains("exit code 0"), "{told}");
}

#[test]
fn a_lying_node_costs_a_try_and_then_a_named_failure() {
    let place = &ready();
    // A byte in the middle of the proof is another, with the digest that it then has.
    let lie = changed(
        "old=$(sha256sum $f | cut -d' ' -f1)
        printf x | dd of=$f bs=1 seek=$(($(stat -c %s $f) / 2)) conv=notrunc status=none
        sed -i \"s/$old/$(sha256sum $f | cut -d' ' -f1)/\" $r",
    );
    mended(place, &lie);
    named(
        place,
        &lie,
        "",
        &["is not believed", "the proof", "node \"c\""],
    );
}

#[test]
fn a_result_of_another_job_or_library_is_not_believed() {
    let place = &ready();
    let wrong = |field: &str| {
        changed(&format!(
            "sed -i 's/\"{field}\": \"[0-9a-f]*\"/\"{field}\": \"00\"/' $r"
        ))
    };
    mended(place, &wrong("key"));
    named(place, &wrong("key"), "", &["it is of the job 00"]);
    named(
        place,
        &wrong("plugin_sha256"),
        "",
        &["in a library with SHA-256 00"],
    );
    named(
        place,
        &changed("truncate -s 100 $r"),
        "",
        &["is not a JSON document"],
    );
}

#[test]
fn results_lead_nowhere_outside() {
    let place = &ready();
    let climb = changed("sed -i 's|\"path\": \"|&../../../|' $r");
    named(place, &climb, "", &["is outside the job's directory"]);
    let link = changed("mv $f $k/x; ln -s $k/x $f");
    named(place, &link, "", &["is reached over a symbolic link"]);
    let attempt = changed("a=$(ls $k/attempts); mv $k/attempts/$a $k/x; ln -s $k/x $k/attempts/$a");
    named(place, &attempt, "", &["is not there"]);
}

#[test]
fn a_node_with_another_plugin_gets_no_more_jobs() {
    let other = "for p; do case $p in *sumcheck*.so) cp $p $job/other.so; printf x >> $job/other.so;; esac; done
        set -- --quiet --plugins $job/other.so job run --leash $job; RUN";
    let place = &ready();
    prove(
        place,
        &["a", "b"],
        &format!("echo $node >> nodes\n{ON_A}{other}"),
        "",
    )
    .exits(0);
    let asked = fs::read_to_string(place.path("nodes")).expect("nodes ran");
    assert_eq!(asked.matches('a').count(), 1, "{asked}");
    named(
        place,
        other,
        "",
        &[
            "no node is left",
            "wants another library of backend \"sumcheck\"",
        ],
    );
}

/// Three slices that the backend `faulty` compiled; the input is in `given/`.
fn compiled_by_faulty(options: &str) -> Place {
    let place = Place::of_faulty(options);
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    // With samples its circuits would be measured, and are bad ones.
    fs::remove_file(place.path("model/input.json")).expect("a file");
    place.add_model("digits-mlp", "given");
    place.call("compile -s model -b faulty --strict").exits(0);
    place
}

#[test]
fn a_job_that_fails_is_tried_once() {
    let fault = "fault = \"error-internal\"\nat = \"prove\"\n";
    let place = compiled_by_faulty(fault);
    place.call("run -s model -i given/input.json").exits(1);
    let backend = format!("[backend.faulty]\n{fault}");
    let script = "echo $job >> ran; exec RUN";
    let failed = prove(&place, &["a", "b"], script, &backend).exits(1);
    assert!(failed.stdout.contains("the fault"), "{failed:#?}");
    let jobs = fs::read_to_string(place.path("ran")).expect("jobs ran");
    assert_eq!(jobs.lines().count(), 3, "one try for each slice: {jobs}");
    assert_eq!(left(&place), Vec::<String>::new());
}

#[test]
fn memory_is_doubled_up_to_a_cap() {
    let place = &ready();
    let counting = "cat $job/bounds.json >> bounds; exec RUN";
    prove(place, &["a"], counting, "memory = \"8M\"\n").exits(0);
    // There is an estimate, so that what stands in the configuration is not needed.
    let first = fs::read_to_string(place.path("bounds")).expect("bounds");
    assert!(!first.contains("\"memory\": 8388608"), "{first}");
    named(place, "exec RUN", "most_memory = \"8M\"\n", &["memory"]);
}

#[test]
fn a_store_that_goes_away_is_named() {
    let place = &ready();
    let proven = prove(place, &["a"], "rm -r store/jobs; sleep 5", "").exits(1);
    let said = format!("{}{}", proven.stdout, proven.stderr);
    assert!(said.contains("is gone"), "{said}");
    // Nothing is lost: the same command goes on.
    prove(place, &["a"], "exec RUN", "").exits(0);
}

#[test]
fn a_damaged_input_is_put_there_again() {
    // One process damages everything before any of them looks: one that still did so while
    // others try again would cost them all their tries.
    let script = "if mkdir damaged 2>/dev/null; then
for f in store/sha256/*/*; do chmod +w $f; printf x | dd of=$f conv=notrunc status=none; done
touch damaged/done
fi
until [ -e damaged/done ]; do sleep 0.02; done
exec RUN";
    proven(&ready(), script);
}

#[test]
fn an_interrupt_leaves_no_process_and_no_job() {
    let place = compiled_by_faulty("fault = \"loop\"\nat = \"witness\"");
    let executor = "[executor]\nstore = \"store\"\n";
    let config = fs::read_to_string(place.path("dsperse.toml")).expect("a file");
    fs::write(place.path("dsperse.toml"), format!("{config}{executor}")).expect("a file");
    for signal in [Signal::INT, Signal::KILL] {
        let child = place
            .command()
            .args("run -s model -i given/input.json --executor process".split(' '))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        until("a node works", || {
            !processes(&place.path("store")).is_empty()
        });
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process"), signal).expect("it is there");
        let ended = ran(&child.wait_with_output().expect("it ends"));
        until("all processes end", || {
            processes(&place.path("store")).is_empty()
        });
        if signal == Signal::INT {
            assert_eq!(ended.code, 130, "{ended:#?}");
            assert_eq!(left(&place), Vec::<String>::new());
        }
    }
}

#[test]
fn a_coordinator_that_is_killed_finds_what_was_finished() {
    let place = ready();
    let run = place.newest_run();
    // The first job is done by its node, and the coordinator is gone before it looks.
    configure(&place, &["a"], "echo $job >> ran; RUN; kill -9 $PPID", "");
    let killed = place.run(["prove", &run, "--force", "--parallel", "1"]);
    assert_eq!(killed.code, 137, "{killed:#?}");
    let results = place.files("store");
    assert!(
        results.iter().any(|f| f.ends_with("result.json")),
        "{results:?}"
    );
    configure(&place, &["a"], "echo $job >> ran; exec RUN", "");
    place.run(["prove", &run, "--force"]).exits(0);
    let ran = fs::read_to_string(place.path("ran")).expect("jobs ran");
    let mut jobs: Vec<&str> = ran.lines().collect();
    let all = jobs.len();
    jobs.sort_unstable();
    jobs.dedup();
    assert_eq!(all, jobs.len(), "no job ran twice: {ran}");
    assert_eq!(left(&place), Vec::<String>::new());
}
