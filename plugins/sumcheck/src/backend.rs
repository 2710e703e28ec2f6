//! The backend: one method for each operation, the work is in the modules.

use crate::{compile, describe, prove, slice, verify};
use dsperse_plugin_api::{
    Backend, CompileJob, Cx, Descriptor, Done, Error, ProveJob, Result, Support, SupportsJob,
    Verdict, VerifyJob, WitnessJob,
};
use dsperse_sumcheck_reuse::release;

/// Runs a job's work on as many threads as the host grants it. Between jobs a worker takes no
/// more memory than the keys that it keeps.
fn on_threads<T: Send>(cx: &Cx, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let threads = rayon::ThreadPoolBuilder::new()
        .num_threads(cx.threads())
        .build()
        .map_err(|e| {
            Error::internal(format!(
                "{} threads could not be started: {e}",
                cx.threads()
            ))
            .with_hint("allow fewer threads")
        })?;
    let done = threads.install(work);
    release();
    done
}

/// The sumcheck backend. All that outlives a call are proving keys, which a verdict never
/// depends on.
pub struct SumcheckBackend;

impl Backend for SumcheckBackend {
    fn describe() -> Descriptor {
        describe::descriptor()
    }

    fn open(_cx: &Cx) -> Result<Self> {
        Ok(Self)
    }

    fn supports(&self, job: &SupportsJob, _cx: &Cx) -> Result<Support> {
        let support = slice::supports(&job.slice, &job.options);
        release();
        support
    }

    fn compile(&self, job: &CompileJob, cx: &Cx) -> Result<Done> {
        on_threads(cx, || compile::compile(job, cx))
    }

    fn witness(&self, job: &WitnessJob, cx: &Cx) -> Result<Done> {
        on_threads(cx, || prove::witness(job, cx))
    }

    fn prove(&self, job: &ProveJob, cx: &Cx) -> Result<Done> {
        on_threads(cx, || prove::prove(job, cx))
    }

    fn verify(&self, job: &VerifyJob, cx: &Cx) -> Result<Verdict> {
        on_threads(cx, || Ok(verify::verify(job)))
    }
}
