//! The domain types of DSperse: slices, tensors, claims, verdicts and the documents on disk.
