//! Reading tensor files, and the two documented roundings between plain and fixed-point
//! values. Every backend and the host use these functions, so that two slices that meet
//! at a tensor read the same numbers from it.
//!
//! - *To fixed point* ([`Values::to_fixed`]): `integer = value / 2^exponent`, rounded to
//!   nearest, ties to even; exact for integers and floats alike.
//! - *To single precision* ([`Values::to_f32`]): the `f32` nearest to the value, ties to
//!   even.

use crate::{Encoding, Error, Result, TensorFile};

/// The elements of a tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Values {
    /// Plain floats (`f16`, `f32` and `f64` all fit exactly).
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

impl TensorFile {
    /// Reads the file's bytes and checks their number against encoding and shape.
    ///
    /// # Errors
    /// `invalid_input` when the file can't be read or has another size.
    pub fn read_bytes(&self) -> Result<Vec<u8>> {
        let bytes = std::fs::read(&self.path).map_err(|e| {
            Error::invalid_input(format!(
                "tensor \"{}\" can't be read from \"{}\": {e}",
                self.info.name, self.path
            ))
        })?;
        let expected = self
            .info
            .len()
            .and_then(|n| n.checked_mul(self.info.encoding.element_size() as u64));
        if expected != Some(bytes.len() as u64) {
            return Err(Error::invalid_input(format!(
                "tensor \"{}\" of shape {:?} has {} bytes, expected {}",
                self.info.name,
                self.info.shape,
                bytes.len(),
                expected.map_or_else(|| "fewer than 2^64".to_owned(), |n| n.to_string()),
            )));
        }
        Ok(bytes)
    }

    /// Reads the file's elements.
    ///
    /// # Errors
    /// As [`TensorFile::read_bytes`]; also for `u64` values beyond `i64`.
    pub fn read_values(&self) -> Result<Values> {
        Values::from_bytes(&self.read_bytes()?, self.info.encoding).ok_or_else(|| {
            Error::invalid_input(format!(
                "tensor \"{}\" holds an unsigned integer beyond 2^63",
                self.info.name
            ))
        })
    }
}

impl Values {
    /// Decodes little-endian elements; a trailing partial element is ignored. `None` for
    /// `u64` values beyond `i64`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8], encoding: Encoding) -> Option<Self> {
        macro_rules! ints {
            ($t:ty) => {
                Self::Int(
                    bytes
                        .as_chunks::<{ size_of::<$t>() }>()
                        .0
                        .iter()
                        .map(|c| i64::from(<$t>::from_le_bytes(*c)))
                        .collect(),
                )
            };
        }
        Some(match encoding {
            Encoding::F16 => Self::Float(
                bytes
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|c| f16_to_f64(u16::from_le_bytes(*c)))
                    .collect(),
            ),
            Encoding::F32 => Self::Float(
                bytes
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|c| f64::from(f32::from_le_bytes(*c)))
                    .collect(),
            ),
            Encoding::F64 => Self::Float(
                bytes
                    .as_chunks::<8>()
                    .0
                    .iter()
                    .map(|c| f64::from_le_bytes(*c))
                    .collect(),
            ),
            Encoding::I8 => ints!(i8),
            Encoding::I16 => ints!(i16),
            Encoding::I32 => ints!(i32),
            Encoding::I64 => ints!(i64),
            Encoding::U8 | Encoding::Bool => ints!(u8),
            Encoding::U16 => ints!(u16),
            Encoding::U32 => ints!(u32),
            Encoding::U64 => Self::Int(
                bytes
                    .as_chunks::<8>()
                    .0
                    .iter()
                    .map(|c| i64::try_from(u64::from_le_bytes(*c)).ok())
                    .collect::<Option<_>>()?,
            ),
            Encoding::Fixed { exponent } => Self::Fixed {
                integers: bytes
                    .as_chunks::<8>()
                    .0
                    .iter()
                    .map(|c| i64::from_le_bytes(*c))
                    .collect(),
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

    /// The documented rounding to fixed point: `value / 2^exponent`, nearest, ties to even.
    ///
    /// # Errors
    /// `invalid_input` for a value that is not finite or does not fit an `i64`.
    pub fn to_fixed(&self, exponent: i32) -> Result<Vec<i64>> {
        let beyond = |i: usize, v: &dyn std::fmt::Display| {
            Error::invalid_input(format!(
                "element {i} ({v}) can't be written as a 64-bit integer times 2^{exponent}"
            ))
        };
        match self {
            Self::Float(values) => {
                // A product with a power of two is exact unless it underflows, and then the
                // rounded integer is 0 either way.
                let scale = 2f64.powi(exponent.saturating_neg());
                values
                    .iter()
                    .enumerate()
                    .map(|(i, v)| {
                        let scaled = (v * scale).round_ties_even();
                        if scaled.is_finite() && scaled.abs() < 2f64.powi(63) {
                            Ok(scaled as i64)
                        } else {
                            Err(beyond(i, v))
                        }
                    })
                    .collect()
            }
            Self::Int(values) => shift_all(values, -i64::from(exponent), beyond),
            Self::Fixed {
                integers,
                exponent: own,
            } => shift_all(integers, i64::from(*own) - i64::from(exponent), beyond),
        }
    }

    /// The documented rounding to single precision: nearest, ties to even.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            Self::Float(v) => v.iter().map(|v| *v as f32).collect(),
            Self::Int(v) => v.iter().map(|v| *v as f32).collect(),
            Self::Fixed { integers, exponent } => {
                // One rounding (integer to f32), then an exact scaling. It is done in f64,
                // whose range is wider, so that only the final value's range counts.
                let scale = 2f64.powi(*exponent);
                integers
                    .iter()
                    .map(|i| (f64::from(*i as f32) * scale) as f32)
                    .collect()
            }
        }
    }

    /// The values in double precision, nearest.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Self::Float(v) => v.clone(),
            Self::Int(v) => v.iter().map(|v| *v as f64).collect(),
            Self::Fixed { integers, exponent } => {
                let scale = 2f64.powi(*exponent);
                integers.iter().map(|i| *i as f64 * scale).collect()
            }
        }
    }
}

/// Multiplies by `2^shift`, ties to even when bits are lost.
fn shift_all(
    values: &[i64],
    shift: i64,
    beyond: impl Fn(usize, &dyn std::fmt::Display) -> Error,
) -> Result<Vec<i64>> {
    values
        .iter()
        .enumerate()
        .map(|(i, &v)| shift_round(v, shift).ok_or_else(|| beyond(i, &v)))
        .collect()
}

/// `v · 2^shift`, nearest, ties to even; `None` when it does not fit.
#[must_use]
pub fn shift_round(v: i64, shift: i64) -> Option<i64> {
    if shift >= 0 {
        if v == 0 {
            return Some(0);
        }
        let shift = u32::try_from(shift).ok().filter(|s| *s < 64)?;
        return i64::try_from(i128::from(v) << shift).ok();
    }
    let down = shift.unsigned_abs();
    if down > 64 {
        return Some(0);
    }
    let v = i128::from(v);
    let floor = v >> down;
    let twice_rest = (v - (floor << down)) << 1;
    let one = 1i128 << down;
    let up = twice_rest > one || (twice_rest == one && floor & 1 == 1);
    i64::try_from(floor + i128::from(up)).ok()
}

fn f16_to_f64(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from((bits >> 10) & 0x1f);
    let fraction = f64::from(bits & 0x3ff);
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        e => (1024.0 + fraction) * 2f64.powi(e - 25),
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
    fn rounding_of_integers_agrees_with_rounding_of_floats() {
        for v in -70i64..=70 {
            for shift in 0..6 {
                let float = (v as f64 / f64::from(1 << shift)).round_ties_even() as i64;
                assert_eq!(
                    shift_round(v, -i64::from(shift)),
                    Some(float),
                    "{v} {shift}"
                );
            }
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        assert!(Values::Float(vec![f64::NAN]).to_fixed(0).is_err());
        assert!(Values::Float(vec![f64::INFINITY]).to_fixed(0).is_err());
        assert!(Values::Float(vec![1e30]).to_fixed(-8).is_err());
        assert!(Values::from_bytes(&[0xff; 8], Encoding::U64).is_none());
    }

    #[test]
    fn single_precision_rounds_once() {
        // 2^53 + 1 would round to 2^53 in f64 first; the f32 tie must be seen exactly.
        let odd = (1i64 << 60) + (1 << 36) + 1;
        let v = Values::Fixed {
            integers: vec![odd],
            exponent: -60,
        };
        assert_eq!(v.to_f32(), [1.0 + f32::EPSILON]);
    }

    #[test]
    fn half_precision_is_exact() {
        let v = Values::from_bytes(&[0x00, 0x3c, 0x01, 0x00, 0x00, 0xc0], Encoding::F16).unwrap();
        assert_eq!(v, Values::Float(vec![1.0, 2f64.powi(-24), -2.0]));
    }
}
