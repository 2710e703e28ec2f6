//! Proving keys that a worker keeps between jobs. The commitment to the weights takes a
//! tenth to a third of a proof and is the same for every input, so the second proof of a slice
//! in the same worker (a batch of inputs) does not make it again.
//!
//! A key is the right one when the verifying key, which holds the program and the commitment,
//! and the weights are the same; so a job is answered as it would be in a new process.

use dsperse_sumcheck_prover::{ProvingKey, memory};
use dsperse_sumcheck_verifier::key::VerifyingKey;
use dsperse_sumcheck_verifier::program::Tensor;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What all keys together may take, in bytes: little beside the memory of a proof, since the
/// host counts the memory of jobs and not that of idle workers.
const MOST: u64 = 256 << 20;

struct Kept {
    verifying_key: Vec<u8>,
    key: ProvingKey,
}

/// The longest unused first.
static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

fn kept() -> MutexGuard<'static, Vec<Kept>> {
    // A list that a panic left behind is a whole list: nothing is changed in halves.
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the key of these bytes and weights out.
pub fn take(verifying_key: &[u8], weights: &[Tensor]) -> Option<ProvingKey> {
    let mut kept = kept();
    let same = |k: &Kept| k.verifying_key == verifying_key && k.key.weights() == weights;
    let at = kept.iter().position(same)?;
    Some(kept.remove(at).key)
}

/// Whether a key is small enough to be kept.
pub fn is_worth(key: &VerifyingKey) -> bool {
    memory(key).key <= MOST
}

/// Keeps a key; others go until all fit.
pub fn put(verifying_key: Vec<u8>, key: ProvingKey) {
    let mut kept = kept();
    kept.push(Kept { verifying_key, key });
    let bytes = |k: &Kept| memory(k.key.verifying_key()).key;
    let mut total: u64 = kept.iter().map(bytes).sum();
    while total > MOST {
        total -= bytes(&kept.remove(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_sumcheck_prover::compile;
    use dsperse_sumcheck_verifier::program::{Op, Program};

    fn key(weight: i64) -> (Vec<u8>, ProvingKey) {
        let shape = vec![4];
        let (lo, hi) = (-8, 7);
        let mut program = Program::default();
        let x = program.push(Op::Input {
            shape: shape.clone(),
            lo,
            hi,
        });
        let w = program.push(Op::Weight {
            shape: shape.clone(),
            lo,
            hi,
        });
        let sum = program.push(Op::Affine {
            terms: vec![(x, 1), (w, 1)],
            constant: 0,
        });
        program.outputs = vec![sum];
        let data = vec![weight; 4];
        let key = compile(program, vec![Tensor { shape, data }]).expect("a key");
        (key.verifying_key().to_bytes(), key)
    }

    #[test]
    fn a_key_is_found_by_its_bytes_and_weights() {
        let (bytes, one) = key(1);
        let (other_bytes, other) = key(2);
        let (weights, others) = (one.weights().to_vec(), other.weights().to_vec());
        assert!(is_worth(one.verifying_key()));
        put(bytes.clone(), one);
        put(other_bytes, other);
        assert!(take(&bytes, &others).is_none());
        let found = take(&bytes, &weights).expect("it was kept");
        assert_eq!(found.verifying_key().to_bytes(), bytes);
        assert!(take(&bytes, &weights).is_none(), "it was taken out");
    }
}
