//! `slices/metadata.json`: the sliced model.
//!
//! It says of which ONNX file the slices come, what each slice consumes and produces,
//! and which slice feeds which (edges). [`ModelMetadata::compute_identity`] is the
//! digest that stands for the sliced model everywhere else: proofs are bound to it and
//! `verify --expect-model` pins it.

use crate::digest::{FieldHasher, is_sha256_hex};
use crate::document::{Extra, Schema, document};
use dsperse_plugin_api::TensorInfo;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// An external data file of the original model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExternalFile {
    /// Its `location` in the ONNX file, with `/`.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The original ONNX file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelFile {
    /// File name without directories.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the file's bytes, lower-case hex.
    pub sha256: String,
    /// External data files, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external_data: Vec<ExternalFile>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// How the model was cut.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Strategy {
    /// `layer`, `op`, `whole`, `capability` or `points`.
    pub name: String,
    /// Where it was cut, for `points`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<String>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Operators for a table or a sentence, with how often each occurs: `Gemm, Relu ×2`.
#[must_use]
pub fn operator_words<'a>(operators: impl IntoIterator<Item = (&'a String, &'a u64)>) -> String {
    let word = |(operator, n): (&String, &u64)| match n {
        1 => operator.clone(),
        n => format!("{operator} ×{n}"),
    };
    let words: Vec<String> = operators.into_iter().map(word).collect();
    words.join(", ")
}

/// What the whole model's metadata says of one slice.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SliceSummary {
    /// Index from 0 in topological order.
    pub index: usize,
    /// SHA-256 of the slice's ONNX file, lower-case hex.
    pub payload_sha256: String,
    /// Size of the slice's ONNX file in bytes.
    pub payload_size: u64,
    /// Inputs without initializers, in the order of the slice's graph.
    pub inputs: Vec<TensorInfo>,
    /// Outputs, in the order of the slice's graph.
    pub outputs: Vec<TensorInfo>,
    /// How often each operator occurs; with its domain before a `.` when not the default.
    pub operators: BTreeMap<String, u64>,
    /// Number of parameters (elements of weights).
    pub parameters: u64,
    /// Multiply-accumulate operations of one inference.
    pub macs: u64,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A tensor that crosses a slice boundary, or enters or leaves the model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// Name in the model's graph.
    pub tensor: String,
    /// The slice that computes it; `None` for a model input.
    pub producer: Option<usize>,
    /// The slices that read it, ascending.
    pub consumers: Vec<usize>,
    /// Whether it is an output of the model.
    #[serde(default)]
    pub model_output: bool,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A node of the original model that simpler nodes replaced before cutting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewrite {
    /// The node's name, or its operator and first output.
    pub node: String,
    /// Its operator; with its domain before a `.` when not the default.
    pub operator: String,
    /// The rules that were applied, in alphabetical order.
    pub rules: Vec<String>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The document `slices/metadata.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelMetadata {
    /// Version of this document.
    pub schema: Schema<1, 0, 0>,
    /// Version of dsperse that sliced the model.
    pub tool_version: String,
    /// The original model.
    pub model: ModelFile,
    /// Digest of the sliced model, see [`ModelMetadata::compute_identity`].
    pub identity: String,
    /// `ir_version` of the original model.
    pub ir_version: i64,
    /// Opset version per domain; the default domain is the empty string.
    pub opset_imports: BTreeMap<String, i64>,
    /// How it was cut.
    pub strategy: Strategy,
    /// Nodes that were rewritten before cutting, in graph order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewritten: Vec<Rewrite>,
    /// Inputs of the original model that are constants here, each element this number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fixed: BTreeMap<String, String>,
    /// Inputs of the model without initializers, in graph order.
    pub inputs: Vec<TensorInfo>,
    /// Outputs of the model, in graph order.
    pub outputs: Vec<TensorInfo>,
    /// Number of nodes of the original graph.
    pub nodes: u64,
    /// Number of parameters of the original model. Parameters that several slices share
    /// count once here and once in each slice.
    pub parameters: u64,
    /// Multiply-accumulate operations of one inference.
    pub macs: u64,
    /// The slices, by index.
    pub slices: Vec<SliceSummary>,
    /// Every tensor that enters, leaves or crosses a boundary.
    pub edges: Vec<Edge>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}
document!(ModelMetadata, "slices/metadata.json", 1, 0, 0);

/// Why a model's metadata contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The list of slices has a gap or is out of order.
    #[error(
        "slice list is not complete: expected slice {expected} at this place, found slice {found}"
    )]
    Order {
        /// Index that belongs here.
        expected: usize,
        /// Index that stands here.
        found: usize,
    },
    /// A model without slices.
    #[error("the model has no slices")]
    Empty,
    /// A slice reads a tensor that nothing before it produces.
    #[error(
        "slice {slice} reads tensor \"{tensor}\", which is no model input and no output of an earlier slice"
    )]
    Unproduced {
        /// The reading slice.
        slice: usize,
        /// The tensor.
        tensor: String,
    },
    /// Two producers of one tensor.
    #[error("tensor \"{tensor}\" is produced twice, the second time by slice {slice}")]
    ProducedTwice {
        /// The second producer.
        slice: usize,
        /// The tensor.
        tensor: String,
    },
    /// Producer and consumer disagree on dtype or shape.
    #[error(
        "tensor \"{tensor}\" has another dtype or shape in slice {slice} than where it is produced"
    )]
    Mismatch {
        /// The slice.
        slice: usize,
        /// The tensor.
        tensor: String,
    },
    /// A model output that no slice produces.
    #[error("model output \"{tensor}\" is produced by no slice")]
    NoOutput {
        /// The tensor.
        tensor: String,
    },
    /// The recorded edges are not those that follow from the slices.
    #[error(
        "the recorded edges don't follow from the slices' inputs and outputs (first difference at tensor \"{tensor}\")"
    )]
    Edges {
        /// The first tensor that differs.
        tensor: String,
    },
    /// A digest is not 64 lower-case hex digits.
    #[error("\"{what}\" is not a SHA-256 in lower-case hex: \"{found}\"")]
    Digest {
        /// Which field.
        what: String,
        /// What stands there.
        found: String,
    },
    /// The recorded identity is not that of the content.
    #[error("model identity doesn't match the content: recorded {recorded}, computed {computed}")]
    Identity {
        /// What the document says.
        recorded: String,
        /// What follows from the content.
        computed: String,
    },
}

/// The edges that follow from what the slices read and write, sorted: model inputs in
/// graph order, then what each slice produces, in order.
///
/// # Errors
/// When a tensor has no producer or two, or two sides disagree on its dtype or shape.
pub fn derive_edges(
    inputs: &[TensorInfo],
    outputs: &[TensorInfo],
    slices: &[SliceSummary],
) -> Result<Vec<Edge>, ModelError> {
    let mut edges: Vec<Edge> = Vec::new();
    let mut place: HashMap<&str, (usize, &TensorInfo)> = HashMap::new();
    let model_outputs: HashSet<&str> = outputs.iter().map(|t| t.name.as_str()).collect();
    let add = |edges: &mut Vec<Edge>, t, producer: Option<usize>| {
        let t: &TensorInfo = t;
        edges.push(Edge {
            tensor: t.name.clone(),
            producer,
            model_output: model_outputs.contains(t.name.as_str()),
            ..Edge::default()
        });
    };
    for t in inputs {
        if place.insert(&t.name, (edges.len(), t)).is_some() {
            return Err(ModelError::ProducedTwice {
                slice: 0,
                tensor: t.name.clone(),
            });
        }
        add(&mut edges, t, None);
    }
    for s in slices {
        for t in &s.inputs {
            let Some((at, produced)) = place.get(t.name.as_str()) else {
                return Err(ModelError::Unproduced {
                    slice: s.index,
                    tensor: t.name.clone(),
                });
            };
            if *produced != t {
                return Err(ModelError::Mismatch {
                    slice: s.index,
                    tensor: t.name.clone(),
                });
            }
            if let Some(edge) = edges.get_mut(*at)
                && edge.consumers.last() != Some(&s.index)
            {
                edge.consumers.push(s.index);
            }
        }
        for t in &s.outputs {
            if place.insert(&t.name, (edges.len(), t)).is_some() {
                return Err(ModelError::ProducedTwice {
                    slice: s.index,
                    tensor: t.name.clone(),
                });
            }
            add(&mut edges, t, Some(s.index));
        }
    }
    for t in outputs {
        match place.get(t.name.as_str()) {
            None => {
                return Err(ModelError::NoOutput {
                    tensor: t.name.clone(),
                });
            }
            Some((at, produced)) if *produced != t => {
                return Err(ModelError::Mismatch {
                    slice: edges.get(*at).and_then(|e| e.producer).unwrap_or(0),
                    tensor: t.name.clone(),
                });
            }
            Some(_) => {}
        }
    }
    Ok(edges)
}

impl ModelMetadata {
    /// The digest that identifies the sliced model: it covers the original ONNX bytes
    /// (with external data), the model's inputs and outputs, what was rewritten or
    /// fixed before cutting, and for each slice its
    /// index, payload, inputs, outputs, parameters and multiply-accumulates (so that the
    /// proven share can't be dressed up). It does not cover names of files or the
    /// shape on disk (`dirs`, `dslice`, `dsperse`), so a conversion keeps it.
    #[must_use]
    pub fn compute_identity(&self) -> String {
        let mut h = FieldHasher::new("dsperse/model-identity/1");
        h.text(&self.model.sha256);
        h.number(self.model.external_data.len() as u64);
        for e in &self.model.external_data {
            h.text(&e.name).text(&e.sha256);
        }
        h.tensors(&self.inputs).tensors(&self.outputs);
        if !self.rewritten.is_empty() {
            h.text("rewritten").number(self.rewritten.len() as u64);
            for r in &self.rewritten {
                h.text(&r.node).text(&r.operator);
                h.number(r.rules.len() as u64);
                for rule in &r.rules {
                    h.text(rule);
                }
            }
        }
        if !self.fixed.is_empty() {
            h.text("fixed").number(self.fixed.len() as u64);
            for (input, value) in &self.fixed {
                h.text(input).text(value);
            }
        }
        h.number(self.slices.len() as u64);
        for s in &self.slices {
            h.number(s.index as u64)
                .text(&s.payload_sha256)
                .number(s.parameters)
                .number(s.macs)
                .tensors(&s.inputs)
                .tensors(&s.outputs);
        }
        h.finish()
    }

    /// Computes edges and identity from the rest; call it once the slices are known.
    ///
    /// # Errors
    /// As [`derive_edges`].
    pub fn seal(&mut self) -> Result<(), ModelError> {
        self.edges = derive_edges(&self.inputs, &self.outputs, &self.slices)?;
        self.identity = self.compute_identity();
        Ok(())
    }

    /// Checks that the document doesn't contradict itself: complete slice list, edges,
    /// digests, identity.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn validate(&self) -> Result<(), ModelError> {
        if self.slices.is_empty() {
            return Err(ModelError::Empty);
        }
        let digest = |what: String, found: &str| {
            if is_sha256_hex(found) {
                Ok(())
            } else {
                Err(ModelError::Digest {
                    what,
                    found: found.chars().take(80).collect(),
                })
            }
        };
        digest("model.sha256".into(), &self.model.sha256)?;
        for (expected, s) in self.slices.iter().enumerate() {
            if s.index != expected {
                return Err(ModelError::Order {
                    expected,
                    found: s.index,
                });
            }
            digest(
                format!("slices[{expected}].payload_sha256"),
                &s.payload_sha256,
            )?;
        }
        let derived = derive_edges(&self.inputs, &self.outputs, &self.slices)?;
        let key = |e: &Edge| (e.producer, e.consumers.clone(), e.model_output);
        let recorded: HashMap<&str, &Edge> =
            self.edges.iter().map(|e| (e.tensor.as_str(), e)).collect();
        for e in &derived {
            if recorded.get(e.tensor.as_str()).map(|r| key(r)) != Some(key(e)) {
                return Err(ModelError::Edges {
                    tensor: e.tensor.clone(),
                });
            }
        }
        if self.edges.len() != derived.len() {
            let known: HashSet<&str> = derived.iter().map(|e| e.tensor.as_str()).collect();
            let odd = self
                .edges
                .iter()
                .map(|e| e.tensor.as_str())
                .find(|t| !known.contains(t))
                .or(self.edges.last().map(|e| e.tensor.as_str()));
            return Err(ModelError::Edges {
                tensor: odd.unwrap_or_default().to_owned(),
            });
        }
        let computed = self.compute_identity();
        if computed != self.identity {
            return Err(ModelError::Identity {
                recorded: self.identity.clone(),
                computed,
            });
        }
        Ok(())
    }
}
