//! The Fiat-Shamir transcript, and the flat list of field elements that the
//! prover sends through it.
//!
//! Both sides walk the same protocol: what the prover sends is absorbed and
//! appended to the list; the verifier reads the list in the same order and
//! absorbs the same elements. There are no lengths in that list: every count
//! follows from the verifying key.

use p3_challenger::{CanObserve, CanSample};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing};
use p3_symmetric::CryptographicHasher;

use crate::commit::{Challenger, EF, F};
use crate::fault::ProofFault;
use crate::hash::Blake3;
use crate::sponge::Sponge;

/// Something that can absorb and give challenges.
pub struct Transcript {
    challenger: Challenger,
}

impl Transcript {
    /// Starts a transcript under a protocol label.
    pub fn new(label: &[u8]) -> Self {
        let mut t = Self {
            challenger: Challenger::new(Sponge::new(label.to_vec())),
        };
        t.absorb_bytes(b"label", label);
        t
    }

    /// Absorbs bytes under a name. Both are bound by length: the sponge gets
    /// the name's length and bytes, the data's length and its BLAKE3 digest.
    pub fn absorb_bytes(&mut self, name: &[u8], data: &[u8]) {
        let word = |n: usize| F::from_u64(n as u64);
        self.challenger.observe(word(name.len()));
        for &b in name {
            self.challenger.observe(F::from_u8(b));
        }
        self.challenger.observe(word(data.len()));
        let digest: [u8; 32] = Blake3.hash_iter(data.iter().copied());
        for b in digest {
            self.challenger.observe(F::from_u8(b));
        }
    }

    /// Absorbs one element of the challenge field.
    pub fn absorb(&mut self, x: EF) {
        let coefficients: &[F] = x.as_basis_coefficients_slice();
        for &c in coefficients {
            self.challenger.observe(c);
        }
    }

    /// Draws one challenge.
    pub fn challenge(&mut self) -> EF {
        self.challenger.sample()
    }

    /// Draws `n` challenges.
    pub fn challenges(&mut self, n: usize) -> Vec<EF> {
        (0..n).map(|_| self.challenge()).collect()
    }

    /// The underlying sponge, for the commitment scheme.
    pub fn challenger(&mut self) -> &mut Challenger {
        &mut self.challenger
    }
}

/// The verifier's end: a transcript and the messages still to be read.
pub struct Reader<'a> {
    /// The sponge.
    pub transcript: Transcript,
    messages: &'a [EF],
}

impl<'a> Reader<'a> {
    /// Reads `messages` through `transcript`.
    pub fn new(transcript: Transcript, messages: &'a [EF]) -> Self {
        Self {
            transcript,
            messages,
        }
    }

    /// The next message, absorbed.
    pub fn receive(&mut self) -> Result<EF, ProofFault> {
        let (&first, rest) = self
            .messages
            .split_first()
            .ok_or(ProofFault::TooFewMessages)?;
        self.messages = rest;
        self.transcript.absorb(first);
        Ok(first)
    }

    /// The next `n` messages, absorbed.
    pub fn receive_many(&mut self, n: usize) -> Result<Vec<EF>, ProofFault> {
        (0..n).map(|_| self.receive()).collect()
    }

    /// Ends the reading; an error when messages are left.
    pub fn finish(self) -> Result<Transcript, ProofFault> {
        if self.messages.is_empty() {
            Ok(self.transcript)
        } else {
            Err(ProofFault::TooManyMessages(self.messages.len()))
        }
    }
}

/// Checks a sumcheck of `rounds` rounds and `degree`: returns the point (in the
/// order of the variables, so the last drawn challenge first) and the value
/// that the summand must have there. Lund et al. 1992; each round sends the
/// values at 0, 2, .., degree, and the value at 1 follows from the claim, (T2).
pub fn verify_sumcheck(
    reader: &mut Reader<'_>,
    mut claim: EF,
    rounds: usize,
    degree: usize,
) -> Result<(Vec<EF>, EF), ProofFault> {
    let mut point = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let mut values = reader.receive_many(degree)?;
        values.insert(1, claim - values[0]);
        let r = reader.transcript.challenge();
        claim = interpolate(&values, r);
        point.push(r);
    }
    point.reverse();
    Ok((point, claim))
}

/// The value at `r` of the polynomial with the given values at 0, 1, 2, ….
pub fn interpolate(values: &[EF], r: EF) -> EF {
    // Newton's forward differences: exact, and without inversions of r - i.
    let mut differences = values.to_vec();
    let (mut result, mut binomial) = (EF::ZERO, EF::ONE);
    for k in 0..values.len() {
        if k > 0 {
            binomial *= r - EF::from_u64(k as u64 - 1);
            binomial *= INVERSES[k];
        }
        result += differences[0] * binomial;
        for i in 0..differences.len() - 1 {
            differences[i] = differences[i + 1] - differences[i];
        }
        differences.pop();
    }
    result
}

/// 1/k in the base field for small k, as field elements.
static INVERSES: std::sync::LazyLock<[F; 16]> = std::sync::LazyLock::new(|| {
    std::array::from_fn(|k| p3_field::Field::try_inverse(&F::from_u64(k as u64)).unwrap_or(F::ZERO))
});
