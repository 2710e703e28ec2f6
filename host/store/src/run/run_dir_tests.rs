//! Runs on disk.

use crate::fixture::{ARTEFACTS, content, info, job, listing};
use crate::run::run_dir::{RunDir, StageFiles, find_runs};
use crate::{Access, BundleError, NewTensor};
use dsperse_documents::{Claim, RunResults, SliceRun, StageOutcome, TensorOrigin};
use dsperse_tensor::Tensor;
use std::fs;
use std::path::Path;

fn tensor(name: &str, values: [f32; 4]) -> Tensor {
    let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Tensor::new(info(name, &[1, 4]), data).unwrap()
}

fn results() -> RunResults {
    RunResults {
        slices: vec![SliceRun::default()],
        ..RunResults::default()
    }
}

fn install(run: &RunDir, stage: &str, generation: u32) {
    let scratch = run.scratch().unwrap();
    let compilation = job(scratch.path(), 0, generation);
    let files = StageFiles {
        slice: 0,
        backend: "demo",
        stage,
        job_dir: scratch.path(),
        artefacts: &compilation.artefacts,
        tensors: vec![NewTensor::new(
            tensor("a", [generation as f32; 4]),
            TensorOrigin::Slice(0),
        )],
    };
    run.install_stage(files, |r, files| {
        let outcome = StageOutcome {
            success: true,
            files: files.to_vec(),
            ..StageOutcome::default()
        };
        match stage {
            "witness" => r.slices[0].witness_execution = Some(outcome),
            _ => r.slices[0].proof_execution = Some(outcome),
        }
    })
    .unwrap();
}

#[test]
fn stages_lie_where_the_format_says_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().join("run");
    let run = RunDir::create(&runs, "20260131_120000", &results()).unwrap();
    install(&run, "witness", 1);
    install(&run, "proof", 1);
    install(&run, "witness", 2);
    let claim = Claim {
        inputs: vec!["a".into()],
        outputs: vec!["a".into()],
    };
    run.write_views(0, &claim, u64::MAX).unwrap();
    drop(run);
    let at = runs.join("run_20260131_120000");
    assert_eq!(listing(&at), ["run_results.json", "slice_0", "tensors"]);
    assert_eq!(
        listing(&at.join("slice_0")),
        ["demo", "input.json", "output.json"]
    );
    assert_eq!(listing(&at.join("slice_0/demo")), ["proof", "witness"]);
    let run = RunDir::open(&at, Access::Read).unwrap();
    let r = run.results();
    for (stage, generation) in [
        (&r.slices[0].witness_execution, 2),
        (&r.slices[0].proof_execution, 1),
    ] {
        let files = &stage.as_ref().unwrap().files;
        assert_eq!(files.len(), ARTEFACTS.len());
        for f in files {
            assert!(f.path.starts_with("slice_0/demo/"), "{}", f.path);
            let bytes = fs::read(run.artefact(f).unwrap().path).unwrap();
            assert_eq!(bytes, content(0, &f.name, generation));
        }
    }
    assert_eq!(run.tensors().read("a").unwrap().to_f64(), [2.0; 4]);
    // The view can be read as an input again.
    let view = crate::read_inputs(
        &at.join("slice_0/input.json"),
        &[info("a", &[1, 4])],
        &crate::Fixed::new(),
    )
    .unwrap();
    assert_eq!(view[0], run.tensors().read("a").unwrap());
    assert!(run.update(|_| {}).is_err(), "opened for reading");
    // A changed file is noticed.
    let proof = r.slices[0].proof_execution.as_ref().unwrap();
    fs::write(at.join(&proof.files[0].path), "forged").unwrap();
    let e = run.artefact(&proof.files[0]).unwrap_err();
    assert!(matches!(e, BundleError::Changed { .. }), "{e}");
    // A record that points outside reads nothing there.
    let mut outside = proof.files[1].clone();
    outside.path = "../../secret".into();
    let e = run.artefact(&outside).unwrap_err();
    assert!(matches!(e, BundleError::UnsafePath { .. }), "{e}");
}

#[test]
fn a_failed_installation_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::create(dir.path(), "1", &results()).unwrap();
    install(&run, "witness", 1);
    let before = run.results();
    let scratch = run.scratch().unwrap();
    let mut declared = job(scratch.path(), 0, 2).artefacts;
    declared[2].path = "not/there".into();
    let files = StageFiles {
        slice: 0,
        backend: "demo",
        stage: "witness",
        job_dir: scratch.path(),
        artefacts: &declared,
        tensors: Vec::new(),
    };
    let e = run
        .install_stage(files, |r, _| r.slices.clear())
        .unwrap_err();
    assert!(matches!(e, BundleError::Missing { .. }), "{e}");
    assert_eq!(run.results(), before);
    for f in &before.slices[0].witness_execution.as_ref().unwrap().files {
        run.artefact(f).unwrap();
    }
    assert!(
        !listing(run.path())
            .iter()
            .any(|n| n.starts_with(".dsperse"))
    );
}

#[test]
fn a_stage_without_files_takes_away_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::create(dir.path(), "1", &results()).unwrap();
    let nothing = |value: f32| {
        let files = StageFiles {
            slice: 0,
            backend: "demo",
            stage: "witness",
            job_dir: dir.path(),
            artefacts: &[],
            tensors: vec![NewTensor::new(
                tensor("a", [value; 4]),
                TensorOrigin::Slice(0),
            )],
        };
        run.install_stage(files, |r, files| {
            assert!(files.is_empty());
            r.started = value.to_string();
        })
        .unwrap();
        let record = fs::read_to_string(run.path().join("run_results.json")).unwrap();
        assert!(
            record.contains(&format!("\"started\": \"{value}\"")),
            "{record}"
        );
        assert_eq!(
            run.tensors().read("a").unwrap().to_f64(),
            [f64::from(value); 4]
        );
    };
    nothing(1.0);
    assert_eq!(listing(run.path()), ["run_results.json", "tensors"]);
    install(&run, "witness", 1);
    assert_eq!(listing(&run.path().join("slice_0/demo")), ["witness"]);
    for value in [2.0, 3.0] {
        nothing(value);
        assert!(listing(&run.path().join("slice_0/demo")).is_empty());
    }
}

#[test]
fn runs_are_found_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().join("run");
    let make = |stamp: &str| {
        let run = RunDir::create(&runs, stamp, &results()).unwrap();
        run.path().file_name().unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(make("20260131_120000"), "run_20260131_120000");
    for n in 2..=11 {
        assert_eq!(make("20260131_120000"), format!("run_20260131_120000_{n}"));
    }
    make("20260201_000000");
    make("20251231_235959");
    fs::create_dir(runs.join("run_20270101_000000")).unwrap();
    let names = |path: &Path| -> Vec<String> {
        find_runs(path)
            .unwrap()
            .iter()
            .map(|p| p.file_name().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    let all = names(dir.path());
    assert_eq!(all.len(), 13, "the one without results is no run");
    assert_eq!(
        all[..4],
        [
            "run_20260201_000000",
            "run_20260131_120000_11",
            "run_20260131_120000_10",
            "run_20260131_120000_9"
        ]
    );
    assert_eq!(all[12], "run_20251231_235959");
    assert_eq!(names(&runs), all);
    assert_eq!(
        names(&runs.join("run_20260131_120000")),
        ["run_20260131_120000"]
    );
    assert!(names(Path::new("/nonexistent")).is_empty());
}
