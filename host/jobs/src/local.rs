//! The executor of this machine: plugin workers, through the plugin host.

use crate::error::Error;
use crate::job::{Executor, FileRef, Files, Hint, Job, Outcome, TensorRef, Work};
use dsperse_documents::BackendError;
use dsperse_plugin_api::{
    ArtefactRef, CompileJob, ProveJob, SliceInfo, SupportsJob, TensorFile, VerifyJob, WitnessJob,
};
use dsperse_plugin_host::{Control, PluginHost, Request};
use dsperse_store::known_digest;
use std::path::Path;

/// What to do about a backend that wrote over what it was given.
const TOUCHED: &str = "a backend must not write over what it is given: see \"dsperse plugin list\" for where it is loaded from, and run again without it";

/// Runs jobs in workers on this machine. Every file of a job is compared with its digest
/// before a backend sees it, and so is the backend with the one that the job names.
pub struct LocalExecutor<'h> {
    host: &'h PluginHost,
}

impl<'h> LocalExecutor<'h> {
    /// An executor over the loaded plugins.
    #[must_use]
    pub fn new(host: &'h PluginHost) -> Self {
        Self { host }
    }

    /// A result is recorded under the version and digest that the job names, so no other
    /// library may make it.
    ///
    /// # Errors
    /// How the loaded backend differs from the one that the job names.
    pub fn same_backend(&self, job: &Job) -> Result<(), BackendError> {
        // The host says of a backend that is not there which ones are.
        let Some(here) = self.host.get(&job.backend) else {
            return Ok(());
        };
        let version = here.descriptor.version.to_string();
        match difference(job, &version, &here.digest, &here.path) {
            None => Ok(()),
            Some(difference) => Err(BackendError::internal(difference).with_hint(
                "install the same plugin on every machine, see \"dsperse plugin list\"",
            )),
        }
    }

    fn request(&self, job: &Job, files: &Files) -> Result<Request, BackendError> {
        let slice = self.slice(job, files)?;
        let artefacts = |list: &[FileRef]| -> Result<Vec<ArtefactRef>, BackendError> {
            list.iter().map(|f| self.artefact(f, files)).collect()
        };
        let tensors = |list: &[TensorRef]| -> Result<Vec<TensorFile>, BackendError> {
            list.iter().map(|t| self.tensor(t, files)).collect()
        };
        let samples = |list: &[Vec<TensorRef>]| -> Result<Vec<_>, BackendError> {
            list.iter().map(|s| tensors(s)).collect()
        };
        let options = job.options.clone();
        Ok(match &job.work {
            Work::Supports => Request::Supports(SupportsJob { slice, options }),
            Work::Compile {
                calibration,
                calibration_outputs,
            } => Request::Compile(CompileJob {
                slice,
                calibration: samples(calibration)?,
                calibration_outputs: samples(calibration_outputs)?,
                options,
            }),
            Work::Witness { circuit, inputs } => Request::Witness(WitnessJob {
                slice,
                circuit: artefacts(circuit)?,
                inputs: tensors(inputs)?,
                options,
            }),
            Work::Prove {
                circuit,
                witness,
                inputs,
                outputs,
            } => Request::Prove(ProveJob {
                slice,
                circuit: artefacts(circuit)?,
                witness: artefacts(witness)?,
                inputs: tensors(inputs)?,
                outputs: tensors(outputs)?,
                options,
            }),
            Work::Verify {
                circuit,
                proof,
                inputs,
                outputs,
                tolerance,
            } => Request::Verify(VerifyJob {
                slice,
                circuit: artefacts(circuit)?,
                proof: artefacts(proof)?,
                inputs: tensors(inputs)?,
                outputs: tensors(outputs)?,
                tolerance: *tolerance,
                options,
            }),
        })
    }

    fn slice(&self, job: &Job, files: &Files) -> Result<SliceInfo, BackendError> {
        let mut slice = job.slice.clone();
        if job.payload {
            let path = self.checked(Files::PAYLOAD, &slice.sha256, files)?;
            slice.model = Some(path);
        }
        Ok(slice)
    }

    fn artefact(&self, file: &FileRef, files: &Files) -> Result<ArtefactRef, BackendError> {
        Ok(ArtefactRef {
            name: file.name.clone(),
            role: file.role,
            path: self.checked(&file.name, &file.sha256, files)?,
            sha256: file.sha256.clone(),
        })
    }

    fn tensor(&self, tensor: &TensorRef, files: &Files) -> Result<TensorFile, BackendError> {
        Ok(TensorFile {
            info: tensor.info.clone(),
            path: self.checked(&tensor.info.name, &tensor.sha256, files)?,
            sha256: tensor.sha256.clone(),
        })
    }

    /// The absolute path of a file whose bytes have the digest.
    fn checked(&self, name: &str, sha256: &str, files: &Files) -> Result<String, BackendError> {
        let path = files.get(name, sha256).ok_or_else(|| {
            BackendError::invalid_input(format!("the file \"{name}\" of this slice is missing"))
        })?;
        let path = std::path::absolute(path)?;
        let (_, found) = known_digest(&path)
            .map_err(|e| BackendError::invalid_input(format!("can't read \"{name}\": {e}")))?;
        if found != sha256 {
            return Err(BackendError::invalid_input(format!(
                "the file of \"{name}\" was changed: expected SHA-256 {sha256}, found {found}"
            )));
        }
        path.into_os_string().into_string().map_err(|p| {
            BackendError::invalid_input(format!(
                "the path \"{}\" is not valid UTF-8, which backends can't take",
                p.to_string_lossy()
            ))
            .with_hint("move the slices to a directory with a plain name")
        })
    }
}

/// How a loaded backend differs from the one that a job names.
fn difference(job: &Job, version: &str, digest: &str, library: &Path) -> Option<String> {
    let name = &job.backend;
    if job.backend_version != version {
        let wanted = &job.backend_version;
        return Some(format!(
            "the job wants backend \"{name}\" {wanted}, loaded is {version}"
        ));
    }
    (job.plugin_sha256 != digest).then(|| {
        format!(
            "the job wants another library of backend \"{name}\" than \"{}\": expected SHA-256 {}, found {digest}",
            library.display(),
            job.plugin_sha256
        )
    })
}

impl Executor for LocalExecutor<'_> {
    fn execute(
        &self,
        job: &Job,
        files: &Files,
        control: &Control,
        _: Hint,
    ) -> Result<Outcome, Error> {
        let prepared = self
            .same_backend(job)
            .and_then(|()| self.request(job, files));
        let request = match prepared {
            Ok(request) => request,
            Err(e) => return Ok(Outcome::error(e)),
        };
        let call = self.host.call(&job.backend, request, control.clone());
        if !call.log_tail.is_empty() {
            tracing::debug!(
                backend = job.backend,
                slice = job.slice.index,
                "{}",
                call.log_tail
            );
        }
        // A job only reads what it was given. What it wrote over would be noticed by `verify`
        // alone, after all the work.
        let untouched = |reply| match self.request(job, files) {
            Ok(_) => Ok(reply),
            Err(e) => Err(BackendError::internal(format!(
                "while backend \"{}\" worked, {}",
                job.backend, e.message
            ))
            .with_hint(TOUCHED)),
        };
        let result = call.result.and_then(untouched);
        Ok(Outcome::here(result, call.usage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Loaded;
    use dsperse_plugin_api::{Descriptor, job::Options};

    #[test]
    fn another_version_and_another_library_are_told_apart_from_the_same() {
        let descriptor = Descriptor::new("a", "1.2.3", "a backend");
        let options = Options::new();
        let backend = Loaded {
            key: "a",
            descriptor: &descriptor,
            digest: "d1",
            options: &options,
        };
        let slice = SliceInfo {
            index: 0,
            model: None,
            sha256: "s".into(),
            model_sha256: "m".into(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        let job = Job::new(&backend, slice, Work::Supports);
        let told =
            |version: &str, digest: &str| difference(&job, version, digest, Path::new("a.so"));
        assert_eq!(told("1.2.3", "d1"), None);
        let version = told("1.2.4", "d1").unwrap_or_default();
        assert!(
            version.contains("\"a\" 1.2.3, loaded is 1.2.4"),
            "{version}"
        );
        let library = told("1.2.3", "d2").unwrap_or_default();
        assert!(
            library.contains("expected SHA-256 d1, found d2"),
            "{library}"
        );
    }
}
