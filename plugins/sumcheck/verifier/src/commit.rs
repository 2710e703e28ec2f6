//! The polynomial commitment: WHIR (eprint 2024/1586) over Goldilocks with its
//! cubic extension, BLAKE3 Merkle trees, in the Johnson-bound regime.
//!
//! A commitment holds one multilinear polynomial, the *stack*, in which every
//! committed column is an aligned block. It is opened once, at one point, which
//! the caller's own sumcheck has reduced all claims to. The library's
//! `open_at` and `verify_at` absorb neither the commitment nor the point; the
//! callers here absorb the commitment before any challenge and take the point
//! from challenges only.

use p3_challenger::SerializingChallenger64;
use p3_commit::MultilinearPcs;
use p3_dft::{Radix2DFTSmallBatch, TwoAdicSubgroupDft};
use p3_field::extension::CubicTrinomialExtensionField;
use p3_goldilocks::Goldilocks;
use p3_merkle_tree::MerkleTreeMmcs;
use p3_multilinear_util::point::Point;
use p3_sumcheck::layout::PrefixProver;
use p3_sumcheck::{
    OpeningBatch, OpeningProtocol, PrescribedOpeningSecurity, PrescribedPointPcs, TableShape,
    TableSpec,
};
use p3_symmetric::{CompressionFunctionFromHasher, SerializingHasher};
use p3_whir::parameters::{FoldingFactor, ProtocolParameters, SecurityAssumption, WhirConfig};
use p3_whir::pcs::prover::WhirProver;

use crate::fault::{CommitError, ProofFault};
use crate::hash::{DIGEST_BYTES, ShortBlake3};
use crate::sponge::Sponge;

/// The base field, p = 2^64 - 2^32 + 1.
pub type F = Goldilocks;
/// The challenge field, of about 2^192 elements.
pub type EF = CubicTrinomialExtensionField<F>;
/// The Fiat-Shamir sponge over elements of the base field.
pub type Challenger = SerializingChallenger64<F, Sponge>;
type FieldHash = SerializingHasher<ShortBlake3>;
type Compress = CompressionFunctionFromHasher<ShortBlake3, 2, DIGEST_BYTES>;
type FieldMmcs = MerkleTreeMmcs<F, u8, FieldHash, Compress, 2, DIGEST_BYTES>;
type Dft = Radix2DFTSmallBatch<F>;
/// The library's commitment scheme with these parts. Which Fourier transform it is given changes
/// no result; a verifier needs none.
pub type Pcs<D = Dft> = WhirProver<EF, F, D, FieldMmcs, Challenger, PrefixProver<F, EF>>;
/// A Merkle root.
pub type Commitment = <Pcs as MultilinearPcs<EF, Challenger>>::Commitment;
/// What the prover keeps to open a commitment.
pub type ProverData = <Pcs as MultilinearPcs<EF, Challenger>>::ProverData;
/// An opening proof.
pub type Opening = <Pcs as MultilinearPcs<EF, Challenger>>::Proof;

/// Variables folded in the first round, for a stack of `num_vars`: chosen such
/// that rounds of three end at the 6 variables that are sent in the clear,
/// which makes the shortest proofs.
pub fn first_fold(num_vars: usize) -> usize {
    4 + (num_vars + 2) % 3
}

/// Variables folded in every later round.
pub const FOLDING: usize = 3;
/// Fewest variables of a stack.
pub const MIN_STACK: usize = 8;
/// Most variables of a stack.
pub const MAX_STACK: usize = 26;
/// Most rate bits of a commitment.
pub const MAX_LOG_INV_RATE: usize = 6;
/// The target of each error term of an opening, in bits.
pub const SECURITY_LEVEL: usize = 104;
/// Bits of grinding at most.
pub const GRINDING_BITS: usize = 16;

/// The rate bits that a compiler should choose for a stack of `num_vars`: small
/// stacks can afford long codewords, which make short proofs; weights more so,
/// because they are committed once.
pub fn default_rate(num_vars: usize, is_weight: bool) -> u8 {
    match num_vars {
        0..=16 => 5,
        17 if is_weight => 5,
        17 => 4,
        18..=19 => 3,
        20..=21 => 2,
        _ => 1,
    }
}

/// The commitment scheme for a stack of `num_vars` variables at rate
/// `2^-log_inv_rate`; an error for sizes outside the supported ones.
pub fn pcs<D>(num_vars: usize, log_inv_rate: usize) -> Result<Pcs<D>, CommitError>
where
    D: TwoAdicSubgroupDft<F> + Sync,
{
    if !(MIN_STACK..=MAX_STACK).contains(&num_vars) {
        return Err(CommitError::Variables(num_vars));
    }
    if !(1..=MAX_LOG_INV_RATE).contains(&log_inv_rate) {
        return Err(CommitError::Rate(log_inv_rate));
    }
    let refused = |e: &dyn std::fmt::Display| CommitError::Library(e.to_string());
    let folding_factor = FoldingFactor::ConstantFromSecondRound(first_fold(num_vars), FOLDING);
    let schedule = folding_factor
        .compute_folding_schedule(num_vars)
        .map_err(|e| refused(&e))?;
    // At most `step - 1` bits more per round are possible (then the domain only
    // halves). Small stacks go to 7 bits at once; for large ones the first step
    // is a single bit, which keeps the later codewords, over the extension
    // field, small beside the first.
    let first = if num_vars > 17 {
        1
    } else {
        7usize.saturating_sub(log_inv_rate).max(1)
    };
    let mut rate = log_inv_rate;
    let mut round_log_inv_rates = Vec::new();
    for (i, &step) in schedule
        .iter()
        .take(schedule.len().saturating_sub(1))
        .enumerate()
    {
        rate += (step - 1).min(if i == 0 { first } else { 2 });
        round_log_inv_rates.push(rate);
    }
    let params = ProtocolParameters {
        security_level: SECURITY_LEVEL,
        pow_bits: GRINDING_BITS,
        round_log_inv_rates,
        folding_factor,
        soundness_type: SecurityAssumption::JohnsonBound,
        starting_log_inv_rate: log_inv_rate,
    };
    let config = WhirConfig::new(num_vars, params).map_err(|e| refused(&e))?;
    let mmcs = FieldMmcs::new(FieldHash::new(ShortBlake3), Compress::new(ShortBlake3), 0);
    Ok(Pcs::new(config, D::default(), mmcs))
}

/// Most bytes of an opening of a stack of `num_vars` variables: every list at its full
/// length, nothing shared between the paths of a round's queries, and every field element in
/// its longest encoding.
///
/// # Errors
/// For sizes outside the supported ones.
pub fn max_opening_bytes(num_vars: usize, log_inv_rate: usize) -> Result<usize, CommitError> {
    // The encoding has variable-length integers: up to 10 bytes for 64 bits.
    const WORD: usize = 10;
    const ELEMENT: usize = 3 * WORD;
    let scheme: Pcs = pcs(num_vars, log_inv_rate)?;
    let rounds = scheme.round_parameters();
    let schedule = scheme.folding_schedule();
    let fold = |i: usize| schedule.get(i).copied().unwrap_or(FOLDING);
    // A row of the initial codeword is in the base field, later ones in the extension.
    let queries = |round: usize, count: usize, log_height: usize| {
        let element = if round == 0 { WORD } else { ELEMENT };
        let row = WORD + (element << fold(round));
        let path = log_height * (DIGEST_BYTES + WORD);
        4 * WORD + count * (row + path)
    };
    let sumcheck = num_vars * (2 * ELEMENT + WORD) + (rounds.len() + 2) * 2 * WORD;
    let mut bytes = 16 * WORD + sumcheck + scheme.commitment_ood_samples() * ELEMENT;
    for (i, round) in rounds.iter().enumerate() {
        bytes += 4 * WORD + DIGEST_BYTES + round.ood_samples * ELEMENT;
        bytes += queries(i, round.num_queries, round.log_folded_domain_size);
    }
    let last = scheme.final_round_config();
    bytes += queries(
        rounds.len(),
        scheme.terminal().num_queries,
        last.log_folded_domain_size,
    );
    let folded: usize = (0..=rounds.len()).map(fold).sum();
    let clear = num_vars.saturating_sub(folded);
    Ok(bytes + (ELEMENT << clear) + 2 * ELEMENT)
}

/// One column, opened at one point.
pub fn protocol(num_vars: usize) -> OpeningProtocol {
    OpeningProtocol::new(vec![TableSpec::new(
        TableShape::new(num_vars, 1),
        vec![OpeningBatch::new(vec![0], vec![])],
    )])
}

/// The library's own account of one opening's soundness.
pub fn security(
    num_vars: usize,
    log_inv_rate: usize,
) -> Result<PrescribedOpeningSecurity, CommitError> {
    pcs::<Dft>(num_vars, log_inv_rate)?
        .prescribed_security(&protocol(num_vars))
        .ok_or(CommitError::NoBound)
}

/// Checks that the stack behind `commitment` has `value` at `point`, (C2). The
/// challenger must already have absorbed the commitment, and `point` must come
/// from its challenges.
pub fn verify_opening(
    pcs: &Pcs,
    commitment: &Commitment,
    point: &[EF],
    value: EF,
    opening: &Opening,
    challenger: &mut Challenger,
) -> Result<(), ProofFault> {
    let protocol = protocol(point.len());
    let opened = pcs
        .verify_at(
            commitment,
            opening,
            &protocol,
            &[Point::new(point.to_vec())],
            challenger,
        )
        .map_err(|e| ProofFault::Opening(e.to_string()))?;
    // The library returns the values that the proof carries; they are bound to
    // the commitment, but only this comparison binds them to our claim.
    match opened.as_slice() {
        [batch] if batch.current() == [value] && batch.next().is_empty() => Ok(()),
        _ => Err(ProofFault::OpenedValue),
    }
}

#[cfg(test)]
mod tests {
    use p3_field::PrimeCharacteristicRing;
    use p3_matrix::dense::RowMajorMatrix;
    use p3_sumcheck::layout::{Layout as _, Table};

    use super::*;
    use crate::mle::evaluate;

    fn sponge() -> Challenger {
        Challenger::new(Sponge::new(vec![]))
    }

    /// The library binds an opening to a value; that it is the claimed one is our check.
    #[test]
    fn an_opening_is_of_the_claimed_value_at_the_claimed_point() {
        let stack: Vec<i64> = (0..1 << MIN_STACK).map(|i| i * i % 97 - 40).collect();
        let values = stack.iter().map(|&x| F::from_i64(x)).collect();
        let table = Table::new(RowMajorMatrix::new(values, 1 << MIN_STACK));
        let witness = PrefixProver::<F, EF>::new_witness(vec![table], first_fold(MIN_STACK));
        let scheme: Pcs = pcs(MIN_STACK, 3).expect("supported");
        let (commitment, data) = scheme.commit(witness, &mut sponge()).expect("commits");
        let point: Vec<EF> = (5..).map(EF::from_u64).take(MIN_STACK).collect();
        let shape = protocol(MIN_STACK);
        let points = [Point::new(point.clone())];
        let opening = scheme.open_at(data, &shape, &points, &mut sponge());
        let opening = opening.expect("opens");
        let verify = |commitment, point: &[EF], value| {
            verify_opening(&scheme, commitment, point, value, &opening, &mut sponge())
        };
        let value = evaluate(&stack, &[stack.len()], &point);
        assert_eq!(verify(&commitment, &point, value), Ok(()));
        let other = verify(&commitment, &point, value + EF::ONE);
        assert_eq!(other, Err(ProofFault::OpenedValue));
        let elsewhere: Vec<EF> = point.iter().map(|&x| x + EF::ONE).collect();
        let zero = Commitment::new(vec![[0; DIGEST_BYTES]]);
        for refused in [
            verify(&commitment, &elsewhere, value),
            verify(&zero, &point, value),
        ] {
            assert!(
                matches!(refused, Err(ProofFault::Opening(_))),
                "{refused:?}"
            );
        }
    }

    /// Keys of one program are the same ones only as long as this stays.
    #[test]
    fn rates_follow_from_sizes() {
        let sizes = [8, 16, 17, 18, 19, 20, 21, 22, 26];
        let rates = |is_weight| sizes.map(|n| default_rate(n, is_weight));
        assert_eq!(rates(false), [5, 5, 4, 3, 3, 2, 2, 1, 1]);
        assert_eq!(rates(true), [5, 5, 5, 3, 3, 2, 2, 1, 1]);
    }

    /// Of what a round folds, one bit or more halves the domain and the rest lengthens the code.
    #[test]
    fn rounds_have_rates_that_follow_from_sizes() {
        let rates = |vars, rate| -> Vec<usize> {
            let scheme: Pcs = pcs(vars, rate).expect("supported");
            let rounds = scheme.round_parameters().iter();
            rounds.map(|r| r.log_inv_rate).collect()
        };
        let got = [(12, 1), (17, 1), (17, 4), (18, 3), (26, 1)].map(|(v, r)| rates(v, r));
        assert_eq!(
            got,
            [
                vec![],
                vec![5, 7],
                vec![7, 9],
                vec![4, 6],
                vec![2, 4, 6, 8, 10]
            ]
        );
    }

    #[test]
    fn sizes_and_rates_have_limits() {
        let refused = |vars, rate| pcs::<Dft>(vars, rate).err();
        for vars in [MIN_STACK - 1, MAX_STACK + 1] {
            assert_eq!(refused(vars, 1), Some(CommitError::Variables(vars)));
        }
        for rate in [0, MAX_LOG_INV_RATE + 1] {
            assert_eq!(refused(12, rate), Some(CommitError::Rate(rate)));
        }
        let accepted = [
            (MIN_STACK, 5),
            (MAX_STACK, 1),
            (12, 1),
            (12, MAX_LOG_INV_RATE),
        ];
        for (vars, rate) in accepted {
            assert_eq!(refused(vars, rate), None);
        }
    }
}
