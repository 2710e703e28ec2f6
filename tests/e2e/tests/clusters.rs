//! The same commands on real clusters of two nodes, `n1` and `n2`, which
//! `scripts/test-engines.sh` brings up: it runs these tests.

use dsperse_e2e::nodes::{configure, left, processes, prove, ready, until};
use dsperse_e2e::{Place, ran};
use dsperse_onnx::{DataType, ValueInfoProto};
use dsperse_onnx::{GraphProto, ModelProto, NodeProto, Tensor, Values};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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

    /// A command for a shell that freezes a node, with what it runs, until [`Engine::thaw`].
    fn freeze_n1(self) -> String {
        let daemon = match self {
            Self::Slurm => format!("$(cat {})", cluster().join("n1/pid").display()),
            Self::Ray => "$(ps -o ppid= -p $PPID)".to_owned(),
        };
        format!(
            "pids=\"{daemon} $PPID $$\"; mkdir -p frozen; echo $pids > frozen/$$; kill -STOP $pids"
        )
    }

    /// Brings that node up again.
    fn start_n1(self) {
        match self {
            Self::Slurm => {
                output("slurmd", &["-N", "n1"]);
            }
            Self::Ray => start_ray("n1"),
        }
        self.both_nodes();
    }

    /// Waits until the cluster has two nodes, and no more.
    fn both_nodes(self) {
        until("two nodes are there", || match self {
            Self::Slurm => output("sinfo", &["-h", "-o", "%D %t"]).trim() == "2 idle",
            Self::Ray => {
                let alive = "import ray; ray.init(log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))";
                let alive = output(&variable("DSPERSE_PYTHON"), &["-c", alive]);
                alive.trim() == "2"
            }
        });
    }
}

fn start_ray(node: &str) {
    output(&cluster().join("start-ray").to_string_lossy(), &[node]);
}

/// Processes that have all these words on their command lines.
fn running(words: &[&str]) -> Vec<Pid> {
    let all = fs::read_dir("/proc").expect("a /proc").flatten();
    all.filter(|p| {
        let line = fs::read_to_string(p.path().join("cmdline")).unwrap_or_default();
        words.iter().all(|w| line.contains(w))
    })
    .filter_map(|p| Pid::from_raw(p.file_name().to_str()?.parse().ok()?))
    .collect()
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
    assert_eq!(place.files("temporary"), Vec::<String>::new());
    until("no job is left", || engine.jobs(place).is_empty());
}

/// A script for two nodes of which `n1` is bad. The other does nothing before that one has work.
fn on_n1(bad: &str) -> String {
    format!(
        "[ $node = n1 ] || {{ for i in $(seq 200); do [ -e bad ] && break; sleep 0.1; done; exec RUN; }}
touch bad\n{bad}"
    )
}

/// One node is bad: the verdict is that of an undisturbed run.
fn mended(engine: Engine, place: &Place, bad: &str) {
    mended_with(engine, place, bad, "");
}

fn mended_with(engine: Engine, place: &Place, bad: &str, more: &str) {
    prove(place, &[], &on_n1(bad), &(engine.settings() + more)).exits(0);
    accepted(place);
    nothing_left(engine, place);
    fs::remove_file(place.path("bad")).expect("n1 had work");
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
    // Another version.
    mended(
        engine,
        place,
        &changed("").replace(
            "HONEST",
            "sed -i 's/\"dsperse\": \".*\"/\"dsperse\": \"0.0.0\"/' $k/job.json; HONEST",
        ),
    );
    // A store that is old on one node: it does not see the inputs.
    mended(
        engine,
        place,
        "mkdir -p old/sha256; HONEST job run --store old $job",
    );
    // A job that runs twice at the same time.
    mended(
        engine,
        place,
        "HONEST job run $job & RUN; code=$?; wait; exit $code",
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

fn a_store_that_goes_and_comes_back(engine: Engine) {
    let place = &ready();
    let away = "mv store away; sleep 20";
    let failed = prove(place, &[], away, &engine.settings()).exits(1);
    let said = format!("{}{}", failed.stdout, failed.stderr);
    assert!(said.contains("is gone"), "{said}");
    until("no job is left", || engine.jobs(place).is_empty());
    assert!(!place.path("store").exists(), "it is not made anew");
    fs::rename(place.path("away"), place.path("store")).expect("it comes back");
    prove(place, &[], "exec RUN", &engine.settings()).exits(0);
    accepted(place);
    nothing_left(engine, place);
    // A short while is no matter. Only one job moves it, and only once.
    let short = "mkdir moved && mv store away && { sleep 2; mv away store; }; sleep 3; exec RUN";
    prove(place, &[], short, &engine.settings()).exits(0);
    accepted(place);
    nothing_left(engine, place);
}

/// Its node lives, but the job does not go on.
fn a_job_that_hangs_is_done_on_another_node(engine: Engine) {
    let hangs = "kill -STOP $$; exec RUN";
    mended_with(engine, &ready(), hangs, "[limits]\ntimeout = \"5s\"\n");
}

fn a_node_that_freezes_is_left_for_another(engine: Engine) {
    let place = &ready();
    let script = on_n1(&format!("{}; exec RUN", engine.freeze_n1()));
    let limits = "[limits]\ntimeout = \"10s\"\n";
    prove(place, &[], &script, &(engine.settings() + limits)).exits(0);
    accepted(place);
    // It wakes up, and nobody wants its results any more.
    let frozen = place.files("frozen").into_iter().flat_map(|f| {
        let pids = fs::read_to_string(place.path("frozen").join(f)).expect("a file");
        let pids = pids.split_whitespace().filter_map(|p| p.parse().ok());
        pids.collect::<Vec<i32>>()
    });
    let frozen: BTreeSet<i32> = frozen.collect();
    assert!(!frozen.is_empty(), "n1 froze");
    for pid in frozen.into_iter().filter_map(Pid::from_raw) {
        // What the engine has ended is gone.
        let _ = kill_process(pid, Signal::CONT);
    }
    nothing_left(engine, place);
    match engine {
        // Its slurmd goes on; a raylet that was taken for dead ends.
        Engine::Slurm => engine.both_nodes(),
        Engine::Ray => {
            until("it ends", || running(&["raylet/raylet"]).len() == 1);
            engine.start_n1();
        }
    }
}

fn start(place: &Place) -> Child {
    place
        .command()
        .args(["prove", &place.newest_run(), "--force"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("it starts")
}

/// As a terminal does: to all that was started there.
fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process_group(pid.expect("a process"), signal).expect("it is there");
}

fn an_interrupt_may_come_at_any_time(engine: Engine) {
    let place = &ready();
    prove(place, &[], "exec RUN", &engine.settings()).exits(0);
    accepted(place);
    let files = place.files("model");
    let results = || {
        let left = left(place);
        left.iter().filter(|f| f.ends_with("result.json")).count()
    };
    // From before the first job is handed over until after the last result is there.
    let moments = [(0, 0), (0, 500), (1, 0), (1, 50), (3, 0), (3, 20), (3, 100)];
    for (count, later) in moments {
        let mut child = start(place);
        until("there are results", || {
            results() >= count || !matches!(child.try_wait(), Ok(None))
        });
        std::thread::sleep(Duration::from_millis(later));
        if matches!(child.try_wait(), Ok(None)) {
            send(&child, Signal::INT);
        }
        let ended = ran(&child.wait_with_output().expect("it ends"));
        assert!(
            [0, 130].contains(&ended.code),
            "{count} {later}: {ended:#?}"
        );
        println!(
            "{}: {count} results and {later} ms: {}",
            engine.name(),
            ended.code
        );
        nothing_left(engine, place);
        place.run(["prove", &place.newest_run()]).exits(0);
        accepted(place);
        assert_eq!(place.files("model"), files);
    }
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

/// The tests that every engine has to pass.
macro_rules! tests_of_every_engine {
    () => {
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
        fn an_interrupt_at_any_time() {
            an_interrupt_may_come_at_any_time(ENGINE);
        }

        #[test]
        #[ignore = "needs a cluster: scripts/test-engines.sh"]
        fn a_store_that_goes() {
            a_store_that_goes_and_comes_back(ENGINE);
        }

        #[test]
        #[ignore = "needs a cluster: scripts/test-engines.sh"]
        fn a_job_that_hangs() {
            a_job_that_hangs_is_done_on_another_node(ENGINE);
        }

        #[test]
        #[ignore = "needs a cluster: scripts/test-engines.sh"]
        fn a_frozen_node() {
            a_node_that_freezes_is_left_for_another(ENGINE);
        }
    };
}

mod slurm {
    use super::*;

    const ENGINE: Engine = Engine::Slurm;
    tests_of_every_engine!();

    #[test]
    #[ignore = "needs a cluster: scripts/test-engines.sh"]
    fn a_killed_coordinator_adopts_what_runs() {
        assert_eq!(killed_and_started_again(ENGINE), 3);
    }

    #[test]
    #[ignore = "needs a cluster: scripts/test-engines.sh"]
    fn a_killed_daemon_whose_job_goes_on() {
        let place = &ready();
        let pid = cluster().join("n1/pid");
        mended(
            ENGINE,
            place,
            &format!("kill -9 $(cat {}); sleep 2; exec RUN", pid.display()),
        );
        ENGINE.start_n1();
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
        named(ENGINE, place, "exec RUN", beyond, &["it is not taken"]);
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
    tests_of_every_engine!();

    #[test]
    #[ignore = "needs a cluster: scripts/test-engines.sh"]
    fn a_killed_coordinator_takes_its_jobs_along() {
        // What ran when it was killed is done again.
        assert_eq!(killed_and_started_again(ENGINE), 4);
    }

    /// What ends while a job runs is named; the same command typed again goes on.
    fn ends_and_goes_on(what: &[&str], again: impl FnOnce()) {
        let place = &ready();
        configure(place, &[], "touch started; sleep 600", &ENGINE.settings());
        let child = start(place);
        until("a node works", || place.path("started").exists());
        for pid in running(what) {
            kill_process(pid, Signal::KILL).expect("it is there");
        }
        let ended = ran(&child.wait_with_output().expect("it ends")).exits(1);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains("on ray: "), "{said}");
        println!("{said}");
        nothing_left(ENGINE, place);
        again();
        prove(place, &[], "exec RUN", &ENGINE.settings()).exits(0);
        accepted(place);
        nothing_left(ENGINE, place);
    }

    #[test]
    #[ignore = "needs a cluster: scripts/test-engines.sh"]
    fn a_killed_driver() {
        ends_and_goes_on(&["dsperse.ray_driver"], || {});
    }

    #[test]
    #[ignore = "needs a cluster: scripts/test-engines.sh"]
    fn a_killed_head() {
        ends_and_goes_on(&["gcs/gcs_server"], || {
            // What is left of the cluster ends by itself, but takes its time.
            for pid in running(&[&cluster().join("ray/").to_string_lossy()]) {
                let _ = kill_process(pid, Signal::KILL);
            }
            start_ray("n2");
            start_ray("n1");
            ENGINE.both_nodes();
        });
    }

    #[test]
    #[ignore = "needs a cluster: scripts/test-engines.sh"]
    fn memory_and_waiting() {
        let place = &ready();
        // As the kernel ends what takes too much.
        let hungry =
            "cat $job/bounds.json >> bounds; [ -e fed ] || { touch fed; kill -9 $$; }; exec RUN";
        prove(place, &[], hungry, &ENGINE.settings()).exits(0);
        accepted(place);
        let bounds = fs::read_to_string(place.path("bounds")).expect("bounds");
        let memory = bounds.lines().filter_map(|l| {
            let number = l.trim().strip_prefix("\"memory\": ")?;
            number.trim_end_matches(',').parse::<u64>().ok()
        });
        let memory: Vec<u64> = memory.collect();
        assert_eq!(memory[1], memory[0] * 2, "{memory:?}");
        nothing_left(ENGINE, place);
        let beyond = "cpus = 64\npending = \"20s\"\n";
        named(
            ENGINE,
            place,
            "exec RUN",
            beyond,
            &["no node took it within 20 s", "waiting for resources"],
        );
    }
}
