//! The verdict.
//!
//! It is decided from three things only: the verifying artefact, the claimed tensors and
//! the proof. The slice's payload is never opened, and whatever is malformed is an
//! invalid claim, not an error.

use crate::claim;
use crate::compile::VERIFYING_KEY;
use crate::key::SliceKey;
use crate::prove::PROOF;
use dsperse_plugin_api::{ArtefactRef, Verdict, VerifyJob};
use dsperse_sumcheck_verifier::verify::{PROTOCOL, verify_with};
use serde_json::Map;

/// Longest proof that is read, in bytes; real ones stay below one mebibyte.
const MAX_PROOF: u64 = 1 << 26;
/// Longest verifying artefact that is read, in bytes.
const MAX_KEY: u64 = 1 << 28;

/// Judges a claim.
#[must_use]
pub fn verify(job: &VerifyJob) -> Verdict {
    match judge(job) {
        Ok(()) => {
            let mut facts = Map::new();
            facts.insert("protocol".into(), PROTOCOL.into());
            Verdict::Valid {
                facts,
                warnings: Vec::new(),
            }
        }
        Err(reason) => Verdict::invalid(reason),
    }
}

fn judge(job: &VerifyJob) -> Result<(), String> {
    let key_bytes = read(&job.circuit, VERIFYING_KEY, MAX_KEY)?;
    let key = SliceKey::from_bytes(&key_bytes)?;
    if key.slice != claim::digest(&job.slice.sha256)? {
        return Err("the verifying key was made for another slice".into());
    }
    let context = claim::context(&job.slice, &key_bytes)?;
    let (inputs, _) = claim::inputs(&key, &job.inputs)?;
    let outputs = claim::outputs(&key, &job.outputs)?;
    let proof = read(&job.proof, PROOF, MAX_PROOF)?;
    verify_with(&key.key, &context, &inputs, &outputs, &proof).map_err(|e| e.to_string())
}

fn read(list: &[ArtefactRef], name: &str, most: u64) -> Result<Vec<u8>, String> {
    let file = list
        .iter()
        .find(|a| a.name == name)
        .ok_or_else(|| format!("the artefact \"{name}\" is missing"))?;
    let broken = |e: std::io::Error| format!("the artefact \"{name}\" can't be read: {e}");
    let size = std::fs::metadata(&file.path).map_err(broken)?.len();
    if size > most {
        return Err(format!(
            "the artefact \"{name}\" has {size} bytes, more than {most}"
        ));
    }
    std::fs::read(&file.path).map_err(broken)
}
