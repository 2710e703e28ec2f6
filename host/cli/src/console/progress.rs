//! Progress: one line per running slice on a terminal, one plain line per event elsewhere.

use super::numbers;
use dsperse_plugin_api::context::Level;
use dsperse_stages::Event;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How often running lines are redrawn while nothing happens, so that the elapsed time is
/// that of now.
const REDRAW: Duration = Duration::from_millis(250);

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Lines that are redrawn.
    Terminal,
    /// One plain line per event.
    Plain,
    /// Warnings and failures only.
    Quiet,
}

struct Running {
    stage: &'static str,
    backend: String,
    since: Instant,
    fraction: Option<f64>,
    step: String,
    peak_bytes: u64,
}

struct State {
    mode: Mode,
    colour: bool,
    running: BTreeMap<usize, Running>,
    /// Parts of a model that backends were asked about, and all of them.
    asking: Option<(usize, usize)>,
    stage: &'static str,
    total: usize,
    done: usize,
    drawn: usize,
    last: Option<Instant>,
    warned: Vec<String>,
}

/// Draws events on stderr.
#[derive(Clone)]
pub struct Progress(Arc<Mutex<State>>);

impl Progress {
    /// A listener; [`Progress::finish`] removes what it drew.
    #[must_use]
    pub fn new(mode: Mode, colour: bool) -> Self {
        let state = Arc::new(Mutex::new(State {
            mode,
            colour,
            running: BTreeMap::new(),
            asking: None,
            stage: "",
            total: 0,
            done: 0,
            drawn: 0,
            last: None,
            warned: Vec::new(),
        }));
        if mode == Mode::Terminal {
            keep_drawing(Arc::downgrade(&state));
        }
        Self(state)
    }

    /// Takes an event.
    pub fn handle(&self, event: &Event) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = state.take(event);
        state.print(&lines);
    }

    /// Removes the redrawn lines.
    pub fn finish(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.running.clear();
        state.asking = None;
        state.total = 0;
        state.print(&[]);
        let erase = state.erase();
        let _ = std::io::stderr().write_all(erase.as_bytes());
    }
}

/// Redraws from a thread of its own until the progress is dropped. Without that thread
/// (the system may refuse it) lines are drawn when something happens.
fn keep_drawing(state: Weak<Mutex<State>>) {
    let redraw = move || {
        while let Some(state) = state.upgrade() {
            {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                if !state.running.is_empty() {
                    state.print(&[]);
                }
            }
            drop(state);
            std::thread::sleep(REDRAW);
        }
    };
    let _ = std::thread::Builder::new()
        .name("progress".to_owned())
        .spawn(redraw);
}

impl State {
    /// Notes an event and returns the lines that stay on the screen.
    fn take(&mut self, event: &Event) -> Vec<String> {
        let loud = self.mode != Mode::Quiet;
        let plain = self.mode == Mode::Plain;
        let mut lines = Vec::new();
        match event {
            Event::StageStarted { stage, slices } => {
                (self.stage, self.total, self.done) = (stage, *slices, 0);
                if plain {
                    let s = if *slices == 1 { "" } else { "s" };
                    lines.push(format!("{stage}: {slices} slice{s}"));
                }
            }
            Event::Asking { done, of } => {
                self.asking = (done < of).then_some((*done, *of));
                if plain && *done == 0 && *of > 0 {
                    let s = if *of == 1 { "" } else { "s" };
                    lines.push(format!("slice: asking backends about {of} part{s}"));
                }
            }
            Event::Started {
                stage,
                slice,
                backend,
            } => {
                self.running.insert(
                    *slice,
                    Running {
                        stage,
                        backend: backend.clone(),
                        since: Instant::now(),
                        fraction: None,
                        step: String::new(),
                        peak_bytes: 0,
                    },
                );
                if plain {
                    lines.push(format!("{stage} slice {slice}: {backend} started"));
                }
            }
            Event::Progress {
                slice,
                fraction,
                step,
            } => {
                if let Some(r) = self.running.get_mut(slice) {
                    r.fraction = Some(*fraction);
                    r.step.clone_from(step);
                }
            }
            Event::Memory { slice, peak_bytes } => {
                if let Some(r) = self.running.get_mut(slice) {
                    r.peak_bytes = *peak_bytes;
                }
            }
            Event::UpToDate {
                stage,
                slice,
                backend,
            } => {
                self.done += 1;
                if plain {
                    lines.push(format!("{stage} slice {slice}: {backend} is up to date"));
                }
            }
            Event::FellThrough { slice, fallback } => {
                self.running.remove(slice);
                let tool = fallback.kind == Some(dsperse_documents::ErrorKind::ToolMissing);
                if tool && !self.warned.contains(&fallback.backend) {
                    self.warned.push(fallback.backend.clone());
                    lines.push(self.warning(
                        &format!(
                            "backend \"{}\" can't work here: {}",
                            fallback.backend, fallback.reason
                        ),
                        fallback.hint.as_deref(),
                    ));
                } else if plain && !tool {
                    lines.push(format!(
                        "slice {slice}: {} fell through: {}",
                        fallback.backend, fallback.reason
                    ));
                }
            }
            Event::Finished {
                stage,
                slice,
                backend,
                usage,
                outcome,
            } => {
                self.running.remove(slice);
                self.done += 1;
                if plain {
                    lines.push(format!(
                        "{stage} slice {slice}: {backend} {outcome} in {} (peak {})",
                        numbers::seconds(usage.seconds),
                        numbers::bytes(usage.peak_bytes)
                    ));
                }
            }
            Event::Failed {
                stage,
                slice,
                reason,
            } => {
                self.running.remove(slice);
                self.done += 1;
                lines.push(format!("{stage} slice {slice} failed: {reason}"));
            }
            Event::Log {
                slice,
                backend,
                level,
                line,
            } => match level {
                Level::Error | Level::Warn => {
                    lines.push(format!("slice {slice}, {backend}: {line}"));
                }
                Level::Info => tracing::info!(slice, backend, "{line}"),
                Level::Debug | Level::Trace => tracing::debug!(slice, backend, "{line}"),
            },
            Event::Warning { message, hint } => lines.push(self.warning(message, hint.as_deref())),
            _ => {}
        }
        if !loud && !matches!(event, Event::Warning { .. } | Event::Failed { .. }) {
            lines.clear();
        }
        lines
    }

    fn warning(&self, message: &str, hint: Option<&str>) -> String {
        let word = if self.colour {
            "\x1b[33mwarning:\x1b[0m"
        } else {
            "warning:"
        };
        match hint {
            Some(hint) => format!("{word} {message}\n  hint: {hint}"),
            None => format!("{word} {message}"),
        }
    }

    fn print(&mut self, lines: &[String]) {
        if self.mode != Mode::Terminal {
            if !lines.is_empty() {
                let mut text = lines.join("\n");
                text.push('\n');
                let _ = std::io::stderr().lock().write_all(text.as_bytes());
            }
            return;
        }
        let recently = self
            .last
            .is_some_and(|t| t.elapsed() < Duration::from_millis(100));
        let busy = !self.running.is_empty() || self.asking.is_some();
        if lines.is_empty() && recently && busy {
            return;
        }
        self.last = Some(Instant::now());
        let mut text = self.erase();
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        if let Some((done, of)) = self.asking {
            text.push_str(&format!("  slice  asking backends, {done} of {of} parts\n"));
            self.drawn += 1;
        }
        for (slice, r) in &self.running {
            let fraction = r
                .fraction
                .map_or_else(String::new, |f| format!("  {:.0} %", f * 100.0));
            let peak = match r.peak_bytes {
                0 => String::new(),
                bytes => format!("  peak {}", numbers::bytes(bytes)),
            };
            let line = format!(
                "  {} slice {slice}  {}  {}{peak}{fraction}  {}",
                r.stage,
                r.backend,
                numbers::seconds(r.since.elapsed().as_secs_f64()),
                r.step
            );
            text.extend(line.trim_end().chars().take(100));
            text.push('\n');
            self.drawn += 1;
        }
        if self.total > 0 && !self.running.is_empty() {
            text.push_str(&format!(
                "  {} {} of {}\n",
                self.stage, self.done, self.total
            ));
            self.drawn += 1;
        }
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    /// Moves the cursor to the first redrawn line and clears from there.
    fn erase(&mut self) -> String {
        let lines = std::mem::take(&mut self.drawn);
        if lines == 0 {
            String::new()
        } else {
            format!("\x1b[{lines}A\x1b[0J")
        }
    }
}
