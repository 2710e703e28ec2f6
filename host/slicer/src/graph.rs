//! Small operations on graphs: order, dead nodes, unique names, renaming.

use crate::error::{Result, SliceError};
use dsperse_onnx::{GraphProto, NodeProto, TensorProto, ValueInfoProto};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

/// Checks that every name is written once, and that everything that is read is written
/// by someone.
pub(crate) fn check_names(graph: &GraphProto) -> Result<()> {
    let mut written: HashSet<&str> = HashSet::new();
    let filled = graph.initializer_names();
    let names = graph
        .input
        .iter()
        .map(ValueInfoProto::name)
        .filter(|n| !filled.contains(n))
        .chain(graph.initializer.iter().map(TensorProto::name))
        .chain(
            graph
                .node
                .iter()
                .flat_map(|n| n.output.iter().map(String::as_str)),
        );
    for name in names.filter(|n| !n.is_empty()) {
        if !written.insert(name) {
            return Err(SliceError::Graph(format!(
                "tensor \"{name}\" is written twice"
            )));
        }
    }
    written.extend(filled);
    for n in &graph.node {
        if let Some(name) = n.reads().into_iter().find(|r| !written.contains(r)) {
            return Err(SliceError::Graph(format!(
                "node \"{}\" reads tensor \"{name}\", which nothing writes",
                n.label()
            )));
        }
    }
    for o in &graph.output {
        if !written.contains(o.name()) {
            return Err(SliceError::Graph(format!(
                "output \"{}\" is written by no node",
                o.name()
            )));
        }
    }
    if graph.output.is_empty() {
        return Err(SliceError::Graph("the model has no outputs".into()));
    }
    Ok(())
}

/// Every tensor name of the main graph.
pub(crate) fn all_names(graph: &GraphProto) -> HashSet<String> {
    graph
        .initializer_names()
        .into_iter()
        .chain(graph.input.iter().map(ValueInfoProto::name))
        .chain(
            graph
                .node
                .iter()
                .flat_map(|n| n.output.iter().map(String::as_str)),
        )
        .map(str::to_owned)
        .collect()
}

/// The index of the node that writes each tensor.
pub(crate) fn producers(nodes: &[NodeProto]) -> HashMap<&str, usize> {
    nodes
        .iter()
        .enumerate()
        .flat_map(|(i, n)| n.output.iter().map(move |o| (o.as_str(), i)))
        .filter(|(o, _)| !o.is_empty())
        .collect()
}

/// Puts nodes in topological order; those that are in order already stay where they are.
pub(crate) fn sort(graph: &mut GraphProto) -> Result<()> {
    let order = {
        let made = producers(&graph.node);
        let mut waits = vec![0usize; graph.node.len()];
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.node.len()];
        for (i, n) in graph.node.iter().enumerate() {
            let from: BTreeSet<usize> = n
                .reads()
                .iter()
                .filter_map(|r| made.get(r).copied())
                .collect();
            waits[i] = from.len();
            for p in from {
                readers[p].push(i);
            }
        }
        let mut ready: BinaryHeap<Reverse<usize>> = (0..graph.node.len())
            .filter(|i| waits[*i] == 0)
            .map(Reverse)
            .collect();
        let mut order = Vec::with_capacity(graph.node.len());
        while let Some(Reverse(i)) = ready.pop() {
            order.push(i);
            for r in &readers[i] {
                waits[*r] -= 1;
                if waits[*r] == 0 {
                    ready.push(Reverse(*r));
                }
            }
        }
        if let Some(stuck) = (0..graph.node.len()).find(|i| waits[*i] > 0) {
            return Err(SliceError::Graph(format!(
                "node \"{}\" depends on its own output",
                graph.node[stuck].label()
            )));
        }
        order
    };
    if order.iter().enumerate().all(|(a, b)| a == *b) {
        return Ok(());
    }
    let mut nodes: Vec<Option<NodeProto>> = std::mem::take(&mut graph.node)
        .into_iter()
        .map(Some)
        .collect();
    graph.node = order.into_iter().filter_map(|i| nodes[i].take()).collect();
    Ok(())
}

/// Removes nodes and initializers from which no output depends. The nodes are sorted.
pub(crate) fn drop_dead(graph: &mut GraphProto) {
    let mut alive: HashSet<String> = graph.output.iter().map(|o| o.name().to_owned()).collect();
    let mut keep = vec![false; graph.node.len()];
    for (i, n) in graph.node.iter().enumerate().rev() {
        if n.output.iter().any(|o| alive.contains(o)) {
            keep[i] = true;
            alive.extend(n.reads().into_iter().map(str::to_owned));
        }
    }
    let mut keep = keep.into_iter();
    graph.node.retain(|_| keep.next().unwrap_or(true));
    graph.initializer.retain(|t| alive.contains(t.name()));
    graph
        .sparse_initializer
        .retain(|s| s.values.as_ref().is_some_and(|v| alive.contains(v.name())));
}

/// Gives every node, also in sub-graphs, a name that nothing else has: executors that
/// name constants after their tensors fail when a node has the same name.
pub(crate) fn name_nodes(graph: &mut GraphProto) {
    let mut taken: HashSet<String> = graph
        .initializer_names()
        .into_iter()
        .map(str::to_owned)
        .chain(graph.input.iter().map(|v| v.name().to_owned()))
        .collect();
    name_nodes_in(&mut graph.node, &mut taken);
}

fn name_nodes_in(nodes: &mut [NodeProto], taken: &mut HashSet<String>) {
    for (i, n) in nodes.iter_mut().enumerate() {
        let wanted = if n.name().is_empty() {
            format!("{}_{i}", n.op_type())
        } else {
            n.name().to_owned()
        };
        let mut name = wanted.clone();
        let mut k = 1;
        while !taken.insert(name.clone()) {
            k += 1;
            name = format!("{wanted}__{k}");
        }
        n.name = Some(name);
        for a in &mut n.attribute {
            for g in a.g.as_deref_mut().into_iter().chain(&mut a.graphs) {
                name_nodes_in(&mut g.node, taken);
            }
        }
    }
}

/// Renames tensors in a list of nodes: what they read and write, and what their
/// sub-graphs read from around them.
pub(crate) fn rename(nodes: &mut [NodeProto], names: &HashMap<String, String>) {
    let change = |s: &mut String| {
        if let Some(new) = names.get(s) {
            s.clone_from(new);
        }
    };
    for n in nodes {
        n.input.iter_mut().for_each(change);
        n.output.iter_mut().for_each(change);
        for a in &mut n.attribute {
            for g in a.g.as_deref_mut().into_iter().chain(&mut a.graphs) {
                rename_captures(g, names);
            }
        }
    }
}

fn rename_captures(graph: &mut GraphProto, names: &HashMap<String, String>) {
    // What the sub-graph writes itself hides the outer name.
    let mut own: HashSet<&str> = graph.initializer_names();
    own.extend(graph.input.iter().map(ValueInfoProto::name));
    own.extend(
        graph
            .node
            .iter()
            .flat_map(|n| n.output.iter().map(String::as_str)),
    );
    let names: HashMap<String, String> = names
        .iter()
        .filter(|(k, _)| !own.contains(k.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    if names.is_empty() {
        return;
    }
    rename(&mut graph.node, &names);
    for o in &mut graph.output {
        if let Some(new) = names.get(o.name()) {
            o.name = Some(new.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_onnx::{AttributeProto, DataType};

    fn node(op: &str, i: &[&str], o: &[&str]) -> NodeProto {
        NodeProto::new(op, i, o)
    }
    fn graph(nodes: Vec<NodeProto>, outputs: &[&str]) -> GraphProto {
        let info = |n: &&str| ValueInfoProto::concrete(n, DataType::F32, &[1]);
        GraphProto {
            node: nodes,
            input: vec![info(&"x")],
            output: outputs.iter().map(info).collect(),
            ..GraphProto::default()
        }
    }
    fn ops(g: &GraphProto) -> Vec<&str> {
        g.node.iter().map(|n| n.op_type()).collect()
    }

    #[test]
    fn sorting_is_stable_and_finds_cycles() {
        let mut g = graph(
            vec![
                node("C", &["b"], &["c"]),
                node("A", &["x"], &["a"]),
                node("B", &["a"], &["b"]),
            ],
            &["c"],
        );
        sort(&mut g).unwrap();
        assert_eq!(ops(&g), ["A", "B", "C"]);
        let mut g = graph(
            vec![node("A", &["b"], &["a"]), node("B", &["a"], &["b"])],
            &["b"],
        );
        assert!(sort(&mut g).unwrap_err().to_string().contains("own output"));
    }

    #[test]
    fn names_are_checked() {
        let twice = graph(
            vec![node("A", &["x"], &["a"]), node("B", &["x"], &["a"])],
            &["a"],
        );
        let missing = graph(vec![node("A", &["y"], &["a"])], &["a"]);
        let unwritten = graph(vec![node("A", &["x"], &["a"])], &["z"]);
        let text = |g: &GraphProto| check_names(g).unwrap_err().to_string();
        assert!(text(&twice).contains("\"a\" is written twice"));
        assert!(text(&missing).contains("reads tensor \"y\""));
        assert!(text(&unwritten).contains("output \"z\""));
        assert!(text(&graph(vec![], &[])).contains("no outputs"));
    }

    #[test]
    fn dead_nodes_go() {
        let mut g = graph(
            vec![
                node("A", &["x"], &["a"]),
                node("Dead", &["a"], &["d"]),
                node("B", &["a"], &["b"]),
            ],
            &["b"],
        );
        drop_dead(&mut g);
        assert_eq!(ops(&g), ["A", "B"]);
    }

    #[test]
    fn node_names_become_unique() {
        let mut g = graph(
            vec![
                node("A", &["x"], &["a"]).named("n"),
                node("B", &["a"], &["b"]).named("n"),
                node("C", &["b"], &["c"]).named("x"),
                node("D", &["c"], &["d"]),
            ],
            &["d"],
        );
        name_nodes(&mut g);
        let names: Vec<&str> = g.node.iter().map(|n| n.name()).collect();
        assert_eq!(names, ["n", "n__2", "x__2", "D_3"]);
    }

    #[test]
    fn renaming_respects_hidden_names() {
        let inner = GraphProto {
            node: vec![
                node("Neg", &["p"], &["q"]),
                node("Add", &["q", "r"], &["s"]),
            ],
            output: vec![ValueInfoProto::concrete("s", DataType::F32, &[1])],
            ..GraphProto::default()
        };
        let mut nodes =
            vec![node("If", &["c"], &["o"]).with(AttributeProto::from_graph("then_branch", inner))];
        let map = [("p", "P"), ("q", "Q"), ("c", "C")]
            .into_iter()
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .collect();
        rename(&mut nodes, &map);
        assert_eq!(nodes[0].reads(), ["C", "P", "r"]);
        let g = nodes[0].subgraphs().next().unwrap();
        assert_eq!(g.node[1].input, ["q", "r"]);
    }
}
