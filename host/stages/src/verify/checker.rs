//! Plugins in workers as the kernel's checker; and what is done over: slices computed and
//! compiled again, the float model.

use super::evidence::of_kernel;
use crate::ask;
use crate::attempt::Attempt;
use crate::backend::{FIDELITY_TARGET, Loaded, takes_target};
use crate::chain::{self, Tensors};
use crate::compile::{self, float_chains, read_tensors, samples_digest};
use crate::driver::Driver;
use crate::error::{Error, Result};
use crate::job::{FileRef, Files, Job, TensorRef, Work};
use crate::opened;
use dsperse_documents::setting::{ALLOW_SATURATION, CALIBRATION, EXPECT_KEYS, TOLERANCE};
use dsperse_documents::{Compilation, ModelMetadata, ReceiptFile, SliceMetadata};
use dsperse_plugin_api::{Role, Support};
use dsperse_store::Tensor;
use dsperse_verify::{Again, Backend, Checked, Checker, CompiledAgain, File, Held, Need, Question};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The plugins of a session.
pub(super) struct Plugins<'a> {
    driver: &'a Driver<'a>,
    model: &'a ModelMetadata,
    calibration: Option<&'a Path>,
    /// The float chain on the calibration input, for the first slice that needs it.
    floats: OnceLock<Result<Vec<Tensors>>>,
}

impl<'a> Plugins<'a> {
    pub(super) fn new(
        driver: &'a Driver<'a>,
        model: &'a ModelMetadata,
        calibration: Option<&'a Path>,
    ) -> Self {
        Self {
            driver,
            model,
            calibration,
            floats: OnceLock::new(),
        }
    }

    /// The backend with its options. The kernel asks only for those that it was given.
    fn loaded(&self, backend: &Backend<'_>) -> Result<Loaded<'_>> {
        let name = backend.name();
        let exact = format!("{name}@{}", backend.descriptor.version);
        let loaded = self.driver.session.loaded(&exact);
        loaded.ok_or_else(|| Error::backend(format!("backend \"{name}\" is not loaded")))
    }

    /// The float chain on the calibration input: the one that the verifier gives, or else
    /// the claim's own, which is what `full-run` calibrates with.
    fn floats(
        &self,
        claimed: std::result::Result<Vec<Held<PathBuf>>, String>,
    ) -> Result<&[Tensors]> {
        let made = self.floats.get_or_init(|| {
            let samples = match self.calibration {
                Some(path) => read_tensors(&[path.to_owned()], self.model)?,
                None => vec![read(&claimed.map_err(Error::failed)?)?],
            };
            self.float_chains(&samples, "calibration")
        });
        made.as_ref().map(Vec::as_slice).map_err(Clone::clone)
    }

    fn float_chains(&self, samples: &[Vec<Tensor>], name: &str) -> Result<Vec<Tensors>> {
        let dir = self.driver.scratch().join(name);
        std::fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, &e))?;
        let all: Vec<usize> = (0..self.model.slices.len()).collect();
        float_chains(self.driver.session, self.driver.store, samples, &all, &dir)
    }

    /// Compiles a slice as it was compiled; whether the calibration data are the same.
    fn compile_again(
        &self,
        backend: &Loaded<'_>,
        slice: &SliceMetadata,
        compilation: &Compilation,
        claimed: std::result::Result<Vec<Held<PathBuf>>, String>,
    ) -> Result<(Vec<ReceiptFile>, bool)> {
        let mut samples = [].as_slice();
        let mut same_calibration = true;
        if let Some(made_with) = &compilation.calibration_sha256 {
            samples = self.floats(claimed)?;
            same_calibration = samples_digest(samples, slice)? == *made_with;
        }
        let mut files = Files::default();
        let work = compile::compilation(samples, slice, &mut files)?;
        let (mut job, files) = opened::job(self.driver.store, slice, backend, work, files)?;
        // A slice may have had to come closer than its backend's options say.
        if let Some(f) = &compilation.fidelity
            && takes_target(backend.descriptor)
        {
            job.options
                .insert(FIDELITY_TARGET.to_owned(), f.target.into());
        }
        let how = Attempt::quiet(self.driver.scratch(), 1);
        let made = self.driver.session.attempt(&job, &files, how)?.done();
        let (done, _) = made
            .map_err(|e| Error::failed(format!("it could not be compiled again: {}", e.message)))?;
        let verifying = done.artefacts.into_iter();
        let files = verifying
            .filter(|a| a.role == Role::Verifying)
            .map(|a| ReceiptFile {
                name: a.name,
                sha256: a.sha256,
            });
        Ok((files.collect(), same_calibration))
    }
}

fn read(held: &[Held<PathBuf>]) -> Result<Vec<Tensor>> {
    held.iter().map(|h| of_kernel(h).read()).collect()
}

impl Checker<PathBuf> for Plugins<'_> {
    type Stop = Error;

    fn backend(&self, name: &str) -> Option<Backend<'_>> {
        self.driver.session.loaded(name).map(|b| to_kernel(&b))
    }

    fn check(&self, q: Question<'_, PathBuf>) -> Result<Checked> {
        let backend = self.loaded(&q.backend)?;
        let mut files = Files::default();
        let work = Work::Verify {
            circuit: attach(q.circuit, &mut files),
            proof: attach(q.proof, &mut files),
            inputs: attach_tensors(q.inputs, &mut files),
            outputs: attach_tensors(q.outputs, &mut files),
            tolerance: q.tolerance,
        };
        let mut job = Job::new(&backend, q.slice.slice_info(None), work);
        job.payload = q.payload.is_some();
        if let Some(path) = q.payload {
            files.insert(Files::PAYLOAD, &q.slice.payload.sha256, path);
        }
        let attempt = self.driver.attempt(&job, &files, 0)?;
        Ok(Checked {
            usage: attempt.usage,
            answer: attempt.verdict(),
        })
    }

    fn advice(&self, need: Need) -> Option<String> {
        let pin = || {
            format!("name the keys with {EXPECT_KEYS}, which whoever compiled the model can tell")
        };
        Some(match need {
            Need::Backend => "see \"dsperse plugin list\"".to_owned(),
            Need::Version => {
                "type \"dsperse compile\", \"dsperse run\" and \"dsperse prove\" again, or install that version of the backend".to_owned()
            }
            Need::Saturation => format!("compile with calibration inputs like this one; or accept such proofs when you verify, with {ALLOW_SATURATION}"),
            Need::Tolerance => format!("accept what is so close with {TOLERANCE}, or see why the proof could not be judged"),
            Need::Keys => pin(),
            Need::Calibration => format!(
                "it was compiled with other calibration data: give that input with {CALIBRATION}, or {}",
                pin()
            ),
        })
    }
}

impl Again<PathBuf> for Plugins<'_> {
    fn executor(&self) -> Option<Backend<'_>> {
        let executor = self.driver.session.float_executor().ok()?;
        Some(to_kernel(&executor))
    }

    /// An executor that only stands in for the configured one is asked first: without that,
    /// its "no" to a slice that it can't run would be a verdict.
    fn declines(&self, backend: &Backend<'_>, slice: &SliceMetadata) -> Result<Option<String>> {
        let name = backend.name();
        if name == self.driver.session.defaults.fallback {
            return Ok(None);
        }
        let loaded = self.loaded(backend)?;
        let info = slice.slice_info(None);
        let payload = opened::payload(self.driver.store, slice.index)?;
        let asked = ask::supports(
            self.driver.session,
            &loaded,
            info,
            &payload,
            self.driver.scratch(),
        )?;
        Ok(match asked {
            Ok(Support::Yes { .. }) => None,
            Ok(Support::No { reason, .. }) => Some(format!(
                "backend \"{name}\" can't compute it again: {reason}"
            )),
            Err(e) => Some(e.message),
        })
    }

    fn compile(
        &self,
        backend: &Backend<'_>,
        slice: &SliceMetadata,
        compilation: &Compilation,
        claimed: std::result::Result<Vec<Held<PathBuf>>, String>,
    ) -> Result<CompiledAgain> {
        let backend = self.loaded(backend)?;
        let made = self.compile_again(&backend, slice, compilation, claimed);
        self.driver.session.check_cancelled()?;
        Ok(match made {
            Ok((files, same_calibration)) => CompiledAgain::Made {
                files,
                same_calibration,
            },
            Err(e) => CompiledAgain::No(e.message),
        })
    }

    fn float_outputs(&self, inputs: &[Held<PathBuf>]) -> Result<Option<Vec<Tensor>>> {
        let here = |s: &usize| matches!(self.driver.store.payload(*s), Ok(Some(_)));
        if !(0..self.model.slices.len()).all(|i| here(&i)) {
            return Ok(None);
        }
        let made = read(inputs)
            .and_then(|inputs| self.float_chains(&[inputs], "fidelity"))
            .and_then(|made| {
                let made = made.first().cloned().unwrap_or_default();
                chain::read(&chain::pick(&made, &self.model.outputs)?)
            });
        self.driver.session.check_cancelled()?;
        Ok(match made {
            Ok(outputs) => Some(outputs),
            Err(e) => {
                tracing::info!("the float model could not be computed: {e}");
                None
            }
        })
    }
}

fn to_kernel<'a>(backend: &Loaded<'a>) -> Backend<'a> {
    Backend {
        descriptor: backend.descriptor,
        digest: backend.digest,
    }
}

fn attach(list: Vec<File<PathBuf>>, files: &mut Files) -> Vec<FileRef> {
    let attach = |file: File<PathBuf>| {
        files.insert(&file.name, &file.sha256, file.file);
        FileRef {
            name: file.name,
            role: file.role,
            sha256: file.sha256,
        }
    };
    list.into_iter().map(attach).collect()
}

fn attach_tensors(held: &[Held<PathBuf>], files: &mut Files) -> Vec<TensorRef> {
    let held: Vec<_> = held.iter().map(of_kernel).collect();
    chain::attach(&held, files)
}
