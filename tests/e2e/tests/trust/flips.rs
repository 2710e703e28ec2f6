//! Random bit flips over every file that `verify` reads.
//!
//! Allowed outcomes of a flip: the input is refused, or the claim is not accepted, or the
//! flipped bit carries no meaning (a space, a note of the prover such as a time or a
//! fidelity figure) and the very same claim is accepted on the very same grounds. A crash,
//! a panic, an error of this program, or acceptance of anything else is none of them.
//!
//! `DSPERSE_FLIPS=200000 DSPERSE_SEED=7 cargo test -p dsperse-e2e --test trust flips` is the
//! long run; without the variables it is 2,400 flips with a fixed seed.

use super::world::{Lab, Outcome, World};
use dsperse_documents::{ReceiptFile, Verdict, VerificationReport};
use dsperse_e2e::Random;
use dsperse_plugin_host::Isolation;
use dsperse_stages::verify::VerifyOptions;
use dsperse_store::{ConvertOptions, Limits, Shape};
use std::fs;
use std::path::{Path, PathBuf};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().expect("a number"))
}

/// Verdict on a slice, backend, ONNX file, verifying artefacts and proof.
type Grounds = (
    Verdict,
    Option<String>,
    String,
    Vec<ReceiptFile>,
    Vec<ReceiptFile>,
);

/// All that a verdict claims, and on what grounds.
#[derive(Debug, PartialEq)]
struct Claimed {
    digests: [String; 4],
    keys: Option<String>,
    slices: Vec<Grounds>,
    shares: [u64; 4],
}

fn claimed(r: &VerificationReport) -> Claimed {
    let s = &r.proven_share;
    Claimed {
        digests: [
            r.model_identity.clone(),
            r.model_sha256.clone(),
            r.input_sha256.clone(),
            r.output_sha256.clone(),
        ],
        keys: r.keys_sha256.clone(),
        slices: r
            .slices
            .iter()
            .map(|s| {
                (
                    s.verdict,
                    s.backend.clone(),
                    s.payload_sha256.clone(),
                    s.circuit.clone(),
                    s.proof_files.clone(),
                )
            })
            .collect(),
        shares: [
            s.proven_parameters,
            s.total_parameters,
            s.proven_macs,
            s.total_macs,
        ],
    }
}

/// Files that a verification reads: slices, and of the run what no view of it is.
fn targets(world: &World, slices: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    if slices.is_file() {
        out.push(slices.to_path_buf());
    } else {
        walk(slices, &mut out);
    }
    walk(&world.run(), &mut out);
    out.retain(|p| {
        let name = p.file_name().unwrap_or_default().to_string_lossy();
        !matches!(
            name.as_ref(),
            "receipt.json"
                | "verification.json"
                | "fidelity.json"
                | "input.json"
                | "output.json"
                | "weights.bin"
                | "settings.json"
        ) && !name.ends_with(".lock")
    });
    out.sort();
    out
}

fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        if entry.path().is_dir() {
            walk(&entry.path(), out);
        } else {
            out.push(entry.path());
        }
    }
}

/// Flips bits one at a time and counts how it went.
fn campaign(backend: &'static str, packed: bool, flips: u64, seed: u64) {
    println!("{backend}, packed {packed}: {flips} flips, seed {seed}");
    let world = World::of(backend);
    let mut slices = world.slices();
    if packed {
        let options = ConvertOptions {
            to: Some(Shape::Dsperse),
            output: Some(world.root().join("packed.dsperse")),
            for_verify: true,
            ..ConvertOptions::default()
        };
        slices = dsperse_store::convert(&slices, &options, Limits::default())
            .expect("a bundle")
            .path;
    }
    // In this very process: a crash of a backend would end the test.
    let lab = Lab::new(&super::world::plugins_of(backend), Isolation::None);
    let options = VerifyOptions::default();
    let verify = || lab.verify_paths(&world, &world.run(), &slices, &options);
    let usual = claimed(&verify().report());
    let files = targets(&world, &slices);
    let mut random = Random(seed);
    let (mut refused, mut rejected, mut same) = (0, 0, 0);
    for n in 0..flips {
        let file = &files[random.below(files.len())];
        let good = fs::read(file).expect("a file");
        let mut bad = good.clone();
        let (at, bit) = (random.below(good.len()), random.below(8));
        bad[at] ^= 1 << bit;
        fs::write(file, &bad).expect("a write");
        let outcome = verify();
        fs::write(file, &good).expect("a write");
        let place = || {
            let relative = file.strip_prefix(world.root()).unwrap_or(file);
            format!(
                "flip {n} of seed {seed}, {backend}: bit {bit} of byte {at} of {}",
                relative.display()
            )
        };
        assert!(
            !outcome.words().contains("could not judge its proof"),
            "{}: the backend did not decide\n{}",
            place(),
            outcome.words()
        );
        match &outcome {
            Outcome::Refused(_) => {
                assert!(outcome.failed(), "{}: {}", place(), outcome.words());
                refused += 1;
            }
            Outcome::Judged(r) if !r.accepted => rejected += 1,
            Outcome::Judged(r) => {
                assert_eq!(claimed(r), usual, "{}: another claim is accepted", place());
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                assert!(
                    name.ends_with(".json") || packed && file == &slices,
                    "{}: a flip in data is accepted",
                    place()
                );
                same += 1;
            }
        }
    }
    assert_eq!(claimed(&verify().report()), usual, "all is as it was");
    println!("refused {refused}, not accepted {rejected}, without meaning {same}");
    assert!(refused + rejected > same, "most bits carry meaning");
}

pub fn flips_over_proven_slices() {
    let n = setting("DSPERSE_FLIPS", 2400);
    campaign("sumcheck", false, n / 2, setting("DSPERSE_SEED", 1));
}

pub fn flips_over_a_packed_bundle() {
    let n = setting("DSPERSE_FLIPS", 2400);
    campaign("sumcheck", true, n / 4, setting("DSPERSE_SEED", 2));
}

pub fn flips_over_recomputed_slices() {
    let n = setting("DSPERSE_FLIPS", 2400);
    campaign("onnx", false, n / 4, setting("DSPERSE_SEED", 3));
}
