//! The verifying key: the program, the parameters of the proof system, and the
//! commitment to the weights.

use thiserror::Error;

use crate::bytes::{ByteReader, Writer};
use crate::commit::{Commitment, MAX_LOG_INV_RATE};
use crate::encode::{read_program, write_program};
use crate::hash::{DIGEST_BYTES, Root};
use crate::layout::Layout;
use crate::program::Program;
use crate::security::{MIN_SECURITY_BITS, soundness};
use crate::validate::{Checked, ProgramError, validate};

/// First bytes of a key.
const MAGIC: &[u8; 8] = b"DSPSVK\0\x01";

/// Why a verifying key is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// The bytes are not those of a key.
    #[error("The verifying key is malformed: {0}")]
    Malformed(String),
    /// The program in it is not acceptable.
    #[error("The verifying key's program is refused: {0}")]
    Program(#[from] ProgramError),
    /// The proof system cannot be set up for it.
    #[error("The verifying key's parameters are refused: {0}")]
    Parameters(String),
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
}

/// A verifying key with everything that is derived from it. It can only be had
/// for a program that passes validation.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    /// The program.
    pub program: Program,
    /// The parameters.
    pub parameters: Parameters,
    /// The root of the commitment to the weights, if there are any.
    pub weights: Option<Root>,
    /// Shapes and bounds.
    pub checked: Checked,
    /// The derived proof system.
    pub layout: Layout,
}

impl VerifyingKey {
    /// Validates a program and derives the rest. The weights' root is set by
    /// the compiler afterwards.
    pub fn new(program: Program, parameters: Parameters) -> Result<Self, KeyError> {
        let checked = validate(&program)?;
        let layout = Layout::new(&program, &checked, u32::from(parameters.limb_bits))
            .map_err(KeyError::Parameters)?;
        for rate in [parameters.weight_rate, parameters.activation_rate] {
            if !(1..=MAX_LOG_INV_RATE).contains(&usize::from(rate)) {
                return Err(KeyError::Parameters(format!(
                    "a rate of 2^-{rate} is not supported"
                )));
            }
        }
        let key = Self {
            program,
            parameters,
            weights: None,
            checked,
            layout,
        };
        // Also refuses sizes for which the library has no parameters.
        let bits = soundness(&key).map_err(KeyError::Parameters)?.total_bits;
        if bits < MIN_SECURITY_BITS {
            return Err(KeyError::Parameters(format!(
                "proofs would have {bits:.1} bits of security, {MIN_SECURITY_BITS} are needed"
            )));
        }
        Ok(key)
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.out.extend_from_slice(MAGIC);
        w.u8(self.parameters.limb_bits);
        w.u8(self.parameters.weight_rate);
        w.u8(self.parameters.activation_rate);
        match &self.weights {
            None => w.u8(0),
            Some(root) => {
                w.u8(1);
                w.out.extend_from_slice(root);
            }
        }
        write_program(&mut w, &self.program);
        w.out
    }

    /// Reads and validates a key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let malformed = KeyError::Malformed;
        let mut r = ByteReader::new(bytes);
        if &r.array::<8>().map_err(malformed)? != MAGIC {
            return Err(KeyError::Malformed(
                "it does not start with the key's mark".into(),
            ));
        }
        let mut byte = || r.u8().map_err(malformed);
        let parameters = Parameters {
            limb_bits: byte()?,
            weight_rate: byte()?,
            activation_rate: byte()?,
        };
        let weights = match byte()? {
            0 => None,
            1 => Some(r.array::<DIGEST_BYTES>().map_err(malformed)?),
            flag => return Err(KeyError::Malformed(format!("a flag is {flag}"))),
        };
        let program = read_program(&mut r).map_err(malformed)?;
        r.finish().map_err(malformed)?;
        let mut key = Self::new(program, parameters)?;
        if weights.is_some() != key.layout.weight_vars.is_some() {
            return Err(KeyError::Malformed(
                "it has a commitment to weights and no weights, or the reverse".into(),
            ));
        }
        key.weights = weights;
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
