//! The `jstprove` backend: drives the programs of an installed JSTprove 2.1.0.
//!
//! JSTprove is not part of DSperse: it is found on the user's machine, and its licence is
//! the user's matter. The plugin does in Rust what JSTprove's Python layer does
//! (normalising the model, quantising at 2^18, writing the JSON documents), and calls the
//! two programs that do the work; where only the `jst` command is there, it uses that. It
//! also checks what they do not: see [`files`].
//!
//! - [`network`]: a slice in the form that JSTprove takes, and its JSON documents;
//! - [`normalise`]: from ONNX to that form, or why not;
//! - [`integer`]: the computation that the circuit checks;
//! - [`files`]: witness and proof files;
//! - [`tools`]: the two ways to JSTprove: [`programs`], or the [`command`] line, which is
//!   given the slice by [`explicit`];
//! - [`backend`]: the operations of the plugin.

pub mod backend;
pub mod command;
pub mod explicit;
pub mod files;
pub mod integer;
pub mod network;
pub mod normalise;
pub mod programs;
pub mod tools;

pub use backend::Jstprove;

dsperse_plugin_api::export_backend!(Jstprove);
