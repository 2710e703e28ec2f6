//! Forwards the plugin's `tracing` events to the host as log lines.
//!
//! `tracing` keeps its subscriber in a static, and a plugin has its own copy of that
//! static: without this module nobody would hear its events. Spans are accepted and not
//! shown; the host names backend, slice and stage itself.

use super::panics::with_host;
use crate::abi::{EventKind, LogEvent};
use crate::context::Level;
use std::fmt::{Debug, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicU8, Ordering};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

static INSTALL: Once = Once::new();
/// The level that the newest call wants, as a rank: 1 errors only, 5 everything.
static WANTED: AtomicU8 = AtomicU8::new(3);

/// Starts to forward events of this level and above. A backend that sets a subscriber of
/// its own first keeps it.
pub(super) fn forward(level: Level) {
    WANTED.store(rank(level), Ordering::Relaxed);
    INSTALL.call_once(|| {
        // Fails only when the backend has its own subscriber, which then stays.
        let _ = tracing::subscriber::set_global_default(Forward);
    });
}

fn rank(level: Level) -> u8 {
    match level {
        Level::Error => 1,
        Level::Warn => 2,
        Level::Info => 3,
        Level::Debug => 4,
        Level::Trace => 5,
    }
}

fn level_of(metadata: &Metadata<'_>) -> Level {
    match *metadata.level() {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => Level::Trace,
    }
}

struct Forward;

impl Subscriber for Forward {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // The wanted level changes from call to call, so nothing may be cached.
        Interest::sometimes()
    }
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && rank(level_of(metadata)) <= WANTED.load(Ordering::Relaxed)
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        with_host(|host| {
            let mut line = Line::default();
            event.record(&mut line);
            host.send(
                EventKind::Log,
                &LogEvent {
                    level: level_of(event.metadata()),
                    target: event.metadata().target().to_owned(),
                    message: line.finish(),
                },
            );
        });
    }
}

/// Writes an event as `message key=value key=value`.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn finish(self) -> String {
        match (self.message.is_empty(), self.fields.is_empty()) {
            (true, _) => self.fields,
            (_, true) => self.message,
            _ => format!("{} {}", self.message, self.fields),
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a String does not fail.
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            let gap = if self.fields.is_empty() { "" } else { " " };
            let _ = write!(self.fields, "{gap}{}={value:?}", field.name());
        }
    }
}
