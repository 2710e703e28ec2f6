//! The proving artefact: the quantised weights, in the order of the program.

use dsperse_sumcheck_verifier::bytes::{ByteReader, Writer};
use dsperse_sumcheck_verifier::program::{MAX_NODES, MAX_RANK, Tensor};

/// First bytes of the file; the last one is the version.
const MAGIC: &[u8; 8] = b"DSPSCW\0\x01";

/// The file's bytes: each tensor with the least number of bytes per element.
#[must_use]
pub fn to_bytes(weights: &[Tensor]) -> Vec<u8> {
    let mut w = Writer::default();
    w.out.extend_from_slice(MAGIC);
    w.list(weights, |w, t| {
        w.list(&t.shape, |w, d| w.size(*d));
        let width = [1u32, 2, 4]
            .into_iter()
            .find(|width| {
                let half = 1i64 << (8 * width - 1);
                t.data.iter().all(|v| (-half..half).contains(v))
            })
            .unwrap_or(8);
        w.u8(width as u8);
        w.out.reserve(t.data.len() * width as usize);
        for v in &t.data {
            w.out.extend_from_slice(&v.to_le_bytes()[..width as usize]);
        }
    });
    w.out
}

/// Reads the file.
///
/// # Errors
/// A sentence that says what is wrong with the bytes.
pub fn from_bytes(bytes: &[u8]) -> Result<Vec<Tensor>, String> {
    let mut r = ByteReader::new(bytes);
    if &r.array::<8>()? != MAGIC {
        return Err("the weights do not start with their mark".into());
    }
    let weights = r.list(MAX_NODES, 5, |r| {
        let shape = r.list(MAX_RANK, 4, |r| r.size())?;
        let width = usize::from(r.u8()?);
        if ![1, 2, 4, 8].contains(&width) {
            return Err(format!("a weight has {width} bytes per element"));
        }
        let n = shape
            .iter()
            .try_fold(width, |n, &d| n.checked_mul(d))
            .ok_or_else(|| format!("a weight's shape {shape:?} is too large"))?;
        let bytes = r.take(n)?;
        let data = match width {
            1 => words(bytes, |b| i8::from_le_bytes(b).into()),
            2 => words(bytes, |b| i16::from_le_bytes(b).into()),
            4 => words(bytes, |b| i32::from_le_bytes(b).into()),
            _ => words(bytes, i64::from_le_bytes),
        };
        Ok(Tensor { shape, data })
    })?;
    r.finish()?;
    Ok(weights)
}

fn words<const WIDTH: usize>(bytes: &[u8], word: impl Fn([u8; WIDTH]) -> i64) -> Vec<i64> {
    bytes.as_chunks().0.iter().map(|b| word(*b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_round_trips() {
        let t = |data: &[i64]| Tensor {
            shape: vec![data.len()],
            data: data.to_vec(),
        };
        let all = vec![
            t(&[-128, 127, 0]),
            t(&[-129, 5]),
            t(&[1 << 30, -(1 << 31)]),
            t(&[1 << 40, -1]),
            Tensor {
                shape: vec![],
                data: vec![7],
            },
        ];
        let bytes = to_bytes(&all);
        assert_eq!(from_bytes(&bytes).as_ref(), Ok(&all));
        for cut in 0..bytes.len() {
            assert!(from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(from_bytes(&longer).is_err());
    }
}
