//! A tensor in memory, and its conversion from one encoding to another.

use crate::error::{Result, TensorError};
use crate::round::{
    fixed_to_bf16, fixed_to_f16, fixed_to_f32, fixed_to_f64, fixed_to_whole, float_to_fixed,
    integer_to_fixed, shift_round,
};
use crate::{Encoding, Number, TensorInfo};

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
        info.check_len(data.len() as u64)?;
        Ok(Self { info, data })
    }

    /// The elements; those of fixed point as their integers.
    pub fn numbers(&self) -> impl ExactSizeIterator<Item = Number> + '_ {
        let encoding = self.info.encoding;
        self.data
            .chunks_exact(encoding.element_size())
            .map(move |c| Number::read(c, encoding))
    }

    /// The elements as `f64`, for comparisons; fixed point by its value.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        match self.info.encoding {
            Encoding::Fixed { exponent } => {
                self.integers().map(|n| fixed_to_f64(n, exponent)).collect()
            }
            _ => self.numbers().map(Number::to_f64).collect(),
        }
    }

    /// The integers of a fixed-point or `i64` tensor.
    fn integers(&self) -> impl Iterator<Item = i64> + '_ {
        let (chunks, _) = self.data.as_chunks::<8>();
        chunks.iter().map(|c| i64::from_le_bytes(*c))
    }

    /// The tensor in another encoding, by the one rounding (see [`crate::round`]). What
    /// has the encoding already is copied bit for bit.
    ///
    /// - To a float type: the nearest number, which must be finite.
    /// - To fixed point: the nearest multiple of `2^exponent`.
    /// - To an integer type: whole numbers in range only; nothing is rounded.
    /// - To `bool`: 0 and 1 only.
    ///
    /// # Errors
    /// [`TensorError::Element`] with the first element that can't be expressed.
    pub fn convert(&self, encoding: Encoding) -> Result<Self> {
        if self.info.encoding == encoding {
            return Ok(self.clone());
        }
        let count = self.data.len() / self.info.encoding.element_size();
        let mut data = Vec::with_capacity(count.saturating_mul(encoding.element_size()));
        let refused = |at: usize, found: String, expected: String| TensorError::Element {
            name: Some(self.info.name.clone()),
            at,
            found,
            expected,
        };
        if let Encoding::Fixed { exponent } = self.info.encoding {
            for (at, n) in self.integers().enumerate() {
                fixed_to(n, exponent, encoding, &mut data)
                    .map_err(|expected| refused(at, format!("{n} · 2^{exponent}"), expected))?;
            }
        } else {
            for (at, n) in self.numbers().enumerate() {
                plain_to(n, encoding, &mut data)
                    .map_err(|expected| refused(at, n.to_string(), expected))?;
            }
        }
        let info = TensorInfo {
            encoding,
            ..self.info.clone()
        };
        Self::new(info, data)
    }

    /// The tensor as fixed point; see [`Tensor::convert`].
    ///
    /// # Errors
    /// When an element is not finite or too large.
    pub fn to_fixed(&self, exponent: i32) -> Result<Self> {
        self.convert(Encoding::Fixed { exponent })
    }
}

fn no_fixed(exponent: i32) -> String {
    format!("a finite number below 2^63 · 2^{exponent}")
}

fn fixed_to(n: i64, exponent: i32, encoding: Encoding, out: &mut Vec<u8>) -> Result<(), String> {
    macro_rules! float {
        ($value:expr) => {{
            let value = $value;
            if !value.is_finite() {
                return Err(format!("a number within the range of {}", encoding.name()));
            }
            out.extend(value.to_le_bytes());
        }};
    }
    match encoding {
        Encoding::F32 => float!(fixed_to_f32(n, exponent)),
        Encoding::F64 => float!(fixed_to_f64(n, exponent)),
        Encoding::F16 => float!(fixed_to_f16(n, exponent)),
        Encoding::Bf16 => float!(fixed_to_bf16(n, exponent)),
        Encoding::Fixed { exponent: to } => {
            let shift = i64::from(exponent) - i64::from(to);
            let n = shift_round(n, shift).ok_or_else(|| no_fixed(to))?;
            out.extend(n.to_le_bytes());
        }
        integer => {
            let whole = fixed_to_whole(n, exponent);
            // A fraction, which no integer type takes.
            let number = whole.map_or(Number::Float(0.5), Number::Int);
            number.write(integer, out)?;
        }
    }
    Ok(())
}

fn plain_to(n: Number, encoding: Encoding, out: &mut Vec<u8>) -> Result<(), String> {
    let Encoding::Fixed { exponent } = encoding else {
        return n.write(encoding, out);
    };
    let integer = match n {
        Number::Float(x) => float_to_fixed(x, exponent),
        Number::Int(i) => integer_to_fixed(i, exponent),
        Number::Bool(b) => integer_to_fixed(b.into(), exponent),
    };
    out.extend(integer.ok_or_else(|| no_fixed(exponent))?.to_le_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: [Encoding; 13] = [
        Encoding::F32,
        Encoding::F64,
        Encoding::F16,
        Encoding::Bf16,
        Encoding::I8,
        Encoding::I16,
        Encoding::I32,
        Encoding::I64,
        Encoding::U8,
        Encoding::U16,
        Encoding::U32,
        Encoding::U64,
        Encoding::Bool,
    ];

    fn tensor(numbers: &[Number], encoding: Encoding) -> Tensor {
        let mut data = Vec::new();
        for n in numbers {
            n.write(encoding, &mut data).unwrap();
        }
        let info = TensorInfo {
            name: "x".into(),
            encoding,
            shape: vec![numbers.len() as u64],
        };
        Tensor::new(info, data).unwrap()
    }

    fn fixed(integers: &[i64], exponent: i32) -> Tensor {
        let numbers: Vec<Number> = integers.iter().map(|n| Number::Int((*n).into())).collect();
        tensor(&numbers, Encoding::Fixed { exponent })
    }

    #[test]
    fn tensors_convert_as_a_whole() {
        let source = fixed(&[3, -4], -1);
        let plain = source.convert(Encoding::F32).unwrap();
        assert_eq!(plain.to_f64(), [1.5, -2.0]);
        assert_eq!(plain.info.encoding, Encoding::F32);
        assert_eq!(plain.to_fixed(-1).unwrap(), source);
        assert_eq!(source.to_f64(), [1.5, -2.0]);
        assert_eq!(source.to_fixed(0).unwrap(), fixed(&[2, -2], 0));
        let e = source.convert(Encoding::I32).unwrap_err().to_string();
        assert_eq!(
            e,
            "tensor \"x\": element 0 is 3 · 2^-1, expected an integer from -2147483648 to 2147483647"
        );
        let e = Tensor::new(source.info, vec![0; 15]).unwrap_err();
        assert_eq!(
            e.to_string(),
            "tensor \"x\" (fixed 2^-1, shape [2]) has 15 bytes, expected 16"
        );
    }

    #[test]
    fn zero_and_one_pass_between_all_encodings() {
        let bits = [Number::Int(0), Number::Int(1)];
        let mut all: Vec<Tensor> = PLAIN.iter().map(|e| tensor(&bits, *e)).collect();
        all.push(fixed(&[0, 1 << 20], -20));
        all.push(fixed(&[0, 1], 0));
        for from in &all {
            for to in &all {
                let converted = from.convert(to.info.encoding).unwrap();
                assert_eq!(
                    &converted, to,
                    "{} to {}",
                    from.info.encoding, to.info.encoding
                );
            }
        }
    }

    #[test]
    fn integers_and_booleans_are_never_rounded() {
        for (integer, exponent, to) in [
            (9, -2, Encoding::I8),
            (1, 7, Encoding::I8),
            (-1, 0, Encoding::U64),
            (1, 63, Encoding::I64),
            (1, 200, Encoding::I64),
            (2, 0, Encoding::Bool),
            (1, -1, Encoding::Bool),
        ] {
            let source = fixed(&[integer], exponent);
            assert!(source.convert(to).is_err(), "{integer} {exponent} {to}");
        }
        assert_eq!(
            fixed(&[8, -12], -2).convert(Encoding::I8).unwrap().data,
            [2, 0xfd]
        );
        let large = tensor(&[Number::Int(u64::MAX.into())], Encoding::U64);
        assert!(large.to_fixed(0).is_err());
        assert_eq!(large.to_fixed(2).unwrap(), fixed(&[1 << 62], 2));
        let half = tensor(&[Number::Float(0.5)], Encoding::F16);
        assert!(half.convert(Encoding::U8).is_err());
    }

    #[test]
    fn what_is_not_finite_stays_where_it_is() {
        let info = TensorInfo {
            name: "x".into(),
            encoding: Encoding::F32,
            shape: vec![1],
        };
        for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let t = Tensor::new(info.clone(), x.to_le_bytes().to_vec()).unwrap();
            assert_eq!(t.convert(Encoding::F32).unwrap(), t);
            assert!(t.convert(Encoding::F64).is_err());
            assert!(t.to_fixed(0).is_err());
        }
        assert!(fixed(&[1], 128).convert(Encoding::F32).is_err());
        assert!(fixed(&[1], 16).convert(Encoding::F16).is_err());
    }
}
