//! The verifier of the sumcheck backend: integer program, transcript, checks. Compiles without the prover.
