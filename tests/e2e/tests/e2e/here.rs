//! Commands without a path: they take what lies in the working directory, and say so. And
//! what is said where a directory of plugins gives no backend.

use dsperse_e2e::{Place, Ran, binary, ran};
use dsperse_test_support::{install, junk};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Calls `dsperse` in a directory of the place, with nothing but what is typed.
fn typed(place: &Place, dir: &str, line: &str) -> Ran {
    let mut command = Command::new(binary());
    command
        .current_dir(place.path(dir))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", place.path("home"))
        .args(line.split_whitespace());
    ran(&command.output().expect("the binary starts"))
}

fn says(ran: &Ran, words: &str) {
    assert!(ran.stderr.contains(words), "{words}\n{}", ran.stderr);
}

#[test]
fn the_whole_way_without_a_path() {
    let place = Place::with_plugins(&[]);
    place.add_model("digits-mlp", "m");
    let plugins = place.path("m/plugins");
    fs::create_dir(&plugins).expect("a directory");
    for backend in ["onnx", "sumcheck"] {
        install(backend, &plugins);
    }
    let told = typed(&place, "m", "--plugins ./plugins slice").exits(0);
    says(&told, "taking the model \"model.onnx\"");
    let told = typed(&place, "m", "--plugins ./plugins compile").exits(0);
    says(&told, "taking the slices at \"slices.dsperse\"");
    let told = typed(&place, "m", "--plugins ./plugins run").exits(0);
    says(&told, "taking the slices at \"slices.dsperse\"");
    for stage in ["prove", "verify", "report"] {
        let told = typed(&place, "m", &format!("--plugins ./plugins {stage}")).exits(0);
        says(&told, "taking the runs at \".\" (newest: \"run/run_");
    }
    let told = typed(&place, "m", "--plugins ./plugins analyze").exits(0);
    says(&told, "taking the model \"model.onnx\"");
    let told = typed(&place, "m", "--plugins ./plugins full-run").exits(0);
    says(&told, "taking the model \"model.onnx\"");
    // What a verifier gets is one file.
    let told = typed(&place, "m", "--plugins ./plugins export -o m.dsproof").exits(0);
    says(&told, "taking the runs at \".\"");
    fs::create_dir(place.path("verifier")).expect("a directory");
    fs::copy(place.path("m/m.dsproof"), place.path("verifier/m.dsproof")).expect("a file");
    let told = typed(&place, "verifier", "--plugins ../m/plugins verify").exits(0);
    says(&told, "taking \"m.dsproof\"");
    // Nothing is said to those who named a path, and programs get an object.
    let told = typed(&place, "m", "--plugins ./plugins compile -s .").exits(0);
    assert!(!told.stderr.contains("no path given"), "{}", told.stderr);
    let told = typed(&place, "m", "--plugins ./plugins compile --progress json").exits(0);
    says(&told, "{\"event\":\"note\",\"message\":\"no path given");
}

/// The old line "--plugins ./plugins compile", in a directory that holds slices and plugins.
#[test]
fn slices_and_plugins_side_by_side() {
    let place = Place::of_model("digits-mlp");
    place
        .call("slice -m model --output-type dirs -o work/slices")
        .exits(0);
    fs::create_dir(place.path("work/plugins")).expect("a directory");
    install("onnx", &place.path("work/plugins"));
    let told = typed(&place, "work", "--plugins ./plugins compile").exits(0);
    says(&told, "taking the slices at \"slices\"");
    // Inside the slices themselves.
    let told = typed(&place, "work/slices", "--plugins ../plugins compile").exits(0);
    says(&told, "taking the slices at");
    // A bundle of any name, when it is the only one.
    place.call("slice -m model -o bundle/net.dsperse").exits(0);
    let told = typed(&place, "bundle", "--plugins ../work/plugins compile").exits(0);
    says(&told, "taking the slices at \"net.dsperse\"");
    fs::copy(
        place.path("bundle/net.dsperse"),
        place.path("bundle/other.dsperse"),
    )
    .expect("a copy");
    let told = typed(&place, "bundle", "--plugins ../work/plugins compile").exits(2);
    says(
        &told,
        "several could be meant here: \"net.dsperse\", \"other.dsperse\"",
    );
    says(&told, "say which with -s PATH");
    // A model that is not sliced yet says what is missing.
    let told = typed(&place, "model", "--plugins ../work/plugins compile").exits(3);
    says(&told, "run \"dsperse slice -m .\" first");
}

#[test]
fn a_directory_that_gives_no_backend_is_told_in_full() {
    let place = Place::of_model("digits-mlp");
    place.call("slice -m model").exits(0);
    let dir = place.path("model/plugins");
    fs::create_dir_all(dir.join("sub")).expect("a directory");
    install("onnx", &dir.join("sub"));
    junk(&dir, "noise");
    fs::write(dir.join("README.md"), "plugins go here").expect("a file");
    let told = typed(&place, "model", "--plugins ./plugins compile").exits(4);
    for words in [
        "no backend could be loaded",
        "\"./plugins\" (--plugins):",
        "\"libdsperse_backend_noise.so\": it is not a shared library",
        "\"README.md\": its name is not libdsperse_backend_NAME.so",
        "\"sub\": a directory; it holds libraries, but only the named directory itself is searched",
    ] {
        says(&told, words);
    }
    let told = typed(&place, "model", "--plugins nowhere compile").exits(4);
    says(&told, "\"nowhere\" (--plugins): there is no such directory");
}

/// A copy of the sources' outline: a tree is known by two files.
#[test]
fn in_a_checkout_the_built_libraries_are_named() {
    let place = Place::of_model("digits-mlp");
    place.call("slice -m model").exits(0);
    let tree = place.path("checkout");
    for dir in ["plugin-api", "plugins/onnx", "target/debug"] {
        fs::create_dir_all(tree.join(dir)).expect("a directory");
    }
    let touch = |path: &Path| fs::write(path, "").expect("a file");
    touch(&tree.join("Cargo.toml"));
    touch(&tree.join("plugin-api/Cargo.toml"));
    // The test's own program lies in a checkout too, so it is copied out of it.
    let exe = place.path("dsperse");
    // By another process, for the reason given at `dsperse_test_support::program`.
    let copied = Command::new("cp").arg(binary()).arg(&exe).status();
    assert!(copied.expect("cp runs").success());
    let call = || {
        let mut command = Command::new(&exe);
        command.current_dir(&tree).env("HOME", place.path("home"));
        command.args(["--plugins", "plugins", "compile", "-s", "../model"]);
        ran(&command.output().expect("the binary starts")).exits(4)
    };
    let told = call();
    says(&told, "\"onnx\": a directory, which is not searched");
    says(
        &told,
        "this checkout holds no built libraries: type \"cargo build\"",
    );
    install("onnx", &tree.join("target/debug"));
    let told = call();
    says(&told, "type --plugins target/debug");
}
