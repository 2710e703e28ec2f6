//! Panics: the plugin's own hook reports message and place to the host of the running
//! call at the moment it happens, whichever thread it is in; a panic of the calling
//! thread also becomes the call's error.
//!
//! The hook is a static of the plugin (its standard library is its own), so it never
//! disturbs the host's.

use super::host::LentHost;
use super::panic_error;
use crate::Error;
use crate::abi::{EventKind, PanicEvent};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::panic::PanicHookInfo;
use std::sync::{Once, PoisonError, RwLock};

/// The calls that run in this library now. Threads that a backend starts report to the
/// newest one; a worker runs one call at a time, so this is exact there.
static RUNNING: RwLock<Vec<(u64, LentHost)>> = RwLock::new(Vec::new());
static INSTALL: Once = Once::new();

thread_local! {
    /// The call that this thread serves.
    static MINE: Cell<Option<u64>> = const { Cell::new(None) };
    /// Place of this thread's last panic.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Set while this thread sends an event: what the host does in its callback must not
    /// come back here as another event.
    static SENDING: Cell<bool> = const { Cell::new(false) };
}

/// Ends the watch of a call; afterwards nothing sends to its host.
pub(super) struct Watch<'a> {
    id: u64,
    before: Option<u64>,
    host: PhantomData<&'a LentHost>,
}

/// Registers the host of a call that starts on this thread.
pub(super) fn watch(host: &LentHost) -> Watch<'_> {
    INSTALL.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| hook(info, &*before)));
    });
    let mut running = RUNNING.write().unwrap_or_else(PoisonError::into_inner);
    let id = running.iter().map(|(id, _)| id + 1).max().unwrap_or(0);
    running.push((id, *host));
    Watch {
        id,
        before: MINE.replace(Some(id)),
        host: PhantomData,
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        MINE.set(self.before);
        // Waits for events that other threads are just sending, so the host may go
        // away once this call has returned.
        RUNNING
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(id, _)| *id != self.id);
    }
}

/// Lets `send` use the host of this thread's call, or the newest call when the thread
/// serves none. Returns false when nobody listens.
pub(super) fn with_host(send: impl FnOnce(&LentHost)) -> bool {
    if SENDING.replace(true) {
        return false;
    }
    let running = RUNNING.read().unwrap_or_else(PoisonError::into_inner);
    let host = MINE
        .get()
        .and_then(|mine| running.iter().find(|(id, _)| *id == mine))
        .or_else(|| running.last())
        .map(|(_, host)| host)
        .filter(|host| host.listens());
    if let Some(host) = host {
        send(host);
    }
    let sent = host.is_some();
    drop(running);
    SENDING.set(false);
    sent
}

fn hook(info: &PanicHookInfo<'_>, before: &dyn Fn(&PanicHookInfo<'_>)) {
    let place = info.location().map(ToString::to_string);
    // try_with: a panic may come while the thread's statics are being torn down.
    let _ = PLACE.try_with(|slot| slot.replace(place.clone()));
    let sent = with_host(|host| {
        host.send(
            EventKind::Panic,
            &PanicEvent {
                message: message(info.payload()).to_owned(),
                place: place.unwrap_or_default(),
                thread: std::thread::current().name().unwrap_or("").to_owned(),
            },
        );
    });
    if !sent {
        before(info);
    }
}

/// The error for a panic that was caught on this thread.
#[allow(clippy::needless_pass_by_value)] // takes the payload that catch_unwind gave away
pub(super) fn error(payload: Box<dyn Any + Send>) -> Error {
    let place = PLACE.take();
    let error = panic_error(message(&*payload), place.as_deref());
    // Dropping a payload of an author's own type may panic again.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(payload)));
    error
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("the panic carries no text")
}
