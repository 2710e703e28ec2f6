//! The verifier's side: a bundle without weights, a machine with only some plugins, and a
//! receipt that somebody else checks.

use super::world::{Lab, Outcome, World, read};
use dsperse_documents::{KeyOrigin, Receipt, Require, SliceMetadata, Verdict};
use dsperse_plugin_host::Isolation;
use dsperse_stages::verify::{Demands, VerifyOptions};
use dsperse_store::{ConvertOptions, Limits, atomic::write_document};
use std::fs;
use std::path::PathBuf;

fn bundle(world: &World) -> PathBuf {
    let options = ConvertOptions {
        output: Some(world.root().join("for-verify")),
        for_verify: true,
        ..ConvertOptions::default()
    };
    let converted = dsperse_store::convert(&world.slices(), &options, Limits::default());
    converted.expect("a verifier's bundle").path
}

fn accepts(outcome: Outcome) -> dsperse_documents::VerificationReport {
    let report = outcome.report();
    assert!(report.accepted, "{report:#?}");
    report
}

pub fn a_bundle_without_weights_and_one_plugin_are_enough(backend: &'static str) {
    let world = World::of(backend);
    let before = accepts(Lab::of(backend).verify(&world, &VerifyOptions::default()));
    let bundle = bundle(&world);
    for i in 0..3 {
        let m: SliceMetadata = read(&bundle.join(format!("slice_{i}/metadata.json")));
        assert_eq!(m.payload.path, None);
        assert!(!bundle.join(format!("slice_{i}/payload")).exists());
    }
    // The prover's folder is gone; the verifier has the bundle, the run, one plugin.
    fs::remove_dir_all(world.slices()).expect("gone");
    let lab = Lab::new(&[backend], Isolation::Process);
    let mut options = VerifyOptions::from(Demands {
        require: Require::Proven,
        expect_model: Some(before.model_identity.clone()),
        expect_keys: before.keys_sha256.clone(),
        ..Demands::default()
    });
    let report = accepts(lab.verify_paths(&world, &world.run(), &bundle, &options));
    assert!(
        report
            .slices
            .iter()
            .all(|s| s.keys == Some(KeyOrigin::Pinned))
    );
    assert_eq!(report.keys_sha256, before.keys_sha256);

    // The model alone says nothing of keys, and without ONNX files they can't be made.
    options.demands.expect_keys = None;
    let outcome = lab.verify_paths(&world, &world.run(), &bundle, &options);
    assert!(!outcome.accepted());
    assert_eq!(outcome.verdicts(), [Verdict::Unchecked; 3]);
    assert!(
        outcome.words().contains("--expect-keys"),
        "{}",
        outcome.words()
    );
}

pub fn a_missing_plugin_is_named_for_every_slice() {
    let world = World::of("sumcheck");
    let bundle = bundle(&world);
    let lab = Lab::new(&["onnx"], Isolation::Process);
    for require in [Require::Checked, Require::Proven] {
        let options = VerifyOptions::from(Demands {
            require,
            ..Demands::default()
        });
        let outcome = lab.verify_paths(&world, &world.run(), &bundle, &options);
        assert_eq!(outcome.exit(), 1);
        let report = outcome.report();
        assert_eq!(report.counts.unchecked, 3);
        for s in &report.slices {
            let reason = s.reason.clone().unwrap_or_default();
            assert!(
                reason.contains("its proof needs backend \"sumcheck\" 0."),
                "{reason}"
            );
        }
    }
}

pub fn keys_that_are_missing_give_no_verdict() {
    let world = World::of("sumcheck");
    let bundle = bundle(&world);
    let path = bundle.join("slice_1/metadata.json");
    let mut m: SliceMetadata = read(&path);
    m.compilations.clear();
    write_document(&path, &m).expect("a write");
    let lab = Lab::of("sumcheck");
    let outcome = lab.verify_paths(&world, &world.run(), &bundle, &VerifyOptions::default());
    assert_eq!(
        outcome.verdicts(),
        [Verdict::Proven, Verdict::Unchecked, Verdict::Proven]
    );
    assert!(!outcome.accepted());
    assert!(
        outcome
            .words()
            .contains("these slices hold nothing that \"sumcheck\" compiled")
    );
}

pub fn compiled_again_the_keys_are_the_same(backend: &'static str) {
    let world = World::of(backend);
    let options = VerifyOptions::from(Demands {
        recompile: true,
        ..Demands::default()
    });
    let report = accepts(Lab::of(backend).verify(&world, &options));
    assert!(
        report
            .slices
            .iter()
            .all(|s| s.keys == Some(KeyOrigin::Recompiled)),
        "{report:#?}"
    );
}

pub fn keys_of_another_input_are_made_again_with_its_calibration() {
    let world = World::of("sumcheck");
    let lab = Lab::of("sumcheck");
    let calibration = world.root().join("calibration.json");
    fs::write(&calibration, super::input(&world, "first").to_string()).expect("a write");
    let run = world.other_run();
    let verify = |calibration: Option<PathBuf>| {
        let options = VerifyOptions {
            calibration,
            ..Demands {
                recompile: true,
                ..Demands::default()
            }
            .into()
        };
        lab.verify_paths(&world, &run, &world.slices(), &options)
    };
    let report = accepts(verify(Some(calibration)));
    assert!(
        report
            .slices
            .iter()
            .all(|s| s.keys == Some(KeyOrigin::Recompiled))
    );
}

fn receipt(world: &World, change: impl FnOnce(&mut Receipt)) -> PathBuf {
    let report = accepts(Lab::of(world.backend).verify(world, &VerifyOptions::default()));
    let mut receipt = report.receipt();
    change(&mut receipt);
    let path = world.root().join("receipt-of-a-friend.json");
    write_document(&path, &receipt).expect("a write");
    path
}

fn against(path: PathBuf) -> VerifyOptions {
    VerifyOptions {
        expect_receipt: Some(path),
        ..VerifyOptions::default()
    }
}

pub fn a_receipt_is_checked_again_by_somebody_else() {
    for backend in ["sumcheck", "onnx"] {
        let world = World::of(backend);
        let lab = Lab::of(backend);
        let report = accepts(lab.verify(&world, &against(receipt(&world, |_| {}))));
        if backend != "onnx" {
            assert!(
                report
                    .slices
                    .iter()
                    .all(|s| s.keys == Some(KeyOrigin::Pinned))
            );
        }
    }
}

pub fn a_receipt_that_says_otherwise_is_held_against_the_run() {
    let world = World::of("sumcheck");
    let lab = Lab::of("sumcheck");
    type Change = fn(&mut Receipt);
    let cases: [(&str, Change); 6] = [
        ("another output", |r| r.output_sha256 = "0".repeat(64)),
        ("another input", |r| r.input_sha256 = "0".repeat(64)),
        ("another model", |r| r.model_identity = "0".repeat(64)),
        ("others than expected", |r| {
            r.keys_sha256 = Some("0".repeat(64))
        }),
        ("the receipt has no slice 2", |r| {
            r.slices.pop();
        }),
        ("is no SHA-256", |r| r.model_identity = "x".into()),
    ];
    for (words, change) in cases {
        let outcome = lab.verify(&world, &against(receipt(&world, change)));
        assert!(!outcome.accepted(), "{words}");
        assert!(
            outcome.words().contains(words),
            "{words}: {}",
            outcome.words()
        );
    }
    // What was proven then must not be merely recomputed now.
    let onnx = World::of("onnx");
    let path = receipt(&onnx, |r| r.slices[0].verdict = Verdict::Proven);
    let outcome = Lab::of("onnx").verify(&onnx, &against(path));
    assert!(!outcome.accepted());
    assert!(
        outcome
            .words()
            .contains("slice 0 is recomputed, the receipt has it proven")
    );
}
