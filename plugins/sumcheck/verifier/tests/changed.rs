//! Stored proofs, keys and statements with one thing changed: each is refused by the check
//! whose business it is, so that none of them stands in for another that is gone.

use std::collections::BTreeMap;

use dsperse_sumcheck_verifier::bytes::EF_BYTES;
use dsperse_sumcheck_verifier::commit::{EF, max_opening_bytes};
use dsperse_sumcheck_verifier::fault::{Malformed, ProofFault, PublicError};
use dsperse_sumcheck_verifier::hash::DIGEST_BYTES;
use dsperse_sumcheck_verifier::key::{KeyError, VerifyingKey};
use dsperse_sumcheck_verifier::program::Tensor;
use dsperse_sumcheck_verifier::proof::{MAX_MESSAGES, Proof};
use dsperse_sumcheck_verifier::verify::verify_with;
use dsperse_sumcheck_verifier::{Reject, verify};
use p3_field::PrimeCharacteristicRing;

#[path = "common/tensors.rs"]
mod read;

use read::tensors;

const PRIMITIVES: &[u8] = include_bytes!("fixture/v2/key.bin");
const REWIRINGS: &[u8] = include_bytes!("fixture/v2-rewirings/key.bin");
const RANGES: &[u8] = include_bytes!("fixture/v3/key.bin");

struct Stored {
    key: VerifyingKey,
    proof: Vec<u8>,
    context: [u8; 32],
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

fn stored(key: &[u8], proof: &[u8], inputs: &str, outputs: &str) -> Stored {
    Stored {
        key: VerifyingKey::from_bytes(key).expect("a key"),
        proof: proof.to_vec(),
        context: std::array::from_fn(|i| i as u8),
        inputs: tensors(inputs),
        outputs: tensors(outputs),
    }
}

/// The slice with every primitive.
fn primitives() -> Stored {
    stored(
        PRIMITIVES,
        include_bytes!("fixture/v2/proof.bin"),
        include_str!("fixture/v2/inputs.txt"),
        include_str!("fixture/v2/outputs.txt"),
    )
}

/// The slice with every sort of rewiring.
fn rewirings() -> Stored {
    stored(
        REWIRINGS,
        include_bytes!("fixture/v2-rewirings/proof.bin"),
        include_str!("fixture/v2-rewirings/inputs.txt"),
        include_str!("fixture/v2-rewirings/outputs.txt"),
    )
}

/// A slice without weights, lookups and equations.
fn nothing_committed() -> Stored {
    stored(
        include_bytes!("fixture/v2-nothing-committed/key.bin"),
        include_bytes!("fixture/v2-nothing-committed/proof.bin"),
        include_str!("fixture/v2-nothing-committed/inputs.txt"),
        include_str!("fixture/v2-nothing-committed/outputs.txt"),
    )
}

impl Stored {
    fn check(&self) -> Result<(), Reject> {
        let Self {
            key,
            proof,
            context,
            inputs,
            outputs,
        } = self;
        verify_with(key, context, inputs, outputs, proof)
    }

    fn parsed(&self) -> Proof {
        Proof::from_bytes(&self.proof, &self.key).expect("a proof")
    }

    /// Why it is refused with other messages.
    fn with_messages(&self, change: impl Fn(&mut Vec<EF>)) -> ProofFault {
        let mut proof = self.parsed();
        change(&mut proof.messages);
        let proof = proof.to_bytes().expect("encodes");
        match verify_with(
            &self.key,
            &self.context,
            &self.inputs,
            &self.outputs,
            &proof,
        ) {
            Err(Reject::Proof(fault)) => fault,
            other => panic!("{other:?}"),
        }
    }

    /// Where the first opening's length stands, and the length.
    fn opening(&self) -> (usize, usize) {
        let at = 8 + DIGEST_BYTES + 4 + EF_BYTES * self.parsed().messages.len();
        let length = u32::from_le_bytes(self.proof[at..at + 4].try_into().expect("four bytes"));
        (at, length as usize)
    }
}

#[test]
fn stored_proofs_hold() {
    for s in [primitives(), rewirings(), nothing_committed()] {
        assert_eq!(s.check(), Ok(()));
    }
}

/// Every message is part of one step, which notices when the message is another.
#[test]
fn a_changed_message_is_noticed_by_its_step() {
    let noticed = |s: &Stored| {
        let mut by_step = BTreeMap::new();
        for at in 0..s.parsed().messages.len() {
            let fault = s.with_messages(|m| m[at] += EF::ONE);
            let name = match fault {
                ProofFault::Layer(_) => "Layer".to_owned(),
                ProofFault::Opening(_) => "Opening".to_owned(),
                other => format!("{other:?}"),
            };
            *by_step.entry(name).or_insert(0) += 1;
        }
        by_step.into_iter().collect::<Vec<_>>()
    };
    let named = |list: &[(&str, usize)]| -> Vec<(String, usize)> {
        list.iter().map(|&(name, n)| (name.to_owned(), n)).collect()
    };
    let steps = [
        ("Columns", 38),
        ("Equations", 81),
        ("Layer", 126),
        ("Limbs", 8),
        ("NotInTables", 4),
        ("Product", 17),
        ("Terms", 4),
        ("TwoClaims", 4),
        ("Wire", 10),
    ];
    assert_eq!(noticed(&primitives()), named(&steps));
    let steps = [
        ("Columns", 34),
        ("Equations", 36),
        ("Layer", 104),
        ("Limbs", 4),
        ("NotInTables", 4),
        ("Product", 10),
        ("TwoClaims", 3),
        ("Wire", 44),
    ];
    assert_eq!(noticed(&rewirings()), named(&steps));
    // Where nothing is claimed of the stack, its value is what the opening says.
    let steps = [("Columns", 16), ("Opening", 1), ("Wire", 7)];
    assert_eq!(noticed(&nothing_committed()), named(&steps));
}

#[test]
fn messages_are_as_many_as_the_protocol_has() {
    for s in [primitives(), rewirings(), nothing_committed()] {
        let more = s.with_messages(|m| m.push(EF::ONE));
        assert_eq!(more, ProofFault::TooManyMessages(1));
        let fewer = s.with_messages(|m| {
            m.pop();
        });
        assert_eq!(fewer, ProofFault::TooFewMessages);
    }
}

/// Fractions without a value add up to anything.
#[test]
fn the_root_of_the_lookups_has_denominators() {
    for (p0, p1, q0, q1) in [(0, 0, 0, 1), (0, 0, 1, 0), (0, 1, 0, 0)] {
        let fault = primitives().with_messages(|m| {
            m.splice(0..4, [p0, p1, q0, q1].map(EF::from_i32));
        });
        assert_eq!(fault, ProofFault::Denominator);
    }
}

#[test]
fn a_changed_opening_is_refused() {
    let s = primitives();
    let (at, _) = s.opening();
    let mut refused = BTreeMap::new();
    for flip in (at + 4..s.proof.len()).step_by(211) {
        let mut proof = s.proof.clone();
        proof[flip] ^= 1;
        let got = verify_with(&s.key, &s.context, &s.inputs, &s.outputs, &proof);
        let kind = match got {
            Err(Reject::Proof(ProofFault::Opening(_))) => "opening",
            Err(Reject::Proof(ProofFault::Malformed(_))) => "malformed",
            other => panic!("byte {flip}: {other:?}"),
        };
        *refused.entry(kind).or_insert(0) += 1;
    }
    assert!(refused["opening"] > 100, "{refused:?}");
}

#[test]
fn a_proof_has_one_spelling() {
    let s = primitives();
    let (at, length) = s.opening();
    let refused = |proof: &[u8]| match Proof::from_bytes(proof, &s.key) {
        Ok(_) => panic!("it is accepted"),
        Err(fault) => fault,
    };
    let malformed = |proof: &[u8]| match refused(proof) {
        ProofFault::Malformed(malformed) => malformed,
        other => panic!("{other:?}"),
    };
    let with_length = |n: usize, bytes: &[u8]| {
        let mut proof = s.proof[..at].to_vec();
        proof.extend((n as u32).to_le_bytes());
        proof.extend(bytes);
        proof.extend(&s.proof[at + 4 + length..]);
        proof
    };
    let opening = &s.proof[at + 4..at + 4 + length];
    assert_eq!(with_length(length, opening), s.proof);
    let more = [&s.proof[..], &[0]].concat();
    assert_eq!(malformed(&more), Malformed::Rest { bytes: 1 });
    let longer = [opening, &[0]].concat();
    let got = malformed(&with_length(length + 1, &longer));
    assert_eq!(got, Malformed::OpeningRest);
    // The same first length in two bytes, where one does.
    assert!(opening[0] < 0x80);
    let spelt = [&[opening[0] | 0x80, 0], &opening[1..]].concat();
    let got = malformed(&with_length(length + 1, &spelt));
    assert_eq!(got, Malformed::Spelling);
    // As long as an opening can be, and longer.
    let rates = s.key.parameters;
    let most = max_opening_bytes(s.key.layout.activation_vars, rates.activation_rate.into());
    let most = most.expect("a limit");
    let got = malformed(&with_length(most + 1, opening));
    let found = most + 1;
    assert_eq!(got, Malformed::LongOpening { found, most });
    let got = malformed(&with_length(most, opening));
    assert!(!matches!(got, Malformed::LongOpening { .. }), "{got:?}");

    let with_mark = |at: usize, byte| {
        let mut proof = s.proof.clone();
        proof[at] = byte;
        malformed(&proof)
    };
    assert!(matches!(
        with_mark(7, 1),
        Malformed::Version { found: 1, .. }
    ));
    assert_eq!(with_mark(7, 3), Malformed::Mark("proof"));
    assert_eq!(with_mark(0, b'X'), Malformed::Mark("proof"));
    let mut other = s.proof.clone();
    (other[0], other[7]) = (b'X', 1);
    assert_eq!(malformed(&other), Malformed::Mark("proof"));
}

#[test]
fn the_longest_proof_is_known_to_the_byte() {
    for s in [primitives(), rewirings(), nothing_committed()] {
        let (layout, rates) = (&s.key.layout, s.key.parameters);
        let opening = |vars, rate: u8| max_opening_bytes(vars, rate.into()).expect("a limit");
        let weights = layout.weight_vars;
        let openings = opening(layout.activation_vars, rates.activation_rate)
            + weights.map_or(0, |vars| opening(vars, rates.weight_rate));
        // Mark and root, three lengths, messages, openings.
        let most = 8 + DIGEST_BYTES + 3 * 4 + MAX_MESSAGES * EF_BYTES + openings;
        assert_eq!(Proof::max_bytes(&s.key), Ok(most));
    }
}

/// There is no range check in a proof for what is public.
#[test]
fn public_values_fit_the_program() {
    let s = rewirings();
    let refused = |inputs: &[Tensor], outputs: &[Tensor]| match verify_with(
        &s.key, &s.context, inputs, outputs, &s.proof,
    ) {
        Err(Reject::Public(e)) => e,
        other => panic!("{other:?}"),
    };
    let count = |what, needed, given| PublicError::Count {
        what,
        needed,
        given,
    };
    let (inputs, outputs) = (&s.inputs, &s.outputs);
    assert_eq!(refused(&inputs[1..], outputs), count("inputs", 3, 2));
    assert_eq!(refused(inputs, &outputs[1..]), count("outputs", 9, 8));
    let changed = |change: &dyn Fn(&mut Tensor)| {
        let mut inputs = inputs.clone();
        change(&mut inputs[0]);
        refused(&inputs, outputs)
    };
    for (value, lo, hi) in [(-21, -20, 20), (21, -20, 20)] {
        let tensor = 0;
        let got = changed(&|t| t.data[5] = value);
        let want = PublicError::Value {
            tensor,
            value,
            lo,
            hi,
        };
        assert_eq!(got, want);
    }
    let shapes = [
        changed(&|t| t.shape = vec![4, 3]),
        changed(&|t| t.data.truncate(11)),
    ];
    for got in shapes {
        assert!(matches!(got, PublicError::Shape { .. }), "{got:?}");
    }
    // Values at either bound are another statement, which the proof is not for.
    for value in [-20, 20] {
        let mut inputs = inputs.clone();
        inputs[0].data[5] = value;
        let got = verify_with(&s.key, &s.context, &inputs, outputs, &s.proof);
        assert!(matches!(got, Err(Reject::Proof(_))), "{got:?}");
    }
}

/// Each public value, that of any sort of rewiring too, is bound by the proof.
#[test]
fn every_other_output_is_refused() {
    for mut s in [primitives(), rewirings(), nothing_committed()] {
        for (tensor, at) in s
            .outputs
            .iter()
            .enumerate()
            .flat_map(|(i, t)| (0..t.data.len()).map(move |at| (i, at)))
            .collect::<Vec<_>>()
        {
            s.outputs[tensor].data[at] -= 1;
            assert!(s.check().is_err(), "output {tensor}, element {at}");
            s.outputs[tensor].data[at] += 1;
        }
        assert_eq!(s.check(), Ok(()));
    }
}

#[test]
fn a_key_has_one_spelling() {
    let refused = |key: &[u8]| VerifyingKey::from_bytes(key).expect_err("it is refused");
    let malformed = |key: &[u8]| match refused(key) {
        KeyError::Malformed(malformed) => malformed,
        other => panic!("{other:?}"),
    };
    for key in [PRIMITIVES, REWIRINGS, RANGES] {
        let read = VerifyingKey::from_bytes(key).expect("a key");
        assert_eq!(read.to_bytes(), key);
        let more = [key, &[0]].concat();
        assert_eq!(malformed(&more), Malformed::Rest { bytes: 1 });
        let mut other = key.to_vec();
        other[0] = b'X';
        assert_eq!(malformed(&other), Malformed::Mark("key"));
        // Weights without a commitment, and a commitment without weights.
        let none = [&key[..11], &[0], &key[12 + DIGEST_BYTES + EF_BYTES..]].concat();
        assert_eq!(malformed(&none), Malformed::Weights);
        let without_weights = |ranges: &[u8], flag: &[u8]| {
            let no_program: [u8; 12] = [0; 12];
            let parts = [&key[..7], ranges, &key[8..11], flag];
            let proof: &[u8] = if ranges == [3] { &[0; 4] } else { &[] };
            [&parts.concat(), proof, &no_program].concat()
        };
        let commitment = &key[11..12 + DIGEST_BYTES + EF_BYTES];
        assert!(VerifyingKey::from_bytes(&without_weights(&[2], &[0])).is_ok());
        for (ranges, flag) in [(2, commitment), (3, &[0]), (3, commitment)] {
            let key = without_weights(&[ranges], flag);
            assert_eq!(malformed(&key), Malformed::Weights);
        }
    }
}

/// A statement is bound to its key: one with another commitment, or none, is another.
#[test]
fn a_key_with_another_root_or_anchor_is_another() {
    for s in [primitives(), rewirings()] {
        let weights = s.key.weights.expect("weights");
        let mut root = weights;
        root.root[0] ^= 1;
        let mut anchor = weights;
        anchor.anchor += EF::ONE;
        for weights in [Some(root), Some(anchor), None] {
            let key = VerifyingKey {
                weights,
                ..s.key.clone()
            };
            let got = verify_with(&key, &s.context, &s.inputs, &s.outputs, &s.proof);
            assert!(matches!(got, Err(Reject::Proof(_))), "{got:?}");
            let got = verify(&key.to_bytes(), &s.context, &s.inputs, &s.outputs, &s.proof);
            assert!(got.is_err());
        }
    }
}
