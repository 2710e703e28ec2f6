//! The files on disk: slice directories, .dslice and .dsperse bundles, the tensor store, atomic writes and locks.
//!
//! Two promises hold for everything here. A crash or `kill -9` at any moment leaves the
//! old state or the new one, and the next command picks up from there. And what is read
//! was made by somebody else: names, sizes, digests and archives are checked before use.
//!
//! A newcomer's order:
//!
//! - [`location`]: which slices a path argument means, and the three shapes;
//! - [`store`] and [`edit`]: [`SliceStore`], slices of any shape as real files;
//! - [`create`] and [`convert`](mod@convert), over `export`: new slices, and from one shape to another;
//! - [`run_dir`], [`tensors`], [`output`]: a run, its values, and their JSON
//!   views;
//! - [`packed`]: slices and a run for a verifier, in one file;
//! - [`input`]: what users give as model input;
//! - [`atomic`], `transaction`, [`mod@lock`], [`dsperse_archive`], `pack`, [`paths`]: what all of
//!   these are built on.

pub mod atomic;
pub mod convert;
pub mod create;
mod digest;
pub mod edit;
mod error;
mod export;
pub mod input;
pub mod location;
pub mod lock;
mod mutex;
pub mod output;
mod pack;
pub mod packed;
pub mod paths;
mod recovery;
pub mod run_dir;
pub mod store;
pub mod tensors;
mod transaction;

#[cfg(test)]
mod archive_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod input_tests;
#[cfg(test)]
mod lock_tests;
#[cfg(test)]
mod run_dir_tests;
#[cfg(test)]
mod store_tests;

pub use convert::{ConvertOptions, Converted, convert, remove_slices};
pub use create::{Created, NewSlices};
pub use digest::{copy_hashing, file_digest, known_digest};
pub use dsperse_archive::Limits;
pub use dsperse_tensor::{Number, Tensor};
pub use error::{BundleError, ConvertRefusal, Result};
pub use input::{Fixed, InputError, Sample, input_shapes, read_inputs, read_outputs, read_samples};
pub use location::{Kind, Location, Shape, output_path, resolve};
pub use lock::{Lock, LockMode};
pub use mutex::lock;
pub use output::{Direction, write_json, write_json_line};
pub use run_dir::{RunDir, StageFiles, find_runs};
pub use store::{Access, SliceStore};
pub use tensors::{NewTensor, TensorData, TensorStore};
