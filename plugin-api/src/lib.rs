//! What a plugin author depends on.
//!
//! A DSperse backend is a proof system (or a plain executor) in one shared library,
//! `libdsperse_backend_<name>.so`. To write one, implement [`Backend`] and name the
//! type in `export_backend!`; the macro produces the two doors through which any
//! host, older or newer, can call it. You never see the ABI itself.
//!
//! The modules, in the order in which a newcomer meets them:
//!
//! - [`backend`]: the trait, and what each operation receives and returns;
//! - [`job`]: the documents of each operation: slices, tensors, artefacts;
//! - [`descriptor`]: what a backend says of itself: version, capabilities, options;
//! - [`error`]: error kinds, each of which makes the host do something different;
//! - [`context`]: the job's directory, progress, log events and cancellation;
//! - [`tensor`]: tensor files: raw little-endian, with a shape and an encoding;

pub mod abi;
pub mod backend;
pub mod conformance;
pub mod context;
pub mod descriptor;
pub mod error;
mod export;
pub mod job;
#[doc(hidden)]
pub mod shim;
pub mod template;
pub mod tensor;
pub mod tool;
pub mod values;

pub use backend::Backend;
pub use context::{Cx, Level};
pub use descriptor::{
    API_VERSION, BindsPublicIo, Capabilities, Descriptor, OperatorSupport, OptionSpec,
    ProofProperties, Setup, Stage, ToolRequirement,
};
pub use error::{Error, ErrorKind, MissingTool, Result};
pub use job::{
    Artefact, ArtefactRef, CompileJob, Cost, Done, Probe, ProbeJob, ProveJob, Role, SliceInfo,
    Support, SupportsJob, ToolStatus, Verdict, VerifyJob, WitnessJob,
};
pub use tensor::{Encoding, TensorFile, TensorInfo};
pub use values::Values;
