//! The verifier of the sumcheck backend on hostile bytes: no panic gets out, and
//! nothing but the untouched fixture is accepted.
//!
//! The first byte chooses what is hostile: the key, the proof, both as they
//! come, or the fixture with patches. A patch is three bytes: position (16 bits,
//! scaled to the length) and what to add.
#![no_main]

use dsperse_sumcheck_verifier::key::VerifyingKey;
use dsperse_sumcheck_verifier::program::Tensor;
use dsperse_sumcheck_verifier::proof::Proof;
use dsperse_sumcheck_verifier::verify;
use libfuzzer_sys::fuzz_target;

const KEY: &[u8] =
    include_bytes!("../../plugins/sumcheck/verifier/tests/fixture/v2/key.bin");
const PROOF: &[u8] =
    include_bytes!("../../plugins/sumcheck/verifier/tests/fixture/v2/proof.bin");
const INPUTS: &str =
    include_str!("../../plugins/sumcheck/verifier/tests/fixture/v2/inputs.txt");
const OUTPUTS: &str =
    include_str!("../../plugins/sumcheck/verifier/tests/fixture/v2/outputs.txt");

fn tensors(text: &str) -> Vec<Tensor> {
    let words = |s: &str| -> Vec<i64> {
        s.split_whitespace().filter_map(|w| w.parse().ok()).collect()
    };
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(shape, data)| Tensor {
            shape: words(shape).into_iter().map(|d| d as usize).collect(),
            data: words(data),
        })
        .collect()
}

fn patched(original: &[u8], patches: &[u8]) -> Vec<u8> {
    let mut out = original.to_vec();
    for patch in patches.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([patch[0], patch[1]])) * out.len() / 65536;
        out[at] = out[at].wrapping_add(patch[2]);
    }
    out
}

fuzz_target!(|data: &[u8]| {
    let Some((&mode, rest)) = data.split_first() else { return };
    let context: [u8; 32] = std::array::from_fn(|i| i as u8);
    let (key, proof) = match mode % 5 {
        0 => (rest.to_vec(), PROOF.to_vec()),
        1 => (KEY.to_vec(), rest.to_vec()),
        2 => {
            let (key, proof) = rest.split_at(rest.len() / 2);
            (key.to_vec(), proof.to_vec())
        }
        3 => (patched(KEY, rest), PROOF.to_vec()),
        _ => (KEY.to_vec(), patched(PROOF, rest)),
    };
    // Not under the net that `verify` has: a panic while reading is a finding.
    if let Ok(key) = VerifyingKey::from_bytes(&key) {
        let _ = Proof::from_bytes(&proof, &key);
    }
    let got = verify(&key, &context, &tensors(INPUTS), &tensors(OUTPUTS), &proof);
    assert_eq!(got.is_ok(), key == KEY && proof == PROOF);
});
