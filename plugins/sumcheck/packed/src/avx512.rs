//! The loops of this crate with AVX-512 and its 52-bit products (IFMA): Intel since Ice Lake,
//! AMD since Zen 4.
//!
//! Eight elements are worked on at once. A vector holds one coordinate of each, as any word that
//! stands for it modulo p = 2^64 - 2^32 + 1. A product of words `x + 2^52 x'` and `y + 2^52 y'`
//! is kept as three sums, of what counts 1, 2^52 and 2^104; each product adds less than `3 2^52`
//! to one of them, so more than a thousand can be added before a word overflows, and the
//! reduction modulo p is paid once for all of them.

use std::arch::x86_64::*;

use dsperse_sumcheck_verifier::commit::{EF, F};
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, PrimeField64};

type V = __m512i;

/// Most products in the challenge field that a sum takes: each is up to three products of words
/// in a coordinate, each of which adds less than `3 2^52` to 64 bits.
const MOST: usize = 400;

// ---- words ------------------------------------------------------------------------------

/// The words of elements of the base field.
fn words(v: &[F]) -> &[u64] {
    // SAFETY: `Goldilocks` is `repr(transparent)` over `u64`, for which any word is valid.
    unsafe { std::slice::from_raw_parts(v.as_ptr().cast(), v.len()) }
}

fn words_mut(v: &mut [F]) -> &mut [u64] {
    // SAFETY: as in `words`; any word is an element, so any may be written.
    unsafe { std::slice::from_raw_parts_mut(v.as_mut_ptr().cast(), v.len()) }
}

/// The words of elements of the challenge field, three each.
fn ext_words(v: &[EF]) -> &[u64] {
    // SAFETY: `ExtField` is `repr(transparent)` over an array of three `Goldilocks`.
    unsafe { std::slice::from_raw_parts(v.as_ptr().cast(), 3 * v.len()) }
}

fn ext_words_mut(v: &mut [EF]) -> &mut [u64] {
    // SAFETY: as in `ext_words` and `words_mut`.
    unsafe { std::slice::from_raw_parts_mut(v.as_mut_ptr().cast(), 3 * v.len()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load(from: &[u64; 8]) -> V {
    // SAFETY: reads the eight words that are there; any alignment is allowed.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn store(v: V, to: &mut [u64; 8]) {
    // SAFETY: writes the eight words that are there; any alignment is allowed.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), v) }
}

/// Stores the first or the second half.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn store_half(v: V, half: usize, to: &mut [u64; 4]) {
    let half = match half {
        0 => _mm512_castsi512_si256(v),
        _ => _mm512_extracti64x4_epi64::<1>(v),
    };
    // SAFETY: writes the four words that are there; any alignment is allowed.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), half) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load_many<const N: usize>(from: &[u64]) -> [V; N] {
    let mut out = [_mm512_setzero_si512(); N];
    for (v, from) in out.iter_mut().zip(from.as_chunks().0) {
        *v = load(from);
    }
    out
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn store_many<const N: usize>(vectors: [V; N], to: &mut [u64]) {
    for (v, to) in vectors.into_iter().zip(to.as_chunks_mut().0) {
        store(v, to);
    }
}

// ---- arithmetic modulo p ------------------------------------------------------------------

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn splat(word: u64) -> V {
    _mm512_set1_epi64(word.cast_signed())
}

/// The word below p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn canonical(a: V) -> V {
    // A word below p becomes a larger one.
    _mm512_min_epu64(a, _mm512_sub_epi64(a, splat(F::ORDER_U64)))
}

/// `a + b`, where b is below p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add(a: V, b: V) -> V {
    let sum = _mm512_add_epi64(a, b);
    let carry = _mm512_cmplt_epu64_mask(sum, a);
    // 2^64 = 2^32 - 1; what is left of a carry is below p, so there is no second.
    _mm512_mask_add_epi64(sum, carry, sum, splat(0xffff_ffff))
}

/// `a - b`, where b is below p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn sub(a: V, b: V) -> V {
    let borrow = _mm512_cmplt_epu64_mask(a, b);
    let difference = _mm512_sub_epi64(a, b);
    _mm512_mask_sub_epi64(difference, borrow, difference, splat(0xffff_ffff))
}

/// `a - b` for any words.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn minus(a: V, b: V) -> V {
    sub(a, canonical(b))
}

/// `a + b` for any words.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn plus(a: V, b: V) -> V {
    add(a, canonical(b))
}

/// A factor of products: a word, and its bits from 52 on.
#[derive(Clone, Copy)]
struct Factor {
    word: V,
    high: V,
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn factor(word: V) -> Factor {
    Factor {
        word,
        high: _mm512_srli_epi64::<52>(word),
    }
}

/// A sum of products: `sum[0] + 2^52 sum[1] + 2^104 sum[2]`.
type Sum = [V; 3];

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn zero_sum() -> Sum {
    [_mm512_setzero_si512(); 3]
}

/// Adds `x y`. The instructions read the low 52 bits of their factors.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_product([low, middle, high]: Sum, x: Factor, y: Factor) -> Sum {
    let low = _mm512_madd52lo_epu64(low, x.word, y.word);
    let middle = _mm512_madd52hi_epu64(middle, x.word, y.word);
    let middle = _mm512_madd52lo_epu64(middle, x.word, y.high);
    let middle = _mm512_madd52lo_epu64(middle, x.high, y.word);
    let high = _mm512_madd52hi_epu64(high, x.word, y.high);
    let high = _mm512_madd52hi_epu64(high, x.high, y.word);
    let high = _mm512_madd52lo_epu64(high, x.high, y.high);
    [low, middle, high]
}

/// The sum modulo p, below p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn reduce([low, middle, high]: Sum) -> V {
    // With middle = a + 2^12 b + 2^44 c, where a has 12 bits and b has 32:
    // 2^52 middle = 2^52 a + 2^64 b + 2^96 c = 2^52 a + (2^32 - 1) b - c, and 2^104 = -2^8.
    let a = _mm512_slli_epi64::<52>(middle);
    let b = _mm512_mul_epu32(_mm512_srli_epi64::<12>(middle), splat(0xffff_ffff));
    let less = _mm512_add_epi64(
        _mm512_srli_epi64::<44>(middle),
        _mm512_slli_epi64::<8>(high),
    );
    canonical(sub(add(add(low, a), b), less))
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn mul(x: Factor, y: Factor) -> V {
    reduce(add_product(zero_sum(), x, y))
}

/// Eight elements of the challenge field, by coordinates.
type Ext = [V; 3];

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn ext_plus(a: Ext, b: Ext) -> Ext {
    [plus(a[0], b[0]), plus(a[1], b[1]), plus(a[2], b[2])]
}

/// `a + b`, where b is below p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn ext_add(a: Ext, b: Ext) -> Ext {
    [add(a[0], b[0]), add(a[1], b[1]), add(a[2], b[2])]
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn ext_minus(a: Ext, b: Ext) -> Ext {
    [minus(a[0], b[0]), minus(a[1], b[1]), minus(a[2], b[2])]
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn ext_splat(x: EF) -> Ext {
    let c: &[F] = x.as_basis_coefficients_slice();
    [
        splat(c[0].as_canonical_u64()),
        splat(c[1].as_canonical_u64()),
        splat(c[2].as_canonical_u64()),
    ]
}

/// A factor of products in the challenge field: `b0, b1, b2, b0 + b2, b1 + b2`.
#[derive(Clone, Copy)]
struct ExtFactor([Factor; 5]);

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn ext_factor(b: Ext) -> ExtFactor {
    let b2 = canonical(b[2]);
    ExtFactor([
        factor(b[0]),
        factor(b[1]),
        factor(b[2]),
        factor(add(b[0], b2)),
        factor(add(b[1], b2)),
    ])
}

/// A sum of products in the challenge field.
type ExtSum = [Sum; 3];

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn zero_ext_sum() -> ExtSum {
    [zero_sum(); 3]
}

/// Adds `a b`, where X^3 = X + 1.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_ext_product([s0, s1, s2]: ExtSum, a: Ext, b: &ExtFactor) -> ExtSum {
    let [a0, a1, a2] = [factor(a[0]), factor(a[1]), factor(a[2])];
    let ExtFactor([b0, b1, b2, b02, b12]) = *b;
    let s0 = add_product(add_product(add_product(s0, a0, b0), a1, b2), a2, b1);
    let s1 = add_product(add_product(add_product(s1, a0, b1), a1, b02), a2, b12);
    let s2 = add_product(add_product(add_product(s2, a0, b2), a1, b1), a2, b02);
    [s0, s1, s2]
}

/// Adds `a b` for `a` in the base field.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_base_product([s0, s1, s2]: ExtSum, a: Factor, b: &ExtFactor) -> ExtSum {
    let ExtFactor([b0, b1, b2, ..]) = *b;
    [
        add_product(s0, a, b0),
        add_product(s1, a, b1),
        add_product(s2, a, b2),
    ]
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn reduce_ext(sum: ExtSum) -> Ext {
    [reduce(sum[0]), reduce(sum[1]), reduce(sum[2])]
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn ext_mul(a: Ext, b: &ExtFactor) -> Ext {
    reduce_ext(add_ext_product(zero_ext_sum(), a, b))
}

/// The sum of the eight elements.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn total(v: Ext) -> EF {
    let coordinate = |v: V| {
        let mut lanes = [0; 8];
        store(v, &mut lanes);
        lanes.into_iter().map(F::new).sum::<F>()
    };
    let c = [coordinate(v[0]), coordinate(v[1]), coordinate(v[2])];
    EF::from_basis_coefficients_fn(|i| c[i])
}

// ---- from neighbours to coordinates, and back ---------------------------------------------

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn pick(a: V, index: [i64; 8], b: V) -> V {
    let [i0, i1, i2, i3, i4, i5, i6, i7] = index;
    _mm512_permutex2var_epi64(a, _mm512_setr_epi64(i0, i1, i2, i3, i4, i5, i6, i7), b)
}

/// The lanes of even, and of odd number.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn halves(a: V, b: V) -> (V, V) {
    (
        pick(a, [0, 2, 4, 6, 8, 10, 12, 14], b),
        pick(a, [1, 3, 5, 7, 9, 11, 13, 15], b),
    )
}

/// Eight neighbouring elements of the challenge field by coordinates.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn split([a, b, c]: [V; 3]) -> Ext {
    let x = pick(a, [0, 3, 6, 9, 12, 15, 0, 0], b);
    let y = pick(a, [1, 4, 7, 10, 13, 0, 0, 0], b);
    let z = pick(a, [2, 5, 8, 11, 14, 0, 0, 0], b);
    [
        pick(x, [0, 1, 2, 3, 4, 5, 10, 13], c),
        pick(y, [0, 1, 2, 3, 4, 8, 11, 14], c),
        pick(z, [0, 1, 2, 3, 4, 9, 12, 15], c),
    ]
}

/// The inverse of [`split`].
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn join([x, y, z]: Ext) -> [V; 3] {
    let a = pick(x, [0, 8, 0, 1, 9, 0, 2, 10], y);
    let b = pick(x, [0, 3, 11, 0, 4, 12, 0, 5], y);
    let c = pick(x, [13, 0, 6, 14, 0, 7, 15, 0], y);
    [
        pick(a, [0, 1, 8, 3, 4, 9, 6, 7], z),
        pick(b, [10, 1, 2, 11, 4, 5, 12, 7], z),
        pick(c, [0, 13, 2, 3, 14, 5, 6, 15], z),
    ]
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load_ext(from: &[u64]) -> Ext {
    split(load_many(from))
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn store_ext(v: Ext, to: &mut [u64]) {
    store_many(join(v), to);
}

/// Rows become columns.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn transpose(r: [V; 8]) -> [V; 8] {
    let pairs = [
        _mm512_unpacklo_epi64(r[0], r[1]),
        _mm512_unpackhi_epi64(r[0], r[1]),
        _mm512_unpacklo_epi64(r[2], r[3]),
        _mm512_unpackhi_epi64(r[2], r[3]),
        _mm512_unpacklo_epi64(r[4], r[5]),
        _mm512_unpackhi_epi64(r[4], r[5]),
        _mm512_unpacklo_epi64(r[6], r[7]),
        _mm512_unpackhi_epi64(r[6], r[7]),
    ];
    // Columns 2k (first) and 2k + 1 of four rows are in the k-th quarter of each pair.
    let [e0, o0, e1, o1, e2, o2, e3, o3] = pairs;
    let quarters = |a, b, c, d| {
        let low_a = _mm512_shuffle_i64x2::<0x44>(a, b);
        let low_b = _mm512_shuffle_i64x2::<0x44>(c, d);
        let high_a = _mm512_shuffle_i64x2::<0xee>(a, b);
        let high_b = _mm512_shuffle_i64x2::<0xee>(c, d);
        [
            _mm512_shuffle_i64x2::<0x88>(low_a, low_b),
            _mm512_shuffle_i64x2::<0xdd>(low_a, low_b),
            _mm512_shuffle_i64x2::<0x88>(high_a, high_b),
            _mm512_shuffle_i64x2::<0xdd>(high_a, high_b),
        ]
    };
    let [c0, c2, c4, c6] = quarters(e0, e1, e2, e3);
    let [c1, c3, c5, c7] = quarters(o0, o1, o2, o3);
    [c0, c1, c2, c3, c4, c5, c6, c7]
}

/// The columns of eight rows of 24 words.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load_rows(from: &[u64]) -> [V; 24] {
    let mut out = [_mm512_setzero_si512(); 24];
    for block in 0..3 {
        let mut rows = [_mm512_setzero_si512(); 8];
        for (row, from) in rows.iter_mut().zip(from.chunks_exact(24)) {
            *row = load_many::<1>(&from[8 * block..8 * block + 8])[0];
        }
        out[8 * block..8 * block + 8].copy_from_slice(&transpose(rows));
    }
    out
}

/// The columns of eight rows of 4 words.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load_fours(from: &[u64]) -> [V; 4] {
    let [a, b, c, d] = load_many(from);
    let (even_low, odd_low) = halves(a, b);
    let (even_high, odd_high) = halves(c, d);
    let (first, third) = halves(even_low, even_high);
    let (second, fourth) = halves(odd_low, odd_high);
    [first, second, third, fourth]
}

/// Writes eight rows of 12 words, whose columns are given.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn store_rows(columns: [V; 12], to: &mut [u64]) {
    let [c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11] = columns;
    let rows = transpose([c0, c1, c2, c3, c4, c5, c6, c7]);
    let even = [
        _mm512_unpacklo_epi64(c8, c9),
        _mm512_unpacklo_epi64(c10, c11),
    ];
    let odd = [
        _mm512_unpackhi_epi64(c8, c9),
        _mm512_unpackhi_epi64(c10, c11),
    ];
    // The last four words of rows 0 and 2, 4 and 6, 1 and 3, 5 and 7.
    let low = |[a, b]: [V; 2]| pick(a, [0, 1, 8, 9, 2, 3, 10, 11], b);
    let high = |[a, b]: [V; 2]| pick(a, [4, 5, 12, 13, 6, 7, 14, 15], b);
    let ends = [low(even), low(odd), high(even), high(odd)];
    for (i, row) in to.as_chunks_mut::<12>().0.iter_mut().take(8).enumerate() {
        let (first, last) = row.split_at_mut(8);
        store_many([rows[i]], first);
        let both = ends[i / 4 * 2 + i % 2];
        if let [last] = last.as_chunks_mut().0 {
            store_half(both, i % 4 / 2, last);
        }
    }
}

/// Sums over steps that read `A` and `B` words, have eight elements, and add one product to each
/// lane of each sum; reduced in between, so that none overflows. Returns how many elements were
/// done.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn sums<const A: usize, const B: usize, const N: usize>(
    a: &[u64],
    b: &[u64],
    mut step: impl FnMut([ExtSum; N], &[u64; A], &[u64; B]) -> [ExtSum; N],
) -> (usize, [EF; N]) {
    let (a, b) = (a.as_chunks().0, b.as_chunks().0);
    let mut out = [EF::ZERO; N];
    for (a, b) in a.chunks(MOST).zip(b.chunks(MOST)) {
        let mut sums = [zero_ext_sum(); N];
        for (a, b) in a.iter().zip(b) {
            sums = step(sums, a, b);
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out += total(reduce_ext(sum));
        }
    }
    (8 * a.len().min(b.len()), out)
}

// ---- the loops; each does whole vectors and returns how many elements were done --------------

/// See [`crate::butterfly`].
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn butterfly(low: &mut [F], high: &mut [F], twiddle: F) -> usize {
    let by = factor(splat(twiddle.as_canonical_u64()));
    let (low, high) = (
        words_mut(low).as_chunks_mut().0,
        words_mut(high).as_chunks_mut().0,
    );
    for (low, high) in low.iter_mut().zip(&mut *high) {
        let a = load(low);
        // `mul` returns words below p.
        let b = mul(factor(load(high)), by);
        store(add(a, b), low);
        store(sub(a, b), high);
    }
    8 * high.len()
}

/// See [`crate::fold_base`].
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn fold_base(v: &[F], r: EF, out: &mut [EF]) -> usize {
    let by = ext_factor(ext_splat(r));
    let (v, out) = (
        words(v).as_chunks::<16>().0,
        ext_words_mut(out).as_chunks_mut::<24>().0,
    );
    for (v, out) in v.iter().zip(&mut *out) {
        let [first, second] = load_many(v);
        let (a, b) = halves(first, second);
        let [x, y, z] = reduce_ext(add_base_product(zero_ext_sum(), factor(minus(b, a)), &by));
        store_ext([add(a, x), y, z], out);
    }
    8 * v.len().min(out.len())
}

/// `a + r (b - a)` where a and b are neighbours as they lie in memory.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn between(a: [V; 3], b: [V; 3], r: &ExtFactor) -> [V; 3] {
    ext_add(a, join(ext_mul(split(ext_minus(b, a)), r)))
}

/// See [`crate::fold_in_place`].
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn fold_in_place(v: &mut [EF], r: EF) -> usize {
    let by = ext_factor(ext_splat(r));
    let all = ext_words_mut(v);
    let steps = all.len() / 48;
    for i in 0..steps {
        let from = &all[48 * i..48 * i + 48];
        let (a, b) = load_pairs(from);
        let out = ext_add(a, ext_mul(ext_minus(b, a), &by));
        store_ext(out, &mut all[24 * i..24 * i + 24]);
    }
    8 * steps
}

/// Two rows of eight elements as two rows of their first four, and of their last four.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn fours([a, b, c, d, e, f]: [V; 6]) -> ([V; 3], [V; 3]) {
    let first = [
        a,
        _mm512_shuffle_i64x2::<0x44>(b, d),
        _mm512_shuffle_i64x2::<0x4e>(d, e),
    ];
    let last = [
        _mm512_shuffle_i64x2::<0x4e>(b, c),
        _mm512_shuffle_i64x2::<0xee>(c, e),
        f,
    ];
    (first, last)
}

/// See [`crate::fold_fours`].
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn fold_fours(v: &[EF], r: EF, out: &mut [EF]) -> usize {
    let by = ext_factor(ext_splat(r));
    let (v, out) = (
        ext_words(v).as_chunks::<48>().0,
        ext_words_mut(out).as_chunks_mut::<24>().0,
    );
    for (v, out) in v.iter().zip(&mut *out) {
        let (a, b) = fours(load_many(v));
        store_many(between(a, b, &by), out);
    }
    2 * v.len().min(out.len())
}

/// See [`crate::fold_fours_in_place`].
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn fold_fours_in_place(v: &mut [EF], r: EF) -> usize {
    let by = ext_factor(ext_splat(r));
    let all = ext_words_mut(v);
    let steps = all.len() / 48;
    for i in 0..steps {
        let (a, b) = fours(load_many(&all[48 * i..48 * i + 48]));
        store_many(between(a, b, &by), &mut all[24 * i..24 * i + 24]);
    }
    2 * steps
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn element(columns: &[V; 24], k: usize) -> Ext {
    [columns[3 * k], columns[3 * k + 1], columns[3 * k + 2]]
}

/// `q1 (p0 + q0) + p1 q0`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn summand([p0, q0, p1, q1]: [Ext; 4]) -> Ext {
    let sum = add_ext_product(zero_ext_sum(), ext_plus(p0, q0), &ext_factor(q1));
    reduce_ext(add_ext_product(sum, p1, &ext_factor(q0)))
}

/// See [`crate::sums_of`].
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn sums_of(fractions: &[EF], eq: &[EF]) -> (usize, [EF; 2]) {
    let (rows, eq) = (ext_words(fractions), ext_words(eq));
    sums::<192, 24, 2>(rows, eq, |[at_zero, quadratic], rows, eq| {
        let (c, e) = (load_rows(rows), ext_factor(load_ext(eq)));
        let v = |k: usize| element(&c, k);
        let d = |k: usize| ext_minus(element(&c, k + 4), element(&c, k));
        [
            add_ext_product(at_zero, summand([v(0), v(1), v(2), v(3)]), &e),
            add_ext_product(quadratic, summand([d(0), d(1), d(2), d(3)]), &e),
        ]
    })
}

/// See [`crate::sums_of_ones`].
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn sums_of_ones(fractions: &[EF], lambda: EF, eq: &[EF]) -> (usize, [EF; 3]) {
    let (rows, eq) = (ext_words(fractions), ext_words(eq));
    let lambda = ext_splat(lambda);
    let mut all = [_mm512_setzero_si512(); 3];
    let (done, [a, b]) = sums::<192, 24, 2>(rows, eq, |[at_zero, quadratic], rows, eq| {
        let (c, e) = (load_rows(rows), load_ext(eq));
        all = ext_plus(all, e);
        let e = ext_factor(e);
        let (q0, q1) = (element(&c, 1), element(&c, 3));
        let product = ext_mul(ext_plus(q0, lambda), &ext_factor(ext_plus(q1, lambda)));
        let (d0, d1) = (ext_minus(element(&c, 5), q0), ext_minus(element(&c, 7), q1));
        [
            add_ext_product(at_zero, product, &e),
            add_ext_product(quadratic, ext_mul(d0, &ext_factor(d1)), &e),
        ]
    });
    (done, [a, b, total(all)])
}

/// See [`crate::add_pairs`].
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn add_pairs(children: &[EF], out: &mut [EF]) -> usize {
    let (rows, out) = (
        ext_words(children).as_chunks::<192>().0,
        ext_words_mut(out).as_chunks_mut::<96>().0,
    );
    for (rows, out) in rows.iter().zip(&mut *out) {
        let c = load_rows(rows);
        let parent = |k: usize| {
            let [p0, q0, p1] = [element(&c, k), element(&c, k + 1), element(&c, k + 2)];
            let (q0, q1) = (ext_factor(q0), ext_factor(element(&c, k + 3)));
            let sum = add_ext_product(zero_ext_sum(), p0, &q1);
            let sum = reduce_ext(add_ext_product(sum, p1, &q0));
            (sum, ext_mul(element(&c, k + 1), &q1))
        };
        let ([a, b, c0], [d, e, f]) = parent(0);
        let ([g, h, i], [j, k, l]) = parent(4);
        store_rows([a, b, c0, d, e, f, g, h, i, j, k, l], out);
    }
    16 * rows.len().min(out.len())
}

/// See [`crate::affine_sums`].
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn affine_sums(u: &[F], eq: &[EF]) -> (usize, [EF; 4]) {
    let mut all = [_mm512_setzero_si512(); 3];
    let (done, [sum, product, square]) =
        sums::<32, 24, 3>(words(u), ext_words(eq), |[sum, product, square], u, eq| {
            let ([a, b, c, d], e) = (load_fours(u), load_ext(eq));
            all = ext_plus(all, e);
            let e = ext_factor(e);
            let ab = mul(factor(a), factor(b));
            let differences = mul(factor(minus(c, a)), factor(minus(d, b)));
            [
                add_base_product(sum, factor(plus(a, b)), &e),
                add_base_product(product, factor(ab), &e),
                add_base_product(square, factor(differences), &e),
            ]
        });
    (done, [total(all), sum, product, square])
}

/// `constant + x a + y b` for `a`, `b` in the base field.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn combine(constant: Ext, (a, x): (V, &ExtFactor), (b, y): (V, &ExtFactor)) -> Ext {
    let sum = add_base_product(zero_ext_sum(), factor(a), x);
    ext_add(constant, reduce_ext(add_base_product(sum, factor(b), y)))
}

/// See [`crate::affine_fold`].
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn affine_fold(u: &[F], base: EF, by: [EF; 2], numerator: EF, out: &mut [EF]) -> usize {
    let [x, y] = [ext_factor(ext_splat(by[0])), ext_factor(ext_splat(by[1]))];
    let (base, [n0, n1, n2]) = (ext_splat(base), ext_splat(numerator));
    let (u, out) = (
        words(u).as_chunks::<32>().0,
        ext_words_mut(out).as_chunks_mut::<96>().0,
    );
    for (u, out) in u.iter().zip(&mut *out) {
        let [a, b, c, d] = load_fours(u);
        let [d0, d1, d2] = combine(base, (a, &x), (c, &y));
        let [e0, e1, e2] = combine(base, (b, &x), (d, &y));
        store_rows([n0, n1, n2, d0, d1, d2, n0, n1, n2, e0, e1, e2], out);
    }
    8 * u.len().min(out.len())
}

/// See [`crate::affine_parents`].
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn affine_parents(u: &[F], base: EF, gamma: EF, out: &mut [EF]) -> usize {
    let (twice, square) = (ext_splat(base.double()), ext_splat(base.square()));
    let mixed = ext_factor(ext_splat(-(base * gamma)));
    let squared = ext_factor(ext_splat(gamma.square()));
    let minus_gamma = ext_factor(ext_splat(-gamma));
    let (u, out) = (
        words(u).as_chunks::<32>().0,
        ext_words_mut(out).as_chunks_mut::<96>().0,
    );
    for (u, out) in u.iter().zip(&mut *out) {
        let [a, b, c, d] = load_fours(u);
        let parent = |a: V, b: V| {
            let sum = plus(a, b);
            let less = reduce_ext(add_base_product(zero_ext_sum(), factor(sum), &minus_gamma));
            let product = mul(factor(a), factor(b));
            let denominator = combine(square, (sum, &mixed), (product, &squared));
            (ext_add(twice, less), denominator)
        };
        let ([n0, n1, n2], [d0, d1, d2]) = parent(a, b);
        let ([m0, m1, m2], [e0, e1, e2]) = parent(c, d);
        store_rows([n0, n1, n2, d0, d1, d2, m0, m1, m2, e0, e1, e2], out);
    }
    16 * u.len().min(out.len())
}

/// See [`crate::inner`].
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn inner(weights: &[EF], values: &[EF]) -> (usize, EF) {
    let (w, v) = (ext_words(weights), ext_words(values));
    let (done, [sum]) = sums::<24, 24, 1>(w, v, |[sum], w, v| {
        [add_ext_product(sum, load_ext(w), &ext_factor(load_ext(v)))]
    });
    (done, sum)
}

/// See [`crate::inner_base`].
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn inner_base(weights: &[EF], values: &[F]) -> (usize, EF) {
    let (w, v) = (ext_words(weights), words(values));
    let (done, [sum]) = sums::<24, 8, 1>(w, v, |[sum], w, v| {
        [add_base_product(
            sum,
            factor(load(v)),
            &ext_factor(load_ext(w)),
        )]
    });
    (done, sum)
}

/// Sixteen neighbours in the challenge field as those of even, and of odd number.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load_pairs(from: &[u64]) -> (Ext, Ext) {
    let ([x, y, z], [p, q, r]) = (load_ext(&from[..24]), load_ext(&from[24..]));
    let ((a0, b0), (a1, b1), (a2, b2)) = (halves(x, p), halves(y, q), halves(z, r));
    ([a0, a1, a2], [b0, b1, b2])
}

/// See [`crate::inner_pairs`].
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn inner_pairs(weights: &[EF], values: &[EF]) -> (usize, [EF; 2]) {
    let (w, v) = (ext_words(weights), ext_words(values));
    sums::<24, 48, 2>(w, v, |[even, odd], w, v| {
        let (w, (a, b)) = (ext_factor(load_ext(w)), load_pairs(v));
        [add_ext_product(even, a, &w), add_ext_product(odd, b, &w)]
    })
}

/// See [`crate::inner_pairs_base`].
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn inner_pairs_base(weights: &[EF], values: &[F]) -> (usize, [EF; 2]) {
    let (w, v) = (ext_words(weights), words(values));
    sums::<24, 16, 2>(w, v, |[even, odd], w, v| {
        let (w, [first, second]) = (ext_factor(load_ext(w)), load_many(v));
        let (a, b) = halves(first, second);
        [
            add_base_product(even, factor(a), &w),
            add_base_product(odd, factor(b), &w),
        ]
    })
}

/// See [`crate::linear_sums`].
#[target_feature(enable = "avx512f,avx512ifma")]
pub fn linear_sums(weights: &[EF], values: &[EF]) -> (usize, [EF; 2]) {
    let (w, v) = (ext_words(weights), ext_words(values));
    sums::<48, 48, 2>(w, v, |[at_zero, at_two], w, v| {
        let ((w0, w1), (v0, v1)) = (load_pairs(w), load_pairs(v));
        let w2 = ext_plus(w1, ext_minus(w1, w0));
        let v2 = ext_plus(v1, ext_minus(v1, v0));
        [
            add_ext_product(at_zero, w0, &ext_factor(v0)),
            add_ext_product(at_two, w2, &ext_factor(v2)),
        ]
    })
}
