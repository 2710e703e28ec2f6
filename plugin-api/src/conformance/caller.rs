//! How the checks reach a backend.

use crate::abi::{Functions, HostV1, Manifest, RawReply};
use crate::job::Options;
use crate::{Backend, Error, Result};
use serde_json::Value;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Passes bytes to a plugin's two functions. A host implements it over its workers.
pub trait Caller {
    /// Calls `describe`.
    ///
    /// # Errors
    /// When nothing readable came back (a crash, a reply that is too large).
    fn describe(&self) -> Result<RawReply>;

    /// Calls `call` with an operation and a whole request document, as they are: the
    /// checks send wrong ones on purpose. `cancel_after` sets the cancellation flag after
    /// that time; zero sets it before the call starts.
    ///
    /// # Errors
    /// As [`Caller::describe`].
    fn call(&self, op: &str, request: &[u8], cancel_after: Option<Duration>) -> Result<RawReply>;

    /// The manifest of the library, where the caller knows the library's file.
    ///
    /// # Errors
    /// When there is one and it can't be read.
    fn manifest(&self) -> Result<Option<Manifest>> {
        Ok(None)
    }

    /// What calls so far left processes behind, a line for each; `None` when the caller can't
    /// tell.
    fn left_behind(&self) -> Option<Vec<String>> {
        None
    }
}

/// Puts options into every job on its way to a backend: what a backend needs to know of
/// the machine (where its tool lies, say) is not for the checks to know.
pub struct WithOptions<C> {
    /// The way to the backend.
    pub inner: C,
    /// The options of every job.
    pub options: Options,
}

impl<C: Caller> Caller for WithOptions<C> {
    fn describe(&self) -> Result<RawReply> {
        self.inner.describe()
    }

    fn call(&self, op: &str, request: &[u8], cancel_after: Option<Duration>) -> Result<RawReply> {
        // A request that can't be read goes on as it is: it is one of the checks.
        let document: Option<Value> = serde_json::from_slice(request).ok();
        let filled = document.and_then(|mut document| {
            let job = document.get_mut("job")?.as_object_mut()?;
            job.insert("options".into(), Value::Object(self.options.clone()));
            serde_json::to_vec(&document).ok()
        });
        let request = filled.as_deref().unwrap_or(request);
        self.inner.call(op, request, cancel_after)
    }

    fn manifest(&self) -> Result<Option<Manifest>> {
        self.inner.manifest()
    }

    fn left_behind(&self) -> Option<Vec<String>> {
        self.inner.left_behind()
    }
}

/// Calls a backend in this very process, without the protection of a worker: for tests of
/// one's own backend.
pub struct InProcess(Functions);

/// Largest reply that is read, in bytes.
const LIMIT: usize = 64 << 20;

impl InProcess {
    /// A backend of this crate.
    #[must_use]
    pub fn of<T: Backend>() -> Self {
        Self(Functions {
            describe: crate::shim::describe::<T>,
            call: crate::shim::call::<T>,
        })
    }

    /// The functions of a library.
    ///
    /// # Safety
    /// The library must stay loaded and keep the contract of [`crate::abi`].
    #[must_use]
    pub unsafe fn new(functions: Functions) -> Self {
        Self(functions)
    }
}

impl Caller for InProcess {
    fn describe(&self) -> Result<RawReply> {
        // SAFETY: the constructors vouch for the functions.
        let reply = unsafe { self.0.describe(LIMIT) };
        reply.map_err(|e| Error::internal(e.to_string()))
    }

    fn call(&self, op: &str, request: &[u8], cancel_after: Option<Duration>) -> Result<RawReply> {
        let flag = AtomicU32::new(u32::from(cancel_after == Some(Duration::ZERO)));
        let host = HostV1 {
            struct_size: size_of::<HostV1>(),
            context: std::ptr::null_mut(),
            event: None,
            cancelled: &raw const flag,
        };
        let reply = std::thread::scope(|scope| {
            let (done, waiting) = mpsc::channel::<()>();
            if let Some(after) = cancel_after {
                let flag = &flag;
                scope.spawn(move || {
                    // Ends at once when the call is over and `done` is dropped.
                    if waiting.recv_timeout(after) == Err(mpsc::RecvTimeoutError::Timeout) {
                        flag.store(1, Ordering::Relaxed);
                    }
                });
            }
            // SAFETY: the constructors vouch for the functions; host and flag outlive the call.
            let reply = unsafe { self.0.call(op, request, &raw const host, LIMIT) };
            drop(done);
            reply
        });
        reply.map_err(|e| Error::internal(e.to_string()))
    }
}
