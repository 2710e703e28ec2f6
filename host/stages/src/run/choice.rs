//! Which backends may run a slice: those that compiled it, in the order that the user
//! wants, then the executor; a slice that the user left out, the executor alone.

use crate::error::Result;
use crate::memory::expected;
use crate::opened;
use crate::session::Session;
use dsperse_documents::{Fallback, SliceMetadata};
use dsperse_plugin_api::Stage as BackendStage;
use dsperse_store::SliceStore;
use std::collections::BTreeSet;

/// The backends for one slice.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Choice {
    pub index: usize,
    /// In order; the first that gets through wins.
    pub backends: Vec<String>,
    /// Those that can't be asked, and why.
    pub fallbacks: Vec<Fallback>,
    /// Estimated memory in bytes.
    pub memory: u64,
    /// Digest over what each backend compiled.
    compiled: String,
}

impl Choice {
    /// What makes two runs with the same input the same run.
    pub(super) fn identity(&self) -> String {
        format!("{} {}", self.backends.join("|"), self.compiled)
    }
}

pub(super) fn choose(
    session: &Session<'_>,
    store: &SliceStore,
    spec: Option<&str>,
    selected: &BTreeSet<usize>,
) -> Result<Vec<Choice>> {
    let model = store.require_model()?;
    let routes = match spec {
        Some(_) => Some(opened::routes(session, spec, false, model.slices.len())?),
        None => None,
    };
    let executor = session.float_executor()?.name().to_owned();
    model
        .slices
        .iter()
        .map(|s| {
            let slice = store.slice(s.index)?;
            // What will not be proven is better computed as `verify` can compute it again.
            let wanted = match &routes {
                _ if !selected.contains(&s.index) => Vec::new(),
                Some(routes) => routes
                    .chain(s.index)
                    .map(|c| c.backends.clone())
                    .unwrap_or_default(),
                None => slice.backend.iter().cloned().collect(),
            };
            Ok(choice(session, &slice, wanted, &executor))
        })
        .collect()
}

fn choice(
    session: &Session<'_>,
    slice: &SliceMetadata,
    mut wanted: Vec<String>,
    executor: &str,
) -> Choice {
    if !wanted.iter().any(|w| w == executor) {
        wanted.push(executor.to_owned());
    }
    let mut choice = Choice {
        index: slice.index,
        ..Choice::default()
    };
    let mut hasher = dsperse_documents::digest::FieldHasher::new("dsperse/compiled/1");
    for name in wanted {
        let reason = match (session.loaded(&name), slice.compilations.get(&name)) {
            (None, _) => Some("no plugin of this name is loaded".to_owned()),
            // An executor needs no circuit.
            (Some(backend), None) if !backend.is_executor() => {
                Some("the slice is not compiled with it".to_owned())
            }
            (Some(backend), Some(_)) => {
                opened::other_version(slice, &backend).map(|how| format!("the slice was {how}"))
            }
            _ => None,
        };
        if let Some(reason) = reason {
            let fallback = Fallback::new(&name, BackendStage::Witness, reason);
            choice.fallbacks.push(fallback);
            continue;
        }
        if let Some(c) = slice.compilations.get(&name) {
            choice.memory = choice.memory.max(expected(c, BackendStage::Witness));
            for a in &c.artefacts {
                hasher.text(&a.name).text(&a.sha256);
            }
        }
        choice.backends.push(name);
    }
    choice.compiled = hasher.finish();
    choice
}
