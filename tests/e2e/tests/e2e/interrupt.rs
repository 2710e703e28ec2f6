//! Interrupting, and two commands at once: exit codes, what stays, and that the next
//! command goes on. For SIGKILL see `kills`.

use dsperse_e2e::{Place, ran};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn start(mut command: Command, args: &[&str]) -> Child {
    command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be started")
}

fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process"), signal).expect("the signal can be sent");
}

#[test]
fn an_interrupt_ends_with_130_and_keeps_what_is_done() {
    let place = Place::of_faulty("fault = \"loop-polite\"");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    // With calibration data the faulty backend, which computes something else, would be no
    // candidate.
    fs::remove_file(place.path("model/input.json")).expect("a file");
    let child = start(
        place.command(),
        &[
            "compile",
            "-s",
            "model",
            "-b",
            "0:onnx;1:faulty",
            "--parallel",
            "1",
        ],
    );
    // Slice 0 is done and slice 1 is busy.
    let deadline = Instant::now() + Duration::from_secs(60);
    let done = || place.path("model/slices/slice_0/onnx").is_dir();
    while !done() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(done(), "slice 0 is compiled");
    std::thread::sleep(Duration::from_millis(300));
    send(&child, Signal::INT);
    let ended = ran(&child.wait_with_output().expect("it ends"));
    assert_eq!(ended.code, 130, "{ended:#?}");
    assert!(ended.stderr.contains("interrupted"), "{}", ended.stderr);
    fs::remove_file(place.path("dsperse.toml")).expect("a file");
    let d = place
        .run(["compile", "-s", "model", "-b", "0:onnx;1:faulty", "--json"])
        .exits(0)
        .json();
    assert_eq!(d["slices"][0]["outcome"], "up_to_date");
    assert_eq!(d["slices"][1]["backend"], "faulty");
}

#[test]
fn two_commands_at_once_exclude_each_other() {
    let place = Place::of_faulty("fault = \"loop-polite\"");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    let mut child = start(place.command(), &["compile", "-s", "model", "-b", "faulty"]);
    // The lock names its holder.
    let holder = format!("\"pid\":{}", child.id());
    let deadline = Instant::now() + Duration::from_secs(60);
    let held =
        || fs::read_to_string(place.path("model/.slices.lock")).is_ok_and(|t| t.contains(&holder));
    while !held() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    if !held() {
        let _ = child.kill();
        panic!(
            "the first command never held the lock: {:#?}",
            child.wait_with_output().map(|o| ran(&o))
        );
    }
    let second = place.run(["compile", "-s", "model", "-b", "onnx"]);
    assert_eq!(second.code, 1, "{second:#?}");
    assert!(
        second.stderr.contains("in use by process"),
        "{}",
        second.stderr
    );
    // A lock does not outlive its holder, however it ends.
    child.kill().expect("a kill");
    child.wait().expect("it ends");
    place.run(["compile", "-s", "model", "-b", "onnx"]).exits(0);
}
