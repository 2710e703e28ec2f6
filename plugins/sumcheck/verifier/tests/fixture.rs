//! Proofs that were made once: those of the current protocol must verify for ever, those of
//! earlier ones must be refused with a word of what to do.

use dsperse_sumcheck_verifier::bytes::EF_BYTES;
use dsperse_sumcheck_verifier::key::{KeyError, VerifyingKey};
use dsperse_sumcheck_verifier::layout::WeightRanges;
use dsperse_sumcheck_verifier::proof::{MAX_MESSAGES, Proof};
use dsperse_sumcheck_verifier::{Reject, verify};

#[path = "common/tensors.rs"]
mod read;

use read::tensors;

#[test]
fn version_1_is_refused_with_what_to_do() {
    // Its keys bind a list of weights and not one.
    let key = include_bytes!("fixture/v1/key.bin");
    let proof = include_bytes!("fixture/v1/proof.bin");
    let inputs = tensors(include_str!("fixture/v1/inputs.txt"));
    let outputs = tensors(include_str!("fixture/v1/outputs.txt"));
    let context: [u8; 32] = std::array::from_fn(|i| i as u8);
    let got = verify(key, &context, &inputs, &outputs, proof);
    let version = KeyError::Version { found: 1 };
    assert_eq!(got, Err(Reject::Key(version)));
    assert!(
        got.unwrap_err()
            .to_string()
            .contains("compile the slice again")
    );
    let key = VerifyingKey::from_bytes(include_bytes!("fixture/v2/key.bin")).expect("a key");
    let got = Proof::from_bytes(proof, &key).err().expect("refused");
    assert!(got.to_string().contains("prove the slice again"), "{got}");
}

#[test]
fn version_2_proof_still_verifies() {
    still_verifies(
        include_bytes!("fixture/v2/key.bin"),
        include_bytes!("fixture/v2/proof.bin"),
    );
}

/// The same slice with a key that shows the weights' ranges.
#[test]
fn proof_of_a_version_3_key_still_verifies() {
    let key = include_bytes!("fixture/v3/key.bin");
    still_verifies(key, include_bytes!("fixture/v3/proof.bin"));
    let mut other = VerifyingKey::from_bytes(key).expect("a key");
    assert_eq!(other.parameters.ranges, WeightRanges::Key);
    let last = other.range_proof.len() - 1;
    other.range_proof[last] ^= 1;
    let inputs = tensors(include_str!("fixture/v2/inputs.txt"));
    let outputs = tensors(include_str!("fixture/v2/outputs.txt"));
    let context: [u8; 32] = std::array::from_fn(|i| i as u8);
    let proof = include_bytes!("fixture/v3/proof.bin");
    let got = verify(&other.to_bytes(), &context, &inputs, &outputs, proof);
    assert!(matches!(got, Err(Reject::Ranges(_))), "{got:?}");
}

fn still_verifies(key: &[u8], proof: &[u8]) {
    let inputs = tensors(include_str!("fixture/v2/inputs.txt"));
    let mut outputs = tensors(include_str!("fixture/v2/outputs.txt"));
    let mut context: [u8; 32] = std::array::from_fn(|i| i as u8);
    assert_eq!(verify(key, &context, &inputs, &outputs, proof), Ok(()));
    // Not much more than the messages that any proof may have, and its openings.
    let parsed = VerifyingKey::from_bytes(key).expect("a key");
    let most = Proof::max_bytes(&parsed).expect("a limit");
    let messages = MAX_MESSAGES * EF_BYTES;
    assert!(
        proof.len() <= most && most > messages && most < 2 * messages,
        "{most}"
    );
    context[0] = 1;
    let got = verify(key, &context, &inputs, &outputs, proof);
    assert!(matches!(got, Err(Reject::Proof(_))), "{got:?}");
    context[0] = 0;
    outputs[0].data[0] += 1;
    let got = verify(key, &context, &inputs, &outputs, proof);
    assert!(matches!(got, Err(Reject::Proof(_))), "{got:?}");
}
