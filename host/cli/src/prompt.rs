//! Questions, asked only when stdin and stderr are terminals.

use crate::error::{Result, UserError};
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a question waits for its answer.
static ASKING: AtomicBool = AtomicBool::new(false);

/// Whether a question waits for its answer: nothing else is going on then, and an
/// interrupt has nobody to ask to stop.
#[must_use]
pub fn is_asking() -> bool {
    ASKING.load(Ordering::SeqCst)
}

/// Whether questions may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prompt {
    enabled: bool,
}

impl Prompt {
    /// Asks only in terminals, and never under `--no-input`.
    #[must_use]
    pub fn new(no_input: bool) -> Self {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        Self {
            enabled: terminal && !no_input,
        }
    }

    /// Whether anything may be asked.
    #[must_use]
    pub fn may_ask(self) -> bool {
        self.enabled
    }

    /// The value, or what the user answers.
    ///
    /// # Errors
    /// A usage error that names the flag when nothing may be asked or nothing was said.
    pub fn path(self, given: Option<PathBuf>, question: &str, flag: &str) -> Result<PathBuf> {
        if let Some(path) = given {
            return Ok(path);
        }
        let missing = || {
            UserError::usage(
                format!("{question} is missing"),
                format!("give it with {flag}"),
            )
        };
        if !self.enabled {
            return Err(missing());
        }
        match ask(&format!("{question}: ")) {
            Some(answer) if !answer.is_empty() => Ok(PathBuf::from(answer)),
            _ => Err(missing()),
        }
    }

    /// Yes or no; `None` when nothing may be asked.
    #[must_use]
    pub fn confirm(self, question: &str) -> Option<bool> {
        self.enabled.then(|| {
            let answer = ask(&format!("{question} [Y/n] ")).map(|a| a.to_ascii_lowercase());
            matches!(answer.as_deref(), Some("" | "y" | "yes"))
        })
    }

    /// Chooses one of several; the first is the default, which is also taken when nothing
    /// may be asked. Asks again until the answer is one of them.
    #[must_use]
    pub fn choose(self, question: &str, choices: &[String]) -> usize {
        if !self.enabled || choices.len() < 2 {
            return 0;
        }
        let mut err = std::io::stderr();
        for (i, choice) in choices.iter().enumerate() {
            let _ = writeln!(err, "  {}  {choice}", i + 1);
        }
        loop {
            let Some(answer) = ask(&format!("{question} [1] ")).filter(|a| !a.is_empty()) else {
                return 0;
            };
            match answer.parse::<usize>() {
                Ok(n) if (1..=choices.len()).contains(&n) => return n - 1,
                _ => {
                    let last = choices.len();
                    let _ = writeln!(err, "\"{answer}\" is no number from 1 to {last}");
                }
            }
        }
    }
}

/// The answer; `None` when the input ends.
fn ask(question: &str) -> Option<String> {
    let mut err = std::io::stderr();
    let mut line = String::new();
    // Before anybody can see the question and interrupt it.
    ASKING.store(true, Ordering::SeqCst);
    let _ = write!(err, "{question}").and_then(|()| err.flush());
    let read = std::io::stdin().lock().read_line(&mut line);
    ASKING.store(false, Ordering::SeqCst);
    match read {
        Ok(n) if n > 0 => Some(line.trim().to_owned()),
        _ => {
            // The cursor still stands behind the question.
            let _ = writeln!(err);
            None
        }
    }
}
