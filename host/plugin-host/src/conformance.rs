//! The conformance kit's way to a plugin: every call in a worker, under the same limits as
//! in real life. `dsperse plugin test` is this and a few lines.

use crate::call::Call;
use crate::discovery::inspect;
use crate::engine::{DescribeError, Engine};
use crate::{Control, HostOptions};
use dsperse_plugin_api::abi::{Manifest, RawReply};
use dsperse_plugin_api::conformance::Caller;
use dsperse_plugin_api::{Error, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Calls one library, which need not be where plugins are looked for.
///
/// ```no_run
/// use dsperse_plugin_api::conformance::{run, samples};
/// use dsperse_plugin_host::{HostOptions, WorkerCaller};
///
/// let options = HostOptions::from_environment(&[]);
/// let report = run(&WorkerCaller::new("./libdsperse_backend_mine.so", &options), &samples::all());
/// println!("{report}");
/// ```
#[derive(Debug)]
pub struct WorkerCaller {
    engine: Engine,
    library: PathBuf,
    /// What calls left processes behind.
    leaks: Mutex<BTreeSet<String>>,
}

impl WorkerCaller {
    /// A caller of a library, with the isolation and the policy of the options.
    pub fn new(library: impl AsRef<Path>, options: &HostOptions) -> Self {
        // A relative path would mean something else to a worker's loader.
        let library = std::path::absolute(&library).unwrap_or_else(|_| library.as_ref().into());
        Self {
            engine: Engine::new(
                options.isolation,
                options.worker_program.as_deref(),
                &options.policy,
            ),
            library,
            leaks: Mutex::default(),
        }
    }
}

impl Caller for WorkerCaller {
    fn describe(&self) -> Result<RawReply> {
        let described = self.engine.describe(&self.library);
        described.map(|(raw, _door)| raw).map_err(|e| match e {
            DescribeError::Refused(refused) => Error::internal(refused.reason),
            DescribeError::Crashed(error) | DescribeError::Failed(error) => error,
        })
    }

    fn call(&self, op: &str, request: &[u8], cancel_after: Option<Duration>) -> Result<RawReply> {
        // The checks send requests that can't be read, and those name no directory.
        let document: Option<serde_json::Value> = serde_json::from_slice(request).ok();
        let dir = document.as_ref().and_then(|d| d.get("dir")?.as_str());
        let control = Control::new(dir.unwrap_or_default());
        if cancel_after == Some(Duration::ZERO) {
            control.cancel.cancel();
        }
        std::thread::scope(|scope| {
            let (done, waiting) = std::sync::mpsc::channel::<()>();
            if let Some(after) = cancel_after {
                let cancel = &control.cancel;
                scope.spawn(move || {
                    // Ends at once when the call is over and `done` is dropped.
                    if waiting.recv_timeout(after).is_err() {
                        cancel.cancel();
                    }
                });
            }
            let call = Call {
                op,
                request,
                control: &control,
                reuse: false,
            };
            let ran = self.engine.run(&self.library, "", &call);
            drop(done);
            if ran.left_behind > 0 {
                let mut leaks = self.leaks.lock().unwrap_or_else(PoisonError::into_inner);
                leaks.insert(format!("\"{op}\" left a process behind"));
            }
            ran.result
        })
    }

    fn manifest(&self) -> Result<Option<Manifest>> {
        inspect::manifest(&self.library).map_err(|refused| Error::internal(refused.reason))
    }

    fn left_behind(&self) -> Option<Vec<String>> {
        let leaks = self.leaks.lock().unwrap_or_else(PoisonError::into_inner);
        Some(leaks.iter().cloned().collect())
    }
}
