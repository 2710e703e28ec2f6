//! The bytes of a proof: mark, root, messages, one or two openings.

use crate::bytes::{ByteReader, EF_BYTES, Writer};
use crate::commit::{EF, Opening, max_opening_bytes};
use crate::fault::{CommitError, Malformed, ProofFault};
use crate::hash::{DIGEST_BYTES, Root};
use crate::key::VerifyingKey;

/// First bytes of a proof; the last one is the version.
const MAGIC: &[u8; 8] = b"DSPSPF\0\x02";
/// Most messages of a proof. Programs of the largest size send some ten thousand.
pub const MAX_MESSAGES: usize = 1 << 18;

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
    pub fn to_bytes(&self) -> Result<Vec<u8>, Malformed> {
        let mut w = Writer::default();
        w.out.extend_from_slice(MAGIC);
        w.out.extend_from_slice(&self.root);
        w.list(&self.messages, |w, m| {
            w.element(*m);
        });
        write_opening(&mut w, &self.activations)?;
        if let Some(weights) = &self.weights {
            write_opening(&mut w, weights)?;
        }
        Ok(w.out)
    }

    /// Most bytes that a proof for this key can have.
    ///
    /// # Errors
    /// When the key's commitments have no parameters; no accepted key is such.
    pub fn max_bytes(key: &VerifyingKey) -> Result<usize, CommitError> {
        let openings: usize = opening_limits(key)?.into_iter().flatten().sum();
        Ok(MAGIC.len() + DIGEST_BYTES + 4 + MAX_MESSAGES * EF_BYTES + 8 + openings)
    }

    /// Reads a proof for a key. Every encoding but the canonical one is an error, and so
    /// is an opening that is longer than any of this key: an opening's bytes are decoded
    /// into lists, which take more memory than they do.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn from_bytes(bytes: &[u8], key: &VerifyingKey) -> Result<Self, ProofFault> {
        let mut r = ByteReader::new(bytes);
        let mark = r.array::<8>()?;
        if mark[..7] == MAGIC[..7] && mark[7] < MAGIC[7] {
            return Err(Malformed::Version {
                found: mark[7],
                expected: MAGIC[7],
            }
            .into());
        }
        if &mark != MAGIC {
            return Err(Malformed::Mark("proof").into());
        }
        let root = r.array()?;
        let messages = r.list(MAX_MESSAGES, EF_BYTES, ByteReader::element)?;
        let [activations, weights] = opening_limits(key)?;
        let activations = read_opening(&mut r, activations.unwrap_or(0))?;
        let weights = weights.map(|most| read_opening(&mut r, most)).transpose()?;
        r.finish()?;
        Ok(Self {
            root,
            messages,
            activations,
            weights,
        })
    }
}

fn write_opening(w: &mut Writer, opening: &Opening) -> Result<(), Malformed> {
    let bytes = postcard::to_allocvec(opening)?;
    w.list(&bytes, |w, &b| w.u8(b));
    Ok(())
}

/// Most bytes of the openings of the activations and of the weights.
fn opening_limits(key: &VerifyingKey) -> Result<[Option<usize>; 2], CommitError> {
    let rates = key.parameters;
    let limit = |vars, rate: u8| max_opening_bytes(vars, rate.into());
    let activations = limit(key.layout.activation_vars, rates.activation_rate)?;
    let weights = key
        .layout
        .weight_vars
        .map(|vars| limit(vars, rates.weight_rate));
    Ok([Some(activations), weights.transpose()?])
}

fn read_opening(r: &mut ByteReader<'_>, most: usize) -> Result<Opening, Malformed> {
    let n = r.size()?;
    if n > most {
        return Err(Malformed::LongOpening { found: n, most });
    }
    let bytes = r.take(n)?;
    let (opening, rest) = postcard::take_from_bytes::<Opening>(bytes)?;
    if !rest.is_empty() {
        return Err(Malformed::OpeningRest);
    }
    // The decoder admits several spellings of a length; only one is canonical.
    if postcard::to_allocvec(&opening)? != bytes {
        return Err(Malformed::Spelling);
    }
    Ok(opening)
}
