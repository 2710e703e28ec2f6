//! From a plan to slices: each a valid model of its own.
//!
//! A slice holds its nodes, the constant nodes and initializers that they read (also
//! through the sub-graphs of `If` and `Loop`), inputs for what earlier slices or the model
//! itself provide, and outputs for what later slices or the model need, even when the
//! tensor is used inside as well. Texts that exporters add (source positions with paths of
//! the author's machine) are left out.

use crate::cost;
use crate::error::{Result, SliceError};
use crate::graph;
use crate::plan::Plan;
use crate::prepare::Prepared;
use crate::weights::Role;
use bytes::Bytes;
use dsperse_documents::{SliceSummary, TensorInfo};
use dsperse_onnx::{DataType, FunctionProto, GraphProto, ModelProto, NodeProto, ValueInfoProto};
use prost::Message as _;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// Files of this size and above are no valid protobuf messages.
const MAX_BYTES: usize = 1 << 31;
/// The lowest IR version at which initializers need not be inputs.
const MIN_IR_VERSION: i64 = 4;

/// One slice.
#[derive(Debug, Clone)]
pub struct Slice {
    /// Index from 0 in topological order.
    pub index: usize,
    /// The ONNX model. Weights are shared with the prepared model's memory.
    pub model: ModelProto,
    /// Inputs (without initializers), in graph order.
    pub inputs: Vec<TensorInfo>,
    /// Outputs, in graph order.
    pub outputs: Vec<TensorInfo>,
    /// How often each operator occurs; with its domain before a `.` when not the default.
    pub operators: BTreeMap<String, u64>,
    /// Number of parameters; those that several slices share count in each.
    pub parameters: u64,
    /// Multiply-accumulates of one inference.
    pub macs: u64,
    /// Names of the nodes.
    pub nodes: Vec<String>,
}

impl Slice {
    /// The ONNX file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.model.encode_to_vec()
    }

    /// Digest of what the slice computes: two slices that differ only in the names of their
    /// nodes and tensors have the same. `weights` remembers digests for other slices of the
    /// same model.
    #[must_use]
    pub fn fingerprint(&self, weights: &WeightDigests) -> String {
        let mut model = self.model.clone();
        if let Some(graph) = &mut model.graph {
            let inputs = graph.input.iter().map(ValueInfoProto::name);
            let touched = graph.node.iter().flat_map(|n| {
                let outputs = n.output.iter().map(String::as_str);
                n.reads().into_iter().chain(outputs)
            });
            let mut names: HashMap<String, String> = HashMap::new();
            for name in inputs.chain(touched).filter(|n| !n.is_empty()) {
                // Nothing inside a sub-graph has such a name.
                let new = format!("\u{1}{}", names.len());
                names.entry(name.to_owned()).or_insert(new);
            }
            graph::rename(&mut graph.node, &names);
            for (i, n) in graph.node.iter_mut().enumerate() {
                n.name = Some(i.to_string());
            }
            let new = |name: &mut Option<String>| {
                if let Some(new) = name.as_ref().and_then(|n| names.get(n)) {
                    *name = Some(new.clone());
                }
            };
            let values = [&mut graph.input, &mut graph.output, &mut graph.value_info];
            values.into_iter().flatten().for_each(|v| new(&mut v.name));
            graph.initializer.iter_mut().for_each(|t| new(&mut t.name));
            let data = graph.initializer.iter_mut().map(|t| t.raw_data.as_mut());
            data.flatten().for_each(|data| *data = weights.digest(data));
            graph.initializer.sort_by(|a, b| a.name.cmp(&b.name));
            graph.name = None;
        }
        hex::encode(Sha256::digest(model.encode_to_vec()))
    }

    /// What the model's metadata says of the slice, given its [bytes](Self::to_bytes).
    #[must_use]
    pub fn summary(&self, bytes: &[u8]) -> SliceSummary {
        SliceSummary {
            index: self.index,
            payload_sha256: hex::encode(Sha256::digest(bytes)),
            payload_size: bytes.len() as u64,
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            operators: self.operators.clone(),
            parameters: self.parameters,
            macs: self.macs,
            ..SliceSummary::default()
        }
    }
}

/// Digests of the weights of one model, which its slices share.
#[derive(Debug, Default)]
pub struct WeightDigests {
    /// By address and length; the bytes are held, so that no others come to lie there.
    known: Mutex<HashMap<(usize, usize), (Bytes, Bytes)>>,
}

impl WeightDigests {
    fn digest(&self, data: &Bytes) -> Bytes {
        let place = (data.as_ptr().addr(), data.len());
        // Entries are put in whole, so what a panic left behind is right.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || (data.clone(), Bytes::copy_from_slice(&Sha256::digest(data)));
        known.entry(place).or_insert_with(new).1.clone()
    }
}

/// Where each tensor comes from and which slice reads it last.
pub(crate) struct Traffic<'a> {
    last_read: HashMap<&'a str, usize>,
    constant: HashMap<&'a str, usize>,
    initializer: HashMap<&'a str, usize>,
    model_outputs: HashSet<&'a str>,
}

impl<'a> Traffic<'a> {
    fn new(prepared: &'a Prepared, plan: &Plan) -> Self {
        let graph = prepared.graph();
        let mut last_read: HashMap<&str, usize> = HashMap::new();
        for (s, run) in plan.slices.iter().enumerate() {
            for node in run.iter().map(|i| &graph.node[prepared.nodes[*i].at]) {
                for r in node.reads() {
                    let last = last_read.entry(r).or_insert(s);
                    *last = (*last).max(s);
                }
            }
        }
        Self {
            last_read,
            constant: graph
                .node
                .iter()
                .enumerate()
                .zip(&prepared.roles)
                .filter(|(_, r)| **r == Role::Constant)
                .flat_map(|((i, n), _)| n.output.iter().map(move |o| (o.as_str(), i)))
                .collect(),
            initializer: graph
                .initializer
                .iter()
                .enumerate()
                .map(|(i, t)| (t.name(), i))
                .collect(),
            model_outputs: graph.output.iter().map(ValueInfoProto::name).collect(),
        }
    }
}

impl Prepared {
    /// Makes the slices of a plan one after the other, so that only one of them is in
    /// memory at a time.
    ///
    /// # Errors
    /// [`SliceError::TooLarge`] for a slice that no ONNX file can hold, and
    /// [`SliceError::Graph`] for a tensor that can't cross a boundary.
    pub fn slices<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = Result<Slice>> + 'a {
        self.slices_at(plan, 0..plan.slices.len())
    }

    /// As [`Prepared::slices`], but only those with the given indices.
    ///
    /// # Errors
    /// As [`Prepared::slices`].
    pub fn slices_at<'a>(
        &'a self,
        plan: &'a Plan,
        indices: impl IntoIterator<Item = usize> + 'a,
    ) -> impl Iterator<Item = Result<Slice>> + 'a {
        let traffic = Traffic::new(self, plan);
        let indices = indices.into_iter();
        indices.map(move |index| self.slice(plan, &traffic, index))
    }

    fn slice(&self, plan: &Plan, traffic: &Traffic<'_>, index: usize) -> Result<Slice> {
        let graph = self.graph();
        let computed: Vec<&NodeProto> = plan.slices[index]
            .iter()
            .map(|i| &graph.node[self.nodes[*i].at])
            .collect();
        let own: HashSet<&str> = computed
            .iter()
            .flat_map(|n| n.output.iter().map(String::as_str))
            .collect();

        // Everything that is read, sorted into what it is.
        let mut inputs: Vec<&str> = Vec::new();
        let mut constants: BTreeSet<usize> = BTreeSet::new();
        let mut initializers: BTreeSet<usize> = BTreeSet::new();
        let mut seen: HashSet<&str> = HashSet::new();
        let mut todo: Vec<&str> = computed.iter().flat_map(|n| n.reads()).rev().collect();
        while let Some(name) = todo.pop() {
            if own.contains(name) || !seen.insert(name) {
                continue;
            }
            if let Some(i) = traffic.initializer.get(name) {
                initializers.insert(*i);
            } else if let Some(i) = traffic.constant.get(name) {
                constants.insert(*i);
                todo.extend(graph.node[*i].reads());
            } else {
                inputs.push(name);
            }
        }

        let outputs: Vec<&str> = computed
            .iter()
            .flat_map(|n| n.output.iter().map(String::as_str))
            .filter(|o| {
                !o.is_empty()
                    && (traffic.model_outputs.contains(o)
                        || traffic.last_read.get(o).is_some_and(|last| *last > index))
            })
            .collect();
        let info = |name: &&str| {
            self.facts
                .get(*name)
                .and_then(|f| f.info(name))
                .ok_or_else(|| {
                    SliceError::Graph(format!(
                        "tensor \"{name}\" crosses a boundary, but its type or shape isn't known"
                    ))
                })
        };
        let input_infos = inputs.iter().map(info).collect::<Result<Vec<_>>>()?;
        let output_infos = outputs.iter().map(info).collect::<Result<Vec<_>>>()?;

        let boundary: HashSet<&str> = inputs.iter().chain(&outputs).copied().collect();
        let mut named: HashSet<&str> = HashSet::new();
        let value_info = computed
            .iter()
            .flat_map(|n| n.reads())
            .filter(|r| own.contains(r) && !boundary.contains(r) && named.insert(r))
            .filter_map(|r| {
                let (dtype, shape) = self.facts.get(r)?.known()?;
                Some(ValueInfoProto::concrete(r, dtype, shape))
            })
            .collect();

        let constant_nodes: Vec<&NodeProto> = constants.iter().map(|i| &graph.node[*i]).collect();
        let weight_names: HashSet<&str> = initializers
            .iter()
            .map(|i| graph.initializer[*i].name())
            .collect();
        let nodes: Vec<NodeProto> = constant_nodes
            .iter()
            .chain(&computed)
            .map(|n| without_texts(n))
            .collect();
        let functions = used_functions(&self.model.functions, &nodes);
        let value = |name: &&str| {
            let fact = self.facts.get(*name);
            let (dtype, shape) = fact
                .and_then(|f| f.known())
                .unwrap_or((DataType::Undefined, &[]));
            ValueInfoProto::concrete(name, dtype, shape)
        };
        let model = ModelProto {
            ir_version: Some(self.model.ir_version().max(MIN_IR_VERSION)),
            producer_name: Some("dsperse".into()),
            producer_version: Some(env!("CARGO_PKG_VERSION").into()),
            opset_import: self.model.opset_import.clone(),
            functions,
            graph: Some(GraphProto {
                name: Some(format!("slice_{index}")),
                initializer: initializers
                    .iter()
                    .map(|i| graph.initializer[*i].clone())
                    .collect(),
                input: inputs.iter().map(value).collect(),
                output: outputs.iter().map(value).collect(),
                value_info,
                node: nodes,
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        };
        let bytes = model.encoded_len();
        if bytes >= MAX_BYTES {
            return Err(SliceError::TooLarge {
                index,
                bytes: bytes as u64,
            });
        }
        let mut operators = BTreeMap::new();
        for n in &computed {
            *operators.entry(operator(n)).or_insert(0) += 1;
        }
        Ok(Slice {
            index,
            inputs: input_infos,
            outputs: output_infos,
            operators,
            parameters: cost::parameters(
                graph,
                &weight_names,
                constant_nodes.iter().chain(&computed).copied(),
            ),
            macs: computed.iter().fold(0u64, |sum, n| {
                sum.saturating_add(cost::macs(n, &self.facts))
            }),
            nodes: computed.iter().map(|n| n.name().to_owned()).collect(),
            model,
        })
    }
}

/// Name of an operator, with its domain when it is not the standard's own.
pub(crate) fn operator(n: &NodeProto) -> String {
    if n.is_standard() {
        n.op_type().to_owned()
    } else {
        format!("{}.{}", n.domain(), n.op_type())
    }
}

fn without_texts(n: &NodeProto) -> NodeProto {
    let mut n = n.clone();
    n.doc_string = None;
    n.metadata_props = Vec::new();
    for a in &mut n.attribute {
        a.doc_string = None;
        for g in a.g.as_deref_mut().into_iter().chain(&mut a.graphs) {
            g.doc_string = None;
            g.metadata_props = Vec::new();
            // Sizes that were fixed outside may contradict what stands here.
            g.value_info = Vec::new();
            g.node = g.node.iter().map(without_texts).collect();
        }
    }
    n
}

/// The model's own functions that these nodes call, directly or through each other.
fn used_functions(all: &[FunctionProto], nodes: &[NodeProto]) -> Vec<FunctionProto> {
    fn visit(nodes: &[NodeProto], all: &[FunctionProto], used: &mut BTreeSet<usize>) {
        for n in nodes {
            for (i, f) in all.iter().enumerate() {
                let called = f.name() == n.op_type()
                    && f.domain() == n.domain()
                    && f.overload() == n.overload();
                if called && used.insert(i) {
                    visit(&f.node, all, used);
                }
            }
            for g in n.subgraphs() {
                visit(&g.node, all, used);
            }
        }
    }
    let mut used = BTreeSet::new();
    visit(nodes, all, &mut used);
    used.into_iter().map(|i| all[i].clone()).collect()
}
