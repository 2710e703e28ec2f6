//! The verifying key: the program, the parameters of the proof system, the
//! commitment to the weights, and the anchor that makes it a commitment to one
//! vector of weights.

use thiserror::Error;

use crate::bytes::{ByteReader, Writer};
use crate::commit::{Commitment, EF, MAX_LOG_INV_RATE};
use crate::encode::{read_program, write_program};
use crate::fault::{CommitError, Malformed};
use crate::hash::{DIGEST_BYTES, Root};
use crate::layout::{Layout, LayoutError, WeightRanges};
use crate::program::Program;
use crate::security::{MIN_SECURITY_BITS, soundness};
use crate::transcript::Transcript;
use crate::validate::{Checked, ProgramError, validate};

/// First bytes of a key, before its version.
const MARK: &[u8; 7] = b"DSPSVK\0";
/// Version of keys whose weights are shown to be in range by every proof.
const VERSION_2: u8 = 2;
/// Version of keys that show it themselves.
const VERSION_3: u8 = 3;
/// Label of the transcript that the anchor's point is drawn from.
const ANCHOR: &[u8] = b"dsperse-sumcheck/2/anchor";

/// Why a verifying key is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// The key is of an earlier version of the format.
    #[error(
        "The verifying key is of version {found} of the key format, this program uses versions {VERSION_2} to {VERSION_3}; compile the slice again"
    )]
    Version {
        /// The version found.
        found: u8,
    },
    /// The bytes are not those of a key.
    #[error("The verifying key is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// The program in it is not acceptable.
    #[error("The verifying key's program is refused: {0}")]
    Program(#[from] ProgramError),
    /// The proof system cannot be laid out for it.
    #[error("The verifying key's parameters are refused: {0}")]
    Layout(#[from] LayoutError),
    /// Its commitments have no parameters.
    #[error("The verifying key's parameters are refused: {0}")]
    Commit(#[from] CommitError),
    /// Its proofs would be too weak.
    #[error(
        "The verifying key's parameters are refused: proofs would have {bits} bits of security, {MIN_SECURITY_BITS} are needed"
    )]
    Weak {
        /// Bits, rounded down.
        bits: u64,
    },
}

/// Parameters of the proof system that the compiler chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Bits of a limb, 4 to 16.
    pub limb_bits: u8,
    /// Rate bits of the commitment to the weights.
    pub weight_rate: u8,
    /// Rate bits of the commitment to the activations.
    pub activation_rate: u8,
    /// Where the weights' bounds are shown.
    pub ranges: WeightRanges,
}

/// The commitment to the weights.
///
/// A Merkle root alone does not bind one vector. In the list-decoding regime a root may be
/// close to several codewords, and a dishonest maker of keys can commit to a word between
/// two of them; out-of-domain points that are drawn anew in every proof tie nothing
/// together across proofs. The anchor does: a point that follows from program, parameters
/// and root, and the value of the weights' stack there, (A1). Every proof shows that the stack it
/// speaks of has that value. Two different stacks agree at a point drawn after both were
/// fixed with probability `vars / |E|` (Schwartz, Zippel), so all accepted proofs of one key
/// speak of one vector of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightsCommitment {
    /// The Merkle root.
    pub root: Root,
    /// The value of the weights' stack at [`VerifyingKey::anchor_point`].
    pub anchor: EF,
}

/// A verifying key with everything that is derived from it. It can only be had
/// for a program that passes validation.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    /// The program.
    pub program: Program,
    /// The parameters.
    pub parameters: Parameters,
    /// The commitment to the weights, if there are any.
    pub weights: Option<WeightsCommitment>,
    /// The proof that they are within their bounds, if it is the key that shows it, (K2): of
    /// [`Self::of_weights`].
    pub range_proof: Vec<u8>,
    /// Shapes and bounds.
    pub checked: Checked,
    /// The derived proof system.
    pub layout: Layout,
}

impl VerifyingKey {
    /// Validates a program and derives the rest. The commitment to the weights, and the proof
    /// of their ranges, are set by the compiler afterwards.
    pub fn new(program: Program, parameters: Parameters) -> Result<Self, KeyError> {
        let checked = validate(&program)?;
        let limb_bits = u32::from(parameters.limb_bits);
        let layout = Layout::new(&program, &checked, limb_bits, parameters.ranges)?;
        for rate in [parameters.weight_rate, parameters.activation_rate] {
            if !(1..=MAX_LOG_INV_RATE).contains(&usize::from(rate)) {
                return Err(CommitError::Rate(rate.into()).into());
            }
        }
        let key = Self {
            program,
            parameters,
            weights: None,
            range_proof: vec![],
            checked,
            layout,
        };
        // Also refuses sizes for which the library has no parameters.
        let bits = soundness(&key)?.total_bits;
        if bits < MIN_SECURITY_BITS {
            return Err(KeyError::Weak { bits: bits as u64 });
        }
        Ok(key)
    }

    /// The key of a program that has the weights alone: same columns, same commitment, and the
    /// same anchor, so what its proof shows holds for the weights that all proofs of this key
    /// speak of, (K2).
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_weights(&self) -> Result<Self, KeyError> {
        let parameters = Parameters {
            ranges: WeightRanges::Proof,
            ..self.parameters
        };
        let key = Self::new(self.program.weights_alone(), parameters)?;
        Ok(Self {
            weights: self.weights,
            ..key
        })
    }

    /// The point at which the key fixes the value of the weights' stack: challenges of a
    /// transcript that has absorbed program, parameters and root. Where the key shows the
    /// weights' ranges, the program is that of [`Self::of_weights`].
    pub fn anchor_point(&self, root: &Root) -> Vec<EF> {
        let mut program = Writer::default();
        match self.parameters.ranges {
            WeightRanges::Proof => write_program(&mut program, &self.program),
            WeightRanges::Key => write_program(&mut program, &self.program.weights_alone()),
        }
        let p = self.parameters;
        let mut t = Transcript::new(ANCHOR);
        t.absorb_bytes(b"program", &program.out);
        t.absorb_bytes(
            b"parameters",
            &[p.limb_bits, p.weight_rate, p.activation_rate],
        );
        t.absorb_bytes(b"weights", root);
        t.challenges(self.layout.weight_vars.unwrap_or(0))
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.out.extend_from_slice(MARK);
        w.u8(match self.parameters.ranges {
            WeightRanges::Proof => VERSION_2,
            WeightRanges::Key => VERSION_3,
        });
        w.u8(self.parameters.limb_bits);
        w.u8(self.parameters.weight_rate);
        w.u8(self.parameters.activation_rate);
        match &self.weights {
            None => w.u8(0),
            Some(weights) => {
                w.u8(1);
                w.out.extend_from_slice(&weights.root);
                w.element(weights.anchor);
            }
        }
        if self.parameters.ranges == WeightRanges::Key {
            w.list(&self.range_proof, |w, b| w.u8(*b));
        }
        write_program(&mut w, &self.program);
        w.out
    }

    /// Reads and validates a key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let mut r = ByteReader::new(bytes);
        if &r.array::<7>()? != MARK {
            return Err(Malformed::Mark("key").into());
        }
        let mut byte = || r.u8();
        let ranges = match byte()? {
            VERSION_2 => WeightRanges::Proof,
            VERSION_3 => WeightRanges::Key,
            found => return Err(KeyError::Version { found }),
        };
        let parameters = Parameters {
            limb_bits: byte()?,
            weight_rate: byte()?,
            activation_rate: byte()?,
            ranges,
        };
        let weights = match byte()? {
            0 => None,
            1 => Some(WeightsCommitment {
                root: r.array::<DIGEST_BYTES>()?,
                anchor: r.element()?,
            }),
            tag => return Err(Malformed::Tag { what: "flag", tag }.into()),
        };
        let range_proof = match ranges {
            WeightRanges::Proof => vec![],
            WeightRanges::Key => {
                let len = r.size()?;
                r.take(len)?.to_vec()
            }
        };
        let program = read_program(&mut r)?;
        r.finish()?;
        let mut key = Self::new(program, parameters)?;
        let has_weights = key.layout.weight_vars.is_some();
        if weights.is_some() != has_weights || (ranges == WeightRanges::Key && !has_weights) {
            return Err(Malformed::Weights.into());
        }
        key.weights = weights;
        key.range_proof = range_proof;
        Ok(key)
    }
}

/// The library's form of a root.
pub fn to_commitment(root: &Root) -> Commitment {
    Commitment::new(vec![*root])
}

/// The root of a commitment.
pub fn to_root(commitment: &Commitment) -> Option<Root> {
    match commitment.roots() {
        [root] => Some(*root),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commitment_is_one_root() {
        let root = std::array::from_fn(|i| i as u8);
        assert_eq!(to_root(&to_commitment(&root)), Some(root));
        assert_eq!(to_root(&Commitment::new(vec![root; 2])), None);
    }
}
