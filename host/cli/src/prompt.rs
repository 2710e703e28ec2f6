//! Questions, asked only when stdin and stderr are terminals.

use crate::error::{Result, UserError};
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

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
        let answer = ask(&format!("{question}: "));
        if answer.is_empty() {
            return Err(missing());
        }
        Ok(PathBuf::from(answer))
    }

    /// Yes or no; `None` when nothing may be asked.
    #[must_use]
    pub fn confirm(self, question: &str) -> Option<bool> {
        self.enabled.then(|| {
            let answer = ask(&format!("{question} [Y/n] "));
            matches!(answer.to_ascii_lowercase().as_str(), "" | "y" | "yes")
        })
    }

    /// Chooses one of several; the first is the default, which is also taken when nothing
    /// may be asked.
    #[must_use]
    pub fn choose(self, question: &str, choices: &[String]) -> usize {
        if !self.enabled || choices.len() < 2 {
            return 0;
        }
        let mut err = std::io::stderr();
        for (i, choice) in choices.iter().enumerate() {
            let _ = writeln!(err, "  {}  {choice}", i + 1);
        }
        let answer = ask(&format!("{question} [1] "));
        match answer.parse::<usize>() {
            Ok(n) if (1..=choices.len()).contains(&n) => n - 1,
            _ => 0,
        }
    }
}

fn ask(question: &str) -> String {
    let mut err = std::io::stderr();
    let _ = write!(err, "{question}").and_then(|()| err.flush());
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(_) => line.trim().to_owned(),
        Err(_) => String::new(),
    }
}
