//! Random programs of every kind are evaluated, proven and verified.

#[allow(dead_code, reason = "each test binary uses a part")]
mod common;

use common::{KINDS, random_case};
use dsperse_sumcheck_evaluator::evaluate;
use dsperse_sumcheck_packed::{Level, limit};
use dsperse_sumcheck_prover::{ProvingKey, compile, compile_with, lay_out, prove};
use dsperse_sumcheck_verifier::layout::{Column, Layout, WeightRanges};
use dsperse_sumcheck_verifier::program::{Factor, Op, Program, Tensor};
use dsperse_sumcheck_verifier::validate::validate;
use dsperse_sumcheck_verifier::{Reject, verify};
use proptest::prelude::*;

/// What the weights' commitment is to, but for the numbers of nodes.
fn weight_columns(layout: &Layout) -> Vec<Column> {
    let columns = layout.columns.iter().filter(|c| c.is_weight);
    columns
        .map(|c| Column {
            node: 0,
            ..c.clone()
        })
        .collect()
}

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
    let mut parameters = lay_out(&case.program, None).expect("a key").parameters;
    assert_eq!(
        parameters.ranges,
        WeightRanges::Proof,
        "the weights are few"
    );
    if !case.weights.is_empty() && seed.is_multiple_of(2) {
        parameters.ranges = WeightRanges::Key;
    }
    let pk = compile_with(case.program.clone(), parameters, case.weights).expect("compiles");
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
    if parameters.ranges == WeightRanges::Key {
        let key = pk.verifying_key();
        let alone = key.of_weights().expect("a key");
        assert_eq!(weight_columns(&key.layout), weight_columns(&alone.layout));
        let again = ProvingKey::from_key(&vk, pk.weights().to_vec()).expect("the same weights");
        assert_eq!(again.verifying_key().to_bytes(), vk);
    }

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

/// A slice that ends inside its input is not free: in the padded layout, real values
/// follow it, and a public output's padding is zero. All slices of small vectors.
#[test]
fn every_slice_of_a_vector_is_proven() {
    for n in 1..=9usize {
        for step in 1..=4i64 {
            for start in 0..n as i64 {
                for size in 1..=(n - start as usize).div_ceil(step as usize) {
                    let mut program = Program::default();
                    let (lo, hi) = (-100, 100);
                    let shape = vec![n];
                    let input = program.push(Op::Input { shape, lo, hi });
                    let factors = vec![Factor::Strided {
                        dim: 0,
                        size,
                        start,
                        step,
                    }];
                    let slice = program.push(Op::Wire { input, factors });
                    program.outputs.push(slice);
                    let data: Vec<i64> = (1..=n as i64).collect();
                    let inputs = [Tensor::new(vec![n], data).expect("a vector")];
                    let pk = compile(program, vec![]).expect("compiles");
                    let (outputs, proof) = prove(&pk, &[9; 32], &inputs).expect("proves");
                    let vk = pk.verifying_key().to_bytes();
                    let verdict = verify(&vk, &[9; 32], &inputs, &outputs, &proof);
                    assert_eq!(verdict, Ok(()), "{n} {start} {step} {size}");
                }
            }
        }
    }
}

/// A product that two nodes read is claimed at two points, which are proven together.
#[test]
fn a_product_is_proven_at_several_points_at_once() {
    let mut program = Program::default();
    let (lo, hi) = (-100, 100);
    let shape = vec![3, 5];
    let x = program.push(Op::Input { shape, lo, hi });
    let shape = vec![5, 4];
    let w = program.push(Op::Weight { shape, lo, hi });
    let product = program.push(Op::Einsum {
        a: x,
        b: w,
        a_labels: b"tc".to_vec(),
        b_labels: b"cn".to_vec(),
        out_labels: b"tn".to_vec(),
    });
    let rounded = program.push(Op::Requant {
        input: product,
        multiplier: 1,
        shift: 4,
        lo: -5000,
        hi: 5000,
    });
    let rows = Factor::Strided {
        dim: 0,
        size: 2,
        start: 1,
        step: 1,
    };
    let part = program.push(Op::Wire {
        input: product,
        factors: vec![rows, Factor::Keep { dim: 1 }],
    });
    program.outputs = vec![rounded, part];
    let values = |n: i64| (0..n).map(|i| i * 37 % 101 - 50).collect();
    let weights = vec![Tensor::new(vec![5, 4], values(20)).expect("a matrix")];
    let inputs = [Tensor::new(vec![3, 5], values(15)).expect("a matrix")];
    let pk = compile(program, weights).expect("compiles");
    let (outputs, proof) = prove(&pk, &[9; 32], &inputs).expect("proves");
    let vk = pk.verifying_key().to_bytes();
    assert_eq!(verify(&vk, &[9; 32], &inputs, &outputs, &proof), Ok(()));
}

/// All inputs around every edge of rounding and clamping, in one proof each.
#[test]
fn requantisation_is_proven_at_every_edge() {
    use dsperse_sumcheck_verifier::program::{Op, Program, Tensor};
    for (multiplier, shift, lo, hi) in [
        (1, 3, 0, 31),
        (1, 0, -100, 100),
        (7, 5, -32, 31),
        (1, 9, 0, 1),
        (1 << 20, 23, -64, 63),
    ] {
        let xs: Vec<i64> = (-600..=600).chain([-1 << 30, (1 << 30) - 1]).collect();
        let mut program = Program::default();
        let shape = vec![xs.len()];
        let x = program.push(Op::Input {
            shape: shape.clone(),
            lo: -1 << 30,
            hi: 1 << 30,
        });
        let y = program.push(Op::Requant {
            input: x,
            multiplier,
            shift,
            lo,
            hi,
        });
        program.outputs = vec![y];
        let expected: Vec<i64> = xs
            .iter()
            .map(|&x| {
                let scaled = x as f64 * multiplier as f64 / (1i64 << shift) as f64;
                ((scaled + 0.5).floor() as i64).clamp(lo, hi)
            })
            .collect();
        let inputs = [Tensor { shape, data: xs }];
        let pk = compile(program, vec![]).expect("compiles");
        let (outputs, proof) = prove(&pk, &[0; 32], &inputs).expect("proves");
        assert_eq!(outputs[0].data, expected);
        let vk = pk.verifying_key().to_bytes();
        assert_eq!(verify(&vk, &[0; 32], &inputs, &outputs, &proof), Ok(()));
    }
}

/// A proof does not depend on how its work is cut, nor on the processor: one layer, large enough
/// that every step is split, with sizes that are no powers of two.
#[test]
fn keys_and_proofs_are_the_same_for_any_number_of_threads_and_any_processor() {
    let (tokens, inner, outer) = (70, 130, 90);
    let mut program = Program::default();
    let x = program.push(Op::Input {
        shape: vec![tokens, inner],
        lo: -128,
        hi: 127,
    });
    let w = program.push(Op::Weight {
        shape: vec![inner, outer],
        lo: -128,
        hi: 127,
    });
    let acc = program.push(Op::Einsum {
        a: x,
        b: w,
        a_labels: b"tc".to_vec(),
        b_labels: b"cn".to_vec(),
        out_labels: b"tn".to_vec(),
    });
    let hidden = program.push(Op::Requant {
        input: acc,
        multiplier: 1,
        shift: 9,
        lo: 0,
        hi: 200,
    });
    let y = program.push(Op::Einsum {
        a: hidden,
        b: hidden,
        a_labels: b"tn".to_vec(),
        b_labels: b"tn".to_vec(),
        out_labels: b"n".to_vec(),
    });
    program.outputs = vec![y];
    let spread = |n: usize| (0..n as i64).map(|i| i * i * 31 % 256 - 128).collect();
    let weights = vec![Tensor::new(vec![inner, outer], spread(inner * outer)).expect("a matrix")];
    let inputs = [Tensor::new(vec![tokens, inner], spread(tokens * inner)).expect("a matrix")];
    let pk = compile(program.clone(), weights.clone()).expect("compiles");
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("a pool")
            .install(|| prove(&pk, &[9; 32], &inputs))
            .expect("proves")
    };
    let (outputs, proof) = with(1);
    let vk = pk.verifying_key().to_bytes();
    assert_eq!(verify(&vk, &[9; 32], &inputs, &outputs, &proof), Ok(()));
    for threads in [2, 3, 8] {
        assert_eq!(
            with(threads),
            (outputs.clone(), proof.clone()),
            "{threads} threads"
        );
    }
    // Other tests, which run at the same time, get the same results at any level.
    limit(Level::Portable);
    let portable = compile(program, weights).expect("compiles");
    assert_eq!(portable.verifying_key().to_bytes(), vk);
    assert_eq!(with(1), (outputs, proof), "without vector instructions");
    limit(Level::Avx512);
}
