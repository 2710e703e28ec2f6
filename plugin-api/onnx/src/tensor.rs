//! Tensors: from the many ways in which a [`TensorProto`] stores its elements to typed
//! values, and back to the one way that this project writes (`raw_data`).

use crate::{DataLocation, DataType, OnnxError, Result, TensorProto};
use bytes::Bytes;
use half::{bf16, f16};

/// Elements of a tensor, in row-major order.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs)] // one variant for each element type
pub enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    Bool(Vec<bool>),
    String(Vec<Bytes>),
}

/// A tensor with typed elements.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Sizes; empty for a scalar. Their product is the number of elements.
    pub dims: Vec<usize>,
    /// The elements.
    pub values: Values,
}

macro_rules! numeric {
    ($values:expr, $v:ident => $body:expr, strings $s:ident => $other:expr) => {
        match $values {
            Values::F32($v) => $body,
            Values::F64($v) => $body,
            Values::F16($v) => $body,
            Values::Bf16($v) => $body,
            Values::I8($v) => $body,
            Values::I16($v) => $body,
            Values::I32($v) => $body,
            Values::I64($v) => $body,
            Values::U8($v) => $body,
            Values::U16($v) => $body,
            Values::U32($v) => $body,
            Values::U64($v) => $body,
            Values::Bool($v) => $body,
            Values::String($s) => $other,
        }
    };
}

/// A number that can be widened to `f64` and written as little-endian bytes.
trait Element: Copy {
    fn to_f64(self) -> f64;
    fn put(self, out: &mut Vec<u8>);
}
macro_rules! element {
    ($($t:ty),*) => {$(
        impl Element for $t {
            #[allow(clippy::cast_precision_loss, clippy::cast_lossless)]
            fn to_f64(self) -> f64 { self as f64 }
            fn put(self, out: &mut Vec<u8>) { out.extend_from_slice(&self.to_le_bytes()); }
        }
    )*};
}
element!(f32, f64, i8, i16, i32, i64, u8, u16, u32, u64);
impl Element for f16 {
    fn to_f64(self) -> f64 {
        f16::to_f64(self)
    }
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
}
impl Element for bf16 {
    fn to_f64(self) -> f64 {
        bf16::to_f64(self)
    }
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
}
impl Element for bool {
    fn to_f64(self) -> f64 {
        f64::from(u8::from(self))
    }
    fn put(self, out: &mut Vec<u8>) {
        out.push(u8::from(self));
    }
}

impl Values {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        numeric!(self, v => v.len(), strings s => s.len())
    }
    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The element type.
    #[must_use]
    pub fn dtype(&self) -> DataType {
        match self {
            Self::F32(_) => DataType::F32,
            Self::F64(_) => DataType::F64,
            Self::F16(_) => DataType::F16,
            Self::Bf16(_) => DataType::Bf16,
            Self::I8(_) => DataType::I8,
            Self::I16(_) => DataType::I16,
            Self::I32(_) => DataType::I32,
            Self::I64(_) => DataType::I64,
            Self::U8(_) => DataType::U8,
            Self::U16(_) => DataType::U16,
            Self::U32(_) => DataType::U32,
            Self::U64(_) => DataType::U64,
            Self::Bool(_) => DataType::Bool,
            Self::String(_) => DataType::String,
        }
    }
    /// The elements as `f64` (64-bit integers are rounded); `None` for strings.
    #[must_use]
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        numeric!(self, v => Some(v.iter().map(|x| x.to_f64()).collect()), strings _s => None)
    }
    /// The elements as `f32`, rounded to nearest; `None` for strings.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)]
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        if let Self::F32(v) = self {
            return Some(v.clone());
        }
        Some(self.to_f64()?.into_iter().map(|x| x as f32).collect())
    }
    /// The elements as `i64`, when they are integers or booleans that fit.
    #[must_use]
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        Some(match self {
            Self::I8(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Self::I16(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Self::I32(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Self::I64(v) => v.clone(),
            Self::U8(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Self::U16(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Self::U32(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Self::U64(v) => v
                .iter()
                .map(|x| i64::try_from(*x).ok())
                .collect::<Option<_>>()?,
            Self::Bool(v) => v.iter().map(|x| i64::from(*x)).collect(),
            _ => return None,
        })
    }
    /// The elements as `raw_data` stores them; `None` for strings.
    #[must_use]
    pub fn to_le_bytes(&self) -> Option<Vec<u8>> {
        let bits = self.dtype().bits()?;
        let mut out = Vec::with_capacity(self.len() * bits / 8);
        numeric!(self, v => v.iter().for_each(|x| x.put(&mut out)), strings _s => return None);
        Some(out)
    }
}

impl Tensor {
    /// Makes a tensor; `None` when the sizes' product is not the number of values.
    #[must_use]
    pub fn new(dims: Vec<usize>, values: Values) -> Option<Self> {
        let n = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
        (n == values.len()).then_some(Self { dims, values })
    }

    /// Reads a tensor, whichever field holds its elements.
    ///
    /// # Errors
    /// [`OnnxError::Tensor`] when data and sizes do not agree, when the data is external
    /// and was not loaded ([`crate::external`]), or for element types without a variant in
    /// [`Values`] (complex, 8-bit floats and packed types: see [`raw`] for their bytes).
    pub fn read(proto: &TensorProto) -> Result<Self> {
        let (dims, n) = dims(proto)?;
        let dtype = dtype(proto)?;
        let values = if dtype == DataType::String {
            if proto.string_data.len() != n {
                return Err(count(proto, n, proto.string_data.len()));
            }
            Values::String(proto.string_data.clone())
        } else {
            decode(dtype, &raw(proto)?).ok_or_else(|| {
                err(
                    proto,
                    format!("elements of type {dtype} can't be read as values"),
                )
            })?
        };
        Ok(Self { dims, values })
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }
    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
    /// Writes the tensor under a name, with `raw_data` (strings: `string_data`).
    #[must_use]
    pub fn to_proto(&self, name: &str) -> TensorProto {
        let mut out = TensorProto {
            dims: self.dims.iter().map(|d| *d as i64).collect(),
            data_type: Some(self.values.dtype().number()),
            name: Some(name.to_owned()),
            ..TensorProto::default()
        };
        match (&self.values, self.values.to_le_bytes()) {
            (Values::String(s), _) => out.string_data = s.clone(),
            (_, raw) => out.raw_data = raw.map(Bytes::from),
        }
        out
    }
}

/// Sizes and number of elements.
///
/// # Errors
/// [`OnnxError::Tensor`] when a size is negative or the product is too large to count.
pub fn dims(proto: &TensorProto) -> Result<(Vec<usize>, usize)> {
    let mut n = 1usize;
    let mut sizes = Vec::with_capacity(proto.dims.len());
    for d in &proto.dims {
        let d = usize::try_from(*d).map_err(|_| err(proto, format!("size {d} is negative")))?;
        n = n
            .checked_mul(d)
            .ok_or_else(|| err(proto, format!("sizes {:?} overflow", proto.dims)))?;
        sizes.push(d);
    }
    Ok((sizes, n))
}

/// Element type.
///
/// # Errors
/// [`OnnxError::Tensor`] when it is absent or unknown.
pub fn dtype(proto: &TensorProto) -> Result<DataType> {
    match DataType::from_number(proto.data_type) {
        DataType::Undefined => Err(err(
            proto,
            format!("element type {} is unknown", proto.data_type()),
        )),
        d => Ok(d),
    }
}

/// The elements as `raw_data` stores them (little-endian, packed below one byte), whichever
/// field holds them. Without a copy when it is `raw_data` already.
///
/// # Errors
/// As [`Tensor::read`]; also for strings, which have no such form.
pub fn raw(proto: &TensorProto) -> Result<Bytes> {
    let (_, n) = dims(proto)?;
    let dtype = dtype(proto)?;
    if proto.segment.is_some() {
        return Err(err(proto, "segments are not supported".into()));
    }
    if proto.data_location() == DataLocation::External {
        return Err(err(proto, "its external data is not loaded".into()));
    }
    let expected = dtype
        .raw_len(n)
        .ok_or_else(|| err(proto, format!("{n} elements of type {dtype} have no bytes")))?;
    let found = match &proto.raw_data {
        Some(b) => b.clone(),
        None => Bytes::from(typed_to_raw(proto, dtype, n)?),
    };
    if found.len() != expected {
        return Err(err(
            proto,
            format!(
                "sizes {:?} of type {dtype} need {expected} bytes, found {}",
                proto.dims,
                found.len()
            ),
        ));
    }
    Ok(found)
}

/// Turns typed fields into `raw_data` in place; strings stay as they are.
///
/// # Errors
/// As [`raw`].
pub fn normalise(proto: &mut TensorProto) -> Result<()> {
    if DataType::from_number(proto.data_type) == DataType::String {
        let (_, n) = dims(proto)?;
        if proto.string_data.len() != n {
            return Err(count(proto, n, proto.string_data.len()));
        }
        return Ok(());
    }
    let bytes = raw(proto)?;
    proto.float_data = Vec::new();
    proto.int32_data = Vec::new();
    proto.int64_data = Vec::new();
    proto.double_data = Vec::new();
    proto.uint64_data = Vec::new();
    proto.external_data = Vec::new();
    proto.data_location = None;
    proto.raw_data = Some(bytes);
    Ok(())
}

/// The typed fields as bytes. Which field belongs to which type is fixed by the standard.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn typed_to_raw(proto: &TensorProto, dtype: DataType, n: usize) -> Result<Vec<u8>> {
    // Narrow types keep their bits in the low end of an int32.
    let low = |bytes: usize| -> Vec<u8> {
        proto
            .int32_data
            .iter()
            .flat_map(|v| v.to_le_bytes().into_iter().take(bytes))
            .collect()
    };
    Ok(match dtype {
        DataType::F32 | DataType::Complex64 => proto
            .float_data
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect(),
        DataType::F64 | DataType::Complex128 => proto
            .double_data
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect(),
        DataType::I64 => proto
            .int64_data
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect(),
        DataType::U64 => proto
            .uint64_data
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect(),
        DataType::U32 => proto
            .uint64_data
            .iter()
            .flat_map(|v| (*v as u32).to_le_bytes())
            .collect(),
        DataType::I32 => low(4),
        DataType::I16 | DataType::U16 | DataType::F16 | DataType::Bf16 => low(2),
        DataType::Bool => proto.int32_data.iter().map(|v| u8::from(*v != 0)).collect(),
        DataType::String | DataType::Undefined => {
            return Err(err(
                proto,
                format!("{n} elements of type {dtype} have no bytes"),
            ));
        }
        // 8-bit types: one element each; below that, an entry holds one packed byte.
        _ => low(1),
    })
}

fn decode(dtype: DataType, raw: &[u8]) -> Option<Values> {
    macro_rules! read {
        ($variant:ident, $t:ty) => {
            Values::$variant(
                raw.as_chunks::<{ size_of::<$t>() }>()
                    .0
                    .iter()
                    .map(|c| <$t>::from_le_bytes(*c))
                    .collect(),
            )
        };
    }
    Some(match dtype {
        DataType::F32 => read!(F32, f32),
        DataType::F64 => read!(F64, f64),
        DataType::F16 => read!(F16, f16),
        DataType::Bf16 => read!(Bf16, bf16),
        DataType::I8 => read!(I8, i8),
        DataType::I16 => read!(I16, i16),
        DataType::I32 => read!(I32, i32),
        DataType::I64 => read!(I64, i64),
        DataType::U8 => read!(U8, u8),
        DataType::U16 => read!(U16, u16),
        DataType::U32 => read!(U32, u32),
        DataType::U64 => read!(U64, u64),
        DataType::Bool => Values::Bool(raw.iter().map(|b| *b != 0).collect()),
        _ => return None,
    })
}

fn err(proto: &TensorProto, reason: String) -> OnnxError {
    OnnxError::Tensor {
        tensor: proto.name().to_owned(),
        reason,
    }
}

fn count(proto: &TensorProto, expected: usize, found: usize) -> OnnxError {
    err(
        proto,
        format!(
            "sizes {:?} need {expected} elements, found {found}",
            proto.dims
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proto(dtype: DataType, dims: &[i64]) -> TensorProto {
        TensorProto {
            dims: dims.to_vec(),
            data_type: Some(dtype.number()),
            name: Some("t".into()),
            ..TensorProto::default()
        }
    }

    #[test]
    fn typed_fields_and_raw_data_read_alike() {
        let mut typed = proto(DataType::F32, &[2]);
        typed.float_data = vec![1.5, -2.0];
        let read = Tensor::read(&typed).unwrap();
        assert_eq!(read.values, Values::F32(vec![1.5, -2.0]));
        assert_eq!(Tensor::read(&read.to_proto("t")).unwrap(), read);
        normalise(&mut typed).unwrap();
        assert_eq!(typed, read.to_proto("t"));
    }

    #[test]
    fn narrow_types_live_in_int32_data() {
        let mut t = proto(DataType::F16, &[2]);
        t.int32_data = vec![0x3c00, 0xc000];
        assert_eq!(
            Tensor::read(&t).unwrap().values.to_f64(),
            Some(vec![1.0, -2.0])
        );
        let mut t = proto(DataType::Bf16, &[1]);
        t.int32_data = vec![0x3f80];
        assert_eq!(Tensor::read(&t).unwrap().values.to_f32(), Some(vec![1.0]));
        let mut t = proto(DataType::I8, &[2]);
        t.int32_data = vec![-1, 7];
        assert_eq!(Tensor::read(&t).unwrap().values, Values::I8(vec![-1, 7]));
        let mut t = proto(DataType::Bool, &[2]);
        t.int32_data = vec![256, 0];
        assert_eq!(
            Tensor::read(&t).unwrap().values,
            Values::Bool(vec![true, false])
        );
        let mut t = proto(DataType::U32, &[1]);
        t.uint64_data = vec![u64::from(u32::MAX)];
        assert_eq!(
            Tensor::read(&t).unwrap().values.to_i64(),
            Some(vec![4_294_967_295])
        );
        let mut t = proto(DataType::I4, &[3]);
        t.int32_data = vec![0x21, 0x03];
        assert_eq!(raw(&t).unwrap().as_ref(), &[0x21, 0x03]);
    }

    #[test]
    fn contradictions_are_named() {
        let mut t = proto(DataType::F32, &[3]);
        t.raw_data = Some(Bytes::from_static(&[0; 8]));
        assert_eq!(
            Tensor::read(&t).unwrap_err().to_string(),
            "tensor \"t\": sizes [3] of type f32 need 12 bytes, found 8"
        );
        let t = proto(DataType::F32, &[-1]);
        assert_eq!(
            Tensor::read(&t).unwrap_err().to_string(),
            "tensor \"t\": size -1 is negative"
        );
        let t = proto(DataType::F32, &[i64::MAX, 4]);
        assert!(
            Tensor::read(&t)
                .unwrap_err()
                .to_string()
                .contains("overflow")
        );
        let t = proto(DataType::String, &[2]);
        assert!(
            Tensor::read(&t)
                .unwrap_err()
                .to_string()
                .contains("2 elements")
        );
    }
}
