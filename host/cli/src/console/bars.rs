//! Progress on a terminal: one line per running slice and one for the stage.

use super::foreign::field;
use super::numbers;
use dsperse_plugin_host::CallEvent;
use dsperse_stages::Event;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// How often running lines are drawn again while nothing happens, so that the elapsed time
/// is that of now.
const REDRAW: Duration = Duration::from_millis(250);

struct Running {
    bar: ProgressBar,
    peak_bytes: u64,
    fraction: Option<f64>,
    step: String,
}

/// The lines that are drawn again and again; indicatif fits them to the terminal's width.
pub struct Bars {
    all: MultiProgress,
    stage: Option<ProgressBar>,
    running: BTreeMap<usize, Running>,
}

impl Default for Bars {
    fn default() -> Self {
        Self {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            stage: None,
            running: BTreeMap::new(),
        }
    }
}

impl Bars {
    /// Prints lines that stay, above the bars.
    pub fn print(&self, text: &str) {
        let _ = self.all.println(text);
    }

    /// Takes an event.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::StageStarted { stage, slices } => {
                self.clear();
                if *slices > 0 {
                    self.stage = Some(self.total(stage, *slices, "slices"));
                }
            }
            Event::Asking { done, of } => {
                if done >= of {
                    self.clear();
                    return;
                }
                if self.stage.is_none() {
                    self.stage = Some(self.total("slice: asking backends", *of, "parts"));
                }
                if let Some(bar) = &self.stage {
                    bar.set_position(*done as u64);
                }
            }
            Event::Started {
                stage,
                slice,
                backend,
            } => {
                let bar = ProgressBar::new_spinner()
                    .with_style(running_style())
                    .with_prefix(format!("{stage} slice {slice}  {}", field(backend)));
                let bar = match &self.stage {
                    Some(stage) => self.all.insert_before(stage, bar),
                    None => self.all.add(bar),
                };
                bar.enable_steady_tick(REDRAW);
                self.running.insert(
                    *slice,
                    Running {
                        bar,
                        peak_bytes: 0,
                        fraction: None,
                        step: String::new(),
                    },
                );
            }
            Event::Call { slice, event, .. } => {
                let Some(r) = self.running.get_mut(slice) else {
                    return;
                };
                match event {
                    CallEvent::Progress { fraction, step } => {
                        r.fraction = Some(*fraction);
                        step.clone_into(&mut r.step);
                    }
                    CallEvent::Memory { peak_bytes } => r.peak_bytes = *peak_bytes,
                    _ => return,
                }
                r.tell();
            }
            Event::FellThrough { slice, .. } => self.end(*slice),
            Event::Finished { slice, .. } | Event::Failed { slice, .. } => {
                self.end(*slice);
                self.done();
            }
            Event::UpToDate { .. } => self.done(),
            _ => {}
        }
    }

    /// Removes all lines.
    pub fn clear(&mut self) {
        for r in std::mem::take(&mut self.running).into_values() {
            r.bar.finish_and_clear();
        }
        if let Some(bar) = self.stage.take() {
            bar.finish_and_clear();
        }
        let _ = self.all.clear();
    }

    fn total(&self, what: &str, of: usize, unit: &str) -> ProgressBar {
        let bar = ProgressBar::new(of as u64)
            .with_style(total_style())
            .with_prefix(what.to_owned())
            .with_message(unit.to_owned());
        let bar = self.all.add(bar);
        bar.tick();
        bar
    }

    fn end(&mut self, slice: usize) {
        if let Some(r) = self.running.remove(&slice) {
            r.bar.finish_and_clear();
            self.all.remove(&r.bar);
        }
    }

    fn done(&self) {
        if let Some(bar) = &self.stage {
            bar.inc(1);
        }
    }
}

impl Running {
    fn tell(&self) {
        let mut text = String::new();
        if self.peak_bytes > 0 {
            let _ = write!(text, "  peak {}", numbers::bytes(self.peak_bytes));
        }
        if let Some(f) = self.fraction {
            let _ = write!(text, "  {:.0} %", f * 100.0);
        }
        if !self.step.is_empty() {
            let _ = write!(text, "  {}", field(&self.step));
        }
        self.bar.set_message(text);
    }
}

fn running_style() -> ProgressStyle {
    let since = |state: &ProgressState, out: &mut dyn Write| {
        let _ = out.write_str(&numbers::seconds(state.elapsed().as_secs_f64()));
    };
    ProgressStyle::with_template("  {prefix}  {since}{msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .with_key("since", since)
}

fn total_style() -> ProgressStyle {
    ProgressStyle::with_template("  {prefix} {pos} of {len} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
