//! A claim's tensors as integers, and the digest that binds a proof to its slice.

use crate::key::SliceKey;
use dsperse_plugin_api::SliceInfo;
use dsperse_plugin_api::values::shift_round;
use dsperse_sumcheck_verifier::program::Tensor;
use dsperse_sumcheck_verifier::validate::Bounds;
use dsperse_tensor::{Encoding, TensorFile, TensorInfo, Values};
use sha2::{Digest, Sha256};

/// A tensor of a claim, wherever its elements are.
pub trait Claimed {
    /// Name, encoding and shape.
    fn info(&self) -> &TensorInfo;
    /// The elements.
    ///
    /// # Errors
    /// When they can't be read, or their number does not follow from the shape.
    fn values(&self) -> Result<Values, String>;
}

impl Claimed for TensorFile {
    fn info(&self) -> &TensorInfo {
        &self.info
    }
    fn values(&self) -> Result<Values, String> {
        self.read_values().map_err(|e| e.to_string())
    }
}

/// First bytes of the context's preimage: name and version of this binding.
const CONTEXT_TAG: &[u8] = b"dsperse-sumcheck/context/1";

/// The digest that a proof's transcript absorbs: which slice of which model the proof is
/// about, and under which verifying artefact.
///
/// SHA-256 of the tag's length and bytes, the slice's index (64 bits), the SHA-256 of the
/// slice's ONNX file, that of the sliced model, and that of the verifying artefact.
///
/// # Errors
/// When a digest of the slice is not 64 hexadecimal digits.
pub fn context(slice: &SliceInfo, key_bytes: &[u8]) -> Result<[u8; 32], String> {
    let mut hash = Sha256::new();
    hash.update((CONTEXT_TAG.len() as u64).to_le_bytes());
    hash.update(CONTEXT_TAG);
    hash.update((slice.index as u64).to_le_bytes());
    hash.update(digest(&slice.sha256)?);
    hash.update(digest(&slice.model_sha256)?);
    hash.update(Sha256::digest(key_bytes));
    Ok(hash.finalize().into())
}

/// A digest from its hexadecimal form.
///
/// # Errors
/// When it is not 64 hexadecimal digits.
pub fn digest(text: &str) -> Result<[u8; 32], String> {
    let mut out = [0; 32];
    hex::decode_to_slice(text, &mut out)
        .map_err(|_| format!("\"{text}\" is not a SHA-256 in hexadecimal"))?;
    Ok(out)
}

/// The claimed inputs as the integers that the program reads, and how many of them
/// saturated.
///
/// # Errors
/// A sentence that says which tensor does not fit the key.
pub fn inputs<T: Claimed>(key: &SliceKey, claimed: &[T]) -> Result<(Vec<Tensor>, usize), String> {
    count("inputs", key.inputs.len(), claimed.len())?;
    let (mut out, mut saturated) = (Vec::new(), 0);
    for (i, (file, port)) in claimed.iter().zip(&key.inputs).enumerate() {
        let (shape, bounds) = key.input(i).ok_or("the verifying key lacks an input")?;
        named(file.info(), &port.name, shape)?;
        let values = file.values()?;
        let (data, n) = match port.encoding {
            Encoding::Fixed { exponent } => quantise(&values, exponent, bounds),
            encoding if encoding == file.info().encoding => integers(values, bounds),
            encoding => Err(format!(
                "it is {}, the key takes {encoding}",
                file.info().encoding
            )),
        }
        .map_err(|e| format!("input \"{}\": {e}", port.name))?;
        saturated += n;
        out.push(Tensor {
            shape: shape.to_vec(),
            data,
        });
    }
    Ok((out, saturated))
}

/// The claimed outputs: fixed point at exactly the key's exponents.
///
/// # Errors
/// A sentence that says which tensor does not fit the key.
pub fn outputs<T: Claimed>(key: &SliceKey, claimed: &[T]) -> Result<Vec<Tensor>, String> {
    count("outputs", key.outputs.len(), claimed.len())?;
    let mut out = Vec::new();
    for (i, (file, port)) in claimed.iter().zip(&key.outputs).enumerate() {
        let (shape, _) = key.output(i).ok_or("the verifying key lacks an output")?;
        named(file.info(), &port.name, shape)?;
        let wanted = port.encoding;
        if file.info().encoding != wanted {
            return Err(format!(
                "output \"{}\" is claimed as {}, the key proves {wanted}",
                port.name,
                file.info().encoding
            ));
        }
        match file.values()? {
            Values::Fixed { integers, .. } | Values::Int(integers) => out.push(Tensor {
                shape: shape.to_vec(),
                data: integers,
            }),
            _ => return Err(format!("output \"{}\" holds floats", port.name)),
        }
    }
    Ok(out)
}

/// Plain integers, which must be within the bounds: nothing saturates.
fn integers(values: Values, bounds: Bounds) -> Result<(Vec<i64>, usize), String> {
    let Values::Int(data) = values else {
        return Err("it does not hold plain integers".into());
    };
    match data.iter().position(|v| *v < bounds.lo || *v > bounds.hi) {
        None => Ok((data, 0)),
        Some(i) => Err(format!(
            "element {i} is {}, the key takes {} to {}; calibrate with inputs that reach as far",
            data[i], bounds.lo, bounds.hi
        )),
    }
}

/// Integers for values: nearest, ties to even, saturating at the bounds; and how many
/// saturated.
///
/// # Errors
/// When a value is not a finite number, or the values are plain integers.
pub fn quantise(
    values: &Values,
    exponent: i32,
    bounds: Bounds,
) -> Result<(Vec<i64>, usize), String> {
    let wide: Vec<i64> = match values {
        Values::Float(v) => {
            if let Some(i) = v.iter().position(|x| !x.is_finite()) {
                return Err(format!("element {i} is {}, not a finite number", v[i]));
            }
            // One integer beyond the bounds is enough to see saturation, and fits.
            let scale = 2f64.powi(exponent);
            let (lo, hi) = (
                (bounds.lo - 1) as f64 * scale,
                (bounds.hi + 1) as f64 * scale,
            );
            let limited = v.iter().map(|x| x.clamp(lo, hi)).collect();
            Values::Float(limited)
                .to_fixed(exponent)
                .map_err(|e| e.to_string())?
        }
        Values::Fixed {
            integers,
            exponent: own,
        } => {
            let shift = i64::from(*own) - i64::from(exponent);
            let beyond = |v: i64| if v < 0 { i64::MIN } else { i64::MAX };
            let fixed = integers.iter();
            fixed
                .map(|&v| shift_round(v, shift).unwrap_or(beyond(v)))
                .collect()
        }
        _ => return Err("it holds plain integers where floats or fixed point are needed".into()),
    };
    let outside = |v: &&i64| **v < bounds.lo || **v > bounds.hi;
    let saturated = wide.iter().filter(outside).count();
    let data = wide.iter().map(|v| *v.clamp(&bounds.lo, &bounds.hi));
    Ok((data.collect(), saturated))
}

fn count(what: &str, needed: usize, found: usize) -> Result<(), String> {
    if needed == found {
        Ok(())
    } else {
        Err(format!("{found} {what} are claimed, the key has {needed}"))
    }
}

fn named(info: &TensorInfo, name: &str, shape: &[usize]) -> Result<(), String> {
    if info.name != name {
        return Err(format!(
            "tensor \"{}\" is claimed where the key has \"{name}\"",
            info.name
        ));
    }
    if !info
        .shape
        .iter()
        .copied()
        .eq(shape.iter().map(|&d| d as u64))
    {
        return Err(format!(
            "tensor \"{name}\" is claimed with shape {:?}, the key has {shape:?}",
            info.shape
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTE: Bounds = Bounds { lo: -128, hi: 127 };

    #[test]
    fn floats_round_to_even_and_saturate() {
        let values = Values::Float(vec![0.25, 0.75, -0.25, 1e30, -1e30, 63.5, 63.75]);
        let (data, saturated) = quantise(&values, -1, BYTE).expect("finite");
        // In halves: 0.5, 1.5, -0.5, …, 127, 127.5.
        assert_eq!(data, [0, 2, 0, 127, -128, 127, 127]);
        assert_eq!(saturated, 3);
        assert!(quantise(&Values::Float(vec![f64::NAN]), -1, BYTE).is_err());
        assert!(quantise(&Values::Float(vec![f64::INFINITY]), -1, BYTE).is_err());
        assert!(quantise(&Values::Int(vec![1]), -1, BYTE).is_err());
    }

    #[test]
    fn fixed_point_is_exact_or_rounded_to_even() {
        let fixed = |integers: &[i64], exponent| Values::Fixed {
            integers: integers.to_vec(),
            exponent,
        };
        let same = quantise(&fixed(&[5, -7], -3), -3, BYTE);
        assert_eq!(same, Ok((vec![5, -7], 0)));
        let coarser = quantise(&fixed(&[2, 6, -2, 7], -4), -2, BYTE);
        assert_eq!(coarser, Ok((vec![0, 2, 0, 2], 0)));
        let finer = quantise(&fixed(&[1, 100, -100, 1 << 62], 3), -2, BYTE);
        assert_eq!(finer, Ok((vec![32, 127, -128, 127], 3)));
    }
}
