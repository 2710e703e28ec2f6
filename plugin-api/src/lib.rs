//! What the author of a DSperse backend depends on.
//!
//! A backend is a proof system (or a plain executor) in one shared library,
//! `libdsperse_backend_<name>.so`. Anybody can ship one without rebuilding DSperse, and it
//! keeps working with later versions. `docs/plugin-authors.md` is the guide in plain
//! words; this page is its short form for authors in Rust.
//!
//! # Writing a backend
//!
//! 1. Start from the template: `dsperse plugin new mine` writes a crate of under sixty
//!    lines that works (module [`template`]). Its library is named
//!    `dsperse_backend_mine`, of type `cdylib`.
//! 2. Say what you are: [`Backend::describe`] returns a [`Descriptor`] with name, version,
//!    licence and [`Capabilities`]. Hosts decide by capabilities, never by names, so claim
//!    nothing that you don't do.
//! 3. Say what you can take: [`Backend::supports`] reads the slice's ONNX file and answers
//!    [`Support::Yes`] with a cost, or [`Support::No`] with the node, its operator and the
//!    reason. Better a no here than a failure in `compile`.
//! 4. Prepare: [`Backend::compile`] writes circuit and keys below [`Cx::dir`] and declares
//!    each file as an [`Artefact`] with its [`Role`]. The role decides who ever sees it: a
//!    verifier's backend gets `verifying` ones only.
//! 5. Run: [`Backend::witness`] computes the slice's outputs from its inputs. Inputs may be
//!    fixed point ([`Encoding::Fixed`]) when an earlier slice was proven; [`Values`] has
//!    the roundings that everybody uses.
//! 6. Prove: [`Backend::prove`] makes the proof, an artefact with the role `verifying`. An
//!    executor leaves this method out.
//! 7. Judge: [`Backend::verify`] decides from the proof's own public values whether they
//!    are those of the claim. Whatever is wrong with proof, key or claim is
//!    [`Verdict::Invalid`]; an `Err` means that no verdict could be reached.
//! 8. Fail well: the [`ErrorKind`] decides what the host does next. `unsupported` and
//!    `tool_missing` make it try the next backend; `invalid_input` stops it.
//! 9. Export the type with [`export_backend!`], and test it with the same checks that
//!    `dsperse plugin test` runs: see [`conformance`].
//!
//! Long work calls [`Cx::check_cancelled`] between steps and keeps to [`Cx::threads`];
//! `tracing` events become log lines of the host. External programs are run with
//! [`tool`]. A panic costs one slice, not the run.
//!
//! ```
//! use dsperse_plugin_api::*;
//!
//! struct Nothing;
//!
//! impl Backend for Nothing {
//!     fn describe() -> Descriptor {
//!         let mut d = Descriptor::new("nothing", "0.1.0", "Takes no slice at all.");
//!         d.licence = "MIT".into();
//!         d.capabilities.stages = vec![Stage::Compile, Stage::Witness, Stage::Recompute];
//!         d
//!     }
//!     fn open(_: &Cx) -> Result<Self> {
//!         Ok(Self)
//!     }
//!     fn supports(&self, _: &SupportsJob, _: &Cx) -> Result<Support> {
//!         Ok(Support::No { node: None, op: None, reason: "it is only an example".into() })
//!     }
//!     fn compile(&self, _: &CompileJob, _: &Cx) -> Result<Done> {
//!         Err(Error::unsupported("it is only an example"))
//!     }
//!     fn witness(&self, _: &WitnessJob, _: &Cx) -> Result<Done> {
//!         Err(Error::unsupported("it is only an example"))
//!     }
//!     fn verify(&self, _: &VerifyJob, _: &Cx) -> Result<Verdict> {
//!         Ok(Verdict::invalid("nothing was ever proven"))
//!     }
//! }
//!
//! export_backend!(Nothing);
//! # fn main() {
//! use dsperse_plugin_api::conformance::{InProcess, run, samples};
//! let report = run(&InProcess::of::<Nothing>(), &samples::all());
//! assert!(report.passed(), "{report}");
//! # }
//! ```
//!
//! # The modules
//!
//! In the order in which a newcomer meets them:
//!
//! - [`backend`]: the trait, and what each operation receives and returns;
//! - [`job`]: the documents of each operation: slices, tensors, artefacts;
//! - [`descriptor`]: what a backend says of itself: version, capabilities, options;
//! - [`error`]: error kinds, each of which makes the host do something different;
//! - [`context`]: the job's directory, progress, log events and cancellation;
//! - [`tensor`] and [`values`]: tensor files, and the roundings between their encodings;
//! - [`tool`]: external programs with cancellation and bounded output;
//! - [`conformance`] and [`template`]: the checks, and the crate to start from;
//! - [`abi`]: the binary interface, for hosts and for authors in other languages.
//!
//! Without the feature `abi`, as on WebAssembly, there are the documents, the trait and the versions only.

pub mod abi;
pub mod backend;
#[cfg(feature = "abi")]
pub mod conformance;
pub mod context;
pub mod descriptor;
pub mod error;
#[cfg(feature = "abi")]
mod export;
pub mod job;
#[cfg(feature = "abi")]
#[doc(hidden)]
pub mod shim;
#[cfg(feature = "abi")]
pub mod template;
pub mod tensor;
#[cfg(feature = "abi")]
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
pub use values::{Number, Values};
