//! The backend: one method for each operation, the work is in the modules.

use crate::{compile, describe, prove, slice, verify};
use dsperse_plugin_api::{
    Backend, CompileJob, Cx, Descriptor, Done, ProveJob, Result, Support, SupportsJob, Verdict,
    VerifyJob, WitnessJob,
};

/// The sumcheck backend. It keeps no state.
pub struct SumcheckBackend;

impl Backend for SumcheckBackend {
    fn describe() -> Descriptor {
        describe::descriptor()
    }

    fn open(_cx: &Cx) -> Result<Self> {
        Ok(Self)
    }

    fn supports(&self, job: &SupportsJob, _cx: &Cx) -> Result<Support> {
        slice::supports(&job.slice, &job.options)
    }

    fn compile(&self, job: &CompileJob, cx: &Cx) -> Result<Done> {
        compile::compile(job, cx)
    }

    fn witness(&self, job: &WitnessJob, cx: &Cx) -> Result<Done> {
        prove::witness(job, cx)
    }

    fn prove(&self, job: &ProveJob, cx: &Cx) -> Result<Done> {
        prove::prove(job, cx)
    }

    fn verify(&self, job: &VerifyJob, _cx: &Cx) -> Result<Verdict> {
        Ok(verify::verify(job))
    }
}
