//! The verdict of the sumcheck backend, from bytes alone.
//!
//! It is decided from three things only: the verifying artefact, the claimed tensors and
//! the proof. Whatever is malformed is an invalid claim, not an error. The plugin reads its
//! files and asks here; so does the verifier in a browser.
//!
//! - [`key`]: the verifying artefact: names, exponents, program, commitment;
//! - [`claim`]: a claim's tensors as integers, and the digest that binds a proof to its
//!   slice;
//! - [`judge`]: whether a proof shows a claim under a key.

pub mod claim;
pub mod key;

use claim::Claimed;
use dsperse_plugin_api::job::SATURATED_INPUTS;
use dsperse_plugin_api::{BindsPublicIo, ProofProperties, Setup, SliceInfo, Verdict};
use dsperse_sumcheck_verifier::proof::Proof;
use dsperse_sumcheck_verifier::security::info;
use dsperse_sumcheck_verifier::verify::{PROTOCOL, verify_with};
use key::SliceKey;
use serde_json::Map;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The backend's name.
pub const NAME: &str = "sumcheck";
/// The backend's version: another one means keys and proofs of another format.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Name of the verifying artefact.
pub const VERIFYING_KEY: &str = "verifying_key";
/// Name of the proof.
pub const PROOF: &str = "proof";
/// Longest verifying artefact that is read, in bytes.
pub const MAX_KEY: u64 = 1 << 28;

/// What the proofs offer.
#[must_use]
pub fn properties() -> ProofProperties {
    ProofProperties {
        zero_knowledge: false,
        succinct: true,
        hides_weights: false,
        setup: Setup::None,
        binds_public_io: BindsPublicIo::Strong,
        post_quantum: true,
        reproducible_compile: true,
        // Computed by the proof system's own account; without one nothing is claimed.
        security_bits: info().ok().map(|i| i.security_bits.floor() as u32),
        caveats: vec![
            "proofs are not zero-knowledge: they reveal something of weights and activations"
                .into(),
            "a proof speaks of the quantised slice; see the fidelity figures for its distance \
             from the float model"
                .into(),
        ],
    }
}

/// A file by its name; the number is the most bytes that it can have.
pub type Read<'a> = dyn Fn(&str, u64) -> Result<Vec<u8>, String> + 'a;

/// Judges a claim. `key` and `proof` read the artefact of the name that they are given.
#[must_use]
pub fn judge<T: Claimed>(
    slice: &SliceInfo,
    inputs: &[T],
    outputs: &[T],
    key: &Read<'_>,
    proof: &Read<'_>,
) -> Verdict {
    // Reading the key is under the same net as checking the proof: whatever breaks off on
    // bytes from outside is an invalid claim.
    let judged = catch_unwind(AssertUnwindSafe(|| {
        saturated(slice, inputs, outputs, key, proof)
    }));
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
fn saturated<T: Claimed>(
    slice: &SliceInfo,
    inputs: &[T],
    outputs: &[T],
    key: &Read<'_>,
    proof: &Read<'_>,
) -> Result<usize, String> {
    let key_bytes = key(VERIFYING_KEY, MAX_KEY)?;
    let key = SliceKey::from_bytes(&key_bytes)?;
    if key.slice != claim::digest(&slice.sha256)? {
        return Err("the verifying key was made for another slice".into());
    }
    let context = claim::context(slice, &key_bytes)?;
    let (inputs, saturated) = claim::inputs(&key, inputs)?;
    let outputs = claim::outputs(&key, outputs)?;
    let most = Proof::max_bytes(&key.key).map_err(|e| e.to_string())? as u64;
    let proof = proof(PROOF, most)?;
    verify_with(&key.key, &context, &inputs, &outputs, &proof).map_err(|e| e.to_string())?;
    Ok(saturated)
}
