//! Why slices are not proven: what backends said, grouped by operator and reason.
//!
//! The same refusal comes back for every slice with the same operator, with other node names
//! and figures in it. One group holds them all, with the share of the work behind it.

use crate::state::{self, State};
use crate::subject::Subject;
use dsperse_documents::setting::{MEMORY, STRATEGY, TIMEOUT};
use dsperse_documents::{ErrorKind, Fallback, SliceMetadata};
use std::collections::BTreeSet;

/// Slices that fell to the same reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Who gave the reason: a backend, or `None` for the run or the verifier.
    pub backend: Option<String>,
    /// The operators that were in the way.
    pub operators: Vec<String>,
    /// The reason, in the words of the first slice.
    pub reason: String,
    /// Whether others have other names or figures in it.
    pub varies: bool,
    /// What would change it.
    pub remedy: String,
    /// The slices, ascending.
    pub slices: Vec<usize>,
    /// Their multiply-accumulates.
    pub macs: u64,
    key: Key,
}

impl Group {
    /// Whether both speak of the same reason, for whatever slices.
    #[must_use]
    pub fn same_reason(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

type Key = (Option<String>, Vec<String>, String);

/// One reason of one slice.
struct Given {
    backend: Option<String>,
    operators: Vec<String>,
    reason: String,
    remedy: String,
}

/// Groups of the slices that are not proven (in a model without a run: that can't be), the
/// one with most work behind it first.
#[must_use]
pub fn not_proven(subject: &Subject) -> Vec<Group> {
    let mut groups = Vec::new();
    for slice in &subject.slices {
        let state = state::of(subject, slice);
        if matches!(state, State::Proven | State::Provable) {
            continue;
        }
        for given in reasons(subject, slice, state) {
            add(&mut groups, given, slice);
        }
    }
    sorted(groups)
}

/// Groups of the fallbacks of slices that another backend then proved, or can prove.
#[must_use]
pub fn fallen_through(subject: &Subject) -> Vec<Group> {
    let mut groups = Vec::new();
    for slice in &subject.slices {
        if matches!(
            state::of(subject, slice),
            State::Proven | State::Provable | State::HasProof
        ) {
            for f in fallbacks(subject, slice) {
                add(&mut groups, given(f, slice), slice);
            }
        }
    }
    sorted(groups)
}

fn sorted(mut groups: Vec<Group>) -> Vec<Group> {
    groups.sort_by(|a, b| b.macs.cmp(&a.macs).then(a.slices.cmp(&b.slices)));
    groups
}

fn add(groups: &mut Vec<Group>, given: Given, slice: &SliceMetadata) {
    let key = (
        given.backend.clone(),
        given.operators.clone(),
        pattern(&given.reason, &given.operators),
    );
    match groups.iter_mut().find(|g| g.key == key) {
        Some(group) => {
            group.varies |= group.reason != given.reason;
            if group.slices.last() != Some(&slice.index) {
                group.slices.push(slice.index);
                group.macs = group.macs.saturating_add(slice.macs);
            }
        }
        None => groups.push(Group {
            backend: given.backend,
            operators: given.operators,
            reason: given.reason,
            varies: false,
            remedy: given.remedy,
            slices: vec![slice.index],
            macs: slice.macs,
            key,
        }),
    }
}

/// Every fallback of a slice, at compile and at run, each once.
pub(crate) fn fallbacks<'a>(subject: &'a Subject, slice: &'a SliceMetadata) -> Vec<&'a Fallback> {
    let at_run = subject
        .slice_run(slice.index)
        .and_then(|r| r.witness_execution.as_ref())
        .map(|w| w.fallbacks.as_slice())
        .unwrap_or_default();
    let mut all: Vec<&Fallback> = Vec::new();
    for f in slice.fallbacks.iter().chain(at_run) {
        if !all
            .iter()
            .any(|a| a.backend == f.backend && a.reason == f.reason)
        {
            all.push(f);
        }
    }
    all
}

fn given(f: &Fallback, slice: &SliceMetadata) -> Given {
    let mut operators: BTreeSet<String> = quoted(&f.reason)
        .filter(|name| slice.operators.contains_key(*name))
        .map(str::to_owned)
        .collect();
    operators.extend(f.op.clone());
    Given {
        backend: Some(f.backend.clone()),
        operators: operators.into_iter().collect(),
        reason: f.reason.clone(),
        remedy: f.hint.clone().unwrap_or_else(|| remedy(f.kind, &f.reason)),
    }
}

fn reasons(subject: &Subject, slice: &SliceMetadata, state: State) -> Vec<Given> {
    let mut all: Vec<Given> = fallbacks(subject, slice)
        .into_iter()
        .map(|f| given(f, slice))
        .collect();
    let told = |reason: &str, remedy: &str| Given {
        backend: None,
        operators: Vec::new(),
        reason: reason.to_owned(),
        remedy: remedy.to_owned(),
    };
    let run = subject.slice_run(slice.index);
    let error = |stage: Option<&dsperse_documents::StageOutcome>| {
        let e = stage.filter(|s| !s.success)?.error.as_ref()?;
        let fix = e.hint.clone();
        let fix = fix.unwrap_or_else(|| remedy(Some(e.kind), ""));
        Some(told(&e.message, &fix))
    };
    // What the run says of a slice that nobody could run may only repeat the fallbacks.
    let ran = error(run.and_then(|r| r.witness_execution.as_ref()));
    let new = ran.filter(|e| !all.iter().any(|f| e.reason.contains(&f.reason)));
    all.extend(new);
    all.extend(error(run.and_then(|r| r.proof_execution.as_ref())));
    if let Some(v) = subject.slice_verdict(slice.index)
        && let Some(reason) = &v.reason
        // Of a slice that fell through this is only the consequence.
        && (all.is_empty() || state != State::Recomputed)
    {
        let fix = match state {
            State::Failed => {
                "do not rely on this run: ask the prover for a new one, and check that the slices are yours"
            }
            _ => "compile with a backend that makes proofs, such as -b sumcheck",
        };
        all.push(told(reason, v.hint.as_deref().unwrap_or(fix)));
    }
    if all.is_empty() {
        all.push(match state {
            State::HasProof => told(
                "there is a proof, and nobody has checked it yet",
                "verify the run: \"dsperse verify RUN SLICES\"",
            ),
            State::NotRun => told(
                "the run has no result of it: it was interrupted, or an earlier slice failed",
                "run again; what is done is kept: \"dsperse run\"",
            ),
            State::Sliced => told(
                "nothing was compiled from it yet",
                "compile it: \"dsperse compile\"",
            ),
            State::Ran => told(
                "it ran, and nothing was proven yet",
                "prove the run: \"dsperse prove RUN SLICES\"",
            ),
            _ => told(
                "its chain has no backend that makes proofs",
                "compile with one, such as -b sumcheck",
            ),
        });
    }
    all
}

fn remedy(kind: Option<ErrorKind>, reason: &str) -> String {
    if reason.contains("not in its list") || reason.contains("stage") && kind.is_none() {
        return "another backend, or a rewrite of the operator by simpler ones".to_owned();
    }
    match kind {
        Some(ErrorKind::Unsupported) => {
            return format!("another backend, a rewrite of the operator by simpler ones, or a cut around it ({STRATEGY} auto)");
        }
        Some(ErrorKind::ToolMissing) => {
            "installing the tool: \"dsperse plugin doctor\" says which and how"
        }
        Some(ErrorKind::Resource) => {
            return format!("more memory or time ({MEMORY}, {TIMEOUT}), or smaller slices ({STRATEGY} layer)");
        }
        Some(ErrorKind::InvalidInput) => "another input, or files that were not changed",
        Some(ErrorKind::Internal | ErrorKind::Panic | ErrorKind::Crash) => {
            "a mended backend: this is a fault of it that its author should hear of"
        }
        Some(_) => "running the command again",
        None => {
            "loading that backend (\"dsperse plugin list\" says what was skipped), or a weaker demand"
        }
    }
    .to_owned()
}

/// What stands in double quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

/// A reason without what differs from slice to slice: names in quotes but for operators, and
/// numbers.
fn pattern(reason: &str, operators: &[String]) -> String {
    let mut out = String::with_capacity(reason.len());
    for (k, part) in reason.split('"').enumerate() {
        if k % 2 == 1 {
            out.push('"');
            if operators.iter().any(|o| o == part) {
                out.push_str(part);
            }
            out.push('"');
            continue;
        }
        let mut in_number = false;
        let mut last = ' ';
        for c in part.chars() {
            let digit = c.is_ascii_digit();
            let within = in_number && matches!(c, '.' | 'e' | '-' | '+');
            if digit && !in_number && !last.is_alphanumeric() {
                out.push('#');
                in_number = true;
            } else if !(in_number && (digit || within)) {
                in_number = false;
                out.push(c);
            }
            last = c;
        }
    }
    out.replace("-#", "#")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_documents::Stage;

    fn slice(index: usize, op: &str, macs: u64, fallbacks: Vec<Fallback>) -> SliceMetadata {
        SliceMetadata {
            index,
            macs,
            operators: [(op.to_owned(), 1)].into(),
            backend: Some("onnx".to_owned()),
            fallbacks,
            ..SliceMetadata::default()
        }
    }

    fn no(reason: &str) -> Fallback {
        Fallback::new("sumcheck", Stage::Compile, reason)
    }

    #[test]
    fn one_group_for_one_operator_and_reason() {
        let subject = Subject {
            slices: vec![
                slice(
                    0,
                    "TopK",
                    10,
                    vec![no(
                        "operator \"TopK\" of node \"/a/TopK\" is not in its list",
                    )],
                ),
                slice(
                    1,
                    "TopK",
                    30,
                    vec![no(
                        "operator \"TopK\" of node \"/b/TopK\" is not in its list",
                    )],
                ),
                slice(
                    2,
                    "LSTM",
                    900,
                    vec![no("operator \"LSTM\" of node \"/c\" is not in its list")],
                ),
            ],
            ..Subject::default()
        };
        let groups = not_proven(&subject);
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].operators, ["LSTM"]);
        assert_eq!(
            (groups[1].slices.as_slice(), groups[1].macs),
            (&[0, 1][..], 40)
        );
        assert!(groups[1].varies);
        assert!(groups[1].remedy.contains("another backend"));
    }

    #[test]
    fn figures_do_not_part_a_group() {
        let a = "the largest relative error is 3.20e-2, wanted is at most 1.00e-2: element 5 of output \"x\" is -1.0 where the float model has 2";
        let b = "the largest relative error is 9.9, wanted is at most 1.00e-2: element 17 of output \"y\" is 8 where the float model has 2.5";
        assert_eq!(pattern(a, &[]), pattern(b, &[]));
        assert_ne!(
            pattern("operator \"A\" is bad", &["A".to_owned()]),
            pattern("operator \"B\" is bad", &["B".to_owned()])
        );
        // A digit inside a word is part of its name.
        assert_eq!(pattern("conv2d at 3", &[]), "conv2d at #");
    }

    #[test]
    fn a_slice_without_a_word_still_has_a_reason() {
        let subject = Subject {
            slices: vec![slice(0, "Relu", 0, Vec::new())],
            ..Subject::default()
        };
        let groups = not_proven(&subject);
        assert_eq!(groups.len(), 1);
        assert!(groups[0].reason.contains("no backend that makes proofs"));
        assert!(!groups[0].remedy.is_empty());
    }
}
