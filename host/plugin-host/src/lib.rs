//! Finds plugins, negotiates with them and runs every call in a worker process of its own.
//!
//! A backend is a shared library that somebody else wrote. This crate is the fence
//! around it: whatever a library does when it is loaded or called, the host sees a typed
//! answer or a typed error, no process is left behind, and the host itself lives on.
//! (It contains faults, not malice: a library runs with the user's own rights.)
//!
//! ```no_run
//! use dsperse_plugin_host::{Control, HostOptions, PluginHost, Request};
//! use dsperse_plugin_api::ProbeJob;
//!
//! // First thing in `main`: this program is also its own worker.
//! if dsperse_plugin_host::is_worker() {
//!     dsperse_plugin_host::worker_main();
//! }
//! let host = PluginHost::discover(HostOptions::from_environment(&[]));
//! for plugin in host.plugins() {
//!     println!("{} {}", plugin.descriptor.name, plugin.descriptor.version);
//! }
//! for skipped in host.skipped() {
//!     println!("{}: {}", skipped.path.display(), skipped.reason);
//! }
//! let dir = std::env::temp_dir().join("probe");
//! let outcome = host.call("onnx", Request::Probe(ProbeJob::default()), Control::new(dir));
//! println!("{:?} in {:.3} s", outcome.result, outcome.usage.seconds);
//! ```
//!
//! Where is what decided?
//!
//! - [`options`]: where plugins are looked for, and every limit and policy number;
//! - [`discovery`]: which files are candidates, and what can be told without running them;
//! - [`call`]: what a caller passes and gets back;
//! - `engine`: which worker runs a call (fresh, reused, or none: in-process);
//! - `client`: the host's end of a worker; `judge`: what the end of a call means;
//! - `worker`: the other end: supervisor and worker process;
//! - `loader`: opening a library, the one place with foreign function calls;
//! - `conformance`: the conformance kit's calls, through workers;
//! - `check`: what must be true of files that a plugin declares;
//! - `state`: quarantine and caches on disk.

pub mod call;
mod check;
mod client;
mod conformance;
pub mod discovery;
mod engine;
mod host;
mod judge;
mod loader;
pub mod options;
mod state;
mod sys;
mod usage;
mod worker;

pub use call::{
    CallEvent, CallOutcome, CallParts, CancelToken, Control, DEFAULT_ARTEFACTS, EventSink,
    OutputStream, Reply, Request,
};
pub use check::{Bounds as AnswerBounds, check_done, check_sizes, resolve};
pub use conformance::WorkerCaller;
pub use discovery::{Place, Plugin, SkipKind, Skipped, holds_libraries};
pub use host::PluginHost;
pub use judge::bytes as text_of_bytes;
pub use options::{HostOptions, Isolation, Policy, SearchPath, SearchSource, user_data_dir};
pub use worker::{WORKER_SUBCOMMAND, is_worker, worker_main};
