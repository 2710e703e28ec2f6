//! Crash safety: a child process dies at every crash point in turn, without running any
//! destructor, and the parent looks at what is left. Either the old state or the new one
//! must be there, and repeating the command must give what an undisturbed one gives.
//!
//! The child is this test binary, told by the environment what to do and when to die. A
//! power cut is not simulated: that the data is synced before each rename can be seen in
//! the code but not tested here.

use crate::fixture::{check, compile_at, create, job, listing, model, payload};
use crate::run::run_dir::{RunDir, StageFiles};
use crate::{
    Access, BundleError, ConvertOptions, Limits, NewSlices, NewTensor, Shape, SliceStore, convert,
    output_path,
};
use dsperse_documents::{Claim, RunResults, SliceRun, StageOutcome, TensorOrigin};
use dsperse_plugin_api::{Encoding, TensorInfo};
use dsperse_tensor::Tensor;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};

/// Crash points until death; negative means never.
static LEFT: AtomicI64 = AtomicI64::new(-1);

/// Ends the process when its time has come.
pub(crate) fn crash_point() {
    if LEFT.load(Ordering::Relaxed) >= 0 && LEFT.fetch_sub(1, Ordering::Relaxed) == 0 {
        // Nothing is unwound, flushed or dropped, as with `kill -9`.
        std::process::abort();
    }
}

/// What the child does.
fn act(action: &str, dir: &Path) {
    let shape = |s: &str| -> Shape { s.parse().unwrap() };
    match action.split_once(':').unwrap_or((action, "")) {
        ("slice", s) => {
            let at = output_path(&dir.join("slices"), shape(s));
            // Slices of another model are there already.
            let new = NewSlices::create(&at, shape(s)).unwrap();
            for i in 0..3 {
                fs::write(new.payload_path(i).unwrap(), payload(i)).unwrap();
            }
            new.finish(&model()).unwrap();
        }
        ("compile", s) => {
            compile_at(&output_path(&dir.join("slices"), shape(s)), &[0, 2], 2);
        }
        ("convert", s) => {
            let options = ConvertOptions {
                to: Some(shape(s)),
                output: Some(output_path(&dir.join("out"), shape(s))),
                cleanup: Some(true),
                ..ConvertOptions::default()
            };
            match convert(&dir.join("slices"), &options, Limits::default()) {
                Ok(_) => {}
                // The earlier attempt got as far as removing its source.
                Err(BundleError::NoSlices { .. } | BundleError::Missing { .. }) => {}
                Err(e) => panic!("{e}"),
            }
        }
        ("stage", _) => stage(dir, 2),
        other => panic!("{other:?}"),
    }
}

fn value(generation: u32) -> Tensor {
    let info = TensorInfo {
        name: "a".into(),
        encoding: Encoding::F32,
        shape: vec![1],
    };
    Tensor::new(info, (generation as f32).to_le_bytes().to_vec()).unwrap()
}

fn stage(dir: &Path, generation: u32) {
    let run = RunDir::open(&dir.join("run/run_1"), Access::Edit).unwrap();
    let scratch = run.scratch().unwrap();
    let compilation = job(scratch.path(), 0, generation);
    let files = StageFiles {
        slice: 0,
        backend: "demo",
        stage: "witness",
        job_dir: scratch.path(),
        artefacts: &compilation.artefacts,
        tensors: vec![NewTensor::new(value(generation), TensorOrigin::Slice(0))],
    };
    run.install_stage(files, |r, files| {
        r.slices = vec![SliceRun {
            witness_execution: Some(StageOutcome {
                success: true,
                key: Some(generation.to_string()),
                files: files.to_vec(),
                ..StageOutcome::default()
            }),
            ..SliceRun::default()
        }];
    })
    .unwrap();
    let claim = Claim {
        inputs: Vec::new(),
        outputs: vec!["a".into()],
    };
    run.write_views(0, &claim, u64::MAX).unwrap();
}

/// The entry of the child process; does nothing in an ordinary test run.
#[test]
fn child() {
    let Ok(action) = std::env::var("DSPERSE_CRASH_ACTION") else {
        return;
    };
    let dir = PathBuf::from(std::env::var("DSPERSE_CRASH_DIR").unwrap());
    let after = std::env::var("DSPERSE_CRASH_AFTER").unwrap();
    LEFT.store(after.parse().unwrap(), Ordering::Relaxed);
    act(&action, &dir);
}

/// Runs the action in a child; `false` when it died at crash point `after`.
fn run_child(action: &str, dir: &Path, after: i64) -> bool {
    // A child that dies leaves its temporary files behind; they go with this directory.
    let temporary = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash_tests::child", "--test-threads=1"])
        .env("TMPDIR", temporary.path())
        .env("DSPERSE_CRASH_ACTION", action)
        .env("DSPERSE_CRASH_DIR", dir)
        .env("DSPERSE_CRASH_AFTER", after.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("panicked"), "{action} after {after}: {text}");
    output.status.success()
}

/// Lets `action` die at every crash point. After each death `inspect` sees the state;
/// then the action is repeated, and `done` sees the result. Returns how many deaths.
fn at_every_point(
    action: &str,
    prepare: impl Fn(&Path),
    inspect: impl Fn(&Path),
    done: impl Fn(&Path),
) -> i64 {
    for after in 0..1000 {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let survived = run_child(action, dir.path(), after);
        if !survived {
            inspect(dir.path());
            assert!(
                run_child(action, dir.path(), -1),
                "{action} again after {after}"
            );
        }
        done(dir.path());
        if survived {
            return after;
        }
    }
    panic!("{action} has no end");
}

/// Slices whose compilations are each of generation 1 or 2, all values intact.
fn old_or_new(at: &Path) {
    let store = SliceStore::open(at, Access::Read).unwrap();
    let generations: Vec<u32> = (0..3)
        .map(|i| {
            let version = &store.slice(i).unwrap().compilations["demo"].backend_version;
            version.split('.').next().unwrap().parse().unwrap()
        })
        .collect();
    drop(store);
    check(at, generations.try_into().unwrap());
}

#[test]
fn compile_can_die_anywhere() {
    for shape in ["dirs", "dslice", "dsperse"] {
        let at = |dir: &Path| output_path(&dir.join("slices"), shape.parse().unwrap());
        let deaths = at_every_point(
            &format!("compile:{shape}"),
            |dir| {
                create(&at(dir), shape.parse().unwrap());
                compile_at(&at(dir), &[0, 1, 2], 1);
            },
            |dir| old_or_new(&at(dir)),
            |dir| {
                check(&at(dir), [2, 1, 2]);
                let name = at(dir).file_name().unwrap().to_str().unwrap().to_owned();
                assert_eq!(listing(dir), [name], "no leftovers");
            },
        );
        assert!(deaths > 15, "{shape}: only {deaths} crash points");
    }
}

#[test]
fn slicing_again_can_die_anywhere() {
    // `dslice` goes into place as `dirs` does.
    for shape in ["dirs", "dsperse"] {
        let at = |dir: &Path| output_path(&dir.join("slices"), shape.parse().unwrap());
        let deaths = at_every_point(
            &format!("slice:{shape}"),
            |dir| {
                // Other slices: the payload of slice 0 was damaged since.
                create(&at(dir), shape.parse().unwrap());
                compile_at(&at(dir), &[0, 1, 2], 1);
                damage(&at(dir));
            },
            |dir| {
                let store = SliceStore::open(&at(dir), Access::Read).unwrap();
                assert_eq!(store.indices(), [0, 1, 2]);
                assert_eq!(store.model(), Some(&model()));
                // Old: compiled, and payload 0 damaged. New: neither.
                let compiled = !store.slice(0).unwrap().compilations.is_empty();
                assert_eq!(store.payload(0).is_err(), compiled);
            },
            |dir| {
                check(&at(dir), [0, 0, 0]);
                let name = at(dir).file_name().unwrap().to_str().unwrap().to_owned();
                assert_eq!(listing(dir), [name], "no leftovers");
            },
        );
        assert!(deaths >= 3, "{shape}: only {deaths} crash points");
    }
}

/// Changes the payload of slice 0 without a trace in the archive's checksums.
fn damage(at: &Path) {
    let needle = b"onnx of slice 0 ";
    let file = if at.join("slice_0/payload/slice_0.onnx").is_file() {
        at.join("slice_0/payload/slice_0.onnx")
    } else if at.join("slice_0.dslice").is_file() {
        at.join("slice_0.dslice")
    } else {
        at.to_owned()
    };
    let mut bytes = fs::read(&file).unwrap();
    let place = bytes
        .windows(needle.len())
        .position(|w| w == needle)
        .unwrap();
    bytes[place] ^= 1;
    fs::write(&file, bytes).unwrap();
}

#[test]
fn convert_can_die_anywhere() {
    for (from, to) in [("dirs", "dsperse"), ("dsperse", "dirs"), ("dslice", "dirs")] {
        let source = |dir: &Path| output_path(&dir.join("slices"), from.parse().unwrap());
        let target = |dir: &Path| output_path(&dir.join("out"), to.parse().unwrap());
        let deaths = at_every_point(
            &format!("convert:{to}"),
            |dir| {
                create(&source(dir), from.parse().unwrap());
                compile_at(&source(dir), &[0, 1, 2], 1);
            },
            |dir| {
                // At every moment one of the two is complete.
                let complete = |p: &Path| {
                    SliceStore::open(p, Access::Read)
                        .is_ok_and(|s| s.model().is_some() && s.slice(2).is_ok())
                };
                if complete(&target(dir)) {
                    check(&target(dir), [1, 1, 1]);
                } else {
                    check(&source(dir), [1, 1, 1]);
                }
            },
            |dir| {
                check(&target(dir), [1, 1, 1]);
                // Where the source was gone already, the command could not be repeated; the
                // next one on the result removes what is left.
                drop(SliceStore::open(&target(dir), Access::Edit).unwrap());
                let name = target(dir).file_name().unwrap().to_owned();
                assert_eq!(listing(dir), [name.into_string().unwrap()], "no leftovers");
            },
        );
        assert!(deaths >= 3, "{from} to {to}: only {deaths} crash points");
    }
}

#[test]
fn a_stage_can_die_anywhere() {
    let path = |dir: &Path| dir.join("run/run_1");
    let look = |dir: &Path, allowed: &[u32]| {
        let run = RunDir::open(&path(dir), Access::Read).unwrap();
        let results = run.results();
        let stage = results.slices[0].witness_execution.as_ref().unwrap();
        let generation: u32 = stage.key.as_ref().unwrap().parse().unwrap();
        assert!(allowed.contains(&generation));
        assert_eq!(stage.files.len(), 4);
        for f in &stage.files {
            let r = run.artefact(f).unwrap();
            let expected = crate::fixture::content(0, &f.name, generation);
            assert_eq!(fs::read(&r.path).unwrap(), expected);
        }
        // The tensor may already be the new one: then the stage is not done, because its
        // key differs, and it is repeated.
        let found = run.tensors().read("a").unwrap().to_f64()[0];
        assert!(found == f64::from(generation) || (generation == 1 && found == 2.0));
    };
    let deaths = at_every_point(
        "stage",
        |dir| {
            let results = RunResults::default();
            drop(RunDir::create(&dir.join("run"), "1", &results).unwrap());
            stage(dir, 1);
        },
        |dir| look(dir, &[1, 2]),
        |dir| {
            look(dir, &[2]);
            assert_eq!(listing(&dir.join("run")), ["run_1"]);
            assert_eq!(
                listing(&path(dir)),
                ["run_results.json", "slice_0", "tensors"]
            );
            assert_eq!(listing(&path(dir).join("tensors")).len(), 2);
            assert_eq!(
                listing(&path(dir).join("slice_0")),
                ["demo", "input.json", "output.json"]
            );
        },
    );
    assert!(deaths > 8, "only {deaths} crash points");
}

/// A disk that fills up is played by a limit on the size of files: the shell sets it and
/// ignores the signal, so that writing fails in the middle of a file.
#[cfg(unix)]
#[test]
fn a_full_disk_loses_nothing() {
    for shape in ["dirs", "dslice", "dsperse"] {
        let dir = tempfile::tempdir().unwrap();
        let at = output_path(&dir.path().join("slices"), shape.parse().unwrap());
        create(&at, shape.parse().unwrap());
        compile_at(&at, &[0, 1, 2], 1);
        let mut failures = 0;
        for blocks in [0, 1, 2, 3, 4, 6, 8, 12, 24] {
            let output = Command::new("sh")
                .args(["-c", "trap '' XFSZ; ulimit -f $0; exec \"$@\""])
                .arg(blocks.to_string())
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", "crash_tests::child", "--test-threads=1"])
                .env("DSPERSE_CRASH_ACTION", format!("compile:{shape}"))
                .env("DSPERSE_CRASH_DIR", dir.path())
                .env("DSPERSE_CRASH_AFTER", "-1")
                .output()
                .unwrap();
            if !output.status.success() {
                failures += 1;
                let text = String::from_utf8_lossy(&output.stderr).into_owned()
                    + &String::from_utf8_lossy(&output.stdout);
                assert!(
                    text.contains("FileTooLarge") || text.contains("File too large"),
                    "{text}"
                );
            }
            old_or_new(&at);
        }
        assert!(failures >= 2, "{shape}: the limit was never reached");
        compile_at(&at, &[0, 1, 2], 3);
        check(&at, [3, 3, 3]);
    }
}

#[test]
fn a_hostile_journal_moves_nothing_outside() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("slices");
    create(&at, Shape::Dirs);
    fs::write(dir.path().join("mine"), "mine").unwrap();
    let txn = at.join("slice_0/.dsperse-txn");
    for moves in [
        r#"{"moves":[{"staged":0,"to":"../../mine"}]}"#,
        r#"{"moves":[{"staged":null,"to":"../../mine"}]}"#,
        r#"{"moves":[{"staged":null,"to":"/etc/hostname"}]}"#,
        "not a journal",
    ] {
        fs::create_dir_all(&txn).unwrap();
        fs::write(txn.join("0"), "evil").unwrap();
        fs::write(txn.join("journal.json"), moves).unwrap();
        for access in [Access::Read, Access::Edit] {
            assert!(SliceStore::open(&at, access).is_err(), "{moves}");
        }
        assert_eq!(fs::read(dir.path().join("mine")).unwrap(), b"mine");
        fs::remove_dir_all(&txn).unwrap();
    }
    #[cfg(unix)]
    {
        fs::create_dir_all(&txn).unwrap();
        std::os::unix::fs::symlink(dir.path(), at.join("slice_0/out")).unwrap();
        fs::write(txn.join("0"), "evil").unwrap();
        let journal = r#"{"moves":[{"staged":0,"to":"out/mine"}]}"#;
        fs::write(txn.join("journal.json"), journal).unwrap();
        assert!(SliceStore::open(&at, Access::Edit).is_err());
        assert_eq!(fs::read(dir.path().join("mine")).unwrap(), b"mine");
    }
}
