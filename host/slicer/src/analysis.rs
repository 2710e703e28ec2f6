//! What is in a model, node by node: the document of `slice --save-file` and `analyze`.

use crate::cost;
use crate::extract::operator;
use crate::plan::Plan;
use crate::prepare::Prepared;
use dsperse_documents::{ModelFile, TensorInfo};
use dsperse_onnx::{DataType, NodeProto};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What became of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It is computed in a slice.
    Computed,
    /// It depends on no input and counts as a weight; it is copied to its readers.
    Constant,
    /// Its result was proven and became a constant.
    Folded,
    /// An `If` whose condition is known: the nodes of its branch follow it.
    Spliced,
    /// No output depends on it.
    Unused,
}

/// A tensor as far as it is known before the model runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TensorAnalysis {
    /// Name.
    pub name: String,
    /// Element type, when known.
    pub dtype: Option<String>,
    /// Shape, when known.
    pub shape: Option<Vec<u64>>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeAnalysis {
    /// Index in the original file; `None` for nodes from inside an `If`.
    pub index: Option<usize>,
    /// Name; unique, so it may differ from the file's.
    pub name: String,
    /// Operator, with its domain before a `.` when not the default.
    pub operator: String,
    /// What became of it.
    pub state: NodeState,
    /// The slice that computes it.
    pub slice: Option<usize>,
    /// Whether it carries weights.
    pub weighted: bool,
    /// Number of weights that it reads.
    pub parameters: u64,
    /// Multiply-accumulates.
    pub macs: u64,
    /// What it reads.
    pub inputs: Vec<TensorAnalysis>,
    /// What it writes.
    pub outputs: Vec<TensorAnalysis>,
}

/// A whole model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelAnalysis {
    /// Version of this document.
    pub schema: String,
    /// The original file.
    pub model: ModelFile,
    /// `ir_version` of the file.
    pub ir_version: i64,
    /// Opset version per domain; the default domain is the empty string.
    pub opset_imports: BTreeMap<String, i64>,
    /// Inputs of the model.
    pub inputs: Vec<TensorInfo>,
    /// Outputs of the model.
    pub outputs: Vec<TensorInfo>,
    /// Number of parameters; shared ones count once.
    pub parameters: u64,
    /// Multiply-accumulates of one inference.
    pub macs: u64,
    /// How often each operator occurs among the computed nodes.
    pub operators: BTreeMap<String, u64>,
    /// Number of slices of the plan.
    pub slices: usize,
    /// Sentences about what was decided.
    pub warnings: Vec<String>,
    /// The nodes, in the order of the file.
    pub nodes: Vec<NodeAnalysis>,
}

impl Prepared {
    /// Opset version per domain; the default domain is the empty string.
    #[must_use]
    pub fn opset_imports(&self) -> BTreeMap<String, i64> {
        self.model
            .opset_import
            .iter()
            .map(|o| {
                let domain = if o.domain() == "ai.onnx" {
                    ""
                } else {
                    o.domain()
                };
                (domain.to_owned(), o.version())
            })
            .collect()
    }

    /// Describes the model node by node, under a plan.
    #[must_use]
    pub fn analyse(&self, plan: &Plan) -> ModelAnalysis {
        let graph = self.graph();
        let mut slice_of: HashMap<usize, usize> = HashMap::new();
        for (s, run) in plan.slices.iter().enumerate() {
            slice_of.extend(run.iter().map(|i| (self.nodes[*i].at, s)));
        }
        let place: HashMap<&str, usize> = graph
            .node
            .iter()
            .enumerate()
            .flat_map(|(i, n)| n.output.iter().map(move |o| (o.as_str(), i)))
            .collect();
        let weighted: HashSet<usize> = self
            .nodes
            .iter()
            .filter(|n| n.weighted)
            .map(|n| n.at)
            .collect();
        let weights = Weights::new(self);

        let mut nodes: Vec<NodeAnalysis> = Vec::new();
        let mut done: HashSet<usize> = HashSet::new();
        let describe = |at: usize, index: Option<usize>| {
            let n = &graph.node[at];
            NodeAnalysis {
                index,
                name: n.name().to_owned(),
                operator: operator(n),
                state: if slice_of.contains_key(&at) {
                    NodeState::Computed
                } else {
                    NodeState::Constant
                },
                slice: slice_of.get(&at).copied(),
                weighted: weighted.contains(&at),
                parameters: weights.read_by(n),
                macs: cost::macs(n, &self.facts),
                inputs: n.reads().iter().map(|r| self.tensor(r)).collect(),
                outputs: n
                    .output
                    .iter()
                    .filter(|o| !o.is_empty())
                    .map(|o| self.tensor(o))
                    .collect(),
            }
        };
        for (index, o) in self.original.iter().enumerate() {
            let label = NodeProto {
                name: Some(o.name.clone()),
                op_type: Some(o.op_type.clone()),
                output: o.outputs.clone(),
                domain: Some(o.domain.clone()),
                ..NodeProto::default()
            };
            let at = o
                .outputs
                .iter()
                .find_map(|n| place.get(n.as_str()).copied());
            let spliced = o.outputs.iter().any(|n| self.spliced.contains_key(n));
            if let (Some(at), false) = (at, spliced) {
                done.insert(at);
                nodes.push(describe(at, Some(index)));
                continue;
            }
            let state = if spliced {
                NodeState::Spliced
            } else if label.is_constant() {
                NodeState::Constant
            } else if o.outputs.iter().any(|n| self.folded.contains(n)) {
                NodeState::Folded
            } else {
                NodeState::Unused
            };
            nodes.push(NodeAnalysis {
                index: Some(index),
                name: label.label(),
                operator: operator(&label),
                state,
                slice: None,
                weighted: false,
                parameters: 0,
                macs: 0,
                inputs: o.inputs.iter().map(|r| self.tensor(r)).collect(),
                outputs: o.outputs.iter().map(|r| self.tensor(r)).collect(),
            });
        }
        // Nodes that the file does not have at this level: from inside an If, and the
        // Identity of a constant output. They follow in execution order.
        for at in 0..graph.node.len() {
            if !done.contains(&at) {
                nodes.push(describe(at, None));
            }
        }
        let mut operators = BTreeMap::new();
        for n in nodes.iter().filter(|n| n.state == NodeState::Computed) {
            *operators.entry(n.operator.clone()).or_insert(0) += 1;
        }
        ModelAnalysis {
            schema: "1.0.0".into(),
            model: self.file.clone(),
            ir_version: self.model.ir_version(),
            opset_imports: self.opset_imports(),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            parameters: self.parameters(),
            macs: self.macs(),
            operators,
            slices: plan.slices.len(),
            warnings: self
                .warnings
                .iter()
                .chain(&plan.warnings)
                .cloned()
                .collect(),
            nodes,
        }
    }

    fn tensor(&self, name: &str) -> TensorAnalysis {
        let fact = self.facts.get(name);
        TensorAnalysis {
            name: name.to_owned(),
            dtype: fact
                .and_then(|f| f.dtype)
                .filter(|d| *d != DataType::Undefined)
                .map(|d| d.name().to_owned()),
            shape: fact.and_then(|f| f.shape.clone()),
        }
    }
}

/// Counts the weights that a node reads, also through constant nodes.
struct Weights<'a> {
    prepared: &'a Prepared,
    initializers: HashMap<&'a str, u64>,
    constant: HashMap<&'a str, &'a NodeProto>,
}

impl<'a> Weights<'a> {
    fn new(prepared: &'a Prepared) -> Self {
        let graph = prepared.graph();
        Self {
            prepared,
            initializers: graph
                .initializer
                .iter()
                .map(|t| {
                    let dtype = DataType::from_number(t.data_type);
                    let n = if cost::is_weight(dtype) {
                        dsperse_onnx::tensor::dims(t).map_or(0, |(_, n)| n as u64)
                    } else {
                        0
                    };
                    (t.name(), n)
                })
                .collect(),
            constant: graph
                .node
                .iter()
                .zip(&prepared.roles)
                .filter(|(_, r)| **r == crate::weights::Role::Constant)
                .flat_map(|(n, _)| n.output.iter().map(move |o| (o.as_str(), n)))
                .collect(),
        }
    }

    fn read_by(&self, node: &NodeProto) -> u64 {
        let graph = self.prepared.graph();
        let mut sum = cost::node_parameters(graph, node);
        let mut seen: HashSet<String> = HashSet::new();
        let mut todo: Vec<String> = node.reads().into_iter().map(str::to_owned).collect();
        while let Some(name) = todo.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            if let Some(n) = self.initializers.get(name.as_str()) {
                sum += n;
            } else if let Some(n) = self.constant.get(name.as_str()) {
                sum += cost::node_parameters(graph, n);
                todo.extend(n.reads().into_iter().map(str::to_owned));
            }
        }
        sum
    }
}
