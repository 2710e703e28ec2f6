//! The malicious prover: takes the honest one, departs from it at one place,
//! over all places of a small slice, and must never be believed.
//!
//! Each test covers one of the traps listed in the protocol's description:
//! committed values, messages, statements, openings, keys, encodings.

use std::cell::Cell;

use dsperse_sumcheck_evaluator::evaluate;
use dsperse_sumcheck_verifier::commit::{EF, F};
use dsperse_sumcheck_verifier::fault::{Malformed, ProofFault};
use dsperse_sumcheck_verifier::hash::DIGEST_BYTES;
use dsperse_sumcheck_verifier::key::{Parameters, VerifyingKey};
use dsperse_sumcheck_verifier::layout::{Layout, Source, WeightRanges};
use dsperse_sumcheck_verifier::lookup::Fingerprint;
use dsperse_sumcheck_verifier::mle::pad_index;
use dsperse_sumcheck_verifier::program::*;
use dsperse_sumcheck_verifier::proof::Proof;
use dsperse_sumcheck_verifier::verify::{PublicTensors, start};
use dsperse_sumcheck_verifier::{Reject, verify};
use p3_field::{BasedVectorSpace, Field, PrimeCharacteristicRing};

#[path = "../tests/common/mod.rs"]
#[allow(dead_code, reason = "only one program is used here")]
mod common;

use common::every_primitive;

use crate::prove::{ProvingKey, Statement, compile, compile_with, prove, prove_with};
use crate::sender::{Adversary, Honest};

const CONTEXT: [u8; 32] = [3; 32];

/// A slice with every primitive, small enough to attack everywhere.
struct Slice {
    pk: ProvingKey,
    vk: Vec<u8>,
    inputs: Vec<Tensor>,
    tensors: Vec<Tensor>,
    outputs: Vec<Tensor>,
    proof: Vec<u8>,
    /// Attacks that ended in a proof, which the verifier judged.
    judged: Cell<usize>,
    /// Attacks in which even the dishonest prover got stuck: they show nothing.
    stuck: Cell<usize>,
}

fn slice() -> Slice {
    slice_with(WeightRanges::Proof)
}

fn slice_with(ranges: WeightRanges) -> Slice {
    let case = every_primitive();
    let inputs = case.inputs;
    let parameters = Parameters {
        limb_bits: 6,
        weight_rate: 3,
        activation_rate: 3,
        ranges,
    };
    let pk = compile_with(case.program, parameters, case.weights).expect("compiles");
    let key = pk.verifying_key();
    let tensors = evaluate(&key.program, &key.checked, pk.weights(), &inputs).expect("evaluates");
    let (outputs, proof) = prove(&pk, &CONTEXT, &inputs).expect("proves");
    let vk = key.to_bytes();
    assert_eq!(verify(&vk, &CONTEXT, &inputs, &outputs, &proof), Ok(()));
    // The attacks are worth something only if both ends saturate.
    let saturated = tensors
        .iter()
        .find(|t| t.shape == [3, 4] && t.data.contains(&200));
    assert!(saturated.is_some_and(|t| t.data.contains(&0)));
    Slice {
        pk,
        vk,
        inputs,
        tensors,
        outputs,
        proof,
        judged: Cell::new(0),
        stuck: Cell::new(0),
    }
}

impl Slice {
    /// What becomes of a proof that an adversary makes.
    fn attack(&self, tensors: Vec<Tensor>, adversary: &mut dyn Adversary) -> Option<Reject> {
        self.attack_on(tensors, &self.outputs, adversary)
    }

    fn attack_on(
        &self,
        tensors: Vec<Tensor>,
        outputs: &[Tensor],
        adversary: &mut dyn Adversary,
    ) -> Option<Reject> {
        let statement = Statement {
            context: &CONTEXT,
            inputs: &self.inputs,
            outputs,
        };
        match prove_with(&self.pk, None, &statement, tensors, adversary) {
            // Where even the dishonest prover gets stuck there is no proof.
            Err(e) => {
                self.stuck.set(self.stuck.get() + 1);
                Some(Reject::Proof(ProofFault::Opening(format!(
                    "the prover: {e}"
                ))))
            }
            Ok(proof) => {
                self.judged.set(self.judged.get() + 1);
                verify(&self.vk, &CONTEXT, &self.inputs, outputs, &proof).err()
            }
        }
    }

    /// Whether nearly all attacks so far were judged by the verifier.
    fn assert_judged(&self) {
        let (judged, stuck) = (self.judged.get(), self.stuck.get());
        assert!(
            judged > 0 && stuck * 10 <= judged,
            "{judged} attacks were judged, in {stuck} the prover got stuck"
        );
    }

    fn layout(&self) -> &Layout {
        &self.pk.verifying_key().layout
    }
}

/// Adds something to one message and goes on honestly from there.
struct OneMessage {
    at: usize,
    add: EF,
}

impl Adversary for OneMessage {
    fn message(&mut self, index: usize, value: EF) -> EF {
        if index == self.at {
            value + self.add
        } else {
            value
        }
    }

    fn persists(&self) -> bool {
        true
    }
}

/// Adds to cells (column, element) before multiplicities are counted.
struct Cells(Vec<(usize, usize, i64)>);

impl Adversary for Cells {
    fn columns(&mut self, _layout: &Layout, columns: &mut [Vec<i64>]) {
        for &(column, i, add) in &self.0 {
            columns[column][i] += add;
        }
    }

    fn persists(&self) -> bool {
        true
    }
}

/// Adds to one element of the padded stack, multiplicities included.
struct StackCell {
    at: usize,
    add: F,
}

impl Adversary for StackCell {
    fn stack(&mut self, _layout: &Layout, stack: &mut [F]) {
        stack[self.at] += self.add;
    }

    fn persists(&self) -> bool {
        true
    }
}

/// Goes on where an honest prover would give up.
struct Persist;

impl Adversary for Persist {
    fn persists(&self) -> bool {
        true
    }
}

#[test]
fn every_changed_message_is_rejected() {
    changed_messages(&slice());
    changed_messages(&slice_with(WeightRanges::Key));
}

fn changed_messages(s: &Slice) {
    let n = Proof::from_bytes(&s.proof, s.pk.verifying_key())
        .expect("parses")
        .messages
        .len();
    assert!(n > 250, "the slice sends {n} messages");
    for at in 0..n {
        // Replaced in a finished proof.
        let mut proof = Proof::from_bytes(&s.proof, s.pk.verifying_key()).expect("parses");
        proof.messages[at] += EF::ONE;
        let bytes = proof.to_bytes().expect("encodes");
        let got = verify(&s.vk, &CONTEXT, &s.inputs, &s.outputs, &bytes);
        assert!(
            matches!(got, Err(Reject::Proof(_))),
            "message {at}: {got:?}"
        );
        // Sent by a prover who stands by it afterwards.
        let got = s.attack(
            s.tensors.clone(),
            &mut OneMessage {
                at,
                add: EF::from_u64(5),
            },
        );
        assert!(
            matches!(got, Some(Reject::Proof(_))),
            "message {at}, adaptive: {got:?}"
        );
    }
    s.assert_judged();
}

#[test]
fn every_changed_cell_is_rejected() {
    let s = slice();
    let mut seen = vec![];
    for (c, column) in s.layout().columns.iter().enumerate() {
        if column.is_weight {
            continue;
        }
        seen.push(std::mem::discriminant(&column.source));
        for i in 0..column.shape.iter().product() {
            for add in [1, -1] {
                // With multiplicities that fit as far as they can.
                let got = match column.source {
                    Source::Multiplicity(_) => None,
                    _ => Some(s.attack(s.tensors.clone(), &mut Cells(vec![(c, i, add)]))),
                };
                if let Some(got) = got {
                    assert!(
                        got.is_some(),
                        "{:?} of node {}, element {i}",
                        column.source,
                        column.node
                    );
                }
                // In the stack alone.
                let at = column.offset + pad_index(i, &column.shape);
                let mut adversary = StackCell {
                    at,
                    add: F::from_i64(add),
                };
                let got = s.attack(s.tensors.clone(), &mut adversary);
                assert!(
                    got.is_some(),
                    "{:?} of node {}, stack {at}",
                    column.source,
                    column.node
                );
            }
        }
    }
    seen.sort_by_key(|d| format!("{d:?}"));
    seen.dedup();
    assert!(
        seen.len() >= 8,
        "the slice has {} sorts of column",
        seen.len()
    );
    s.assert_judged();
}

#[test]
fn every_changed_tensor_value_is_rejected() {
    // The witness is computed from a false intermediate or final value, so that
    // remainders, slacks and gaps are as consistent as they can be.
    let s = slice();
    let key = s.pk.verifying_key();
    for node in 1..s.tensors.len() {
        if matches!(key.program.nodes[node], Op::Weight { .. }) {
            continue;
        }
        for i in 0..s.tensors[node].data.len() {
            for add in [1, -1] {
                let mut tensors = s.tensors.clone();
                tensors[node].data[i] += add;
                let outputs: Vec<Tensor> = key
                    .program
                    .outputs
                    .iter()
                    .map(|&t| tensors[t as usize].clone())
                    .collect();
                let got = s.attack_on(tensors, &outputs, &mut Persist);
                assert!(got.is_some(), "node {node}, element {i}, {add}");
            }
        }
    }
    s.assert_judged();
}

#[test]
fn a_remainder_outside_its_range_does_not_move_the_result() {
    // q - 1 and r + 2^s satisfy the equation; so do q + 1 and r - 2^s, the
    // latter as a field element that is no small integer.
    let s = slice();
    let layout = s.layout();
    let key = s.pk.verifying_key();
    let Some((node, shift)) = key
        .program
        .nodes
        .iter()
        .enumerate()
        .find_map(|(n, op)| match op {
            Op::Requant { shift, .. } => Some((n as TensorId, *shift)),
            _ => None,
        })
    else {
        panic!("the slice has a requantisation")
    };
    let column = |source, limb: u32| {
        layout
            .columns
            .iter()
            .position(|c| c.node == node && c.source == source && c.shift == limb)
            .expect("the column exists")
    };
    let value = column(Source::Value, 0);
    let remainder = column(Source::Remainder, 0);
    let slack = column(Source::HighSlack, 0);
    for i in 0..12 {
        for sign in [1, -1] {
            let attack = vec![
                (value, i, -sign),
                (slack, i, sign),
                (remainder, i, sign << shift),
            ];
            let got = s.attack(s.tensors.clone(), &mut Cells(attack));
            assert!(got.is_some(), "element {i}, {sign}");
        }
    }
}

#[test]
fn other_statements_are_rejected() {
    let s = slice();
    let check = |inputs: &[Tensor], outputs: &[Tensor], context: &[u8; 32]| {
        verify(&s.vk, context, inputs, outputs, &s.proof)
    };
    for i in 0..s.inputs[0].data.len() {
        let mut inputs = s.inputs.clone();
        inputs[0].data[i] -= i64::from(inputs[0].data[i] > -128);
        if inputs != s.inputs {
            let got = check(&inputs, &s.outputs, &CONTEXT);
            assert!(matches!(got, Err(Reject::Proof(_))), "input {i}: {got:?}");
        }
    }
    for k in 0..2 {
        for i in 0..s.outputs[k].data.len() {
            let mut outputs = s.outputs.clone();
            outputs[k].data[i] -= 1;
            let got = check(&s.inputs, &outputs, &CONTEXT);
            assert!(got.is_err(), "output {k}, element {i}");
        }
    }
    let mut context = CONTEXT;
    context[31] ^= 1;
    assert!(matches!(
        check(&s.inputs, &s.outputs, &context),
        Err(Reject::Proof(_))
    ));
    // Wrong numbers, shapes and ranges of public tensors.
    assert!(matches!(
        check(&[], &s.outputs, &CONTEXT),
        Err(Reject::Public(_))
    ));
    let swapped: Vec<Tensor> = s.outputs.iter().rev().cloned().collect();
    assert!(check(&s.inputs, &swapped, &CONTEXT).is_err());
    let mut flat = s.inputs.clone();
    flat[0].shape = vec![10];
    assert!(matches!(
        check(&flat, &s.outputs, &CONTEXT),
        Err(Reject::Public(_))
    ));
    let mut far = s.inputs.clone();
    far[0].data[0] = 128;
    assert!(matches!(
        check(&far, &s.outputs, &CONTEXT),
        Err(Reject::Public(_))
    ));
}

#[test]
fn every_flipped_byte_of_the_proof_is_rejected() {
    let s = slice();
    for at in 0..s.proof.len() {
        let mut proof = s.proof.clone();
        proof[at] ^= 1 << (at % 8);
        let got = verify(&s.vk, &CONTEXT, &s.inputs, &s.outputs, &proof);
        assert!(got.is_err(), "byte {at} of {}", s.proof.len());
    }
}

#[test]
fn proofs_of_any_other_length_are_rejected() {
    let s = slice();
    for n in (0..s.proof.len()).step_by(7) {
        let got = verify(&s.vk, &CONTEXT, &s.inputs, &s.outputs, &s.proof[..n]);
        assert!(matches!(got, Err(Reject::Proof(_))), "{n} bytes: {got:?}");
    }
    let mut longer = s.proof.clone();
    longer.push(0);
    let got = verify(&s.vk, &CONTEXT, &s.inputs, &s.outputs, &longer);
    assert!(matches!(got, Err(Reject::Proof(_))), "{got:?}");
    // One message more, in its place.
    let mut proof = Proof::from_bytes(&s.proof, s.pk.verifying_key()).expect("parses");
    proof.messages.push(EF::ZERO);
    let bytes = proof.to_bytes().expect("encodes");
    let got = verify(&s.vk, &CONTEXT, &s.inputs, &s.outputs, &bytes);
    assert!(matches!(got, Err(Reject::Proof(_))), "{got:?}");
}

#[test]
fn every_flipped_bit_of_the_key_is_rejected() {
    let s = slice();
    flipped_bits(&s, 0..s.vk.len());
    // One in a hundred of the proof in the key, and all around it.
    let s = slice_with(WeightRanges::Key);
    let proof = s.pk.verifying_key().range_proof.len();
    let from =
        s.vk.windows(proof)
            .position(|w| w == s.pk.verifying_key().range_proof)
            .expect("the key has it");
    flipped_bits(&s, 0..from);
    flipped_bits(&s, (from..from + proof).step_by(100));
    flipped_bits(&s, from + proof..s.vk.len());
}

fn flipped_bits(s: &Slice, bytes: impl Iterator<Item = usize> + Clone) {
    for at in bytes.clone() {
        for bit in 0..8 {
            let mut vk = s.vk.clone();
            vk[at] ^= 1 << bit;
            let got = verify(&vk, &CONTEXT, &s.inputs, &s.outputs, &s.proof);
            assert!(got.is_err(), "bit {bit} of byte {at} of the key");
        }
    }
    for n in bytes {
        let got = verify(&s.vk[..n], &CONTEXT, &s.inputs, &s.outputs, &s.proof);
        assert!(
            matches!(got, Err(Reject::Key(_))),
            "{n} bytes of the key: {got:?}"
        );
    }
}

#[test]
fn parts_of_other_proofs_do_not_fit() {
    let s = slice();
    let (outputs, other) = prove(&s.pk, &[4; 32], &s.inputs).expect("proves");
    assert_eq!(outputs, s.outputs);
    let parse = |bytes: &[u8]| Proof::from_bytes(bytes, s.pk.verifying_key()).expect("parses");
    let judge = |proof: Proof| {
        let bytes = proof.to_bytes().expect("encodes");
        verify(&s.vk, &CONTEXT, &s.inputs, &s.outputs, &bytes)
    };
    let mut proof = parse(&s.proof);
    proof.activations = parse(&other).activations;
    assert!(matches!(judge(proof), Err(Reject::Proof(_))));
    let mut proof = parse(&s.proof);
    proof.weights = parse(&other).weights;
    assert!(matches!(judge(proof), Err(Reject::Proof(_))));
    let mut proof = parse(&s.proof);
    proof.weights = None;
    assert!(matches!(judge(proof), Err(Reject::Proof(_))));
    let mut proof = parse(&s.proof);
    proof.root[5] ^= 1;
    assert!(matches!(judge(proof), Err(Reject::Proof(_))));
    let mut proof = parse(&s.proof);
    proof.messages = parse(&other).messages;
    assert!(matches!(judge(proof), Err(Reject::Proof(_))));
    assert_eq!(judge(parse(&s.proof)), Ok(()));
}

#[test]
fn other_weights_than_the_committed_ones_are_rejected() {
    let s = slice();
    for i in 0..12 {
        let mut weights = s.pk.weights().to_vec();
        weights[0].data[i] += if weights[0].data[i] > 0 { -1 } else { 1 };
        let key = s.pk.verifying_key();
        let mut other =
            compile_with(key.program.clone(), key.parameters, weights.clone()).expect("compiles");
        // Rebuilding the proving key notices by itself.
        assert!(ProvingKey::from_key(&s.vk, weights).is_err());
        // A prover who claims the key nevertheless opens the wrong commitment.
        other.pretend(key.weights);
        let (outputs, proof) = prove(&other, &CONTEXT, &s.inputs).expect("proves");
        let got = verify(&s.vk, &CONTEXT, &s.inputs, &outputs, &proof);
        assert!(matches!(got, Err(Reject::Proof(_))), "weight {i}: {got:?}");
    }
}

#[test]
fn keys_that_could_overflow_are_refused() {
    // The same bytes as an acceptable key, but for the bounds.
    let key = |hi: i64| {
        let mut p = Program::default();
        let x = p.push(Op::Input {
            shape: vec![4],
            lo: 0,
            hi,
        });
        let y = p.push(Op::Einsum {
            a: x,
            b: x,
            a_labels: vec![0],
            b_labels: vec![0],
            out_labels: vec![],
        });
        let y = p.push(Op::Requant {
            input: y,
            multiplier: 1,
            shift: 8,
            lo: 0,
            hi: 255,
        });
        p.outputs = vec![y];
        VerifyingKey::new(
            p,
            Parameters {
                limb_bits: 8,
                weight_rate: 1,
                activation_rate: 1,
                ranges: WeightRanges::Proof,
            },
        )
    };
    assert!(key(1 << 28).is_ok());
    assert!(key(1 << 32).is_err());
    let good = key(1 << 28).expect("acceptable").to_bytes();
    let needle = (1i64 << 28).to_le_bytes();
    let at = good
        .windows(8)
        .position(|w| w == needle)
        .expect("the bound is in the key");
    let mut bad = good.clone();
    bad[at..at + 8].copy_from_slice(&(1i64 << 32).to_le_bytes());
    assert!(VerifyingKey::from_bytes(&good).is_ok());
    let got = verify(&bad, &CONTEXT, &[], &[], &[]);
    assert!(matches!(got, Err(Reject::Key(_))), "{got:?}");
}

#[test]
fn an_honest_adversary_is_believed() {
    // The harness itself: without a change the attacks above succeed.
    let s = slice();
    assert_eq!(s.attack(s.tensors.clone(), &mut Honest), None);
    assert_eq!(s.attack(s.tensors.clone(), &mut Cells(vec![])), None);
    assert_eq!(
        s.attack(
            s.tensors.clone(),
            &mut StackCell {
                at: 0,
                add: F::ZERO
            }
        ),
        None
    );
}

#[test]
fn every_part_of_the_statement_moves_the_first_challenge() {
    // Everything must be absorbed before anything is drawn: a root or a public
    // value absorbed later could be chosen after the challenges.
    let s = slice();
    let key = s.pk.verifying_key();
    let first =
        |key: &VerifyingKey, context: &[u8; 32], inputs: &[Tensor], outputs: &[Tensor], root| {
            let public = PublicTensors::new(key, inputs, outputs).expect("the tensors fit");
            start(key, context, &public, &root).challenge()
        };
    let root = Proof::from_bytes(&s.proof, s.pk.verifying_key())
        .expect("parses")
        .root;
    let base = first(key, &CONTEXT, &s.inputs, &s.outputs, root);
    let mut other_root = root;
    other_root[0] ^= 1;
    let mut other_key = key.clone();
    other_key.parameters.limb_bits = 7;
    let mut other_weights = key.clone();
    if let Some(weights) = &mut other_weights.weights {
        weights.root = other_root;
    }
    let mut inputs = s.inputs.clone();
    inputs[0].data[3] += 1;
    let mut outputs = s.outputs.clone();
    outputs[1].data[0] -= 1;
    let changed = [
        first(key, &CONTEXT, &s.inputs, &s.outputs, other_root),
        first(key, &[4; 32], &s.inputs, &s.outputs, root),
        first(&other_key, &CONTEXT, &s.inputs, &s.outputs, root),
        first(&other_weights, &CONTEXT, &s.inputs, &s.outputs, root),
        first(key, &CONTEXT, &inputs, &s.outputs, root),
        first(key, &CONTEXT, &s.inputs, &outputs, root),
    ];
    for (i, c) in changed.iter().enumerate() {
        assert_ne!(*c, base, "part {i}");
    }
    assert_eq!(first(key, &CONTEXT, &s.inputs, &s.outputs, root), base);
}

/// Replaces the message with this index.
struct Replace(usize, EF);

impl Adversary for Replace {
    fn message(&mut self, index: usize, value: EF) -> EF {
        if index == self.0 { self.1 } else { value }
    }
}

#[test]
fn a_true_opening_of_another_value_is_rejected() {
    // The prover runs the protocol on other weights, and opens the committed
    // ones: each half is valid, only the comparison of the two values is not.
    let s = slice();
    let mut weights = s.pk.weights().to_vec();
    weights[0].data[5] -= 1;
    let key = s.pk.verifying_key();
    let mut other = compile_with(key.program.clone(), key.parameters, weights).expect("compiles");
    let used = other.open_instead(slice().pk);
    let tensors = evaluate(&key.program, &key.checked, other.weights(), &s.inputs).expect("runs");
    let ids = key.program.outputs.iter();
    let outputs: Vec<Tensor> = ids.map(|&t| tensors[t as usize].clone()).collect();
    let statement = Statement {
        context: &CONTEXT,
        inputs: &s.inputs,
        outputs: &outputs,
    };
    let proof = prove_with(&other, used, &statement, tensors.clone(), &mut Honest);
    let proof = proof.expect("a proof");
    let got = verify(&s.vk, &CONTEXT, &s.inputs, &outputs, &proof);
    assert!(matches!(got, Err(Reject::Proof(_))), "{got:?}");

    // The same, but the last message is the true value of the committed
    // weights: then the claims about columns do not add up to it.
    let parsed = Proof::from_bytes(&proof, key).expect("parses");
    let truth = parsed.weights.expect("an opening").evals[0].current()[0];
    let last = parsed.messages.len() - 1;
    let used = other.open_instead(slice().pk);
    let proof = prove_with(&other, used, &statement, tensors, &mut Replace(last, truth));
    let proof = proof.expect("a proof");
    let got = verify(&s.vk, &CONTEXT, &s.inputs, &outputs, &proof);
    assert_eq!(got, Err(Reject::Proof(ProofFault::Columns)));
}

#[test]
fn a_run_on_another_input_is_rejected() {
    // Everything is consistent but the claim about the public input.
    let s = slice();
    let key = s.pk.verifying_key();
    let mut inputs = s.inputs.clone();
    inputs[0].data[4] += 1;
    let tensors = evaluate(&key.program, &key.checked, s.pk.weights(), &inputs).expect("runs");
    let ids = key.program.outputs.iter();
    let outputs: Vec<Tensor> = ids.map(|&t| tensors[t as usize].clone()).collect();
    let got = s.attack_on(tensors, &outputs, &mut Honest);
    assert_eq!(got, Some(Reject::Proof(ProofFault::Public(0))));
}

#[test]
fn a_maximum_is_neither_a_smaller_operand_nor_a_greater_value() {
    let mut p = Program::default();
    let x = p.push(Op::Input {
        shape: vec![3],
        lo: 0,
        hi: 15,
    });
    let y = p.push(Op::Input {
        shape: vec![3],
        lo: 0,
        hi: 15,
    });
    let m = p.push(Op::Max { inputs: vec![x, y] });
    p.outputs = vec![m];
    let parameters = Parameters {
        limb_bits: 6,
        weight_rate: 3,
        activation_rate: 3,
        ranges: WeightRanges::Proof,
    };
    let pk = compile_with(p, parameters, vec![]).expect("compiles");
    let vk = pk.verifying_key().to_bytes();
    let tensor = |d: [i64; 3]| Tensor {
        shape: vec![3],
        data: d.to_vec(),
    };
    let inputs = [tensor([1, 9, 4]), tensor([7, 2, 4])];
    let claim = |data: [i64; 3]| {
        let outputs = [tensor(data)];
        let tensors = vec![inputs[0].clone(), inputs[1].clone(), outputs[0].clone()];
        let statement = Statement {
            context: &CONTEXT,
            inputs: &inputs,
            outputs: &outputs,
        };
        let proof = prove_with(&pk, None, &statement, tensors, &mut Persist).expect("a proof");
        verify(&vk, &CONTEXT, &inputs, &outputs, &proof)
    };
    assert_eq!(claim([7, 9, 4]), Ok(()));
    for wrong in [[1, 9, 4], [7, 2, 4], [8, 9, 4], [7, 9, 5], [7, 9, 3]] {
        assert!(matches!(claim(wrong), Err(Reject::Proof(_))), "{wrong:?}");
    }
}

#[test]
fn other_spellings_of_a_length_are_rejected() {
    // The opening's decoder would take 0x82 0x00 for 0x02.
    let s = slice();
    let messages = Proof::from_bytes(&s.proof, s.pk.verifying_key())
        .expect("parses")
        .messages
        .len();
    let at = 8 + DIGEST_BYTES + 4 + 24 * messages;
    let mut proof = s.proof.clone();
    let length = u32::from_le_bytes([proof[at], proof[at + 1], proof[at + 2], proof[at + 3]]);
    proof[at..at + 4].copy_from_slice(&(length + 1).to_le_bytes());
    assert!(proof[at + 4] < 0x80, "the first length is one byte");
    proof[at + 4] |= 0x80;
    proof.insert(at + 5, 0);
    let got = verify(&s.vk, &CONTEXT, &s.inputs, &s.outputs, &proof);
    let expected = Reject::Proof(Malformed::Spelling.into());
    assert_eq!(got, Err(expected));
}

/// Changes two messages together.
struct Pair {
    first: (usize, fn(EF) -> EF),
    second: (usize, fn(EF) -> EF),
}

impl Adversary for Pair {
    fn message(&mut self, index: usize, value: EF) -> EF {
        for (at, change) in [self.first, self.second] {
            if index == at {
                return change(value);
            }
        }
        value
    }

    fn persists(&self) -> bool {
        true
    }
}

#[test]
fn pairs_of_changed_messages_are_rejected() {
    // Changes that cancel in a sum, in a product and in a difference.
    let s = slice();
    let n = Proof::from_bytes(&s.proof, s.pk.verifying_key())
        .expect("parses")
        .messages
        .len();
    let double: fn(EF) -> EF = |v| v + v;
    let halve: fn(EF) -> EF = |v| v * EF::TWO.inverse();
    let more: fn(EF) -> EF = |v| v + EF::TWO;
    let less: fn(EF) -> EF = |v| v - EF::TWO;
    for at in 0..n - 1 {
        for (f, g) in [(double, halve), (more, less), (more, more)] {
            let mut adversary = Pair {
                first: (at, f),
                second: (at + 1, g),
            };
            let got = s.attack(s.tensors.clone(), &mut adversary);
            assert!(
                matches!(got, Some(Reject::Proof(_))),
                "messages {at} and {}: {got:?}",
                at + 1
            );
        }
    }
    s.assert_judged();
}

#[test]
fn unused_and_padding_cells_prove_nothing_else() {
    // Cells that no claim reads may hold anything: the proof must stay one of the same
    // outputs, and is accepted only for those.
    let s = slice();
    let key = s.pk.verifying_key();
    let mut outputs = s.outputs.clone();
    outputs[0].data[0] -= 1;
    for at in 0..1usize << s.layout().activation_vars {
        let column = s.layout().columns.iter().find(|c| {
            let len = c
                .shape
                .iter()
                .map(|d| d.next_power_of_two())
                .product::<usize>();
            !c.is_weight && (c.offset..c.offset + len).contains(&at)
        });
        let padding = column.is_none_or(|c| {
            (0..c.shape.iter().product()).all(|i| c.offset + pad_index(i, &c.shape) != at)
        });
        if !padding || at % 3 != 0 {
            continue;
        }
        let mut adversary = StackCell {
            at,
            add: F::from_u64(3),
        };
        let mut tensors = s.tensors.clone();
        tensors[key.program.outputs[0] as usize].data[0] -= 1;
        let got = s.attack_on(tensors, &outputs, &mut adversary);
        assert!(got.is_some(), "cell {at}");
    }
    s.assert_judged();
}

#[test]
fn a_proof_longer_than_its_key_allows_is_not_decoded() {
    // An opening whose rows are empty: a byte each in the proof, 24 in memory.
    let s = slice();
    let key = s.pk.verifying_key();
    let most = Proof::max_bytes(key).expect("a limit");
    assert!(s.proof.len() <= most, "{} of {most}", s.proof.len());
    let messages = Proof::from_bytes(&s.proof, key)
        .expect("parses")
        .messages
        .len();
    let at = 8 + DIGEST_BYTES + 4 + 24 * messages;
    let mut proof = s.proof[..at].to_vec();
    let rows = 1u32 << 20;
    proof.extend(rows.to_le_bytes());
    proof.resize(proof.len() + rows as usize, 0);
    let got = verify(&s.vk, &CONTEXT, &s.inputs, &s.outputs, &proof);
    assert!(
        matches!(
            got,
            Err(Reject::Proof(ProofFault::Malformed(
                Malformed::LongOpening { .. }
            )))
        ),
        "{got:?}"
    );
}

/// Rows picked by public ids: a prover that picks others has no proof, neither for the true
/// ids and the other rows' values, nor for ids out of the table.
#[test]
fn other_rows_than_the_ids_name_are_rejected() {
    let mut program = Program::default();
    let ids = program.push(Op::Input {
        shape: vec![3],
        lo: 0,
        hi: 4,
    });
    let rows = program.push(Op::Weight {
        shape: vec![5, 2],
        lo: -8,
        hi: 7,
    });
    let picked = program.push(Op::Select {
        input: rows,
        dim: 0,
        ids,
    });
    program.outputs = vec![picked];
    let tensor = |shape: &[usize], data: &[i64]| Tensor {
        shape: shape.to_vec(),
        data: data.to_vec(),
    };
    let table = tensor(&[5, 2], &[-8, 7, 1, 2, 3, -4, 5, 6, 0, -1]);
    let pk = compile(program, vec![table]).expect("compiles");
    let key = pk.verifying_key();
    let vk = key.to_bytes();
    let given = [tensor(&[3], &[4, 0, 2])];
    let (outputs, proof) = prove(&pk, &CONTEXT, &given).expect("proves");
    assert_eq!(verify(&vk, &CONTEXT, &given, &outputs, &proof), Ok(()));
    for i in 0..3 {
        for id in 0..5 {
            let mut other = given.clone();
            other[0].data[i] = id;
            if other == given {
                continue;
            }
            let got = verify(&vk, &CONTEXT, &other, &outputs, &proof);
            assert!(matches!(got, Err(Reject::Proof(_))), "{got:?}");
            // The other row's values, proven for the ids that are given.
            let tensors = evaluate(&key.program, &key.checked, pk.weights(), &other);
            let tensors = tensors.expect("evaluates");
            let outputs = [tensors[picked as usize].clone()];
            let statement = Statement {
                context: &CONTEXT,
                inputs: &given,
                outputs: &outputs,
            };
            let proof = prove_with(&pk, None, &statement, tensors, &mut Persist);
            let got = verify(&vk, &CONTEXT, &given, &outputs, &proof.expect("a proof"));
            assert!(matches!(got, Err(Reject::Proof(_))), "{got:?}");
        }
    }
    let outside = [tensor(&[3], &[4, 5, 2])];
    let got = verify(&vk, &CONTEXT, &outside, &outputs, &proof);
    assert!(matches!(got, Err(Reject::Public(_))), "{got:?}");
}

/// The column that holds `source` of a node whose quantity needs one limb.
fn only_column(layout: &Layout, node: TensorId, source: Source) -> usize {
    let all = layout.columns.iter().enumerate();
    let mut found = all.filter(|(_, c)| c.node == node && c.source == source);
    let column = found.next().expect("the column exists").0;
    assert!(found.next().is_none(), "one limb");
    column
}

/// Writes into the padding of committed operands, and sums over it.
struct Padding {
    node: TensorId,
    /// Cells of the stack.
    cells: Vec<usize>,
    /// The padding's index in the contracted dimension.
    at: usize,
    value: u64,
}

impl Adversary for Padding {
    fn stack(&mut self, _layout: &Layout, stack: &mut [F]) {
        for &cell in &self.cells {
            stack[cell] = F::from_u64(self.value);
        }
    }

    fn contraction(&mut self, node: TensorId, weights: &mut [Vec<EF>], operands: &mut [Vec<EF>]) {
        if node == self.node && self.value != 0 {
            weights[0][self.at] = EF::ONE;
            for operand in operands {
                operand[self.at] = EF::from_u64(self.value);
            }
        }
    }

    fn persists(&self) -> bool {
        true
    }
}

#[test]
fn padding_of_a_contracted_dimension_adds_nothing() {
    // Three elements are padded to four. A prover who fills the fourth and sums over it
    // keeps every equation and every range, and is stopped by the weight alone that the
    // verifier computes for summed dimensions: in products, and in wires that sum.
    let quantised = |p: &mut Program| {
        let input = p.push(Op::Input {
            shape: vec![3],
            lo: -8,
            hi: 7,
        });
        p.push(Op::Requant {
            input,
            multiplier: 1,
            shift: 0,
            lo: -8,
            hi: 7,
        })
    };
    let mut product = Program::default();
    let (a, b) = (quantised(&mut product), quantised(&mut product));
    let node = product.push(Op::Einsum {
        a,
        b,
        a_labels: vec![0],
        b_labels: vec![0],
        out_labels: vec![],
    });
    product.outputs = vec![node];
    let mut sum = Program::default();
    let c = quantised(&mut sum);
    let factors = vec![Factor::Sum { dim: 0 }];
    let total = sum.push(Op::Wire { input: c, factors });
    sum.outputs = vec![total];

    for (program, operands, expected) in [
        (product, vec![a, b], ProofFault::Product),
        (sum, vec![c], ProofFault::Wire),
    ] {
        let node = program.outputs[0];
        let parameters = Parameters {
            limb_bits: 6,
            weight_rate: 3,
            activation_rate: 3,
            ranges: WeightRanges::Proof,
        };
        let pk = compile_with(program, parameters, vec![]).expect("compiles");
        let key = pk.verifying_key();
        let inputs = vec![
            Tensor {
                shape: vec![3],
                data: vec![1, -2, 3],
            };
            operands.len()
        ];
        let honest = evaluate(&key.program, &key.checked, &[], &inputs).expect("evaluates");
        let cells = operands.iter().map(|&t| {
            let column = only_column(&key.layout, t, Source::Value);
            key.layout.columns[column].offset + 3
        });
        let cells: Vec<usize> = cells.collect();
        let claim = |value: u64| {
            let mut tensors = honest.clone();
            let more = (0..operands.len()).map(|_| value as i64).product::<i64>();
            tensors[node as usize].data[0] += more;
            let outputs = vec![tensors[node as usize].clone()];
            let statement = Statement {
                context: &CONTEXT,
                inputs: &inputs,
                outputs: &outputs,
            };
            let mut adversary = Padding {
                node,
                cells: cells.clone(),
                at: 3,
                value,
            };
            let proof = prove_with(&pk, None, &statement, tensors, &mut adversary);
            let proof = proof.expect("a proof");
            verify(&key.to_bytes(), &CONTEXT, &inputs, &outputs, &proof)
        };
        assert_eq!(claim(0), Ok(()));
        for value in [1, 3] {
            assert_eq!(claim(value), Err(Reject::Proof(expected.clone())));
        }
    }
}

/// Changes cells before multiplicities are counted, and the stack afterwards.
struct Solved {
    cells: Cells,
    stack: Vec<(usize, F)>,
}

impl Adversary for Solved {
    fn columns(&mut self, layout: &Layout, columns: &mut [Vec<i64>]) {
        self.cells.columns(layout, columns);
    }

    fn stack(&mut self, _layout: &Layout, stack: &mut [F]) {
        for &(at, add) in &self.stack {
            stack[at] += add;
        }
    }

    fn persists(&self) -> bool {
        true
    }
}

/// Three elements of F whose sum with the weights `by` is `target`, by Cramer's rule.
fn solve(by: [EF; 3], target: EF) -> [F; 3] {
    let rows = |x: EF| -> [F; 3] {
        let c: &[F] = x.as_basis_coefficients_slice();
        [c[0], c[1], c[2]]
    };
    let determinant = |[a, b, c]: [[F; 3]; 3]| {
        a[0] * (b[1] * c[2] - b[2] * c[1]) - b[0] * (a[1] * c[2] - a[2] * c[1])
            + c[0] * (a[1] * b[2] - a[2] * b[1])
    };
    let columns = by.map(rows);
    let whole = determinant(columns).inverse();
    std::array::from_fn(|k| {
        let mut with = columns;
        with[k] = rows(target);
        determinant(with) * whole
    })
}

#[test]
fn multiplicities_solved_in_the_field_are_for_one_challenge_only() {
    // A result one too great, with a remainder eight too small, keeps the equation. The
    // remainder is in no row of its table; but for challenges that are known there are
    // multiplicities, no small integers, for which the fractions add up all the same.
    // They are committed before the challenges are drawn, and that changes these.
    let mut p = Program::default();
    let x = p.push(Op::Input {
        shape: vec![4],
        lo: -64,
        hi: 59,
    });
    let q = p.push(Op::Requant {
        input: x,
        multiplier: 1,
        shift: 3,
        lo: -8,
        hi: 7,
    });
    let out = p.push(Op::Affine {
        terms: vec![(q, 1)],
        constant: 0,
    });
    p.outputs = vec![out];
    let parameters = Parameters {
        limb_bits: 6,
        weight_rate: 3,
        activation_rate: 3,
        ranges: WeightRanges::Proof,
    };
    let pk = compile_with(p, parameters, vec![]).expect("compiles");
    let key = pk.verifying_key();
    let inputs = vec![Tensor {
        shape: vec![4],
        data: vec![21, -40, 7, 50],
    }];
    let mut tensors = evaluate(&key.program, &key.checked, &[], &inputs).expect("evaluates");
    let remainder = (inputs[0].data[0] + 4).rem_euclid(8);
    for t in [q, out] {
        tensors[t as usize].data[0] += 1;
    }
    let outputs = vec![tensors[out as usize].clone()];
    let statement = Statement {
        context: &CONTEXT,
        inputs: &inputs,
        outputs: &outputs,
    };
    let column = only_column(&key.layout, q, Source::Remainder);
    let attack = |stack: Vec<(usize, F)>| {
        let mut adversary = Solved {
            cells: Cells(vec![(column, 0, -8)]),
            stack,
        };
        let proof = prove_with(&pk, None, &statement, tensors.clone(), &mut adversary);
        let proof = proof.expect("a proof");
        let root = Proof::from_bytes(&proof, key).expect("parses").root;
        let got = verify(&key.to_bytes(), &CONTEXT, &inputs, &outputs, &proof);
        (root, got)
    };
    let not_in_tables = Err(Reject::Proof(ProofFault::NotInTables));
    let (root, got) = attack(vec![]);
    assert_eq!(got, not_in_tables);

    let public = PublicTensors::new(key, &inputs, &outputs).expect("they fit");
    let drawn = |root| {
        let mut transcript = start(key, &CONTEXT, &public, root);
        Fingerprint {
            alpha: transcript.challenge(),
            gamma: transcript.challenge(),
        }
    };
    let known = drawn(&root);
    let tables = &key.layout.tables;
    let table = tables.iter().find(|t| t.tag == 3).expect("three bits");
    let fraction = |v: i64| {
        let value = EF::from(F::from_i64(v));
        known.denominator(table.tag, &[value]).inverse()
    };
    let rows = [0, 1, 2].map(fraction);
    let missing = fraction(remainder - 8);
    let solved = solve(rows, missing);
    let sum: EF = rows.iter().zip(solved).map(|(r, m)| *r * m).sum();
    assert_eq!(
        sum, missing,
        "the fractions add up for the known challenges"
    );
    let offset = key.layout.columns[table.multiplicity].offset;
    let (root, got) = attack((0..3).map(|k| (offset + k, solved[k])).collect());
    assert_ne!(drawn(&root).alpha, known.alpha);
    assert_eq!(got, not_in_tables);
}
