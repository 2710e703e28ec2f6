//! The verifier of the sumcheck backend, which compiles without the prover.
//!
//! 1. [`program`] defines the integer programs that are proven (what they compute is in
//!    `dsperse-sumcheck-evaluator`), [`validate`](mod@validate) which of them are acceptable.
//! 2. [`layout`] derives the proof system of a program: committed columns,
//!    lookups, equations.
//! 3. [`verify`](mod@verify) checks a proof; [`lookup`], [`zero`], [`nodes`]
//!    and [`commit`] are its parts, [`security`] its soundness. The protocol is described for reviewers in
//!    `docs/sumcheck-protocol.md`.

pub mod bytes;
pub mod claims;
pub mod commit;
pub mod encode;
pub mod fault;
pub mod hash;
pub mod key;
pub mod layout;
pub mod linear;
pub mod lookup;
pub mod mle;
pub mod nodes;
pub mod program;
pub mod proof;
pub mod security;
pub mod sponge;
pub mod transcript;
pub mod validate;
pub mod verify;
pub mod wide;
pub mod wire;
pub mod zero;

pub use verify::{Reject, verify};
