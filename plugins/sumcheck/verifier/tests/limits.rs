//! What a small key may ask for: the work of checking it is bounded before it is done.

use dsperse_sumcheck_verifier::claims::{Claims, MAX_CLAIMS, MAX_EVALUATED_ENTRIES};
use dsperse_sumcheck_verifier::commit::{
    EF, MAX_LOG_INV_RATE, MAX_STACK, MIN_STACK, max_opening_bytes,
};
use dsperse_sumcheck_verifier::fault::ProofFault;
use dsperse_sumcheck_verifier::key::VerifyingKey;
use dsperse_sumcheck_verifier::program::{MAX_ELEMENTS, Op, Program};
use dsperse_sumcheck_verifier::validate::{ProgramError, rescale, validate};
use dsperse_sumcheck_verifier::wire::{
    ENTRIES_PER_VALUE, FREE_ENTRIES, Factor, MAX_FACTOR_ENTRIES, MAX_PROGRAM_ENTRIES,
};
use p3_field::PrimeCharacteristicRing;

/// Elements from `start` on, one after the other.
fn slice(size: usize, start: i64) -> Factor {
    Factor::Strided {
        dim: 0,
        size,
        start,
        step: 1,
    }
}

/// An input within bounds, and a rewiring of it.
fn rewired(elements: usize, (lo, hi): (i64, i64), factor: Factor) -> Program {
    let mut p = Program::default();
    let shape = vec![elements];
    let input = p.push(Op::Input { shape, lo, hi });
    let factors = vec![factor];
    let output = p.push(Op::Wire { input, factors });
    p.outputs = vec![output];
    p
}

/// `wires` long rewirings of an input of this many elements.
fn program(elements: usize, wires: usize) -> Program {
    let mut p = Program::default();
    let x = p.push(Op::Input {
        shape: vec![elements],
        lo: 0,
        hi: 1,
    });
    let mut last = x;
    for _ in 0..wires {
        let big = p.push(Op::Wire {
            input: x,
            factors: vec![slice(MAX_FACTOR_ENTRIES, 1)],
        });
        last = p.push(Op::Wire {
            input: big,
            factors: vec![slice(1, 1)],
        });
    }
    p.outputs = vec![last];
    p
}

#[test]
fn entries_are_counted_over_the_whole_program() {
    let checked = validate(&program(1 << 21, 1)).expect("one long wire is allowed");
    assert!(checked.entries > MAX_FACTOR_ENTRIES as u64);
    let got = validate(&program(1 << 21, 64));
    let Err(ProgramError::WireEntries { found, .. }) = got else {
        panic!("{got:?}")
    };
    // The pass stops at the first wire too many, so it never lists more than the limit.
    assert!(found <= MAX_PROGRAM_ENTRIES + MAX_FACTOR_ENTRIES as u64);
}

/// A key of 200 bytes must not cost what a large model's may.
#[test]
fn small_tensors_allow_for_few_entries() {
    let got = validate(&program(3, 1));
    let Err(ProgramError::WireEntries { limit, .. }) = got else {
        panic!("{got:?}")
    };
    assert_eq!(limit, FREE_ENTRIES + 4 * ENTRIES_PER_VALUE);
}

/// What is committed to, or comes in, may be as large as one tensor; what is only computed
/// on the way may be larger.
#[test]
fn tensors_have_a_greatest_size() {
    let with = |elements| validate(&rewired(elements, (0, 1), slice(1, 0)));
    assert_eq!(with(MAX_ELEMENTS).err(), None);
    let got = with(MAX_ELEMENTS + 1);
    let Err(ProgramError::TooMany { limit, .. }) = got else {
        panic!("{got:?}")
    };
    assert_eq!(limit, MAX_ELEMENTS);
}

#[test]
fn evaluations_are_counted_over_all_claims() {
    let mut claims = Claims::new(1, 1);
    assert!(claims.evaluate_entries(MAX_EVALUATED_ENTRIES).is_ok());
    assert!(claims.evaluate_entries(1).is_err());
    let mut claims = Claims::new(1, 1);
    assert!(claims.evaluate_entries(u64::MAX).is_err());
}

#[test]
fn two_claims_at_one_point_must_agree() {
    let (point, one, two) = ([EF::TWO], EF::ONE, EF::TWO);
    let mut claims = Claims::new(1, 1);
    for value in [one, one] {
        assert_eq!(claims.tensor(0, &point, value), Ok(()));
        assert_eq!(claims.column(0, &point, value), Ok(()));
    }
    assert_eq!(claims.tensor(0, &point, two), Err(ProofFault::TwoClaims));
    assert_eq!(claims.column(0, &point, two), Err(ProofFault::TwoClaims));
    assert_eq!((claims.tensors[0].len(), claims.columns[0].len()), (1, 1));
}

#[test]
fn claims_about_one_value_are_counted() {
    let mut claims = Claims::new(1, 1);
    let mut add = |i| {
        let point = [EF::from_usize(i)];
        let (tensor, column) = (
            claims.tensor(0, &point, EF::ONE),
            claims.column(0, &point, EF::ONE),
        );
        assert_eq!(tensor, column);
        tensor
    };
    assert!((0..MAX_CLAIMS).all(|i| add(i) == Ok(())));
    assert_eq!(add(MAX_CLAIMS), Err(ProofFault::TooManyClaims));
    // What is claimed already is no further claim.
    assert_eq!(add(0), Ok(()));
}

/// The figures are those of the encoding: a proof that is longer than they allow is not read.
#[test]
fn the_longest_opening_is_known_to_the_byte() {
    let most = |vars, rate| max_opening_bytes(vars, rate).expect("supported");
    assert_eq!(
        [
            most(8, 5),
            most(17, 4),
            most(20, 2),
            most(23, 1),
            most(26, 1)
        ],
        [24_588, 85_612, 195_962, 388_146, 449_558]
    );
}

/// An entry that is listed twice would count twice.
#[test]
fn entries_of_a_matrix_are_sorted_and_single() {
    let valid = |entries: &[(u32, u32, i32)]| {
        let matrix = Factor::Matrix {
            dims: vec![0],
            sizes: vec![2],
            entries: entries.to_vec(),
        };
        validate(&rewired(3, (0, 1), matrix)).is_ok()
    };
    assert!(valid(&[(0, 0, 1), (0, 1, 1), (1, 0, 1)]));
    assert!(!valid(&[(0, 0, 1), (0, 0, 1), (1, 0, 1)]));
    assert!(!valid(&[(0, 1, 1), (0, 0, 1), (1, 0, 1)]));
}

/// Halves are rounded up.
#[test]
fn rescaling_rounds_to_the_nearest() {
    let of = |x, multiplier, shift| rescale(x, multiplier, shift);
    assert_eq!(
        [-3, -2, -1, 0, 1, 2, 3].map(|x| of(x, 1, 1)),
        [-1, -1, 0, 0, 1, 1, 2]
    );
    assert_eq!([of(3, 5, 2), of(-3, 5, 2), of(7, 3, 0)], [4, -4, 21]);
}

/// What a rewiring adds up is bounded by its coefficients' sizes, whatever their signs.
#[test]
fn sums_of_a_rewiring_are_bounded() {
    let matrix = Factor::Matrix {
        dims: vec![0],
        sizes: vec![1],
        entries: vec![(0, 0, 3), (0, 1, -2)],
    };
    let b = &validate(&rewired(2, (-1, 1), matrix))
        .expect("valid")
        .bounds[1];
    assert_eq!((b.lo, b.hi), (-5, 5));
}

/// A sum of squares is known not to be negative; of a product of other elements it is not.
#[test]
fn squares_are_bounded_from_below() {
    let bounds = |b_labels: &[u8]| {
        let mut p = Program::default();
        let x = p.push(Op::Input {
            shape: vec![3, 3],
            lo: -5,
            hi: 4,
        });
        let y = p.push(Op::Einsum {
            a: x,
            b: x,
            a_labels: b"ij".to_vec(),
            b_labels: b_labels.to_vec(),
            out_labels: b"i".to_vec(),
        });
        p.outputs = vec![y];
        let checked = validate(&p).expect("valid");
        let b = &checked.bounds[y as usize];
        (b.lo, b.hi)
    };
    assert_eq!(bounds(b"ij"), (0, 75));
    assert_eq!(bounds(b"ji"), (-60, 75));
}

/// Neither side of a division's equation wraps around the field, for any quotient that its range
/// check admits: with quotients from 0 to 2^30 - 1, limbs that admit twice that range beyond, and
/// a denominator d, the right side is at most `6 2^30 d`, and the limit is 2^61.
#[test]
fn a_division_that_could_wrap_around_is_refused() {
    let admitted = |num: i64, den: i64| {
        let mut p = Program::default();
        let input = |lo, hi| Op::Input {
            shape: vec![1],
            lo,
            hi,
        };
        let num = p.push(input(0, num));
        let den = p.push(input(1, den));
        let q = p.push(Op::Div {
            num,
            den,
            lo: 0,
            hi: (1 << 30) - 1,
        });
        p.outputs = vec![q];
        validate(&p).is_ok()
    };
    assert!(admitted(1, (1 << 31) / 6));
    assert!(!admitted(1, (1 << 31) / 6 + 1));
    // The left side is twice the numerator, and the denominator.
    assert!(admitted((1 << 60) - 1, 1));
    assert!(!admitted(1 << 60, 1));
}

#[test]
fn every_supported_size_has_a_limit_for_its_opening() {
    for vars in MIN_STACK..=MAX_STACK {
        for rate in 1..=MAX_LOG_INV_RATE {
            if let Ok(most) = max_opening_bytes(vars, rate) {
                assert!(
                    (10_000..3_000_000).contains(&most),
                    "{vars}, {rate}: {most}"
                );
            }
        }
    }
}

#[test]
fn ids_are_an_input_within_the_dimension() {
    let with = |hi: i64, ids: Op| {
        let mut p = Program::default();
        let x = p.push(Op::Input {
            shape: vec![4, 2],
            lo: 0,
            hi,
        });
        let ids = match ids {
            Op::Requant { .. } => p.push(Op::Requant {
                input: x,
                multiplier: 1,
                shift: 0,
                lo: 0,
                hi: 3,
            }),
            other => p.push(other),
        };
        let y = p.push(Op::Select {
            input: x,
            dim: 0,
            ids,
        });
        p.outputs = vec![y];
        validate(&p).map(|c| c.shapes[y as usize].clone())
    };
    let ids = |lo, hi| Op::Input {
        shape: vec![2, 3],
        lo,
        hi,
    };
    assert_eq!(with(9, ids(0, 3)), Ok(vec![6, 2]));
    for wrong in [
        ids(0, 4),
        ids(-1, 3),
        Op::Weight {
            shape: vec![2],
            lo: 0,
            hi: 3,
        },
        Op::Requant {
            input: 0,
            multiplier: 1,
            shift: 0,
            lo: 0,
            hi: 3,
        },
    ] {
        let got = with(3, wrong);
        assert!(matches!(got, Err(ProgramError::Node { .. })), "{got:?}");
    }
}

/// Words at which something ends: lengths, shifts, bounds, tags.
const EDGES: [u64; 20] = [
    0,
    1,
    2,
    7,
    15,
    41,
    63,
    255,
    1 << 16,
    1 << 22,
    1 << 24,
    1 << 31,
    (1 << 32) - 2,
    1 << 32,
    1 << 40,
    (1 << 61) - 1,
    1 << 61,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX,
];

#[test]
fn keys_with_edges_written_over_them_are_read_or_refused_without_a_panic() {
    // No net here: a panic is a failure of this test.
    let key = include_bytes!("fixture/v2/key.bin");
    let mut state = 88_172_645_463_325_252u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut read = 0;
    for _ in 0..3000 {
        let mut key = key.to_vec();
        for _ in 0..=random(3) {
            let word = EDGES[random(EDGES.len())].to_le_bytes();
            let len = [1, 4, 8][random(3)];
            let at = random(key.len() - 8);
            key[at..at + len].copy_from_slice(&word[..len]);
        }
        read += usize::from(VerifyingKey::from_bytes(&key).is_ok());
    }
    assert!(read > 0, "some of them are keys");
}
