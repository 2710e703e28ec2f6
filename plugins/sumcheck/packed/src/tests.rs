use dsperse_sumcheck_verifier::commit::{EF, F};
use dsperse_sumcheck_verifier::hash::Blake3;
use p3_dft::{NaiveDft, TwoAdicSubgroupDft};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, PrimeField64};
use p3_matrix::dense::RowMajorMatrix;
use p3_symmetric::CryptographicHasher;
use proptest::prelude::*;

use super::*;

/// Any word, among them those at which reductions go wrong: elements are not kept below p.
fn word() -> impl Strategy<Value = F> {
    let p = F::ORDER_U64;
    let edge = prop::sample::select(vec![
        0,
        1,
        (1 << 32) - 1,
        1 << 32,
        (1 << 52) - 1,
        1 << 52,
        p - 1,
        p,
        p + 1,
        u64::MAX,
    ]);
    prop_oneof![edge, any::<u64>()].prop_map(F::new)
}

fn element() -> impl Strategy<Value = EF> {
    [word(), word(), word()].prop_map(|c| EF::from_basis_coefficients_fn(|i| c[i]))
}

fn bases(n: usize) -> impl Strategy<Value = Vec<F>> {
    prop::collection::vec(word(), n)
}

fn elements(n: usize) -> impl Strategy<Value = Vec<EF>> {
    prop::collection::vec(element(), n)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each loop as the processor has it, against the plain one; `n` is no multiple of a
    /// vector's length, so the rest is done as well.
    #[test]
    fn loops_agree_with_the_plain_ones(
        (n, u, v, eq) in (1..40usize).prop_flat_map(|n| (Just(n), bases(4 * n), elements(8 * n), elements(8 * n))),
        r in element(),
        s in element(),
        t in word(),
    ) {
        let new = || vec![EF::ZERO; 8 * n];
        let (mut a, mut b) = (new(), new());
        fold_base(&u, r, &mut a[..2 * n]);
        portable::fold_base(&u, r, &mut b);
        prop_assert_eq!(&a[..2 * n], &b[..2 * n]);

        let (mut a, mut b) = (v.clone(), v.clone());
        fold_in_place(&mut a, r);
        portable::fold_in_place(&mut b, 1, r, 0);
        prop_assert_eq!(&a[..4 * n], &b[..4 * n]);

        let (mut a, mut b) = (v.clone(), v.clone());
        fold_fours_in_place(&mut a, r);
        portable::fold_in_place(&mut b, 4, r, 0);
        prop_assert_eq!(&a[..4 * n], &b[..4 * n]);
        let mut c = vec![EF::ZERO; 4 * n];
        fold_fours(&v, r, &mut c);
        prop_assert_eq!(&c[..], &b[..4 * n]);

        prop_assert_eq!(sums_of(&v, &eq[..n]), portable::sums_of(&v, &eq[..n]));
        prop_assert_eq!(sums_of_ones(&v, r, &eq[..n]), portable::sums_of_ones(&v, r, &eq[..n]));
        prop_assert_eq!(affine_sums(&u, &eq[..n]), portable::affine_sums(&u, &eq[..n]));
        prop_assert_eq!(inner(&eq, &v), portable::inner(&eq, &v));
        prop_assert_eq!(inner_base(&eq[..4 * n], &u), portable::inner_base(&eq, &u));

        prop_assert_eq!(inner_pairs(&eq[..4 * n], &v), portable::inner_pairs(&eq, &v));
        prop_assert_eq!(inner_pairs_base(&eq[..2 * n], &u), portable::inner_pairs_base(&eq, &u));
        prop_assert_eq!(linear_sums(&eq, &v), portable::linear_sums(&eq, &v));

        let (mut a, mut b) = (vec![EF::ZERO; 4 * n], vec![EF::ZERO; 4 * n]);
        add_pairs(&v, &mut a);
        portable::add_pairs(&v, &mut b);
        prop_assert_eq!(&a, &b);
        affine_fold(&u, r, [s, r * s], s + r, &mut a);
        portable::affine_fold(&u, r, [s, r * s], s + r, &mut b);
        prop_assert_eq!(&a, &b);
        affine_parents(&u, r, s, &mut a);
        portable::affine_parents(&u, r, s, &mut b);
        prop_assert_eq!(&a, &b);

        let (low, high) = u.split_at(2 * n);
        let (mut a, mut b) = ((low.to_vec(), high.to_vec()), (low.to_vec(), high.to_vec()));
        butterfly(&mut a.0, &mut a.1, t);
        portable::butterfly(&mut b.0, &mut b.1, t);
        prop_assert_eq!(a, b);
    }
}

/// Enough terms for sums to be reduced in between, all of them as large as words get.
#[test]
fn long_sums_do_not_overflow() {
    let largest = EF::from_basis_coefficients_fn(|_| F::new(u64::MAX));
    let n = 8 * 1000;
    let (eq, rows) = (vec![largest; n], vec![largest; 8 * n]);
    let u = vec![F::new(u64::MAX); 4 * n];
    assert_eq!(inner(&eq, &rows[..n]), portable::inner(&eq, &rows[..n]));
    assert_eq!(inner_base(&eq, &u[..n]), portable::inner_base(&eq, &u[..n]));
    assert_eq!(
        inner_pairs(&eq, &rows[..2 * n]),
        portable::inner_pairs(&eq, &rows[..2 * n])
    );
    assert_eq!(
        inner_pairs_base(&eq, &u[..2 * n]),
        portable::inner_pairs_base(&eq, &u[..2 * n])
    );
    assert_eq!(
        linear_sums(&eq, &rows[..n]),
        portable::linear_sums(&eq, &rows[..n])
    );
    assert_eq!(sums_of(&rows, &eq), portable::sums_of(&rows, &eq));
    assert_eq!(
        sums_of_ones(&rows, largest, &eq),
        portable::sums_of_ones(&rows, largest, &eq)
    );
    assert_eq!(affine_sums(&u, &eq), portable::affine_sums(&u, &eq));
}

/// An odd fraction at the end has no neighbour.
#[test]
fn the_last_of_an_odd_number_of_fractions_stays() {
    let children: Vec<EF> = (0..2 * 37).map(EF::from_u64).collect();
    let mut out = vec![EF::ZERO; 2 * 19];
    add_pairs(&children, &mut out);
    assert_eq!(out[36..], children[72..]);
    let (p0, q0, p1, q1) = (children[0], children[1], children[2], children[3]);
    assert_eq!(out[..2], [p0 * q1 + p1 * q0, q0 * q1]);
}

#[test]
fn many_short_messages_have_the_digests_of_each() {
    for len in [1, 28, 40, 56, 63] {
        let input: Vec<u8> = (0..37 * len).map(|i| (i * i % 251) as u8).collect();
        let mut out = [[0; 32]; 37];
        let done = hash_short(&input, len, &mut out);
        assert!(done == 0 || done == 32, "{done}");
        for (message, digest) in input.chunks(len).zip(out).take(done) {
            assert_eq!(Blake3.hash_slice(message), digest, "{len}");
        }
    }
    // Whole blocks are the library's.
    assert_eq!(hash_short(&[7; 64 * 16], 64, &mut [[0; 32]; 16]), 0);
}

#[test]
fn the_transform_is_the_transform() {
    let matrix = |bits: usize, width: usize| {
        let values = (0..width << bits).map(|i| F::from_u64(i as u64 * 0x9e37_79b9 + 7));
        RowMajorMatrix::new(values.collect(), width)
    };
    for (bits, width) in [(0, 3), (1, 1), (2, 8), (5, 24), (7, 16)] {
        let expected = NaiveDft.dft_batch(matrix(bits, width));
        assert_eq!(
            Dft.dft_batch(matrix(bits, width)),
            expected,
            "{bits} {width}"
        );
    }
    // Larger than a tile, by one and by two walks over far rows.
    let reference = p3_dft::Radix2DFTSmallBatch::default();
    for (bits, width) in [(18, 1), (14, 16), (13, 24), (19, 8)] {
        let expected = reference.dft_batch(matrix(bits, width));
        assert_eq!(
            Dft.dft_batch(matrix(bits, width)),
            expected,
            "{bits} {width}"
        );
    }
}
