//! The verifying artefact: what the verifier trusts about a slice.
//!
//! It is the proof system's own key (program, parameters, commitment to the weights)
//! with what gives its integers a meaning: the slice it was made for, and the names and
//! exponents of inputs and outputs. Its digest goes into every proof's context, so a
//! proof speaks of exactly these bytes.

use dsperse_plugin_api::Encoding;
use dsperse_sumcheck_verifier::bytes::{ByteReader, Writer};
use dsperse_sumcheck_verifier::key::VerifyingKey;
use dsperse_sumcheck_verifier::validate::Bounds;

/// First bytes of the artefact; the last one is the version.
const MAGIC: &[u8; 8] = b"DSPSCK\0\x03";
/// Encodings of plain integers, by their code in the key less 1; code 0 is fixed point.
const INTEGERS: [Encoding; 9] = [
    Encoding::Bool,
    Encoding::I8,
    Encoding::U8,
    Encoding::I16,
    Encoding::U16,
    Encoding::I32,
    Encoding::U32,
    Encoding::I64,
    Encoding::U64,
];
/// Most inputs or outputs, and most bytes of a name.
const MAX_PORTS: usize = 1 << 12;
const MAX_NAME: usize = 1 << 12;
/// Greatest magnitude of an exponent.
const MAX_EXPONENT: i64 = 128;

/// A named input or output of the slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortName {
    /// The tensor's name in the model's graph.
    pub name: String,
    /// Fixed point, or plain integers.
    pub encoding: Encoding,
}

impl PortName {
    /// The integers stand for `integer · 2^exponent`; 0 for plain integers.
    #[must_use]
    pub fn exponent(&self) -> i32 {
        match self.encoding {
            Encoding::Fixed { exponent } => exponent,
            _ => 0,
        }
    }
}

/// The verifying artefact.
#[derive(Clone, Debug)]
pub struct SliceKey {
    /// SHA-256 of the slice's ONNX file.
    pub slice: [u8; 32],
    /// The inputs, in order.
    pub inputs: Vec<PortName>,
    /// The outputs, in order.
    pub outputs: Vec<PortName>,
    /// The proof system's key.
    pub key: VerifyingKey,
}

impl SliceKey {
    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.out.extend_from_slice(MAGIC);
        w.out.extend_from_slice(&self.slice);
        for ports in [&self.inputs, &self.outputs] {
            w.list(ports, |w, port| {
                w.list(port.name.as_bytes(), |w, b| w.u8(*b));
                let code = INTEGERS.iter().position(|e| *e == port.encoding);
                w.u8(code.map_or(0, |c| c as u8 + 1));
                w.i64(i64::from(port.exponent()));
            });
        }
        w.out.extend(self.key.to_bytes());
        w.out
    }

    /// Reads and validates a key.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let mut r = ByteReader::new(bytes);
        let mark = r.array::<8>()?;
        if mark[..7] == MAGIC[..7] && mark[7] < MAGIC[7] {
            return Err(format!(
                "the verifying key is of version {}, this backend uses version {}; compile the slice again",
                mark[7], MAGIC[7]
            ));
        }
        if &mark != MAGIC {
            return Err("the verifying key does not start with its mark".into());
        }
        let slice = r.array::<32>()?;
        let inputs = r.list(MAX_PORTS, 13, port)?;
        let outputs = r.list(MAX_PORTS, 13, port)?;
        let header = 8 + 32 + ports_len(&inputs) + ports_len(&outputs);
        let rest = bytes.get(header..).unwrap_or_default();
        let key = VerifyingKey::from_bytes(rest).map_err(|e| e.to_string())?;
        let (i, o) = (key.program.inputs().len(), key.program.outputs.len());
        if inputs.len() != i || outputs.len() != o {
            return Err(format!(
                "the verifying key names {} inputs and {} outputs, its program has {i} and {o}",
                inputs.len(),
                outputs.len()
            ));
        }
        Ok(Self {
            slice,
            inputs,
            outputs,
            key,
        })
    }

    /// Shape and bounds of the `i`-th input's integers.
    #[must_use]
    pub fn input(&self, i: usize) -> Option<(&[usize], Bounds)> {
        self.tensor(*self.key.program.inputs().get(i)?)
    }

    /// Shape and bounds of the `i`-th output's integers.
    #[must_use]
    pub fn output(&self, i: usize) -> Option<(&[usize], Bounds)> {
        self.tensor(*self.key.program.outputs.get(i)?)
    }

    fn tensor(&self, id: u32) -> Option<(&[usize], Bounds)> {
        let shape = self.key.checked.shapes.get(id as usize)?;
        let bounds = self.key.checked.bounds.get(id as usize)?;
        Some((shape, *bounds))
    }
}

fn port(r: &mut ByteReader<'_>) -> Result<PortName, String> {
    let name = r.list(MAX_NAME, 1, |r| r.u8())?;
    let name = String::from_utf8(name).map_err(|_| "a tensor's name is not UTF-8")?;
    let code = r.u8()?;
    let exponent = r.i64()?;
    if exponent.abs() > MAX_EXPONENT || (code != 0 && exponent != 0) {
        return Err(format!("the exponent {exponent} is out of range"));
    }
    let encoding = match usize::from(code).checked_sub(1) {
        None => Encoding::Fixed {
            exponent: exponent as i32,
        },
        Some(i) => *INTEGERS
            .get(i)
            .ok_or_else(|| format!("there is no element type {code}"))?,
    };
    Ok(PortName { name, encoding })
}

/// Bytes that a list of ports takes.
fn ports_len(ports: &[PortName]) -> usize {
    4 + ports.iter().map(|p| 4 + p.name.len() + 9).sum::<usize>()
}
