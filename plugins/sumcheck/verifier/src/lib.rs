//! The verifier of the sumcheck backend: integer program, transcript, checks. Compiles without the prover.

pub mod eval;
pub mod program;
pub mod validate;
pub mod wire;
