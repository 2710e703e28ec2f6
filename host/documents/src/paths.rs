//! Names of files that come from documents and archives.
//!
//! They are data of whoever made them, so they are checked before they lead anywhere:
//! relative, `/` only, no way out, nothing that another system reads differently.

/// Beginning of the program's own temporary names.
pub const RESERVED: &str = ".dsperse-";

/// Why a relative path can't be used, or `None` when it can.
#[must_use]
pub fn objection(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty");
    }
    if path.len() > 1024 {
        return Some("it is longer than 1024 bytes");
    }
    if path.starts_with('/') {
        return Some("it is absolute");
    }
    if path.as_bytes().get(1) == Some(&b':') {
        return Some("it begins with a drive letter");
    }
    if path.contains('\\') {
        return Some("it contains a backslash");
    }
    if path.chars().any(char::is_control) {
        return Some("it contains a control character");
    }
    for part in path.split('/') {
        match part {
            "" => return Some("it has an empty component"),
            "." | ".." => return Some("it climbs out of its directory"),
            _ if part.ends_with('.') || part.ends_with(' ') => {
                return Some("a component ends in a dot or a space");
            }
            _ if part.starts_with(RESERVED) => return Some("a component has a reserved name"),
            _ if part.len() > 255 => return Some("a component is longer than 255 bytes"),
            _ => {}
        }
    }
    None
}
