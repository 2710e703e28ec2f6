//! The backend spec.
//!
//! ```text
//! spec    := default | group (";" group)*
//! group   := layers [":" chain]            without ":" the default chain is used
//! layers  := item ("," item)*              item := N | N "-" M
//! chain   := BACKEND ("|" BACKEND)*        tried in order
//! backend := NAME ["@" VERSION]            a version beside the one that NAME means
//! default := chain                         for every slice
//! ```
//!
//! Parsing is in two steps because a command can check names before it knows how many
//! slices there are: [`Spec::parse`] reads the syntax, [`Spec::check_names`] compares the
//! names with the loaded plugins, [`Spec::resolve`] gives each slice its [`Chain`].

use crate::layers::{self, Item};
use crate::text::{SpecError, split, trim};
use dsperse_documents::setting::NO_ACTIVATE;
use semver::Version;
use std::ops::Range;

/// The chains that apply when nothing is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// Backends to try in order.
    pub chain: Vec<String>,
    /// The backend that is appended to every chain that does not end in it, unless the
    /// user asks for strictness.
    pub fallback: String,
}

impl Default for Defaults {
    /// The configuration's defaults, the only place in the host that names backends.
    fn default() -> Self {
        Self {
            chain: ["jstprove", "ezkl", "sumcheck", "onnx"]
                .map(str::to_owned)
                .into(),
            fallback: "onnx".to_owned(),
        }
    }
}

/// The backends to try for one slice, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Names, without repetition.
    pub backends: Vec<String>,
    /// Whether the user wrote this chain (else it is the default one).
    pub explicit: bool,
}

/// One chain for each slice of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    chains: Vec<Chain>,
}

impl Routes {
    /// The chain of a slice; `None` when the index is outside the model.
    #[must_use]
    pub fn chain(&self, slice: usize) -> Option<&Chain> {
        self.chains.get(slice)
    }
    /// All chains in slice order.
    #[must_use]
    pub fn chains(&self) -> &[Chain] {
        &self.chains
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    name: String,
    span: Range<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    layers: Vec<Item>,
    chain: Option<Vec<Name>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Body {
    Everywhere(Vec<Name>),
    Groups(Vec<Group>),
}

/// A backend spec whose syntax is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    text: String,
    body: Body,
}

impl Spec {
    /// Reads the syntax.
    ///
    /// # Errors
    /// Points at the part that does not fit the grammar.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let whole = trim(text, 0..text.len());
        if whole.is_empty() {
            return Err(SpecError::new(text, whole, "the backend spec is empty")
                .hint("write a backend name such as \"onnx\", or leave the flag out"));
        }
        let starts_with_digit = text[whole.clone()].starts_with(|c: char| c.is_ascii_digit());
        let body = if starts_with_digit {
            Body::Groups(
                split(text, whole, ';')
                    .map(|span| group(text, span))
                    .collect::<Result<_, _>>()?,
            )
        } else {
            Body::Everywhere(chain(text, whole)?)
        };
        let spec = Self {
            text: text.to_owned(),
            body,
        };
        spec.check_repetitions()?;
        Ok(spec)
    }

    fn names(&self) -> impl Iterator<Item = &Name> {
        let (everywhere, groups): (&[Name], &[Group]) = match &self.body {
            Body::Everywhere(names) => (names, &[]),
            Body::Groups(groups) => (&[], groups),
        };
        everywhere
            .iter()
            .chain(groups.iter().flat_map(|g| g.chain.iter().flatten()))
    }

    /// The names that the user wrote, in order.
    pub fn backends(&self) -> impl Iterator<Item = &str> {
        self.names().map(|n| n.name.as_str())
    }

    /// Whether groups of slices are named by their numbers.
    #[must_use]
    pub fn names_slices(&self) -> bool {
        matches!(self.body, Body::Groups(_))
    }

    fn check_repetitions(&self) -> Result<(), SpecError> {
        let Body::Groups(groups) = &self.body else {
            return Ok(());
        };
        let mut seen: Vec<&Item> = Vec::new();
        for item in groups.iter().flat_map(|g| &g.layers) {
            if let Some(other) = seen
                .iter()
                .find(|o| o.first <= item.last && item.first <= o.last)
            {
                return Err(SpecError::new(
                    &self.text,
                    item.span.clone(),
                    format!(
                        "layer {} is named twice",
                        item.first.max(other.first)
                    ),
                )
                .hint("name each layer in one group; a group can hold a chain such as \"jstprove|ezkl\""));
            }
            seen.push(item);
        }
        Ok(())
    }

    /// Compares the names with those that loaded plugins declare.
    ///
    /// # Errors
    /// Points at the first unknown name, or version, and lists the loaded ones.
    pub fn check_names<'n>(
        &self,
        loaded: impl IntoIterator<Item = (&'n str, &'n Version)>,
    ) -> Result<(), SpecError> {
        let loaded: Vec<(&str, &Version)> = loaded.into_iter().collect();
        for name in self.names() {
            let (plain, version) = match name.name.split_once('@') {
                Some((plain, version)) => (plain, Some(version)),
                None => (name.name.as_str(), None),
            };
            let mut versions: Vec<&Version> = loaded
                .iter()
                .filter(|(n, _)| *n == plain)
                .map(|(_, v)| *v)
                .collect();
            versions.sort_unstable();
            let error = |message| SpecError::new(&self.text, name.span.clone(), message);
            if versions.is_empty() {
                return Err(
                    error(format!("unknown backend \"{plain}\"")).hint(unknown(plain, &loaded))
                );
            }
            if let Some(wanted) = version
                && !versions.iter().any(|v| v.to_string() == wanted)
            {
                let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
                return Err(error(format!(
                    "version {wanted} of backend \"{plain}\" is not loaded"
                ))
                .hint(format!(
                    "loaded: {}; install it with \"dsperse plugin add {plain}@{wanted} {NO_ACTIVATE}\"",
                    versions.join(", ")
                )));
            }
        }
        Ok(())
    }

    /// Gives each of `slices` slices its chain. Unless `strict`, the fallback is appended
    /// where a chain does not end in it.
    ///
    /// # Errors
    /// Points at an index outside the model.
    pub fn resolve(
        &self,
        slices: usize,
        defaults: &Defaults,
        strict: bool,
    ) -> Result<Routes, SpecError> {
        let mut routes = default_routes(slices, defaults, strict);
        match &self.body {
            Body::Everywhere(names) => {
                routes.chains = vec![finish(names, defaults, strict); slices];
            }
            Body::Groups(groups) => {
                for group in groups {
                    for item in &group.layers {
                        layers::within(&self.text, item, slices)?;
                        let Some(names) = &group.chain else { continue };
                        for slot in &mut routes.chains[item.first..=item.last] {
                            *slot = finish(names, defaults, strict);
                        }
                    }
                }
            }
        }
        Ok(routes)
    }
}

/// The default chain for every slice.
#[must_use]
pub fn default_routes(slices: usize, defaults: &Defaults, strict: bool) -> Routes {
    let mut backends = defaults.chain.clone();
    if !strict && !backends.contains(&defaults.fallback) {
        backends.push(defaults.fallback.clone());
    }
    // Strictness means that no executor steps in silently for a proof system; the user
    // who names the fallback gets it.
    if strict {
        backends.retain(|b| *b != defaults.fallback);
    }
    Routes {
        chains: vec![
            Chain {
                backends,
                explicit: false,
            };
            slices
        ],
    }
}

fn finish(names: &[Name], defaults: &Defaults, strict: bool) -> Chain {
    let mut backends: Vec<String> = names.iter().map(|n| n.name.clone()).collect();
    if !strict && backends.last() != Some(&defaults.fallback) {
        backends.retain(|b| *b != defaults.fallback);
        backends.push(defaults.fallback.clone());
    }
    Chain {
        backends,
        explicit: true,
    }
}

fn group(text: &str, span: Range<usize>) -> Result<Group, SpecError> {
    if span.is_empty() {
        return Err(SpecError::new(text, span, "a group is missing here")
            .hint("write groups as \"0,2:jstprove;3-4:ezkl\""));
    }
    let piece = &text[span.clone()];
    if !piece.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(SpecError::new(
            text,
            span,
            "expected layers, found a backend without layers",
        )
        .hint("write groups as \"0,2:jstprove;3-4:ezkl\"; layers that no group names use the default chain"));
    }
    let (layer_span, chain_span) = match piece.find(':') {
        None => (span, None),
        Some(colon) => (
            trim(text, span.start..span.start + colon),
            Some(trim(text, span.start + colon + 1..span.end)),
        ),
    };
    Ok(Group {
        layers: layers::items(text, layer_span)?,
        chain: chain_span.map(|s| chain(text, s)).transpose()?,
    })
}

fn chain(text: &str, span: Range<usize>) -> Result<Vec<Name>, SpecError> {
    let mut names: Vec<Name> = Vec::new();
    for span in split(text, span, '|') {
        let piece = &text[span.clone()];
        if piece.is_empty() {
            return Err(SpecError::new(text, span, "a backend name is missing here")
                .hint("write a chain as \"jstprove|ezkl\""));
        }
        // What follows "@" is a version, written out as plugins state theirs.
        let (plain, version) = match piece.split_once('@') {
            Some((plain, version)) => (plain, Some(version)),
            None => (piece, None),
        };
        if let Some(version) = version
            && Version::parse(version).is_err()
        {
            let start = span.start + plain.len() + 1;
            return Err(SpecError::new(
                text,
                start..span.end,
                format!("\"{version}\" is not a version"),
            )
            .hint("write the whole version after the name: \"ezkl@0.2.0\""));
        }
        let bad = plain.char_indices().find(|(i, c)| {
            !(c.is_ascii_alphabetic() || (*i > 0 && (c.is_ascii_digit() || matches!(c, '-' | '_'))))
        });
        if let Some((at, c)) = bad {
            let start = span.start + at;
            let error = SpecError::new(
                text,
                start..start + c.len_utf8(),
                format!("unexpected \"{c}\" in a backend name"),
            );
            return Err(match c {
                ';' | ':' => {
                    error.hint("a spec with groups starts with layers: \"0,2:jstprove;3-4:ezkl\"")
                }
                ',' => error.hint("separate the backends of a chain with \"|\""),
                _ => error.hint("a backend name has letters, digits, \"-\" and \"_\""),
            });
        }
        if names.iter().any(|n| n.name == piece) {
            return Err(SpecError::new(
                text,
                span,
                format!("backend \"{piece}\" is named twice in one chain"),
            ));
        }
        names.push(Name {
            name: piece.to_owned(),
            span,
        });
    }
    Ok(names)
}

/// What to say of a name that no loaded backend has.
fn unknown(name: &str, loaded: &[(&str, &Version)]) -> String {
    let mut names: Vec<&str> = loaded.iter().map(|(n, _)| *n).collect();
    names.sort_unstable();
    names.dedup();
    let near = names
        .iter()
        .map(|l| (distance(l, name), *l))
        .filter(|(d, _)| *d <= 2)
        .min();
    let list = if names.is_empty() {
        "no backend is loaded; see \"dsperse plugin list\"".to_owned()
    } else {
        format!("loaded backends: {}", names.join(", "))
    };
    match near {
        Some((_, near)) => format!("did you mean \"{near}\"? {}", capital(&list)),
        None => list,
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// Edit distance (Levenshtein), for "did you mean".
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let cost = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chains(spec: &str, slices: usize, strict: bool) -> Vec<String> {
        Spec::parse(spec)
            .and_then(|s| s.resolve(slices, &Defaults::default(), strict))
            .unwrap_or_else(|e| panic!("{e}"))
            .chains()
            .iter()
            .map(|c| c.backends.join("|"))
            .collect()
    }

    #[test]
    fn one_name_means_every_slice() {
        assert_eq!(chains("jstprove", 2, false), ["jstprove|onnx"; 2]);
        assert_eq!(chains("jstprove", 2, true), ["jstprove"; 2]);
        assert_eq!(chains("onnx", 1, false), ["onnx"]);
    }

    #[test]
    fn groups_override_and_the_rest_uses_the_default_chain() {
        let default = "jstprove|ezkl|sumcheck|onnx";
        assert_eq!(
            chains("0;2:jstprove|ezkl;3-4:ezkl", 6, false),
            [
                default,
                default,
                "jstprove|ezkl|onnx",
                "ezkl|onnx",
                "ezkl|onnx",
                default
            ]
        );
    }

    #[test]
    fn strict_takes_the_fallback_out_of_the_default_chain_only() {
        assert_eq!(
            chains("1:onnx", 2, true),
            ["jstprove|ezkl|sumcheck", "onnx"]
        );
    }

    #[test]
    fn the_fallback_moves_to_the_end() {
        assert_eq!(chains("onnx|ezkl", 1, false), ["ezkl|onnx"]);
        assert_eq!(chains("onnx|ezkl", 1, true), ["onnx|ezkl"]);
    }

    #[test]
    fn white_space_is_free() {
        assert_eq!(
            chains(" 0 , 1 - 2 : ezkl | sumcheck ; 3 ", 4, true),
            [
                "ezkl|sumcheck",
                "ezkl|sumcheck",
                "ezkl|sumcheck",
                "jstprove|ezkl|sumcheck"
            ]
        );
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("ezkl", "ezkl"), 0);
        assert_eq!(distance("ezkl", "ezlk"), 2);
        assert_eq!(distance("onnx", "onx"), 1);
    }
}
