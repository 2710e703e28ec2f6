//! The `ezkl` backend: drives the Python module of an installed EZKL 23.
//!
//! EZKL is not part of DSperse: it is found on the user's machine, and its licence is the
//! user's matter. The plugin fixes the scales so that slices link (13 bits everywhere, no
//! rebasing), decides from a proof's own public values, and protects the user from what is
//! known to go wrong; the modules say where.
//!
//! - [`driver`]: finding Python and the module, one process per operation;
//! - [`model`]: what EZKL can be asked to do, and the model in explicit form;
//! - [`srs`]: structured reference strings;
//! - [`prepare`]: settings, circuit, and the comparison with the float model;
//! - [`claim`]: public values and proof files;
//! - [`verdict`]: what decides whether a proof is valid;
//! - [`options`], [`files`]: what the user can set, and the files of a call;
//! - [`backend`]: the operations of the plugin.

pub mod backend;
pub mod claim;
pub mod driver;
pub mod files;
pub mod model;
pub mod options;
pub mod prepare;
pub mod srs;
pub mod verdict;

pub use backend::EzklBackend;

dsperse_plugin_api::export_backend!(EzklBackend);
