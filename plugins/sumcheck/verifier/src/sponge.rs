//! The Fiat-Shamir sponge: BLAKE3 over bytes.
//!
//! It is the library's, but for one thing: a search for a proof of work takes the smallest number
//! that passes, on however many threads it runs, so that a statement has one proof.

use p3_challenger::{ByteGrindingChallenger, CanObserve, CanSample, HashChallenger};

use crate::hash::Blake3;

/// Numbers that are tried before it is asked whether one passed: with 16 bits of work, one in
/// eight such windows has one.
const WINDOW: u64 = 1 << 13;

/// A sponge that absorbs and gives bytes.
#[derive(Clone)]
pub struct Sponge(HashChallenger<u8, Blake3, 32>);

impl Sponge {
    /// A sponge that has absorbed these bytes.
    pub fn new(absorbed: Vec<u8>) -> Self {
        Self(HashChallenger::new(absorbed, Blake3))
    }
}

impl CanObserve<u8> for Sponge {
    fn observe(&mut self, value: u8) {
        self.0.observe(value);
    }

    fn observe_slice(&mut self, values: &[u8]) {
        self.0.observe_slice(values);
    }
}

impl CanSample<u8> for Sponge {
    fn sample(&mut self) -> u8 {
        self.0.sample()
    }
}

impl ByteGrindingChallenger for Sponge {
    fn find_witness<const W: usize, const S: usize>(
        &self,
        num_candidates: u64,
        encode: impl Fn(u64) -> [u8; W] + Sync,
        accepts: impl Fn([u8; S]) -> bool + Sync,
    ) -> Option<u64> {
        let any = |from: u64, count: u64| {
            let found = self.0.find_witness(count, |i| encode(from + i), &accepts);
            found.map(|i| from + i)
        };
        let mut from = 0;
        while from < num_candidates {
            let count = WINDOW.min(num_candidates - from);
            if let Some(mut found) = any(from, count) {
                while let Some(smaller) = any(from, found - from) {
                    found = smaller;
                }
                return Some(found);
            }
            from += count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_number_that_passes_is_found() {
        // About one in 500 passes, several in a window, and one in 16,000, in a later window.
        for (seed, most) in (0..20).map(|i| (i, [131, 4][usize::from(i) / 16])) {
            let sponge = Sponge::new(vec![seed]);
            let accepts = |b: [u8; 2]| u16::from_le_bytes(b) < most;
            let passes = |i: u64| {
                let mut sponge = sponge.clone();
                sponge.observe_slice(&i.to_le_bytes());
                accepts(sponge.sample_array())
            };
            let found = sponge.find_witness(1 << 20, u64::to_le_bytes, accepts);
            assert_eq!(found, (0..1 << 20).find(|&i| passes(i)));
            // The last number of a later window is found, and none after it.
            let last = WINDOW + 5;
            let mut passing = sponge.clone();
            passing.observe_slice(&last.to_le_bytes());
            let passing: [u8; 8] = passing.sample_array();
            let search = |n| sponge.find_witness(n, u64::to_le_bytes, |b: [u8; 8]| b == passing);
            assert_eq!((search(last), search(last + 1)), (None, Some(last)));
        }
    }
}
