//! The jstprove backend of DSperse.
