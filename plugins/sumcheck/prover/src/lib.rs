//! The prover of the sumcheck backend.
