//! Layer lists: `2,3,4`, `0-2`, `3, 20-22`. "Layer" in flags means slice index.

use crate::text::{SpecError, split, trim};
use std::collections::BTreeSet;
use std::ops::Range;

/// `N` or `N-M` (both ends included), with its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub first: usize,
    pub last: usize,
    pub span: Range<usize>,
}

/// Parses the items of `text[range]`; only the syntax, any index is fine.
pub(crate) fn items(text: &str, range: Range<usize>) -> Result<Vec<Item>, SpecError> {
    split(text, range, ',')
        .map(|span| item(text, span))
        .collect()
}

fn item(text: &str, span: Range<usize>) -> Result<Item, SpecError> {
    let piece = &text[span.clone()];
    if piece.is_empty() {
        return Err(SpecError::new(text, span, "a layer number is missing here")
            .hint("write layers as \"2,3,4\" or \"0-2\""));
    }
    let (first, last) = match piece.find('-') {
        None => {
            let n = number(text, span.clone())?;
            (n, n)
        }
        Some(dash) => {
            let left = trim(text, span.start..span.start + dash);
            let right = trim(text, span.start + dash + 1..span.end);
            (number(text, left)?, number(text, right)?)
        }
    };
    if first > last {
        return Err(SpecError::new(
            text,
            span,
            format!("the range starts at {first} and ends before it, at {last}"),
        )
        .hint(format!("write \"{last}-{first}\"")));
    }
    Ok(Item { first, last, span })
}

fn number(text: &str, span: Range<usize>) -> Result<usize, SpecError> {
    let piece = &text[span.clone()];
    if piece.is_empty() {
        return Err(SpecError::new(text, span, "a layer number is missing here")
            .hint("write a range with both ends, such as \"0-2\""));
    }
    if !piece.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SpecError::new(
            text,
            span,
            format!("expected a layer number, found \"{piece}\""),
        )
        .hint("write layers as \"2,3,4\" or \"0-2\""));
    }
    piece
        .parse()
        .map_err(|_| SpecError::new(text, span, format!("layer number {piece} is too large")))
}

/// Checks an item against the model.
pub(crate) fn within(text: &str, item: &Item, slices: usize) -> Result<(), SpecError> {
    if item.last < slices {
        return Ok(());
    }
    let have = match slices {
        0 => "the model has no slices".to_owned(),
        1 => "the model has one slice, 0".to_owned(),
        n => format!("the model has slices 0 to {}", n - 1),
    };
    Err(SpecError::new(
        text,
        item.span.clone(),
        format!("layer {} is outside the model: {have}", item.last),
    ))
}

/// Parses `--layers` for a model with `slices` slices. Naming an index twice is harmless.
///
/// # Errors
/// Points at the part that is no number, no range, or outside the model.
pub fn parse_layers(text: &str, slices: usize) -> Result<BTreeSet<usize>, SpecError> {
    let mut set = BTreeSet::new();
    for item in items(text, 0..text.len())? {
        within(text, &item, slices)?;
        set.extend(item.first..=item.last);
    }
    Ok(set)
}
