//! From a loaded model to one that can be cut: order, sizes, shapes, constants.
//!
//! The steps, each in a module of its own: names are checked and nodes sorted
//! ([`crate::graph`]), calls of the model's own functions become their bodies
//! ([`crate::functions`]), `Constant` nodes become initializers, open sizes become numbers
//! ([`crate::dims`]), shapes are inferred ([`crate::infer`]), an `If` with a known condition
//! becomes its branch ([`crate::splice`]), what inference or the engine can't do is rewritten
//! ([`crate::rewrite`]), big layers are split ([`crate::split`]), proven integers become constants
//! ([`crate::fold`]), and every remaining node gets a role: computed from the model's
//! inputs, or constant (then it is copied to whoever reads it).

use crate::dims::{self, DimOptions};
use crate::error::{Result, SliceError};
use crate::facts::{Fact, Facts};
use crate::fold;
use crate::functions;
use crate::graph;
use crate::infer::{self, Known};
use crate::load::LoadedModel;
use crate::rewrite;
use crate::sparse;
use crate::splice;
use crate::split;
use crate::types;
use crate::weights::{self, Role, roles};
use dsperse_documents::setting::FIX;
use dsperse_documents::{ModelFile, Rewrite, TensorInfo};
use dsperse_onnx::{DataType, GraphProto, ModelProto, NodeProto, ValueInfoProto};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A node of the original file, for analysis and for `--at`.
#[derive(Debug, Clone)]
pub(crate) struct OriginalNode {
    pub name: String,
    pub op_type: String,
    pub domain: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
}

/// A computed node, as strategies see it.
#[derive(Debug, Clone)]
pub struct PlanNode {
    /// Unique name.
    pub name: String,
    /// Operator.
    pub op_type: String,
    /// Operator's domain; empty for the standard's own.
    pub domain: String,
    /// Whether the node carries weights, so that strategy `layer` starts a slice at it.
    pub weighted: bool,
    /// Index in the original file's node list; `None` for nodes from inside an `If`.
    pub origin: Option<usize>,
    /// Index in the prepared graph.
    pub(crate) at: usize,
}

/// What to do about an `If`.
fn make_constant() -> String {
    format!(
        "where it depends on an input whose value you know, make that constant: {FIX} NAME=VALUE"
    )
}

/// A model that is ready to be cut.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The original file's name and digests.
    pub file: ModelFile,
    /// The rewritten model: nodes sorted and uniquely named, inputs with concrete shapes.
    pub model: ModelProto,
    /// What is known of each tensor.
    pub facts: Facts,
    /// Inputs of the model, in graph order.
    pub inputs: Vec<TensorInfo>,
    /// Outputs of the model, in graph order.
    pub outputs: Vec<TensorInfo>,
    /// The nodes that a strategy distributes, in topological order.
    pub nodes: Vec<PlanNode>,
    /// Nodes that were rewritten before cutting, in graph order.
    pub rewritten: Vec<Rewrite>,
    /// Inputs of the file that are constants now, with the number of all their elements.
    pub fixed: BTreeMap<String, String>,
    /// Sentences the user should see.
    pub warnings: Vec<String>,
    pub(crate) roles: Vec<Role>,
    pub(crate) original: Vec<OriginalNode>,
    /// First outputs of nodes that became constants.
    pub(crate) folded: HashSet<String>,
    /// Label of the `If` that a tensor comes from, by tensor.
    pub(crate) spliced: HashMap<String, String>,
    pub(crate) parameters: u64,
}

/// Prepares a model.
///
/// # Errors
/// [`SliceError`] when the model contradicts itself, when a size isn't fixed, or when an
/// input or output is no tensor that DSperse carries.
pub fn prepare(loaded: LoadedModel, options: &DimOptions) -> Result<Prepared> {
    let LoadedModel { mut model, file } = loaded;
    let original = {
        let graph = model.main_graph()?;
        graph::check_names(graph)?;
        originals(graph)
    };
    functions::inline(&mut model)?;
    let mut graph = model.graph.take().ok_or(dsperse_onnx::OnnxError::NoGraph)?;
    sparse::densify(&mut graph)?;
    let mut fixed = dims::fix(&graph, options)?;
    dims::fix_values(&mut graph, &mut fixed, options)?;
    graph.input = fixed
        .inputs
        .iter()
        .map(|(name, dtype, shape)| ValueInfoProto::concrete(name, *dtype, shape))
        .collect();
    graph::sort(&mut graph)?;
    constants_to_initializers(&mut graph)?;
    let dropped = rewrite::drop_maps(&mut graph);
    let parameters = {
        let all: HashSet<&str> = graph.initializer_names();
        crate::cost::parameters(&graph, &all, graph.node.iter())
    };

    let hints = hints(&graph, &fixed);
    let (mut spliced, mut rewritten) = (HashMap::new(), Vec::new());
    let inferred = loop {
        model.graph = Some(graph);
        let mut inferred = infer::infer(&model, &fixed.inputs, &hints);
        graph = model.graph.take().unwrap_or_default();
        types::correct(&graph, &mut inferred.facts);
        let new = splice::splice_known_ifs(&mut graph, &inferred.facts);
        model.graph = Some(graph);
        let done = rewrite::rewrite(&mut model, &inferred.facts);
        graph = model.graph.take().unwrap_or_default();
        if new.is_empty() && done.is_empty() {
            break inferred;
        }
        spliced.extend(new);
        rewritten.extend(done);
        constants_to_initializers(&mut graph)?;
    };
    let mut facts = inferred.facts;
    let mut unsplit = Vec::new();
    if let Some(most) = options.split_above {
        let (done, warnings) = split::split(&mut graph, &mut facts, most);
        rewritten.extend(done);
        unsplit = warnings;
    }
    let folded = fold::fold(&mut graph, &facts);
    outputs_from_nodes(&mut graph, &mut facts);
    graph::drop_dead(&mut graph);
    graph::name_nodes(&mut graph);

    let outputs = outputs(&graph, &facts, inferred.complaint.as_deref())?;
    let inputs = fixed
        .inputs
        .iter()
        .filter_map(|(name, ..)| facts.get(name)?.info(name))
        .collect();
    let roles = roles(&graph);
    let by_output: HashMap<&str, usize> = original
        .iter()
        .enumerate()
        .flat_map(|(i, n)| n.outputs.iter().map(move |o| (o.as_str(), i)))
        .collect();
    let nodes: Vec<PlanNode> = weights::computed_nodes(&graph, &roles, &facts)
        .map(|(at, weighted)| {
            let n = &graph.node[at];
            PlanNode {
                name: n.name().to_owned(),
                op_type: n.op_type().to_owned(),
                domain: n.domain().to_owned(),
                weighted,
                origin: n
                    .output
                    .iter()
                    .find_map(|o| by_output.get(o.as_str()).copied()),
                at,
            }
        })
        .collect();
    if nodes.is_empty() {
        return Err(SliceError::Graph(
            "no output of the model is computed from its inputs".into(),
        ));
    }
    let mut warnings = fixed.warnings;
    warnings.extend(dropped);
    warnings.extend(unsplit);
    for n in &nodes {
        if n.op_type == "If" {
            warnings.push(format!(
                "node \"{}\" (If) is decided while the model runs, which no backend proves; {}",
                n.name,
                make_constant()
            ));
        }
        if fold::is_random(&graph.node[n.at]) {
            warnings.push(format!(
                "node \"{}\" ({}) is random: two runs give different results",
                n.name, n.op_type
            ));
        }
    }
    if let Some(c) = inferred.complaint {
        tracing::debug!("shape inference: {c}");
        warnings.extend(contradiction(&c));
    }
    model.graph = Some(graph);
    Ok(Prepared {
        file,
        model,
        facts,
        inputs,
        outputs,
        nodes,
        rewritten,
        fixed: options.fixed.clone(),
        warnings,
        roles,
        original,
        folded,
        spliced,
        parameters,
    })
}

impl Prepared {
    /// The rewritten graph.
    #[must_use]
    pub fn graph(&self) -> &GraphProto {
        static EMPTY: std::sync::OnceLock<GraphProto> = std::sync::OnceLock::new();
        self.model
            .graph
            .as_ref()
            .unwrap_or_else(|| EMPTY.get_or_init(GraphProto::default))
    }

    /// Number of nodes of the original graph.
    #[must_use]
    pub fn original_nodes(&self) -> u64 {
        self.original.len() as u64
    }

    /// Number of parameters of the original model; shared ones count once.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.parameters
    }

    /// Multiply-accumulates of one inference.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.nodes
            .iter()
            .filter_map(|n| self.graph().node.get(n.at))
            .fold(0, |sum: u64, n| {
                sum.saturating_add(crate::cost::macs(n, &self.facts))
            })
    }
}

fn originals(graph: &GraphProto) -> Vec<OriginalNode> {
    let non_empty = |list: &[String]| list.iter().filter(|s| !s.is_empty()).cloned().collect();
    graph
        .node
        .iter()
        .map(|n| OriginalNode {
            name: n.name().to_owned(),
            op_type: n.op_type().to_owned(),
            domain: n.domain().to_owned(),
            inputs: non_empty(&n.input),
            outputs: non_empty(&n.output),
        })
        .collect()
}

/// Turns `Constant` nodes into initializers.
fn constants_to_initializers(graph: &mut GraphProto) -> Result<()> {
    let mut nodes = Vec::with_capacity(graph.node.len());
    for n in std::mem::take(&mut graph.node) {
        match n.is_constant() {
            true => {
                if let Some(mut t) = n.constant_value()? {
                    dsperse_onnx::tensor::normalise(&mut t)?;
                    graph.initializer.push(t);
                }
            }
            false => nodes.push(n),
        }
    }
    graph.node = nodes;
    Ok(())
}

/// What the file says of types and shapes, with sizes fixed.
fn hints(graph: &GraphProto, fixed: &dims::FixedDims) -> Known {
    graph
        .value_info
        .iter()
        .chain(&graph.output)
        .filter(|v| v.dtype() != DataType::Undefined)
        .filter_map(|v| Some((v.name().to_owned(), (v.dtype(), fixed.shape_of(v)?))))
        .collect()
}

/// A model output that is a constant gets an `Identity`, so that some slice computes it.
fn outputs_from_nodes(graph: &mut GraphProto, facts: &mut Facts) {
    let names: Vec<String> = graph.output.iter().map(|o| o.name().to_owned()).collect();
    for name in names {
        let Some(t) = graph.initializer.iter_mut().find(|t| t.name() == name) else {
            continue;
        };
        let inner = format!("{name}__value");
        t.name = Some(inner.clone());
        let map = HashMap::from([(name.clone(), inner.clone())]);
        graph::rename(&mut graph.node, &map);
        graph
            .node
            .push(NodeProto::new("Identity", &[&inner], &[&name]));
        let fact = facts.get(&name).cloned().unwrap_or_default();
        facts.insert(inner, fact);
    }
}

fn outputs(graph: &GraphProto, facts: &Facts, complaint: Option<&str>) -> Result<Vec<TensorInfo>> {
    let none = Fact::default();
    graph
        .output
        .iter()
        .map(|o| {
            let fact = facts.get(o.name()).unwrap_or(&none);
            if let Some(info) = fact.info(o.name()) {
                return Ok(info);
            }
            let wrong = |found: String, hint: &str| SliceError::Type {
                what: "output",
                tensor: o.name().to_owned(),
                found,
                hint: hint.to_owned(),
            };
            if !o.is_tensor() {
                return Err(wrong(
                    "not a tensor".into(),
                    "; export the model with a tensor among its outputs",
                ));
            }
            match fact.dtype.or(Some(o.dtype())) {
                Some(d) if d != DataType::Undefined && crate::facts::encoding(d).is_none() => {
                    Err(wrong(format!("of type {d}"), ""))
                }
                _ => Err(open_shape(graph, facts, o.name(), complaint)),
            }
        })
        .collect()
}

/// Explains why an output's shape is unknown: the first node above it with known inputs
/// and unknown outputs.
fn open_shape(
    graph: &GraphProto,
    facts: &Facts,
    output: &str,
    complaint: Option<&str>,
) -> SliceError {
    let known = |name: &str| facts.get(name).is_some_and(|f| f.known().is_some());
    let made = graph::producers(&graph.node);
    let mut above: HashSet<usize> = HashSet::new();
    let mut todo = vec![output];
    while let Some(name) = todo.pop() {
        if let Some(i) = made.get(name)
            && above.insert(*i)
        {
            todo.extend(graph.node[*i].reads());
        }
    }
    let mut above: Vec<usize> = above.into_iter().collect();
    above.sort_unstable();
    let culprit = above.iter().map(|i| &graph.node[*i]).find(|n| {
        n.reads().iter().all(|r| known(r)) && n.output.iter().any(|o| !o.is_empty() && !known(o))
    });
    let decided = culprit.is_some_and(|n| n.is("If"));
    SliceError::OpenShape {
        tensor: output.to_owned(),
        node: culprit.map_or(String::new(), |n| format!("{} ({})", n.name(), n.op_type())),
        // tract's complaints are several lines long; the first says what failed. That it
        // lacks an operator is no news to the user.
        reason: match decided {
            true => make_constant(),
            false => complaint
                .and_then(|c| c.lines().next())
                .filter(|c| !c.contains("Unimplemented"))
                .unwrap_or_default()
                .to_owned(),
        },
    }
}

/// A warning where two shapes can't be the same. Not an error: the slices may still be what
/// another engine can run.
fn contradiction(complaint: &str) -> Option<String> {
    let first = complaint.lines().next()?;
    let contradicts = ["Impossible to unify", "Inconsistent"];
    contradicts.iter().any(|c| first.contains(c)).then(|| {
        format!("the model's shapes contradict each other, so that backends may refuse it: {first}")
    })
}
