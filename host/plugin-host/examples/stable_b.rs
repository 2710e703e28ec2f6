//! The twin of `stable_a`: another library with the same root module.
#![allow(clippy::duplicate_mod)]

#[path = "stable_a.rs"]
mod stable_a;
