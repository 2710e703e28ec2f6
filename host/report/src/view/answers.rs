//! The verdict in one sentence, and the six questions that a reader brings.

use super::{Fact, Work, in_state};
use crate::jobs::{self, JobStage};
use crate::reasons;
use crate::state::State;
use crate::subject::Subject;
use crate::text;
use dsperse_documents::setting::{EXPECT_KEYS, EXPECT_MODEL, RECOMPILE, REQUIRE};
use dsperse_documents::{Fidelity, KeyOrigin, MeasuredBy, Require, VerificationReport};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sentence {
    /// Class of its colour.
    pub class: &'static str,
    /// Sign.
    pub sign: &'static str,
    /// The sentence.
    pub text: String,
    /// What belongs right beside it.
    pub more: Vec<String>,
}

/// A question with its answer.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// Id on the page.
    pub id: &'static str,
    /// The question.
    pub question: &'static str,
    /// The answer, line by line.
    pub lines: Vec<Line>,
}

/// A line of an answer.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Words.
    pub text: String,
    /// A digest or name after them.
    pub code: String,
}

fn line(text: impl Into<String>) -> Line {
    Line {
        text: text.into(),
        code: String::new(),
    }
}

fn coded(text: &str, code: &str) -> Line {
    Line {
        text: text.to_owned(),
        code: code.to_owned(),
    }
}

/// How many slices are in which state.
struct Count<'a> {
    subject: &'a Subject,
    all: usize,
}

impl Count<'_> {
    fn of(&self, state: State) -> usize {
        in_state(self.subject, |s| s == state).len()
    }
    /// `4 of 5 slices`, `all 5 slices`, `the only slice`.
    fn said(&self, n: usize) -> String {
        match (n, self.all) {
            (1, 1) => "the only slice".to_owned(),
            (n, all) if n == all => format!("all {} slices", text::grouped(all as u64)),
            (n, all) => format!("{n} of {all} slices"),
        }
    }
}

/// `is` for one slice, `are` for several.
fn are(n: usize) -> &'static str {
    if n == 1 { "is" } else { "are" }
}

/// `was` for one slice, `were` for several.
fn were(n: usize) -> &'static str {
    if n == 1 { "was" } else { "were" }
}

/// The share of the work that is proven, as a sentence.
fn proven_share(subject: &Subject) -> String {
    let work = Work::of(subject);
    let share = work.share(in_state(subject, |s| s == State::Proven));
    format!("{} of the {} proven.", text::percent(share), work.of)
}

/// The verdict in one sentence.
#[must_use]
pub fn sentence(subject: &Subject) -> Sentence {
    let count = Count {
        subject,
        all: subject.slices.len(),
    };
    if let Some(report) = &subject.verification {
        return judged(&count, report);
    }
    match &subject.run {
        Some(_) => unjudged(&count),
        None => sliced(&count),
    }
}

fn judged(count: &Count<'_>, report: &VerificationReport) -> Sentence {
    let c = &report.counts;
    let mut more = Vec::new();
    if !report.accepted {
        let text = if c.failed > 0 {
            format!(
                "Not accepted: {} of {} failed.",
                c.failed,
                text::plural(count.all, "slice")
            )
        } else if !report.failures.is_empty() {
            "Not accepted: the run as a whole does not hold.".to_owned()
        } else {
            let short = report
                .slices
                .iter()
                .filter(|s| !report.require.accepts(s.verdict))
                .count();
            let wanted = match report.require {
                Require::Proven => "proven",
                Require::Checked | Require::Any => "checked",
            };
            format!(
                "Not accepted: every slice had to be {wanted}, and {short} of {} {} not.",
                count.all,
                are(short)
            )
        };
        more.extend(report.failures.iter().map(|f| super::sentence(f)));
        more.push(proven_share(count.subject));
        return Sentence {
            class: "failed",
            sign: State::Failed.sign(),
            text,
            more,
        };
    }
    more.push(proven_share(count.subject));
    let state = if c.proven == count.all {
        State::Proven
    } else if c.unchecked > 0 {
        State::Unchecked
    } else {
        State::Recomputed
    };
    let text = if c.proven == count.all {
        format!(
            "Accepted: a proof of {} was checked and holds.",
            count.said(c.proven)
        )
    } else if c.proven == 0 {
        format!(
            "Accepted, but nothing was proven: {} {} recomputed by the verifier{}.",
            count.said(c.recomputed),
            were(c.recomputed),
            unchecked(c.unchecked)
        )
    } else {
        format!(
            "Accepted: {} {} proven{}{}.",
            count.said(c.proven),
            are(c.proven),
            if c.recomputed > 0 {
                format!(", {} recomputed by the verifier", c.recomputed)
            } else {
                String::new()
            },
            unchecked(c.unchecked)
        )
    };
    Sentence {
        class: state.class(),
        sign: if state == State::Recomputed {
            State::Proven.sign()
        } else {
            state.sign()
        },
        text,
        more,
    }
}

fn unchecked(n: usize) -> String {
    if n > 0 {
        format!(", {n} NOT checked at all")
    } else {
        String::new()
    }
}

fn unjudged(count: &Count<'_>) -> Sentence {
    let n = |s| count.of(s);
    let (proofs, missing, failed) = (n(State::HasProof), n(State::NotRun), n(State::Failed));
    let verdicts = in_state(count.subject, State::is_verdict).len() - failed;
    let plain = |state: State, text: String| Sentence {
        class: state.class(),
        sign: state.sign(),
        text,
        more: Vec::new(),
    };
    if failed > 0 || missing > 0 {
        let done = count.all - missing - failed;
        let mut text = format!("Incomplete: {} came through", count.said(done));
        if done == 0 {
            text = "Incomplete: no slice came through".to_owned();
        }
        if failed > 0 {
            text += &format!(", {failed} failed");
        }
        if missing > 0 {
            text += &format!(", {missing} did not run");
        }
        text += ".";
        let mut s = plain(
            if failed > 0 {
                State::Failed
            } else {
                State::NotRun
            },
            text,
        );
        s.more
            .push("There is no whole claim to judge yet.".to_owned());
        return s;
    }
    if verdicts == count.all {
        let mut s = plain(
            State::HasProof,
            format!(
                "On record only: {} noted as proven, {} as recomputed.",
                n(State::Proven),
                n(State::Recomputed)
            ),
        );
        s.more.push(
            "The report of that verification is not here; verify the run to have one.".to_owned(),
        );
        return s;
    }
    if proofs > 0 {
        let mut s = plain(
            State::HasProof,
            format!(
                "Not verified yet: there are proofs of {}, and nobody has checked them.",
                count.said(proofs)
            ),
        );
        s.more
            .push("The command under \"Pin this\" checks them.".to_owned());
        return s;
    }
    let mut s = plain(
        State::Ran,
        "Nothing is proven: the model ran, and there are no proofs.".to_owned(),
    );
    s.more
        .push("A verifier could only run the slices again.".to_owned());
    s
}

fn sliced(count: &Count<'_>) -> Sentence {
    let provable = count.of(State::Provable);
    let work = Work::of(count.subject);
    let share = work.share(in_state(count.subject, |s| s == State::Provable));
    let cut = text::plural(count.all, "slice");
    if provable == 0 && count.of(State::Executable) == 0 {
        return Sentence {
            class: State::Sliced.class(),
            sign: State::Sliced.sign(),
            text: format!("Cut into {cut}; nothing is compiled yet."),
            more: vec!["\"dsperse analyze\" tells what each backend could prove of it.".to_owned()],
        };
    }
    let state = if provable == count.all {
        State::Provable
    } else {
        State::Executable
    };
    Sentence {
        class: state.class(),
        sign: state.sign(),
        text: format!("Compiled: {} can be proven.", count.said(provable)),
        more: vec![format!(
            "That is {} of the {}. Nothing has run yet.",
            text::percent(share),
            work.of
        )],
    }
}

/// The six questions.
#[must_use]
pub fn answers(subject: &Subject) -> Vec<Answer> {
    vec![
        Answer {
            id: "answer-claim",
            question: "What is claimed?",
            lines: claim(subject),
        },
        Answer {
            id: "answer-checked",
            question: "What was checked?",
            lines: checked(subject),
        },
        Answer {
            id: "answer-by",
            question: "Who checked it?",
            lines: by(subject),
        },
        Answer {
            id: "answer-not",
            question: "What was not checked?",
            lines: not(subject),
        },
        Answer {
            id: "answer-faithful",
            question: "How close is it to the float model?",
            lines: faithful(subject),
        },
        Answer {
            id: "answer-cost",
            question: "What did it cost?",
            lines: cost(subject),
        },
    ]
}

fn claim(subject: &Subject) -> Vec<Line> {
    let model = &subject.model;
    let Some(run) = &subject.run else {
        return vec![
            line("Nothing yet: a claim is made by running the model on an input."),
            coded("Model", &model.model.name),
            coded("identity", &model.identity),
        ];
    };
    let mut lines = vec![
        line("That this model, on this input, gave this output."),
        coded("Model", &model.model.name),
        coded("identity", &run.model_identity),
        coded("Input", &run.input_sha256),
    ];
    match &run.output_sha256 {
        Some(output) => lines.push(coded("Output", output)),
        None => lines.push(line("Output: none yet, the chain is not complete.")),
    }
    for o in subject.outputs.iter().take(4) {
        let Some((at, value)) = o.largest else {
            continue;
        };
        let whole: u64 = o.shape.iter().product();
        lines.push(coded(
            &if whole > 1 {
                format!(
                    "Largest of {}: element {at} with {}, in",
                    text::plural(usize::try_from(whole).unwrap_or(usize::MAX), "value"),
                    text::value(Some(value))
                )
            } else {
                format!("{} in", text::value(Some(value)))
            },
            &o.name,
        ));
    }
    lines
}

fn checked(subject: &Subject) -> Vec<Line> {
    let count = Count {
        subject,
        all: subject.slices.len(),
    };
    let Some(report) = &subject.verification else {
        let text = match &subject.run {
            None => "Nothing: there is no run.",
            Some(_) if in_state(subject, |s| s.is_verdict() && s != State::Failed).is_empty() => {
                "Nothing: this run was not verified."
            }
            Some(_) => "A verification left its verdicts in the run, but not its report.",
        };
        return vec![line(text)];
    };
    let mut lines = Vec::new();
    let c = &report.counts;
    if c.proven > 0 {
        lines.push(line(format!(
            "Proofs of {} against verifying keys, with the claimed tensors as public values.",
            count.said(c.proven)
        )));
    }
    if c.recomputed > 0 {
        let tolerance = report
            .slices
            .iter()
            .filter_map(|s| s.tolerance)
            .fold(0f64, f64::max);
        lines.push(line(format!(
            "{} by running {} again, {}.",
            super::sentence(&count.said(c.recomputed)),
            if c.recomputed == 1 { "it" } else { "them" },
            if tolerance > 0.0 {
                format!("within a relative tolerance of {tolerance}")
            } else {
                "bit for bit".to_owned()
            }
        )));
    }
    if c.proven + c.recomputed == 0 {
        lines.push(line("No slice was found to be right."));
    }
    let share = |s: Option<f64>, of: &str| {
        s.map_or_else(
            || format!("no {of} to prove"),
            |s| format!("{} of {of}", text::percent(s)),
        )
    };
    lines.push(line(format!(
        "Proven: {}, {}.",
        share(report.proven_by_macs, "multiply-accumulates"),
        share(report.proven_by_parameters, "parameters")
    )));
    lines.push(line(format!(
        "Also that neighbouring slices use the same bytes, and that model, slices and files have the digests that are named. Demanded: {REQUIRE} {}.",
        report.require.as_str()
    )));
    if !report.policy.is_empty() {
        let words: Vec<String> = report
            .policy
            .iter()
            .map(|(k, v)| format!("{k} = {v}"))
            .collect();
        lines.push(coded("Beyond that", &words.join(", ")));
    }
    lines
}

fn by(subject: &Subject) -> Vec<Line> {
    let Some(report) = &subject.verification else {
        return vec![line("Nobody, as far as these files tell.")];
    };
    let verify = jobs::all(subject)
        .into_iter()
        .filter(|j| j.stage == JobStage::Verify)
        .filter_map(|j| j.usage.started_at)
        .reduce(f64::min)
        .or_else(|| {
            let starts = report.slices.iter().filter_map(|s| s.usage.started_at);
            starts.reduce(f64::min)
        });
    let when = verify
        .and_then(text::moment)
        .map_or_else(String::new, |m| format!(" on {m}"));
    let mut lines = vec![line(format!(
        "dsperse {}{when}, with these backends:",
        report.tool_version
    ))];
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    for s in &report.slices {
        let (Some(name), Some(version)) = (&s.backend, &s.backend_version) else {
            continue;
        };
        let digest = s.plugin_sha256.clone().unwrap_or_default();
        if seen.insert((format!("{name} {version}"), digest.clone())) {
            lines.push(coded(&format!("{name} {version}, library"), &digest));
        }
    }
    if seen.is_empty() {
        lines.push(line("none: no backend decided anything"));
    }
    let mut keys: BTreeMap<&str, usize> = BTreeMap::new();
    for origin in report.slices.iter().filter_map(|s| s.keys) {
        let word = match origin {
            KeyOrigin::Pinned => "pinned by the verifier",
            KeyOrigin::Recompiled => "confirmed by compiling again",
            KeyOrigin::AsGiven => "taken as they lay beside the slices",
        };
        *keys.entry(word).or_default() += 1;
    }
    for (word, n) in keys {
        lines.push(line(format!(
            "Verifying keys of {} {word}.",
            text::plural(n, "slice")
        )));
    }
    lines.push(line(
        "This page repeats that record; it is no proof by itself. Verify the run yourself before you rely on it.",
    ));
    lines
}

fn not(subject: &Subject) -> Vec<Line> {
    let mut lines = Vec::new();
    let work = Work::of(subject);
    let open = in_state(subject, |s| !matches!(s, State::Proven | State::Provable));
    if subject.run.is_some() || !open.is_empty() {
        if open.is_empty() {
            lines.push(line("No slice was left out: each is proven."));
        } else {
            let share = work.share(open.iter().copied());
            lines.push(line(format!(
                "{} {} not proven, {} of the {}: see \"Why not proven\".",
                text::plural(open.len(), "slice"),
                are(open.len()),
                text::percent(share),
                work.of
            )));
        }
    }
    let groups = reasons::not_proven(subject);
    if let Some(most) = groups.first() {
        lines.push(line(format!(
            "Most of it: {}{}",
            most.backend
                .as_ref()
                .map_or_else(String::new, |b| format!("{b}: ")),
            text::short(&most.reason, 160)
        )));
    }
    if let Some(report) = &subject.verification {
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for s in &report.slices {
            let (Some(p), Some(name)) = (&s.proof, &s.backend) else {
                continue;
            };
            let mut lacks = Vec::new();
            if !p.zero_knowledge {
                lacks.push("are not zero-knowledge");
            }
            if !p.hides_weights {
                lacks.push("do not hide the weights");
            }
            if !p.post_quantum {
                lacks.push("are not known to withstand quantum computers");
            }
            if !lacks.is_empty() {
                seen.insert(format!("Proofs of {name} {}.", lacks.join(", ")));
            }
        }
        lines.extend(seen.into_iter().map(line));
        let given = report
            .slices
            .iter()
            .any(|s| s.keys == Some(KeyOrigin::AsGiven));
        if given {
            lines.push(line(format!(
                "That the keys belong to this model: they were taken as they lay there. Pin them, or verify with {RECOMPILE}.",
            )));
        }
        let clamped: u64 = report.slices.iter().map(|s| s.saturated_inputs).sum();
        if clamped > 0 {
            lines.push(line(format!(
                "{} input values lay beyond the circuits' range and were proven clamped.",
                text::grouped(clamped)
            )));
        }
    }
    lines.push(line(
        "Never shown by any proof: whether the model is any good, and who ran it.",
    ));
    lines
}

/// Fidelity in words.
pub(crate) fn fidelity_line(f: &Fidelity) -> String {
    let mut out = format!(
        "Largest error {} of the output's range or magnitude",
        text::error(f.error.or(f.max_rel))
    );
    if let Some(target) = f.target {
        let word = if f.misses() {
            "MORE than the allowed"
        } else {
            "within the allowed"
        };
        out += &format!(", {word} {}", text::error(Some(target)));
    }
    out + "."
}

fn faithful(subject: &Subject) -> Vec<Line> {
    let verified = subject.verification.as_ref();
    let found = verified
        .and_then(|v| v.fidelity.as_ref().map(|f| (f, v.fidelity_by)))
        .or_else(|| {
            let f = subject.run.as_ref()?.fidelity.as_ref()?;
            Some((f, Some(MeasuredBy::Prover)))
        });
    let Some((f, who)) = found else {
        return vec![line(if subject.run.is_some() {
            "Not measured."
        } else {
            "Measured when the model runs."
        })];
    };
    let mut lines = vec![line(fidelity_line(f))];
    match f.same_argmax {
        Some(true) => lines.push(line("The largest output element is the same one.")),
        Some(false) => lines.push(line("ANOTHER output element is the largest.")),
        None => {}
    }
    if let Some(top) = f.top5 {
        lines.push(line(format!(
            "{} of the five largest agree.",
            text::percent(top)
        )));
    }
    if let Some(w) = &f.worst {
        lines.push(coded(
            &format!(
                "Worst: element {} is {} where the float model has {}, in",
                text::grouped(w.element),
                text::value(w.found),
                text::value(w.expected)
            ),
            &w.output,
        ));
    }
    lines.push(line(match who {
        Some(MeasuredBy::Verifier) => "Measured by the verifier, who ran the float model.",
        _ => "Measured by the prover; nobody checked that note.",
    }));
    lines
}

fn cost(subject: &Subject) -> Vec<Line> {
    let jobs = jobs::all(subject);
    let mut lines = Vec::new();
    for (stage, what) in [
        (JobStage::Compile, "Compiling"),
        (JobStage::Run, "Running"),
        (JobStage::Prove, "Proving"),
        (JobStage::Verify, "Verifying"),
    ] {
        let mine = || jobs.iter().filter(|j| j.stage == stage);
        if mine().next().is_none() {
            continue;
        }
        let cpu: f64 = mine().map(|j| j.usage.cpu_seconds).sum();
        let peak = mine().map(|j| j.usage.peak_bytes).max().unwrap_or(0);
        lines.push(line(format!(
            "{what}: {} CPU, peak {}.",
            text::seconds(cpu),
            text::bytes(peak)
        )));
    }
    if let Some(run) = &subject.run
        && run.totals.proof_bytes > 0
    {
        lines.push(line(format!(
            "Proofs: {} together.",
            text::bytes(run.totals.proof_bytes)
        )));
    }
    if lines.is_empty() {
        lines.push(line("Nothing was computed yet."));
    }
    lines
}

/// The digests that a verifier pins.
#[must_use]
pub fn pins(subject: &Subject) -> Vec<Fact> {
    let mut pins = vec![Fact::code("Model identity", &subject.model.identity)];
    if let Some(report) = &subject.verification {
        if let Some(keys) = &report.keys_sha256 {
            pins.push(Fact::code("Verifying keys", keys));
        }
        pins.push(Fact::code("Input", &report.input_sha256));
        pins.push(Fact::code("Output", &report.output_sha256));
    }
    pins
}

/// What to type to check the run oneself.
#[must_use]
pub fn command(subject: &Subject) -> String {
    if subject.run.is_none() {
        return String::new();
    }
    let mut command = format!(
        "dsperse verify RUN SLICES {EXPECT_MODEL} {}",
        subject.model.identity
    );
    let report = subject.verification.as_ref();
    if let Some(keys) = report.and_then(|r| r.keys_sha256.as_ref()) {
        command += &format!(" {EXPECT_KEYS} {keys}");
    }
    command
}
