//! Opens a library and calls its two functions. All that is unsafe about plugins is here.
//!
//! Loading runs the library's constructors, so only a worker does it (or a host that was
//! told `--isolation none`). A library is never closed: threads, exit handlers and
//! thread-local destructors of plugins point into it.

use crate::discovery::SkipKind;
use dsperse_plugin_api::abi::{
    C_SYMBOL, Functions, HostV1, RawReply, ReplyError, STABLE_SYMBOL, c, stable,
};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::error::Error as _;
use std::ffi::c_void;
use std::path::Path;

/// The two functions of a library that stays loaded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loaded {
    functions: Functions,
}

/// What is known after loading.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// Plugin API version that the library was built for, as its door says.
    pub(crate) api: semver::Version,
    /// `abi_stable` or `C`.
    pub(crate) door: &'static str,
}

/// Why a library can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) kind: SkipKind,
    pub(crate) reason: String,
}

/// Loads a library and opens one of its doors.
pub(crate) fn load(path: &Path) -> Result<(Loaded, Facts), Refused> {
    // Lazy binding would turn an undefined symbol into an exit in the middle of a call;
    // global symbols would let plugins disturb each other.
    // SAFETY: this runs foreign constructors, which is the purpose of the worker.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    let library = library.map_err(|error| Refused {
        kind: SkipKind::LoadFailed,
        reason: format!("it can't be loaded: {}", dl_text(&error, path)),
    })?;
    // Never closed, whatever comes next.
    let library: &'static Library = Box::leak(Box::new(library));

    let stable = symbol(library, STABLE_SYMBOL).map(|address| {
        // SAFETY: the address of that symbol, in a library that stays loaded.
        unsafe { stable::open(address) }.map(|(functions, api)| (functions, api, "abi_stable"))
    });
    if let Some(Ok(found)) = stable {
        return Ok(with_facts(found));
    }
    // A library may have been built with another abi_stable: its C door still opens.
    let plain = symbol(library, C_SYMBOL).map(|address| {
        // SAFETY: as above.
        unsafe { c::open(address) }.map(|(functions, api)| (functions, api, "C"))
    });
    match (plain, stable) {
        (Some(Ok(found)), _) => Ok(with_facts(found)),
        (Some(Err(reason)), _) | (None, Some(Err(reason))) => Err(Refused {
            kind: SkipKind::IncompatibleVersion,
            reason,
        }),
        (None, _) => Err(Refused {
            kind: SkipKind::NotAPlugin,
            reason: no_door(),
        }),
    }
}

/// The reason for a library without doors.
pub(crate) fn no_door() -> String {
    "it is a shared library, but no DSperse plugin: it exports neither \
     \"dsperse_backend_v1\" nor an abi_stable root module"
        .into()
}

fn with_facts(
    (functions, api, door): (Functions, semver::Version, &'static str),
) -> (Loaded, Facts) {
    (Loaded { functions }, Facts { api, door })
}

fn symbol(library: &'static Library, name: &[u8]) -> Option<*const c_void> {
    // SAFETY: only the address is taken; its type is the business of the doors.
    let symbol = unsafe { library.get::<*const c_void>(name) }.ok()?;
    let address = symbol.as_raw_ptr().cast_const();
    (!address.is_null()).then_some(address)
}

/// What the dynamic loader said; libloading keeps it in `source`.
fn dl_text(error: &libloading::Error, path: &Path) -> String {
    let text = error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string);
    // The loader puts the path in front, which the reader knows already.
    let prefix = format!("{}: ", path.display());
    text.strip_prefix(&prefix).unwrap_or(&text).to_owned()
}

impl Loaded {
    /// Asks for the descriptor document.
    pub(crate) fn describe(&self, limit: usize) -> Result<RawReply, ReplyError> {
        // SAFETY: the library stays loaded, and that it keeps the contract is all one can
        // ask: the worker is what protects the host if it doesn't.
        unsafe { self.functions.describe(limit) }
    }

    /// Runs an operation.
    ///
    /// # Safety
    /// As [`Functions::call`]: `host` must be valid until this returns.
    pub(crate) unsafe fn call(
        &self,
        op: &str,
        request: &[u8],
        host: *const HostV1,
        limit: usize,
    ) -> Result<RawReply, ReplyError> {
        // SAFETY: the caller vouches for `host`; for the rest see `describe`.
        unsafe { self.functions.call(op, request, host, limit) }
    }
}

/// Events and cancellation of one call, behind the pointer that a plugin gets.
pub(crate) mod bridge {
    use super::Loaded;
    use crate::CallEvent;
    use dsperse_plugin_api::abi::{
        ByteView, EventKind, HostV1, LogEvent, PanicEvent, ProgressEvent, RawReply, ReplyError,
    };
    use std::ffi::c_void;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Where a plugin's events go. Leaked, because stray threads of a plugin may go on
    /// calling after their call has returned.
    pub(crate) struct Bridge {
        cancelled: AtomicU32,
        sink: Box<dyn Fn(CallEvent) + Send + Sync>,
    }

    impl Bridge {
        pub(crate) fn leak(sink: Box<dyn Fn(CallEvent) + Send + Sync>) -> &'static Self {
            Box::leak(Box::new(Self {
                cancelled: AtomicU32::new(0),
                sink,
            }))
        }

        /// Sets or clears the flag that the plugin polls.
        pub(crate) fn set_cancelled(&self, cancelled: bool) {
            self.cancelled
                .store(u32::from(cancelled), Ordering::Release);
        }

        /// Runs an operation with this bridge as its host.
        pub(crate) fn call(
            &'static self,
            loaded: &Loaded,
            op: &str,
            request: &[u8],
            limit: usize,
        ) -> Result<RawReply, ReplyError> {
            let host: &'static HostV1 = Box::leak(Box::new(HostV1 {
                struct_size: size_of::<HostV1>(),
                context: std::ptr::from_ref(self).cast_mut().cast::<c_void>(),
                event: Some(event),
                cancelled: &raw const self.cancelled,
            }));
            // SAFETY: `host` and everything it points to is never freed, and `event` may
            // be called from any thread.
            unsafe { loaded.call(op, request, host, limit) }
        }
    }

    unsafe extern "C" fn event(context: *mut c_void, kind: u32, payload: ByteView) {
        // SAFETY: the context is the leaked bridge of `Bridge::call`.
        let Some(bridge) = (unsafe { context.cast::<Bridge>().as_ref() }) else {
            return;
        };
        // SAFETY: the plugin lends the payload for the time of this call.
        let Some(bytes) = (unsafe { payload.bytes() }) else {
            return;
        };
        if let Some(event) = decode(kind, bytes) {
            (bridge.sink)(event);
        }
    }

    /// Longest text of an event that is passed on.
    const MAX_TEXT: usize = 64 << 10;

    /// Events of unknown kinds are for later hosts; unreadable ones are not worth a word.
    fn decode(kind: u32, bytes: &[u8]) -> Option<CallEvent> {
        if bytes.len() > MAX_TEXT {
            return None;
        }
        Some(match EventKind::from_u32(kind)? {
            EventKind::Log => {
                let log: LogEvent = serde_json::from_slice(bytes).ok()?;
                CallEvent::Log {
                    level: log.level,
                    message: log.message,
                }
            }
            EventKind::Progress => {
                let progress: ProgressEvent = serde_json::from_slice(bytes).ok()?;
                CallEvent::Progress {
                    fraction: progress.fraction.clamp(0.0, 1.0),
                    step: progress.step,
                }
            }
            EventKind::Panic => {
                let panic: PanicEvent = serde_json::from_slice(bytes).ok()?;
                let mut message = panic.message;
                if !panic.place.is_empty() {
                    message = format!("{message} (at {})", panic.place);
                }
                if !panic.thread.is_empty() {
                    message = format!("{message} (thread \"{}\")", panic.thread);
                }
                CallEvent::Panic { message }
            }
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn events_are_decoded_and_unknown_ones_ignored() {
            assert_eq!(
                decode(2, br#"{"fraction":7,"step":"fold"}"#),
                Some(CallEvent::Progress {
                    fraction: 1.0,
                    step: "fold".into()
                })
            );
            assert_eq!(
                decode(3, br#"{"message":"boom","place":"a.rs:1:2"}"#),
                Some(CallEvent::Panic {
                    message: "boom (at a.rs:1:2)".into()
                })
            );
            assert_eq!(decode(9, b"{}"), None);
            assert_eq!(decode(1, b"junk"), None);
        }
    }
}
