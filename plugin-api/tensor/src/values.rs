//! The elements of a tensor in bulk, for arithmetic.

use crate::Encoding;
use crate::error::{Result, TensorError};
use crate::round::{fixed_to_f32, fixed_to_f64, float_to_fixed, integer_to_fixed};
use half::{bf16, f16};

pub use crate::round::shift_round;

/// The elements of a tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Values {
    /// Plain floats (all types fit exactly).
    Float(Vec<f64>),
    /// Plain integers and booleans (all but large `u64` fit; those are refused).
    Int(Vec<i64>),
    /// Fixed point: each integer stands for `integer · 2^exponent`.
    Fixed {
        /// The integers.
        integers: Vec<i64>,
        /// The power of two.
        exponent: i32,
    },
}

impl Values {
    /// Decodes little-endian elements; a trailing partial element is ignored. `None` for
    /// `u64` values beyond `i64`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8], encoding: Encoding) -> Option<Self> {
        macro_rules! elements {
            ($t:ty, $into:expr) => {{
                let (chunks, _) = bytes.as_chunks::<{ size_of::<$t>() }>();
                chunks
                    .iter()
                    .map(|c| $into(<$t>::from_le_bytes(*c)))
                    .collect()
            }};
        }
        Some(match encoding {
            Encoding::F16 => Self::Float(elements!(f16, f64::from)),
            Encoding::Bf16 => Self::Float(elements!(bf16, f64::from)),
            Encoding::F32 => Self::Float(elements!(f32, f64::from)),
            Encoding::F64 => Self::Float(elements!(f64, f64::from)),
            Encoding::I8 => Self::Int(elements!(i8, i64::from)),
            Encoding::I16 => Self::Int(elements!(i16, i64::from)),
            Encoding::I32 => Self::Int(elements!(i32, i64::from)),
            Encoding::I64 => Self::Int(elements!(i64, i64::from)),
            Encoding::U8 | Encoding::Bool => Self::Int(elements!(u8, i64::from)),
            Encoding::U16 => Self::Int(elements!(u16, i64::from)),
            Encoding::U32 => Self::Int(elements!(u32, i64::from)),
            Encoding::U64 => {
                let all: Option<Vec<i64>> = elements!(u64, |v| i64::try_from(v).ok());
                Self::Int(all?)
            }
            Encoding::Fixed { exponent } => Self::Fixed {
                integers: elements!(i64, i64::from),
                exponent,
            },
        })
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Float(v) => v.len(),
            Self::Int(v) => v.len(),
            Self::Fixed { integers, .. } => integers.len(),
        }
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The integers nearest to `value / 2^exponent`; see [`crate::round`].
    ///
    /// # Errors
    /// For a value that is not finite or does not fit an `i64`.
    pub fn to_fixed(&self, exponent: i32) -> Result<Vec<i64>> {
        fn all<T: Copy + std::fmt::Display>(
            values: &[T],
            exponent: i32,
            convert: impl Fn(T) -> Option<i64>,
        ) -> Result<Vec<i64>> {
            let one = |(at, v): (usize, &T)| {
                convert(*v).ok_or_else(|| TensorError::Element {
                    name: None,
                    at,
                    found: v.to_string(),
                    expected: format!("a finite number below 2^63 · 2^{exponent}"),
                })
            };
            values.iter().enumerate().map(one).collect()
        }
        match self {
            Self::Float(v) => all(v, exponent, |x| float_to_fixed(x, exponent)),
            Self::Int(v) => all(v, exponent, |n| integer_to_fixed(n.into(), exponent)),
            Self::Fixed {
                integers,
                exponent: own,
            } => {
                let shift = i64::from(*own) - i64::from(exponent);
                all(integers, exponent, |n| shift_round(n, shift))
            }
        }
    }

    /// The nearest `f32`; see [`crate::round`]. What is too large becomes ∞.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            Self::Float(v) => v.iter().map(|v| *v as f32).collect(),
            Self::Int(v) => v.iter().map(|v| *v as f32).collect(),
            Self::Fixed { integers, exponent } => integers
                .iter()
                .map(|n| fixed_to_f32(*n, *exponent))
                .collect(),
        }
    }

    /// The nearest `f64`; see [`crate::round`]. What is too large becomes ∞.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Self::Float(v) => v.clone(),
            Self::Int(v) => v.iter().map(|v| *v as f64).collect(),
            Self::Fixed { integers, exponent } => integers
                .iter()
                .map(|n| fixed_to_f64(*n, *exponent))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_round_half_to_even() {
        let v = Values::Float(vec![0.5, 1.5, -0.5, -1.5, 0.49, 2.51]);
        assert_eq!(v.to_fixed(0).unwrap(), [0, 2, 0, -2, 0, 3]);
        assert_eq!(Values::Float(vec![0.75]).to_fixed(-18).unwrap(), [3 << 16]);
    }

    #[test]
    fn integers_shift_exactly_up_and_round_down_to_even() {
        let f = Values::Fixed {
            integers: vec![5, 6, 7, -5, -6, -7, i64::MIN],
            exponent: -10,
        };
        assert_eq!(f.to_fixed(-8).unwrap(), [1, 2, 2, -1, -2, -2, i64::MIN / 4]);
        assert_eq!(Values::Int(vec![3, -3]).to_fixed(-4).unwrap(), [48, -48]);
        assert!(Values::Int(vec![1 << 62]).to_fixed(-1).is_err());
    }

    #[test]
    fn values_out_of_range_are_refused() {
        assert!(Values::Float(vec![f64::NAN]).to_fixed(0).is_err());
        assert!(Values::Float(vec![f64::INFINITY]).to_fixed(0).is_err());
        let e = Values::Float(vec![0.0, 1e30]).to_fixed(-8).unwrap_err();
        assert_eq!(
            e.to_string(),
            "element 1 is 1000000000000000000000000000000, expected a finite number below 2^63 · 2^-8"
        );
        assert!(Values::from_bytes(&[0xff; 8], Encoding::U64).is_none());
    }

    #[test]
    fn single_precision_rounds_once() {
        // 2^53 + 1 would round to 2^53 in f64 first; the f32 tie must be seen exactly.
        let v = Values::Fixed {
            integers: vec![(1i64 << 60) + (1 << 36) + 1],
            exponent: -60,
        };
        assert_eq!(v.to_f32(), [1.0 + f32::EPSILON]);
    }

    #[test]
    fn every_encoding_is_read() {
        let floats = |bytes: &[u8], e| Values::from_bytes(bytes, e).unwrap();
        assert_eq!(
            floats(&[0x00, 0x3c, 0x01, 0x00, 0x00, 0xc0], Encoding::F16),
            Values::Float(vec![1.0, 2f64.powi(-24), -2.0])
        );
        assert_eq!(
            floats(&[0x80, 0x3f, 0xc0, 0xbf], Encoding::Bf16),
            Values::Float(vec![1.0, -1.5])
        );
        assert_eq!(
            floats(&[0xff, 0x01], Encoding::I8),
            Values::Int(vec![-1, 1])
        );
        assert_eq!(
            floats(&[0xff, 0xff, 0, 0x80], Encoding::U16),
            Values::Int(vec![0xffff, 0x8000])
        );
        assert_eq!(floats(&[1, 0], Encoding::Bool), Values::Int(vec![1, 0]));
    }
}
