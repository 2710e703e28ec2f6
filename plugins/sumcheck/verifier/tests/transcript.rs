//! The transcript is what docs/sumcheck-protocol.md says, byte for byte: a script that shares
//! no code with this crate recomputes its challenges for a stored proof.

use std::path::Path;
use std::process::Command;

use dsperse_sumcheck_verifier::commit::{EF, F};
use dsperse_sumcheck_verifier::key::VerifyingKey;
use dsperse_sumcheck_verifier::proof::Proof;
use dsperse_sumcheck_verifier::verify::{PublicTensors, start};
use p3_field::{BasedVectorSpace, PrimeField64};

#[path = "common/tensors.rs"]
mod read;

/// One line for each element: its coefficients.
fn lines(challenges: &[EF]) -> String {
    challenges
        .iter()
        .map(|c| {
            let words: &[F] = c.as_basis_coefficients_slice();
            let words: Vec<String> = words
                .iter()
                .map(|w| w.as_canonical_u64().to_string())
                .collect();
            words.join(" ") + "\n"
        })
        .collect()
}

#[test]
fn an_independent_script_draws_the_same_challenges() {
    let key = VerifyingKey::from_bytes(include_bytes!("fixture/v2/key.bin")).expect("a key");
    let proof = Proof::from_bytes(include_bytes!("fixture/v2/proof.bin"), &key).expect("a proof");
    let inputs = read::tensors(include_str!("fixture/v2/inputs.txt"));
    let outputs = read::tensors(include_str!("fixture/v2/outputs.txt"));
    let public = PublicTensors::new(&key, &inputs, &outputs).expect("they fit");
    let context: [u8; 32] = std::array::from_fn(|i| i as u8);
    let mut challenges = key.anchor_point(&key.weights.expect("weights").root);
    let variables = challenges.len();
    let mut transcript = start(&key, &context, &public, &proof.root);
    challenges.extend(transcript.challenges(2));
    let drawn = lines(&challenges);
    assert_eq!(drawn, include_str!("fixture/v2/challenges.txt"));

    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let out = Command::new("python3")
        .arg(tests.join("vectors/transcript.py"))
        .arg(tests.join("fixture/v2"))
        .arg(variables.to_string())
        .output()
        .expect("python3 is needed for this test; install it");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&out.stdout), drawn);
}
