//! Replaces an `If` whose condition is known by the nodes of the branch that is taken.

use crate::facts::Facts;
use crate::graph;
use dsperse_onnx::{GraphProto, NodeProto, Tensor, Values};
use std::collections::{HashMap, HashSet};

/// Splices every `If` of the main graph whose condition is proven. Returns, for each
/// tensor that a spliced node writes, the label of the `If`; empty when nothing changed.
pub(crate) fn splice_known_ifs(graph: &mut GraphProto, facts: &Facts) -> HashMap<String, String> {
    let mut spliced = HashMap::new();
    let mut taken: HashSet<String> = graph::all_names(graph);
    let mut nodes = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node) {
        let Some(branch) = taken_branch(graph, &node, facts) else {
            nodes.push(node);
            continue;
        };
        let label = node.label();
        for n in inline(graph, &node, branch, &mut taken) {
            for o in &n.output {
                spliced.insert(o.clone(), label.clone());
            }
            nodes.push(n);
        }
    }
    graph.node = nodes;
    spliced
}

/// The branch that will be taken, when that is certain.
fn taken_branch(graph: &GraphProto, node: &NodeProto, facts: &Facts) -> Option<GraphProto> {
    if !node.is("If") {
        return None;
    }
    let cond = node.input.first()?;
    let value = match graph.initializer(cond) {
        Some(t) => Tensor::read(t).ok()?,
        None => facts.get(cond)?.value.clone()?,
    };
    let name = match value.values {
        Values::Bool(v) if v == [true] => "then_branch",
        Values::Bool(v) if v == [false] => "else_branch",
        _ => return None,
    };
    let branch = node.graph(name).ok()??;
    // Branches have no inputs; their outputs are those of the node, in order.
    let fits = branch.output.len() == node.output.len()
        && branch.input.is_empty()
        && branch.sparse_initializer.is_empty();
    fits.then(|| branch.clone())
}

fn inline(
    graph: &mut GraphProto,
    node: &NodeProto,
    mut branch: GraphProto,
    taken: &mut HashSet<String>,
) -> Vec<NodeProto> {
    let mut names: HashMap<String, String> = HashMap::new();
    // A name that the branch writes and that exists outside needs another one.
    let own: Vec<String> = branch
        .initializer
        .iter()
        .map(|t| t.name().to_owned())
        .chain(branch.node.iter().flat_map(|n| n.output.clone()))
        .filter(|n| !n.is_empty())
        .collect();
    for name in &own {
        let mut new = name.clone();
        let mut k = 1;
        while !taken.insert(new.clone()) {
            k += 1;
            new = format!("{name}__{k}");
        }
        if new != *name {
            names.insert(name.clone(), new);
        }
    }
    for t in &mut branch.initializer {
        if let Some(new) = names.get(t.name()) {
            t.name = Some(new.clone());
        }
    }
    graph.initializer.append(&mut branch.initializer);
    graph::rename(&mut branch.node, &names);
    let mut out = branch.node;
    // The node's outputs keep their names; an Identity each is the simplest thing that is
    // right for outputs that are initializers, come from outside or are given twice.
    for (inner, outer) in branch.output.iter().zip(&node.output) {
        if outer.is_empty() {
            continue;
        }
        let inner = names.get(inner.name()).map_or(inner.name(), String::as_str);
        out.push(NodeProto::new("Identity", &[inner], &[outer]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Fact;
    use dsperse_onnx::{AttributeProto, DataType, ValueInfoProto};

    fn branch(op: &str) -> GraphProto {
        GraphProto {
            node: vec![NodeProto::new(op, &["x", "k"], &["y"])],
            initializer: vec![
                Tensor {
                    dims: vec![],
                    values: Values::F32(vec![1.0]),
                }
                .to_proto("k"),
            ],
            output: vec![ValueInfoProto::concrete("y", DataType::F32, &[])],
            ..GraphProto::default()
        }
    }

    #[test]
    fn the_proven_branch_replaces_the_node() {
        let mut g = GraphProto {
            node: vec![
                NodeProto::new("If", &["c"], &["y"])
                    .with(AttributeProto::from_graph("then_branch", branch("Add")))
                    .with(AttributeProto::from_graph("else_branch", branch("Sub"))),
            ],
            input: vec![ValueInfoProto::concrete("x", DataType::F32, &[])],
            ..GraphProto::default()
        };
        let mut facts = Facts::new();
        assert!(splice_known_ifs(&mut g, &facts).is_empty());
        facts.insert(
            "c".into(),
            Fact {
                value: Tensor::new(vec![], Values::Bool(vec![false])),
                ..Fact::default()
            },
        );
        let spliced = splice_known_ifs(&mut g, &facts);
        assert_eq!(spliced.get("y").map(String::as_str), Some("If -> y"));
        assert_eq!(g.node.len(), 2);
        assert_eq!(g.node[0].op_type(), "Sub");
        assert_eq!(g.node[0].output, ["y__2"]);
        assert_eq!(g.node[1].input, ["y__2"]);
        assert_eq!(g.node[1].output, ["y"]);
        assert_eq!(g.initializer[0].name(), "k");
    }
}
