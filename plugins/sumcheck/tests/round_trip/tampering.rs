//! Every check of `verify`: each claim here differs from a valid one in one thing.

use crate::bench::{Bench, Run};
use crate::models::{bench, held_out};
use dsperse_plugin_api::{Encoding, TensorFile, Verdict, VerifyJob};

fn digits() -> (Bench, Run, Vec<Vec<f32>>) {
    let bench = bench("digits-mlp", &[1, 64]);
    let images = held_out("digits-mlp", "input");
    let calibration = bench.inputs("calibration", &images[..1]);
    let inputs = bench.inputs("input", &images[1..2]);
    let run = bench.run(vec![calibration], inputs);
    (bench, run, images)
}

fn reason(bench: &Bench, job: &VerifyJob) -> String {
    match bench.verify(job) {
        Verdict::Invalid { reason } => reason,
        valid => panic!("a false claim is accepted: {valid:?}"),
    }
}

/// A copy of a tensor file with other bytes.
fn rewritten(bench: &Bench, file: &TensorFile, edit: impl FnOnce(&mut Vec<u8>)) -> TensorFile {
    let mut bytes = std::fs::read(&file.path).expect("there");
    edit(&mut bytes);
    let path = bench.path().join("rewritten.bin");
    std::fs::write(&path, bytes).expect("written");
    TensorFile {
        path: path.to_string_lossy().into_owned(),
        ..file.clone()
    }
}

#[test]
fn only_the_true_claim_is_valid() {
    let (bench, run, images) = digits();
    let good = &run.job;
    assert!(matches!(bench.verify(good), Verdict::Valid { .. }));

    // Another input, and the same input with one element changed by one step.
    let mut job = good.clone();
    job.inputs = bench.inputs("other", &images[2..3]);
    assert!(reason(&bench, &job).contains("does not hold"));
    let mut nudged = images[1].clone();
    nudged[5] += 0.001;
    job.inputs = bench.inputs("nudged", &[nudged]);
    assert!(reason(&bench, &job).contains("does not hold"));

    // Another output.
    for (at, by) in [(0usize, 1i64), (9, -1)] {
        let mut job = good.clone();
        job.outputs[0] = rewritten(&bench, &good.outputs[0], |bytes| {
            let range = 8 * at..8 * at + 8;
            let word = <[u8; 8]>::try_from(&bytes[range.clone()]).expect("eight bytes");
            bytes[range].copy_from_slice(&(i64::from_le_bytes(word) + by).to_le_bytes());
        });
        assert!(reason(&bench, &job).contains("does not hold"));
    }
    // An output beyond what the key admits.
    let mut job = good.clone();
    job.outputs[0] = rewritten(&bench, &good.outputs[0], |bytes| {
        bytes[..8].copy_from_slice(&i64::MAX.to_le_bytes());
    });
    assert!(reason(&bench, &job).contains("outside"));

    // Encoding, exponent, shape, name and number of outputs.
    let mut job = good.clone();
    let Encoding::Fixed { exponent } = good.outputs[0].info.encoding else {
        panic!("outputs are fixed point");
    };
    job.outputs[0].info.encoding = Encoding::Fixed {
        exponent: exponent + 1,
    };
    assert!(reason(&bench, &job).contains("the key proves"));
    job.outputs[0].info.encoding = Encoding::I64;
    assert!(reason(&bench, &job).contains("the key proves"));
    let mut job = good.clone();
    job.outputs[0].info.shape = vec![10, 1];
    assert!(reason(&bench, &job).contains("claimed with shape"));
    let mut job = good.clone();
    job.outputs[0].info.name = "another".into();
    assert!(reason(&bench, &job).contains("where the key has"));
    let mut job = good.clone();
    job.outputs.clear();
    assert!(reason(&bench, &job).contains("0 outputs are claimed"));
    let mut job = good.clone();
    job.inputs.push(good.inputs[0].clone());
    assert!(reason(&bench, &job).contains("2 inputs are claimed"));
    let mut job = good.clone();
    job.inputs[0].info.shape = vec![64];
    assert!(reason(&bench, &job).contains("claimed with shape"));

    // Values that are no numbers, files that are too short or absent.
    let mut job = good.clone();
    job.inputs[0] = rewritten(&bench, &good.inputs[0], |bytes| {
        bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    assert!(reason(&bench, &job).contains("not a finite number"));
    job.inputs[0] = rewritten(&bench, &good.inputs[0], |bytes| bytes.truncate(7));
    assert!(reason(&bench, &job).contains("bytes"));
    job.inputs[0].path = bench.path().join("absent").to_string_lossy().into_owned();
    assert!(reason(&bench, &job).contains("can't be read"));
}

#[test]
fn a_proof_belongs_to_one_slice_of_one_model() {
    let (bench, run, _) = digits();
    let good = &run.job;
    let mut job = good.clone();
    job.slice.index = 1;
    assert!(reason(&bench, &job).contains("does not hold"));
    let mut job = good.clone();
    job.slice.model_sha256 = "00".repeat(32);
    assert!(reason(&bench, &job).contains("does not hold"));
    let mut job = good.clone();
    job.slice.sha256 = "00".repeat(32);
    assert!(reason(&bench, &job).contains("another slice"));
    job.slice.sha256 = "not a digest".into();
    assert!(reason(&bench, &job).contains("not a SHA-256"));
}

#[test]
fn artefacts_can_not_be_swapped_cut_or_dropped() {
    let (bench, run, images) = digits();
    let good = &run.job;
    let mut job = good.clone();
    job.proof.clear();
    assert!(reason(&bench, &job).contains("\"proof\" is missing"));
    let mut job = good.clone();
    job.circuit.clear();
    assert!(reason(&bench, &job).contains("\"verifying_key\" is missing"));
    let mut job = good.clone();
    job.proof[0].path = good.circuit[0].path.clone();
    reason(&bench, &job);
    let mut job = good.clone();
    job.circuit[0].path = good.proof[0].path.clone();
    reason(&bench, &job);

    // The key of the same slice, compiled with other bits: another statement.
    let mut other = crate::models::bench("digits-mlp", &[1, 64]);
    other.options.insert("activation_bits".into(), 14.into());
    let calibration = other.inputs("calibration", &images[..1]);
    let inputs = other.inputs("input", &images[1..2]);
    let second = other.run(vec![calibration], inputs);
    let mut job = good.clone();
    job.circuit = second.job.circuit.clone();
    reason(&bench, &job);
    // A proof of another claim about the same slice, put in place.
    let mut job = good.clone();
    job.proof = second.job.proof.clone();
    reason(&bench, &job);

    // Any byte of key or proof changed, and any length.
    let path = bench.path().join("changed.bin");
    for proof in [false, true] {
        let list = |job: &mut VerifyJob, path: &str| {
            let list = if proof {
                &mut job.proof
            } else {
                &mut job.circuit
            };
            list[0].path = path.to_owned();
        };
        let original = if proof {
            &good.proof[0]
        } else {
            &good.circuit[0]
        };
        let bytes = std::fs::read(&original.path).expect("there");
        let step = (bytes.len() / 40).max(1);
        let mut job = good.clone();
        list(&mut job, &path.to_string_lossy());
        for at in (0..bytes.len()).step_by(step).chain([bytes.len() - 1]) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            std::fs::write(&path, &changed).expect("written");
            reason(&bench, &job);
            std::fs::write(&path, &bytes[..at]).expect("written");
            reason(&bench, &job);
        }
        let mut longer = bytes.clone();
        longer.push(0);
        std::fs::write(&path, &longer).expect("written");
        reason(&bench, &job);
    }
}

/// A slice that was split between two compilations: the second reads what the first
/// proved, bit for bit, when both were calibrated with the same tensor.
#[test]
fn slices_meet_at_the_same_exponent() {
    use crate::chain;
    let (first, second) = chain::halves();
    let images = chain::images();
    let middle = |x: &[f32]| chain::first_half(x);
    let calibration: Vec<Vec<f32>> = images[..2].to_vec();
    let inputs: Vec<_> = (0..2)
        .map(|s| first.inputs(&format!("c{s}"), &calibration[s..=s]))
        .collect();
    let between: Vec<_> = (0..2)
        .map(|s| second.inputs(&format!("c{s}"), &[middle(&calibration[s])]))
        .collect();
    let a = first.run_with_outputs(
        inputs,
        between.clone(),
        first.inputs("input", &images[2..3]),
    );
    // What the first slice proved is the second one's claimed input, as it is.
    let b = second.run(between, a.job.outputs.clone());
    assert!(matches!(first.verify(&a.job), Verdict::Valid { .. }));
    assert!(matches!(second.verify(&b.job), Verdict::Valid { .. }));
    let exponent = |facts: &serde_json::Value| facts[0]["exponent"].clone();
    assert_eq!(
        exponent(&a.compiled.facts["outputs"]),
        exponent(&b.compiled.facts["inputs"])
    );
    // One integer of the tensor in between changed: neither slice's claim holds.
    let mut forged = b.job.clone();
    forged.inputs[0] = rewritten(&second, &b.job.inputs[0], |bytes| bytes[0] ^= 1);
    assert!(reason(&second, &forged).contains("does not hold"));
    let mut forged_first = a.job.clone();
    forged_first.outputs[0] = forged.inputs[0].clone();
    assert!(reason(&first, &forged_first).contains("does not hold"));
}
