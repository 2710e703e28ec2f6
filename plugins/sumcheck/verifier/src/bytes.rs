//! Canonical bytes: little-endian words, every list preceded by its length,
//! which is compared with a limit and with the bytes left before it is used.

use p3_field::{BasedVectorSpace, PrimeField64, integers::QuotientMap};

use crate::commit::{EF, F};
use crate::fault::Malformed;

/// Bytes of an element of the challenge field.
pub const EF_BYTES: usize = 24;

/// Writes into a growing buffer.
#[derive(Default)]
pub struct Writer {
    /// What has been written.
    pub out: Vec<u8>,
}

impl Writer {
    /// One byte.
    pub fn u8(&mut self, x: u8) {
        self.out.push(x);
    }

    /// A 32-bit word.
    pub fn u32(&mut self, x: u32) {
        self.out.extend_from_slice(&x.to_le_bytes());
    }

    /// A 64-bit word.
    pub fn i64(&mut self, x: i64) {
        self.out.extend_from_slice(&x.to_le_bytes());
    }

    /// A length or index; values beyond 32 bits do not occur in valid programs
    /// and are written as the largest word, which no reader accepts.
    pub fn size(&mut self, x: usize) {
        self.u32(u32::try_from(x).unwrap_or(u32::MAX));
    }

    /// An element of the challenge field: its three coefficients, canonical.
    pub fn element(&mut self, x: EF) {
        let coefficients: &[F] = x.as_basis_coefficients_slice();
        for c in coefficients {
            self.out
                .extend_from_slice(&c.as_canonical_u64().to_le_bytes());
        }
    }

    /// A list with its length.
    pub fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.size(items.len());
        for item in items {
            each(self, item);
        }
    }
}

/// Reads what a [`Writer`] wrote.
pub struct ByteReader<'a> {
    rest: &'a [u8],
}

impl<'a> ByteReader<'a> {
    /// Reads from `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        if n > self.rest.len() {
            return Err(Malformed::Short {
                needed: n,
                left: self.rest.len(),
            });
        }
        let (head, tail) = self.rest.split_at(n);
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    /// A 32-bit word.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A signed 64-bit word.
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// A length or index.
    pub fn size(&mut self) -> Result<usize, Malformed> {
        let x = self.u32()?;
        if x == u32::MAX {
            Err(Malformed::Size)
        } else {
            Ok(x as usize)
        }
    }

    /// An element of the challenge field; only the canonical form is one.
    pub fn element(&mut self) -> Result<EF, Malformed> {
        let mut coefficients = [F::default(); 3];
        for c in &mut coefficients {
            let word = u64::from_le_bytes(self.array()?);
            *c = F::from_canonical_checked(word).ok_or(Malformed::Element)?;
        }
        EF::from_basis_coefficients_slice(&coefficients).ok_or(Malformed::Element)
    }

    /// A list of at most `limit` items of at least `least` bytes each.
    pub fn list<T, E: From<Malformed>>(
        &mut self,
        limit: usize,
        least: usize,
        mut each: impl FnMut(&mut Self) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        let n = self.size()?;
        if n > limit || n.saturating_mul(least) > self.rest.len() {
            return Err(Malformed::List { items: n }.into());
        }
        (0..n).map(|_| each(self)).collect()
    }

    /// Ends the reading; an error when bytes are left.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Rest {
                bytes: self.rest.len(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use p3_field::PrimeCharacteristicRing;

    use super::*;

    /// The words of a list of at most 3, one by one.
    fn words(bytes: &[u8]) -> Result<Vec<u32>, Malformed> {
        let mut r = ByteReader::new(bytes);
        let words = r.list(3, 4, |r| r.u32())?;
        r.finish().map(|()| words)
    }

    #[test]
    fn a_list_fits_its_limit_and_the_bytes_left() {
        let list = |n: u32, words: usize| [&n.to_le_bytes()[..], &vec![7; 4 * words]].concat();
        let refused = |items| Err(Malformed::List { items });
        assert_eq!(words(&list(0, 0)), Ok(vec![]));
        assert_eq!(words(&list(3, 3)), Ok(vec![0x0707_0707; 3]));
        assert_eq!(words(&list(4, 4)), refused(4));
        assert_eq!(words(&list(3, 2)), refused(3));
        assert_eq!(words(&list(4, 3)), refused(4));
        assert_eq!(words(&list(2, 3)), Err(Malformed::Rest { bytes: 4 }));
        assert_eq!(words(&list(u32::MAX, 3)), Err(Malformed::Size));
    }

    #[test]
    fn an_element_is_read_as_written_and_in_one_form() {
        let mut w = Writer::default();
        let x = EF::from_basis_coefficients_fn(|i| F::NEG_ONE - F::from_usize(i));
        w.element(x);
        assert_eq!(w.out.len(), EF_BYTES);
        assert_eq!(ByteReader::new(&w.out).element(), Ok(x));
        // The prime, and zero once more.
        w.out[16..].copy_from_slice(&F::ORDER_U64.to_le_bytes());
        let got = ByteReader::new(&w.out).element();
        assert_eq!(got, Err(Malformed::Element));
    }
}
