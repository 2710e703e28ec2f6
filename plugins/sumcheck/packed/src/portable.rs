//! The loops of this crate on any processor, and for what is left of a vector's length.

use dsperse_sumcheck_verifier::commit::{EF, F};
use dsperse_sumcheck_verifier::wide::WideSum;
use p3_field::PrimeCharacteristicRing;

/// See [`crate::butterfly`].
pub fn butterfly(low: &mut [F], high: &mut [F], twiddle: F) {
    for (a, b) in low.iter_mut().zip(high) {
        let product = *b * twiddle;
        (*a, *b) = (*a + product, *a - product);
    }
}

/// See [`crate::fold_base`].
pub fn fold_base(v: &[F], r: EF, out: &mut [EF]) {
    for (v, out) in v.chunks_exact(2).zip(out) {
        *out = r * (v[1] - v[0]) + v[0];
    }
}

/// Binds the last variable of the neighbours from number `from` on; `width` elements belong together.
pub fn fold_in_place(v: &mut [EF], width: usize, r: EF, from: usize) {
    for j in from..v.len() / (2 * width) {
        for k in 0..width {
            let (a, b) = (v[2 * width * j + k], v[2 * width * j + width + k]);
            v[width * j + k] = a + r * (b - a);
        }
    }
}

/// See [`crate::fold_fours`].
pub fn fold_fours(v: &[EF], r: EF, out: &mut [EF]) {
    for (v, out) in v.chunks_exact(8).zip(out.chunks_exact_mut(4)) {
        for k in 0..4 {
            out[k] = v[k] + r * (v[k + 4] - v[k]);
        }
    }
}

/// See [`crate::sums_of`].
pub fn sums_of(fractions: &[EF], eq: &[EF]) -> [EF; 2] {
    let (mut at_zero, mut quadratic) = (WideSum::default(), WideSum::default());
    for (f, &e) in fractions.chunks_exact(8).zip(eq) {
        let (p0, q0, p1, q1) = (f[0], f[1], f[2], f[3]);
        let mut zero = WideSum::default();
        zero.add(q1, p0 + q0);
        zero.add(p1, q0);
        at_zero.add(zero.value(), e);
        let (dp0, dq0, dp1, dq1) = (f[4] - p0, f[5] - q0, f[6] - p1, f[7] - q1);
        let mut square = WideSum::default();
        square.add(dq1, dp0 + dq0);
        square.add(dp1, dq0);
        quadratic.add(square.value(), e);
    }
    [at_zero.value(), quadratic.value()]
}

/// See [`crate::sums_of_ones`].
pub fn sums_of_ones(fractions: &[EF], lambda: EF, eq: &[EF]) -> [EF; 3] {
    let (mut at_zero, mut quadratic) = (WideSum::default(), WideSum::default());
    let mut total = EF::ZERO;
    for (f, &e) in fractions.chunks_exact(8).zip(eq) {
        at_zero.add((f[1] + lambda) * (f[3] + lambda), e);
        quadratic.add((f[5] - f[1]) * (f[7] - f[3]), e);
        total += e;
    }
    [at_zero.value(), quadratic.value(), total]
}

/// See [`crate::add_pairs`].
pub fn add_pairs(children: &[EF], out: &mut [EF]) {
    for (pair, out) in children.chunks(4).zip(out.chunks_exact_mut(2)) {
        if let [p0, q0, p1, q1] = *pair {
            let mut sum = WideSum::default();
            sum.add(p0, q1);
            sum.add(p1, q0);
            out[0] = sum.value();
            out[1] = q0 * q1;
        } else {
            out.copy_from_slice(pair);
        }
    }
}

/// See [`crate::affine_sums`].
pub fn affine_sums(u: &[F], eq: &[EF]) -> [EF; 4] {
    let mut total = EF::ZERO;
    let [mut sums, mut products, mut quadratic] = [WideSum::default(); 3];
    for (u, &e) in u.chunks_exact(4).zip(eq) {
        total += e;
        sums.add_base(e, u[0] + u[1]);
        products.add_base(e, u[0] * u[1]);
        quadratic.add_base(e, (u[2] - u[0]) * (u[3] - u[1]));
    }
    [total, sums.value(), products.value(), quadratic.value()]
}

/// See [`crate::affine_fold`].
pub fn affine_fold(u: &[F], base: EF, by: [EF; 2], numerator: EF, out: &mut [EF]) {
    let fold = |a: F, b: F| {
        let mut sum = WideSum::default();
        sum.add_base(by[0], a);
        sum.add_base(by[1], b);
        base + sum.value()
    };
    for (u, out) in u.chunks_exact(4).zip(out.chunks_exact_mut(4)) {
        out.copy_from_slice(&[numerator, fold(u[0], u[2]), numerator, fold(u[1], u[3])]);
    }
}

/// See [`crate::affine_parents`].
pub fn affine_parents(u: &[F], base: EF, gamma: EF, out: &mut [EF]) {
    let (twice, square) = (base.double(), base.square());
    let (mixed, squared) = (-(base * gamma), gamma.square());
    for (pair, out) in u.chunks_exact(2).zip(out.chunks_exact_mut(2)) {
        let sum = pair[0] + pair[1];
        let mut den = WideSum::default();
        den.add_base(mixed, sum);
        den.add_base(squared, pair[0] * pair[1]);
        out[0] = twice - gamma * sum;
        out[1] = square + den.value();
    }
}

/// See [`crate::inner`].
pub fn inner(weights: &[EF], values: &[EF]) -> EF {
    let mut sum = WideSum::default();
    for (&w, &v) in weights.iter().zip(values) {
        sum.add(w, v);
    }
    sum.value()
}

/// See [`crate::inner_base`].
pub fn inner_base(weights: &[EF], values: &[F]) -> EF {
    let mut sum = WideSum::default();
    for (&w, &v) in weights.iter().zip(values) {
        sum.add_base(w, v);
    }
    sum.value()
}

/// See [`crate::inner_pairs`].
pub fn inner_pairs(weights: &[EF], values: &[EF]) -> [EF; 2] {
    let [mut even, mut odd] = [WideSum::default(); 2];
    for (&w, v) in weights.iter().zip(values.chunks_exact(2)) {
        even.add(v[0], w);
        odd.add(v[1], w);
    }
    [even.value(), odd.value()]
}

/// See [`crate::inner_pairs_base`].
pub fn inner_pairs_base(weights: &[EF], values: &[F]) -> [EF; 2] {
    let [mut even, mut odd] = [WideSum::default(); 2];
    for (&w, v) in weights.iter().zip(values.chunks_exact(2)) {
        even.add_base(w, v[0]);
        odd.add_base(w, v[1]);
    }
    [even.value(), odd.value()]
}

/// See [`crate::linear_sums`].
pub fn linear_sums(weights: &[EF], values: &[EF]) -> [EF; 2] {
    let [mut at_zero, mut at_two] = [WideSum::default(); 2];
    for (w, v) in weights.chunks_exact(2).zip(values.chunks_exact(2)) {
        at_zero.add(v[0], w[0]);
        at_two.add(v[1] + (v[1] - v[0]), w[1] + (w[1] - w[0]));
    }
    [at_zero.value(), at_two.value()]
}
