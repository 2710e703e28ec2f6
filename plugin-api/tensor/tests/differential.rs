//! The one rounding against the three that were there before it. Where they agree, nothing
//! changed; where they differ, the new one is the nearest number, which is checked with
//! exact arithmetic. `docs/decisions/rounding.md` lists the differences.

use dsperse_tensor::round::{
    f64_to_f16, fixed_to_bf16, fixed_to_f16, fixed_to_f32, fixed_to_f64, float_to_fixed,
    shift_round,
};
use half::f16;
use proptest::prelude::*;

/// As plugins did it: one rounding of the integer, then a scaling in `f64`.
fn old_f32(n: i64, exponent: i32) -> f32 {
    (f64::from(n as f32) * 2f64.powi(exponent)) as f32
}

fn old_f64(n: i64, exponent: i32) -> f64 {
    n as f64 * 2f64.powi(exponent)
}

fn old_fixed(x: f64, exponent: i32) -> Option<i64> {
    let scaled = (x * 2f64.powi(exponent.saturating_neg())).round_ties_even();
    (scaled.is_finite() && scaled.abs() < 2f64.powi(63)).then_some(scaled as i64)
}

/// As the backend that runs models did it.
fn old_f16(n: i64, exponent: i32) -> f16 {
    f16::from_f64(old_f64(n, exponent))
}

/// `|n|` in units of `2^-up` of an exponent, or `None` when that does not fit.
fn scaled(magnitude: u128, shift: i32) -> Option<u128> {
    let shift = u32::try_from(shift).ok()?;
    (magnitude == 0 || magnitude.leading_zeros() > shift + 2)
        .then(|| magnitude.checked_shl(shift))
        .flatten()
}

/// Whether `x` is nearest to `n · 2^exponent`, ties to even, among the multiples of the
/// weight of its last bit `2^last`. Exact; `None` where the numbers do not fit.
fn is_nearest(n: i64, exponent: i32, x: f64, last: i32) -> Option<bool> {
    let bits = x.abs().to_bits();
    let (significand, at) = match (bits >> 52) as i32 {
        0 => (bits, -1074),
        raw => (bits & ((1 << 52) - 1) | 1 << 52, raw - 1075),
    };
    let low = exponent.min(at).min(last - 1);
    let exact = scaled(n.unsigned_abs().into(), exponent - low)?;
    let found = scaled(significand.into(), at - low)?;
    let unit = scaled(1, last - low)?;
    let twice = exact.abs_diff(found) * 2;
    let even = (found / unit) & 1 == 0;
    Some(twice < unit || (twice == unit && even))
}

/// The weight of the last bit of a number with the precision and the smallest bit.
fn last_bit(n: i64, exponent: i32, precision: i32, lowest: i32) -> i32 {
    let top = 63 - n.unsigned_abs().leading_zeros().cast_signed() + exponent;
    (top - precision + 1).max(lowest)
}

fn integers() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        (any::<i64>(), 0u32..63).prop_map(|(n, s)| n >> s),
        Just(i64::MIN),
        Just(i64::MAX)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn in_the_normal_range_nothing_changed(n in integers(), exponent in -100i32..40) {
        prop_assert_eq!(fixed_to_f32(n, exponent), old_f32(n, exponent));
        prop_assert_eq!(fixed_to_f64(n, exponent), old_f64(n, exponent));
    }

    #[test]
    fn what_fits_was_the_same_integer(x in -1e12f64..1e12, exponent in -20i32..40) {
        prop_assert_eq!(float_to_fixed(x, exponent), old_fixed(x, exponent));
    }

    #[test]
    fn f32_is_nearest_also_among_subnormal_numbers(n in integers(), exponent in -215i32..-100) {
        prop_assume!(n != 0);
        let last = last_bit(n, exponent, 24, -149);
        let nearest = is_nearest(n, exponent, fixed_to_f32(n, exponent).into(), last);
        prop_assert_ne!(nearest, Some(false));
    }

    #[test]
    fn f64_is_nearest_also_among_subnormal_numbers(n in integers(), exponent in -1138i32..-1000) {
        prop_assume!(n != 0);
        let last = last_bit(n, exponent, 53, -1074);
        prop_assert_ne!(is_nearest(n, exponent, fixed_to_f64(n, exponent), last), Some(false));
    }

    #[test]
    fn the_half_types_are_nearest(n in integers(), exponent in -90i32..-48) {
        prop_assume!(n != 0);
        let last = last_bit(n, exponent, 11, -24);
        let found = fixed_to_f16(n, exponent);
        prop_assert_ne!(is_nearest(n, exponent, found.to_f64(), last), Some(false));
        let last = last_bit(n, exponent, 8, -133);
        let found = fixed_to_bf16(n, exponent);
        prop_assert_ne!(is_nearest(n, exponent, found.to_f64(), last), Some(false));
        // An f64 of at most 53 bits loses nothing on its way.
        prop_assert_eq!(f64_to_f16((n >> 11) as f64), fixed_to_f16(n >> 11, 0));
    }

    #[test]
    fn integers_that_fit_survive_both_ways(n in -(1i64 << 53)..(1i64 << 53), e in -1000i32..900) {
        prop_assert_eq!(float_to_fixed(fixed_to_f64(n, e), e), Some(n));
    }

    #[test]
    fn every_f32_is_some_fixed_point(x: f32) {
        prop_assume!(x.is_finite());
        if let Some(n) = float_to_fixed(x.into(), -149) {
            prop_assert_eq!(fixed_to_f32(n, -149), x);
        }
    }

    #[test]
    fn a_shift_is_nearest(n in integers(), shift in -70i64..8) {
        let wide = i128::from(n);
        let Some(found) = shift_round(n, shift) else {
            prop_assert!(shift > 0 && i64::try_from(wide << shift).is_err());
            return Ok(());
        };
        if shift >= 0 {
            prop_assert_eq!(i128::from(found), wide << shift);
        } else {
            let rest = ((wide - (i128::from(found) << -shift)) * 2).abs();
            let unit = 1i128 << -shift;
            prop_assert!(rest < unit || (rest == unit && found & 1 == 0));
        }
    }
}

/// How often the old conversion to `f32` was wrong among subnormal results, and that it was.
#[test]
fn the_old_roundings_were_wrong_where_the_decision_says() {
    // Twice rounded: above a tie, rounded to the tie first.
    let n = (1 << 30) + 1;
    assert_eq!(old_f32(n, -180), 0.0);
    assert_eq!(fixed_to_f32(n, -180), f32::from_bits(1));
    assert_eq!(old_f64((1 << 62) + 1, -1137), 0.0);
    assert_eq!(fixed_to_f64((1 << 62) + 1, -1137), f64::from_bits(1));
    // The power of two underflowed although the product does not.
    assert_eq!(old_f64(1 << 62, -1100), 0.0);
    assert_eq!(
        fixed_to_f64(1 << 62, -1100),
        2f64.powi(-1000) / 2f64.powi(38)
    );
    // −2^63 was refused, and so was 0 where the factor overflowed.
    assert_eq!(old_fixed(-9_223_372_036_854_775_808.0, 0), None);
    assert_eq!(
        float_to_fixed(-9_223_372_036_854_775_808.0, 0),
        Some(i64::MIN)
    );
    assert_eq!(old_fixed(0.0, -1100), None);
    assert_eq!(float_to_fixed(0.0, -1100), Some(0));
    // f16 through an f64: the bits that broke the tie were dropped.
    let n = (1i64 << 50) + (1 << 39) + 1;
    assert_eq!(old_f16(n, -50), f16::ONE);
    assert_eq!(fixed_to_f16(n, -50).to_bits(), 0x3c01);
}
