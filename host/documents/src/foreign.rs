//! Text from outside, made harmless before it leaves the program.
//!
//! Names in models, run files and archives, and the messages of plugins and tools, are
//! written by others. Printed as they are, they could move the cursor, clear the screen,
//! reverse the order of what follows or begin a new line that looks like a verdict. So:
//!
//! - [`field`] is for one piece of such text inside a line of ours: no control character and
//!   no line break survives, and it is shortened with a note;
//! - [`block`] is the last gate before stdout and stderr: it keeps the line breaks that we
//!   put there, and nothing else that a terminal would obey;
//! - [`json`] is the same gate for documents, where the escapes are those of JSON.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Most characters of one piece of foreign text in a line or a cell.
pub const MOST: usize = 600;

/// Whether a terminal or a reader's eye would be led astray by this character.
///
/// Control characters (Unicode category Cc) move the cursor, clear the screen, ring. The
/// rest is invisible: marks and overrides of the writing direction (Unicode Standard Annex
/// 9, section 2), zero-width characters, line and paragraph separators, the byte order
/// mark, interlinear annotations and tags.
#[must_use]
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One piece of foreign text inside a line: escaped, on one line, and of [`MOST`] characters
/// at most.
#[must_use]
pub fn field(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) && text.len() <= MOST {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().min(MOST * 2));
    let mut left = text.chars();
    for c in left.by_ref().take(MOST) {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push(' '),
            c => push(&mut out, c),
        }
    }
    let rest = left.count();
    if rest > 0 {
        let _ = write!(out, "… ({rest} more characters)");
    }
    Cow::Owned(out)
}

/// Lines of ours that may hold foreign text: line breaks stay, everything else that a
/// terminal would obey is escaped.
#[must_use]
pub fn block(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c != '\n' && is_harmful(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push('\n'),
            c => push(&mut out, c),
        }
    }
    Cow::Owned(out)
}

/// A JSON text, in which harmful characters can only stand inside strings: they become the
/// escapes of JSON, so the document says the same.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c != '\n' && is_harmful(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut units = [0; 2];
    for c in text.chars() {
        if c != '\n' && is_harmful(c) {
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn push(out: &mut String, c: char) {
    if is_harmful(c) {
        let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
    } else {
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_forged_line_stays_inside_its_field() {
        let name = "conv1\u{1b}[2J\u{1b}[H\nverdict: accepted (--require proven)\u{202e}";
        assert_eq!(
            field(name),
            "conv1\\u{1b}[2J\\u{1b}[H\\nverdict: accepted (--require proven)\\u{202e}"
        );
        assert_eq!(field("Grüße, 東京 🙂"), "Grüße, 東京 🙂");
    }

    #[test]
    fn long_text_says_how_much_is_missing() {
        let text = "ä".repeat(MOST + 7);
        let shown = field(&text);
        assert!(shown.ends_with("ä… (7 more characters)"), "{shown}");
    }

    proptest! {
        #[test]
        fn nothing_harmful_gets_through(text in any::<String>()) {
            prop_assert!(!field(&text).chars().any(is_harmful));
            prop_assert!(!block(&text).chars().any(|c| c != '\n' && is_harmful(c)));
            let document = serde_json::json!({ "name": text, text.as_str(): [text.as_str()] });
            let printed = serde_json::to_string_pretty(&document).unwrap();
            let printed = json(&printed);
            prop_assert!(!printed.chars().any(|c| c != '\n' && is_harmful(c)));
            let back: serde_json::Value = serde_json::from_str(&printed).unwrap();
            prop_assert_eq!(back, document);
        }
    }
}
