//! The trait that a backend implements.

use crate::{
    CompileJob, Cx, Descriptor, Done, Error, Probe, ProbeJob, ProveJob, Result, Support,
    SupportsJob, Verdict, VerifyJob, WitnessJob,
};

/// A proof system or executor.
///
/// One value is opened for each call, and every call runs in a process of its own unless
/// the descriptor says `reusable_worker`; nothing a method keeps in memory (a cache in a
/// static, say) may change what a later call returns. A panic is reported to the host as an internal
/// error of this call and costs one slice, not the run.
///
/// All files a method writes go below [`Cx::dir`], and each one that matters is
/// declared as an artefact in the returned [`Done`].
pub trait Backend: Sized {
    /// Name, version and capabilities. Pure: no files, tools, network or environment,
    /// and the same answer at every call; the host caches it by the library's digest.
    fn describe() -> Descriptor;

    /// Prepares the backend for one call. Keep it cheap.
    ///
    /// # Errors
    /// Any error is reported as the outcome of the operation that was asked for.
    fn open(cx: &Cx) -> Result<Self>;

    /// Tells whether the backend can work here: which external tools were found, in
    /// which version, and what the user can type to get those that are missing.
    ///
    /// # Errors
    /// Only when probing itself fails; a missing tool is a [`Probe`] that says so.
    fn probe(&self, job: &ProbeJob, cx: &Cx) -> Result<Probe> {
        let _ = (job, cx);
        Ok(Probe::ready())
    }

    /// Tells whether the backend can take this very slice, with a cost estimate, or
    /// which node it can't take and why.
    ///
    /// # Errors
    /// When the slice can't be read.
    fn supports(&self, job: &SupportsJob, cx: &Cx) -> Result<Support>;

    /// Turns a slice into a circuit: artefacts with their roles.
    ///
    /// # Errors
    /// `unsupported` and `resource` let the host try the next backend of the chain.
    fn compile(&self, job: &CompileJob, cx: &Cx) -> Result<Done>;

    /// Computes the slice on the job's inputs. Returns the output tensors (written
    /// below [`Cx::dir`]) and the witness as artefacts.
    ///
    /// # Errors
    /// See [`crate::ErrorKind`] for what the host makes of each kind.
    fn witness(&self, job: &WitnessJob, cx: &Cx) -> Result<Done>;

    /// Makes a proof from a witness.
    ///
    /// # Errors
    /// The default is `unsupported`: an executor proves nothing.
    fn prove(&self, job: &ProveJob, cx: &Cx) -> Result<Done> {
        let _ = (job, cx);
        Err(Error::unsupported("this backend makes no proofs"))
    }

    /// Judges a claim: the slice, its claimed inputs and its claimed outputs.
    ///
    /// A backend that proves decides from the proof's own public values; an executor
    /// recomputes. An invalid proof is [`Verdict::Invalid`], not an `Err`.
    ///
    /// # Errors
    /// Only when no verdict could be reached (missing tool, no memory, …).
    fn verify(&self, job: &VerifyJob, cx: &Cx) -> Result<Verdict>;
}
