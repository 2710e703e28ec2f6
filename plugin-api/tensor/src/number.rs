//! One element of a tensor.

use crate::Encoding;
use crate::round::{f64_to_bf16, f64_to_f16, integer_to_bf16, integer_to_f16};
use half::{bf16, f16};

/// An element of any encoding. Fixed point: its integer, without the exponent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// An integer.
    Int(i128),
    /// A floating-point number.
    Float(f64),
    /// A truth value.
    Bool(bool),
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(n) => write!(f, "{n}"),
            Self::Float(x) => write!(f, "{x}"),
            Self::Bool(b) => write!(f, "{b}"),
        }
    }
}

impl Number {
    /// Reads one element from as many bytes as it has.
    #[must_use]
    pub fn read(chunk: &[u8], encoding: Encoding) -> Self {
        fn le<const N: usize>(chunk: &[u8]) -> [u8; N] {
            chunk.try_into().unwrap_or([0; N])
        }
        match encoding {
            Encoding::F32 => Self::Float(f32::from_le_bytes(le(chunk)).into()),
            Encoding::F64 => Self::Float(f64::from_le_bytes(le(chunk))),
            Encoding::F16 => Self::Float(f16::from_le_bytes(le(chunk)).into()),
            Encoding::Bf16 => Self::Float(bf16::from_le_bytes(le(chunk)).into()),
            Encoding::I8 => Self::Int(i8::from_le_bytes(le(chunk)).into()),
            Encoding::I16 => Self::Int(i16::from_le_bytes(le(chunk)).into()),
            Encoding::I32 => Self::Int(i32::from_le_bytes(le(chunk)).into()),
            Encoding::I64 | Encoding::Fixed { .. } => {
                Self::Int(i64::from_le_bytes(le(chunk)).into())
            }
            Encoding::U8 => Self::Int(u8::from_le_bytes(le(chunk)).into()),
            Encoding::U16 => Self::Int(u16::from_le_bytes(le(chunk)).into()),
            Encoding::U32 => Self::Int(u32::from_le_bytes(le(chunk)).into()),
            Encoding::U64 => Self::Int(u64::from_le_bytes(le(chunk)).into()),
            Encoding::Bool => Self::Bool(chunk.first().is_some_and(|b| *b != 0)),
        }
    }

    /// Appends the element to `out`.
    ///
    /// Float types take the nearest number (see [`crate::round`]). Integer types and the
    /// integers of fixed point take whole numbers in range, also when they are written as
    /// floats without a fraction; truth values are also 0 and 1. Tools write them so.
    ///
    /// # Errors
    /// What was expected, when the number is not finite, out of range or has a fraction.
    pub fn write(self, encoding: Encoding, out: &mut Vec<u8>) -> Result<(), String> {
        macro_rules! integer {
            ($t:ty) => {{
                let value = self
                    .whole()
                    .and_then(|i| <$t>::try_from(i).ok())
                    .ok_or_else(|| format!("an integer from {} to {}", <$t>::MIN, <$t>::MAX))?;
                out.extend(value.to_le_bytes());
            }};
        }
        macro_rules! float {
            ($value:expr) => {{
                let value = $value;
                if !value.is_finite() {
                    return Err(format!(
                        "a finite number within the range of {}",
                        encoding.name()
                    ));
                }
                out.extend(value.to_le_bytes());
            }};
        }
        match encoding {
            Encoding::F32 => float!(match self {
                // Not through f64, which would round twice.
                Self::Int(i) => i as f32,
                _ => self.to_f64() as f32,
            }),
            Encoding::F64 => float!(self.to_f64()),
            Encoding::F16 => float!(match self {
                Self::Int(i) => integer_to_f16(i),
                _ => f64_to_f16(self.to_f64()),
            }),
            Encoding::Bf16 => float!(match self {
                Self::Int(i) => integer_to_bf16(i),
                _ => f64_to_bf16(self.to_f64()),
            }),
            Encoding::I8 => integer!(i8),
            Encoding::I16 => integer!(i16),
            Encoding::I32 => integer!(i32),
            Encoding::I64 | Encoding::Fixed { .. } => integer!(i64),
            Encoding::U8 => integer!(u8),
            Encoding::U16 => integer!(u16),
            Encoding::U32 => integer!(u32),
            Encoding::U64 => integer!(u64),
            Encoding::Bool => match self.whole() {
                Some(bit @ (0 | 1)) => out.push(u8::from(bit == 1)),
                _ => return Err("true, false, 0 or 1".into()),
            },
        }
        Ok(())
    }

    /// The nearest `f64`.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Int(i) => i as f64,
            Self::Float(x) => x,
            Self::Bool(b) => f64::from(u8::from(b)),
        }
    }

    /// The number as an integer, when it is one.
    #[must_use]
    pub fn whole(self) -> Option<i128> {
        match self {
            Self::Int(i) => Some(i),
            // Every integer type ends far below, and up to there the cast is exact.
            Self::Float(x) if x.fract() == 0.0 && x.abs() < 1e30 => Some(x as i128),
            Self::Float(_) => None,
            Self::Bool(b) => Some(b.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn elements_survive_writing(n: i64, x in proptest::num::f64::NORMAL) {
            for (number, encoding) in [
                (Number::Int(n.into()), Encoding::I64),
                (Number::Int((n as u64).into()), Encoding::U64),
                (Number::Int((n as i8).into()), Encoding::I8),
                (Number::Int(n.into()), Encoding::Fixed { exponent: 3 }),
                (Number::Float(x), Encoding::F64),
                (Number::Bool(n > 0), Encoding::Bool),
            ] {
                let mut out = Vec::new();
                number.write(encoding, &mut out).unwrap();
                prop_assert_eq!(Number::read(&out, encoding), number);
            }
        }

        #[test]
        fn every_half_survives(bits: u16) {
            for encoding in [Encoding::F16, Encoding::Bf16] {
                let number = Number::read(&bits.to_le_bytes(), encoding);
                let mut out = Vec::new();
                match number {
                    Number::Float(x) if x.is_finite() => {
                        number.write(encoding, &mut out).unwrap();
                        prop_assert_eq!(out, bits.to_le_bytes());
                    }
                    _ => prop_assert!(number.write(encoding, &mut out).is_err()),
                }
            }
        }

        #[test]
        fn an_integer_is_rounded_once(n: i64) {
            let mut out = Vec::new();
            Number::Int(n.into()).write(Encoding::F32, &mut out).unwrap();
            prop_assert_eq!(out, crate::round::fixed_to_f32(n, 0).to_le_bytes());
            let mut out = Vec::new();
            Number::Int(n.into()).write(Encoding::Bf16, &mut out).unwrap();
            prop_assert_eq!(out, crate::round::fixed_to_bf16(n, 0).to_le_bytes());
        }
    }

    #[test]
    fn elements_out_of_range_are_refused() {
        let refused = |n: Number, e| n.write(e, &mut Vec::new()).unwrap_err();
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
        refused(Number::Float(1e39), Encoding::Bf16);
        refused(Number::Float(0.5), Encoding::Bool);
        let mut out = Vec::new();
        Number::Float(-3.0).write(Encoding::I16, &mut out).unwrap();
        assert_eq!(out, (-3i16).to_le_bytes());
    }

    #[test]
    fn a_wide_integer_is_rounded_once_to_bf16() {
        // Just above the tie between 2^60 and 2^60 + 2^53: f64 would round it to the tie.
        let n = (1i128 << 60) + (1 << 52) + 1;
        let mut out = Vec::new();
        Number::Int(n).write(Encoding::Bf16, &mut out).unwrap();
        let up = bf16::from_f64((1u64 << 60) as f64 + (1u64 << 53) as f64);
        assert_eq!(out, up.to_le_bytes());
    }
}
