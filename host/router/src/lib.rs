//! Decides which backend handles which slice: backend spec grammar, fallback chains and policies.
