//! The words and numbers of the page.

pub mod answers;
pub mod compare;
pub mod cost;
pub mod fidelity;
pub mod model;
pub mod slices;

use crate::fold::{self, Stretch};
use crate::graph::{self, Drawing};
use crate::reasons::{self, Group};
use crate::state::{self, State};
use crate::subject::Subject;
use crate::{tables, text};
use base64::Engine as _;
use dsperse_documents::SliceMetadata;
use serde::Serialize;

/// Everything that the template of one subject shows.
#[derive(Debug, Serialize)]
pub struct Page {
    /// Name of the model's file.
    pub model: String,
    /// Name of the run; empty for a model.
    pub run: String,
    /// Version of dsperse.
    pub tool: &'static str,
    /// The verdict in one sentence.
    pub verdict: answers::Sentence,
    /// Bars of what was proven.
    pub shares: Vec<Share>,
    /// The states that occur.
    pub legend: Vec<LegendItem>,
    /// The six questions.
    pub answers: Vec<answers::Answer>,
    /// What to pin.
    pub pins: Vec<Fact>,
    /// What to type to check it oneself; empty for a model.
    pub command: String,
    /// What the reader must know of the documents.
    pub remarks: Vec<String>,
    /// The graph with blocks folded; `None` when nothing repeats.
    pub folded: Option<Drawing>,
    /// The graph, slice by slice.
    pub full: Drawing,
    /// The repeated blocks.
    pub blocks: Vec<Block>,
    /// Why slices are not proven.
    pub not_proven: Vec<ReasonRow>,
    /// Why backends were passed over for slices that others prove.
    pub fallbacks: Vec<ReasonRow>,
    /// Times and memory.
    pub cost: cost::Cost,
    /// Distance from the float model.
    pub fidelity: fidelity::FidelityView,
    /// Slices.
    pub slices: Vec<slices::SliceView>,
    /// Notes of backends and stages, each once.
    pub notes: Vec<Note>,
    /// Facts of the model.
    pub facts: Vec<Fact>,
    /// Tensors that cross boundaries.
    pub tensors: Vec<model::TensorRow>,
    /// Data to take along.
    pub downloads: Vec<Download>,
}

/// A name and a value.
#[derive(Debug, Clone, Serialize)]
pub struct Fact {
    /// What.
    pub name: String,
    /// How much.
    pub value: String,
    /// Whether it is a digest or the like.
    pub code: bool,
}

impl Fact {
    fn new(name: &str, value: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            value: value.into(),
            code: false,
        }
    }
    fn code(name: &str, value: impl Into<String>) -> Self {
        Self {
            code: true,
            ..Self::new(name, value)
        }
    }
}

/// One state of the legend.
#[derive(Debug, Clone, Serialize)]
pub struct LegendItem {
    /// Class.
    pub class: &'static str,
    /// Sign.
    pub sign: &'static str,
    /// Word.
    pub word: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// Slices.
    pub slices: String,
    /// Share of the work.
    pub share: String,
}

/// A bar of shares by state.
#[derive(Debug, Clone, Serialize)]
pub struct Share {
    /// Of what.
    pub of: &'static str,
    /// All of it.
    pub total: String,
    /// For screen readers.
    pub tip: String,
    /// Parts, in percent.
    pub parts: Vec<SharePart>,
}

/// A part of a bar.
#[derive(Debug, Clone, Serialize)]
pub struct SharePart {
    /// Class.
    pub class: &'static str,
    /// Left edge, 0 to 1000.
    pub x: f64,
    /// Width, 0 to 1000.
    pub width: f64,
}

/// A repeated block.
#[derive(Debug, Clone, Serialize)]
pub struct Block {
    /// Id on the page.
    pub id: String,
    /// `6 × block of 2 slices`.
    pub title: String,
    /// What each member is.
    pub members: Vec<String>,
    /// One row for each repetition.
    pub rows: Vec<Vec<Cell>>,
}

/// A slice as a small link.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// Slice.
    pub slice: usize,
    /// Class of its state.
    pub class: &'static str,
    /// Sign of its state.
    pub sign: &'static str,
    /// Word of its state.
    pub word: &'static str,
}

impl Cell {
    fn of(subject: &Subject, slice: &SliceMetadata) -> Self {
        let state = state::of(subject, slice);
        Self {
            slice: slice.index,
            class: state.class(),
            sign: state.sign(),
            word: state.word(),
        }
    }
}

/// A reason for a group of slices.
#[derive(Debug, Clone, Serialize)]
pub struct ReasonRow {
    /// Its number on the page.
    pub number: usize,
    /// The number of the same reason above.
    pub same_as: Option<usize>,
    /// Who said so.
    pub who: String,
    /// The operators.
    pub operators: String,
    /// The reason.
    pub reason: String,
    /// Whether it varies over the slices.
    pub varies: bool,
    /// What would change it.
    pub remedy: String,
    /// How many slices.
    pub count: String,
    /// Stretches of slices: first, last.
    pub spans: Vec<(usize, usize)>,
    /// Share of the multiply-accumulates, in words.
    pub share: String,
    /// Width of its bar, 0 to 100.
    pub bar: f64,
}

/// A sentence that backends or stages gave, and for which slices.
#[derive(Debug, Clone, Serialize)]
pub struct Note {
    /// The sentence.
    pub text: String,
    /// Of what it speaks.
    pub about: String,
}

/// A file inside the page.
#[derive(Debug, Clone, Serialize)]
pub struct Download {
    /// Its name.
    pub name: &'static str,
    /// What is in it.
    pub title: &'static str,
    /// The file as an address.
    pub href: String,
    /// Its size in words.
    pub size: String,
}

/// A figure of a slice.
type Figure = fn(&SliceMetadata) -> u64;

/// How much of the work slices are.
pub(crate) struct Work {
    pub of: &'static str,
    pub total: u64,
    of_slice: Figure,
}

impl Work {
    /// Multiply-accumulates where there are any, else parameters, else slices.
    pub(crate) fn of(subject: &Subject) -> Self {
        let sum = |f: Figure| {
            subject
                .slices
                .iter()
                .fold(0u64, |sum, s| sum.saturating_add(f(s)))
        };
        let kinds: [(&'static str, Figure); 3] = [
            ("multiply-accumulates", |s| s.macs),
            ("parameters", |s| s.parameters),
            ("slices", |_| 1),
        ];
        let [macs, parameters, slices] = kinds.map(|(of, f)| Self {
            of,
            total: sum(f),
            of_slice: f,
        });
        if macs.total > 0 {
            macs
        } else if parameters.total > 0 {
            parameters
        } else {
            slices
        }
    }

    /// The share of some slices, from 0 to 1.
    pub(crate) fn share<'a>(&self, slices: impl IntoIterator<Item = &'a SliceMetadata>) -> f64 {
        let part = slices
            .into_iter()
            .fold(0u64, |sum, s| sum.saturating_add((self.of_slice)(s)));
        if self.total == 0 {
            0.0
        } else {
            part as f64 / self.total as f64
        }
    }
}

/// The slices in a state.
pub(crate) fn in_state(subject: &Subject, wanted: impl Fn(State) -> bool) -> Vec<&SliceMetadata> {
    let all = subject.slices.iter();
    all.filter(|s| wanted(state::of(subject, s))).collect()
}

/// The page of a subject.
pub fn page(subject: &Subject) -> Page {
    let likenesses: Vec<_> = subject.slices.iter().map(graph::likeness).collect();
    let alive = graph::alive(subject);
    let stretches = fold::fold(&likenesses, |i| alive.get(i).copied().unwrap_or_default());
    let single: Vec<Stretch> = (0..subject.slices.len())
        .map(|first| Stretch {
            first,
            length: 1,
            times: 1,
        })
        .collect();
    let folds = stretches.iter().any(Stretch::is_block);
    let groups = reasons::not_proven(subject);
    let fallbacks = reasons::fallen_through(subject);
    Page {
        model: subject.model.model.name.clone(),
        run: subject
            .run
            .as_ref()
            .map(|_| subject.name.clone())
            .unwrap_or_default(),
        tool: env!("CARGO_PKG_VERSION"),
        verdict: answers::sentence(subject),
        shares: shares(subject),
        legend: legend(subject),
        answers: answers::answers(subject),
        pins: answers::pins(subject),
        command: answers::command(subject),
        remarks: subject.remarks.clone(),
        folded: folds.then(|| graph::draw(subject, &stretches, "folded")),
        full: graph::draw(subject, &single, "full"),
        blocks: blocks(subject, &stretches),
        slices: slices::slices(subject, &[groups.as_slice(), fallbacks.as_slice()].concat()),
        fallbacks: reason_rows(subject, &fallbacks, &groups),
        not_proven: reason_rows(subject, &groups, &[]),
        cost: cost::cost(subject),
        fidelity: fidelity::fidelity(subject),
        notes: notes(subject),
        facts: model::facts(subject),
        tensors: model::tensors(subject),
        downloads: downloads(subject),
    }
}

fn legend(subject: &Subject) -> Vec<LegendItem> {
    let work = Work::of(subject);
    State::ALL
        .into_iter()
        .filter_map(|s| {
            let slices = in_state(subject, |x| x == s);
            (!slices.is_empty()).then(|| LegendItem {
                class: s.class(),
                sign: s.sign(),
                word: s.word(),
                meaning: s.meaning(),
                slices: text::plural(slices.len(), "slice"),
                share: text::percent(work.share(slices)),
            })
        })
        .collect()
}

/// Bars by multiply-accumulates and by parameters, as far as the model has any.
pub(crate) fn shares(subject: &Subject) -> Vec<Share> {
    let kinds: [(&'static str, Figure); 2] = [
        ("multiply-accumulates", |s| s.macs),
        ("parameters", |s| s.parameters),
    ];
    kinds
        .into_iter()
        .filter_map(|(of, f)| {
            let total = subject
                .slices
                .iter()
                .fold(0u64, |sum, s| sum.saturating_add(f(s)));
            (total > 0).then(|| {
                let mut x = 0.0;
                let mut parts = Vec::new();
                let mut words = Vec::new();
                for s in State::ALL {
                    let part = in_state(subject, |y| y == s)
                        .into_iter()
                        .fold(0u64, |sum, s| sum.saturating_add(f(s)));
                    if part == 0 {
                        continue;
                    }
                    let share = part as f64 / total as f64;
                    words.push(format!("{} {}", text::percent(share), s.word()));
                    let width = (share * 10_000.0).round() / 10.0;
                    parts.push(SharePart {
                        class: s.class(),
                        x: (x * 10_f64).round() / 10.0,
                        width,
                    });
                    x += width;
                }
                Share {
                    of,
                    total: text::grouped(total),
                    tip: words.join(", "),
                    parts,
                }
            })
        })
        .collect()
}

fn blocks(subject: &Subject, stretches: &[Stretch]) -> Vec<Block> {
    stretches
        .iter()
        .enumerate()
        .filter(|(_, s)| s.is_block())
        .filter_map(|(k, s)| {
            let all = subject.slices.get(s.slices())?;
            Some(Block {
                id: format!("block-{k}"),
                title: format!("{} × block of {}", s.times, text::plural(s.length, "slice")),
                members: all[..s.length].iter().map(graph::operators).collect(),
                rows: all
                    .chunks(s.length)
                    .map(|c| c.iter().map(|s| Cell::of(subject, s)).collect())
                    .collect(),
            })
        })
        .collect()
}

/// Rows of a table of reasons; those of the table `above` are not told again.
fn reason_rows(subject: &Subject, groups: &[Group], above: &[Group]) -> Vec<ReasonRow> {
    let work = Work::of(subject);
    groups
        .iter()
        .enumerate()
        .map(|(k, g)| {
            let slices = subject.slices.iter();
            let share = work.share(slices.filter(|s| g.slices.contains(&s.index)));
            ReasonRow {
                number: above.len() + k + 1,
                same_as: above.iter().position(|a| a.same_reason(g)).map(|k| k + 1),
                who: g
                    .backend
                    .clone()
                    .unwrap_or_else(|| "run and verifier".to_owned()),
                operators: g.operators.join(", "),
                reason: sentence(&g.reason),
                varies: g.varies,
                remedy: g.remedy.clone(),
                count: text::plural(g.slices.len(), "slice"),
                spans: text::spans(&g.slices),
                share: text::percent(share),
                bar: (share * 1000.0).round() / 10.0,
            }
        })
        .collect()
}

/// A reason as a sentence: with a capital letter when it begins with a plain word.
fn sentence(reason: &str) -> String {
    let mut chars = reason.chars();
    match chars.next() {
        Some(c) if c.is_ascii_lowercase() => c.to_ascii_uppercase().to_string() + chars.as_str(),
        _ => reason.to_owned(),
    }
}

/// Warnings and caveats, each once, with the slices that it is about.
fn notes(subject: &Subject) -> Vec<Note> {
    let mut found: Vec<(String, Vec<usize>)> = Vec::new();
    let mut add = |text: &str, slice: usize| match found.iter_mut().find(|(t, _)| t == text) {
        Some((_, slices)) => {
            if !slices.contains(&slice) {
                slices.push(slice);
            }
        }
        None => found.push((text.to_owned(), vec![slice])),
    };
    for slice in &subject.slices {
        let index = slice.index;
        let compiled = subject.compilation(slice);
        for text in compiled.iter().flat_map(|c| &c.warnings) {
            add(text, index);
        }
        for text in compiled
            .iter()
            .filter_map(|c| c.proof.as_ref())
            .flat_map(|p| &p.caveats)
        {
            add(text, index);
        }
        let run = subject.slice_run(index);
        let stages = run.map(|r| {
            [
                &r.witness_execution,
                &r.proof_execution,
                &r.verification_execution,
            ]
        });
        for stage in stages.into_iter().flatten().flatten() {
            for text in &stage.warnings {
                add(text, index);
            }
        }
        for text in subject
            .slice_verdict(index)
            .iter()
            .flat_map(|v| &v.warnings)
        {
            add(text, index);
        }
    }
    let all = subject.slices.len();
    found
        .into_iter()
        .map(|(text, mut slices)| {
            slices.sort_unstable();
            Note {
                text: sentence(&text),
                about: if slices.len() == all && all > 1 {
                    "all slices".to_owned()
                } else if slices.len() == 1 {
                    format!("slice {}", slices[0])
                } else {
                    format!("slices {}", text::ranges(&slices))
                },
            }
        })
        .collect()
}

/// Rows of values that go into the page; `--csv` writes all of them.
const VALUES_IN_PAGE: usize = 1000;

fn downloads(subject: &Subject) -> Vec<Download> {
    let mut all = tables::tables(subject);
    for t in &mut all {
        if t.name == "values.csv" {
            *t = tables::values(subject, VALUES_IN_PAGE);
        }
    }
    all.into_iter()
        .map(|t| Download {
            name: t.name,
            title: t.title,
            size: text::bytes(t.csv.len() as u64),
            href: format!(
                "data:text/csv;charset=utf-8;base64,{}",
                base64::engine::general_purpose::STANDARD.encode(&t.csv)
            ),
        })
        .collect()
}
