//! Values of tensors, and the one rounding between plain and fixed point.
//!
//! A fixed-point element is an `i64` integer `n` that stands for `n · 2^exponent`.
//!
//! - Fixed to plain (`f32` or `f64`): the exact value `n · 2^exponent`, rounded once, to
//!   nearest, ties to even, subnormal numbers included. A value that is too large for
//!   the type is an error.
//! - Plain to fixed: `value · 2^-exponent`, rounded to the nearest integer, ties to even.
//!   A value that is not finite, or doesn't fit an `i64`, is an error.
//!
//! Nothing else in the program converts between the two.

use crate::error::{BundleError, Result};
use dsperse_documents::digest::dtype_name;
use dsperse_plugin_api::{Encoding, TensorInfo};
use half::f16;

/// A tensor in memory: raw little-endian elements in row-major order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Name, encoding and shape.
    pub info: TensorInfo,
    /// The elements.
    pub data: Vec<u8>,
}

impl Tensor {
    /// Checks that there are as many bytes as encoding and shape say.
    ///
    /// # Errors
    /// When there are not.
    pub fn new(info: TensorInfo, data: Vec<u8>) -> Result<Self> {
        check_len(&info, data.len() as u64)?;
        Ok(Self { info, data })
    }

    /// The elements.
    pub fn numbers(&self) -> impl ExactSizeIterator<Item = Number> + '_ {
        let encoding = self.info.encoding;
        self.data
            .chunks_exact(encoding.element_size())
            .map(move |c| decode(c, encoding))
    }

    /// The elements as `f64`, for comparisons; fixed point by its value.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        let scale = match self.info.encoding {
            Encoding::Fixed { exponent } => Some(exponent),
            _ => None,
        };
        self.numbers()
            .map(|n| match (n, scale) {
                (Number::Int(i), Some(e)) => {
                    fixed_to_f64(i64::try_from(i).unwrap_or_default(), e).unwrap_or(f64::INFINITY)
                }
                (Number::Int(i), None) => i as f64,
                (Number::Float(x), _) => x,
                (Number::Bool(b), _) => f64::from(u8::from(b)),
            })
            .collect()
    }

    /// A fixed-point tensor as `f32` or `f64`, by the documented rounding. A tensor that
    /// already has the encoding is copied.
    ///
    /// # Errors
    /// When a value is too large, or the two encodings have no such conversion.
    pub fn to_plain(&self, encoding: Encoding) -> Result<Self> {
        if self.info.encoding == encoding {
            return Ok(self.clone());
        }
        let Encoding::Fixed { exponent } = self.info.encoding else {
            return Err(self.no_conversion(encoding));
        };
        let mut data = Vec::with_capacity(self.data.len());
        for n in self.numbers() {
            let Number::Int(i) = n else { continue };
            let i = i64::try_from(i).unwrap_or_default();
            let too_large = || self.too_large(&format!("{i} · 2^{exponent}"), encoding);
            match encoding {
                Encoding::F32 => data.extend(
                    fixed_to_f32(i, exponent)
                        .ok_or_else(too_large)?
                        .to_le_bytes(),
                ),
                Encoding::F64 => data.extend(
                    fixed_to_f64(i, exponent)
                        .ok_or_else(too_large)?
                        .to_le_bytes(),
                ),
                _ => return Err(self.no_conversion(encoding)),
            }
        }
        Self::new(self.with_encoding(encoding), data)
    }

    /// A plain `f32` or `f64` tensor as fixed point, by the documented rounding.
    ///
    /// # Errors
    /// When a value is not finite or too large, or the tensor is of another encoding.
    pub fn to_fixed(&self, exponent: i32) -> Result<Self> {
        let encoding = Encoding::Fixed { exponent };
        if self.info.encoding == encoding {
            return Ok(self.clone());
        }
        if !matches!(self.info.encoding, Encoding::F32 | Encoding::F64) {
            return Err(self.no_conversion(encoding));
        }
        let mut data = Vec::with_capacity(self.data.len());
        for n in self.numbers() {
            let Number::Float(x) = n else { continue };
            let i = float_to_fixed(x, exponent)
                .ok_or_else(|| self.too_large(&x.to_string(), encoding))?;
            data.extend(i.to_le_bytes());
        }
        Self::new(self.with_encoding(encoding), data)
    }

    fn with_encoding(&self, encoding: Encoding) -> TensorInfo {
        TensorInfo {
            encoding,
            ..self.info.clone()
        }
    }

    fn no_conversion(&self, to: Encoding) -> BundleError {
        BundleError::Request(format!(
            "tensor \"{}\" is {} and can't be turned into {}",
            self.info.name,
            dtype_name(self.info.encoding),
            dtype_name(to)
        ))
    }

    fn too_large(&self, value: &str, to: Encoding) -> BundleError {
        BundleError::Request(format!(
            "tensor \"{}\" holds {value}, which has no place in {}",
            self.info.name,
            dtype_name(to)
        ))
    }
}

pub(crate) fn check_len(info: &TensorInfo, bytes: u64) -> Result<()> {
    let expected = info
        .len()
        .and_then(|n| n.checked_mul(info.encoding.element_size() as u64));
    if expected == Some(bytes) {
        return Ok(());
    }
    let expected = expected.map_or("more than can be addressed".into(), |n| n.to_string());
    Err(BundleError::Request(format!(
        "tensor \"{}\" ({}, shape {:?}) has {bytes} bytes, expected {expected}",
        info.name,
        dtype_name(info.encoding),
        info.shape
    )))
}

/// An element of any encoding. Fixed point: the integer.
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

/// One element; `chunk` has the element's size.
pub(crate) fn decode(chunk: &[u8], encoding: Encoding) -> Number {
    fn le<const N: usize>(chunk: &[u8]) -> [u8; N] {
        chunk.try_into().unwrap_or([0; N])
    }
    match encoding {
        Encoding::F32 => Number::Float(f32::from_le_bytes(le(chunk)).into()),
        Encoding::F64 => Number::Float(f64::from_le_bytes(le(chunk))),
        Encoding::F16 => Number::Float(f16::from_le_bytes(le(chunk)).into()),
        Encoding::I8 => Number::Int(i8::from_le_bytes(le(chunk)).into()),
        Encoding::I16 => Number::Int(i16::from_le_bytes(le(chunk)).into()),
        Encoding::I32 => Number::Int(i32::from_le_bytes(le(chunk)).into()),
        Encoding::I64 | Encoding::Fixed { .. } => Number::Int(i64::from_le_bytes(le(chunk)).into()),
        Encoding::U8 => Number::Int(u8::from_le_bytes(le(chunk)).into()),
        Encoding::U16 => Number::Int(u16::from_le_bytes(le(chunk)).into()),
        Encoding::U32 => Number::Int(u32::from_le_bytes(le(chunk)).into()),
        Encoding::U64 => Number::Int(u64::from_le_bytes(le(chunk)).into()),
        Encoding::Bool => Number::Bool(chunk.first().is_some_and(|b| *b != 0)),
    }
}

/// Appends an element; `Err` says what was expected.
///
/// Integers may be written as floating-point numbers without a fraction, and truth
/// values as 0 and 1, because tools write them so.
pub(crate) fn encode(n: Number, encoding: Encoding, out: &mut Vec<u8>) -> Result<(), String> {
    macro_rules! integer {
        ($t:ty) => {{
            let whole = match n {
                Number::Int(i) => Some(i),
                // 2^63 and 2^64 are exact in f64, so the comparison below is too.
                Number::Float(x) if x.fract() == 0.0 && x.abs() < 1e30 => Some(x as i128),
                Number::Float(_) => None,
                Number::Bool(b) => Some(b.into()),
            };
            let value = whole
                .and_then(|i| <$t>::try_from(i).ok())
                .ok_or_else(|| format!("an integer from {} to {}", <$t>::MIN, <$t>::MAX))?;
            out.extend(value.to_le_bytes());
        }};
    }
    let float = match n {
        Number::Int(i) => i as f64,
        Number::Float(x) => x,
        Number::Bool(b) => f64::from(u8::from(b)),
    };
    let too_large = |name| format!("a finite number within the range of {name}");
    match encoding {
        Encoding::F32 => {
            let x = match n {
                Number::Int(i) => i as f32,
                _ => float as f32,
            };
            if !x.is_finite() {
                return Err(too_large("f32"));
            }
            out.extend(x.to_le_bytes());
        }
        Encoding::F64 => {
            if !float.is_finite() {
                return Err(too_large("f64"));
            }
            out.extend(float.to_le_bytes());
        }
        Encoding::F16 => {
            let x = f16::from_f64(float);
            if !x.is_finite() {
                return Err(too_large("f16"));
            }
            out.extend(x.to_le_bytes());
        }
        Encoding::I8 => integer!(i8),
        Encoding::I16 => integer!(i16),
        Encoding::I32 => integer!(i32),
        Encoding::I64 | Encoding::Fixed { .. } => integer!(i64),
        Encoding::U8 => integer!(u8),
        Encoding::U16 => integer!(u16),
        Encoding::U32 => integer!(u32),
        Encoding::U64 => integer!(u64),
        Encoding::Bool => {
            if float != 0.0 && float != 1.0 {
                return Err("true, false, 0 or 1".into());
            }
            out.push(u8::from(float == 1.0));
        }
    }
    Ok(())
}

/// `n · 2^exponent` as `f64`, rounded to nearest, ties to even; `None` when too large.
#[must_use]
pub fn fixed_to_f64(n: i64, exponent: i32) -> Option<f64> {
    fixed_to_float(n, exponent, 53, -1074, 1023)
}

/// `n · 2^exponent` as `f32`, rounded once to nearest, ties to even; `None` when too large.
#[must_use]
pub fn fixed_to_f32(n: i64, exponent: i32) -> Option<f32> {
    // The result has at most 24 bits above 2^-149, so it is exact as f64 and stays so.
    fixed_to_float(n, exponent, 24, -149, 127).map(|x| x as f32)
}

/// Rounds to `precision` bits, but to no bit below `2^lowest`; `None` when the result is
/// `2^(highest + 1)` or more.
fn fixed_to_float(n: i64, exponent: i32, precision: i64, lowest: i64, highest: i64) -> Option<f64> {
    let magnitude = n.unsigned_abs();
    if magnitude == 0 {
        return Some(0.0);
    }
    let exponent = i64::from(exponent);
    let top = 63 - i64::from(magnitude.leading_zeros()) + exponent;
    if top > highest {
        return None;
    }
    // The weight of the last bit that is kept.
    let last = (top - (precision - 1)).max(lowest);
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
    let limit = scale(1.0, highest) * 2.0;
    if value >= limit {
        return None;
    }
    Some(if n < 0 { -value } else { value })
}

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
    if rest > half || (rest == half && floor & 1 == 1) {
        floor + 1
    } else {
        floor
    }
}

/// `x · 2^e` for `x` of 0 or at least 1 and `e` from -1074 to 1023, exact when the result
/// is representable.
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

/// `x · 2^-exponent` rounded to the nearest integer, ties to even; `None` when `x` is not
/// finite or the result doesn't fit.
#[must_use]
pub fn float_to_fixed(x: f64, exponent: i32) -> Option<i64> {
    if !x.is_finite() {
        return None;
    }
    if x == 0.0 {
        return Some(0);
    }
    // x = mantissa · 2^at, exactly.
    let bits = x.abs().to_bits();
    let (raw, fraction) = ((bits >> 52) as i64, bits & ((1 << 52) - 1));
    let (mantissa, at) = if raw == 0 {
        (fraction, -1074)
    } else {
        (fraction | 1 << 52, raw - 1075)
    };
    let shift = i64::from(exponent) - at;
    let magnitude = if shift > 0 {
        i128::from(shift_right_even(mantissa, shift))
    } else if shift >= -64 {
        i128::from(mantissa) << -shift
    } else {
        return None;
    };
    i64::try_from(if x < 0.0 { -magnitude } else { magnitude }).ok()
}
