//! The sumcheck backend of DSperse.
