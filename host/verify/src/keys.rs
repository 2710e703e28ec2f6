//! Whose key a proof was checked with.
//!
//! A proof says that the circuit behind a verifying key was computed. That this circuit
//! is the slice's ONNX file is a separate claim of whoever compiled it, and no digest in
//! the slices' own metadata can back it: who exchanges a key writes its digest there. So
//! the verifier names the keys (or has a receipt that does), or compiles the ONNX files
//! again and compares, or takes slices and keys as they are and is told so. Who pins the
//! model alone does not take the slices as they are, and gets the comparison without asking
//! for it.

use crate::checker::{Again, Backend, CompiledAgain, Need};
use crate::claims::Claims;
use crate::demands::{Demands, plain};
use crate::doubt::NotProven;
use crate::evidence::Evidence;
use dsperse_documents::{Compilation, KeyOrigin, ReceiptFile, SliceMetadata, VerificationReport};

/// Why the artefacts that a verifier uses are believed to be the slice's. `Err` when
/// they are not, or when that had to be found out and could not.
///
/// # Errors
/// Only what ends the whole verification.
#[allow(clippy::too_many_arguments, reason = "each is a part of the one claim")]
pub(crate) fn origin<E: Evidence, C: Again<E::File>>(
    evidence: &E,
    checker: &C,
    claims: &Claims<E::File>,
    demands: &Demands,
    slice: &SliceMetadata,
    compilation: &Compilation,
    backend: &Backend<'_>,
    used: &[ReceiptFile],
) -> Result<Result<KeyOrigin, NotProven>, C::Stop> {
    let needed = demands.expect_model.is_some() && demands.expect_keys.is_none();
    if !demands.recompile && !needed {
        return Ok(Ok(KeyOrigin::AsGiven));
    }
    let unknown = |why: String| {
        let reason = format!("its proof is under a key that is not known to be the slice's: {why}");
        NotProven::undecided(reason).hint(checker.advice(Need::Keys))
    };
    let properties = backend.descriptor.capabilities.proof.as_ref();
    if !properties.is_some_and(|p| p.reproducible_compile) {
        let name = backend.name();
        let why = format!("\"{name}\" makes other keys each time it compiles a slice");
        return Ok(Err(unknown(why)));
    }
    let claimed = claims.pick(&evidence.model().inputs);
    let (fresh, same_calibration) = match checker.compile(backend, slice, compilation, claimed)? {
        CompiledAgain::Made {
            files,
            same_calibration,
        } => (files, same_calibration),
        CompiledAgain::No(why) => return Ok(Err(unknown(why))),
    };
    let Some(name) = difference(used, &fresh) else {
        return Ok(Ok(KeyOrigin::Recompiled));
    };
    let reason = format!(
        "compiled again, \"{name}\" of backend \"{}\" is another than in these slices",
        backend.name()
    );
    Ok(Err(if same_calibration {
        NotProven::Wrong(reason)
    } else {
        NotProven::undecided(reason).hint(checker.advice(Need::Calibration))
    }))
}

/// The first artefact that one side has and the other has not.
fn difference<'a>(used: &'a [ReceiptFile], fresh: &'a [ReceiptFile]) -> Option<&'a str> {
    used.iter()
        .find(|f| !fresh.contains(f))
        .or_else(|| fresh.iter().find(|f| !used.contains(f)))
        .map(|f| f.name.as_str())
}

/// Compares the digest of the proven slices' keys with the one that the verifier names.
pub(crate) fn compare(demands: &Demands, report: &mut VerificationReport) {
    let (Some(expected), Some(found)) = (&demands.expect_keys, &report.keys_sha256) else {
        return;
    };
    let expected = plain(expected);
    if expected != *found {
        report.failures.push(format!(
            "the verifying keys are others than expected: expected {expected}, found {found}"
        ));
        return;
    }
    for s in &mut report.slices {
        if s.keys == Some(KeyOrigin::AsGiven) {
            s.keys = Some(KeyOrigin::Pinned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_an_additional_and_another_artefact_differ() {
        let file = |name: &str, sha256: &str| ReceiptFile {
            name: name.into(),
            sha256: sha256.into(),
        };
        let both = [file("key", "a"), file("settings", "b")];
        let turned = [file("settings", "b"), file("key", "a")];
        assert_eq!(difference(&both, &turned), None);
        assert_eq!(difference(&both, &both[..1]), Some("settings"));
        assert_eq!(difference(&both[1..], &both), Some("key"));
        assert_eq!(difference(&[file("key", "c")], &both[..1]), Some("key"));
        assert_eq!(difference(&[], &both[..1]), Some("key"));
    }
}
