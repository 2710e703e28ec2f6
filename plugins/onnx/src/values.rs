//! Tensor files to engine tensors and back.
//!
//! A plain tensor goes in and out bit for bit. A fixed-point tensor, which a proving
//! backend leaves for the next slice, is rounded to the type that the model wants by the
//! rule that all backends share ([`Tensor::convert`]). For integer inputs it has to be a
//! whole number.

use dsperse_plugin_api::tensor::Tensor;
use dsperse_plugin_api::{Encoding, Error, Result, TensorInfo};
use half::f16;
use tract_onnx::prelude::{Datum, DatumType, TractError, TractResult};

/// The engine's tensor.
type EngineTensor = tract_onnx::prelude::Tensor;

/// The engine's type for a plain encoding; `None` for fixed point and
/// for `bf16`, which it does not compute with.
#[must_use]
pub fn datum_type(encoding: Encoding) -> Option<DatumType> {
    Some(match encoding {
        Encoding::F32 => DatumType::F32,
        Encoding::F64 => DatumType::F64,
        Encoding::F16 => DatumType::F16,
        Encoding::I8 => DatumType::I8,
        Encoding::I16 => DatumType::I16,
        Encoding::I32 => DatumType::I32,
        Encoding::I64 => DatumType::I64,
        Encoding::U8 => DatumType::U8,
        Encoding::U16 => DatumType::U16,
        Encoding::U32 => DatumType::U32,
        Encoding::U64 => DatumType::U64,
        Encoding::Bool => DatumType::Bool,
        Encoding::Bf16 | Encoding::Fixed { .. } => return None,
    })
}

/// The shape as the engine counts it.
///
/// # Errors
/// `invalid_input` when the number of bytes does not fit this machine.
pub fn shape(info: &TensorInfo) -> Result<Vec<usize>> {
    byte_len(info)?;
    info.shape
        .iter()
        .map(|d| usize::try_from(*d).map_err(|_| too_large(info)))
        .collect()
}

fn too_large(info: &TensorInfo) -> Error {
    Error::invalid_input(format!(
        "tensor \"{}\" of shape {:?} is larger than this machine can address",
        info.name, info.shape
    ))
}

fn byte_len(info: &TensorInfo) -> Result<usize> {
    info.len()
        .and_then(|n| n.checked_mul(info.encoding.element_size() as u64))
        .and_then(|n| usize::try_from(n).ok())
        .filter(|n| *n <= isize::MAX as usize)
        .ok_or_else(|| too_large(info))
}

macro_rules! plain {
    ($bytes:expr, $shape:expr, $t:ty) => {{
        const SIZE: usize = size_of::<$t>();
        let (chunks, _) = $bytes.as_chunks::<SIZE>();
        let values: Vec<$t> = chunks.iter().map(|c| <$t>::from_le_bytes(*c)).collect();
        EngineTensor::from_shape($shape, &values)
    }};
}

/// Makes the engine's tensor of the model's type from a stored one.
///
/// `wanted` is the slice's own input; the stored encoding is the same, or fixed point.
///
/// # Errors
/// `invalid_input` when name, shape or type differ, when an exponent is out of range, or
/// when a fixed-point value is not a whole number although the model wants integers.
pub fn to_engine(stored: &TensorInfo, bytes: &[u8], wanted: &TensorInfo) -> Result<EngineTensor> {
    if stored.name != wanted.name || stored.shape != wanted.shape {
        return Err(Error::invalid_input(format!(
            "input \"{}\" has shape {:?}, expected \"{}\" with shape {:?}",
            stored.name, stored.shape, wanted.name, wanted.shape
        )));
    }
    let shape = &shape(wanted)?[..];
    if bytes.len() != byte_len(stored)? {
        return Err(Error::invalid_input(format!(
            "input \"{}\" has {} bytes, expected {}",
            stored.name,
            bytes.len(),
            byte_len(stored)?
        )));
    }
    let made = match stored.encoding {
        Encoding::Fixed { .. } if stored.encoding != wanted.encoding => {
            let plain = Tensor::new(stored.clone(), bytes.to_vec())?.convert(wanted.encoding)?;
            return to_engine(&plain.info, &plain.data, wanted);
        }
        Encoding::Fixed { .. } | Encoding::Bf16 => {
            return Err(Error::invalid_input(format!(
                "input \"{}\" is {}, which the engine does not compute with",
                stored.name, stored.encoding
            )));
        }
        found if found != wanted.encoding => {
            return Err(Error::invalid_input(format!(
                "input \"{}\" is {found:?}, expected {:?}",
                stored.name, wanted.encoding
            )));
        }
        Encoding::F32 => plain!(bytes, shape, f32),
        Encoding::F64 => plain!(bytes, shape, f64),
        Encoding::F16 => plain!(bytes, shape, f16),
        Encoding::I8 => plain!(bytes, shape, i8),
        Encoding::I16 => plain!(bytes, shape, i16),
        Encoding::I32 => plain!(bytes, shape, i32),
        Encoding::I64 => plain!(bytes, shape, i64),
        Encoding::U8 => plain!(bytes, shape, u8),
        Encoding::U16 => plain!(bytes, shape, u16),
        Encoding::U32 => plain!(bytes, shape, u32),
        Encoding::U64 => plain!(bytes, shape, u64),
        Encoding::Bool => {
            if let Some(at) = bytes.iter().position(|b| *b > 1) {
                return Err(Error::invalid_input(format!(
                    "input \"{}\" has the byte {} at element {at}, expected 0 or 1",
                    stored.name, bytes[at]
                )));
            }
            let values: Vec<bool> = bytes.iter().map(|b| *b == 1).collect();
            EngineTensor::from_shape(shape, &values)
        }
    };
    made.map_err(|e| Error::internal(format!("tensor \"{}\": {e:#}", wanted.name)))
}

/// Brings an engine result into the slice's declared output type: the engine keeps shape
/// arithmetic in a type of its own and marks quantised tensors.
///
/// # Errors
/// `internal` when type or shape are not the declared ones.
pub fn settle(tensor: EngineTensor, info: &TensorInfo) -> Result<EngineTensor> {
    let fault = |e: TractError| Error::internal(format!("output \"{}\": {e:#}", info.name));
    let mut tensor = tensor.into_plain_ram().map_err(fault)?;
    if tensor.datum_type() == DatumType::TDim {
        tensor = tensor
            .cast_to_dt(DatumType::I64)
            .map_err(fault)?
            .into_owned();
    }
    let found = tensor.datum_type();
    if found.is_quantized() {
        tensor = tensor
            .cast_to_dt(found.unquantized())
            .map_err(fault)?
            .into_owned();
    }
    let expected = datum_type(info.encoding);
    if Some(tensor.datum_type()) != expected || tensor.shape() != shape(info)? {
        return Err(Error::internal(format!(
            "output \"{}\" is {:?} {:?}, expected {:?} {:?}",
            info.name,
            tensor.datum_type(),
            tensor.shape(),
            info.encoding,
            info.shape
        )));
    }
    Ok(tensor)
}

/// The tensor's elements as little-endian bytes.
///
/// # Errors
/// `internal` for types that no encoding stands for.
pub fn to_bytes(tensor: &EngineTensor) -> Result<Vec<u8>> {
    fn of<T: Datum + Copy, const N: usize>(
        t: &EngineTensor,
        f: fn(T) -> [u8; N],
    ) -> TractResult<Vec<u8>> {
        let view = t.try_as_plain_ram()?;
        Ok(view.as_slice::<T>()?.iter().flat_map(|v| f(*v)).collect())
    }
    match tensor.datum_type() {
        DatumType::F32 => of(tensor, f32::to_le_bytes),
        DatumType::F64 => of(tensor, f64::to_le_bytes),
        DatumType::F16 => of(tensor, f16::to_le_bytes),
        DatumType::I8 => of(tensor, i8::to_le_bytes),
        DatumType::I16 => of(tensor, i16::to_le_bytes),
        DatumType::I32 => of(tensor, i32::to_le_bytes),
        DatumType::I64 => of(tensor, i64::to_le_bytes),
        DatumType::U8 => of(tensor, u8::to_le_bytes),
        DatumType::U16 => of(tensor, u16::to_le_bytes),
        DatumType::U32 => of(tensor, u32::to_le_bytes),
        DatumType::U64 => of(tensor, u64::to_le_bytes),
        DatumType::Bool => of(tensor, |b: bool| [u8::from(b)]),
        other => {
            return Err(Error::internal(format!(
                "the engine gave a tensor of type {other:?}"
            )));
        }
    }
    .map_err(|e| Error::internal(format!("reading a result: {e:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(encoding: Encoding, n: u64) -> TensorInfo {
        TensorInfo {
            name: "x".into(),
            encoding,
            shape: vec![n],
        }
    }

    const PLAIN: [Encoding; 12] = [
        Encoding::F32,
        Encoding::F64,
        Encoding::F16,
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

    #[test]
    fn every_plain_type_goes_through_bit_for_bit() {
        for encoding in PLAIN {
            let info = info(encoding, 3);
            let bytes: Vec<u8> = if encoding == Encoding::Bool {
                vec![1, 0, 1]
            } else {
                // Includes NaN patterns of every float width.
                (0..3 * encoding.element_size())
                    .map(|i| 0xff - i as u8)
                    .collect()
            };
            let tensor = to_engine(&info, &bytes, &info).unwrap();
            assert_eq!(Some(tensor.datum_type()), datum_type(encoding));
            assert_eq!(tensor.shape(), [3]);
            assert_eq!(to_bytes(&tensor).unwrap(), bytes, "{encoding:?}");
        }
    }

    #[test]
    fn a_boolean_is_one_or_zero() {
        let info = info(Encoding::Bool, 2);
        let e = to_engine(&info, &[1, 2], &info).unwrap_err();
        assert_eq!(
            e.message,
            "input \"x\" has the byte 2 at element 1, expected 0 or 1"
        );
    }

    #[test]
    fn other_types_shapes_and_lengths_are_refused() {
        let wanted = info(Encoding::F32, 2);
        for (stored, bytes) in [
            (info(Encoding::I32, 2), 8),
            (info(Encoding::F32, 1), 4),
            (info(Encoding::F32, 2), 7),
            (info(Encoding::F32, 2), 12),
        ] {
            let e = to_engine(&stored, &vec![0; bytes], &wanted).unwrap_err();
            assert_eq!(e.kind, dsperse_plugin_api::ErrorKind::InvalidInput, "{e}");
        }
        let mut huge = info(Encoding::F64, 0);
        huge.shape = vec![u64::MAX, 8];
        assert!(to_engine(&huge, &[], &huge).is_err());
    }

    fn fixed(integers: &[i64], exponent: i32, wanted: Encoding) -> Result<Vec<u8>> {
        let n = integers.len() as u64;
        let bytes: Vec<u8> = integers.iter().flat_map(|v| v.to_le_bytes()).collect();
        let stored = info(Encoding::Fixed { exponent }, n);
        to_engine(&stored, &bytes, &info(wanted, n)).and_then(|t| to_bytes(&t))
    }

    #[test]
    fn fixed_point_is_rounded_once() {
        let values = [3 << 16, -1, 1 << 40];
        let expected = [0.75f32, -(2f32.powi(-18)), 2f32.powi(22)];
        let bytes: Vec<u8> = expected.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(fixed(&values, -18, Encoding::F32).unwrap(), bytes);
        let bytes: Vec<u8> = expected
            .iter()
            .flat_map(|v| f64::from(*v).to_le_bytes())
            .collect();
        assert_eq!(fixed(&values, -18, Encoding::F64).unwrap(), bytes);
        // 2049 is between two halves: ties go to even.
        assert_eq!(
            fixed(&[2049, 4098], 0, Encoding::F16).unwrap(),
            [0x00, 0x68, 0x00, 0x6c].to_vec()
        );
    }

    #[test]
    fn fixed_point_for_integers_must_be_whole_and_fit() {
        assert_eq!(fixed(&[8, -12], -2, Encoding::I8).unwrap(), [2, 0xfd]);
        assert_eq!(fixed(&[1, 3], 4, Encoding::U8).unwrap(), [16, 48]);
        for (value, exponent, wanted) in [
            (9, -2, Encoding::I8),
            (1, 7, Encoding::I8),
            (-1, 0, Encoding::U64),
            (1, 63, Encoding::I64),
            (1, 200, Encoding::I64),
            (2, 0, Encoding::Bool),
        ] {
            assert!(
                fixed(&[value], exponent, wanted).is_err(),
                "{value} {exponent}"
            );
        }
    }
}
