//! Random programs of every kind are evaluated, proven and verified.

#[allow(dead_code, reason = "each test binary uses a part")]
mod common;

use common::{KINDS, random_case};
use dsperse_sumcheck_prover::{compile, prove};
use dsperse_sumcheck_verifier::eval::evaluate;
use dsperse_sumcheck_verifier::validate::validate;
use dsperse_sumcheck_verifier::{Reject, verify};
use proptest::prelude::*;

fn check(kind: usize, seed: u64) {
    let case = random_case(kind, seed);
    let checked = validate(&case.program).expect("the program is valid");
    let all = evaluate(&case.program, &checked, &case.weights, &case.inputs).expect("evaluates");
    for (t, b) in all.iter().zip(&checked.bounds) {
        assert!(
            t.data.iter().all(|&v| v >= b.lo && v <= b.hi),
            "bounds of a tensor do not hold"
        );
    }
    let pk = compile(case.program.clone(), case.weights).expect("compiles");
    let (outputs, proof) = prove(&pk, &[9; 32], &case.inputs).expect("proves");
    let expected: Vec<_> = case
        .program
        .outputs
        .iter()
        .map(|&t| all[t as usize].clone())
        .collect();
    assert_eq!(outputs, expected);
    let vk = pk.verifying_key().to_bytes();
    assert_eq!(
        verify(&vk, &[9; 32], &case.inputs, &outputs, &proof),
        Ok(())
    );

    // Another output is not accepted.
    let mut wrong = outputs.clone();
    let at = seed as usize % wrong[0].data.len();
    wrong[0].data[at] += 1;
    let got = verify(&vk, &[9; 32], &case.inputs, &wrong, &proof);
    assert!(
        matches!(got, Err(Reject::Proof(_) | Reject::Public(_))),
        "{got:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]
    #[test]
    fn every_kind_of_program_is_proven_and_verified(kind in 0..KINDS, seed in any::<u64>()) {
        check(kind, seed);
    }
}
