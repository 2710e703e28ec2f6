//! The files on disk: slice directories, .dslice and .dsperse bundles, the tensor store, atomic writes and locks.
//!
//! Two promises hold for everything here. A crash or `kill -9` at any moment leaves the
//! old state or the new one, and the next command picks up from there. And what is read
//! was made by somebody else: names, sizes, digests and archives are checked before use.
//!
//! Three folders, each of which knows only those after it:
//!
//! - `run`: [`RunDir`] and its [`TensorStore`], what users give as model [`input`], JSON views of
//!   tensors, and slices with a run for a verifier in one file ([`packed`]);
//! - `slices`: which slices a path argument means ([`resolve`]), slices of any shape as real
//!   files ([`SliceStore`]), new ones ([`NewSlices`]), and from one shape to another
//!   ([`convert()`]);
//! - `files`: [`atomic`] writes, transactions of several files, [`Lock`]s, digests, [`paths`]
//!   that come from documents, and the writing of archives ([`dsperse_archive`] reads them).

mod files;
mod run;
mod slices;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod lock_tests;

pub use dsperse_archive::Limits;
pub use dsperse_tensor::{Number, Tensor};
pub use files::digest::{copy_hashing, file_digest, known_digest};
pub use files::error::{BundleError, ConvertRefusal, Result};
pub use files::lock::{Access, Lock};
pub use files::mutex::lock;
pub use files::{atomic, paths};
pub use run::input::{
    Fixed, InputError, Sample, input_shapes, read_inputs, read_outputs, read_samples,
};
pub use run::output::{Direction, write_json, write_json_line};
pub use run::run_dir::{RunDir, StageFiles, find_runs};
pub use run::tensors::{NewTensor, TensorData, TensorStore};
pub use run::{input, packed};
pub use slices::convert::{ConvertOptions, Converted, convert, remove_slices};
pub use slices::create::{Created, NewSlices};
pub use slices::location::{Kind, Location, Shape, output_path, resolve};
pub use slices::store::SliceStore;
