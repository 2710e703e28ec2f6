//! The bytes of a proof: mark, root, messages, one or two openings.

use p3_field::{BasedVectorSpace, PrimeField64, integers::QuotientMap};

use crate::bytes::{ByteReader, Writer};
use crate::commit::{EF, F, Opening};
use crate::hash::Root;

/// First bytes of a proof.
const MAGIC: &[u8; 8] = b"DSPSPF\0\x01";
/// Longest proof that is looked at, in bytes.
pub const MAX_PROOF_BYTES: usize = 64 << 20;

/// A parsed proof.
pub struct Proof {
    /// Root of the commitment to the activations.
    pub root: Root,
    /// Everything the prover sends before the openings.
    pub messages: Vec<EF>,
    /// Opening of the activations.
    pub activations: Opening,
    /// Opening of the weights, if the key has any.
    pub weights: Option<Opening>,
}

impl Proof {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut w = Writer::default();
        w.out.extend_from_slice(MAGIC);
        w.out.extend_from_slice(&self.root);
        w.list(&self.messages, |w, m| {
            let coefficients: &[F] = m.as_basis_coefficients_slice();
            for c in coefficients {
                w.out.extend_from_slice(&c.as_canonical_u64().to_le_bytes());
            }
        });
        write_opening(&mut w, &self.activations)?;
        if let Some(weights) = &self.weights {
            write_opening(&mut w, weights)?;
        }
        Ok(w.out)
    }

    /// Reads a proof. Every encoding but the canonical one is an error.
    pub fn from_bytes(bytes: &[u8], has_weights: bool) -> Result<Self, String> {
        if bytes.len() > MAX_PROOF_BYTES {
            return Err(format!(
                "it has {} bytes, more than any valid one",
                bytes.len()
            ));
        }
        let mut r = ByteReader::new(bytes);
        if &r.array::<8>()? != MAGIC {
            return Err("it does not start with the proof's mark".into());
        }
        let root = r.array()?;
        let messages = r.list(MAX_PROOF_BYTES / 24, 24, |r| {
            let mut coefficients = [F::default(); 3];
            for c in &mut coefficients {
                let word = u64::from_le_bytes(r.array()?);
                *c = F::from_canonical_checked(word).ok_or("a field element is not canonical")?;
            }
            EF::from_basis_coefficients_slice(&coefficients)
                .ok_or_else(|| "a message is malformed".to_string())
        })?;
        let activations = read_opening(&mut r)?;
        let weights = if has_weights {
            Some(read_opening(&mut r)?)
        } else {
            None
        };
        r.finish()?;
        Ok(Self {
            root,
            messages,
            activations,
            weights,
        })
    }
}

fn write_opening(w: &mut Writer, opening: &Opening) -> Result<(), String> {
    let bytes = postcard::to_allocvec(opening).map_err(|e| e.to_string())?;
    w.list(&bytes, |w, &b| w.u8(b));
    Ok(())
}

fn read_opening(r: &mut ByteReader<'_>) -> Result<Opening, String> {
    let n = r.size()?;
    let bytes = r.take(n)?;
    let (opening, rest) =
        postcard::take_from_bytes::<Opening>(bytes).map_err(|e| format!("an opening: {e}"))?;
    if !rest.is_empty() {
        return Err("bytes follow an opening".into());
    }
    // The decoder admits several spellings of a length; only one is canonical.
    let again = postcard::to_allocvec(&opening).map_err(|e| e.to_string())?;
    if again != bytes {
        return Err("an opening is not in canonical form".into());
    }
    Ok(opening)
}
