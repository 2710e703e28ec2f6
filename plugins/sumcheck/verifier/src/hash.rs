//! The hash of the Merkle trees: BLAKE3, cut to 28 bytes.
//!
//! Digests are most of an opening, and proofs claim about 100 bits of security;
//! 224 bits leave 112 against collisions. The Fiat-Shamir sponge uses the whole
//! 32 bytes.

use std::sync::OnceLock;

use p3_symmetric::CryptographicHasher;

/// Bytes of a Merkle digest.
pub const DIGEST_BYTES: usize = 28;

/// A Merkle root.
pub type Root = [u8; DIGEST_BYTES];

/// Writes the digests of the first messages of a length, and returns of how many.
pub type HashMany = fn(messages: &[u8], len: usize, digests: &mut [[u8; 32]]) -> usize;

/// A prover's way of hashing many messages at once.
static MANY: OnceLock<HashMany> = OnceLock::new();

/// Brings a way of hashing many messages at once, with BLAKE3's results. A prover makes Merkle
/// trees with it and searches proofs of work; a verifier hashes one message after the other and
/// never uses it.
pub fn hash_many_with(many: HashMany) {
    // The first stays: all have the same results.
    let _ = MANY.set(many);
}

/// BLAKE3.
#[derive(Clone, Copy, Debug)]
pub struct Blake3;

impl CryptographicHasher<u8, [u8; 32]> for Blake3 {
    const LANES: usize = <p3_blake3::Blake3 as CryptographicHasher<u8, [u8; 32]>>::LANES;
    const PREFER_CONTIGUOUS_INPUT: bool =
        <p3_blake3::Blake3 as CryptographicHasher<u8, [u8; 32]>>::PREFER_CONTIGUOUS_INPUT;

    fn hash_iter<I>(&self, input: I) -> [u8; 32]
    where
        I: IntoIterator<Item = u8>,
    {
        p3_blake3::Blake3.hash_iter(input)
    }

    fn hash_iter_slices<'a, I>(&self, input: I) -> [u8; 32]
    where
        I: IntoIterator<Item = &'a [u8]>,
    {
        p3_blake3::Blake3.hash_iter_slices(input)
    }

    fn hash_many(&self, input: &[u8], out: &mut [[u8; 32]]) {
        let len = input.len() / out.len().max(1);
        let done = MANY.get().map_or(0, |many| many(input, len, out));
        p3_blake3::Blake3.hash_many(&input[done * len..], &mut out[done..]);
    }
}

/// BLAKE3 with its output cut to [`DIGEST_BYTES`].
#[derive(Clone, Copy, Debug)]
pub struct ShortBlake3;

fn short(digest: [u8; 32]) -> Root {
    std::array::from_fn(|i| digest[i])
}

impl CryptographicHasher<u8, Root> for ShortBlake3 {
    const LANES: usize = <Blake3 as CryptographicHasher<u8, [u8; 32]>>::LANES;
    const PREFER_CONTIGUOUS_INPUT: bool =
        <Blake3 as CryptographicHasher<u8, [u8; 32]>>::PREFER_CONTIGUOUS_INPUT;

    fn hash_iter<I>(&self, input: I) -> Root
    where
        I: IntoIterator<Item = u8>,
    {
        short(Blake3.hash_iter(input))
    }

    fn hash_iter_slices<'a, I>(&self, input: I) -> Root
    where
        I: IntoIterator<Item = &'a [u8]>,
    {
        short(Blake3.hash_iter_slices(input))
    }

    fn hash_many(&self, input: &[u8], out: &mut [Root]) {
        let mut whole = vec![[0; 32]; out.len()];
        Blake3.hash_many(input, &mut whole);
        for (o, w) in out.iter_mut().zip(whole) {
            *o = short(w);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Messages that [`first_two`] was given.
    static GIVEN: AtomicUsize = AtomicUsize::new(0);

    /// Hashes two messages if there are as many, as a prover's way may do only some.
    fn first_two(messages: &[u8], len: usize, digests: &mut [[u8; 32]]) -> usize {
        GIVEN.fetch_add(digests.len(), Ordering::Relaxed);
        assert_eq!(messages.len(), len * digests.len());
        let done = digests.len().min(2);
        for (message, digest) in messages.chunks(len).zip(&mut digests[..done]) {
            *digest = Blake3.hash_slice(message);
        }
        done
    }

    #[test]
    fn one_by_one_and_many_agree() {
        hash_many_with(first_two);
        let input: Vec<u8> = (0..5 * 56).map(|i| i as u8).collect();
        let mut many = [[0; DIGEST_BYTES]; 5];
        ShortBlake3.hash_many(&input, &mut many);
        for (chunk, digest) in input.chunks(56).zip(many) {
            assert_eq!(ShortBlake3.hash_slice(chunk), digest);
            assert_eq!(ShortBlake3.hash_iter(chunk.iter().copied()), digest);
        }
        assert!(GIVEN.load(Ordering::Relaxed) >= 5);
    }
}
