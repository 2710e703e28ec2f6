//! The template that `dsperse plugin new` writes builds outside of this workspace, without
//! a network, and passes the conformance kit.

use dsperse_plugin_api::abi::Functions;
use dsperse_plugin_api::conformance::{InProcess, run, samples};
use dsperse_plugin_api::template::{ApiSource, render};
use dsperse_test_support::{library_name, load, repository};
use std::path::PathBuf;
use std::process::Command;

/// Writes the template under a name, builds it (and runs its own test, if wanted) and returns
/// the library.
fn build(name: &str, test_too: bool) -> PathBuf {
    let project = tempfile::tempdir().expect("a directory");
    let api = repository()
        .join("plugin-api")
        .canonicalize()
        .expect("the crate is there");
    let api = ApiSource::Path(api.to_str().expect("UTF-8").into());
    for (path, contents) in render(name, &api).expect("a name") {
        let path = project.path().join(path);
        std::fs::create_dir_all(path.parent().expect("below the project")).expect("a directory");
        std::fs::write(path, contents).expect("the file can be written");
    }
    // The versions that this workspace has, and so those that are on this machine.
    std::fs::copy(
        repository().join("Cargo.lock"),
        project.path().join("Cargo.lock"),
    )
    .expect("the lock file is there");
    // Beside our own build, so that a second run is quick.
    let test = std::env::current_exe().expect("a test knows its own path");
    let target = test
        .ancestors()
        .nth(3)
        .expect("target/debug/deps")
        .join("template");
    let verbs: &[&str] = if test_too {
        &["build", "test"]
    } else {
        &["build"]
    };
    for verb in verbs {
        let output = Command::new(env!("CARGO"))
            .args([verb, "--offline", "--quiet", "-j2"])
            .current_dir(project.path())
            .env("CARGO_TARGET_DIR", &target)
            .env("RUSTFLAGS", "-D warnings")
            .output()
            .expect("cargo runs");
        assert!(
            output.status.success(),
            "{verb}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    target
        .join("debug")
        .join(library_name(&name.replace('-', "_")))
}

fn name_of(functions: Functions) -> String {
    // SAFETY: the library was built from our own template and stays loaded.
    let reply = unsafe { functions.describe(1 << 20) }.expect("readable");
    reply.descriptor().expect("a descriptor").name
}

#[test]
fn the_template_builds_offline_and_conforms() {
    let library = build("first-steps", true);
    let functions = load::open(&library).expect("opens");
    // SAFETY: the library was just built from our own template and stays loaded.
    let report = run(&unsafe { InProcess::new(functions) }, &samples::all());
    assert!(report.passed(), "{report}");
    assert_eq!(report.claimed, ["identity"]);
    assert_eq!(name_of(functions), "first-steps");

    // The other door, of this library and of a second one: abi_stable's own loader would
    // give the first library for every later path, even for one that does not exist.
    assert_eq!(
        name_of(load::open_stable(&library).expect("opens")),
        "first-steps"
    );
    let second = load::open_stable(&build("second", false)).expect("opens");
    assert_eq!(name_of(second), "second");
    let missing = library.with_file_name("nowhere.so");
    load::open_stable(&missing).expect_err("there is no such file");
}
