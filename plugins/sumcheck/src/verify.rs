//! The verdict.
//!
//! It is decided from three things only: the verifying artefact, the claimed tensors and
//! the proof. The slice's payload is never opened, and whatever is malformed is an
//! invalid claim, not an error.

use crate::claim;
use crate::compile::VERIFYING_KEY;
use crate::key::SliceKey;
use crate::prove::PROOF;
use dsperse_plugin_api::job::SATURATED_INPUTS;
use dsperse_plugin_api::{ArtefactRef, Verdict, VerifyJob};
use dsperse_sumcheck_verifier::proof::Proof;
use dsperse_sumcheck_verifier::verify::{PROTOCOL, verify_with};
use serde_json::Map;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Longest verifying artefact that is read, in bytes.
const MAX_KEY: u64 = 1 << 28;

/// Judges a claim.
#[must_use]
pub fn verify(job: &VerifyJob) -> Verdict {
    // Reading the key is under the same net as checking the proof: whatever breaks off on
    // bytes from outside is an invalid claim.
    let judged = catch_unwind(AssertUnwindSafe(|| judge(job)));
    match judged
        .unwrap_or_else(|_| Err("the key or the proof is malformed: reading broke off".into()))
    {
        Ok(saturated) => {
            let mut facts = Map::new();
            facts.insert("protocol".into(), PROTOCOL.into());
            // The proof speaks of the integers that the circuit saw. Where an input was
            // clamped to get there, they are not the claimed values.
            facts.insert(SATURATED_INPUTS.into(), saturated.into());
            Verdict::Valid {
                facts,
                warnings: Vec::new(),
            }
        }
        Err(reason) => Verdict::invalid(reason),
    }
}

/// The number of input values that were clamped to the circuit's range.
fn judge(job: &VerifyJob) -> Result<usize, String> {
    let key_bytes = read(&job.circuit, VERIFYING_KEY, MAX_KEY)?;
    let key = SliceKey::from_bytes(&key_bytes)?;
    if key.slice != claim::digest(&job.slice.sha256)? {
        return Err("the verifying key was made for another slice".into());
    }
    let context = claim::context(&job.slice, &key_bytes)?;
    let (inputs, saturated) = claim::inputs(&key, &job.inputs)?;
    let outputs = claim::outputs(&key, &job.outputs)?;
    let most = Proof::max_bytes(&key.key)? as u64;
    let proof = read(&job.proof, PROOF, most)?;
    verify_with(&key.key, &context, &inputs, &outputs, &proof).map_err(|e| e.to_string())?;
    Ok(saturated)
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
            "the artefact \"{name}\" has {size} bytes, more than the {most} that it can have"
        ));
    }
    std::fs::read(&file.path).map_err(broken)
}
