//! The trust kernel: the only place where the claim "this model, on this input, gave this
//! output" is judged.
//!
//! Nothing that the prover wrote is believed except proofs that a backend checks here.
//! From the run's record comes only where to look for proofs and of which backend they
//! are; claims are built from the tensors themselves, digests are those of the bytes, and a
//! word such as "success" in the record is never read.
//!
//! The kernel has no files, no processes and no command line, so that it runs wherever a
//! verifier is: in the program, and in a browser. It stands on two traits:
//!
//! - [`Evidence`]: where documents, artefacts and tensors come from;
//! - [`Checker`]: who checks one proof. What only a verifier with the model can do (compute
//!   a slice again, compile it again, run the float model) is [`Again`], which may say no.
//!
//! A verification is [begun](Verification::begin), asked for [each
//! slice](Verification::slice) in any order and from any thread, and
//! [concluded](Verification::conclude). Per slice (`slice`): a proof that a binding backend
//! accepts makes it `proven`; otherwise the slice is computed again (`recomputed`); if
//! neither is possible it is `unchecked`; whatever is wrong makes it `failed`, and a proof
//! that was found invalid is never healed by recomputation.
//!
//! `claims` builds what is claimed, `keys` asks whose keys the proofs are under,
//! [`closeness`](mod@fidelity) how far the output is from the float model's, and `receipt`
//! holds the result against an earlier one. [`memory`] is evidence that lies in memory.

mod checker;
mod claims;
mod closeness;
mod demands;
mod doubt;
mod evidence;
pub mod fidelity;
mod keys;
pub mod memory;
mod receipt;
mod slice;
#[cfg(test)]
mod tests;
mod verification;

pub use checker::{Again, Backend, Checked, Checker, CompiledAgain, Need, Question};
pub use demands::{AllowedBackend, Demands};
pub use evidence::{Defect, Evidence, File, Given, Held};
pub use verification::{Refused, Verification};
