//! Applies rules to a graph.

use crate::builder::Builder;
use crate::context::Context;
use crate::operand::{Operand, TensorType};
use crate::rule::{Decline, Done, Site};
use crate::rules::RULES;
use dsperse_onnx::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, Result, Tensor, ValueInfoProto,
};
use std::collections::{HashMap, HashSet};

/// Operator set that a model gets whose nodes so far were all of other domains.
const OPSET: i64 = 18;
/// The first IR version whose initializers need not be inputs as well.
const MIN_IR_VERSION: i64 = 4;
/// Rules within rules.
const MAX_DEPTH: usize = 16;
/// A tensor that is made for a node has at most this many elements, or [`GROWTH`] times those
/// of the largest tensor that the node reads or writes, whichever is more.
const LARGEST: usize = 1 << 24;
/// How much larger than a node's own tensors those may be that are made for it.
const GROWTH: usize = 16;
/// Most nodes that take the place of one.
const MAX_NODES: usize = 200_000;

/// How the reason of a rule begins that applies, but whose result contains what is lacking.
const LACKS: &str = "its part";

/// Why there can be no rule for these.
const NEVER: &[(&str, &str)] = &[
    (
        "NonMaxSuppression",
        "how many boxes it keeps depends on the data, and a proof's tensors have fixed sizes; \
         export the model without it and do it on the proven scores",
    ),
    (
        "NonZero",
        "how many places it finds depends on the data, and a proof's tensors have fixed sizes",
    ),
    (
        "Unique",
        "how many elements it finds depends on the data, and a proof's tensors have fixed sizes",
    ),
    (
        "Compress",
        "how many elements it keeps depends on the data, and a proof's tensors have fixed sizes",
    ),
    (
        "Loop",
        "how often it runs may depend on the data; export the model with the loop unrolled",
    ),
    (
        "Scan",
        "its body is a graph of its own; export the model with the loop unrolled",
    ),
    (
        "If",
        "which branch it takes depends on the data, and a proof has one circuit",
    ),
];

/// A node that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The node's [label](NodeProto::label).
    pub node: String,
    /// Its operator, with the domain before a `.` when it is not the standard's own.
    pub operator: String,
    /// The rules that were applied, in alphabetical order, each once.
    pub rules: Vec<&'static str>,
}

/// A node that the consumer lacks and that stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declined {
    /// The node's [label](NodeProto::label).
    pub node: String,
    /// Its operator, with the domain before a `.` when it is not the standard's own.
    pub operator: String,
    /// Why no rule could be applied: a part of a sentence about the node.
    pub reason: String,
}

/// What [`rewrite`] has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Replaced nodes, in graph order.
    pub applied: Vec<Applied>,
    /// Nodes that the consumer lacks still.
    pub declined: Vec<Declined>,
}

/// What the caller knows of tensors beyond what stands in the file.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Types and shapes; they win over the file's.
    pub types: HashMap<String, TensorType>,
    /// Values.
    pub values: HashMap<String, Tensor>,
}

/// Replaces the nodes for which `native` says no, as far as rules lead to nodes for which
/// it says yes. Types of new tensors are added to `value_info`.
///
/// Names of tensors that exist are kept; the nodes must be in topological order.
///
/// # Errors
/// [`dsperse_onnx::OnnxError::NoGraph`]. A node that can't be read is declined, not an error.
pub fn rewrite(model: &mut ModelProto, native: &dyn Fn(&Site<'_>) -> bool) -> Result<Outcome> {
    rewrite_with(model, &Known::default(), native)
}

/// The same with facts about tensors that the file does not hold.
///
/// # Errors
/// As [`rewrite`].
pub fn rewrite_with(
    model: &mut ModelProto,
    known: &Known,
    native: &dyn Fn(&Site<'_>) -> bool,
) -> Result<Outcome> {
    model.main_graph()?;
    let Some(mut graph) = model.graph.take() else {
        return Ok(Outcome::default());
    };
    let versions: HashMap<String, i64> = model
        .opset_import
        .iter()
        .map(|o| (o.domain().to_owned(), o.version()))
        .collect();
    let opset = model.opset("");
    let mut driver = Driver {
        context: Context::new(
            &graph,
            versions,
            opset.unwrap_or(OPSET),
            &known.types,
            &known.values,
        ),
        native,
        rules: Vec::new(),
    };
    let mut outcome = Outcome::default();
    let mut nodes = Vec::with_capacity(graph.node.len());
    let mut made: HashSet<String> = HashSet::new();
    for node in std::mem::take(&mut graph.node) {
        let site = driver.context.site(&node, false);
        if node.is_constant() || native(&site) {
            driver.context.learn(&node);
            nodes.push(node);
            continue;
        }
        let operator = operator(&node);
        driver.rules.clear();
        match driver.replace(&node, false) {
            Ok(new) => {
                driver.rules.sort_unstable();
                driver.rules.dedup();
                outcome.applied.push(Applied {
                    node: node.label(),
                    operator,
                    rules: std::mem::take(&mut driver.rules),
                });
                for n in &new {
                    made.extend(n.output.iter().cloned());
                }
                nodes.extend(new);
            }
            Err(Decline(reason)) => {
                outcome.declined.push(Declined {
                    node: node.label(),
                    operator,
                    reason,
                });
                driver.context.learn(&node);
                nodes.push(node);
            }
        }
    }
    graph.node = nodes;
    finish(&mut graph, &driver.context, &made);
    if !outcome.applied.is_empty() && model.ir_version() < MIN_IR_VERSION {
        model.ir_version = Some(MIN_IR_VERSION);
    }
    if opset.is_none() && !outcome.applied.is_empty() {
        model.opset_import.push(OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(OPSET),
        });
    }
    model.graph = Some(graph);
    Ok(outcome)
}

/// Adds the constants that are read and the types of new tensors.
fn finish(graph: &mut GraphProto, context: &Context, made: &HashSet<String>) {
    let mut read: HashSet<&str> = HashSet::new();
    let mut new = Vec::new();
    for name in graph.node.iter().flat_map(|n| &n.input) {
        if let Some(t) = context.made(name)
            && read.insert(name)
        {
            new.push(t.to_proto(name));
        }
    }
    let described: HashSet<&str> = graph
        .value_info
        .iter()
        .chain(&graph.output)
        .map(ValueInfoProto::name)
        .collect();
    let info: Vec<ValueInfoProto> = graph
        .node
        .iter()
        .flat_map(|n| &n.output)
        .filter(|o| made.contains(*o) && !described.contains(o.as_str()))
        .filter_map(|o| {
            let t = context.type_of(o)?;
            let shape: Vec<u64> = t.shape.iter().map(|d| *d as u64).collect();
            Some(ValueInfoProto::concrete(o, t.dtype, &shape))
        })
        .collect();
    graph.initializer.extend(new);
    graph.value_info.extend(info);
}

/// Name of an operator, with its domain when it is not the standard's own.
fn operator(n: &NodeProto) -> String {
    if n.is_standard() {
        n.op_type().to_owned()
    } else {
        format!("{}.{}", n.domain(), n.op_type())
    }
}

struct Driver<'a> {
    context: Context,
    native: &'a dyn Fn(&Site<'_>) -> bool,
    /// Rules applied to the node at hand so far.
    rules: Vec<&'static str>,
}

impl Driver<'_> {
    /// The nodes that take a node's place, all of them native.
    fn replace(&mut self, node: &NodeProto, inner: bool) -> Done<Vec<NodeProto>> {
        let mut stack = Vec::new();
        let largest = self.context.largest(node);
        self.context.bound = largest.saturating_mul(GROWTH).max(LARGEST);
        self.expand(node, inner, &mut stack)
    }

    fn expand(
        &mut self,
        node: &NodeProto,
        inner: bool,
        stack: &mut Vec<&'static str>,
    ) -> Done<Vec<NodeProto>> {
        let domain = if node.is_standard() {
            ""
        } else {
            node.domain()
        };
        let mut why = None;
        for rule in RULES
            .iter()
            .filter(|r| r.operator == node.op_type() && r.domain == domain)
        {
            // A rule that leads back to its own operator is no way out.
            if stack.contains(&rule.name) || stack.len() >= MAX_DEPTH {
                continue;
            }
            stack.push(rule.name);
            let (before, mark) = (self.rules.len(), self.context.mark());
            self.rules.push(rule.name);
            let result = self.apply(rule.apply, rule.name, node, inner, stack);
            stack.pop();
            match result {
                Ok(nodes) => return Ok(nodes),
                Err(e) => {
                    self.rules.truncate(before);
                    self.context.forget(mark);
                    // A rule that applies and lacks a part says more than one for other nodes.
                    let better =
                        |old: &Decline| e.0.starts_with(LACKS) && !old.0.starts_with(LACKS);
                    if why.as_ref().is_none_or(better) {
                        why = Some(e);
                    }
                }
            }
        }
        Err(why.unwrap_or_else(|| {
            let never = NEVER.iter().filter(|_| domain.is_empty());
            let mut never = never.filter(|(o, _)| *o == node.op_type());
            if let Some((_, reason)) = never.next() {
                return Decline((*reason).to_owned());
            }
            Decline(format!(
                "there is no rule that replaces \"{}\"",
                operator(node)
            ))
        }))
    }

    fn apply(
        &mut self,
        rule: fn(&mut Builder<'_>, &Site<'_>) -> Done,
        name: &str,
        node: &NodeProto,
        inner: bool,
        stack: &mut Vec<&'static str>,
    ) -> Done<Vec<NodeProto>> {
        let site = self.context.site(node, inner);
        let prefix = format!("{}/{name}", node.label());
        let mut builder = Builder::new(&mut self.context, prefix);
        let results = rule(&mut builder, &site)?;
        let mut nodes = std::mem::take(&mut builder.nodes);
        self.connect(node, &site, &results, &mut nodes)?;
        let mut out = Vec::with_capacity(nodes.len());
        for n in nodes {
            if out.len() > MAX_NODES {
                return Decline::because(format!("it would become more than {MAX_NODES} nodes"));
            }
            if (self.native)(&self.context.site(&n, true)) {
                out.push(n);
                continue;
            }
            match self.expand(&n, true, stack) {
                Ok(new) => out.extend(new),
                Err(Decline(reason)) => {
                    return Decline::because(format!(
                        "{LACKS} \"{}\" is not supported: {reason}",
                        operator(&n)
                    ));
                }
            }
        }
        Ok(out)
    }

    /// Gives the results the names of the node's outputs.
    fn connect(
        &mut self,
        node: &NodeProto,
        site: &Site<'_>,
        results: &[Operand],
        nodes: &mut Vec<NodeProto>,
    ) -> Done<()> {
        if let Some(i) = (results.len()..node.output.len()).find(|i| site.output_is_used(*i)) {
            return Decline::because(format!("its output \"{}\" is used", node.output[i]));
        }
        let mut renamed: HashMap<String, String> = HashMap::new();
        for (result, name) in results.iter().zip(&node.output) {
            if name.is_empty() {
                continue;
            }
            if let Some(t) = self.context.type_of(name)
                && (t.dtype != result.dtype || t.shape != result.shape)
            {
                return Decline::because(format!(
                    "its output \"{name}\" would become {} {:?}, the model says {} {:?}",
                    result.dtype, result.shape, t.dtype, t.shape
                ));
            }
            let t = TensorType::new(result.dtype, &result.shape);
            self.context.set_type(name.clone(), t);
            let own = nodes.iter().any(|n| n.output.contains(&result.name));
            if own && !renamed.contains_key(&result.name) {
                renamed.insert(result.name.clone(), name.clone());
            } else {
                nodes.push(NodeProto::new("Identity", &[&result.name], &[name]));
            }
        }
        for n in nodes {
            for name in n.input.iter_mut().chain(&mut n.output) {
                if let Some(new) = renamed.get(name) {
                    name.clone_from(new);
                }
            }
        }
        Ok(())
    }
}
