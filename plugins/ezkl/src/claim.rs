//! The public values of a proof, and the claim that they must equal.
//!
//! EZKL's public values are all inputs, flattened, then all outputs, each as a field
//! element of 32 bytes little-endian in hex. Only these (`instances`) and `proof` are
//! verified; every other field of a proof file is decoration that anyone can alter. So the
//! verifier writes a file of its own: the proof's bytes, and the claim's values.

use dsperse_plugin_api::{Encoding, Result, TensorFile};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The BN254 scalar field's modulus as four little-endian words.
const MODULUS: [u64; 4] = [
    0x43e1_f593_f000_0001,
    0x2833_e848_79b9_7091,
    0xb850_45b6_8181_585d,
    0x3064_4e72_e131_a029,
];

/// The part of EZKL's settings that decides what a proof speaks about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Rows needed with the default number of columns.
    pub num_rows: u64,
    /// Shapes of the public tensors: inputs, then outputs.
    pub model_instance_shapes: Vec<Vec<u64>>,
    /// Bits after the binary point of each input.
    pub model_input_scales: Vec<i32>,
    /// Bits after the binary point of each output.
    pub model_output_scales: Vec<i32>,
    /// EZKL's version.
    pub version: String,
    /// The arguments that the circuit was made with.
    pub run_args: RunArgs,
}

/// The part of EZKL's run arguments that matters here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunArgs {
    /// Rows as a power of two.
    pub logrows: u32,
}

impl Settings {
    /// Fixed-point exponents of the inputs and outputs.
    pub fn exponents(&self) -> (Vec<i32>, Vec<i32>) {
        let negate = |s: &[i32]| s.iter().map(|s| -s).collect();
        (
            negate(&self.model_input_scales),
            negate(&self.model_output_scales),
        )
    }

    /// The claim's public values as field elements, or why the tensors are not such a claim.
    pub fn instances(
        &self,
        inputs: &[TensorFile],
        outputs: &[TensorFile],
    ) -> std::result::Result<Vec<String>, String> {
        let sizes: Vec<Option<u64>> = self
            .model_instance_shapes
            .iter()
            .map(|s| s.iter().try_fold(1u64, |n, d| n.checked_mul(*d)))
            .collect();
        let tensors: Vec<&TensorFile> = inputs.iter().chain(outputs).collect();
        let claimed: Vec<Option<u64>> = tensors.iter().map(|t| t.info.len()).collect();
        if sizes != claimed
            || inputs.len() != self.model_input_scales.len()
            || outputs.len() != self.model_output_scales.len()
        {
            return Err(format!(
                "the circuit's public tensors have {sizes:?} elements, the claim's {claimed:?}"
            ));
        }
        let (ins, outs) = self.exponents();
        for (output, exponent) in outputs.iter().zip(&outs) {
            if output.info.encoding
                != (Encoding::Fixed {
                    exponent: *exponent,
                })
            {
                return Err(format!(
                    "output \"{}\" is not in the circuit's fixed-point form (exponent {exponent})",
                    output.info.name
                ));
            }
        }
        let mut values = Vec::new();
        for (tensor, exponent) in tensors.iter().zip(ins.iter().chain(&outs)) {
            values.extend(integers(tensor, *exponent).map_err(|e| e.message)?);
        }
        Ok(values.into_iter().map(field).collect())
    }
}

/// A tensor's integers at an exponent, by the documented rounding.
pub fn integers(tensor: &TensorFile, exponent: i32) -> Result<Vec<i64>> {
    Ok(tensor.read_values()?.to_fixed(exponent)?)
}

/// An integer as EZKL writes a field element.
pub fn field(v: i64) -> String {
    let mut words = [v.unsigned_abs(), 0, 0, 0];
    if v < 0 {
        let mut borrow = false;
        for (word, m) in words.iter_mut().zip(MODULUS) {
            let (a, b1) = m.overflowing_sub(*word);
            let (a, b2) = a.overflowing_sub(u64::from(borrow));
            (*word, borrow) = (a, b1 || b2);
        }
    }
    hex::encode(words.map(u64::to_le_bytes).concat())
}

/// A field element as an integer, when it is a small one in canonical form.
pub fn integer(text: &str) -> Option<i64> {
    let bytes: [u8; 32] = hex::decode(text).ok()?.try_into().ok()?;
    let word = |i: usize| {
        let chunk: [u8; 8] = bytes.get(8 * i..8 * i + 8)?.try_into().ok()?;
        Some(u64::from_le_bytes(chunk))
    };
    let low = word(0)?;
    let candidates = [
        i64::try_from(low).ok(),
        i64::try_from(MODULUS[0].wrapping_sub(low)).ok().map(|v| -v),
    ];
    candidates.into_iter().flatten().find(|v| field(*v) == text)
}

/// A proof file of EZKL, as far as it is read. Fields that EZKL knows and does not verify
/// may be there with any content; others may not, so that every byte of a file without them
/// matters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Public values.
    pub instances: Vec<Vec<String>>,
    /// The proof's bytes.
    pub proof: Vec<u8>,
    #[serde(default, rename = "protocol")]
    _protocol: IgnoredAny,
    #[serde(default, rename = "hex_proof")]
    _hex_proof: IgnoredAny,
    #[serde(default, rename = "split")]
    _split: IgnoredAny,
    #[serde(default, rename = "pretty_public_inputs")]
    _pretty_public_inputs: IgnoredAny,
    #[serde(default, rename = "timestamp")]
    _timestamp: IgnoredAny,
    #[serde(default, rename = "version")]
    _version: IgnoredAny,
}

impl Proof {
    /// The file that is kept and that the verifier gives to EZKL: these bytes, with the
    /// claim's values, and nothing that is not verified.
    pub fn document(proof: &[u8], instances: &[String]) -> Value {
        json!({"protocol": null, "instances": [instances], "proof": proof, "split": null})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_elements_round_trip() {
        for v in [
            0,
            1,
            -1,
            255,
            -256,
            1 << 40,
            -(1 << 40),
            i64::MAX,
            -i64::MAX,
        ] {
            assert_eq!(integer(&field(v)), Some(v), "{v}");
        }
        assert_eq!(
            field(-1),
            "000000f093f5e1439170b97948e833285d588181b64550b829a031e1724e6430"
        );
        assert_eq!(integer(&"ff".repeat(32)), None);
        assert_eq!(integer("00"), None);
        assert_eq!(integer("zz"), None);
    }
}
