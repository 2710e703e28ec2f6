//! The rounding between fixed point and plain values, and elements as bytes.

use crate::values::{Number, Tensor, decode, encode, fixed_to_f32, fixed_to_f64, float_to_fixed};
use dsperse_plugin_api::{Encoding, TensorInfo};
use proptest::prelude::*;

#[test]
fn fixed_to_f32_rounds_once_to_nearest_even() {
    assert_eq!(fixed_to_f32(0, -18), Some(0.0));
    assert_eq!(fixed_to_f32(1 << 18, -18), Some(1.0));
    assert_eq!(fixed_to_f32(-3, -1), Some(-1.5));
    // 2^24 + 1 lies halfway between two f32; the even one is 2^24.
    assert_eq!(fixed_to_f32((1 << 24) + 1, 0), Some(16_777_216.0));
    assert_eq!(fixed_to_f32((1 << 24) + 3, 0), Some(16_777_220.0));
    // Through f64 this would round twice: 2^53 + 2^29 + 1 is above the half of f32,
    // but rounds to exactly the half in f64, and from there to even.
    let n = (1i64 << 53) + (1 << 29) + 1;
    assert_eq!(fixed_to_f32(n, 0), Some(((1i64 << 53) + (1 << 30)) as f32));
    assert_eq!(
        (n as f64) as f32,
        (1i64 << 53) as f32,
        "the double rounding"
    );
}

#[test]
fn fixed_to_plain_knows_its_limits() {
    assert_eq!(fixed_to_f32(1, -149), Some(f32::from_bits(1)));
    assert_eq!(
        fixed_to_f32(1, -150),
        Some(0.0),
        "half of the smallest: to even"
    );
    assert_eq!(
        fixed_to_f32(3, -150),
        Some(f32::from_bits(2)),
        "1.5: to even"
    );
    assert_eq!(fixed_to_f32(3, -151), Some(f32::from_bits(1)));
    assert_eq!(fixed_to_f32(1, -1000), Some(0.0));
    assert_eq!(fixed_to_f32(1, 127), Some(2f32.powi(127)));
    assert_eq!(fixed_to_f32(1, 128), None);
    assert_eq!(fixed_to_f32((1 << 24) - 1, 104), Some(f32::MAX));
    assert_eq!(fixed_to_f32((1 << 25) - 1, 103), None, "rounds up to 2^128");
    assert_eq!(fixed_to_f64(1, -1074), Some(f64::from_bits(1)));
    assert_eq!(fixed_to_f64(1, -1075), Some(0.0));
    assert_eq!(fixed_to_f64(3, -1075), Some(f64::from_bits(2)));
    assert_eq!(fixed_to_f64(1, 1023), Some(2f64.powi(1023)));
    assert_eq!(fixed_to_f64(1, 1024), None);
    assert_eq!(fixed_to_f64(i64::MIN, -63), Some(-1.0));
    assert_eq!(fixed_to_f64(i64::MAX, i32::MAX), None);
    assert_eq!(fixed_to_f64(i64::MAX, i32::MIN), Some(0.0));
}

#[test]
fn plain_to_fixed_rounds_to_nearest_even() {
    assert_eq!(float_to_fixed(1.0, -18), Some(1 << 18));
    assert_eq!(float_to_fixed(0.5, 0), Some(0));
    assert_eq!(float_to_fixed(1.5, 0), Some(2));
    assert_eq!(float_to_fixed(2.5, 0), Some(2));
    assert_eq!(float_to_fixed(-2.5, 0), Some(-2));
    assert_eq!(float_to_fixed(-0.75, 0), Some(-1));
    assert_eq!(float_to_fixed(f64::NAN, 0), None);
    assert_eq!(float_to_fixed(f64::INFINITY, 0), None);
    assert_eq!(
        float_to_fixed(9_223_372_036_854_775_807.0, 0),
        None,
        "is 2^63"
    );
    assert_eq!(
        float_to_fixed(-9_223_372_036_854_775_808.0, 0),
        Some(i64::MIN)
    );
    assert_eq!(float_to_fixed(f64::from_bits(1), -1074), Some(1));
    assert_eq!(float_to_fixed(f64::MIN_POSITIVE, i32::MAX), Some(0));
    assert_eq!(float_to_fixed(1.0, i32::MIN), None);
}

proptest! {
    #[test]
    fn integers_that_fit_survive_both_ways(n in -(1i64 << 53)..(1i64 << 53), e in -900i32..900) {
        let x = fixed_to_f64(n, e).unwrap();
        prop_assert_eq!(float_to_fixed(x, e), Some(n));
    }

    #[test]
    fn f32_agrees_with_the_cast_where_that_is_exact(n: i64) {
        // `as f32` from an integer rounds once, to nearest even.
        prop_assert_eq!(fixed_to_f32(n, 0), Some(n as f32));
        prop_assert_eq!(fixed_to_f64(n, 0), Some(n as f64));
    }

    #[test]
    fn every_f32_is_some_fixed_point(x: f32) {
        prop_assume!(x.is_finite());
        let i = float_to_fixed(f64::from(x), -149);
        if let Some(i) = i {
            prop_assert_eq!(fixed_to_f32(i, -149), Some(x));
        }
    }

    #[test]
    fn elements_survive_encoding(n: i64, x in proptest::num::f64::NORMAL) {
        for (number, encoding) in [
            (Number::Int(n.into()), Encoding::I64),
            (Number::Int((n as u64).into()), Encoding::U64),
            (Number::Int((n as i8).into()), Encoding::I8),
            (Number::Float(x), Encoding::F64),
            (Number::Bool(n > 0), Encoding::Bool),
        ] {
            let mut out = Vec::new();
            encode(number, encoding, &mut out).unwrap();
            prop_assert_eq!(decode(&out, encoding), number);
        }
    }
}

#[test]
fn elements_out_of_range_are_refused() {
    let refused = |n, e| encode(n, e, &mut Vec::new()).unwrap_err();
    assert_eq!(
        refused(Number::Int(256), Encoding::U8),
        "an integer from 0 to 255"
    );
    assert_eq!(
        refused(Number::Float(1.5), Encoding::I8),
        "an integer from -128 to 127"
    );
    assert_eq!(
        refused(Number::Float(1e39), Encoding::F32),
        "a finite number within the range of f32"
    );
    assert_eq!(
        refused(Number::Float(f64::NAN), Encoding::F64),
        "a finite number within the range of f64"
    );
    assert_eq!(
        refused(Number::Int(2), Encoding::Bool),
        "true, false, 0 or 1"
    );
    refused(Number::Float(9.3e18), Encoding::I64);
    refused(Number::Int(70_000), Encoding::F16);
    let mut out = Vec::new();
    encode(Number::Float(-3.0), Encoding::I16, &mut out).unwrap();
    assert_eq!(out, (-3i16).to_le_bytes());
}

#[test]
fn tensors_convert_as_a_whole() {
    let info = TensorInfo {
        name: "x".into(),
        encoding: Encoding::Fixed { exponent: -1 },
        shape: vec![2],
    };
    let data = [3i64, -4].iter().flat_map(|n| n.to_le_bytes()).collect();
    let fixed = Tensor::new(info.clone(), data).unwrap();
    let plain = fixed.to_plain(Encoding::F32).unwrap();
    assert_eq!(plain.to_f64(), [1.5, -2.0]);
    assert_eq!(plain.info.encoding, Encoding::F32);
    assert_eq!(plain.to_fixed(-1).unwrap(), fixed);
    assert_eq!(fixed.to_f64(), [1.5, -2.0]);
    assert!(fixed.to_plain(Encoding::I32).is_err());
    let e = Tensor::new(info, vec![0; 15]).unwrap_err().to_string();
    assert_eq!(
        e,
        "tensor \"x\" (fixed, shape [2]) has 15 bytes, expected 16"
    );
}
