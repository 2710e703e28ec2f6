//! The soundness of a proof, computed: the library's figures for the openings,
//! and a union bound over every challenge of ours.
//!
//! All figures are in bits, that is minus the logarithm of the probability that
//! a false statement is accepted, in the random-oracle model for BLAKE3 and with
//! the library's grinding counted as it counts it. Collisions of the hash are
//! not included: 112 bits, since Merkle digests have 28 bytes.

use crate::claims::MAX_CLAIMS;
use crate::commit::{GRINDING_BITS, MAX_STACK, MIN_STACK, default_rate, security};
use crate::fault::CommitError;
use crate::key::{KeyError, VerifyingKey};
use crate::layout::{LIMB_BITS, WeightRanges};
use crate::mle::num_vars;
use crate::program::{MAX_ELEMENTS, MAX_NODES, MAX_RANK, MAX_TABLE, Op};
use crate::verify::PROTOCOL;
use crate::zero::batch_shape;

/// Fewest bits that a key may have; others are refused.
pub const MIN_SECURITY_BITS: f64 = 100.0;

/// The soundness of the proofs of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Soundness {
    /// The whole argument, by union bound.
    pub total_bits: f64,
    /// Each opening, by the library's account: activations, then weights if there are any,
    /// then those of the proof of their ranges if the key has one.
    pub opening_bits: Vec<f64>,
    /// All our own challenges together.
    pub protocol_bits: f64,
}

/// Computes the soundness of a key's proofs. Each challenge errs with
/// probability at most (degree of the polynomial identity it tests) over the
/// field's size, for each of the candidates that the commitments leave open in
/// the list-decoding regime. Where the key shows the weights' ranges, a proof is as good as
/// both together.
///
/// # Errors
/// When the library has no figures for the key's sizes.
pub fn soundness(key: &VerifyingKey) -> Result<Soundness, KeyError> {
    let proof = of_one_proof(key)?;
    if key.parameters.ranges == WeightRanges::Proof {
        return Ok(proof);
    }
    let ranges = of_one_proof(&key.of_weights()?)?;
    Ok(Soundness {
        total_bits: union(&[proof.total_bits, ranges.total_bits]),
        opening_bits: [proof.opening_bits, ranges.opening_bits].concat(),
        protocol_bits: union(&[proof.protocol_bits, ranges.protocol_bits]),
    })
}

fn of_one_proof(key: &VerifyingKey) -> Result<Soundness, CommitError> {
    let layout = &key.layout;
    let (mut opening_bits, mut candidates) = (vec![], 0.0);
    let mut stacks = vec![(layout.activation_vars, key.parameters.activation_rate)];
    stacks.extend(layout.weight_vars.map(|v| (v, key.parameters.weight_rate)));
    for &(vars, rate) in &stacks {
        let s = security(vars, rate.into())?;
        candidates += s.log2_max_candidates;
        opening_bits.push(s.error().bits());
    }
    let protocol_bits = FIELD_BITS - protocol_degree(key, &stacks).log2() - candidates;
    let all: Vec<f64> = opening_bits
        .iter()
        .copied()
        .chain([protocol_bits])
        .collect();
    Ok(Soundness {
        total_bits: union(&all),
        opening_bits,
        protocol_bits,
    })
}

/// log2 of the challenge field's size, rounded down.
const FIELD_BITS: f64 = 191.0;

/// The degrees of all identities that are tested at random points, added up.
fn protocol_degree(key: &VerifyingKey, stacks: &[(usize, u8)]) -> f64 {
    let layout = &key.layout;
    // Lookups: a sum of `leaves` fractions whose denominators have degree 1 in
    // alpha and 2 in gamma.
    let mut degree = 3.0 * (layout.leaves as f64 + 1.0);
    // Layers: k rounds of degree 2 each, lambda and mu of degree 1.
    let n = layout.leaf_vars as f64;
    degree += n * (n + 1.0) + 2.0 * n;
    // Equations: tau (one per variable), lambda (two equations of the lookups
    // and all constraints), and the rounds.
    let (rounds, per_round) = batch_shape(layout, &key.checked);
    let constraints: usize = layout.gadgets.iter().map(|g| g.constraints.len()).sum();
    degree += (constraints + 2 + rounds * (per_round + 1)) as f64;
    // Nodes: the outputs' fresh point, then for each node a combination of its
    // claims and rounds of degree 3 over at most the operands' variables.
    let shapes = &key.checked.shapes;
    degree += shapes.iter().map(|s| num_vars(s)).max().unwrap_or(0) as f64;
    for op in &key.program.nodes {
        let vars: usize = op
            .operands()
            .iter()
            .map(|&t| num_vars(&shapes[t as usize]))
            .sum();
        if matches!(op, Op::Wire { .. } | Op::Select { .. } | Op::Einsum { .. }) {
            degree += (MAX_CLAIMS + 3 * vars) as f64;
        }
    }
    // Columns: the combination of all claims, and the rounds.
    degree += (layout.columns.len() * MAX_CLAIMS) as f64;
    degree += stacks.iter().map(|s| 2.0 * s.0 as f64).sum::<f64>();
    degree
}

/// The union bound of several error probabilities, in bits.
fn union(bits: &[f64]) -> f64 {
    -bits.iter().map(|b| (-b).exp2()).sum::<f64>().log2()
}

/// What there is to say about the proof system as such.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// Name and version of the protocol.
    pub protocol: &'static str,
    /// Least soundness of a proof with the default rates, over all supported
    /// sizes of both commitments.
    pub security_bits: f64,
    /// Keys with fewer bits are refused.
    pub min_security_bits: f64,
    /// Bits of grinding that are counted in, at most.
    pub grinding_bits: usize,
    /// Most committed values in each of the two commitments, log2.
    pub max_stack_vars: usize,
    /// Most elements of a committed or public tensor.
    pub max_elements: usize,
    /// Most nodes of a program.
    pub max_nodes: usize,
    /// Most dimensions of a tensor.
    pub max_rank: usize,
    /// Most rows of a function table.
    pub max_table: usize,
}

/// Computes [`Info`].
pub fn info() -> Result<Info, CommitError> {
    let (mut least, mut least_of_tables) = (f64::INFINITY, f64::INFINITY);
    for vars in MIN_STACK..=MAX_STACK {
        for is_weight in [false, true] {
            let rate = default_rate(vars, is_weight);
            let bits = security(vars, rate.into())?.error().bits();
            least = least.min(bits);
            // Range tables of each width together have fewer rows than this.
            if !is_weight && vars <= *LIMB_BITS.end() as usize + 1 {
                least_of_tables = least_of_tables.min(bits);
            }
        }
    }
    Ok(Info {
        protocol: PROTOCOL,
        // Activations, weights, and the weights again in the key's own proof, which commits to
        // multiplicities of range tables besides; far less for the protocol itself.
        security_bits: union(&[least, least, least, least_of_tables, least + 20.0]),
        min_security_bits: MIN_SECURITY_BITS,
        grinding_bits: GRINDING_BITS,
        max_stack_vars: MAX_STACK,
        max_elements: MAX_ELEMENTS,
        max_nodes: MAX_NODES,
        max_rank: MAX_RANK,
        max_table: MAX_TABLE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Parameters;
    use crate::program::{Factor, Program};

    #[test]
    fn every_supported_size_has_a_hundred_bits() {
        let info = info().expect("the library has figures for all sizes");
        assert!(info.security_bits >= MIN_SECURITY_BITS, "{info:?}");
        assert!(info.grinding_bits <= 16, "{info:?}");
        assert_eq!(format!("{:.8}", info.security_bits), "100.09372503");
    }

    /// A proof under a key that shows the weights' ranges is as good as both proofs together.
    #[test]
    fn a_key_with_a_proof_of_ranges_counts_both() {
        let key = include_bytes!("../tests/fixture/v3/key.bin");
        let key = VerifyingKey::from_bytes(key).expect("a key");
        let (proof, ranges) = (
            of_one_proof(&key).expect("figures"),
            of_one_proof(&key.of_weights().expect("a key")).expect("figures"),
        );
        assert_eq!(
            (proof.opening_bits.len(), ranges.opening_bits.len()),
            (2, 2)
        );
        let both = soundness(&key).expect("figures");
        assert_eq!(both.opening_bits[..2], proof.opening_bits);
        assert_eq!(both.opening_bits[2..], ranges.opening_bits);
        let (least, most) = (both.total_bits, proof.total_bits.min(ranges.total_bits));
        assert!(most - 1.0 <= least && least < most, "{least} {most}");
        let (least, most) = (
            both.protocol_bits,
            proof.protocol_bits.min(ranges.protocol_bits),
        );
        assert!(most - 1.0 <= least && least < most, "{least} {most}");
    }

    /// Four inputs, squared and rounded to five bits, and turned around.
    #[test]
    fn every_identity_that_is_tested_counts() {
        let mut program = Program::default();
        let x = program.push(Op::Input {
            shape: vec![4],
            lo: -8,
            hi: 7,
        });
        let squares = program.push(Op::Einsum {
            a: x,
            b: x,
            a_labels: vec![0],
            b_labels: vec![0],
            out_labels: vec![0],
        });
        let rounded = program.push(Op::Requant {
            input: squares,
            multiplier: 1,
            shift: 2,
            lo: 0,
            hi: 16,
        });
        let turned = program.push(Op::Wire {
            input: rounded,
            factors: vec![Factor::Strided {
                dim: 0,
                size: 4,
                start: 0,
                step: 1,
            }],
        });
        program.outputs = vec![turned];
        let parameters = Parameters {
            limb_bits: 6,
            weight_rate: 5,
            activation_rate: 5,
            ranges: WeightRanges::Proof,
        };
        let key = VerifyingKey::new(program, parameters).expect("a key");
        let layout = &key.layout;
        let (rounds, per_round) = batch_shape(layout, &key.checked);
        let constraints: usize = layout.gadgets.iter().map(|g| g.constraints.len()).sum();
        assert_eq!((layout.leaves, layout.leaf_vars), (44, 6));
        assert_eq!((constraints, rounds, per_round), (1, 5, 2));
        assert_eq!((layout.columns.len(), layout.activation_vars), (4, 8));
        let nodes = (1024 + 3 * (2 + 2)) + (1024 + 3 * 2);
        let degree = 3 * 45 + (6 * 7 + 2 * 6) + (1 + 2 + 5 * 3) + 2 + nodes + 4 * 1024 + 2 * 8;
        assert_eq!(protocol_degree(&key, &[(8, 5)]), f64::from(degree));
        // Whoever proves may choose among the candidates that a commitment leaves open.
        let candidates = security(8, 5).expect("figures").log2_max_candidates;
        assert!(candidates > 0.0);
        let bits = soundness(&key).expect("figures").protocol_bits;
        assert_eq!(bits, FIELD_BITS - f64::from(degree).log2() - candidates);
    }

    #[test]
    fn a_union_of_equal_errors_loses_a_bit() {
        assert_eq!(union(&[100.0, 100.0]), 99.0);
    }
}
