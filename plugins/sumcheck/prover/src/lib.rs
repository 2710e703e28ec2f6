//! The prover of the sumcheck backend.
//!
//! 1. [`compile`] validates a program, chooses parameters and commits to its
//!    weights; [`ProvingKey::verifying_key`] is what the verifier needs.
//! 2. [`prove`] evaluates the program on public inputs and proves the result.
//! 3. `dsperse_sumcheck_verifier::verify` checks it.

mod backwards;
mod contract;
mod leaves;
mod lookup;
#[cfg(test)]
mod malicious;
mod memory;
mod prove;
mod runs;
mod sender;
mod stack;
mod sumcheck;
mod weight;
mod witness;
mod zero;

pub use memory::{Memory, memory};
pub use prove::{
    ProveError, ProvingKey, compile, compile_key, compile_with, lay_out, prove, prove_once,
};
