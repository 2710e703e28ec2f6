//! Attestations that `verify` writes and expects.

use crate::args::stages::Verify;
use crate::console::shown;
use crate::error::{Result, UserError};
use crate::exit::Exit;
use dsperse_attest::{PublicKey, SigningKey, attest, open};
use dsperse_documents::Receipt;
use std::path::Path;

/// Longest key or attestation that is read, in bytes.
const MOST: u64 = 64 << 20;

pub fn read(path: &Path) -> Result<Vec<u8>> {
    let wrong = |reason: String| UserError {
        exit: Exit::BadInput,
        message: format!("can't read \"{}\": {reason}", shown(path)),
        hint: None,
    };
    let size = std::fs::metadata(path)
        .map_err(|e| wrong(e.to_string()))?
        .len();
    if size > MOST {
        return Err(wrong(format!(
            "it has {size} bytes, expected at most {MOST}"
        )));
    }
    std::fs::read(path).map_err(|e| wrong(e.to_string()))
}

fn key_text(path: &Path) -> Result<String> {
    Ok(String::from_utf8_lossy(&read(path)?).into_owned())
}

/// The private key to sign with, read before anything is verified.
pub fn signer(path: &Path) -> Result<SigningKey> {
    SigningKey::from_pem(&key_text(path)?).map_err(|e| UserError {
        exit: Exit::BadInput,
        message: format!("\"{}\": {e}", shown(path)),
        hint: Some("make a key with \"dsperse keygen\"".to_owned()),
    })
}

/// The receipt that is expected, when the attestation is signed by the expected key.
pub fn expected(args: &Verify) -> Result<Option<Receipt>> {
    let (Some(file), Some(key_file)) = (&args.expect_attestation, &args.public_key) else {
        return Ok(None);
    };
    let key = PublicKey::from_pem(&key_text(key_file)?).map_err(|e| UserError {
        exit: Exit::BadInput,
        message: format!("\"{}\": {e}", shown(key_file)),
        hint: Some(
            "give the public key, which \"dsperse keygen\" writes beside the private one"
                .to_owned(),
        ),
    })?;
    let receipt = open(&read(file)?, &key).map_err(|e| UserError {
        exit: Exit::Failed,
        message: format!("the attestation \"{}\" is refused: {e}", shown(file)),
        hint: Some(
            "ask whoever verified the claim for the attestation and the public key again"
                .to_owned(),
        ),
    })?;
    Ok(Some(receipt))
}

/// Signs a receipt and writes the attestation; of a claim that is not accepted there is
/// none, and an older one goes away.
pub fn write(receipt: &Receipt, key: &SigningKey, path: &Path) -> Result<()> {
    if !receipt.accepted {
        tracing::warn!("nothing is attested: the claim is not accepted");
        return match std::fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(UserError {
                exit: Exit::Failed,
                message: format!(
                    "can't remove the older attestation \"{}\": {e}",
                    shown(path)
                ),
                hint: None,
            }),
            _ => Ok(()),
        };
    }
    let envelope = attest(receipt, key).map_err(|e| UserError {
        exit: Exit::Failed,
        message: format!("the receipt can't be signed: {e}"),
        hint: None,
    })?;
    crate::output::file(path, &envelope)
}
