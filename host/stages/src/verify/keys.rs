//! Whose key a proof was checked with.
//!
//! A proof says that the circuit behind a verifying key was computed. That this circuit
//! is the slice's ONNX file is a separate claim of whoever compiled it, and no digest in
//! the slices' own metadata can back it: who exchanges a key writes its digest there. So
//! the verifier names the keys (`--expect-keys`, `--expect-receipt`), or compiles the ONNX
//! files again and compares (`--recompile`), or takes slices and keys as they are and is
//! told so. Who pins the model alone (`--expect-model`) does not take the slices as they
//! are, and gets the comparison without asking for it.

use super::slice::NotProven;
use super::{VerifyOptions, claims::Claims, keys_named};
use crate::attempt::Attempt;
use crate::chain::{self, Tensors};
use crate::compile::{add_samples, float_chains, read_all, samples_digest};
use crate::error::{Error, Result};
use crate::job::{Files, Job, Operation};
use crate::session::{FIDELITY_TARGET, Loaded, Session, takes_target};
use crate::slices;
use dsperse_documents::{Compilation, KeyOrigin, ModelMetadata, ReceiptFile, SliceMetadata};
use dsperse_plugin_api::Role;
use dsperse_store::SliceStore;
use std::path::Path;
use std::sync::OnceLock;

const PIN: &str = "name the keys with --expect-keys, which whoever compiled the model can tell";

/// Finds out whose keys the slices have.
pub(super) struct Keys<'a> {
    pub session: &'a Session<'a>,
    pub store: &'a SliceStore,
    pub model: &'a ModelMetadata,
    pub claims: &'a Claims,
    pub options: &'a VerifyOptions,
    pub scratch: &'a Path,
    /// The float chain on the calibration input, for the first slice that needs it.
    pub floats: OnceLock<Result<Vec<Tensors>>>,
}

impl Keys<'_> {
    /// Why the artefacts that a verifier uses are believed to be the slice's. `Err` when
    /// they are not, or when that had to be found out and could not.
    ///
    /// # Errors
    /// Only an interruption.
    pub(super) fn origin(
        &self,
        slice: &SliceMetadata,
        compilation: &Compilation,
        backend: &Loaded<'_>,
        used: &[ReceiptFile],
    ) -> Result<Result<KeyOrigin, NotProven>> {
        let asked = self.options.recompile;
        let needed = self.options.expect_model.is_some() && !keys_named(self.options);
        if !asked && !needed {
            return Ok(Ok(KeyOrigin::AsGiven));
        }
        let found = self.compile_again(slice, compilation, backend, used)?;
        Ok(found.map(|()| KeyOrigin::Recompiled))
    }

    fn compile_again(
        &self,
        slice: &SliceMetadata,
        compilation: &Compilation,
        backend: &Loaded<'_>,
        used: &[ReceiptFile],
    ) -> Result<Result<(), NotProven>> {
        let unknown = |why: String, hint: &str| {
            let reason =
                format!("its proof is under a key that is not known to be the slice's: {why}");
            Ok(Err(NotProven::undecided(reason).hint(hint)))
        };
        let properties = backend.descriptor.capabilities.proof.as_ref();
        if !properties.is_some_and(|p| p.reproducible_compile) {
            let name = backend.name();
            let why = format!("\"{name}\" makes other keys each time it compiles a slice");
            return unknown(why, PIN);
        }
        let prepared = slices::job(self.store, slice, Operation::Compile, backend);
        let (mut job, mut files) = match prepared {
            Ok(prepared) => prepared,
            Err(e) => return unknown(e.message, PIN),
        };
        // A slice may have had to come closer than its backend's options say.
        if let Some(f) = &compilation.fidelity
            && takes_target(backend.descriptor)
        {
            job.options
                .insert(FIDELITY_TARGET.to_owned(), f.target.into());
        }
        let mut same_calibration = true;
        if let Some(made_with) = &compilation.calibration_sha256 {
            let sample = self.floats().and_then(|tensors| {
                add_samples(tensors, slice, &mut job, &mut files)?;
                samples_digest(tensors, slice)
            });
            self.session.check_cancelled()?;
            match sample {
                Ok(digest) => same_calibration = digest == *made_with,
                Err(e) => return unknown(e.message, PIN),
            }
        }
        let fresh = match self.compile(&job, &files)? {
            Ok(fresh) => fresh,
            Err(message) => {
                return unknown(format!("it could not be compiled again: {message}"), PIN);
            }
        };
        let Some(name) = difference(used, &fresh) else {
            return Ok(Ok(()));
        };
        let reason = format!(
            "compiled again, \"{name}\" of backend \"{}\" is another than in these slices",
            backend.name()
        );
        Ok(Err(if same_calibration {
            NotProven::Wrong(reason)
        } else {
            NotProven::undecided(reason).hint(format!(
                "it was compiled with other calibration data: give that input with --calibration, or {PIN}"
            ))
        }))
    }

    fn compile(
        &self,
        job: &Job,
        files: &Files,
    ) -> Result<std::result::Result<Vec<ReceiptFile>, String>> {
        let attempt = self
            .session
            .attempt(job, files, Attempt::quiet(self.scratch, 1))?;
        Ok(match attempt.done() {
            Ok((done, _)) => Ok(done
                .artefacts
                .into_iter()
                .filter(|a| a.role == Role::Verifying)
                .map(|a| ReceiptFile {
                    name: a.name,
                    sha256: a.sha256,
                })
                .collect()),
            Err(e) => Err(e.message),
        })
    }

    /// The float chain on the calibration input: the one that the verifier gives, or else
    /// the claim's own, which is what `full-run` calibrates with.
    fn floats(&self) -> Result<&[Tensors]> {
        let made = self.floats.get_or_init(|| {
            let dir = self.scratch.join("calibration");
            std::fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, &e))?;
            let samples = match &self.options.calibration {
                Some(path) => read_all(std::slice::from_ref(path), &self.model.inputs)?,
                None => {
                    let held = self
                        .claims
                        .pick(&self.model.inputs)
                        .map_err(Error::failed)?;
                    vec![chain::read(&held)?]
                }
            };
            let all: Vec<usize> = (0..self.model.slices.len()).collect();
            float_chains(self.session, self.store, &samples, &all, &dir)
        });
        made.as_ref().map(Vec::as_slice).map_err(Clone::clone)
    }
}

/// The first artefact that one side has and the other has not.
fn difference<'a>(used: &'a [ReceiptFile], fresh: &'a [ReceiptFile]) -> Option<&'a str> {
    used.iter()
        .find(|f| !fresh.contains(f))
        .or_else(|| fresh.iter().find(|f| !used.contains(f)))
        .map(|f| f.name.as_str())
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
