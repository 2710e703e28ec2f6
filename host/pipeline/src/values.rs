//! Elements of tensors: between raw little-endian bytes, JSON and floats.
//!
//! A fixed-point element `n` of exponent `e` stands for `n · 2^e`. Its f64 view is exact
//! while `|n| < 2^53`, which holds for every value that a quantised slice produces; views
//! in f32 round once, to nearest even.

use dsperse_plugin_api::{Encoding, TensorInfo};
use half::f16;
use serde_json::Value;

/// One element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    /// An integer or boolean.
    Int(i128),
    /// A floating-point number.
    Float(f64),
}

/// Appends one element's bytes.
///
/// # Errors
/// A half sentence that says why the value does not fit the encoding.
pub fn encode(encoding: Encoding, value: Scalar, out: &mut Vec<u8>) -> Result<(), String> {
    macro_rules! integer {
        ($t:ty) => {{
            let n = whole(value)?;
            let n = <$t>::try_from(n)
                .map_err(|_| format!("{n} is outside {} to {}", <$t>::MIN, <$t>::MAX))?;
            out.extend_from_slice(&n.to_le_bytes());
        }};
    }
    match encoding {
        Encoding::F32 => {
            #[allow(clippy::cast_possible_truncation)]
            let v = finite(value)? as f32;
            if v.is_infinite() {
                return Err(format!("{} is too large for f32", float(value)));
            }
            out.extend_from_slice(&v.to_le_bytes());
        }
        Encoding::F64 => out.extend_from_slice(&finite(value)?.to_le_bytes()),
        Encoding::F16 => {
            let v = f16::from_f64(finite(value)?);
            if v.is_infinite() {
                return Err(format!("{} is too large for f16", float(value)));
            }
            out.extend_from_slice(&v.to_le_bytes());
        }
        Encoding::I8 => integer!(i8),
        Encoding::I16 => integer!(i16),
        Encoding::I32 => integer!(i32),
        Encoding::I64 => integer!(i64),
        Encoding::U8 => integer!(u8),
        Encoding::U16 => integer!(u16),
        Encoding::U32 => integer!(u32),
        Encoding::U64 => integer!(u64),
        Encoding::Bool => match whole(value)? {
            n @ (0 | 1) => out.push(u8::from(n == 1)),
            n => return Err(format!("{n} is no boolean (0 or 1)")),
        },
        Encoding::Fixed { exponent } => {
            let scaled = finite(value)? * 2f64.powi(-exponent);
            if scaled.fract() != 0.0 || scaled.abs() >= 9_007_199_254_740_992.0 {
                return Err(format!(
                    "{} is no multiple of 2^{exponent}, the step of this quantised tensor",
                    float(value)
                ));
            }
            #[allow(clippy::cast_possible_truncation)]
            out.extend_from_slice(&(scaled as i64).to_le_bytes());
        }
    }
    Ok(())
}

fn float(value: Scalar) -> f64 {
    match value {
        #[allow(clippy::cast_precision_loss)]
        Scalar::Int(n) => n as f64,
        Scalar::Float(f) => f,
    }
}

fn finite(value: Scalar) -> Result<f64, String> {
    let f = float(value);
    if f.is_finite() {
        Ok(f)
    } else {
        Err(format!("{f} is not a finite number"))
    }
}

fn whole(value: Scalar) -> Result<i128, String> {
    match value {
        Scalar::Int(n) => Ok(n),
        #[allow(clippy::cast_possible_truncation)]
        Scalar::Float(f) if f.fract() == 0.0 && f.abs() < 1e18 => Ok(f as i128),
        Scalar::Float(f) => Err(format!("{f} is no integer")),
    }
}

/// The elements of raw bytes; a rest shorter than an element is ignored.
pub fn decode(encoding: Encoding, bytes: &[u8]) -> impl Iterator<Item = Scalar> + '_ {
    bytes
        .chunks_exact(encoding.element_size())
        .map(move |b| decode_one(encoding, b))
}

fn decode_one(encoding: Encoding, bytes: &[u8]) -> Scalar {
    let mut b = [0u8; 8];
    let n = bytes.len().min(8);
    b[..n].copy_from_slice(&bytes[..n]);
    let [b0, b1, b2, b3, ..] = b;
    match encoding {
        Encoding::F32 => Scalar::Float(f64::from(f32::from_le_bytes([b0, b1, b2, b3]))),
        Encoding::F64 => Scalar::Float(f64::from_le_bytes(b)),
        Encoding::F16 => Scalar::Float(f16::from_le_bytes([b0, b1]).to_f64()),
        Encoding::I8 => Scalar::Int(i8::from_le_bytes([b0]).into()),
        Encoding::I16 => Scalar::Int(i16::from_le_bytes([b0, b1]).into()),
        Encoding::I32 => Scalar::Int(i32::from_le_bytes([b0, b1, b2, b3]).into()),
        Encoding::I64 => Scalar::Int(i64::from_le_bytes(b).into()),
        Encoding::U8 | Encoding::Bool => Scalar::Int(b0.into()),
        Encoding::U16 => Scalar::Int(u16::from_le_bytes([b0, b1]).into()),
        Encoding::U32 => Scalar::Int(u32::from_le_bytes([b0, b1, b2, b3]).into()),
        Encoding::U64 => Scalar::Int(u64::from_le_bytes(b).into()),
        #[allow(clippy::cast_precision_loss)]
        Encoding::Fixed { exponent } => {
            Scalar::Float(i64::from_le_bytes(b) as f64 * 2f64.powi(exponent))
        }
    }
}

/// All elements as f64.
pub fn to_f64(encoding: Encoding, bytes: &[u8]) -> Vec<f64> {
    decode(encoding, bytes).map(float).collect()
}

/// All elements as a flat JSON array. Numbers that JSON can't hold become the words
/// `"NaN"`, `"Infinity"` and `"-Infinity"`.
#[must_use]
pub fn to_json(encoding: Encoding, bytes: &[u8]) -> Value {
    Value::Array(
        decode(encoding, bytes)
            .map(|s| match s {
                Scalar::Int(n) if encoding == Encoding::Bool => Value::Bool(n != 0),
                Scalar::Int(n) => i64::try_from(n).map_or_else(
                    |_| u64::try_from(n).map_or(Value::Null, Value::from),
                    Value::from,
                ),
                Scalar::Float(f) if f.is_nan() => "NaN".into(),
                Scalar::Float(f) if f.is_infinite() && f > 0.0 => "Infinity".into(),
                Scalar::Float(f) if f.is_infinite() => "-Infinity".into(),
                Scalar::Float(f) => Value::from(f),
            })
            .collect(),
    )
}

/// Number of bytes that a tensor of this description has; `None` on overflow.
#[must_use]
pub fn byte_len(info: &TensorInfo) -> Option<u64> {
    info.len()?.checked_mul(info.encoding.element_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(encoding: Encoding, value: Scalar) -> Result<Vec<Scalar>, String> {
        let mut bytes = Vec::new();
        encode(encoding, value, &mut bytes)?;
        assert_eq!(bytes.len(), encoding.element_size());
        Ok(decode(encoding, &bytes).collect())
    }

    #[test]
    fn integers_round_trip_and_are_bounded() {
        for (encoding, n) in [
            (Encoding::I8, -128),
            (Encoding::U8, 255),
            (Encoding::I64, i128::from(i64::MIN)),
            (Encoding::U64, i128::from(u64::MAX)),
            (Encoding::Bool, 1),
        ] {
            assert_eq!(
                round_trip(encoding, Scalar::Int(n)),
                Ok(vec![Scalar::Int(n)])
            );
        }
        assert_eq!(
            round_trip(Encoding::I8, Scalar::Int(128)),
            Err("128 is outside -128 to 127".to_owned())
        );
        assert!(round_trip(Encoding::I32, Scalar::Float(1.5)).is_err());
        assert!(round_trip(Encoding::Bool, Scalar::Int(2)).is_err());
        assert_eq!(
            round_trip(Encoding::I32, Scalar::Float(3.0)),
            Ok(vec![Scalar::Int(3)])
        );
    }

    #[test]
    fn floats_must_be_finite_and_fit() {
        assert!(round_trip(Encoding::F32, Scalar::Float(f64::NAN)).is_err());
        assert!(round_trip(Encoding::F32, Scalar::Float(1e39)).is_err());
        assert!(round_trip(Encoding::F16, Scalar::Float(1e6)).is_err());
        assert_eq!(
            round_trip(Encoding::F32, Scalar::Int(2)),
            Ok(vec![Scalar::Float(2.0)])
        );
    }

    #[test]
    fn fixed_point_takes_exact_multiples_only() {
        let encoding = Encoding::Fixed { exponent: -4 };
        assert_eq!(
            round_trip(encoding, Scalar::Float(-0.8125)),
            Ok(vec![Scalar::Float(-0.8125)])
        );
        assert!(round_trip(encoding, Scalar::Float(0.1)).is_err());
    }

    #[test]
    fn json_keeps_what_numbers_can_not_say() {
        let bytes: Vec<u8> = [1.5f32, f32::NAN, f32::NEG_INFINITY]
            .iter()
            .flat_map(|f| f.to_le_bytes())
            .collect();
        assert_eq!(
            to_json(Encoding::F32, &bytes),
            serde_json::json!([1.5, "NaN", "-Infinity"])
        );
        assert_eq!(
            to_json(Encoding::U64, &u64::MAX.to_le_bytes()),
            serde_json::json!([u64::MAX])
        );
    }
}
