//! Errors that point at a part of what the user typed.

use std::fmt;
use std::ops::Range;

/// A part of a backend spec or a layer list is wrong. `Display` shows the text with a
/// caret line below the offending part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// What was typed.
    pub text: String,
    /// Byte range of the offending part in `text`.
    pub span: Range<usize>,
    /// What is wrong with it.
    pub message: String,
    /// What to type instead.
    pub hint: Option<String>,
}

impl SpecError {
    pub(crate) fn new(text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            text: text.to_owned(),
            span,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The typed text and the caret line, without message and hint.
    #[must_use]
    pub fn pointer(&self) -> String {
        // Control characters (tabs, line breaks) would shift the carets.
        let shown: String = self
            .text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let columns = |range: Range<usize>| {
            self.text
                .char_indices()
                .filter(|(at, _)| range.contains(at))
                .count()
        };
        let before = columns(0..self.span.start);
        let marked = columns(self.span.clone()).max(1);
        format!("  {shown}\n  {}{}", " ".repeat(before), "^".repeat(marked))
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.message, self.pointer())
    }
}

impl std::error::Error for SpecError {}

/// The trimmed pieces of `text[range]` between separators, with their byte ranges.
pub(crate) fn split(
    text: &str,
    range: Range<usize>,
    separator: char,
) -> impl Iterator<Item = Range<usize>> + '_ {
    let base = range.start;
    text[range].split(separator).scan(base, move |at, piece| {
        let start = *at;
        *at += piece.len() + separator.len_utf8();
        Some(trim(text, start..start + piece.len()))
    })
}

/// Narrows a range so that it neither starts nor ends with white space. An empty piece
/// keeps its start, so that carets point to where something is missing.
pub(crate) fn trim(text: &str, range: Range<usize>) -> Range<usize> {
    let piece = &text[range.clone()];
    let left = piece.len() - piece.trim_start().len();
    let length = piece.trim().len();
    if length == 0 {
        return range.start..range.start;
    }
    range.start + left..range.start + left + length
}
