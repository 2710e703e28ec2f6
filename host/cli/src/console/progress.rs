//! Progress on stderr, in the form that its reader can use.

use super::bars::Bars;
use super::events;
use super::foreign;
use super::lines::{Lines, Weight};
use dsperse_stages::Event;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Lines that are drawn again, for people at a terminal.
    Terminal,
    /// One plain line per event.
    Plain,
    /// One JSON object per event, for programs.
    Json,
    /// Warnings and failures only.
    Quiet,
}

struct State {
    mode: Mode,
    lines: Lines,
    bars: Bars,
}

/// Shows events on stderr.
#[derive(Clone)]
pub struct Progress(Arc<Mutex<State>>);

impl Progress {
    /// A listener; [`Progress::finish`] removes what it drew.
    #[must_use]
    pub fn new(mode: Mode, colour: bool) -> Self {
        let mut lines = Lines::default();
        lines.colour = colour;
        Self(Arc::new(Mutex::new(State {
            mode,
            lines,
            bars: Bars::default(),
        })))
    }

    /// Takes an event.
    pub fn handle(&self, event: &Event) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        if state.mode == Mode::Json {
            if let Some(event) = events::json(event) {
                let line = event.to_string();
                let _ = writeln!(std::io::stderr().lock(), "{}", foreign::json(&line));
            }
            return;
        }
        if state.mode == Mode::Terminal {
            state.bars.take(event);
        }
        let least = match state.mode {
            Mode::Terminal => Weight::Notable,
            Mode::Quiet => Weight::Important,
            Mode::Plain | Mode::Json => Weight::Detail,
        };
        match state.lines.of(event) {
            Some((weight, text)) if weight >= least => {
                if state.mode == Mode::Terminal {
                    state.bars.print(&text);
                } else {
                    let _ = writeln!(std::io::stderr().lock(), "{text}");
                }
            }
            _ => {}
        }
    }

    /// Removes the lines that are drawn again.
    pub fn finish(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.bars.clear();
    }
}
