//! Element types: numbers of the standard, short names, sizes.

use prost::Enumeration;
use std::fmt;

/// Element type of a tensor, with the standard's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
#[allow(missing_docs)] // the variants' names say it all
pub enum DataType {
    Undefined = 0,
    F32 = 1,
    U8 = 2,
    I8 = 3,
    U16 = 4,
    I16 = 5,
    I32 = 6,
    I64 = 7,
    String = 8,
    Bool = 9,
    F16 = 10,
    F64 = 11,
    U32 = 12,
    U64 = 13,
    Complex64 = 14,
    Complex128 = 15,
    Bf16 = 16,
    F8E4M3Fn = 17,
    F8E4M3Fnuz = 18,
    F8E5M2 = 19,
    F8E5M2Fnuz = 20,
    U4 = 21,
    I4 = 22,
    F4E2M1 = 23,
    F8E8M0 = 24,
    U2 = 25,
    I2 = 26,
    F6E2M3 = 27,
    F6E3M2 = 28,
}

const ALL: [DataType; 29] = [
    DataType::Undefined,
    DataType::F32,
    DataType::U8,
    DataType::I8,
    DataType::U16,
    DataType::I16,
    DataType::I32,
    DataType::I64,
    DataType::String,
    DataType::Bool,
    DataType::F16,
    DataType::F64,
    DataType::U32,
    DataType::U64,
    DataType::Complex64,
    DataType::Complex128,
    DataType::Bf16,
    DataType::F8E4M3Fn,
    DataType::F8E4M3Fnuz,
    DataType::F8E5M2,
    DataType::F8E5M2Fnuz,
    DataType::U4,
    DataType::I4,
    DataType::F4E2M1,
    DataType::F8E8M0,
    DataType::U2,
    DataType::I2,
    DataType::F6E2M3,
    DataType::F6E3M2,
];

impl DataType {
    /// The type with this number; `Undefined` for absent and unknown numbers.
    #[must_use]
    pub fn from_number(number: Option<i32>) -> Self {
        number
            .and_then(|n| Self::try_from(n).ok())
            .unwrap_or(Self::Undefined)
    }

    /// The type with this [short name](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|d| d.name() == name)
    }

    /// The standard's number, as `TensorProto.data_type` and `elem_type` hold it.
    #[must_use]
    pub fn number(self) -> i32 {
        self as i32
    }

    /// Short name; `f32`, `i64`, `bool` … are those of the plugin API's `Encoding`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Undefined => "undefined",
            Self::F32 => "f32",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::String => "string",
            Self::Bool => "bool",
            Self::F16 => "f16",
            Self::F64 => "f64",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::Complex64 => "complex64",
            Self::Complex128 => "complex128",
            Self::Bf16 => "bf16",
            Self::F8E4M3Fn => "f8e4m3fn",
            Self::F8E4M3Fnuz => "f8e4m3fnuz",
            Self::F8E5M2 => "f8e5m2",
            Self::F8E5M2Fnuz => "f8e5m2fnuz",
            Self::U4 => "u4",
            Self::I4 => "i4",
            Self::F4E2M1 => "f4e2m1",
            Self::F8E8M0 => "f8e8m0",
            Self::U2 => "u2",
            Self::I2 => "i2",
            Self::F6E2M3 => "f6e2m3",
            Self::F6E3M2 => "f6e3m2",
        }
    }

    /// Bits per element in `raw_data`; `None` for strings and undefined.
    #[must_use]
    pub fn bits(self) -> Option<usize> {
        Some(match self {
            Self::Undefined | Self::String => return None,
            Self::U2 | Self::I2 => 2,
            Self::U4 | Self::I4 | Self::F4E2M1 => 4,
            Self::F6E2M3 | Self::F6E3M2 => 6,
            Self::U8
            | Self::I8
            | Self::Bool
            | Self::F8E4M3Fn
            | Self::F8E4M3Fnuz
            | Self::F8E5M2
            | Self::F8E5M2Fnuz
            | Self::F8E8M0 => 8,
            Self::U16 | Self::I16 | Self::F16 | Self::Bf16 => 16,
            Self::F32 | Self::I32 | Self::U32 => 32,
            Self::F64 | Self::I64 | Self::U64 | Self::Complex64 => 64,
            Self::Complex128 => 128,
        })
    }

    /// Bytes that `elements` elements take in `raw_data`, or `None` when that is not
    /// defined or too large to count.
    #[must_use]
    pub fn raw_len(self, elements: usize) -> Option<usize> {
        elements.checked_mul(self.bits()?).map(|b| b.div_ceil(8))
    }

    /// Whether the elements are real numbers in floating point.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(
            self,
            Self::F32
                | Self::F64
                | Self::F16
                | Self::Bf16
                | Self::F8E4M3Fn
                | Self::F8E4M3Fnuz
                | Self::F8E5M2
                | Self::F8E5M2Fnuz
                | Self::F8E8M0
                | Self::F4E2M1
                | Self::F6E2M3
                | Self::F6E3M2
        )
    }

    /// Whether the elements are integers (not booleans).
    #[must_use]
    pub fn is_integer(self) -> bool {
        matches!(
            self,
            Self::I8
                | Self::I16
                | Self::I32
                | Self::I64
                | Self::U8
                | Self::U16
                | Self::U32
                | Self::U64
                | Self::U4
                | Self::I4
                | Self::U2
                | Self::I2
        )
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_inverse_to_each_other() {
        for (i, d) in ALL.into_iter().enumerate() {
            assert_eq!(d.number() as usize, i);
            assert_eq!(DataType::from_number(Some(d.number())), d);
            assert_eq!(DataType::from_name(d.name()), Some(d));
        }
        assert_eq!(DataType::from_number(Some(1000)), DataType::Undefined);
        assert_eq!(DataType::from_number(None), DataType::Undefined);
    }

    #[test]
    fn sub_byte_types_are_packed() {
        assert_eq!(DataType::I4.raw_len(3), Some(2));
        assert_eq!(DataType::U2.raw_len(5), Some(2));
        assert_eq!(DataType::F64.raw_len(3), Some(24));
        assert_eq!(DataType::String.raw_len(3), None);
        assert_eq!(DataType::F64.raw_len(usize::MAX), None);
    }
}
