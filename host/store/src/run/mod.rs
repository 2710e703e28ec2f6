//! A run: its record and files, its tensors, their JSON views, and what is packed of it.

pub mod input;
pub(crate) mod output;
pub mod packed;
pub(crate) mod run_dir;
pub(crate) mod tensors;

#[cfg(test)]
mod input_tests;
#[cfg(test)]
mod run_dir_tests;
