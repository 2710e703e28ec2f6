//! Jobs on other machines.
//!
//! What brings a job to another machine is an engine that is there already. There is no scheduler, queue, heartbeat or transfer of ours. One thing is the same for all of
//! them, the seam: a directory that both sides see, and one hidden command, `dsperse job run`,
//! that carries out the job in it.
//!
//! Where is what decided?
//!
//! - [`document`]: what the two sides write for each other, and the exit codes;
//! - [`store`]: where in the shared directory that is, and how it is written there;
//! - [`node`]: the command's side: a job directory becomes a result;
//! - [`admit`]: what the coordinator believes of a result;
//! - [`policy`]: what follows from a job's end: again, elsewhere, with more memory, or never;
//! - [`remote`]: the coordinator's side, an [`dsperse_jobs::job::Executor`];
//! - [`engine`]: what every engine can do; [`process`], [`slurm`], [`ray`]:
//!   those that there are;
//! - [`settings`]: `[executor]` of `dsperse.toml`.

pub mod admit;
pub mod document;
pub mod engine;
pub mod node;
pub mod policy;
pub mod process;
pub mod ray;
pub mod remote;
pub mod settings;
pub mod slurm;
pub mod store;

pub use engine::Engine;
pub use remote::RemoteExecutor;
pub use settings::{Kind, Settings};
