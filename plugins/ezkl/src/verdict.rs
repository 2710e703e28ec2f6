//! The verdict: from the proof's bytes and public values, the verifying key, the settings
//! and the small SRS, and from nothing else that the prover wrote.

use crate::claim::{Proof, Settings};
use crate::driver::Ezkl;
use crate::files::{Work, read_json, write_json};
use crate::srs::{self, Places};
use dsperse_plugin_api::job::{Options, artefact};
use dsperse_plugin_api::{ArtefactRef, Cx, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Artefact: what EZKL calls the settings, in a stable form.
pub const SETTINGS: &str = "settings";
/// Artefact: the description of the keys, see [`Keys`].
pub const KEYS: &str = "keys";
/// Artefact: the verifying key.
pub const VK: &str = "verifying_key";
/// Artefact: the part of the SRS that a verifier needs.
pub const SRS: &str = "verifying_srs";

/// What a verdict must say of the keys.
#[derive(Debug, Serialize, Deserialize)]
pub struct Keys {
    /// Rows as a power of two.
    pub logrows: u32,
    /// Whether the SRS is a local test SRS.
    pub insecure_test_srs: bool,
    /// See [`srs::fingerprint`].
    pub srs_fingerprint: String,
    /// SHA-256 of the verifying key's file, much of which EZKL's verifier does not read.
    pub verifying_key_sha256: String,
    /// SHA-256 of the settings' file.
    pub settings_sha256: String,
}

/// SHA-256 of a file, in hex.
///
/// # Errors
/// Those of the file system.
pub fn digest(path: &Path) -> Result<String> {
    Ok(hex::encode(Sha256::digest(std::fs::read(path)?)))
}

/// Reads a settings file.
///
/// # Errors
/// `invalid_input` when it is not one.
pub fn read_settings(path: &Path) -> Result<Settings> {
    serde_json::from_value(read_json(path)?)
        .map_err(|e| Error::invalid_input(format!("the circuit's settings are corrupt: {e}")))
}

/// The verifying artefacts of a circuit.
pub struct Circuit {
    /// What a proof speaks about.
    pub settings: Settings,
    /// What the keys rest on.
    pub keys: Keys,
    settings_path: PathBuf,
    vk: PathBuf,
    srs: PathBuf,
}

impl Circuit {
    /// Reads and checks them.
    ///
    /// # Errors
    /// `invalid_input` when one is missing or corrupt, or they do not belong together.
    pub fn read(list: &[ArtefactRef]) -> Result<Self> {
        let path = |name: &str| artefact(list, name).map(|a| PathBuf::from(&a.path));
        let keys: Keys = serde_json::from_value(read_json(&path(KEYS)?)?)
            .map_err(|e| Error::invalid_input(format!("the keys' description is corrupt: {e}")))?;
        let circuit = Self {
            settings: read_settings(&path(SETTINGS)?)?,
            keys,
            settings_path: path(SETTINGS)?,
            vk: path(VK)?,
            srs: path(SRS)?,
        };
        if circuit.keys.logrows != circuit.settings.run_args.logrows {
            return Err(Error::invalid_input(format!(
                "the keys are for 2^{} rows, the settings for 2^{}",
                circuit.keys.logrows, circuit.settings.run_args.logrows
            )));
        }
        for (what, path, expected) in [
            (
                "verifying key",
                &circuit.vk,
                &circuit.keys.verifying_key_sha256,
            ),
            (
                "settings",
                &circuit.settings_path,
                &circuit.keys.settings_sha256,
            ),
        ] {
            if digest(path)? != *expected {
                return Err(Error::invalid_input(format!(
                    "the {what} of the circuit is not the one that was made with its keys"
                )));
            }
        }
        let srs = std::fs::read(&circuit.srs)?;
        if !srs::check_verifying(&srs) || srs::fingerprint(&srs) != circuit.keys.srs_fingerprint {
            return Err(Error::invalid_input("the verifying SRS is corrupt"));
        }
        Ok(circuit)
    }

    /// Decides whether the SRS may be trusted: `Ok` with a warning, or why not.
    pub fn check_srs(&self, options: &Options) -> std::result::Result<Option<String>, String> {
        let fingerprint = &self.keys.srs_fingerprint;
        if let Some(pinned) = options.get("srs_fingerprint").and_then(Value::as_str) {
            return if pinned.eq_ignore_ascii_case(fingerprint) {
                Ok(self
                    .keys
                    .insecure_test_srs
                    .then(|| insecure_warning(&self.keys)))
            } else {
                Err(format!(
                    "the keys rest on an SRS with fingerprint {fingerprint}, expected {pinned}"
                ))
            };
        }
        if self.keys.insecure_test_srs {
            return if srs::insecure(options) {
                Ok(Some(insecure_warning(&self.keys)))
            } else {
                Err("the keys rest on an insecure test SRS, which insecure_test_srs = true would allow".into())
            };
        }
        // The verifier's own file of the same ceremony settles it: for good, or as a test.
        let own = Places::new(options)
            .map_err(|e| e.message)?
            .find(self.keys.logrows);
        if let Ok(own) = own
            && srs::fingerprint(&own.verifying) == *fingerprint
        {
            return Ok(own.insecure.then(|| insecure_warning(&self.keys)));
        }
        Ok(Some(format!(
            "the SRS with fingerprint {fingerprint} comes with the proof and is not checked: whoever knows its secret can forge proofs; pin it with srs_fingerprint"
        )))
    }
}

/// What a verdict on a test SRS says.
pub fn insecure_warning(keys: &Keys) -> String {
    format!(
        "insecure test SRS (fingerprint {}): its secret existed on the prover's machine, so this proof convinces nobody else",
        keys.srs_fingerprint
    )
}

/// Lets EZKL judge the proof's bytes together with the claim's values.
///
/// # Errors
/// When EZKL could not judge: not there, killed, no memory or disk.
pub fn judge(
    ezkl: &Ezkl,
    circuit: &Circuit,
    proof: &Path,
    instances: &[String],
    work: &Work,
    cx: &Cx,
) -> Result<std::result::Result<(), String>> {
    let document: Proof = match std::fs::read(proof)
        .map_err(|e| e.to_string())
        .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|e| e.to_string()))
    {
        Ok(document) => document,
        Err(e) => return Ok(Err(format!("the proof file can't be read: {e}"))),
    };
    match document.instances.as_slice() {
        [own] if own == instances => {}
        [own] => {
            let at = own.iter().zip(instances).position(|(a, b)| a != b);
            return Ok(Err(format!(
                "the proof's public values are not the claimed tensors: {} values, {} claimed, the first difference at {}",
                own.len(),
                instances.len(),
                at.map_or_else(|| "the end".to_owned(), |i| i.to_string())
            )));
        }
        other => {
            return Ok(Err(format!(
                "the proof has {} lists of public values, expected 1",
                other.len()
            )));
        }
    }
    let accepts = |bytes: &[u8]| -> Result<std::result::Result<(), String>> {
        let file = work.file("judged.json");
        write_json(&file, &Proof::document(bytes, instances))?;
        let request = json!({
            "proof": file,
            "settings": circuit.settings_path,
            "vk": circuit.vk,
            "srs": circuit.srs,
        });
        Ok(match ezkl.run("verify", request, cx)? {
            Ok(Value::Bool(true)) => Ok(()),
            Ok(other) => Err(format!("EZKL answers {other}")),
            Err(e) => Err(format!("EZKL rejects the proof: {e}")),
        })
    };
    if let Err(reason) = accepts(&document.proof)? {
        return Ok(Err(reason));
    }
    // EZKL ignores bytes behind a proof; a proof without its last byte must be no proof.
    let shorter = document
        .proof
        .split_last()
        .map_or(&[][..], |(_, rest)| rest);
    Ok(match accepts(shorter)? {
        Ok(()) => Err("the proof has trailing bytes".into()),
        Err(_) => Ok(()),
    })
}
