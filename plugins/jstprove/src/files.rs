//! The binary files of the Expander programs: the witness, whose public part the verifier
//! writes itself, and the proof, which the verifier takes apart before it asks the program.

use dsperse_plugin_api::{Error, Result};
use std::io::Write;

/// The BN254 scalar field's modulus, little-endian.
const MODULUS: [u8; 32] = [
    0x01, 0x00, 0x00, 0xf0, 0x93, 0xf5, 0xe1, 0x43, 0x91, 0x70, 0xb9, 0x79, 0x48, 0xe8, 0x33, 0x28,
    0x5d, 0x58, 0x81, 0x81, 0xb6, 0x45, 0x50, 0xb8, 0x29, 0xa0, 0x31, 0xe1, 0x72, 0x4e, 0x64, 0x30,
];

/// Most private values that a verifier is ready to write (2^30 of them are 32 GiB).
const MAX_PRIVATE: u64 = 1 << 28;

/// The header of a witness file: one witness, so many private and public values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WitnessHeader {
    /// Private values, a power of two.
    pub private: u64,
    /// Public values: inputs, outputs, 2, 18.
    pub public: u64,
}

impl WitnessHeader {
    /// Reads the header and checks the file's size against it.
    ///
    /// # Errors
    /// `internal` for a file of another form (another version of the program).
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let word = |i: usize| {
            let b: [u8; 8] = bytes.get(i * 8..i * 8 + 8)?.try_into().ok()?;
            Some(u64::from_le_bytes(b))
        };
        let header = (|| {
            let (count, private, public) = (word(0)?, word(1)?, word(2)?);
            let values = private.checked_add(public)?.checked_add(1)?;
            let size = values.checked_mul(32)?.checked_add(24)?;
            let ok = count == 1
                && size == bytes.len() as u64
                && bytes.get(24..56) == Some(MODULUS.as_slice());
            ok.then_some(Self { private, public })
        })();
        header.ok_or_else(|| {
            Error::internal("the witness file is not of the form that JSTprove 2.1 writes")
                .with_hint("install JSTprove 2.1.0")
        })
    }

    /// Reads the header of a witness file whose public values must be these.
    ///
    /// # Errors
    /// `internal` when the tool made a witness of other values.
    pub fn of(bytes: &[u8], values: &[i64]) -> Result<Self> {
        let header = Self::read(bytes)?;
        let own = bytes.rchunks_exact(32).take(values.len());
        let same = own.eq(values.iter().rev().map(|v| field(*v)));
        if same && header.public == values.len() as u64 {
            Ok(header)
        } else {
            Err(Error::internal(
                "JSTprove's witness is of other inputs or outputs than those computed",
            ))
        }
    }

    /// Whether a verifier should write a witness file of this size.
    pub fn plausible(self) -> bool {
        self.private.is_power_of_two() && self.private <= MAX_PRIVATE && self.public <= MAX_PRIVATE
    }

    /// Writes a witness file whose private values are zero: the verifying program reads
    /// its header and its public part only.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_public(self, values: &[i64], out: &mut impl Write) -> std::io::Result<()> {
        for word in [1, self.private, self.public] {
            out.write_all(&word.to_le_bytes())?;
        }
        out.write_all(&MODULUS)?;
        std::io::copy(
            &mut std::io::Read::take(std::io::repeat(0), self.private * 32),
            out,
        )?;
        for value in values {
            out.write_all(&field(*value))?;
        }
        out.flush()
    }
}

/// The public values of a claim, in the circuit's order.
pub fn public_values(inputs: &[Vec<i64>], outputs: &[Vec<i64>]) -> Vec<i64> {
    let scale = [2, i64::from(crate::network::SCALE_BITS)];
    let tensors = inputs.iter().chain(outputs).flatten();
    tensors.chain(&scale).copied().collect()
}

/// An integer as a field element, 32 bytes little-endian.
fn field(v: i64) -> [u8; 32] {
    let mut out = [0u8; 32];
    if v >= 0 {
        out[..8].copy_from_slice(&v.to_le_bytes());
        return out;
    }
    out = MODULUS;
    let mut rest = v.unsigned_abs();
    for byte in &mut out {
        // Subtract the magnitude, byte by byte with borrow carried in `rest`.
        let low = rest & 0xff;
        rest >>= 8;
        let (b, borrow) = byte.overflowing_sub(low as u8);
        *byte = b;
        rest += u64::from(borrow);
    }
    out
}

/// Checks what JSTprove's own verifier leaves unchecked: that the file is exactly one
/// proof (`u64 L | L bytes | 32 bytes`), and that the value which the proof claims for the
/// sum of all constraint violations is zero. The program would accept any other value,
/// that is, a proof of a wrong output.
///
/// # Errors
/// The reason why the proof is invalid.
pub fn check_proof(bytes: &[u8]) -> std::result::Result<(), String> {
    let (length, rest) = bytes
        .split_first_chunk::<8>()
        .ok_or("the proof is shorter than its header")?;
    let length = u64::from_le_bytes(*length);
    if length.checked_add(32) != Some(rest.len() as u64) {
        return Err(format!(
            "the proof has {} bytes, its header says {}",
            bytes.len(),
            length.saturating_add(40)
        ));
    }
    let claimed = rest.last_chunk::<32>().ok_or("the proof has no end")?;
    if claimed.iter().any(|b| *b != 0) {
        return Err("the proof is of a violated circuit: its claimed value is not zero".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_numbers_wrap_at_the_modulus() {
        let add = |a: [u8; 32], v: u64| {
            let (mut out, mut carry) = (a, u128::from(v));
            for b in &mut out {
                carry += u128::from(*b);
                *b = carry as u8;
                carry >>= 8;
            }
            out
        };
        for v in [1u64, 2, 255, 256, 65_536, 1 << 31, (1 << 63) - 1] {
            assert_eq!(add(field(-(v as i64)), v), MODULUS, "{v}");
        }
        assert_eq!(field(258)[..3], [2, 1, 0]);
    }

    #[test]
    fn a_written_witness_reads_back() {
        let header = WitnessHeader {
            private: 4,
            public: 3,
        };
        let mut bytes = Vec::new();
        header.write_public(&[5, 2, 18], &mut bytes).unwrap();
        assert_eq!(bytes.len(), 24 + 32 * 8);
        assert_eq!(WitnessHeader::read(&bytes).unwrap(), header);
        assert_eq!(bytes[24 + 32 * 5], 5);
        assert_eq!(WitnessHeader::of(&bytes, &[5, 2, 18]).unwrap(), header);
        for other in [&[4, 2, 18][..], &[5, 2], &[5, 2, 17], &[2, 18, 5], &[]] {
            assert!(WitnessHeader::of(&bytes, other).is_err(), "{other:?}");
        }
        for cut in 0..bytes.len() {
            assert!(WitnessHeader::read(&bytes[..cut]).is_err(), "{cut}");
        }
        bytes[30] ^= 1;
        assert!(WitnessHeader::read(&bytes).is_err());
    }

    #[test]
    fn proofs_of_another_form_are_refused() {
        let mut proof = 3u64.to_le_bytes().to_vec();
        proof.extend([7; 3]);
        proof.extend([0; 32]);
        assert_eq!(check_proof(&proof), Ok(()));
        for cut in 0..proof.len() {
            assert!(check_proof(&proof[..cut]).is_err(), "{cut}");
        }
        let mut long = proof.clone();
        long.push(0);
        assert!(check_proof(&long).unwrap_err().contains("44 bytes"));
        for i in 11..proof.len() {
            let mut forged = proof.clone();
            forged[i] = 1;
            assert!(check_proof(&forged).unwrap_err().contains("not zero"));
        }
        let mut huge = proof;
        huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(check_proof(&huge).is_err());
    }
}
