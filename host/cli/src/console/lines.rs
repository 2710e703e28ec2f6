//! Events as plain lines.

use super::foreign::field;
use super::numbers;
use dsperse_documents::ErrorKind;
use dsperse_plugin_api::context::Level;
use dsperse_stages::Event;

/// How loud an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Only where every event is a line.
    Detail,
    /// Also above progress bars.
    Notable,
    /// Also under `--quiet`.
    Important,
}

/// Turns events into lines; remembers which tools were said to be missing.
#[derive(Debug, Default)]
pub struct Lines {
    pub colour: bool,
    told: Vec<String>,
}

impl Lines {
    /// The lines of an event, and how loud they are.
    pub fn of(&mut self, event: &Event) -> Option<(Weight, String)> {
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        Some(match event {
            Event::StageStarted { stage, slices } => (
                Weight::Detail,
                format!("{stage}: {slices} slice{}", plural(*slices)),
            ),
            Event::Asking { done: 0, of } if *of > 0 => (
                Weight::Detail,
                format!("slice: asking backends about {of} part{}", plural(*of)),
            ),
            Event::Started {
                stage,
                slice,
                backend,
            } => (
                Weight::Detail,
                format!("{stage} slice {slice}: {} started", field(backend)),
            ),
            Event::UpToDate {
                stage,
                slice,
                backend,
            } => (
                Weight::Detail,
                format!("{stage} slice {slice}: {} is up to date", field(backend)),
            ),
            Event::FellThrough { slice, fallback } => {
                if fallback.kind == Some(ErrorKind::ToolMissing) {
                    // The same tool is missing for every slice: one warning is enough.
                    if self.told.contains(&fallback.backend) {
                        return None;
                    }
                    self.told.push(fallback.backend.clone());
                    let message = format!(
                        "backend \"{}\" can't work here: {}",
                        fallback.backend, fallback.reason
                    );
                    let warning = self.warning(&message, fallback.hint.as_deref());
                    (Weight::Notable, warning)
                } else {
                    (
                        Weight::Detail,
                        format!(
                            "slice {slice}: {} fell through: {}",
                            field(&fallback.backend),
                            field(&fallback.reason)
                        ),
                    )
                }
            }
            Event::Finished {
                stage,
                slice,
                backend,
                usage,
                outcome,
            } => (
                Weight::Detail,
                format!(
                    "{stage} slice {slice}: {} {} in {} (peak {})",
                    field(backend),
                    field(outcome),
                    numbers::seconds(usage.seconds),
                    numbers::bytes(usage.peak_bytes)
                ),
            ),
            Event::Failed {
                stage,
                slice,
                reason,
            } => (
                Weight::Important,
                format!("{stage} slice {slice} failed: {}", field(reason)),
            ),
            Event::Call {
                slice,
                backend,
                event,
            } => {
                let (level, line) = event.line()?;
                let (backend, line) = (field(backend), field(line));
                match level {
                    Level::Error | Level::Warn => {
                        (Weight::Notable, format!("slice {slice}, {backend}: {line}"))
                    }
                    Level::Info => {
                        tracing::info!(slice, %backend, "{line}");
                        return None;
                    }
                    Level::Debug | Level::Trace => {
                        tracing::debug!(slice, %backend, "{line}");
                        return None;
                    }
                }
            }
            Event::Note { message } => (Weight::Notable, format!("note: {}", field(message))),
            Event::Warning { message, hint } => {
                (Weight::Important, self.warning(message, hint.as_deref()))
            }
            _ => return None,
        })
    }

    fn warning(&self, message: &str, hint: Option<&str>) -> String {
        let word = if self.colour {
            "\x1b[33mwarning:\x1b[0m"
        } else {
            "warning:"
        };
        let message = field(message);
        match hint {
            Some(hint) => format!("{word} {message}\n  hint: {}", field(hint)),
            None => format!("{word} {message}"),
        }
    }
}
