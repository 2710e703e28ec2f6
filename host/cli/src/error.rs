//! The one error that users see: cause, expectation, hint, exit code.

use crate::console::foreign;
use crate::exit::Exit;
use dsperse_stages::ErrorClass;

/// A command that did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UserError {
    /// Decides the exit code.
    pub exit: Exit,
    /// What went wrong: names the thing, what was expected and what was found.
    pub message: String,
    /// What to do or type next.
    pub hint: Option<String>,
}

/// Result of a command.
pub type Result<T, E = UserError> = std::result::Result<T, E>;

impl UserError {
    /// A wrong or missing argument.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// The text for stderr, without colours.
    #[must_use]
    pub fn render(&self) -> String {
        // Further lines of a message are indented: text from outside that holds a line break
        // can't begin a line that looks like one of ours.
        let indented = |text: &str| foreign::block(text).replace('\n', "\n  ");
        let mut text = format!("error: {}", indented(&self.message));
        if let Some(hint) = &self.hint {
            text.push_str("\n  hint: ");
            text.push_str(&indented(hint));
        }
        text
    }
}

impl From<dsperse_stages::Error> for UserError {
    fn from(e: dsperse_stages::Error) -> Self {
        Self {
            exit: match e.class {
                ErrorClass::Usage => Exit::Usage,
                ErrorClass::BadInput => Exit::BadInput,
                ErrorClass::Backend => Exit::Backend,
                ErrorClass::Failed => Exit::Failed,
                ErrorClass::Interrupted => Exit::Interrupted,
            },
            message: e.message,
            hint: e.hint,
        }
    }
}

impl From<dsperse_router::SpecError> for UserError {
    fn from(e: dsperse_router::SpecError) -> Self {
        dsperse_stages::Error::from(e).into()
    }
}

impl From<dsperse_store::BundleError> for UserError {
    fn from(e: dsperse_store::BundleError) -> Self {
        dsperse_stages::Error::from(e).into()
    }
}
