//! Nodes of other machines, which are scripts of this one: what a node can be as bad as.
//!
//! In a script, `RUN` is what an honest node does, `HONEST` the honest program without its
//! arguments, `$node` the node's name, and `$job` the job's directory.

use crate::{Place, Ran, binary};
use dsperse_test_support::program;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// A model in three slices, with such nodes.
#[must_use]
pub fn place(nodes: &[&str], script: &str) -> Place {
    let place = Place::of_model("digits-mlp");
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    configure(&place, nodes, script, "");
    place
}

/// Writes nodes and configuration; `more` are lines of `[executor]`.
///
/// # Panics
/// When they can't be written.
pub fn configure(place: &Place, nodes: &[&str], script: &str, more: &str) {
    // One after the other where a test counts.
    let in_flight = if script.contains(">>") { 1 } else { 3 };
    let plugins = &place.plugins;
    let mut honest = format!("\"{}\" --quiet", binary().display());
    for plugin in plugins {
        honest += &format!(" --plugins \"{}\"", plugin.display());
    }
    let run = format!("\"{}\" \"$@\"", binary().display());
    let script = script.replace("RUN", &run).replace("HONEST", &honest);
    // What a node says of itself is true, unless its plugins are what the script changes.
    let asked = if script.contains("job node") {
        String::new()
    } else {
        format!("case \"$*\" in *\"job node\"*) exec {run};; esac")
    };
    let text = format!(
        "for job; do :; done\nnode=${{SLURMD_NODENAME:-${{RAY_NODE:-$DSPERSE_NODE}}}}\n\
         cd {:?}\nexport TMPDIR=\"$PWD/temporary\"\n{asked}\n{script}",
        place.path("")
    );
    let path = place.path("node.sh");
    program(&path, &text);
    let kind = if more.contains("kind =") {
        ""
    } else {
        "kind = \"process\"\n"
    };
    let named = match nodes {
        [] => String::new(),
        nodes => format!("nodes = {nodes:?}\n"),
    };
    let config = format!(
        "[executor]\n{kind}store = \"store\"\n{named}in_flight = {in_flight}\n\
         program = {path:?}\nplugins = {plugins:?}\n{more}"
    );
    fs::write(place.path("dsperse.toml"), config).expect("a file");
}

/// A run that is ready to be proven.
#[must_use]
pub fn ready() -> Place {
    let place = place(&["a"], "exec RUN");
    place
        .call("compile -s model -b sumcheck --strict --executor local")
        .exits(0);
    place.call("run -s model --executor local").exits(0);
    place
}

/// Proves all slices on such nodes.
///
/// # Panics
/// As [`configure`].
#[must_use]
pub fn prove(place: &Place, nodes: &[&str], script: &str, more: &str) -> Ran {
    configure(place, nodes, script, more);
    place.run(["prove", &place.newest_run(), "--force"])
}

/// What a command left in the store: files, and directories of jobs.
#[must_use]
pub fn left(place: &Place) -> Vec<String> {
    let mut left = place.files("store");
    for part in ["jobs", "batches"] {
        // A test may have taken it away.
        let entries = fs::read_dir(place.path("store").join(part));
        let entries = entries.into_iter().flatten().flatten();
        left.extend(entries.map(|e| e.path().display().to_string()));
    }
    left
}

/// Processes that have this place's path among their arguments.
///
/// # Panics
/// Without a `/proc`.
#[must_use]
pub fn processes(place: &Path) -> Vec<String> {
    let all = fs::read_dir("/proc").expect("a /proc").flatten();
    let own = std::process::id().to_string();
    all.filter(|p| p.file_name() != *own)
        .filter_map(|p| fs::read_to_string(p.path().join("cmdline")).ok())
        .filter(|c| c.contains(&*place.to_string_lossy()))
        .collect()
}

/// Waits for something.
///
/// # Panics
/// When it does not come.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
