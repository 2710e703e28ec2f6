//! The host of one call, as the backend sees it.

use crate::abi::{ByteView, EventKind, HostV1, LogEvent, ProgressEvent};
use crate::context::{Host, Level};
use serde::Serialize;
use std::ffi::c_void;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU32, Ordering};

type Event = unsafe extern "C" fn(*mut c_void, u32, ByteView);

/// What a host lent for one call, copied out of its struct.
#[derive(Clone, Copy)]
pub(super) struct LentHost {
    context: *mut c_void,
    event: Option<Event>,
    cancelled: *const AtomicU32,
}

// SAFETY: the contract of `HostV1` lets any thread call `event` and read `cancelled`
// while the call runs; `LentHost` does not outlive it (see `panics::watch`).
unsafe impl Send for LentHost {}
// SAFETY: as above.
unsafe impl Sync for LentHost {}

impl LentHost {
    /// Reads the fields that the host's struct has.
    ///
    /// # Safety
    /// `host` must be null, or valid for as long as the value is used.
    pub(super) unsafe fn new(host: *const HostV1) -> Self {
        let mut lent = Self {
            context: std::ptr::null_mut(),
            event: None,
            cancelled: std::ptr::null(),
        };
        if host.is_null() {
            return lent;
        }
        // SAFETY: the struct starts with its size, and a field is read only when covered.
        unsafe {
            let size = (&raw const (*host).struct_size).read();
            if size >= offset_of!(HostV1, event) + size_of::<Option<Event>>() {
                lent.context = (&raw const (*host).context).read();
                lent.event = (&raw const (*host).event).read();
            }
            if size >= offset_of!(HostV1, cancelled) + size_of::<*const AtomicU32>() {
                lent.cancelled = (&raw const (*host).cancelled).read();
            }
        }
        lent
    }

    /// Whether anybody listens.
    pub(super) fn listens(&self) -> bool {
        self.event.is_some()
    }

    /// Sends an event. Failing to write it is not worth failing the call.
    pub(super) fn send(&self, kind: EventKind, payload: &impl Serialize) {
        let Some(event) = self.event else { return };
        if let Ok(bytes) = serde_json::to_vec(payload) {
            // SAFETY: the callback and its context are valid during the call.
            unsafe { event(self.context, kind as u32, ByteView::of(&bytes)) };
        }
    }
}

impl Host for LentHost {
    fn log(&self, level: Level, message: &str) {
        self.send(
            EventKind::Log,
            &LogEvent {
                level,
                target: String::new(),
                message: message.to_owned(),
            },
        );
    }

    fn progress(&self, fraction: f64, step: &str) {
        // JSON has no NaN; a fraction outside the range would only confuse a display.
        let fraction = if fraction.is_nan() {
            0.0
        } else {
            fraction.clamp(0.0, 1.0)
        };
        self.send(
            EventKind::Progress,
            &ProgressEvent {
                fraction,
                step: step.to_owned(),
            },
        );
    }

    fn cancelled(&self) -> bool {
        if self.cancelled.is_null() {
            return false;
        }
        // SAFETY: not null, and valid during the call by the contract of `HostV1`.
        unsafe { &*self.cancelled }.load(Ordering::Relaxed) != 0
    }
}
