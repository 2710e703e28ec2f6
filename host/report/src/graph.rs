//! The drawing of the model: slices as nodes, tensors as edges, repeated blocks folded.
//!
//! Where nodes and edges go is decided by the crate `dagre` (the layered layout of dagre.js,
//! after Sugiyama); here only its input is made and its answer turned into SVG paths.

use crate::fold::Stretch;
use crate::state::{self, State};
use crate::subject::Subject;
use crate::text;
use dsperse_documents::{SliceMetadata, TensorInfo, operator_words};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A drawing, in pixels.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Drawing {
    /// Prefix of ids in it, so that two drawings can share a page.
    pub id: String,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// Nodes, from the model's inputs to its outputs.
    pub nodes: Vec<Node>,
    /// Edges.
    pub edges: Vec<Line>,
}

/// A node.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Node {
    /// `slice`, `block` or `tensor`.
    pub kind: &'static str,
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// First line.
    pub title: String,
    /// Second line.
    pub subtitle: String,
    /// Class of its state.
    pub class: &'static str,
    /// Sign of its state.
    pub sign: &'static str,
    /// Where a click leads, without `#`.
    pub target: Option<String>,
    /// The whole story, for a tooltip and for screen readers.
    pub tip: String,
    /// How many slices of a block have which state.
    pub parts: Vec<Part>,
}

/// A part of a block's bar.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Part {
    /// Class of the state.
    pub class: &'static str,
    /// Left edge, relative to the node.
    pub x: f64,
    /// Width.
    pub width: f64,
}

/// An edge.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Line {
    /// The path.
    pub path: String,
    /// What is written beside it.
    pub label: String,
    /// Where.
    pub x: f64,
    /// Where.
    pub y: f64,
    /// All tensors on it.
    pub tip: String,
}

const NODE: (f64, f64) = (222.0, 46.0);
const BLOCK: (f64, f64) = (236.0, 66.0);
const TENSOR: (f64, f64) = (170.0, 34.0);
const LABEL_HEIGHT: f64 = 15.0;
/// Advance of a character of labels, of node titles (estimates for system fonts).
const LABEL_ADVANCE: f64 = 6.2;
/// With more edges than this the layout takes the cheaper way to rank nodes.
const MANY_EDGES: usize = 1500;

/// Operators that say most of a slice, when it has several.
const TELLING: [&str; 14] = [
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "QLinearConv",
    "QLinearMatMul",
    "Attention",
    "LSTM",
    "GRU",
    "RNN",
    "Softmax",
    "LayerNormalization",
    "BatchNormalization",
    "Gather",
];

/// Operators of a slice, the telling ones first: `Conv, Relu ×2`.
#[must_use]
pub fn operators(slice: &SliceMetadata) -> String {
    let mut list: Vec<(&String, &u64)> = slice.operators.iter().collect();
    let place = |op: &str| {
        TELLING
            .iter()
            .position(|t| *t == op)
            .unwrap_or(TELLING.len())
    };
    list.sort_by_key(|(op, _)| (place(op), op.as_str()));
    let words = operator_words(list);
    if words.is_empty() {
        "no operators".to_owned()
    } else {
        words
    }
}

/// What two slices must share to count as alike: their operators.
#[must_use]
pub fn likeness(slice: &SliceMetadata) -> Vec<(&str, u64)> {
    let list = slice.operators.iter();
    list.map(|(op, n)| (op.as_str(), *n)).collect()
}

/// How many tensors are alive before each slice: made before it, or the model's input, and
/// used by it or after it.
#[must_use]
pub fn alive(subject: &Subject) -> Vec<usize> {
    let mut alive = vec![0; subject.slices.len()];
    for e in &subject.model.edges {
        let born = e.producer.map_or(0, |p| p + 1);
        let dies = e.consumers.iter().max().map_or(0, |c| c + 1);
        for n in alive.iter_mut().take(dies).skip(born) {
            *n += 1;
        }
    }
    alive
}

/// Draws the model with these stretches as nodes.
#[must_use]
pub fn draw(subject: &Subject, stretches: &[Stretch], id: &str) -> Drawing {
    let mut nodes: Vec<Node> = Vec::new();
    let mut names: BTreeMap<Place, usize> = BTreeMap::new();
    let mut of_slice: BTreeMap<usize, Place> = BTreeMap::new();
    let mut insert = |place: Place, node: Node| {
        names.insert(place, nodes.len());
        nodes.push(node);
    };
    for (k, t) in subject.model.inputs.iter().enumerate() {
        insert(Place::Input(k), tensor_node(t, "input"));
    }
    for (k, stretch) in stretches.iter().enumerate() {
        for position in stretch.slices() {
            if let Some(slice) = subject.slices.get(position) {
                of_slice.insert(slice.index, Place::Stretch(k));
            }
        }
        let node = if stretch.is_block() {
            block_node(subject, stretch, k)
        } else {
            subject
                .slices
                .get(stretch.first)
                .map(|s| slice_node(subject, s))
                .unwrap_or_default()
        };
        insert(Place::Stretch(k), node);
    }
    for (k, t) in subject.model.outputs.iter().enumerate() {
        insert(Place::Output(k), tensor_node(t, "output"));
    }
    let tensors = tensors(subject, &of_slice);
    lay_out(nodes, &names, &tensors, id)
}

/// What a node stands for; the order is that of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Input(usize),
    Stretch(usize),
    Output(usize),
}

type Between<'a> = BTreeMap<(Place, Place), Vec<&'a TensorInfo>>;

/// The tensors between each two places.
fn tensors<'a>(subject: &'a Subject, of_slice: &BTreeMap<usize, Place>) -> Between<'a> {
    let model = &subject.model;
    let mut infos: BTreeMap<&str, &TensorInfo> = BTreeMap::new();
    let made = model.slices.iter().flat_map(|s| &s.outputs);
    for t in model.inputs.iter().chain(made) {
        infos.entry(&t.name).or_insert(t);
    }
    let mut between: Between<'a> = BTreeMap::new();
    for e in &model.edges {
        let Some(info) = infos.get(e.tensor.as_str()) else {
            continue;
        };
        let from = match e.producer {
            Some(slice) => of_slice.get(&slice).copied(),
            None => {
                let k = model.inputs.iter().position(|t| t.name == e.tensor);
                k.map(Place::Input)
            }
        };
        let Some(from) = from else { continue };
        let mut to: Vec<Place> = e
            .consumers
            .iter()
            .filter_map(|c| of_slice.get(c).copied())
            .collect();
        if e.model_output {
            let k = model.outputs.iter().position(|t| t.name == e.tensor);
            to.extend(k.map(Place::Output));
        }
        to.sort_unstable();
        to.dedup();
        for to in to {
            if to != from {
                between.entry((from, to)).or_default().push(info);
            }
        }
    }
    between
}

fn tensor_node(t: &TensorInfo, what: &str) -> Node {
    Node {
        kind: "tensor",
        width: TENSOR.0,
        height: TENSOR.1,
        title: format!("{what} {}", text::short(&t.name, 16)),
        subtitle: format!("{} {}", t.encoding.name(), text::shape(&t.shape)),
        class: "tensor",
        tip: format!("model {what} \"{}\", {}", t.name, text::shape(&t.shape)),
        ..Node::default()
    }
}

fn slice_node(subject: &Subject, slice: &SliceMetadata) -> Node {
    let state = state::of(subject, slice);
    let ops = operators(slice);
    let backend = subject.backend(slice).unwrap_or("no backend");
    Node {
        kind: "slice",
        width: NODE.0,
        height: NODE.1,
        title: format!(
            "{}  {}",
            slice.index,
            text::short(&ops, 21usize.saturating_sub(digits(slice.index) / 2))
        ),
        subtitle: format!("{} · {}", text::short(backend, 16), state.word()),
        class: state.class(),
        sign: state.sign(),
        target: Some(format!("slice-{}", slice.index)),
        tip: format!(
            "Slice {}: {ops}. {}, backend {backend}, {} multiply-accumulates",
            slice.index,
            state.word(),
            text::grouped(slice.macs)
        ),
        ..Node::default()
    }
}

fn block_node(subject: &Subject, stretch: &Stretch, k: usize) -> Node {
    let members = || {
        let all = subject.slices.get(stretch.slices()).unwrap_or_default();
        all.iter()
    };
    let mut states: BTreeMap<State, usize> = BTreeMap::new();
    for slice in members() {
        *states.entry(state::of(subject, slice)).or_default() += 1;
    }
    let total = members().count().max(1);
    let width = BLOCK.0 - 24.0;
    let mut x = 12.0;
    let mut parts = Vec::new();
    for (state, n) in &states {
        let share = *n as f64 / total as f64 * width;
        parts.push(Part {
            class: state.class(),
            x,
            width: share,
        });
        x += share;
    }
    let words: Vec<String> = states
        .iter()
        .map(|(s, n)| format!("{n} {}", s.word()))
        .collect();
    let worst = states.keys().copied().find(|s| *s == State::Failed);
    let state = worst.or(states.keys().next_back().copied());
    let kinds: Vec<String> = members().take(stretch.length).map(operators).collect();
    let (first, last) = (
        members().next().map_or(0, |s| s.index),
        members().next_back().map_or(0, |s| s.index),
    );
    Node {
        kind: "block",
        width: BLOCK.0,
        height: BLOCK.1,
        title: format!(
            "{} × block of {}",
            stretch.times,
            text::plural(stretch.length, "slice")
        ),
        subtitle: format!(
            "{first}–{last}: {}",
            text::short(&kinds.join(" → "), 30usize.saturating_sub(digits(last)))
        ),
        class: state.map_or("none", State::class),
        sign: state.map_or("", State::sign),
        target: Some(format!("block-{k}")),
        tip: format!(
            "Block of {} ({}), repeated {} times, slices {first} to {last}: {}",
            text::plural(stretch.length, "slice"),
            kinds.join("; "),
            stretch.times,
            words.join(", ")
        ),
        parts,
        ..Node::default()
    }
}

fn digits(n: usize) -> usize {
    2 * n.to_string().len()
}

fn label(tensors: &[&TensorInfo]) -> String {
    match tensors {
        [one] => text::short(&text::shape(&one.shape), 24),
        [] => String::new(),
        several => format!("{} tensors", several.len()),
    }
}

fn lay_out(
    mut nodes: Vec<Node>,
    names: &BTreeMap<Place, usize>,
    tensors: &Between<'_>,
    id: &str,
) -> Drawing {
    let mut graph = dagre::graph::Graph::with_options(dagre::graph::GraphOptions {
        directed: true,
        multigraph: false,
        compound: false,
    });
    for (k, node) in nodes.iter().enumerate() {
        let label = dagre::NodeLabel {
            width: node.width,
            height: node.height,
            ..dagre::NodeLabel::default()
        };
        graph.set_node(k.to_string(), Some(label));
    }
    let between: Vec<(usize, usize, &Vec<&TensorInfo>)> = tensors
        .iter()
        .filter_map(|((a, b), t)| Some((*names.get(a)?, *names.get(b)?, t)))
        .collect();
    for (a, b, t) in &between {
        let label = dagre::EdgeLabel {
            width: label(t).chars().count() as f64 * LABEL_ADVANCE + 8.0,
            height: LABEL_HEIGHT,
            labelpos: dagre::layout::types::LabelPos::Center,
            // What follows directly in the graph stands straight below.
            weight: if b - a == 1 { 4 } else { 1 },
            ..dagre::EdgeLabel::default()
        };
        graph.set_edge(a.to_string(), b.to_string(), Some(label), None);
    }
    let options = dagre::LayoutOptions {
        nodesep: 24.0,
        edgesep: 16.0,
        ranksep: 34.0,
        marginx: 8.0,
        marginy: 8.0,
        ranker: if between.len() > MANY_EDGES {
            dagre::Ranker::LongestPath
        } else {
            dagre::Ranker::NetworkSimplex
        },
        ..dagre::LayoutOptions::default()
    };
    dagre::layout(&mut graph, Some(options));
    let mut drawing = Drawing {
        id: id.to_owned(),
        ..Drawing::default()
    };
    for (k, node) in nodes.iter_mut().enumerate() {
        let Some(placed) = graph.node(&k.to_string()) else {
            continue;
        };
        node.x = tidy(placed.x.unwrap_or_default() - node.width / 2.0);
        node.y = tidy(placed.y.unwrap_or_default() - node.height / 2.0);
        drawing.width = drawing.width.max(node.x + node.width);
        drawing.height = drawing.height.max(node.y + node.height);
    }
    for (a, b, t) in between {
        let Some(placed) = graph.edge(&a.to_string(), &b.to_string(), None) else {
            continue;
        };
        let points: Vec<(f64, f64)> = placed.points.iter().map(|p| (p.x, p.y)).collect();
        for (x, y) in &points {
            drawing.width = drawing.width.max(*x);
            drawing.height = drawing.height.max(*y);
        }
        let label = label(t);
        let (x, y) = match (placed.x, placed.y) {
            (Some(x), Some(y)) => (x, y),
            _ => points.get(points.len() / 2).copied().unwrap_or_default(),
        };
        let half = label.chars().count() as f64 * LABEL_ADVANCE / 2.0;
        drawing.width = drawing.width.max(x + half);
        let all: Vec<String> = t
            .iter()
            .map(|t| format!("{} {}", t.name, text::shape(&t.shape)))
            .collect();
        drawing.edges.push(Line {
            path: path(&points),
            label,
            x: tidy(x),
            y: tidy(y + 4.0),
            tip: all.join(", "),
        });
    }
    drawing.width = tidy(drawing.width + 8.0);
    drawing.height = tidy(drawing.height + 8.0);
    drawing.nodes = nodes;
    drawing
}

/// A smooth line through the middles of the legs.
fn path(points: &[(f64, f64)]) -> String {
    let mut out = String::new();
    let Some((first, rest)) = points.split_first() else {
        return out;
    };
    let _ = write!(out, "M{} {}", tidy(first.0), tidy(first.1));
    let Some((last, inner)) = rest.split_last() else {
        return out;
    };
    for (k, p) in inner.iter().enumerate() {
        let next = inner.get(k + 1).unwrap_or(last);
        let middle = ((p.0 + next.0) / 2.0, (p.1 + next.1) / 2.0);
        let _ = write!(
            out,
            "Q{} {} {} {}",
            tidy(p.0),
            tidy(p.1),
            tidy(middle.0),
            tidy(middle.1)
        );
    }
    let _ = write!(out, "L{} {}", tidy(last.0), tidy(last.1));
    out
}

/// One decimal is finer than any screen.
fn tidy(v: f64) -> f64 {
    let v = (v * 10.0).round() / 10.0;
    if v.is_finite() { v } else { 0.0 }
}
