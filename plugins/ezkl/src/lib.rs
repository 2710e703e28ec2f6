//! The ezkl backend of DSperse.
