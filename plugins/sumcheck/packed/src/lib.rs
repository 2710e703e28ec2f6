//! The loops in which the prover spends its time, over whole arrays of field elements, with the
//! vector instructions that the processor has. Which are used is chosen when the program runs:
//! one build serves all processors, and results are the same, element by element.
//!
//! `avx512` has the loops for processors with AVX-512 and 52-bit products, `portable` for all
//! others and for what a vector's length leaves over. [`Dft`] is the Fourier transform of the
//! commitments, [`hash_short`] makes their Merkle trees.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod dft;
mod hash;
mod portable;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU8, Ordering};

use dsperse_sumcheck_verifier::commit::{EF, F};
use p3_field::PrimeCharacteristicRing;

pub use dft::Dft;
pub use hash::hash_short;

/// What instructions are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Those that every processor has.
    Portable = 1,
    /// AVX-512 F and IFMA.
    Avx512 = 2,
}

/// 0 until it is known.
static LEVEL: AtomicU8 = AtomicU8::new(0);

/// The level that is used: the best that the processor has.
pub fn level() -> Level {
    match LEVEL.load(Ordering::Relaxed) {
        1 => Level::Portable,
        2 => Level::Avx512,
        _ => {
            let level = best();
            LEVEL.store(level as u8, Ordering::Relaxed);
            level
        }
    }
}

fn best() -> Level {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma") {
        return Level::Avx512;
    }
    Level::Portable
}

/// Uses no more than this level from now on, in all threads: for tests and for comparisons.
pub fn limit(level: Level) {
    let level = match level {
        Level::Portable => level,
        Level::Avx512 => best(),
    };
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// Calls a loop of `avx512` where the processor has it.
macro_rules! vectors {
    ($loop:ident($($argument:expr),*)) => {{
        #[cfg(target_arch = "x86_64")]
        let done = match level() {
            // SAFETY: `best` found that the processor has the features that it is compiled for.
            Level::Avx512 => Some(unsafe { avx512::$loop($($argument),*) }),
            Level::Portable => None,
        };
        #[cfg(not(target_arch = "x86_64"))]
        let done = None;
        done
    }};
}

/// `low, high = low + twiddle high, low - twiddle high`, element by element.
pub fn butterfly(low: &mut [F], high: &mut [F], twiddle: F) {
    let done: usize = vectors!(butterfly(low, high, twiddle)).unwrap_or(0);
    portable::butterfly(&mut low[done..], &mut high[done..], twiddle);
}

/// `out[j] = v[2j] + r (v[2j + 1] - v[2j])`: the last variable of a table is bound.
pub fn fold_base(v: &[F], r: EF, out: &mut [EF]) {
    let done: usize = vectors!(fold_base(v, r, out)).unwrap_or(0);
    portable::fold_base(&v[2 * done..], r, &mut out[done..]);
}

/// The same in place, for values in the challenge field: the result is the first half.
pub fn fold_in_place(v: &mut [EF], r: EF) {
    let done: usize = vectors!(fold_in_place(v, r)).unwrap_or(0);
    portable::fold_in_place(v, 1, r, done);
}

/// `out[4j + k] = v[8j + k] + r (v[8j + 4 + k] - v[8j + k])` for k below 4.
pub fn fold_fours(v: &[EF], r: EF, out: &mut [EF]) {
    let done: usize = vectors!(fold_fours(v, r, out)).unwrap_or(0);
    portable::fold_fours(&v[8 * done..], r, &mut out[4 * done..]);
}

/// The same in place: the result is the first half.
pub fn fold_fours_in_place(v: &mut [EF], r: EF) {
    let done: usize = vectors!(fold_fours_in_place(v, r)).unwrap_or(0);
    portable::fold_in_place(v, 4, r, done);
}

/// For rows `p0 q0 p1 q1 p0' q0' p1' q1'`, the sums of `eq (q1 (p0 + q0) + p1 q0)`, and of the
/// same with the differences `p0' - p0` and so on.
pub fn sums_of(fractions: &[EF], eq: &[EF]) -> [EF; 2] {
    let (done, [a, b]) = vectors!(sums_of(fractions, eq)).unwrap_or((0, [EF::ZERO; 2]));
    let [c, d] = portable::sums_of(&fractions[8 * done..], &eq[done..]);
    [a + c, b + d]
}

/// For the same rows, the sums of `eq (q0 + lambda) (q1 + lambda)`, of `eq (q0' - q0) (q1' - q1)`
/// and of `eq`.
pub fn sums_of_ones(fractions: &[EF], lambda: EF, eq: &[EF]) -> [EF; 3] {
    let none = (0, [EF::ZERO; 3]);
    let (done, [a, b, c]) = vectors!(sums_of_ones(fractions, lambda, eq)).unwrap_or(none);
    let [d, e, f] = portable::sums_of_ones(&fractions[8 * done..], lambda, &eq[done..]);
    [a + d, b + e, c + f]
}

/// The sums of neighbouring fractions, numerator and denominator after each other; an odd one at
/// the end stays.
pub fn add_pairs(children: &[EF], out: &mut [EF]) {
    let done: usize = vectors!(add_pairs(children, out)).unwrap_or(0);
    portable::add_pairs(&children[4 * done..], &mut out[2 * done..]);
}

/// For rows `a b c d` of `u`, the sums of `eq`, `eq (a + b)`, `eq a b` and `eq (c - a) (d - b)`.
pub fn affine_sums(u: &[F], eq: &[EF]) -> [EF; 4] {
    let (done, sums) = vectors!(affine_sums(u, eq)).unwrap_or((0, [EF::ZERO; 4]));
    let rest = portable::affine_sums(&u[4 * done..], &eq[done..]);
    std::array::from_fn(|i| sums[i] + rest[i])
}

/// For rows `a b c d` of `u`, rows `numerator, base + by0 a + by1 c, numerator, base + by0 b + by1 d`.
pub fn affine_fold(u: &[F], base: EF, by: [EF; 2], numerator: EF, out: &mut [EF]) {
    let done: usize = vectors!(affine_fold(u, base, by, numerator, out)).unwrap_or(0);
    portable::affine_fold(&u[4 * done..], base, by, numerator, &mut out[4 * done..]);
}

/// The sums of neighbouring fractions `1 / (base - gamma u)`.
pub fn affine_parents(u: &[F], base: EF, gamma: EF, out: &mut [EF]) {
    let done: usize = vectors!(affine_parents(u, base, gamma, out)).unwrap_or(0);
    portable::affine_parents(&u[2 * done..], base, gamma, &mut out[2 * done..]);
}

/// The sum of `weights[i] values[i]`, as far as both go.
pub fn inner(weights: &[EF], values: &[EF]) -> EF {
    let (done, sum) = vectors!(inner(weights, values)).unwrap_or((0, EF::ZERO));
    sum + portable::inner(&weights[done..], &values[done..])
}

/// The same for values in the base field.
pub fn inner_base(weights: &[EF], values: &[F]) -> EF {
    let (done, sum) = vectors!(inner_base(weights, values)).unwrap_or((0, EF::ZERO));
    sum + portable::inner_base(&weights[done..], &values[done..])
}

/// The sums of `weights[i] values[2i]` and of `weights[i] values[2i + 1]`.
pub fn inner_pairs(weights: &[EF], values: &[EF]) -> [EF; 2] {
    let none = (0, [EF::ZERO; 2]);
    let (done, [a, b]) = vectors!(inner_pairs(weights, values)).unwrap_or(none);
    let [c, d] = portable::inner_pairs(&weights[done..], &values[2 * done..]);
    [a + c, b + d]
}

/// The same for values in the base field.
pub fn inner_pairs_base(weights: &[EF], values: &[F]) -> [EF; 2] {
    let none = (0, [EF::ZERO; 2]);
    let (done, [a, b]) = vectors!(inner_pairs_base(weights, values)).unwrap_or(none);
    let [c, d] = portable::inner_pairs_base(&weights[done..], &values[2 * done..]);
    [a + c, b + d]
}

/// The sum of products of two tables with their last variable bound to 0, and to 2.
pub fn linear_sums(weights: &[EF], values: &[EF]) -> [EF; 2] {
    let none = (0, [EF::ZERO; 2]);
    let (done, [a, b]) = vectors!(linear_sums(weights, values)).unwrap_or(none);
    let [c, d] = portable::linear_sums(&weights[2 * done..], &values[2 * done..]);
    [a + c, b + d]
}
