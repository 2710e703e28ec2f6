//! The same commands on real clusters of two nodes, `n1` and `n2`, which
//! `scripts/test-engines.sh` brings up: it runs these tests.

use dsperse_e2e::nodes::{configure, left, processes, prove, ready, until};
use dsperse_e2e::{Place, ran};
use dsperse_onnx::{DataType, ValueInfoProto};
use dsperse_onnx::{GraphProto, ModelProto, NodeProto, Tensor, Values};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

#[derive(Clone, Copy, PartialEq)]
enum Engine {
    Slurm,
    Ray,
}

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Self::Slurm => "slurm",
            Self::Ray => "ray",
        }
    }

    /// Lines of `[executor]`.
    fn settings(self) -> String {
        let more = match self {
            Self::Slurm => String::new(),
            Self::Ray => format!("python = {:?}\n", variable("DSPERSE_PYTHON")),
        };
        let kind = self.name();
        format!("kind = {kind:?}\nmemory = \"200M\"\nmost_memory = \"1G\"\n{more}")
    }

    /// What the cluster still has to do.
    fn jobs(self, place: &Place) -> String {
        match self {
            Self::Slurm => output("squeue", &["-h"]),
            Self::Ray => processes(&place.path("store")).join("; "),
        }
    }

    /// A command for a shell that ends a node the hard way, with what it runs.
    fn kill_n1(self) -> String {
        match self {
            Self::Slurm => format!(
                "kill -9 $(cat {}) $PPID $$",
                cluster().join("n1/pid").display()
            ),
            Self::Ray => "kill -9 $(ps -o ppid= -p $PPID) $PPID $$".to_owned(),
        }
    }

    /// Brings that node up again.
    fn start_n1(self) {
        match self {
            Self::Slurm => {
                output("slurmd", &["-N", "n1"]);
                until("n1 is back", || {
                    output("sinfo", &["-h", "-o", "%D %t"]).trim() == "2 idle"
                });
            }
            Self::Ray => {
                let start = cluster().join("start-ray");
                let address = format!("--address={}", variable("RAY_ADDRESS"));
                output(&start.to_string_lossy(), &["n1", &address]);
            }
        }
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).expect("scripts/test-engines.sh runs this")
}

fn cluster() -> PathBuf {
    PathBuf::from(variable("DSPERSE_CLUSTER"))
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.expect("a program");
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Nothing of a command stays.
fn nothing_left(engine: Engine, place: &Place) {
    assert_eq!(left(place), Vec::<String>::new());
    until("no job is left", || engine.jobs(place).is_empty());
}

/// One node is bad: the verdict is that of an undisturbed run.
fn mended(engine: Engine, place: &Place, bad: &str) {
    mended_with(engine, place, bad, "");
}

fn mended_with(engine: Engine, place: &Place, bad: &str, more: &str) {
    let script = format!("[ $node = n1 ] || {{ sleep 1; exec RUN; }}\n{bad}");
    prove(place, &[], &script, &(engine.settings() + more)).exits(0);
    accepted(place);
    nothing_left(engine, place);
}

fn accepted(place: &Place) {
    let verdict = place.run([
        "verify",
        &place.newest_run(),
        "--require",
        "proven",
        "--json",
    ]);
    assert_eq!(verdict.exits(0).json()["accepted"], true);
}

/// The command fails and says why; nothing stays, and nothing is lost.
fn named(engine: Engine, place: &Place, script: &str, more: &str, words: &[&str]) {
    let failed = prove(place, &[], script, &(engine.settings() + more)).exits(1);
    let said = format!("{}{}", failed.stdout, failed.stderr);
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
    nothing_left(engine, place);
}

/// A chain of `slices` layers, each close to the identity.
fn chain(place: &Place, slices: usize) {
    const WIDTH: usize = 16;
    let mut random = dsperse_e2e::Random(7);
    let mut graph = GraphProto {
        input: vec![ValueInfoProto::concrete(
            "x0",
            DataType::F32,
            &[1, WIDTH as u64],
        )],
        output: vec![ValueInfoProto::concrete(
            &format!("x{slices}"),
            DataType::F32,
            &[1, WIDTH as u64],
        )],
        ..GraphProto::default()
    };
    for i in 0..slices {
        let weights = (0..WIDTH * WIDTH).map(|k| {
            let unit = if k % (WIDTH + 1) == 0 { 1.0 } else { 0.0 };
            (unit + (random.fraction() - 0.5) * 0.02) as f32
        });
        let weights = Tensor::new(vec![WIDTH, WIDTH], Values::F32(weights.collect()));
        let (x, w, h, y) = (
            format!("x{i}"),
            format!("w{i}"),
            format!("h{i}"),
            format!("x{}", i + 1),
        );
        graph
            .initializer
            .push(weights.expect("weights").to_proto(&w));
        graph.node.push(NodeProto::new("MatMul", &[&x, &w], &[&h]));
        graph.node.push(NodeProto::new("Relu", &[&h], &[&y]));
    }
    fs::create_dir_all(place.path("model")).expect("a directory");
    let bytes = ModelProto::from_graph(graph, 17).to_bytes();
    fs::write(place.path("model/model.onnx"), bytes).expect("a file");
    let values: Vec<String> = (0..WIDTH).map(|i| format!("{}", i as f32 / 16.0)).collect();
    let input = format!("{{\"input_data\": [[{}]]}}", values.join(","));
    fs::write(place.path("model/input.json"), input).expect("a file");
}

fn a_long_chain_is_proven_as_on_this_machine(engine: Engine) {
    const SLICES: usize = 56;
    let place = Place::new();
    chain(&place, SLICES);
    place
        .call("slice -m model --strategy layer --output-type dirs")
        .exits(0);
    let timed = |executor: &str, command: &[&str]| {
        let began = Instant::now();
        let mut command = command.to_vec();
        command.extend(["--executor", executor]);
        place.run(&command).exits(0);
        began.elapsed().as_secs_f64()
    };
    let stages = |executor: &str| {
        let compile = timed(
            executor,
            &[
                "compile", "-s", "model", "-b", "sumcheck", "--strict", "--force",
            ],
        );
        let run = timed(executor, &["run", "-s", "model"]);
        let run_dir = place.newest_run();
        let prove = timed(executor, &["prove", &run_dir, "--force"]);
        let verdict = place.run(["verify", &run_dir, "--require", "proven", "--json"]);
        let verdict = verdict.exits(0).json();
        (verdict, [compile, run, prove])
    };
    let (mine, here) = stages("local");
    configure(&place, &[], "exec RUN", &engine.settings());
    let config = fs::read_to_string(place.path("dsperse.toml")).expect("a file");
    let config = config.replace("in_flight = 3", "in_flight = 64");
    fs::write(place.path("dsperse.toml"), config).expect("a file");
    let name = engine.name();
    let (theirs, there) = stages(name);
    for field in ["accepted", "counts", "keys_sha256", "output_sha256"] {
        assert_eq!(theirs[field], mine[field], "{field}");
    }
    assert_eq!(theirs["counts"]["proven"], SLICES);
    for (i, stage) in ["compile", "run", "prove"].iter().enumerate() {
        println!(
            "{name}: {stage} of {SLICES} slices: {:.2} s here, {:.2} s there, {:.0} ms more for each job",
            here[i],
            there[i],
            (there[i] - here[i]) / SLICES as f64 * 1000.0
        );
    }
    nothing_left(engine, &place);
}

fn a_node_that_is_killed_is_left_for_another(engine: Engine) {
    let place = &ready();
    mended(engine, place, &engine.kill_n1());
    engine.start_n1();
}

/// A node whose library of sumcheck is another, which it does not hide.
const OTHER_PLUGIN: &str = "for p; do case $p in *sumcheck*.so) [ -e other.so ] || { cp $p $$; printf x >> $$; mv $$ other.so; };; esac; done
    case \"$*\" in *\"job node\"*) set -- job node;; *) set -- job run $job;; esac
    set -- --quiet --plugins other.so \"$@\"; RUN";

fn a_bad_node_costs_a_try(engine: Engine) {
    let place = &ready();
    let changed = |change: &str| {
        format!(
            "k=$PWD/w/$$/$(basename $job); mkdir -p $k/attempts; cp $job/*.json $k/; rm -f $k/result.json
            HONEST job run --store store $k; code=$?; f=$(ls $k/attempts/*/out/*); r=$k/result.json
            {change}
            cp -r $k/attempts/* $job/attempts/; cp $r $job/result.json; exit $code"
        )
    };
    // A corrupt result.
    mended(
        engine,
        place,
        &changed("printf x | dd of=$f conv=notrunc status=none"),
    );
    // A lie.
    mended(
        engine,
        place,
        &changed(
            "old=$(sha256sum $f | cut -d' ' -f1)
            printf x | dd of=$f bs=1 seek=$(($(stat -c %s $f) / 2)) conv=notrunc status=none
            sed -i \"s/$old/$(sha256sum $f | cut -d' ' -f1)/\" $r",
        ),
    );
    // A full disk.
    let disk = cluster().join("disk");
    let disk = disk.display();
    mended(
        engine,
        place,
        &format!(
            "set -- --quiet job run --scratch {disk} $job; cat /dev/zero > {disk}/full; HONEST job run --scratch {disk} $job; code=$?; rm {disk}/full; exit $code"
        ),
    );
    // Another plugin.
    mended(engine, place, OTHER_PLUGIN);
}

fn all_nodes_bad_is_named(engine: Engine) {
    let place = &ready();
    named(engine, place, "exit 3", "", &["exit code 3", "node \""]);
    named(
        engine,
        place,
        OTHER_PLUGIN,
        "pending = \"20s\"\n",
        &["another library of"],
    );
    named(
        engine,
        place,
        "rm -r store/jobs; sleep 3",
        "",
        &["store", "is gone"],
    );
    // Nothing is lost.
    prove(place, &[], "exec RUN", &engine.settings()).exits(0);
    accepted(place);
}

fn start(place: &Place) -> Child {
    place
        .command()
        .args(["prove", &place.newest_run(), "--force"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process"), signal).expect("it is there");
}

fn an_interrupt_leaves_nothing(engine: Engine) {
    let place = &ready();
    configure(place, &[], "touch started; sleep 600", &engine.settings());
    let child = start(place);
    until("a node works", || place.path("started").exists());
    send(&child, Signal::INT);
    let ended = ran(&child.wait_with_output().expect("it ends"));
    assert_eq!(ended.code, 130, "{ended:#?}");
    nothing_left(engine, place);
}

/// How many jobs ran while the coordinator was killed and started again: three are needed.
fn killed_and_started_again(engine: Engine) -> usize {
    let place = &ready();
    let script = "echo $job >> ran; sleep 5; exec RUN";
    configure(place, &[], script, &engine.settings());
    let child = start(place);
    until("a node works", || place.path("ran").exists());
    send(&child, Signal::KILL);
    child.wait_with_output().expect("it ends");
    prove(place, &[], script, &engine.settings()).exits(0);
    accepted(place);
    nothing_left(engine, place);
    let jobs = fs::read_to_string(place.path("ran")).expect("jobs ran");
    jobs.lines().count()
}

mod slurm {
    use super::*;

    const ENGINE: Engine = Engine::Slurm;

    #[test]
    #[ignore = "needs a cluster: scripts/test-engines.sh"]
    fn a_long_chain() {
        a_long_chain_is_proven_as_on_this_machine(ENGINE);
    }
    #[test]
    #[ignore = "needs a cluster: scripts/test-engines.sh"]
    fn a_killed_node() {
        a_node_that_is_killed_is_left_for_another(ENGINE);
    }
    #[test]
    #[ignore = "needs a cluster: scripts/test-engines.sh"]
    fn bad_nodes() {
        a_bad_node_costs_a_try(ENGINE);
        all_nodes_bad_is_named(ENGINE);
    }
    #[test]
    #[ignore = "needs a cluster: scripts/test-engines.sh"]
    fn an_interrupt() {
        an_interrupt_leaves_nothing(ENGINE);
    }
    #[test]
    #[ignore = "needs a cluster: scripts/test-engines.sh"]
    fn a_killed_coordinator_adopts_what_runs() {
        assert_eq!(killed_and_started_again(ENGINE), 3);
    }

    #[test]
    #[ignore = "needs a cluster: scripts/test-engines.sh"]
    fn a_controller_that_goes_and_comes_back() {
        let place = &ready();
        let script = "touch started; sleep 3; exec RUN";
        configure(place, &[], script, &ENGINE.settings());
        let child = start(place);
        until("a node works", || place.path("started").exists());
        let pid = fs::read_to_string(cluster().join("slurmctld.pid")).expect("it runs");
        // Killed harder, it would give numbers of running jobs anew, and take their nodes out.
        output("kill", &[pid.trim()]);
        until("it is gone", || {
            !PathBuf::from("/proc").join(pid.trim()).exists()
        });
        output("slurmctld", &[]);
        let ended = ran(&child.wait_with_output().expect("it ends"));
        ended.exits(0);
        accepted(place);
        nothing_left(ENGINE, place);
    }

    #[test]
    #[ignore = "needs a cluster: scripts/test-engines.sh"]
    fn memory_and_waiting() {
        let place = &ready();
        // Slurm ends what takes more than it asked for; the next try may take twice as much.
        let hungry = "[ -e fed ] || { touch fed; head -c 1500M /dev/zero | tail -c 1500M | sleep 20; }; exec RUN";
        prove(place, &[], hungry, &ENGINE.settings()).exits(0);
        accepted(place);
        let beyond = "options = [\"--mem=1T\"]\n";
        named(
            ENGINE,
            place,
            "exec RUN",
            beyond,
            &["it is not taken", "sbatch"],
        );
        let later = "options = [\"--begin=now+1hour\"]\npending = \"3s\"\n";
        named(
            ENGINE,
            place,
            "exec RUN",
            later,
            &["no node took it within 3 s", "BeginTime"],
        );
    }
}

mod ray {
    use super::*;

    const ENGINE: Engine = Engine::Ray;

    #[test]
    #[ignore = "needs a cluster: scripts/test-engines.sh"]
    fn a_long_chain() {
        a_long_chain_is_proven_as_on_this_machine(ENGINE);
    }
    #[test]
    #[ignore = "needs a cluster: scripts/test-engines.sh"]
    fn a_killed_node() {
        a_node_that_is_killed_is_left_for_another(ENGINE);
    }
    #[test]
    #[ignore = "needs a cluster: scripts/test-engines.sh"]
    fn bad_nodes() {
        a_bad_node_costs_a_try(ENGINE);
        all_nodes_bad_is_named(ENGINE);
    }
    #[test]
    #[ignore = "needs a cluster: scripts/test-engines.sh"]
    fn an_interrupt() {
        an_interrupt_leaves_nothing(ENGINE);
    }
    #[test]
    #[ignore = "needs a cluster: scripts/test-engines.sh"]
    fn a_killed_coordinator_takes_its_jobs_along() {
        // What ran when it was killed is done again.
        assert_eq!(killed_and_started_again(ENGINE), 4);
    }
}
