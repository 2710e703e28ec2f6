//! What there is to say when no backend could be loaded: every place that was searched, what
//! lies there, and why each file was passed over.

use crate::console::shown;
use crate::error::UserError;
use dsperse_plugin_host::{Place, PluginHost, SearchSource};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Most entries of a directory that are named.
const MOST: usize = 12;

/// The error of a command that needs a backend.
pub fn loaded(host: &PluginHost) -> UserError {
    let mut message = "no backend could be loaded".to_owned();
    let places = host.places();
    for place in &places {
        let _ = write!(message, "\n{}", told(place));
    }
    let mut error = UserError::from(dsperse_stages::Error::backend(message));
    error.hint = Some(hint(&places));
    error
}

/// A place that was searched, and each file in it that gave no backend.
fn told(place: &Place) -> String {
    let mut text = format!("\"{}\" ({})", shown(&place.path), place.source.words());
    match &place.unreadable {
        Some(reason) => {
            let _ = write!(text, ": {reason}");
        }
        None if place.passed_over.is_empty() => text.push_str(if place.source.explicit() {
            ": it is empty"
        } else {
            ": no backend's library lies there"
        }),
        None => text.push(':'),
    }
    for (name, reason) in place.passed_over.iter().take(MOST) {
        let _ = write!(text, "\n  \"{name}\": {reason}");
    }
    let more = place.passed_over.len().saturating_sub(MOST);
    if more > 0 {
        let _ = write!(text, "\n  and {more} more");
    }
    text
}

fn hint(places: &[Place]) -> String {
    let named = places.iter().any(|p| p.source == SearchSource::Flag);
    let exe = std::env::current_exe().ok();
    let here = std::env::current_dir().ok();
    let searched: Vec<PathBuf> = places
        .iter()
        .filter_map(|p| p.path.canonicalize().ok())
        .collect();
    let near: Vec<PathBuf> = searched.iter().cloned().chain(here).chain(exe).collect();
    let built = built(&near).map(|mut dirs| {
        dirs.retain(|dir| !searched.contains(dir));
        dirs
    });
    if let Some(dirs) = &built
        && !dirs.is_empty()
    {
        let flags: Vec<String> = dirs
            .iter()
            .map(|d| format!("--plugins {}", shown(d)))
            .collect();
        return format!(
            "in this checkout the built libraries are elsewhere: type {}",
            flags.join(" or ")
        );
    }
    if built.is_some() {
        return "this checkout holds no built libraries: type \"cargo build\"".to_owned();
    }
    if named {
        "leave --plugins out to search the usual places, or name a directory that holds a backend's library; \"dsperse plugin add\" installs one".to_owned()
    } else {
        "install a backend with \"dsperse plugin add\", or name a directory that holds one with --plugins".to_owned()
    }
}

/// Directories with built backends in the source trees around these places; `None` when
/// there is no such tree.
fn built(near: &[PathBuf]) -> Option<BTreeSet<PathBuf>> {
    let trees: BTreeSet<&Path> = near
        .iter()
        .flat_map(|p| p.ancestors())
        .filter(|dir| {
            dir.join("Cargo.toml").is_file() && dir.join("plugin-api/Cargo.toml").is_file()
        })
        .collect();
    if trees.is_empty() {
        return None;
    }
    let dirs = trees
        .iter()
        .flat_map(|tree| ["release", "debug"].map(|profile| tree.join("target").join(profile)));
    Some(
        dirs.filter(|dir| dsperse_plugin_host::holds_libraries(dir))
            .collect(),
    )
}
