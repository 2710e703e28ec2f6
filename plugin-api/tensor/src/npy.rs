//! NumPy's `.npy` format: a short header, then raw elements.
//!
//! The header is a Python dict literal of which only three keys with plain values are of
//! use. This reader takes exactly that and nothing else of Python (a general literal
//! parser recurses on nested input and multiplies shapes without a check), so a hostile
//! file costs no more than its own size.

use crate::Number;
use half::f16;

/// An array whose header was read and whose data has the right size.
#[derive(Debug)]
pub struct Npy<'a> {
    /// Dimensions; empty for a scalar.
    pub shape: Vec<u64>,
    /// The element type as the file names it, such as `<f4`.
    pub descr: String,
    fortran_order: bool,
    kind: u8,
    size: usize,
    big_endian: bool,
    data: &'a [u8],
}

const MAGIC: &[u8] = b"\x93NUMPY";

impl<'a> Npy<'a> {
    /// Reads an array. `Err` says what is wrong with the file.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let rest = bytes
            .strip_prefix(MAGIC)
            .ok_or("it is not an .npy file (its first bytes are wrong)")?;
        let (version, rest) = split(rest, 2)?;
        let wide = match version {
            [1, _] => 2,
            [2 | 3, _] => 4,
            other => return Err(format!("its .npy version {other:?} is not known")),
        };
        let (len, rest) = split(rest, wide)?;
        let len = len
            .iter()
            .rev()
            .fold(0usize, |n, b| n << 8 | usize::from(*b));
        let (header, data) = split(rest, len)?;
        let header = std::str::from_utf8(header).map_err(|_| "its header is not text")?;
        let fields = Header::parse(header).ok_or("its header is not one of a plain array")?;
        let (big_endian, kind, size) = element(&fields.descr).ok_or_else(|| {
            format!(
                "its dtype \"{}\" is not supported (expected float16/32/64, an integer type or bool)",
                fields.descr.escape_debug()
            )
        })?;
        let expected = fields
            .shape
            .iter()
            .try_fold(size as u64, |n, d| n.checked_mul(*d));
        if expected != Some(data.len() as u64) {
            return Err(format!(
                "it has {} bytes of data, its shape {:?} and dtype {} need {}",
                data.len(),
                fields.shape,
                fields.descr,
                expected.map_or("more than fits".into(), |n| n.to_string())
            ));
        }
        Ok(Self {
            shape: fields.shape,
            descr: fields.descr,
            fortran_order: fields.fortran_order,
            kind,
            size,
            big_endian,
            data,
        })
    }

    /// Elements in row-major order, whatever order the file has.
    pub fn numbers(&self) -> impl Iterator<Item = Number> + '_ {
        let count = self.data.len() / self.size;
        // Column-major strides; row-major files are read straight through.
        let strides: Vec<usize> = self
            .shape
            .iter()
            .scan(1usize, |s, d| {
                let stride = *s;
                *s = s.wrapping_mul(*d as usize);
                Some(stride)
            })
            .collect();
        (0..count).map(move |i| {
            let at = if self.fortran_order {
                let mut rest = i;
                let mut at = 0;
                for (d, stride) in self.shape.iter().zip(&strides).rev() {
                    let d = *d as usize;
                    at += rest % d * stride;
                    rest /= d;
                }
                at
            } else {
                i
            };
            let chunk = self.data.get(at * self.size..(at + 1) * self.size);
            self.decode(chunk.unwrap_or_default())
        })
    }

    fn decode(&self, chunk: &[u8]) -> Number {
        let mut bytes = [0u8; 8];
        let fill = bytes.get_mut(..chunk.len()).unwrap_or_default();
        fill.copy_from_slice(chunk.get(..fill.len()).unwrap_or_default());
        if self.big_endian {
            fill.reverse();
        }
        let bits = u64::from_le_bytes(bytes);
        match (self.kind, self.size) {
            (b'b', _) => Number::Bool(bits != 0),
            (b'u', _) => Number::Int(bits.into()),
            (b'i', size) => {
                // Sign extension from `size` bytes.
                let shift = 64 - 8 * size as u32;
                Number::Int(((bits << shift) as i64 >> shift).into())
            }
            (_, 2) => Number::Float(f16::from_bits(bits as u16).into()),
            (_, 4) => Number::Float(f32::from_bits(bits as u32).into()),
            _ => Number::Float(f64::from_bits(bits)),
        }
    }
}

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), String> {
    bytes
        .split_at_checked(at)
        .ok_or_else(|| "it ends within its header".into())
}

/// Byte order, kind and size of an element type such as `<f4`.
fn element(descr: &str) -> Option<(bool, u8, usize)> {
    let [order, kind, size] = descr.as_bytes() else {
        return None;
    };
    let size = match (kind, size) {
        (b'b', b'1') => 1,
        (b'i' | b'u', b'1') => 1,
        (b'i' | b'u' | b'f', b'2') => 2,
        (b'i' | b'u' | b'f', b'4') => 4,
        (b'i' | b'u' | b'f', b'8') => 8,
        _ => return None,
    };
    match order {
        b'<' => Some((false, *kind, size)),
        b'>' => Some((true, *kind, size)),
        b'|' if size == 1 => Some((false, *kind, size)),
        _ => None,
    }
}

#[derive(Debug, Default)]
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<u64>,
}

impl Header {
    /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }`.
    fn parse(text: &str) -> Option<Self> {
        let mut h = Self::default();
        let mut seen = [false; 3];
        let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
        while !rest.is_empty() {
            let (key, after) = quoted(rest)?;
            rest = after.trim_start().strip_prefix(':')?.trim_start();
            let (slot, after) = match key {
                "descr" => {
                    let (value, after) = quoted(rest)?;
                    h.descr = value.to_owned();
                    (0, after)
                }
                "fortran_order" => {
                    h.fortran_order = rest.starts_with("True");
                    let after = rest.strip_prefix("True").or(rest.strip_prefix("False"))?;
                    (1, after)
                }
                "shape" => {
                    let (inside, after) = rest.strip_prefix('(')?.split_once(')')?;
                    let inside = inside.trim();
                    let inside = inside.strip_suffix(',').unwrap_or(inside);
                    if !inside.is_empty() {
                        for d in inside.split(',') {
                            // Python 2 wrote long integers as `3L`.
                            let d = d.trim();
                            h.shape.push(d.strip_suffix('L').unwrap_or(d).parse().ok()?);
                        }
                    }
                    (2, after)
                }
                _ => return None,
            };
            let slot = seen.get_mut(slot)?;
            if std::mem::replace(slot, true) {
                return None;
            }
            rest = after.trim_start();
            if !rest.is_empty() {
                rest = rest.strip_prefix(',')?.trim_start();
            }
        }
        seen.iter().all(|s| *s).then_some(h)
    }
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text.get(1..)?.split_once(quote)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An `.npy` file of version 1, as the format's description says.
    fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
        let order = if fortran { "True" } else { "False" };
        let mut header =
            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
        while (10 + header.len() + 1) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let mut out = MAGIC.to_vec();
        out.extend([1, 0]);
        out.extend((header.len() as u16).to_le_bytes());
        out.extend(header.as_bytes());
        out.extend(data);
        out
    }

    fn numbers(file: &[u8]) -> Vec<String> {
        let a = Npy::parse(file).unwrap();
        a.numbers().map(|n| n.to_string()).collect()
    }

    #[test]
    fn element_types_and_byte_orders() {
        let le: Vec<u8> = [1.5f32, -2.0]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        assert_eq!(numbers(&npy("<f4", false, "(2,)", &le)), ["1.5", "-2"]);
        let be: Vec<u8> = [1.5f64, -2.0]
            .iter()
            .flat_map(|x| x.to_be_bytes())
            .collect();
        assert_eq!(numbers(&npy(">f8", false, "(2, 1)", &be)), ["1.5", "-2"]);
        assert_eq!(numbers(&npy("<f2", false, "()", &[0x00, 0x3e])), ["1.5"]);
        assert_eq!(
            numbers(&npy("|i1", false, "(2,)", &[0xff, 0x7f])),
            ["-1", "127"]
        );
        assert_eq!(numbers(&npy("|u1", false, "(1L,)", &[0xff])), ["255"]);
        assert_eq!(numbers(&npy(">i2", false, "(1,)", &[0xff, 0xfe])), ["-2"]);
        let big = u64::MAX.to_le_bytes();
        assert_eq!(
            numbers(&npy("<u8", false, "(1,)", &big)),
            ["18446744073709551615"]
        );
        assert_eq!(numbers(&npy("<i8", false, "(1,)", &big)), ["-1"]);
        assert_eq!(
            numbers(&npy("|b1", false, "(2,)", &[1, 0])),
            ["true", "false"]
        );
    }

    #[test]
    fn column_major_files_are_turned() {
        // [[1, 2, 3], [4, 5, 6]] stored by columns.
        let file = npy("|u1", true, "(2, 3)", &[1, 4, 2, 5, 3, 6]);
        assert_eq!(numbers(&file), ["1", "2", "3", "4", "5", "6"]);
        // Shape (2, 2, 2): element [i][j][k] lies at i + 2 j + 4 k.
        let file = npy("|u1", true, "(2, 2, 2)", &[0, 4, 2, 6, 1, 5, 3, 7]);
        assert_eq!(numbers(&file), ["0", "1", "2", "3", "4", "5", "6", "7"]);
    }

    #[test]
    fn what_is_not_a_plain_array_is_refused() {
        for (file, why) in [
            (b"PK\x03\x04".to_vec(), "first bytes"),
            (npy("<f4", false, "(2,)", &[0; 7]), "7 bytes of data"),
            (npy("<f4", false, "(2,)", &[0; 9]), "9 bytes of data"),
            (npy("|O", false, "(1,)", &[0; 8]), "dtype"),
            (npy("<c8", false, "(1,)", &[0; 8]), "dtype"),
            (
                npy("<f4", false, "(4294967296, 4294967296, 4)", &[]),
                "more than fits",
            ),
            (npy("<f4", false, "(-1,)", &[]), "header"),
            (npy("<f4", false, &"(".repeat(10_000), &[]), "header"),
            (npy("<f4", false, "(1,), 'shape': (1,)", &[0; 4]), "header"),
        ] {
            let e = Npy::parse(&file).unwrap_err();
            assert!(e.contains(why), "{e} should contain {why}");
        }
        let good = npy("<f4", false, "(1,)", &[0; 4]);
        for len in 0..good.len() {
            assert!(Npy::parse(&good[..len]).is_err(), "cut at {len}");
        }
        // A dimension of zero is no division by zero.
        assert!(numbers(&npy("<f4", true, "(0, 3)", &[])).is_empty());
    }
}
