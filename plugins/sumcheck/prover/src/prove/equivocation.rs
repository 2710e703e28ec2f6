//! Attacks by whoever makes the key: a root that commits to no single vector of weights,
//! and weights outside their bounds.
//!
//! A Merkle root can be close to two codewords at once. Its maker commits to a word that
//! agrees with the codeword of weights A on most leaves and with that of B on the others;
//! with some luck in the queries, proofs about A pass, and after enough work proofs about B.
//! The anchor of the key ends that: see the verifier's `WeightsCommitment`.

use super::*;
use dsperse_sumcheck_verifier::commit::{Pcs, verify_opening};
use dsperse_sumcheck_verifier::hash::{DIGEST_BYTES, ShortBlake3};
use dsperse_sumcheck_verifier::layout::{Layout, WeightRanges};
use dsperse_sumcheck_verifier::program::Op;
use dsperse_sumcheck_verifier::{Reject, verify};
use p3_commit::Mmcs;
use p3_field::PrimeCharacteristicRing;
use p3_matrix::Matrix;
use p3_merkle_tree::MerkleTreeMmcs;
use p3_symmetric::{CompressionFunctionFromHasher, SerializingHasher};

type FieldHash = SerializingHasher<ShortBlake3>;
type Compress = CompressionFunctionFromHasher<ShortBlake3, 2, DIGEST_BYTES>;
type FieldMmcs = MerkleTreeMmcs<F, u8, FieldHash, Compress, 2, DIGEST_BYTES>;

const CONTEXT: [u8; 32] = [9; 32];

/// Writes a counter where no column is, which moves every challenge, and goes on where an
/// honest prover would give up.
struct Knob(u64);

/// Has another first weight, and goes on too.
struct FirstWeight(i64);

impl Adversary for FirstWeight {
    fn columns(&mut self, layout: &Layout, columns: &mut [Vec<i64>]) {
        let weights = layout.columns.iter().position(|c| c.is_weight);
        if let Some(first) = columns[weights.expect("there are weights")].first_mut() {
            // The column holds the weight above its least value.
            *first = self.0 + 128;
        }
    }

    fn persists(&self) -> bool {
        true
    }
}

impl Adversary for Knob {
    fn stack(&mut self, _layout: &Layout, stack: &mut [F]) {
        if let Some(last) = stack.last_mut() {
            *last = F::from_u64(self.0);
        }
    }

    fn persists(&self) -> bool {
        true
    }
}

fn program() -> Program {
    let mut p = Program::default();
    let x = p.push(Op::Input {
        shape: vec![16],
        lo: -128,
        hi: 127,
    });
    let w = p.push(Op::Weight {
        shape: vec![16, 16],
        lo: -128,
        hi: 127,
    });
    let y = p.push(Op::Einsum {
        a: x,
        b: w,
        a_labels: b"k".to_vec(),
        b_labels: b"nk".to_vec(),
        out_labels: b"n".to_vec(),
    });
    let q = p.push(Op::Requant {
        input: y,
        multiplier: 1,
        shift: 8,
        lo: -128,
        hi: 127,
    });
    p.outputs = vec![q];
    p
}

fn key_of(rate: u8, weight: impl Fn(i64) -> i64) -> ProvingKey {
    key_with(WeightRanges::Proof, rate, weight)
}

fn key_with(ranges: WeightRanges, rate: u8, weight: impl Fn(i64) -> i64) -> ProvingKey {
    let parameters = Parameters {
        limb_bits: 8,
        weight_rate: rate,
        activation_rate: 5,
        ranges,
    };
    let weights = Tensor {
        shape: vec![16, 16],
        data: (0..256).map(weight).collect(),
    };
    compile_with(program(), parameters, vec![weights]).expect("compiles")
}

/// Makes both keys commit to one word that agrees with `a` on `keep` of 1000 leaves and with
/// `b` on the others. Each keeps its own anchor's value, at the point of the new root.
fn mix(a: &mut ProvingKey, b: &mut ProvingKey, keep: u64) {
    let mmcs = FieldMmcs::new(FieldHash::new(ShortBlake3), Compress::new(ShortBlake3), 0);
    let (Some((ca, da)), Some((cb, db))) = (a.committed.as_mut(), b.committed.as_mut()) else {
        panic!("both keys have weights")
    };
    let word_a = mmcs.get_matrices(&da.merkle_data)[0].clone();
    let word_b = mmcs.get_matrices(&db.merkle_data)[0].clone();
    let (height, width) = (word_a.height(), word_a.width());
    let mut values = word_a.values.clone();
    for i in 0..height {
        let scattered = (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        if scattered % 1000 >= keep {
            let row = i * width..(i + 1) * width;
            values[row.clone()].copy_from_slice(&word_b.values[row]);
        }
    }
    let mixed = RowMajorMatrix::new(values, width);
    let (root, tree) = mmcs.commit_matrix(mixed.clone());
    let (_, tree_b) = mmcs.commit_matrix(mixed);
    ca.commitment = root.clone();
    cb.commitment = root.clone();
    da.merkle_data = tree;
    db.merkle_data = tree_b;
    let root = to_root(&root).expect("one root");
    for pk in [a, b] {
        let point = pk.key.anchor_point(&root);
        pk.key.weights = Some(WeightsCommitment {
            root,
            anchor: Weight::eq(&point).inner(stack_of(pk)),
        });
    }
}

/// The weights' stack.
fn stack_of(pk: &ProvingKey) -> &[F] {
    values(&pk.committed.as_ref().expect("there are weights").1)
}

fn inputs() -> Vec<Tensor> {
    vec![Tensor {
        shape: vec![16],
        data: (0..16).map(|i| 100 - 13 * i).collect(),
    }]
}

#[test]
fn a_root_between_two_codewords_speaks_of_one_vector_only() {
    let mut a = key_of(6, |i| i * 37 % 256 - 128);
    let mut b = key_of(6, |i| i * 91 % 241 - 120);
    mix(&mut a, &mut b, 970);
    let (key_a, key_b) = (a.key.clone(), b.key.clone());
    let root = |k: &VerifyingKey| k.weights.map(|w| w.root);
    assert_eq!(root(&key_a), root(&key_b));
    assert_ne!(a.weights, b.weights);
    let tries = 60;
    let attack = |pk: &mut ProvingKey, key: &VerifyingKey| {
        let own = std::mem::replace(&mut pk.key, key.clone());
        let count = accepted_with(pk, tries);
        pk.key = own;
        count
    };
    // Proofs about A do pass for a word that is close to A: the attack is real.
    assert!(attack(&mut a, &key_a) > 0);
    // They do not under the anchor of B, although the root and every query are the same.
    assert_eq!(attack(&mut a, &key_b), 0);
    assert_eq!(attack(&mut b, &key_a), 0);
}

/// How many of `tries` proofs by `pk` under its own key are accepted.
fn accepted_with(pk: &ProvingKey, tries: u64) -> usize {
    let bytes = pk.key.to_bytes();
    let inputs = inputs();
    let key = &pk.key;
    let tensors = evaluate(&key.program, &key.checked, &pk.weights, &inputs).expect("evaluates");
    let outputs = vec![tensors[3].clone()];
    let statement = Statement {
        context: &CONTEXT,
        inputs: &inputs,
        outputs: &outputs,
    };
    let judge = |k| {
        let proof = prove_with(pk, None, &statement, tensors.clone(), &mut Knob(k));
        let proof = proof.expect("this prover never gives up");
        verify(&bytes, &CONTEXT, &inputs, &outputs, &proof)
    };
    (0..tries).filter(|&k| judge(k).is_ok()).count()
}

#[test]
fn a_root_far_from_every_codeword_proves_nothing() {
    // Half of the leaves are of one codeword and half of another: some query hits the wrong
    // half in every proof.
    let mut a = key_of(6, |i| i * 37 % 256 - 128);
    let mut b = key_of(6, |i| i * 91 % 241 - 120);
    mix(&mut a, &mut b, 500);
    assert_eq!(accepted_with(&a, 20), 0);
    assert_eq!(accepted_with(&b, 20), 0);
}

#[test]
fn an_anchor_of_other_weights_is_rejected() {
    // An honest root and an honest prover; the key's anchor alone is another.
    let mut pk = key_of(3, |i| i % 7);
    let honest = accepted_with(&pk, 1);
    assert_eq!(honest, 1);
    if let Some(weights) = &mut pk.key.weights {
        weights.anchor += EF::ONE;
    }
    assert_eq!(accepted_with(&pk, 5), 0);
}

/// A key whose first weight is another than its program allows, with proofs that persist.
fn with_first_weight(ranges: WeightRanges, new: i64) -> ProvingKey {
    let mut pk = key_with(ranges, 3, |_| 1);
    let mut stack = stack_of(&pk).to_vec();
    stack[0] = F::from_i64(new + 128);
    let vars = pk.key.layout.weight_vars.expect("weights");
    let rate = pk.key.parameters.weight_rate;
    let (committed, data) = Committed::new(stack, vars, rate).expect("commits");
    let root = committed.root().expect("a root");
    let point = pk.key.anchor_point(&root);
    pk.key.weights = Some(WeightsCommitment {
        root,
        anchor: Weight::eq(&point).inner(values(&data)),
    });
    pk.committed = Some((committed, data));
    prove_ranges(&mut pk, None, &mut FirstWeight(new)).expect("this prover never gives up");
    pk
}

/// What becomes of a proof on inputs of 1 by a key whose first weight is this.
fn judge_with_first_weight(pk: &ProvingKey, new: i64) -> Result<(), Reject> {
    let key = &pk.key;
    let inputs = vec![Tensor {
        shape: vec![16],
        data: vec![1; 16],
    }];
    let mut tensors =
        evaluate(&key.program, &key.checked, &pk.weights, &inputs).expect("evaluates");
    tensors[1].data[0] = new;
    tensors[2].data[0] += new - 1;
    tensors[3].data[0] = ((tensors[2].data[0] + 128) >> 8).clamp(-128, 127);
    let outputs = vec![tensors[3].clone()];
    let statement = Statement {
        context: &CONTEXT,
        inputs: &inputs,
        outputs: &outputs,
    };
    let proof = prove_with(pk, None, &statement, tensors, &mut FirstWeight(new));
    let proof = proof.expect("a proof");
    verify(&key.to_bytes(), &CONTEXT, &inputs, &outputs, &proof)
}

#[test]
fn committed_weights_outside_their_bounds_are_rejected() {
    for new in [129, -129, 1 << 20] {
        let got = judge_with_first_weight(&with_first_weight(WeightRanges::Proof, new), new);
        assert!(
            matches!(got, Err(Reject::Proof(_))),
            "weight {new}: {got:?}"
        );
        let got = judge_with_first_weight(&with_first_weight(WeightRanges::Key, new), new);
        assert!(
            matches!(got, Err(Reject::Ranges(_))),
            "weight {new}: {got:?}"
        );
    }
}

#[test]
fn ranges_of_other_weights_are_not_those_of_the_key() {
    let honest = with_first_weight(WeightRanges::Key, 1);
    assert_eq!(judge_with_first_weight(&honest, 1), Ok(()));
    // A true proof, about other weights; none at all; and one made for something else.
    let mut pk = with_first_weight(WeightRanges::Key, 129);
    pk.key.range_proof.clone_from(&honest.key.range_proof);
    let got = judge_with_first_weight(&pk, 129);
    assert!(matches!(got, Err(Reject::Ranges(_))), "{got:?}");
    pk.key.range_proof.clear();
    let got = judge_with_first_weight(&pk, 129);
    assert!(matches!(got, Err(Reject::Ranges(_))), "{got:?}");
    let mut pk = with_first_weight(WeightRanges::Key, 1);
    let alone = ProvingKey {
        key: pk.key.of_weights().expect("a key"),
        weights: pk.weights.clone(),
        committed: pk.committed.take(),
    };
    let (_, proof) = prove(&alone, &CONTEXT, &[]).expect("a proof");
    pk.committed = alone.committed;
    pk.key.range_proof = proof;
    let got = judge_with_first_weight(&pk, 1);
    assert!(matches!(got, Err(Reject::Ranges(_))), "{got:?}");
}

/// An opening carries a value that is bound to the root. That it is the one that was claimed,
/// only a comparison says.
#[test]
fn an_opening_of_another_value_than_the_claimed_one_is_rejected() {
    let (vars, rate) = (8, 5);
    let values: Vec<F> = (0..1 << vars).map(|i| F::from_u64(i * 37 % 251)).collect();
    let (committed, data) = Committed::new(values.clone(), vars, rate).expect("commits");
    let point: Vec<EF> = (2..2 + vars as u64).map(EF::from_u64).collect();
    let value = Weight::eq(&point).inner(&values);
    let sponge = || Challenger::new(Sponge::new(vec![]));
    let opening = committed.open(data, &point, &mut sponge()).expect("opens");
    let judge = |value| {
        let (scheme, commitment): (Pcs, _) = (pcs(vars, rate.into())?, &committed.commitment);
        let mut sponge = sponge();
        MultilinearPcs::<EF, Challenger>::observe_commitment(&scheme, commitment, &mut sponge);
        verify_opening(&scheme, commitment, &point, value, &opening, &mut sponge)
            .map_err(ProveError::from)
    };
    assert_eq!(judge(value), Ok(()));
    assert_eq!(judge(value + EF::ONE), Err(ProofFault::OpenedValue.into()));
}
