//! The transcript is what docs/sumcheck-protocol.md says, byte for byte: a script that shares
//! no code with this crate recomputes its challenges for a stored proof.

use std::path::Path;
use std::process::Command;

use dsperse_sumcheck_verifier::commit::{EF, F};
use dsperse_sumcheck_verifier::key::VerifyingKey;
use dsperse_sumcheck_verifier::proof::Proof;
use dsperse_sumcheck_verifier::verify::{PublicTensors, RANGES, start};
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

/// What the anchor and the proof draw, as the script has it for a folder.
fn drawn_by_the_script(folder: &Path, variables: usize, context: &[u8; 32]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/transcript.py");
    let hex: String = context.iter().map(|b| format!("{b:02x}")).collect();
    let out = Command::new("python3")
        .arg(script)
        .arg(folder)
        .arg(variables.to_string())
        .arg(hex)
        .output()
        .expect("python3 is needed for this test; install it");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
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
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture/v2");
    assert_eq!(drawn_by_the_script(&folder, variables, &context), drawn);
}

/// The proof in a key of format 3 is one under a key of format 2 with the same anchor.
#[test]
fn the_proof_in_a_key_has_the_transcript_of_the_weights_program() {
    let key = VerifyingKey::from_bytes(include_bytes!("fixture/v3/key.bin")).expect("a key");
    let alone = key.of_weights().expect("a key");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("weights-program");
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.join(name), bytes).expect("the file can be written");
    };
    write("key.bin", &alone.to_bytes());
    write("proof.bin", &key.range_proof);
    write("inputs.txt", b"");
    write("outputs.txt", b"");
    let root = key.weights.expect("weights").root;
    let mut challenges = key.anchor_point(&root);
    assert_eq!(challenges, alone.anchor_point(&root));
    let variables = challenges.len();
    let proof = Proof::from_bytes(&key.range_proof, &alone).expect("a proof");
    let public = PublicTensors::new(&alone, &[], &[]).expect("none");
    challenges.extend(start(&alone, RANGES, &public, &proof.root).challenges(2));
    let drawn = drawn_by_the_script(&folder, variables, RANGES);
    assert_eq!(drawn, lines(&challenges));
}
