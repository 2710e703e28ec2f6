//! The one rounding between plain numbers and fixed point.
//!
//! A fixed-point element is an `i64` integer `n` with an exponent `e` and stands for the
//! exact value `n · 2^e`. Every conversion takes the exact value and rounds it **once, to
//! nearest, ties to even** (IEEE 754 roundTiesToEven). From this everything follows:
//!
//! | case | result |
//! | --- | --- |
//! | ties | to the even neighbour, also between two subnormal numbers and between 0 and the smallest one |
//! | subnormal results | rounded at the type's last bit (2^-24 f16, 2^-133 bf16, 2^-149 f32, 2^-1074 f64), not flushed to zero and not rounded twice |
//! | results too large for a float type | ∞ with the sign of the value, from half a unit beyond the largest number on. A tensor never stores it: [`Tensor::convert`](crate::Tensor::convert) refuses |
//! | a negative value that rounds to 0 | −0.0 as a float, 0 as an integer |
//! | −0.0 | stays −0.0 among floats, 0 as an integer |
//! | NaN and ∞ to fixed point or integers | refused (`None`) |
//! | NaN and ∞ among floats | stay what they are |
//! | −2^63 as an integer | fits; 2^63 does not |
//! | values too large for an `i64` | refused (`None`), not saturated |
//! | exponents far outside | any `i32` is fine: the result is 0, ∞ or refused |
//!
//! `docs/decisions/rounding.md` says why, and what differed before there was one rounding.

use half::{bf16, f16};

/// A binary floating-point format.
struct Format {
    /// Bits of the significand, the leading one included.
    precision: i64,
    /// Weight of the last bit of a subnormal number.
    lowest: i64,
    /// Weight of the leading bit of the largest number.
    highest: i64,
}

const F16: Format = Format {
    precision: 11,
    lowest: -24,
    highest: 15,
};
const BF16: Format = Format {
    precision: 8,
    lowest: -133,
    highest: 127,
};
const F32: Format = Format {
    precision: 24,
    lowest: -149,
    highest: 127,
};
const F64: Format = Format {
    precision: 53,
    lowest: -1074,
    highest: 1023,
};

/// `n · 2^exponent` as `f64`.
#[must_use]
pub fn fixed_to_f64(n: i64, exponent: i32) -> f64 {
    to_float(n < 0, n.unsigned_abs(), exponent.into(), &F64)
}

/// `n · 2^exponent` as `f32`.
#[must_use]
pub fn fixed_to_f32(n: i64, exponent: i32) -> f32 {
    // The result has the precision and range of an f32 already, so the cast is exact.
    to_float(n < 0, n.unsigned_abs(), exponent.into(), &F32) as f32
}

/// `n · 2^exponent` as `f16`.
#[must_use]
pub fn fixed_to_f16(n: i64, exponent: i32) -> f16 {
    // As above: nothing is left to round.
    f16::from_f64(to_float(n < 0, n.unsigned_abs(), exponent.into(), &F16))
}

/// `n · 2^exponent` as `bf16`.
#[must_use]
pub fn fixed_to_bf16(n: i64, exponent: i32) -> bf16 {
    bf16::from_f64(to_float(n < 0, n.unsigned_abs(), exponent.into(), &BF16))
}

/// An `f64` as `f16`. The conversion of the `half` crate drops low bits before it rounds
/// (or rounds to `f32` first, where the processor does that), so ties come out wrong.
#[must_use]
pub fn f64_to_f16(x: f64) -> f16 {
    f16::from_f64(narrow(x, &F16))
}

/// An `f64` as `bf16`; see [`f64_to_f16`].
#[must_use]
pub fn f64_to_bf16(x: f64) -> bf16 {
    bf16::from_f64(narrow(x, &BF16))
}

/// An integer of any plain type as `f16`.
#[must_use]
pub fn integer_to_f16(n: i128) -> f16 {
    f16::from_f64(integer_to_float(n, &F16))
}

/// An integer of any plain type as `bf16`.
#[must_use]
pub fn integer_to_bf16(n: i128) -> bf16 {
    bf16::from_f64(integer_to_float(n, &BF16))
}

fn integer_to_float(n: i128, format: &Format) -> f64 {
    let magnitude = n.unsigned_abs();
    // Bits beyond 64 leave a trace in the last one, which is all that rounding needs.
    let drop = 64u32.saturating_sub(magnitude.leading_zeros());
    let trace = magnitude.trailing_zeros() < drop;
    let kept = (magnitude >> drop) as u64 | u64::from(trace);
    to_float(n < 0, kept, drop.into(), format)
}

fn narrow(x: f64, format: &Format) -> f64 {
    if !x.is_finite() {
        return x;
    }
    let (magnitude, exponent) = parts(x);
    to_float(x.is_sign_negative(), magnitude, exponent, format)
}

/// Significand and exponent of a finite number: `|x| = significand · 2^exponent`, exactly.
fn parts(x: f64) -> (u64, i64) {
    let bits = x.abs().to_bits();
    let (raw, fraction) = ((bits >> 52) as i64, bits & ((1 << 52) - 1));
    match raw {
        0 => (fraction, -1074),
        raw => (fraction | 1 << 52, raw - 1075),
    }
}

/// `magnitude · 2^exponent` in a format, as the `f64` of the same value.
fn to_float(negative: bool, magnitude: u64, exponent: i64, format: &Format) -> f64 {
    let sign = if negative { -1.0 } else { 1.0 };
    if magnitude == 0 {
        return sign * 0.0;
    }
    let top = 63 - i64::from(magnitude.leading_zeros()) + exponent;
    if top > format.highest {
        return sign * f64::INFINITY;
    }
    // The weight of the last bit that is kept.
    let last = (top - (format.precision - 1)).max(format.lowest);
    let shift = last - exponent;
    let (kept, last) = if shift <= 0 {
        // Every bit is kept.
        (magnitude, exponent)
    } else {
        (shift_right_even(magnitude, shift), last)
    };
    // `kept` has at most `precision` + 1 bits (a power of two after rounding up), so this
    // product is exact.
    let value = scale(kept as f64, last);
    // Rounding up can reach 2^(highest + 1). For f64 that is ∞ already.
    if value >= scale(1.0, format.highest) * 2.0 {
        return sign * f64::INFINITY;
    }
    sign * value
}

/// `n / 2^shift` for `shift` above 0, ties to even.
fn shift_right_even(n: u64, shift: i64) -> u64 {
    if shift > 64 {
        return 0;
    }
    if shift == 64 {
        // Exactly one half rounds to the even zero.
        return u64::from(n > 1 << 63);
    }
    let floor = n >> shift;
    let rest = n & ((1 << shift) - 1);
    let half = 1u64 << (shift - 1);
    floor + u64::from(rest > half || (rest == half && floor & 1 == 1))
}

/// `x · 2^e` for `x` of 0 or at least 1 and `e` from -1074 to 1023, exact when the result
/// is representable. `f64::powi` is not used: its precision is the platform's choice, and
/// below 2^-1022 it gives 0.
fn scale(x: f64, e: i64) -> f64 {
    // A power of two from its bits; `e` within the normal range.
    let power = |e: i64| f64::from_bits(((e + 1023) as u64) << 52);
    if e < -1022 {
        // The first product is normal, so only the second one could round, and it
        // doesn't: the result is a multiple of 2^-1074.
        x * power(-1022) * power(e + 1022)
    } else {
        x * power(e)
    }
}

/// The integer nearest to `x / 2^exponent`; `None` when `x` is not finite or the integer
/// doesn't fit.
#[must_use]
pub fn float_to_fixed(x: f64, exponent: i32) -> Option<i64> {
    if !x.is_finite() {
        return None;
    }
    if x == 0.0 {
        return Some(0);
    }
    let (magnitude, at) = parts(x);
    let shift = i64::from(exponent) - at;
    let magnitude = if shift > 0 {
        i128::from(shift_right_even(magnitude, shift))
    } else if shift >= -64 {
        i128::from(magnitude) << -shift
    } else {
        return None;
    };
    i64::try_from(if x < 0.0 { -magnitude } else { magnitude }).ok()
}

/// The integer nearest to `n / 2^exponent` for an integer of any plain type; `None` when it
/// doesn't fit, or when `n` is wider than 65 bits.
#[must_use]
pub fn integer_to_fixed(n: i128, exponent: i32) -> Option<i64> {
    let magnitude = u64::try_from(n.unsigned_abs()).ok()?;
    shift_magnitude(n < 0, magnitude, -i64::from(exponent))
}

/// The integer nearest to `v · 2^shift`: from one fixed-point exponent to another. `None`
/// when it doesn't fit.
#[must_use]
pub fn shift_round(v: i64, shift: i64) -> Option<i64> {
    shift_magnitude(v < 0, v.unsigned_abs(), shift)
}

fn shift_magnitude(negative: bool, magnitude: u64, shift: i64) -> Option<i64> {
    let shifted = if magnitude == 0 {
        0
    } else if shift > 0 {
        let shift = u32::try_from(shift).ok().filter(|s| *s < 64)?;
        i128::from(magnitude) << shift
    } else if shift < 0 {
        // Symmetric around 0, so the magnitude can be rounded alone.
        i128::from(shift_right_even(magnitude, shift.saturating_neg()))
    } else {
        i128::from(magnitude)
    };
    i64::try_from(if negative { -shifted } else { shifted }).ok()
}

/// `n · 2^exponent` when that is a whole number below 2^127; nothing is rounded.
#[must_use]
pub fn fixed_to_whole(n: i64, exponent: i32) -> Option<i128> {
    if n == 0 {
        return Some(0);
    }
    let wide = i128::from(n);
    if exponent >= 0 {
        let factor = 1i128
            .checked_shl(exponent.unsigned_abs())
            .filter(|f| *f > 0)?;
        wide.checked_mul(factor)
    } else {
        let down = exponent.unsigned_abs();
        (down < 64 && n.trailing_zeros() >= down).then(|| wide >> down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_float_is_rounded_once_to_nearest_even() {
        assert_eq!(fixed_to_f32(0, -18), 0.0);
        assert_eq!(fixed_to_f32(1 << 18, -18), 1.0);
        assert_eq!(fixed_to_f32(-3, -1), -1.5);
        // 2^24 + 1 lies halfway between two f32; the even one is 2^24.
        assert_eq!(fixed_to_f32((1 << 24) + 1, 0), 16_777_216.0);
        assert_eq!(fixed_to_f32((1 << 24) + 3, 0), 16_777_220.0);
        // Through f64 this would round twice: 2^53 + 2^29 + 1 is above the half of f32,
        // but rounds to exactly the half in f64, and from there to even.
        let n = (1i64 << 53) + (1 << 29) + 1;
        assert_eq!(fixed_to_f32(n, 0), ((1i64 << 53) + (1 << 30)) as f32);
        assert_eq!(
            (n as f64) as f32,
            (1i64 << 53) as f32,
            "the double rounding"
        );
    }

    #[test]
    fn subnormal_numbers_are_rounded_at_their_last_bit() {
        assert_eq!(fixed_to_f32(1, -149), f32::from_bits(1));
        assert_eq!(fixed_to_f32(1, -150), 0.0, "half of the smallest: to even");
        assert_eq!(fixed_to_f32(3, -150), f32::from_bits(2), "1.5: to even");
        assert_eq!(fixed_to_f32(3, -151), f32::from_bits(1));
        // Rounded to 24 bits first, this would be a tie and go to 0.
        assert_eq!(fixed_to_f32((1 << 30) + 1, -180), f32::from_bits(1));
        assert_eq!(fixed_to_f64(1, -1074), f64::from_bits(1));
        assert_eq!(fixed_to_f64(1, -1075), 0.0);
        assert_eq!(fixed_to_f64(3, -1075), f64::from_bits(2));
        assert_eq!(fixed_to_f64((1 << 62) + 1, -1137), f64::from_bits(1));
        assert_eq!(fixed_to_f16(1, -24), f16::from_bits(1));
        assert_eq!(fixed_to_f16(1, -25), f16::from_bits(0));
        assert_eq!(fixed_to_bf16(1, -133), bf16::from_bits(1));
        assert_eq!(fixed_to_bf16(3, -134), bf16::from_bits(2));
    }

    #[test]
    fn what_is_too_large_for_a_float_is_infinite_with_its_sign() {
        assert_eq!(fixed_to_f32(1, 127), 2f32.powi(127));
        assert_eq!(fixed_to_f32(1, 128), f32::INFINITY);
        assert_eq!(fixed_to_f32(-1, 128), f32::NEG_INFINITY);
        assert_eq!(fixed_to_f32((1 << 24) - 1, 104), f32::MAX);
        assert_eq!(fixed_to_f32((1 << 25) - 1, 103), f32::INFINITY, "rounds up");
        assert_eq!(fixed_to_f64(1, 1023), 2f64.powi(1023));
        assert_eq!(fixed_to_f64(-1, 1024), f64::NEG_INFINITY);
        assert_eq!(fixed_to_f64((1 << 53) - 1, 971), f64::MAX);
        assert_eq!(fixed_to_f64((1 << 54) - 1, 970), f64::INFINITY);
        assert_eq!(fixed_to_f16(65504, 0), f16::MAX);
        assert_eq!(fixed_to_f16(65519, 0), f16::MAX);
        assert_eq!(fixed_to_f16(65520, 0), f16::INFINITY);
        assert_eq!(fixed_to_bf16(-255, 120), bf16::MIN);
        assert_eq!(fixed_to_bf16(-511, 119), bf16::NEG_INFINITY);
        assert_eq!(fixed_to_f64(i64::MAX, i32::MAX), f64::INFINITY);
    }

    #[test]
    fn zeros_keep_the_sign_that_they_have() {
        let negative = |x: f64| x == 0.0 && x.is_sign_negative();
        assert!(negative(fixed_to_f64(-1, i32::MIN)));
        assert!(negative(fixed_to_f32(-1, -151).into()));
        assert!(!negative(fixed_to_f64(0, 5)));
        assert_eq!(f64_to_f16(-0.0).to_bits(), 0x8000);
        assert_eq!(float_to_fixed(-0.0, 0), Some(0));
        assert_eq!(float_to_fixed(-0.5, 0), Some(0));
        assert_eq!(fixed_to_f64(i64::MAX, i32::MIN), 0.0);
    }

    #[test]
    fn the_smallest_integer_fits_and_the_one_beyond_the_largest_does_not() {
        let two_63 = 9_223_372_036_854_775_808.0;
        assert_eq!(float_to_fixed(-two_63, 0), Some(i64::MIN));
        assert_eq!(float_to_fixed(two_63, 0), None);
        assert_eq!(float_to_fixed(-1.0, -63), Some(i64::MIN));
        assert_eq!(float_to_fixed(1.0, -63), None);
        assert_eq!(fixed_to_f64(i64::MIN, -63), -1.0);
        assert_eq!(fixed_to_f32(i64::MIN, 0), -9_223_372_036_854_775_808.0);
        assert_eq!(shift_round(i64::MIN, 0), Some(i64::MIN));
        assert_eq!(shift_round(i64::MIN, -1), Some(i64::MIN / 2));
        assert_eq!(shift_round(i64::MIN, 1), None);
        assert_eq!(shift_round(-1, 63), Some(i64::MIN));
        assert_eq!(shift_round(1, 63), None);
        assert_eq!(integer_to_fixed(-(1 << 63), 0), Some(i64::MIN));
        assert_eq!(integer_to_fixed(u64::MAX.into(), 0), None);
        assert_eq!(integer_to_fixed(u64::MAX.into(), 2), Some(1 << 62));
    }

    #[test]
    fn integers_are_nearest_with_ties_to_even() {
        assert_eq!(float_to_fixed(1.0, -18), Some(1 << 18));
        for (x, n) in [(0.5, 0), (1.5, 2), (2.5, 2), (-2.5, -2), (-0.75, -1)] {
            assert_eq!(float_to_fixed(x, 0), Some(n), "{x}");
        }
        for v in -70i64..=70 {
            for shift in 0..6 {
                let nearest = (v as f64 / f64::from(1 << shift)).round_ties_even() as i64;
                assert_eq!(shift_round(v, -i64::from(shift)), Some(nearest));
                assert_eq!(integer_to_fixed(v.into(), shift), Some(nearest));
            }
        }
        assert_eq!(shift_round(i64::MAX, -63), Some(1));
        assert_eq!(shift_round(1 << 62, -63), Some(0), "a half goes to even");
        assert_eq!(shift_round(i64::MIN, -64), Some(0), "so does this one");
    }

    #[test]
    fn exponents_and_values_far_outside() {
        for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(float_to_fixed(x, 0), None);
        }
        assert_eq!(float_to_fixed(f64::from_bits(1), -1074), Some(1));
        assert_eq!(float_to_fixed(f64::from_bits(1), -1080), Some(64));
        assert_eq!(float_to_fixed(0.0, -2000), Some(0));
        assert_eq!(float_to_fixed(f64::MIN_POSITIVE, i32::MAX), Some(0));
        assert_eq!(float_to_fixed(1.0, i32::MIN), None);
        assert_eq!(shift_round(5, i64::MIN), Some(0));
        assert_eq!(shift_round(5, i64::MAX), None);
        assert_eq!(shift_round(0, i64::MAX), Some(0));
        assert_eq!(fixed_to_f64(1 << 62, -1080), 2f64.powi(-1018));
    }

    #[test]
    fn half_precision_sees_every_bit_of_a_double() {
        let tie = 1.0 + 2f64.powi(-11);
        assert_eq!(f64_to_f16(tie), f16::ONE);
        assert_eq!(f64_to_f16(tie + 2f64.powi(-50)).to_bits(), 0x3c01);
        assert_eq!(
            f64_to_f16(tie - 2f64.powi(-50)),
            f16::ONE,
            "f32 rounds it up to the tie"
        );
        assert_eq!(
            f64_to_bf16(1.0 + 2f64.powi(-8) + 2f64.powi(-50)).to_bits(),
            0x3f81
        );
        assert_eq!(f64_to_f16(f64::INFINITY), f16::INFINITY);
        assert!(f64_to_f16(f64::NAN).is_nan());
        assert!(f64_to_bf16(f64::NAN).is_nan());
        assert_eq!(f64_to_f16(1e9), f16::INFINITY);
    }

    #[test]
    fn whole_values_at_the_edges() {
        assert_eq!(fixed_to_whole(i64::MIN, -63), Some(-1));
        assert_eq!(fixed_to_whole(i64::MIN, -64), None);
        assert_eq!(fixed_to_whole(3, -1), None);
        assert_eq!(fixed_to_whole(0, i32::MIN), Some(0));
        assert_eq!(fixed_to_whole(0, i32::MAX), Some(0));
        assert_eq!(fixed_to_whole(1, 126), Some(1 << 126));
        assert_eq!(fixed_to_whole(1, 127), None);
    }
}
